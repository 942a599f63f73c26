"""How messages of SMB begin, behind the head of a NetBIOS session or of TCP (RFC 1002 section 4.3.1, [MS-SMB2] 2.1)."""

from __future__ import annotations

from ids.later import late_pattern
from ids.protocols.frame import Spans

FRAME = 4
"""Bytes before a message: a type, and its length."""
MESSAGE = 0x00
_SESSION = frozenset(range(0x81, 0x86))
"""Types of what sets a session up, and of what keeps it."""
SECOND, ENCRYPTED, COMPRESSED, FIRST = b"\xfeSMB", b"\xfdSMB", b"\xfcSMB", b"\xffSMB"

HEADS = {FIRST: ("smb1", 32), SECOND: ("smb2", 64)}
"""By how a message begins: what its frames are called, and bytes of its head."""
MAX_COMPOUND = 64
"""Messages of one compound whose frames are named."""

_HEADER = rb"\x00[\x00-\x01](?s:..)[\xfd-\xff]SMB"
_SESSION_REQUEST = rb"\x81\x00\x00[\x22-\xff]\x20[A-P]{32}[\x00\x20-\x7f]"
FROM_CLIENT = _HEADER + rb"|" + _SESSION_REQUEST
FROM_SERVER = _HEADER + rb"|\x82\x00\x00\x00(?:\Z|\x00)"

BEGINS = late_pattern(rb"(?s:\x00...[\xfc-\xff]SMB)")
"""The beginning of a message: where one is looked for behind missing bytes."""


_WRITE_ANDX, _READ_ANDX, _READ, _WRITE = 0x2F, 0x2E, 8, 9
_WORDS = {_WRITE_ANDX: 24, _READ_ANDX: 24, _READ: 16, _WRITE: 48}
"""Bytes behind the head that say where the content is, and of what file."""


def carries(to_client: int, frame: bytes) -> bool:
    """Return whether a message, of which only the beginning came, ends with a piece of a file."""
    mark = frame[FRAME : FRAME + 4]
    if mark == SECOND:
        command, wanted, head = int.from_bytes(frame[16:18], "little"), _READ if to_client else _WRITE, 64
    elif mark == FIRST:
        command, wanted, head = frame[8] if len(frame) > 8 else 0, _READ_ANDX if to_client else _WRITE_ANDX, 35
    else:
        return False
    alone = mark == FIRST or not any(frame[24:28])
    return command == wanted and alone and len(frame) >= FRAME + head + _WORDS[wanted]


def length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a message takes, as `ids.protocols.framing.LengthOf`."""
    if len(data) < at + FRAME:
        return 0
    if data[at] == MESSAGE:
        if len(data) > at + FRAME and not 0xFC <= data[at + FRAME] <= 0xFF and _size(data, at):
            return -1
        return FRAME + _size(data, at)
    return FRAME + (_size(data, at) & 0x1FFFF) if data[at] in _SESSION else -1


def _size(data: bytes | bytearray, at: int) -> int:
    return data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]


def spans_of(frame: bytes) -> Spans:
    """Return the frames of a message with its head: those of NetBIOS, and those of each message of SMB in it."""
    spans = [("nbss.pdu", 0, len(frame)), ("nbss.hdr", 0, FRAME), ("nbss.data", FRAME, len(frame))]
    if len(frame) < FRAME:
        return []
    if frame[0] != MESSAGE:
        return spans
    at = FRAME
    for _ in range(MAX_COMPOUND):
        kind, size = HEADS.get(frame[at : at + 4], ("", 0))
        if not kind or len(frame) < at + size:
            break
        following = int.from_bytes(frame[at + 20 : at + 24], "little") if kind == "smb2" else 0
        end = min(at + following, len(frame)) if following >= size else len(frame)
        spans += [(f"{kind}.pdu", at, end), (f"{kind}.hdr", at, at + size), (f"{kind}.data", at + size, end)]
        at = end
    return spans
