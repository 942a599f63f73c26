"""What calls and replies of NFS 4 say: COMPOUND and its operations (RFC 7530, RFC 8881, RFC 7862, RFC 8276).

Nothing says how long an operation is: what stands behind one that is not known is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ids.protocols.nfs.calls import FILE_SYNC, Operation, Result
from ids.protocols.nfs.names import operation
from ids.protocols.nfs.xdr import Malformed, Reader

MAX_OPERATIONS = 64
"""Of one call: Linux takes 50, clients ask less than ten."""
_MAX_ITEMS = 64
"""Of a list within an operation."""
_LINK, _BLOCK, _CHARACTER = 5, 3, 4
"""Types of a file that is made (``nfs_ftype4``)."""

_WORD, _LONG, _STATE, _NAME, _DATA, _BITS = range(6)
_SHAPES: dict[str, tuple[int, ...]] = {
    "ACCESS": (_WORD,), "CLOSE": (_WORD, _STATE), "COMMIT": (_LONG, _WORD), "DELEGPURGE": (_LONG,),
    "DELEGRETURN": (_STATE,), "GETATTR": (_BITS,), "GETFH": (), "LINK": (_NAME,),
    "LOCKT": (_WORD, _LONG, _LONG, _LONG, _DATA), "LOCKU": (_WORD, _WORD, _STATE, _LONG, _LONG), "LOOKUP": (_NAME,),
    "LOOKUPP": (), "NVERIFY": (_BITS, _DATA), "OPENATTR": (_WORD,), "OPEN_CONFIRM": (_STATE, _WORD),
    "OPEN_DOWNGRADE": (_STATE, _WORD, _WORD, _WORD), "PUTPUBFH": (), "PUTROOTFH": (),
    "READDIR": (_LONG, _LONG, _WORD, _WORD, _BITS), "READLINK": (), "REMOVE": (_NAME,), "RENAME": (_NAME, _NAME),
    "RENEW": (_LONG,), "RESTOREFH": (), "SAVEFH": (), "SECINFO": (_NAME,), "SETATTR": (_STATE, _BITS, _DATA),
    "SETCLIENTID": (_LONG, _DATA, _WORD, _DATA, _DATA, _WORD), "SETCLIENTID_CONFIRM": (_LONG, _LONG),
    "VERIFY": (_BITS, _DATA), "RELEASE_LOCKOWNER": (_LONG, _DATA), "BIND_CONN_TO_SESSION": (_STATE, _WORD, _WORD),
    "DESTROY_SESSION": (_STATE,), "FREE_STATEID": (_STATE,),
    "GET_DIR_DELEGATION": (_WORD, _BITS, _LONG, _WORD, _LONG, _WORD, _BITS, _BITS),
    "GETDEVICEINFO": (_STATE, _WORD, _WORD, _BITS), "GETDEVICELIST": (_WORD, _WORD, _LONG, _LONG),
    "LAYOUTGET": (_WORD, _WORD, _WORD, _LONG, _LONG, _LONG, _STATE, _WORD), "SECINFO_NO_NAME": (_WORD,),
    "SEQUENCE": (_STATE, _WORD, _WORD, _WORD, _WORD), "SET_SSV": (_DATA, _DATA), "DESTROY_CLIENTID": (_LONG,),
    "RECLAIM_COMPLETE": (_WORD,), "ALLOCATE": (_STATE, _LONG, _LONG), "DEALLOCATE": (_STATE, _LONG, _LONG),
    "IO_ADVISE": (_STATE, _LONG, _LONG, _BITS), "OFFLOAD_CANCEL": (_STATE,), "OFFLOAD_STATUS": (_STATE,),
    "READ_PLUS": (_STATE, _LONG, _WORD), "SEEK": (_STATE, _LONG, _WORD), "CLONE": (_STATE, _STATE, _LONG, _LONG, _LONG),
    "LAYOUTSTATS": (_LONG, _LONG, _STATE, _LONG, _LONG, _LONG, _LONG, _STATE, _WORD, _DATA),
    "WRITE_SAME": (_STATE, _WORD, _LONG, _LONG, _LONG, _LONG, _WORD, _LONG, _DATA),
    "GETXATTR": (_NAME,), "SETXATTR": (_WORD, _NAME, _DATA), "LISTXATTRS": (_LONG, _WORD), "REMOVEXATTR": (_NAME,),
}  # fmt: skip
"""Arguments of the operations that have no choices in them."""
_SIZES = {_WORD: 4, _LONG: 8, _STATE: 16}

_NO_RESULT = (
    "LOOKUP", "LOOKUPP", "PUTFH", "PUTPUBFH", "PUTROOTFH", "SAVEFH", "RESTOREFH", "RENEW", "VERIFY", "NVERIFY",
    "DELEGPURGE", "DELEGRETURN", "OPENATTR", "SETCLIENTID_CONFIRM", "RELEASE_LOCKOWNER", "DESTROY_SESSION",
    "FREE_STATEID", "DESTROY_CLIENTID", "RECLAIM_COMPLETE", "LOCKT", "ALLOCATE", "DEALLOCATE", "BACKCHANNEL_CTL",
    "LAYOUTERROR", "LAYOUTSTATS", "OFFLOAD_CANCEL", "CLONE",
)  # fmt: skip
_CHANGE = (_WORD, _LONG, _LONG)
_RESULTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(_NO_RESULT, ()),
    "ACCESS": (_WORD, _WORD), "CLOSE": (_STATE,), "COMMIT": (_LONG,), "CREATE": (*_CHANGE, _BITS),
    "GETATTR": (_BITS, _DATA), "LINK": _CHANGE, "LOCK": (_STATE,), "LOCKU": (_STATE,), "OPEN_CONFIRM": (_STATE,),
    "OPEN_DOWNGRADE": (_STATE,), "READLINK": (_DATA,), "REMOVE": _CHANGE, "RENAME": _CHANGE * 2, "SETATTR": (_BITS,),
    "SETCLIENTID": (_LONG, _LONG), "WRITE": (_WORD, _WORD, _LONG),
    "SEQUENCE": (_STATE, _WORD, _WORD, _WORD, _WORD, _WORD), "BIND_CONN_TO_SESSION": (_STATE, _WORD, _WORD),
    "IO_ADVISE": (_BITS,), "OFFLOAD_STATUS": (_LONG, _BITS), "SEEK": (_WORD, _LONG), "TEST_STATEID": (_BITS,),
    "SET_SSV": (_DATA,), "GETDEVICEINFO": (_WORD, _DATA, _BITS), "SETXATTR": _CHANGE, "REMOVEXATTR": _CHANGE,
    "GETXATTR": (_DATA,), "CREATE_SESSION": (_STATE, *(_WORD,) * 8, _BITS, *(_WORD,) * 6, _BITS),
}  # fmt: skip
"""Results of operations that went well; the others are at the end of their calls, or read by a function."""

_RANKED = (
    "REMOVE", "RENAME", "LINK", "CREATE", "WRITE", "SETATTR", "SETXATTR", "REMOVEXATTR", "COPY", "CLONE", "ALLOCATE",
    "DEALLOCATE", "OPEN", "READ", "READ_PLUS", "COMMIT", "CLOSE", "READDIR", "READLINK", "LOCK", "LOCKU", "LOCKT",
    "LOOKUP", "LOOKUPP", "SECINFO", "SECINFO_NO_NAME", "GETXATTR", "LISTXATTRS",
)  # fmt: skip
AUXILIARY = frozenset({
    "PUTFH", "PUTPUBFH", "PUTROOTFH", "GETFH", "SAVEFH", "RESTOREFH", "VERIFY", "NVERIFY", "SEQUENCE", "GETATTR",
    "RENEW",
})  # fmt: skip
"""What a call that asks for nothing else has no event for."""
_RANKS = {name: rank for rank, name in enumerate(_RANKED)} | dict.fromkeys(AUXILIARY, 1000) | {"ACCESS": 999}


def main(operations: Iterable[Operation]) -> Operation | None:
    """Return the operation for whose sake a call is made: what changes something goes before what reads."""
    return min(operations, key=lambda one: _RANKS.get(one.name, 500), default=None)


_Place = tuple[bytes, bytes]
"""The handle that operations are about, and its name; each empty where it is not known."""
_NOWHERE: _Place = (b"", b"")


class Rest(NamedTuple):
    """Where reading goes on behind contents that were not kept."""

    left: int
    """Operations that were not read."""
    at: int
    """Where they begin in the record."""
    current: _Place
    saved: _Place


class Asked(NamedTuple):
    """What a call asks."""

    operations: list[Operation]
    unread: int = 0
    """So many more there are: behind one that is not known, or beyond a limit."""
    cut: bool = False
    """That is because the record is cut: its end was not kept."""
    rest: Rest | None = None
    """Where the others begin, if that is known."""
    whole: bool = True
    """Nothing about them is malformed."""


def asked(reader: Reader, named: Callable[[bytes], bytes]) -> Asked:
    """Return what a call asks, as far as it can be read.

    ``named`` returns the name of a handle, empty where it is not known.
    """
    try:
        reader.pass_over()  # the tag
        reader.u32()  # the minor version
        return resumed(reader, named, Rest(reader.u32(), 0, _NOWHERE, _NOWHERE))
    except Malformed:
        return Asked([], 0 if reader.whole else 1, cut=True, whole=not reader.whole)


def resumed(reader: Reader, named: Callable[[bytes], bytes], rest: Rest) -> Asked:
    """Return what the rest of a call asks, as `asked` does."""
    operations: list[Operation] = []
    count, _, current, saved = rest
    at = reader.at
    try:
        while len(operations) < min(count, MAX_OPERATIONS):
            number = reader.u32()
            one = Operation(number, operation(number), current[0])
            operations.append(one)
            if one.name == "PUTFH":
                one.handle = reader.opaque()
                current = one.handle, named(one.handle)
            elif not _read(one, reader):
                return Asked(operations, max(count - len(operations), 0))
            current, saved = _moved(one, current, saved)
            one.filename = one.filename or current[1]
            at = reader.at
    except Malformed:
        left = 0 if reader.whole else max(count - len(operations), 1)
        behind = Rest(left, at, current, saved) if reader.at == at > reader.end else None
        return Asked(operations, left, cut=True, whole=not reader.whole, rest=behind)
    return Asked(operations, max(count - len(operations), 0))


def _moved(one: Operation, current: _Place, saved: _Place) -> tuple[_Place, _Place]:
    """Return the current and the saved handle behind an operation (RFC 7530 section 2.2, RFC 8881 section 2.3)."""
    name = one.name
    if name in ("LOOKUP", "OPEN", "CREATE"):
        return (b"", one.filename), saved
    if name in ("PUTROOTFH", "PUTPUBFH", "LOOKUPP", "OPENATTR"):
        return (b"", b""), saved
    if name == "SAVEFH":
        return current, current
    return (saved if name == "RESTOREFH" else current), saved


def _read(one: Operation, reader: Reader) -> bool:
    """Read the arguments of an operation; return whether it is known how."""
    shape = _SHAPES.get(one.name)
    if shape is not None:
        names = _take(shape, reader)
        if names:
            one.filename, *one.others = names
        return True
    special = _SPECIAL.get(one.name)
    return special is not None and special(one, reader) is not False


def _take(shape: tuple[int, ...], reader: Reader) -> list[bytes]:
    """Pass over what has a shape; return the names in it."""
    names: list[bytes] = []
    for kind in shape:
        if kind == _NAME:
            names.append(reader.opaque())
        elif kind == _DATA:
            reader.pass_over()
        elif kind == _BITS:
            reader.skip(4 * reader.u32())
        else:
            reader.fixed(_SIZES[kind])
    return names


# Arguments with choices in them: each function returns False where what follows cannot be found.


def _create(one: Operation, reader: Reader) -> None:
    kind = reader.u32()
    target = reader.opaque() if kind == _LINK else None
    if kind in (_BLOCK, _CHARACTER):
        reader.u64()
    one.filename = reader.opaque()
    if target is not None:
        one.others.append(target)
    _take((_BITS, _DATA), reader)


def _open(one: Operation, reader: Reader) -> bool:
    _take((_WORD, _WORD, _WORD, _LONG, _DATA), reader)
    if reader.u32():  # it may be made
        mode = reader.u32()
        if mode in (0, 1):
            _take((_BITS, _DATA), reader)
        elif mode in (2, 3):
            _take((_LONG,) if mode == 2 else (_LONG, _BITS, _DATA), reader)
        else:
            return False
    claims = ((_NAME,), (_WORD,), (_STATE, _NAME), (_NAME,), (), (_STATE,), ())
    claim = reader.u32()
    if claim >= len(claims):
        return False
    for name in _take(claims[claim], reader):
        one.filename = name
    return True


def _lock(one: Operation, reader: Reader) -> None:
    _take((_WORD, _WORD, _LONG, _LONG), reader)
    _take((_WORD, _STATE, _WORD, _LONG, _DATA) if reader.u32() else (_STATE, _WORD), reader)


def _write(one: Operation, reader: Reader) -> None:
    reader.fixed(16)
    one.offset = reader.u64()
    one.sync = reader.u32() == FILE_SYNC
    reader.pass_over()


def _read_args(one: Operation, reader: Reader) -> None:
    reader.fixed(16)
    one.offset = reader.u64()
    reader.u32()


def _exchange_id(one: Operation, reader: Reader) -> bool:
    _take((_LONG, _DATA, _WORD), reader)
    protection = reader.u32()
    if protection > 2:
        return False
    if protection:
        _take((_BITS, _BITS), reader)
    if protection == 2:
        for _ in range(2):
            for _ in _counted(reader):
                reader.pass_over()
        reader.u64()
    for _ in _counted(reader):
        _take((_DATA, _DATA, _LONG, _WORD), reader)
    return True


def _create_session(one: Operation, reader: Reader) -> bool:
    _take((_LONG, _WORD, _WORD), reader)
    for _ in range(2):
        _take((_WORD,) * 6 + (_BITS,), reader)
    return _backchannel_ctl(one, reader)


def _backchannel_ctl(one: Operation, reader: Reader) -> bool:
    reader.u32()
    for _ in _counted(reader):
        flavor = reader.u32()
        if flavor == 1:
            _take((_WORD, _DATA, _WORD, _WORD, _BITS), reader)
        elif flavor == 6:
            _take((_WORD, _DATA, _DATA), reader)
        elif flavor:
            return False
    return True


def _layoutreturn(one: Operation, reader: Reader) -> None:
    _take((_WORD, _WORD, _WORD), reader)
    if reader.u32() == 1:
        _take((_LONG, _LONG, _STATE, _DATA), reader)


def _layoutcommit(one: Operation, reader: Reader) -> None:
    _take((_LONG, _LONG, _WORD, _STATE), reader)
    if reader.u32():
        reader.u64()
    if reader.u32():
        _take((_LONG, _WORD), reader)
    _take((_WORD, _DATA), reader)


def _test_stateid(one: Operation, reader: Reader) -> None:
    reader.skip(16 * reader.u32())


def _want_delegation(one: Operation, reader: Reader) -> bool:
    reader.u32()
    claim = reader.u32()
    if claim == 1:
        reader.u32()
    return claim in (1, 4, 6)


def _copy(one: Operation, reader: Reader) -> bool:
    _take((_STATE, _STATE, _LONG, _LONG, _LONG, _WORD, _WORD), reader)
    return all(_pass_server(reader) for _ in _counted(reader))


def _copy_notify(one: Operation, reader: Reader) -> bool:
    reader.fixed(16)
    return _pass_server(reader)


def _pass_server(reader: Reader) -> bool:
    """Pass over where a server is (``netloc4``)."""
    kind = reader.u32()
    _take((_DATA, _DATA) if kind == 3 else (_DATA,), reader)
    return 1 <= kind <= 3


def _layouterror(one: Operation, reader: Reader) -> None:
    _take((_LONG, _LONG, _STATE), reader)
    reader.skip(24 * reader.u32())


def _counted(reader: Reader) -> Iterator[int]:
    """Count the items of a list; raises `Malformed` where there are too many."""
    count = reader.u32()
    if count > _MAX_ITEMS:
        raise Malformed
    return iter(range(count))


_SPECIAL: dict[str, Callable[[Operation, Reader], bool | None]] = {
    "CREATE": _create, "OPEN": _open, "LOCK": _lock, "WRITE": _write, "READ": _read_args,
    "EXCHANGE_ID": _exchange_id, "CREATE_SESSION": _create_session, "LAYOUTRETURN": _layoutreturn,
    "LAYOUTCOMMIT": _layoutcommit, "TEST_STATEID": _test_stateid, "BACKCHANNEL_CTL": _backchannel_ctl, "COPY": _copy,
    "COPY_NOTIFY": _copy_notify, "LAYOUTERROR": _layouterror, "WANT_DELEGATION": _want_delegation,
}  # fmt: skip


# Results


def answered(reader: Reader) -> tuple[int, list[tuple[str, Result]], bool]:
    """Return the status of a call, the results of its operations by their names, as far as they can be read, and
    whether nothing about them is malformed.
    """
    status = 0
    results: list[tuple[str, Result]] = []
    try:
        status = reader.u32()
        reader.pass_over()
        count = reader.u32()
        while len(results) < min(count, MAX_OPERATIONS):
            name, result = operation(reader.u32()), Result()
            results.append((name, result))
            result.status = reader.u32()
            if result.status or not _read_result(name, result, reader):
                break
    except Malformed:
        return status, results, not reader.whole
    return status, results, True


def _read_result(name: str, result: Result, reader: Reader) -> bool:
    """Read what an operation that went well came to; return whether it is known how."""
    if name == "GETFH":
        result.handle = reader.opaque()
    elif name == "READ":
        result.eof = bool(reader.u32())
        reader.pass_over()
    elif name == "OPEN":
        return _read_opened(reader)
    elif name == "READDIR":
        reader.skip(8)
        while reader.u32():
            _take((_LONG, _DATA, _BITS, _DATA), reader)
        reader.u32()
    elif name in ("COPY", "WRITE_SAME"):
        reader.skip(16 * reader.u32())
        _take((_LONG, _WORD, _LONG, *((_WORD, _WORD) if name == "COPY" else ())), reader)
    elif name in ("LAYOUTCOMMIT", "LAYOUTRETURN"):
        if reader.u32():
            _take((_LONG if name == "LAYOUTCOMMIT" else _STATE,), reader)
    else:
        shape = _RESULTS.get(name)
        if shape is None:
            return False
        _take(shape, reader)
    return True


def _read_opened(reader: Reader) -> bool:
    """Pass over what OPEN comes to, with the delegation (RFC 8881 section 18.16)."""
    _take((_STATE, *_CHANGE, _WORD, _BITS), reader)
    delegation = reader.u32()
    permissions = (_WORD, _WORD, _WORD, _DATA)
    if delegation == 1:
        _take((_STATE, _WORD, *permissions), reader)
    elif delegation == 2:
        _take((_STATE, _WORD, _WORD, _LONG, *permissions), reader)  # a limit of either kind has eight bytes
    elif delegation == 3 and reader.u32() in (1, 2):
        reader.u32()
    return delegation <= 3
