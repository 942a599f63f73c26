"""Calls and replies of NFS, made by hand for tests: versions 2, 3 and 4, as bytes of a datagram or of a stream."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from struct import pack

from ids.types import Direction

CLIENT, SERVER = Direction
Turn = tuple[Direction, bytes]
NFS, NFS_ACL = 100_003, 100_227
"""Programs of ONC RPC."""
ROOT, SECRET, NEW = b"\1\0\6\1root", b"\1\0\6\1secret--", b"\1\0\6\1new-----"
"""Handles of version 3 and 4."""


def u32(*numbers: int) -> bytes:
    """Return numbers of four bytes."""
    return pack(f">{len(numbers)}I", *numbers)


def u64(*numbers: int) -> bytes:
    """Return numbers of eight bytes."""
    return pack(f">{len(numbers)}Q", *numbers)


def opaque(data: bytes) -> bytes:
    """Return bytes behind their length, filled up to a multiple of four."""
    return u32(len(data)) + data + bytes(-len(data) % 4)


# ONC RPC


def unix(uid: int = 1000, gid: int = 100, machine: bytes = b"a-client.example") -> bytes:
    """Return credentials of AUTH_SYS."""
    return u32(1) + opaque(u32(77) + opaque(machine) + u32(uid, gid, 2, gid, 27))


def gss(service: int, procedure: int = 0) -> bytes:
    """Return credentials of RPCSEC_GSS: service 1 protects nothing, 2 the integrity, 3 hides."""
    return u32(6) + opaque(u32(1, procedure, 5, service) + opaque(b"context-"))


NOBODY = u32(0, 0)
"""Credentials, and a verifier, of nobody."""
UNIX = unix()


def call(
    xid: int, procedure: int, body: bytes = b"", *, version: int = 3, program: int = NFS, credentials: bytes = UNIX
) -> bytes:
    """Return a call."""
    return u32(xid, 0, 2, program, version, procedure) + credentials + NOBODY + body


def reply(xid: int, body: bytes = b"", *, accepted: int = 0) -> bytes:
    """Return a reply that is accepted."""
    return u32(xid, 1, 0) + NOBODY + u32(accepted) + body


def denied(xid: int) -> bytes:
    """Return a reply to credentials that are too weak."""
    return u32(xid, 1, 1, 1, 5)


def record(message: bytes, *cuts: int) -> bytes:
    """Return a record of a stream, in as many fragments as there are cuts and one."""
    bounds = [0, *cuts, len(message)]
    pieces = [message[start:end] for start, end in pairwise(bounds)]
    heads = [len(piece) for piece in pieces]
    heads[-1] |= 1 << 31
    return b"".join([u32(head) + piece for head, piece in zip(heads, pieces, strict=True)])


def streamed(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Return messages as records."""
    return tuple([(side, record(message)) for side, message in turns])


# Version 3

_ATTRIBUTES = u32(1, 0o644, 1, 1000, 100) + u64(11, 11, 0, 7, 42) + bytes(24)
ATTRIBUTES = u32(1) + _ATTRIBUTES
"""Attributes behind a mark that they follow."""
_UNSET = bytes(24)
"""Attributes to be set: none."""
_CHANGE = u32(0) + ATTRIBUTES
"""What a change came to: no attributes before it, those behind it."""
VERIFIER = b"verifier"


def name3(handle: bytes, name: bytes) -> bytes:
    """Return a name in a directory."""
    return opaque(handle) + opaque(name)


def read3(handle: bytes, offset: int = 0, count: int = 4096) -> bytes:
    """Return what READ asks."""
    return opaque(handle) + u64(offset) + u32(count)


def content3(data: bytes, eof: bool = True) -> bytes:
    """Return what READ answers."""
    return u32(0) + ATTRIBUTES + u32(len(data), eof) + opaque(data)


def write3(handle: bytes, data: bytes, offset: int = 0, stable: int = 0) -> bytes:
    """Return what WRITE asks."""
    return opaque(handle) + u64(offset) + u32(len(data), stable) + opaque(data)


def entry3(name: bytes, handle: bytes) -> bytes:
    """Return an entry of READDIRPLUS."""
    return u32(1) + u64(9) + opaque(name) + u64(1) + ATTRIBUTES + u32(1) + opaque(handle)


