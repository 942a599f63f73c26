"""Messages of SMB 2 and 3 ([MS-SMB2] 2.2): heads, and what is read of each command's body.

Readers take a whole message, head included, for offsets count from there. They return None where what they read is cut
off; lengths that reach over the end are taken as far as there is something.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

HEADER = 64
NEGOTIATE, SESSION_SETUP, LOGOFF, TREE_CONNECT, TREE_DISCONNECT, CREATE, CLOSE = range(7)
READ, WRITE, IOCTL, CANCEL, GET_INFO, SET_INFO = 8, 9, 11, 12, 16, 17
_ASYNC, _RELATED = 0x2, 0x4
SAME = b"\xff" * 16
"""The identifier of the file of the command before, in a compound."""
_RENAME, _DISPOSITION = 10, 13
MAX_DIALECTS = 64

_HEAD = Struct("<4xHHIHHIIQIIQ").unpack_from
_WHERE = Struct("<HH").unpack_from
_LIMITS = Struct("<III").unpack_from
_CREATE = Struct("<IIIII").unpack_from
_CREATED = Struct("<QQQQQQ").unpack_from
_READ = Struct("<IQ16s").unpack_from
_WRITE = Struct("<HIQ16s").unpack_from
_LONG_WHERE = Struct("<II").unpack_from
_SET = Struct("<BBIH").unpack_from


class Head(NamedTuple):
    """The head of a message."""

    status: int
    """Of an answer."""
    command: int
    related: bool
    """It goes on with session, tree and file of the command before."""
    following: int
    """Bytes to the next message of the compound; 0: there is none."""
    message_id: int
    tree_id: int
    session_id: int


class Created(NamedTuple):
    """What a server says of a file that it has opened."""

    times: tuple[int, int, int, int]
    """Created, accessed, written, changed; as Windows counts."""
    size: int
    file_id: bytes


class Write(NamedTuple):
    """A write: where it goes to, and what comes."""

    file_id: bytes
    offset: int
    size: int
    """Bytes as it says."""
    data: bytes


def head(data: bytes) -> Head | None:
    """Return the head of a message."""
    if len(data) < HEADER:
        return None
    _, _, status, command, _, flags, following, message_id, _, tree_id, session_id = _HEAD(data)
    tree = 0 if flags & _ASYNC else tree_id
    return Head(status, command, bool(flags & _RELATED), following, message_id, tree, session_id)


def dialects(data: bytes) -> tuple[bytes, list[int]] | None:
    """Return the client's GUID, and the dialects that it offers."""
    if len(data) < HEADER + 36:
        return None
    count = int.from_bytes(data[HEADER + 2 : HEADER + 4], "little")
    at = HEADER + 36
    offered = data[at : at + 2 * min(count, MAX_DIALECTS)]
    return data[HEADER + 12 : HEADER + 28], [
        offered[one] | offered[one + 1] << 8 for one in range(0, len(offered) - 1, 2)
    ]


def negotiated(data: bytes) -> tuple[int, bytes, int, int] | None:
    """Return dialect, the server's GUID, and the most that it lets clients read and write."""
    if len(data) < HEADER + 40:
        return None
    _, most_read, most_write = _LIMITS(data, HEADER + 28)
    dialect = data[HEADER + 4] | data[HEADER + 5] << 8
    return dialect, data[HEADER + 8 : HEADER + 24], most_read, most_write


def token(data: bytes, answers: bool) -> bytes | None:
    """Return what a session setup says of who logs on."""
    at = HEADER + (4 if answers else 12)
    return _part(data, at) if len(data) >= at + 4 else None


def share(data: bytes) -> bytes | None:
    """Return the path of a tree connect, as sent."""
    return _part(data, HEADER + 4) if len(data) >= HEADER + 8 else None


def share_type(data: bytes) -> int | None:
    """Return what a tree is: 1 files, 2 pipes, 3 printers."""
    return data[HEADER + 2] if len(data) >= HEADER + 16 else None


def create(data: bytes) -> tuple[bytes, int, int] | None:
    """Return name, disposition and options of what is to be opened."""
    if len(data) < HEADER + 48:
        return None
    _, _, _, disposition, options = _CREATE(data, HEADER + 24)
    return _part(data, HEADER + 44), disposition, options


def created(data: bytes) -> Created | None:
    """Return what a server has opened."""
    if len(data) < HEADER + 80:
        return None
    one, two, three, four, _, size = _CREATED(data, HEADER + 8)
    return Created((one, two, three, four), size, data[HEADER + 64 : HEADER + 80])


def closed(data: bytes) -> bytes | None:
    """Return the file that is closed."""
    return data[HEADER + 8 : HEADER + 24] if len(data) >= HEADER + 24 else None


def read(data: bytes) -> tuple[bytes, int, int] | None:
    """Return file, offset and size of a read."""
    if len(data) < HEADER + 32:
        return None
    size, offset, file_id = _READ(data, HEADER + 4)
    return file_id, offset, size


def was_read(data: bytes) -> tuple[int, bytes] | None:
    """Return the size that an answer to a read has, as it says, and its bytes."""
    if len(data) < HEADER + 16:
        return None
    size = int.from_bytes(data[HEADER + 4 : HEADER + 8], "little")
    at = data[HEADER + 2]
    return size, data[at : at + size]


def write(data: bytes) -> Write | None:
    """Return a write."""
    if len(data) < HEADER + 48:
        return None
    at, size, offset, file_id = _WRITE(data, HEADER + 2)
    return Write(file_id, offset, size, data[at : at + size])


def control(data: bytes, answers: bool) -> tuple[int, bytes, bytes] | None:
    """Return function, file and data of a control."""
    if len(data) < HEADER + 48:
        return None
    function = int.from_bytes(data[HEADER + 4 : HEADER + 8], "little")
    at, size = _LONG_WHERE(data, HEADER + (32 if answers else 24))
    return function, data[HEADER + 8 : HEADER + 24], data[at : at + size]


def renamed(data: bytes) -> tuple[bytes, bytes | None, bool] | None:
    """Return the file of which something is set, its new name where that is it, and whether it is to be deleted; None
    where something else is set.
    """
    if len(data) < HEADER + 32:
        return None
    kind, level, size, at = _SET(data, HEADER + 2)
    said = data[at : at + size]
    file_id = data[HEADER + 16 : HEADER + 32]
    if kind != 1:
        return None
    if level == _RENAME and len(said) >= 20:
        return file_id, said[20 : 20 + int.from_bytes(said[16:20], "little")], False
    if level == _DISPOSITION and said:
        return file_id, None, bool(said[0])
    return None


def _part(data: bytes, at: int) -> bytes:
    """Return what an offset and a length point at."""
    start, size = _WHERE(data, at)
    return data[start : start + size] if start >= HEADER else b""
