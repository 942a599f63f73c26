"""RFB, the protocol of VNC (RFC 6143): what both sides say until the screen is shared. It is one transaction."""

from __future__ import annotations

from typing import Any

from ids.later import late_pattern
from ids.protocols.dialogue import Dialogue, DialogueSettings, Said, Shared, speaking
from ids.protocols.framing import Frames, Message
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.spelling import text
from ids.types import Direction

_CLIENT, _SERVER = Direction

_VERSION = late_pattern(rb"RFB (\d{3})\.(\d{3})\n")
_FAILED, _NONE, _VNC = 0, 1, 2
"""Types of security that are understood."""
_RESULTS = ("OK", "FAIL", "TOOMANY")
_WAITS, _RESTS = "waits", "rests"
"""A side that says nothing until the other has; one whose words are not read any more."""
_SIZES = {"version": 12, "type": 1, "server_type": 4, "challenge": 16, "response": 16, "result": 4, "shares": 1}


class RfbFlow(Dialogue):
    """Both directions of a flow. How long the next message is depends on what was said before."""

    protocol = "rfb"

    __slots__ = ("_fields", "_next", "_open", "_tx", "_version")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._next = ["version", "version"]
        """By direction: what it says next."""
        self._version = (3, 8)
        self._tx = self.new()
        self._open = True
        self._fields: dict[str, Any] = {}

    def cut(self, direction: Direction) -> Frames:
        """Cut what a side says next."""
        limit = self.shared.settings.message_bytes
        return Frames(self.shared.pool, lambda data, at: self._length(direction, data, at), limit)

    def _length(self, direction: Direction, data: bytes | bytearray, at: int) -> int:
        expected, left = self._next[direction], len(data) - at
        if expected == "types":
            return 1 + data[at] if left else 0
        if expected == "reason":
            return 4 + int.from_bytes(data[at : at + 4], "big") if left >= 4 else 0
        if expected == "screen":
            return 24 + int.from_bytes(data[at + 20 : at + 24], "big") if left >= 24 else 0
        if expected == _WAITS:
            return 0
        return _SIZES.get(expected, left)

    def take(self, direction: Direction, message: Message) -> None:
        """Read what a side says."""
        expected = self._next[direction]
        if message.lost:
            self._next = [_RESTS, _RESTS]
        elif expected != _RESTS:
            said, ends, odd = getattr(self, f"_take_{expected}")(direction, message.data)
            self._report(direction, said, ends, odd)

    def end(self) -> None:
        """Say what was said so far, where the screen was never shared."""
        if self._open and self._fields:
            self._report(_SERVER, {}, True, ())

    def _report(self, direction: Direction, said: Said, ends: bool, odd: tuple[str, ...]) -> None:
        if self._open:
            self._open = not ends
            fields = {name: dict(of) if isinstance(of, dict) else of for name, of in self._fields.items()}
            self.say(direction, said, fields, self._tx, complete=ends, odd=odd)
        if odd:
            self._next = [_RESTS, _RESTS]

    @property
    def _authentication(self) -> dict[str, Any]:
        known: dict[str, Any] = self._fields.setdefault("authentication", {})
        return known

    # What each side says, in its order: each returns buffers, whether the transaction ends, and what is odd.

    def _take_version(self, direction: Direction, data: bytes) -> tuple[Said, bool, tuple[str, ...]]:
        found = _VERSION.fullmatch(data)
        if found is None:
            return {}, False, ("malformed_message",)
        side = "server" if direction is _SERVER else "client"
        self._fields[f"{side}_protocol_version"] = {"major": found[1].decode(), "minor": found[2].decode()}
        if direction is _SERVER:
            self._next[_SERVER] = _WAITS
        else:
            self._version = int(found[1]), int(found[2])
            first = "server_type" if self._version <= (3, 3) else "types"
            self._next = [_WAITS if first == "server_type" else "type", first]
        return {f"rfb.{side}_version": found[1] + b"." + found[2]}, False, ()

    def _take_types(self, direction: Direction, data: bytes) -> tuple[Said, bool, tuple[str, ...]]:
        if not data[0]:
            self._next[_SERVER] = "reason"
        else:
            self._next = ["type", _WAITS]
        return {}, False, ()

    def _take_type(self, direction: Direction, data: bytes) -> tuple[Said, bool, tuple[str, ...]]:
        return self._chosen(data[0])

    def _take_server_type(self, direction: Direction, data: bytes) -> tuple[Said, bool, tuple[str, ...]]:
        return self._chosen(int.from_bytes(data, "big"))

    def _chosen(self, kind: int) -> tuple[Said, bool, tuple[str, ...]]:
        self._authentication["security_type"] = kind
        said = {"rfb.sectype": b"%d" % kind}
        if kind == _VNC:
            self._next = [_WAITS, "challenge"]
        elif kind == _NONE:
            with_result = self._version >= (3, 8)
            self._next = ["shares", "result" if with_result else "screen"]
        elif kind == _FAILED:
            self._next = [_RESTS, "reason"]
        else:
            return said, False, ("unimplemented_security_type",)
        return said, False, ()

    def _take_challenge(self, direction: Direction, data: bytes) -> tuple[Said, bool, tuple[str, ...]]:
        self._authentication.setdefault("vnc", {})["challenge"] = data.hex()
        self._next = ["response", _WAITS]
        return {}, False, ()

    def _take_response(self, direction: Direction, data: bytes) -> tuple[Said, bool, tuple[str, ...]]:
        self._authentication.setdefault("vnc", {})["response"] = data.hex()
        self._next = ["shares", "result"]
        return {}, False, ()

    def _take_result(self, direction: Direction, data: bytes) -> tuple[Said, bool, tuple[str, ...]]:
        number = int.from_bytes(data, "big")
        name = _RESULTS[number] if number < len(_RESULTS) else f"UNKNOWN ({number})"
        self._authentication["security_result"] = name
        self._next[_SERVER] = "reason" if number else "screen"
        rule = name.lower().encode() if number < len(_RESULTS) else b"unknown"
        return {"rfb.secresult": rule}, False, () if number < len(_RESULTS) else ("unknown_security_result",)

    def _take_reason(self, direction: Direction, data: bytes) -> tuple[Said, bool, tuple[str, ...]]:
        self._fields["server_security_failure_reason"] = text(data[4:])
        self._next = [_RESTS, _RESTS]
        return {}, True, ()

    def _take_shares(self, direction: Direction, data: bytes) -> tuple[Said, bool, tuple[str, ...]]:
        self._fields["screen_shared"] = bool(data[0])
        self._next[_CLIENT] = _RESTS
        return {}, False, ()

    def _take_screen(self, direction: Direction, data: bytes) -> tuple[Said, bool, tuple[str, ...]]:
        name = data[24:]
        numbers = [int.from_bytes(data[at : at + 2], "big") for at in (0, 2, 8, 10, 12)]
        self._fields["framebuffer"] = {
            "width": numbers[0], "height": numbers[1], "name": text(name),
            "pixel_format": {
                "bits_per_pixel": data[4], "depth": data[5], "big_endian": bool(data[6]), "true_color": bool(data[7]),
                "red_max": numbers[2], "green_max": numbers[3], "blue_max": numbers[4],
                "red_shift": data[14], "green_shift": data[15], "blue_shift": data[16],
            },
        }  # fmt: skip
        self._next = [_RESTS, _RESTS]
        return {"rfb.name": name}, True, ()


PROTOCOL = Protocol(
    name="rfb",
    from_client=rb"RFB \d{3}\.\d{3}\n",
    from_server=rb"RFB \d{3}\.\d{3}\n",
    strict=True,
    settings=DialogueSettings,
    streams=speaking(RfbFlow),
    oddities=(
        "unimplemented_security_type",
        "unknown_security_result",
        "malformed_message",
    ),
    event="rfb",
    buffers=(
        Buffer("rfb.name", "rfb", _SERVER, "name of the screen"),
        Buffer("rfb.sectype", "rfb", None, "type of security that was chosen, decimal: 2 is VNC's"),
        Buffer("rfb.secresult", "rfb", _SERVER, "what came of it: `ok`, `fail`, `toomany`, `unknown`"),
        Buffer("rfb.client_version", "rfb", _CLIENT, "version of the client: `003.008`"),
        Buffer("rfb.server_version", "rfb", _SERVER, "version of the server"),
    ),
)