def _answers3() -> tuple[Turn, ...]:
    wrote = u32(0) + _CHANGE + u32(3, 0) + VERIFIER
    exchanges = [
        (0, b"", b""),
        (19, opaque(ROOT), u32(0) + ATTRIBUTES + u32(*[65536] * 7) + u64(1 << 40) + u32(0, 1, 27)),
        (3, name3(ROOT, b"secret.txt"), u32(0) + opaque(SECRET) + ATTRIBUTES + ATTRIBUTES),
        (3, name3(ROOT, b"missing"), u32(2) + ATTRIBUTES),
        (1, opaque(SECRET), u32(0) + _ATTRIBUTES),
        (4, opaque(SECRET) + u32(63), u32(0) + ATTRIBUTES + u32(31)),
        (6, read3(SECRET), content3(b"top secret\n")),
        (8, name3(ROOT, b"new.txt") + u32(0) + _UNSET, u32(0, 1) + opaque(NEW) + ATTRIBUTES + _CHANGE),
        (7, write3(NEW, b"abc"), wrote),
        (21, opaque(NEW) + u64(0) + u32(0), u32(0) + _CHANGE + VERIFIER),
        (2, opaque(NEW) + _UNSET + u32(0), u32(13) + _CHANGE),
        (14, name3(ROOT, b"new.txt") + name3(ROOT, b"old.txt"), u32(0) + _CHANGE * 2),
        (9, name3(ROOT, b"folder") + _UNSET, u32(0, 1) + opaque(b"\1\0\6\1fold") + ATTRIBUTES + _CHANGE),
        (17, opaque(ROOT) + u64(0) + VERIFIER + u32(512, 4096),
         u32(0) + ATTRIBUTES + VERIFIER + entry3(b"listed.txt", b"\1\0\6\1list") + u32(0, 1)),
        (6, read3(b"\1\0\6\1list"), content3(b"listed")),
        (12, name3(ROOT, b"old.txt"), u32(0) + _CHANGE),
        (13, name3(ROOT, b"folder"), u32(66) + _CHANGE),
    ]  # fmt: skip
    turns: list[Turn] = []
    for xid, (procedure, asked, answered) in enumerate(exchanges, 0x1000):
        turns += [(CLIENT, call(xid, procedure, asked)), (SERVER, reply(xid, answered))]
    return tuple(turns)


V3 = _answers3()
"""A client looks around, reads, creates, writes, renames and removes."""

# Version 2

HANDLE2 = b"handle of version 2".ljust(32, b"\0")
_FILE2 = b"another one".ljust(32, b"\0")
_ATTRIBUTES2 = u32(1, 0o644, 1, 1000, 100, 6, 4096, 0, 1, 7, 42) + bytes(24)


def _answers2() -> tuple[Turn, ...]:
    exchanges = [
        (4, HANDLE2 + opaque(b"two.txt"), u32(0) + _FILE2 + _ATTRIBUTES2),
        (6, _FILE2 + u32(0, 4096, 0), u32(0) + _ATTRIBUTES2 + opaque(b"second")),
        (8, _FILE2 + u32(0, 0, 0) + opaque(b"abc"), u32(0) + _ATTRIBUTES2),
        (9, HANDLE2 + opaque(b"made.txt") + u32(*[0xFFFFFFFF] * 8), u32(0) + HANDLE2[::-1] + _ATTRIBUTES2),
        (11, HANDLE2 + opaque(b"made.txt") + HANDLE2 + opaque(b"moved.txt"), u32(0)),
        (10, HANDLE2 + opaque(b"moved.txt"), u32(2)),
        (17, HANDLE2, u32(0, 8192, 4096, 100, 50, 50)),
    ]
    turns: list[Turn] = []
    for xid, (procedure, asked, answered) in enumerate(exchanges, 0x2000):
        turns += [(CLIENT, call(xid, procedure, asked, version=2)), (SERVER, reply(xid, answered))]
    return tuple(turns)


V2 = _answers2()

# Version 4

STATE = bytes(16)
SEQUENCE = u32(53) + bytes(16) + u32(1, 0, 0, 0)
SEQUENCE_OK = u32(53, 0) + bytes(16) + u32(1, 0, 0, 0, 0)
GETATTR = u32(9, 2, 0x10011A, 0xB0A23A)
GETATTR_OK = u32(9, 0, 1, 0x10) + opaque(u64(7))
GETFH = u32(10)
_CHANGED = u32(1) + u64(1, 2)


def putfh(handle: bytes) -> bytes:
    """Return the operation that names a file."""
    return u32(22) + opaque(handle)


