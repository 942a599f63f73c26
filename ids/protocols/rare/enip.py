"""EtherNet/IP (CIP Networks Library, volume 2): commands, and the CIP services that they carry. Each message is a
transaction, as in Suricata 7."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from ids.protocols.dialogue import Dialogue, DialogueSettings, EveFields, speaking
from ids.protocols.framing import Frames, Message
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.rare.enip_cip import Budget, Service, service
from ids.protocols.walked import Walked
from ids.types import Direction

_CLIENT, _SERVER = Direction

_HEAD = 24
_LONGEST = _HEAD + 0xFFFF
COMMANDS = {
    "nop": 0x00, "list_services": 0x04, "list_identity": 0x63, "list_interfaces": 0x64, "register_session": 0x65,
    "unregister_session": 0x66, "send_rr_data": 0x6F, "send_unit_data": 0x70, "indicate_status": 0x72, "cancel": 0x73,
}  # fmt: skip
_NAMES = {
    code: "".join([{"nop": "NOP", "rr": "RR"}.get(word, word.capitalize()) for word in name.split("_")])
    for name, code in COMMANDS.items()
}
_LISTS = tuple(COMMANDS[name] for name in ("list_services", "list_identity", "list_interfaces"))
"""What may be asked by datagrams."""
_REGISTER, _DATA = COMMANDS["register_session"], (COMMANDS["send_rr_data"], COMMANDS["send_unit_data"])
_STATUSES = {
    0: "Success", 1: "InvalidCmd", 2: "NoResources", 3: "IncorrectData", 0x64: "InvalidSession",
    0x65: "InvalidLength", 0x69: "UnsupportedProtRev",
}  # fmt: skip
MAX_ITEMS = 16
"""Items of a message that are looked at; it has two, and four to open a connection."""
_CONNECTED, _UNCONNECTED = 0xB1, 0xB2


def _number(data: bytes | bytearray, at: int, size: int = 2) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a message has, as `ids.protocols.framing.LengthOf`."""
    return 0 if len(data) < at + 4 else _HEAD + _number(data, at + 2)


def is_enip(data: bytes) -> bool:
    """Return whether a datagram has one of the commands that datagrams have, and is as long as it says."""
    if len(data) < _HEAD or _number(data, 0) not in _LISTS or _length_of(data, 0) != len(data):
        return False
    return not any(data[20:_HEAD]) and _number(data, 8, 4) in _STATUSES


def carried(data: bytes) -> Service | None:
    """Return the CIP service that a message carries in its items."""
    at = _HEAD + 8
    for _ in range(min(_number(data, _HEAD + 6), MAX_ITEMS)):
        kind, size = _number(data, at), _number(data, at + 2)
        body = data[at + 4 : at + 4 + size]
        if kind in (_CONNECTED, _UNCONNECTED):
            return service(body[2:] if kind == _CONNECTED else body, Budget())
        at += 4 + size
    return None


class EnipFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "enip"

    __slots__ = ()

    def cut(self, direction: Direction) -> Frames:
        """Cut messages."""
        return Frames(self.shared.pool, _length_of, _LONGEST)

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message."""
        data = message.data
        if len(data) < _HEAD:
            self.count("malformed")
            return
        command = _number(data, 0)
        found = carried(data) if command in _DATA else None
        asked = [one for of in found.all() for one in of.asked()] if found is not None else []
        said: dict[str, bytes | tuple[bytes, ...] | None] = {
            "enip.command": b"%d" % command,
            "cip.service": tuple(dict.fromkeys(asked)),
        }
        self.say(direction, said, partial(_fields, direction, data[: _HEAD + 4], found), self.new())


def _fields(direction: Direction, head: bytes, found: Service | None) -> EveFields:
    """Return what EVE logs of a message, by its first bytes and what it carries."""
    command, status = _number(head, 0), _number(head, 8, 4)
    said: dict[str, Any] = {
        "command": _NAMES.get(command, f"Unknown-{command}"),
        "status": _STATUSES.get(status, f"Unknown-{status}"),
    }
    if command == _REGISTER and len(head) >= _HEAD + 4:
        said["register_session"] = {"protocol_version": _number(head, _HEAD), "options": _number(head, _HEAD + 2)}
    if found is not None:
        said["cip"] = found.logged()
        if direction is _SERVER:
            for one in (said["cip"], *said["cip"].get("multiple", ())):
                one.pop("path", None)
                one.pop("class_name", None)
    return {"request" if direction is _CLIENT else "response": said}


_ASKED = "what is asked of a device, decimal: `16`, `16,246`, `16,246,6` are a service, its class and attribute"
_CONTEXT = rb".{8}\x00{4}"
_CARRIES = rb"[\x6f\x70]\x00.[\x00-\x1f].{4}"
_ITEMS = rb"\x00{4}..[\x01-\x08]\x00"
_BEGINS = (
    rb"(?s:(?:[\x04\x63\x64\x66]\x00\x00\x00|\x65\x00\x04\x00).{4}\x00{4}"
    + _CONTEXT
    + rb"|"
    + _CARRIES
    + rb"\x00{4}"
    + _CONTEXT
    + _ITEMS
    + rb")"
)
PROTOCOL = Protocol(
    name="enip",
    from_client=_BEGINS,
    walked=Walked(frozenset({44818}), lambda data: _length_of(data, 0), re.compile(_BEGINS), _HEAD + 8),
    from_server=rb"(?s:[\x04\x63-\x65]\x00.[\x00-\x1f].{4}.\x00{3}"
    + _CONTEXT
    + rb"|"
    + _CARRIES
    + rb".\x00{3}"
    + _CONTEXT
    + rb"(?:"
    + _ITEMS
    + rb")?)",
    datagram=is_enip,
    settings=DialogueSettings,
    streams=speaking(EnipFlow),
    datagrams=speaking(EnipFlow),
    event="enip",
    of_sender=True,
    buffers=(
        Buffer("enip.command", "enip", None, "command of a message, decimal: 111 and 112 carry CIP"),
        Buffer("cip.service", "enip", None, _ASKED, several=True),
    ),
)
