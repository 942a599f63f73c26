"""The messages of DCE/RPC over connections (C706 chapter 12): their head, and what is in those that are read."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

HEADER = 16
"""Bytes of the head that all messages have."""
LONGEST = 0xFFFF
"""Bytes of a message: its length has 16 bits."""

REQUEST, RESPONSE, FAULT, BIND, BIND_ACK, BIND_NAK, ALTER, ALTER_RESPONSE = 0, 2, 3, 11, 12, 13, 14, 15
AUTH3, CANCEL, ORPHANED = 16, 18, 19
LAST_KIND = 20
FIRST_FRAGMENT, LAST_FRAGMENT, WITH_OBJECT = 0x01, 0x02, 0x80
"""Flags of a message."""
MAX_CONTEXTS = 64
"""Contexts of one bind that are read. Clients offer one interface, in three syntaxes."""

KINDS = (
    "REQUEST", "PING", "RESPONSE", "FAULT", "WORKING", "NOCALL", "REJECT", "ACK", "CL_CANCEL", "FACK", "CANCEL_ACK",
    "BIND", "BINDACK", "BINDNAK", "ALTER_CONTEXT", "ALTER_CONTEXT_RESP", "AUTH3", "SHUTDOWN", "CO_CANCEL", "ORPHANED",
    "RTS",
)  # fmt: skip
"""What Suricata calls the types of messages, by number."""

_HEADS = Struct(">BBBB4xHHI").unpack_from, Struct("<BBBB4xHHI").unpack_from
_SHORT = Struct(">H").unpack_from, Struct("<H").unpack_from
_REQUEST = Struct(">IHH").unpack_from, Struct("<IHH").unpack_from
_CONTEXT = Struct(">HBx16sHH").unpack_from, Struct("<HBx16sHH").unpack_from
_RESULT = Struct(">HH16sI").unpack_from, Struct("<HH16sI").unpack_from
_CONTEXT_BYTES, _SYNTAX_BYTES, _RESULT_BYTES = 24, 20, 24
_OBJECT_BYTES = 16
_BEFORE_CONTEXTS = 12
"""Bytes of a bind between its head and its contexts."""


class Pdu(NamedTuple):
    """A message."""

    kind: int
    flags: int
    little: bool
    """Its numbers have their least byte first."""
    minor: int
    """The second number of the version of the protocol."""
    call_id: int
    body: bytes
    """What stands behind the head."""

    @property
    def first(self) -> bool:
        """It begins a call's data."""
        return bool(self.flags & FIRST_FRAGMENT)

    @property
    def last(self) -> bool:
        """It ends a call's data."""
        return bool(self.flags & LAST_FRAGMENT)


class Interface(NamedTuple):
    """An interface that a client asked for."""

    context: int
    """The number by which its calls name it."""
    uuid: str
    version: int
    minor: int
    result: int | None = None
    """What the server answered; 0: accepted; None: nothing yet."""
    reason: int = 0

    @property
    def named(self) -> bytes:
        """Return it as rules test it: ``uuid version``."""
        return f"{self.uuid} {self.version}".encode()


class Call(NamedTuple):
    """What a request says."""

    context: int
    opnum: int
    stub: bytes
    """As Suricata has it: with the UUID of an object before it, where there is one."""
    bare: bytes | None
    """Without that UUID; None where there is none."""


def length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a message takes, as `ids.protocols.framing.LengthOf`."""
    if len(data) - at < HEADER:
        return 0 if data[at : at + 1] == b"\x05" and data[at + 1 : at + 2] <= b"\x01" else -1
    if data[at] != 5 or data[at + 1] > 1 or data[at + 2] > LAST_KIND:
        return -1
    size = int(_SHORT[data[at + 4] >> 4 & 1](data, at + 8)[0])
    return size if size >= HEADER else -1


def is_unanswered(kind: int | None) -> bool:
    """Return whether a message of a client has no answer."""
    return kind in (AUTH3, CANCEL, ORPHANED)


def is_pdu(data: bytes) -> bool:
    """Return whether bytes begin as a message does."""
    return len(data) >= HEADER and length_of(data, 0) > 0


def read(data: bytes) -> Pdu:
    """Read a message that `length_of` has measured."""
    little = data[4] >> 4 & 1
    _, minor, kind, flags, _, _, call_id = _HEADS[little](data)
    return Pdu(kind, flags, bool(little), minor, call_id, data[HEADER:])


def read_call(pdu: Pdu) -> Call | None:
    """Return what a request says; None where it is cut off."""
    if len(pdu.body) < 8:
        return None
    _, context, opnum = _REQUEST[pdu.little](pdu.body)
    stub = pdu.body[8:]
    return Call(context, opnum, stub, stub[_OBJECT_BYTES:] if pdu.flags & WITH_OBJECT else None)


def read_answer(pdu: Pdu) -> bytes:
    """Return the data of a response, behind its length, context and count of cancels."""
    return pdu.body[8:]


def read_bind(pdu: Pdu) -> list[Interface]:
    """Return the interfaces that a bind asks for, as far as they can be read."""
    body, little = pdu.body, pdu.little
    if len(body) < _BEFORE_CONTEXTS:
        return []
    found: list[Interface] = []
    at = _BEFORE_CONTEXTS
    for _ in range(min(body[8], MAX_CONTEXTS)):
        if at + _CONTEXT_BYTES > len(body):
            break
        context, syntaxes, raw, version, minor = _CONTEXT[little](body, at)
        found.append(Interface(context, spelt(raw, little), version, minor))
        at += _CONTEXT_BYTES + syntaxes * _SYNTAX_BYTES
    return found


def read_results(pdu: Pdu) -> list[tuple[int, int]]:
    """Return result and reason for each context of a bind, in their order, as far as they can be read."""
    body = pdu.body
    if len(body) < 10:
        return []
    at = 10 + int(_SHORT[pdu.little](body, 8)[0])
    at += -(HEADER + at) % 4
    if at + 4 > len(body):
        return []
    count = min(body[at], MAX_CONTEXTS)
    at += 4
    ends = range(at, min(at + count * _RESULT_BYTES, len(body) - _RESULT_BYTES + 1), _RESULT_BYTES)
    return [(result, reason) for result, reason, _, _ in (_RESULT[pdu.little](body, one) for one in ends)]


def spelt(raw: bytes, little: bool) -> str:
    """Return a UUID as it is written."""
    if little:
        raw = raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
