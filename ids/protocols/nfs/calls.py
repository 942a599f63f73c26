"""What calls and replies of NFS 2 (RFC 1094) and 3 (RFC 1813) say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ids.protocols.nfs.names import procedure
from ids.protocols.nfs.xdr import Malformed, Reader

HANDLE2_BYTES = 32
_ATTRIBUTES2_BYTES, _ATTRIBUTES3_BYTES = 68, 84
_SIZE2_AT = 20
"""Where the size stands in attributes of version 2."""
_SET_TO_CLIENT_TIME = 2
FILE_SYNC = 2
"""A WRITE that is on the disk when it is answered."""
NAMES_A_HANDLE = frozenset({"LOOKUP", "CREATE", "MKDIR", "SYMLINK", "MKNOD"})
"""What is answered with the handle of what is named."""
MAX_ENTRIES = 4096
"""Of a directory's listing: more do not fit a reply of the usual size."""


@dataclass(slots=True)
class Operation:
    """What is asked: a procedure of version 2 or 3, or an operation of version 4."""

    number: int
    name: str
    handle: bytes = b""
    """Of the file or the directory that it is about; empty: it is not said."""
    filename: bytes = b""
    """What it names in that directory, or the name by which the handle is known."""
    others: list[bytes] = field(default_factory=list)
    """Further names: to which it is renamed, what a link points to."""
    offset: int = 0
    sync: bool = False
    """A WRITE on which nothing has to follow."""

    @property
    def size(self) -> int:
        """Bytes that it keeps."""
        return len(self.handle) + len(self.filename) + sum(map(len, self.others))


@dataclass(slots=True)
class Result:
    """What became of it."""

    status: int = 0
    handle: bytes = b""
    """Of what was looked up or made."""
    eof: bool = False
    """A READ came to the end of the file."""
    entries: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Handles and their names, of a directory's listing."""


def asked(version: int, number: int, reader: Reader) -> tuple[Operation, bool]:
    """Return what a call asks, as far as it can be read, and whether all of it could."""
    operation = Operation(number, procedure(version, number))
    handle = _handle2 if version == 2 else Reader.opaque
    try:
        _read(operation, reader, handle, version)
    except Malformed:
        return operation, not reader.whole
    return operation, True


def _read(one: Operation, reader: Reader, handle: Callable[[Reader], bytes], version: int) -> None:
    name = one.name
    if name in ("NULL", "ROOT", "WRITECACHE") or name.isdigit():
        return
    one.handle = handle(reader)
    if name in ("LOOKUP", "CREATE", "MKDIR", "SYMLINK", "MKNOD", "REMOVE", "RMDIR", "RENAME"):
        one.filename = reader.opaque()
    if name == "RENAME" or name == "LINK":
        handle(reader)
        one.others.append(reader.opaque())
    elif name == "SYMLINK":
        if version == 3:
            _skip_settings3(reader)
        one.others.append(reader.opaque())
    elif name == "READ":
        one.offset = reader.u32() if version == 2 else reader.u64()
        reader.u32()
    elif name == "WRITE":
        if version == 2:
            reader.skip(12)
            one.sync = True  # RFC 1094 section 2.2.9: it is on the disk when it is answered
        else:
            one.offset = reader.u64()
            reader.u32()
            one.sync = reader.u32() == FILE_SYNC
        reader.pass_over()


def answered(version: int, operation: Operation, reader: Reader) -> tuple[Result, bool]:
    """Return what a reply says, as far as it can be read, and whether all of it could."""
    result = Result()
    if operation.name in ("NULL", "ROOT", "WRITECACHE"):
        return result, True
    try:
        result.status = reader.u32()
        if not result.status:
            (_read_result2 if version == 2 else _read_result3)(result, operation, reader)
    except Malformed:
        return result, not reader.whole
    return result, True


def _read_result2(result: Result, operation: Operation, reader: Reader) -> None:
    name = operation.name
    if name in NAMES_A_HANDLE and name != "SYMLINK":
        result.handle = _handle2(reader)
    elif name == "READ":
        attributes = reader.fixed(_ATTRIBUTES2_BYTES)
        size = int.from_bytes(attributes[_SIZE2_AT : _SIZE2_AT + 4], "big")
        result.eof = operation.offset + reader.pass_over() >= size


def _read_result3(result: Result, operation: Operation, reader: Reader) -> None:
    name = operation.name
    if name == "LOOKUP":
        result.handle = reader.opaque()
    elif name in NAMES_A_HANDLE:
        result.handle = reader.opaque() if reader.u32() else b""
    elif name == "READ":
        _skip_attributes3(reader)
        reader.u32()
        result.eof = bool(reader.u32())
        reader.pass_over()
    elif name == "READDIRPLUS":
        _skip_attributes3(reader)
        reader.skip(8)
        while reader.u32() and len(result.entries) < MAX_ENTRIES:
            reader.skip(8)
            entry = reader.opaque()
            reader.skip(8)
            _skip_attributes3(reader)
            if reader.u32():
                result.entries.append((reader.opaque(), entry))


def _handle2(reader: Reader) -> bytes:
    return reader.fixed(HANDLE2_BYTES)


def _skip_attributes3(reader: Reader) -> None:
    if reader.u32():
        reader.skip(_ATTRIBUTES3_BYTES)


def _skip_settings3(reader: Reader) -> None:
    """Pass over attributes to be set (``sattr3``)."""
    for size in (4, 4, 4, 8):
        if reader.u32():
            reader.skip(size)
    for _ in range(2):
        if reader.u32() == _SET_TO_CLIENT_TIME:
            reader.skip(8)