def got(handle: bytes) -> bytes:
    """Return the result of the operation that asks for a handle."""
    return u32(10, 0) + opaque(handle)


def open4(name: bytes, *, create: bool = False) -> bytes:
    """Return the operation that opens a file by its name."""
    how = u32(1, 0, 1, 0x10) + opaque(u64(0)) if create else u32(0)
    return u32(18, 0, 3, 0) + u64(7) + opaque(b"open id:") + how + u32(0) + opaque(name)


OPENED = u32(18, 0) + STATE + _CHANGED + u32(4, 1, 0) + u32(1) + STATE + u32(0) + u32(0, 0, 0) + opaque(b"EVERYONE@")


def write4(data: bytes, stable: int = 0) -> bytes:
    """Return the operation that writes."""
    return u32(38) + STATE + u64(0) + u32(stable) + opaque(data)


def compound(*operations: bytes, minor: int = 1, tag: bytes = b"") -> bytes:
    """Return operations together."""
    return opaque(tag) + u32(minor, len(operations)) + b"".join(operations)


def results(*of: bytes, status: int = 0, tag: bytes = b"") -> bytes:
    """Return what became of operations."""
    return u32(status) + opaque(tag) + u32(len(of)) + b"".join(of)


def call4(xid: int, *operations: bytes, credentials: bytes = UNIX) -> bytes:
    """Return a call of operations."""
    return call(xid, 1, compound(*operations), version=4, credentials=credentials)


PUT_OK = u32(22, 0)


def _answers4() -> tuple[Turn, ...]:
    client = VERIFIER + opaque(b"Linux NFSv4.1 client.example")
    channel = u32(0, 1 << 20, 1 << 20, 7584, 8, 64, 0)
    exchanges = [
        ((u32(42) + client + u32(257, 0, 0),), (u32(42, 0) + u64(7) + u32(1, 1, 0) + u64(0) + opaque(b"s") + bytes(8),)
         ),
        ((u32(43) + u64(7) + u32(1, 3) + channel * 2 + u32(0x40000000, 2, 1, 0) + opaque(b"client") + u32(0, 0, 0, 0),),
         (u32(43, 0) + bytes(16) + u32(1, 3) + channel * 2,)),
        ((SEQUENCE, u32(24), GETFH, GETATTR), (SEQUENCE_OK, u32(24, 0), got(ROOT), GETATTR_OK)),
        ((SEQUENCE, putfh(ROOT), u32(3, 31), u32(15) + opaque(b"secret.txt"), GETFH, GETATTR),
         (SEQUENCE_OK, PUT_OK, u32(3, 0, 31, 31), u32(15, 0), got(SECRET), GETATTR_OK)),
        ((SEQUENCE, putfh(SECRET), u32(25) + STATE + u64(0) + u32(4096)),
         (SEQUENCE_OK, PUT_OK, u32(25, 0, 1) + opaque(b"top secret\n"))),
        ((SEQUENCE, putfh(ROOT), open4(b"new.txt", create=True), GETFH, u32(3, 45), GETATTR),
         (SEQUENCE_OK, PUT_OK, OPENED, got(NEW), u32(3, 0, 45, 45), GETATTR_OK)),
        ((SEQUENCE, putfh(NEW), write4(b"abc"), GETATTR),
         (SEQUENCE_OK, PUT_OK, u32(38, 0, 3, 0) + VERIFIER, GETATTR_OK)),
        ((SEQUENCE, putfh(NEW), u32(4, 0) + STATE), (SEQUENCE_OK, PUT_OK, u32(4, 0) + STATE)),
        ((SEQUENCE, putfh(ROOT), u32(6, 2) + opaque(b"folder") + u32(1, 0) + opaque(b""), GETFH),
         (SEQUENCE_OK, PUT_OK, u32(6, 0) + _CHANGED + u32(0), got(b"folder handle"))),
        ((SEQUENCE, putfh(ROOT), u32(32), putfh(ROOT), u32(29) + opaque(b"new.txt") + opaque(b"old.txt")),
         (SEQUENCE_OK, PUT_OK, u32(32, 0), PUT_OK, u32(29, 0) + _CHANGED * 2)),
        ((SEQUENCE, putfh(ROOT), u32(28) + opaque(b"old.txt")), (SEQUENCE_OK, PUT_OK, u32(28, 0) + _CHANGED)),
        ((SEQUENCE, putfh(ROOT), u32(28) + opaque(b"gone.txt")), (SEQUENCE_OK, PUT_OK, u32(28, 2))),
        ((SEQUENCE, putfh(ROOT), u32(26) + u64(0) + VERIFIER + u32(512, 4096, 1, 0x10)),
         (SEQUENCE_OK, PUT_OK, u32(26, 0) + VERIFIER + u32(1) + u64(3) + opaque(b"listed") + u32(1, 0x10)
          + opaque(u64(7)) + u32(0, 1))),
    ]  # fmt: skip
    turns: list[Turn] = [(CLIENT, call(0x3FFF, 0, version=4)), (SERVER, reply(0x3FFF))]
    for xid, (asked, answered) in enumerate(exchanges, 0x4000):
        status = 2 if answered[-1] == u32(28, 2) else 0
        turns += [(CLIENT, call4(xid, *asked)), (SERVER, reply(xid, results(*answered, status=status)))]
    return tuple(turns)


