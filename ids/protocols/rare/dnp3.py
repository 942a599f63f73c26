"""DNP3 over TCP (IEEE 1815): frames with checksums, put together to requests and responses. Each is a transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from ids.protocols.dialogue import Dialogue, DialogueSettings, EveFields, Shared, speaking
from ids.protocols.framing import Frames, Message
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.rare.dnp3_objects import objects
from ids.types import Direction

_CLIENT, _SERVER = Direction

_START = b"\x05\x64"
_HEAD = 10
"""Bytes of the head of a frame, with its checksum."""
_IN_LENGTH = 5
"""Bytes of the head that its length counts."""
_BLOCK, _CRC = 16, 2
_USER_DATA = (3, 4)
"""Functions of frames that carry something."""
_FIRST, _FINAL = 0x40, 0x80
_DIRECTION = 0x80
"""Bit of a frame's control: it is of a master."""
_LONGEST = _HEAD + 255 + 16 * _CRC + _CRC
FUNCTIONS = (
    "confirm", "read", "write", "select", "operate", "direct_operate", "direct_operate_nr", "immed_freeze",
    "immed_freeze_nr", "freeze_clear", "freeze_clear_nr", "freeze_at_time", "freeze_at_time_nr", "cold_restart",
    "warm_restart", "initialize_data", "initialize_appl", "start_appl", "stop_appl", "save_config",
    "enable_unsolicited", "disable_unsolicited", "assign_class", "delay_measure", "record_current_time", "open_file",
    "close_file", "delete_file", "get_file_info", "authenticate_file", "abort_file", "activate_config",
    "authenticate_req", "authenticate_err",
)  # fmt: skip
FUNCTION_CODES = {
    **{name: code for code, name in enumerate(FUNCTIONS)},
    "response": 129, "unsolicited_response": 130, "authenticate_resp": 131,
}  # fmt: skip
INDICATORS = {
    "all_stations": 0x0100, "class_1_events": 0x0200, "class_2_events": 0x0400, "class_3_events": 0x0800,
    "need_time": 0x1000, "local_control": 0x2000, "device_trouble": 0x4000, "device_restart": 0x8000,
    "no_func_code_support": 0x0001, "object_unknown": 0x0002, "parameter_error": 0x0004,
    "event_buffer_overflow": 0x0008, "already_executing": 0x0010, "config_corrupt": 0x0020, "reserved_2": 0x0040,
    "reserved_1": 0x0080,
}  # fmt: skip
"""Internal indications, as bits of both their bytes."""
_CONFIRM, _RESPONSE = 0, 129
"""A confirmation is not logged, and no rule looks at it; from a response on, functions answer."""


