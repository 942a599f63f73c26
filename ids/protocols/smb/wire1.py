"""Messages of SMB 1 ([MS-CIFS] 2.2): head, words and bytes, and what is read of each command.

Readers return None where what they read is cut off; lengths that reach over the end are taken as far as there is
something.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

HEADER = 32
OPEN, CREATE, CLOSE, RENAME, READ, WRITE, CREATE_NEW = 0x02, 0x03, 0x04, 0x07, 0x0A, 0x0B, 0x0F
LOCKING, TRANS, WRITE_CLOSE, OPEN_ANDX, READ_ANDX, WRITE_ANDX = 0x24, 0x25, 0x2C, 0x2D, 0x2E, 0x2F
TRANS2, TRANS2_MORE, TREE_CONNECT, TREE_DISCONNECT, NEGOTIATE = 0x32, 0x33, 0x70, 0x71, 0x72
SESSION_SETUP, LOGOFF, TREE_CONNECT_ANDX, NT_TRANS_MORE, NT_CREATE, NT_CANCEL, NONE = (
    0x73, 0x74, 0x75, 0xA1, 0xA2, 0xA4, 0xFF,
)  # fmt: skip
_CHAINED = frozenset((LOCKING, OPEN_ANDX, READ_ANDX, WRITE_ANDX, SESSION_SETUP, LOGOFF, TREE_CONNECT_ANDX, NT_CREATE))
"""Commands behind which another may stand."""
MAX_NAME = 8192
"""Bytes of a name that are kept: twice what a path has on most systems, in UTF-16."""
_UNICODE, _NT_STATUS = 0x8000, 0x4000
_TRANSACT_PIPE = 0x26
_SET_PATH, _SET_FILE = 6, 8
_RENAME_LEVEL, DISPOSITION_LEVEL = 1010, 1013

_HEAD = Struct("<4xBIBHH8x2xHHHH").unpack_from
_H, _I, _Q = Struct("<H").unpack_from, Struct("<I").unpack_from, Struct("<Q").unpack_from
_TIMES = Struct("<QQQQ").unpack_from


class Head(NamedTuple):
    """The head of a message."""

    command: int
    status: int
    dos: bool
    """The status is a class and an error of DOS."""
    unicode: bool
    """Names are in UTF-16."""
    tree_id: int
    process: int
    session_id: int
    """The user, in the words of SMB 1."""
    multiplex: int


class Block(NamedTuple):
    """One command of a message."""

    command: int
    words: bytes
    data: bytes
    start: int
    """Where ``data`` begins, in the message: names in UTF-16 begin at even places."""
    message: bytes
    """All of it: offsets count from its beginning."""


class Transact(NamedTuple):
    """What a transaction carries."""

    setup: bytes
    parameters: bytes
    data: bytes


def head(data: bytes) -> Head | None:
    """Return the head of a message."""
    if len(data) < HEADER + 3:
        return None
    command, status, _, flags, high, tree, process, user, multiplex = _HEAD(data)
    dos = not flags & _NT_STATUS
    return Head(command, status, dos, bool(flags & _UNICODE), tree, (high << 16 | process) & 0xFFFF, user, multiplex)


def blocks(data: bytes, command: int, limit: int) -> Iterator[Block]:
    """Yield the commands of a message, at most ``limit``; each stands behind the one before.

    One at a time: each may have all of the rest for its bytes.
    """
    at = HEADER
    for _ in range(limit):
        if at >= len(data):
            return
        words = data[at + 1 : at + 1 + 2 * data[at]]
        start = at + 1 + 2 * data[at] + 2
        size = int.from_bytes(data[start - 2 : start], "little")
        # The count of bytes is too small in large writes, and wrong in some clients: servers go by what is there.
        end = start + size if command == NEGOTIATE else len(data)
        yield Block(command, words, data[start:end], start, data)
        if command not in _CHAINED or len(words) < 4:
            return
        command, following = words[0], int(_H(words, 2)[0])
        if command == NONE or following <= at:
            return
        at = following


def text(block: Block, at: int, unicode: bool) -> tuple[bytes, int]:
    """Return a name that begins in the bytes of a command and ends with a NUL, as UTF-8, and where it ends.

    Of a longer one than is kept the end is not looked for in UTF-16, where zeros in a row need be no end: there, the
    name is all that is left.
    """
    data = block.data
    if not unicode:
        end = data.find(b"\0", at)
        end = end if end >= 0 else len(data)
        return data[at : min(end, at + MAX_NAME)], end + 1
    at += (block.start + at) % 2
    end, longest = at, at + MAX_NAME + 2
    while end >= 0:
        end = data.find(b"\0\0", end, longest)
        if end < 0 or not (end - at) % 2:
            break
        end += 1
    end = end if end >= 0 else len(data)
    return utf8(data[at:end]), end + 2


def utf8(raw: bytes) -> bytes:
    """Return a name in UTF-16 as UTF-8, without the NULs in it."""
    return raw[:MAX_NAME].decode("utf-16-le", "replace").replace("\0", "").encode("utf-8", "replace")


def dialects(block: Block, limit: int = 64) -> list[bytes]:
    """Return the dialects that a client offers; of one that is malformed, nothing."""
    return [part[1:] for part in block.data[:MAX_NAME].split(b"\0")[:limit] if part]


def pairs(block: Block) -> tuple[bytes, bytes] | None:
    """Return the names of a rename, as sent, without the kinds before them, as far as names are kept."""
    parts = block.data.split(b"\x04", 2)
    return (parts[1][:MAX_NAME], parts[2][:MAX_NAME]) if len(parts) == 3 else None


def word(block: Block, at: int) -> int:
    """Return a number of two bytes of the words; 0 where there is none."""
    return int(_H(block.words, at)[0]) if len(block.words) >= at + 2 else 0


def long(block: Block, at: int) -> int:
    """Return a number of four bytes of the words; 0 where there is none."""
    return int(_I(block.words, at)[0]) if len(block.words) >= at + 4 else 0


def create(block: Block, unicode: bool) -> tuple[bytes, int, int] | None:
    """Return name, disposition and options of what is to be opened."""
    if len(block.words) < 48:
        return None
    at = (block.start % 2) if unicode else 0
    raw = block.data[at : at + word(block, 5)]
    return (utf8(raw) if unicode else raw.split(b"\0")[0]), long(block, 35), long(block, 39)


def created(block: Block) -> tuple[tuple[int, int, int, int], int, bytes] | None:
    """Return times, allocated size and identifier of what a server has opened; the size is what EVE has."""
    if len(block.words) < 63:
        return None
    one, two, three, four = _TIMES(block.words, 11)
    return (one, two, three, four), int(_Q(block.words, 47)[0]), block.words[5:7]


def write(block: Block) -> tuple[bytes, int, int, bytes] | None:
    """Return file, offset, size as it says, and bytes of a write."""
    words = block.words
    if block.command == WRITE_ANDX:
        if len(words) < 24:
            return None
        offset = long(block, 6) | (long(block, 24) << 32 if len(words) >= 28 else 0)
        size = word(block, 20) | word(block, 18) << 16
        at = word(block, 22)
        return words[4:6], offset, size, block.message[at : at + size]
    if len(words) < 8:
        return None
    skipped = 1 if block.command == WRITE_CLOSE else 3
    size = word(block, 2)
    return words[:2], long(block, 4), size, block.data[skipped : skipped + size]


def read(block: Block) -> tuple[bytes, int] | None:
    """Return file and offset of a read."""
    words = block.words
    if block.command == READ:
        return (words[:2], long(block, 4)) if len(words) >= 8 else None
    if len(words) < 20:
        return None
    return words[4:6], long(block, 6) | (long(block, 20) << 32 if len(words) >= 24 else 0)


def was_read(block: Block) -> tuple[int, bytes] | None:
    """Return the size that an answer to a read has, as it says, and its bytes."""
    if block.command == READ:
        size = word(block, 0)
        return size, block.data[3 : 3 + size]
    if len(block.words) < 16:
        return None
    size = word(block, 10) | word(block, 14) << 16
    at = word(block, 12)
    return size, block.message[at : at + size]


def transact(block: Block) -> Transact | None:
    """Return what a transaction of a client carries."""
    if len(block.words) < 28:
        return None
    count = 2 * block.words[26]
    return Transact(block.words[28 : 28 + count], _part(block, 18), _part(block, 22))


def transacted(block: Block) -> bytes | None:
    """Return the data of the answer to a transaction."""
    return _part(block, 12) if len(block.words) >= 20 else None


def pipe_of(said: Transact) -> bytes | None:
    """Return the file of a transaction with a pipe."""
    return said.setup[2:4] if len(said.setup) >= 4 and _H(said.setup)[0] == _TRANSACT_PIPE else None


def changed(said: Transact, unicode: bool) -> tuple[int, bytes, bytes, int, bytes | None, bool] | None:
    """Return what a transaction changes of a file: its kind, file, name, level, new name, and whether it is deleted."""
    if len(said.setup) < 2 or len(said.parameters) < 6:
        return None
    kind = int(_H(said.setup)[0])
    if kind == _SET_PATH:
        raw, level, file_id = said.parameters[6:], int(_H(said.parameters)[0]), b""
    elif kind == _SET_FILE:
        raw, level, file_id = b"", int(_H(said.parameters, 2)[0]), said.parameters[:2]
    else:
        return None
    name = utf8(raw) if unicode else raw.split(b"\0")[0]
    if level == DISPOSITION_LEVEL and said.data:
        return kind, file_id, name, level, None, bool(said.data[0])
    if level == _RENAME_LEVEL and len(said.data) >= 12:
        new = said.data[12 : 12 + int(_I(said.data, 8)[0])]
        return kind, file_id, name, level, utf8(new) if unicode else new, False
    return None


def _part(block: Block, at: int) -> bytes:
    """Return what a count and an offset in the words point at."""
    size, start = word(block, at), word(block, at + 2)
    return block.message[start : start + size]