V4 = _answers4()
"""A client of version 4.1 sets up its session, looks around, reads, creates, writes, renames and removes."""
_REMOVE = u32(28) + opaque(b"c")
_OPENED = u32(18, 0) + STATE + _CHANGED + u32(4, 0)
RARE: tuple[Turn, ...] = (
    (CLIENT, call(1, 3, opaque(u32(5) + name3(ROOT, b"signed")) + opaque(b"checksum"), credentials=gss(2))),
    (SERVER, reply(1, opaque(u32(5, 0) + opaque(SECRET)) + opaque(b"checksum"))),
    (CLIENT, call(2, 3, opaque(b"sealed"), credentials=gss(3))),
    (SERVER, reply(2, opaque(b"sealed"))),
    (CLIENT, call(3, 0, opaque(b"token"), credentials=gss(1, procedure=1))),
    (CLIENT, call(4, 10, name3(ROOT, b"link") + u32(1, 0o777, 1, 0, 1, 0, 1) + u64(0) + u32(2) + u64(0) + u32(0)
                  + opaque(b"/etc/shadow"))),
    (CLIENT, call(5, 3, version=5)),
    (CLIENT, call(6, 15, opaque(SECRET) + name3(ROOT, b"hard"))),
    (CLIENT, call4(7, u32(12, 1, 0) + u64(0, 9) + u32(1, 1) + STATE + u32(0) + u64(1) + opaque(b"owner"), _REMOVE)),
    (CLIENT, call4(8, u32(12, 1, 0) + u64(0, 9) + u32(0) + STATE + u32(0), u32(51, 0, 1, 1, 1) + u64(0, 9) + STATE
                   + opaque(b"body"), u32(55, 2) + STATE * 2, _REMOVE)),
    (CLIENT, call4(9, u32(49) + u64(0, 9) + u32(0) + STATE + u32(1) + u64(1) + u32(1) + bytes(12) + u32(1, 0),
                   u32(32), putfh(SECRET), u32(31), _REMOVE)),
    (CLIENT, call4(10, putfh(ROOT), u32(6, 5) + opaque(b"/etc/passwd") + opaque(b"link") + u32(0, 0), u32(999))),
    (CLIENT, call4(11, putfh(ROOT), open4(b"a"), GETFH)),
    (SERVER, reply(11, results(PUT_OK, _OPENED + u32(2) + STATE + u32(0, 1) + bytes(8) + u32(0, 0, 0, 0), got(NEW)))),
    (CLIENT, call4(12, putfh(ROOT), u32(18, 0, 3, 0) + u64(7) + opaque(b"o") + u32(1, 3) + VERIFIER + u32(1, 16)
                   + opaque(b"") + u32(2) + STATE + opaque(b"b"), GETFH)),
    (SERVER, reply(12, results(PUT_OK, _OPENED + u32(3, 1, 1), got(NEW)))),
    (CLIENT, call4(13, putfh(ROOT), u32(42) + VERIFIER + opaque(b"me") + u32(0, 1, 0, 0, 1) + opaque(b"d") * 2
                   + bytes(12), u32(73, 0) + opaque(b"user.mime") + opaque(b"value"))),
    (SERVER, denied(13)),
    (CLIENT, call(14, 1, opaque(ROOT), program=NFS_ACL)),
)  # fmt: skip
"""What is said seldom: protected by RPCSEC_GSS, with links, locks, layouts, delegations, and what is wrong."""

SESSIONS = (RARE[:12], RARE[7:], *[turns[at : at + 12] for turns in (V2, V3, V4) for at in range(0, len(turns), 8)])
"""Parts of these, as long as is of use to a fuzzer."""