def _checksums() -> tuple[int, ...]:
    """Return the table of DNP3's checksum: the reflected polynomial is 0xA6BC."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0xA6BC if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_TABLE = _checksums()


def checksum(data: bytes) -> int:
    """Return the checksum of a block."""
    crc = 0
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return ~crc & 0xFFFF


def _is_right(block: bytes) -> bool:
    return checksum(block[:-_CRC]) == int.from_bytes(block[-_CRC:], "little")


def _length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a frame has, as `ids.protocols.framing.LengthOf`."""
    if len(data) < at + 3:
        return 0 if data[at : at + 2] == _START[: len(data) - at] else -1
    if data[at : at + 2] != _START or data[at + 2] < _IN_LENGTH:
        return -1
    size = data[at + 2] - _IN_LENGTH
    return _HEAD + size + _CRC * -(-size // _BLOCK)


class Dnp3Flow(Dialogue):
    """Both directions of a flow."""

    protocol = "dnp3"

    __slots__ = ("_parts",)

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._parts = [bytearray(), bytearray()]
        """By direction: what came of an application fragment."""

    def cut(self, direction: Direction) -> Frames:
        """Cut frames."""
        return Frames(self.shared.pool, _length_of, _LONGEST, re.compile(_START))

    def take(self, direction: Direction, message: Message) -> None:
        """Read a frame; put its piece of a fragment behind the others."""
        frame, parts = message.data, self._parts[direction]
        odd = [] if _is_right(frame[:_HEAD]) else ["bad_link_crc"]
        blocks = [frame[at : at + _BLOCK + _CRC] for at in range(_HEAD, len(frame), _BLOCK + _CRC)]
        if not blocks or frame[3] & 15 not in _USER_DATA:
            if odd:
                self.say(direction, {}, {}, self.new(), complete=False, odd=odd)
            return
        if not all(map(_is_right, blocks)):
            odd.append("bad_transport_crc")
        segment = b"".join([block[:-_CRC] for block in blocks])
        if segment[0] & _FIRST or message.lost:
            self._give(parts)
        room = self.shared.settings.message_bytes - len(parts)
        if len(segment) - 1 > room or not self.shared.pool.take(len(segment) - 1):
            self.count("fragments_cut")
        else:
            parts += segment[1:]
        if segment[0] & _FINAL:
            self._read(direction, frame, bytes(parts), odd)
            self._give(parts)

    def release(self) -> None:
        """Give back what is held."""
        super().release()
        for parts in self._parts:
            self._give(parts)

    def _give(self, parts: bytearray) -> None:
        self.shared.pool.give(len(parts))
        parts.clear()

    def _read(self, direction: Direction, frame: bytes, fragment: bytes, odd: list[str]) -> None:
        """Hand on what a fragment says."""
        if len(fragment) < 2:
            odd.append("malformed")
            self.say(direction, {"dnp3.data": fragment}, {}, self.new(), complete=False, odd=odd)
            return
        function = fragment[1]
        answers = function >= _RESPONSE
        body = fragment[4:] if answers else fragment[2:]
        found, why = objects(body, carries=answers or function not in (0, 1))
        if why:
            odd.append(why)
        confirms = function == _CONFIRM
        named = b"%d" % function
        said: dict[str, bytes | tuple[bytes, ...] | None] = {
            "dnp3.data": fragment if not confirms else None,
            "dnp3.func": named if not confirms else None,
            "dnp3.obj": tuple(dict.fromkeys(b"%d,%d" % (one["group"], one["variation"]) for one in found)),
            "dnp3.ind": fragment[2:4] if answers and len(fragment) >= 4 else None,
        }
        self.say(
            direction,
            said,
            partial(_fields, frame, fragment, found, not why),
            self.new(),
            complete=not confirms,
            odd=odd,
        )


def _fields(frame: bytes, fragment: bytes, found: list[dict[str, Any]], whole: bool) -> EveFields:
    """Return what EVE logs of a fragment, whose last frame this is."""
    control, head, function = frame[3], fragment[0], fragment[1]
    kind = "request" if function < _RESPONSE else "unsolicited_response" if function == 130 else "response"
    application: dict[str, Any] = {
        "control": {
            "fir": bool(head & 0x80), "fin": bool(head & 0x40), "con": bool(head & 0x20), "uns": bool(head & 0x10),
            "sequence": head & 15,
        },
        "function_code": function,
    }  # fmt: skip
    if found:
        application["objects"] = found
    application["complete"] = whole
    fields: EveFields = {
        "type": kind,
        "control": {
            "dir": bool(control & _DIRECTION), "pri": bool(control & 0x40), "fcb": bool(control & 0x20),
            "fcv": bool(control & 0x10), "function_code": control & 15,
        },
        "src": int.from_bytes(frame[6:8], "little"),
        "dst": int.from_bytes(frame[4:6], "little"),
        "application": application,
    }  # fmt: skip
    if kind != "request" and len(fragment) >= 4:
        bits = int.from_bytes(fragment[2:4], "big")
        names = [name for name, bit in INDICATORS.items() if bits & bit]
        fields["iin"] = {"indicators": names} if names else {}
    return fields


def in_alert(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object as alerts have it: under what it is."""
    return {"request" if fields.get("type") == "request" else "response": dict(fields)} if fields else {}


_FRAME = rb"(?s:\x05\x64[\x05-\xff][%b])"
_OF_MASTER = rb"\xc0-\xc4\xc9\xd0-\xd4\xf0-\xf4\xe0-\xe4"
_OF_OUTSTATION = rb"\x00\x01\x0b\x0f\x40-\x44\x49\x50-\x54\x60-\x64\x70-\x74"

PROTOCOL = Protocol(
    name="dnp3",
    from_client=_FRAME % (_OF_MASTER + _OF_OUTSTATION),
    from_server=_FRAME % (_OF_MASTER + _OF_OUTSTATION),
    settings=DialogueSettings,
    streams=speaking(Dnp3Flow),
    oddities=("bad_link_crc", "bad_transport_crc", "malformed", "unknown_object"),
    event="dnp3",
    in_alert=in_alert,
    buffers=(
        Buffer("dnp3.data", "dnp3", None, "application fragment, put together"),
        Buffer("dnp3.func", "dnp3", None, "function code, decimal"),
        Buffer("dnp3.obj", "dnp3", None, "objects: group and variation, such as `12,1`", several=True),
        Buffer("dnp3.ind", "dnp3", None, "internal indications of a response, 2 bytes as sent"),
    ),
)
