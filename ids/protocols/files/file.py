"""One file on its way through a protocol.

(1) A file is open, then it ends once: complete (`CLOSED`) or not (`TRUNCATED`). Lost bytes count as its size, and are
    in no digest; a file with a gap is never complete.
(2) The first bytes are kept, as long as somebody wants content. A digest is made of these when something asks; only
    when a file outgrows them, the digests that are wanted by then go on with each piece.
(3) What rules ask of a file is in `buffers`; digests and the size only once it has ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from enum import Enum
from typing import Any, Protocol, TypeAlias

from ids.protocols.files.magic import describe
from ids.types import Direction, FlowColumns, Transaction
from ids.types.transactions import Fields

COST = 512
"""Bytes that an open file counts for besides its content."""
_FIRST_LOOK = 1
"""Bytes of a file at which rules see it first; then each time it has doubled."""


FieldsOf: TypeAlias = "Fields | Callable[[], Fields] | Transaction"
"""What EVE logs of an exchange, what makes it when it is asked for, or the transaction that has it."""


class State(Enum):
    """How far a file is, in EVE's words."""

    OPEN = "UNKNOWN"
    CLOSED = "CLOSED"
    TRUNCATED = "TRUNCATED"


class Keeper(Protocol):
    """Who is asked how much of a file is kept, and hears of its end: `ids.protocols.files.tracker.Files`."""

    flows: FlowColumns
    asked: bool
    """Rules ask for buffers of files."""

    def room(self, file: File, size: int) -> int:
        """Return how many further bytes of a file are kept, and hold as many."""

    def streamed(self) -> tuple[str, ...]:
        """Return the digests that are brought up to date with each piece of a file too large to be kept."""

    def end(self, file: File) -> None:
        """Take a file that has ended."""

    def report(self, file: File) -> None:
        """Take a file that ended before and whose event is to be written now."""

    def forget(self, file: File) -> None:
        """Take back what a file held that nobody will hear of."""


class File:
    """A file of one flow; made by `Files.open` or `Files.whole`."""

    size = 0
    """Bytes so far, lost ones included."""
    gaps = False
    state = State.OPEN
    start: int | None = None
    """Of a range of a larger file: where it starts,"""
    end: int | None = None
    """and its last byte."""
    ts_ns = 0
    number = 0
    """`PacketBatch.number` of the packet that ended it."""
    store = False
    """It is to be written to the store when it has ended,"""
    sids: tuple[int, ...] = ()
    """by these rules."""
    stored = False
    file_id = 0
    """Number within the store."""
    whole = True
    """All its bytes are kept, but for lost ones."""
    part = 0
    """Of several files in one message: which."""
    reported = True
    """Its event is written when it has ended; False: when its parser says so (`report`)."""
    beside: Mapping[str, bytes] = {}
    """Other buffers of the same side of the exchange."""
    _kept: bytes | bytearray = b""
    _held = 0
    """Bytes of `Files.held` that are this file's."""
    _digests: Mapping[str, Any] = {}
    """Being computed: those of a file that has outgrown what is kept."""
    _known: Mapping[str, str] = {}
    """Digests that were asked for."""
    _magic: str | None = None
    _next_look = _FIRST_LOOK

    def __init__(
        self,
        files: Keeper,
        slot: int,
        protocol: str,
        tx_id: int,
        direction: Direction,
        name: bytes,
        fields: FieldsOf,
    ) -> None:
        self._files = files
        self._fields = fields
        self.slot = slot
        self.protocol = protocol
        self.tx_id = tx_id
        self.direction = direction
        """Which side sends it."""
        self.name = name
        """As it is called on the wire, decoded; empty where it has no name."""

    @property
    def fields(self) -> Fields:
        """What EVE logs of the exchange."""
        fields = self._fields
        if isinstance(fields, Transaction):
            return fields.fields
        return fields() if callable(fields) else fields

    @property
    def ended(self) -> bool:
        """No more comes of it."""
        return self.state is not State.OPEN

    @property
    def content(self) -> bytes:
        """What is kept of it: all of it where it is `whole`, else its beginning."""
        return bytes(self._kept)

    @property
    def buffers(self) -> Mapping[str, bytes]:
        """What rules can ask of it, each made when it is asked for."""
        return FileBuffers(self)

    def append(self, data: bytes, ts_ns: int = 0, number: int = 0, out: list[Transaction] | None = None) -> None:
        """Take its next bytes; append to ``out`` what rules are to see of it now, if it is time for that."""
        if self.ended or not data:
            return
        self._keep(data)
        self.size += len(data)
        if out is not None and self.whole and self._files.asked and self.size >= self._next_look:
            self._next_look = 2 * self.size
            out.append(self.transaction(ts_ns, number, partial=True))

    def gap(self, size: int) -> None:
        """Note bytes that were lost."""
        if not self.ended and size > 0:
            self.size += size
            self.gaps = True

    def close(self, ts_ns: int, number: int, out: list[Transaction] | None = None) -> None:
        """End it: it is complete, unless bytes were lost."""
        self._end(State.TRUNCATED if self.gaps else State.CLOSED, ts_ns, number, out)

    def truncate(self, ts_ns: int, number: int, out: list[Transaction] | None = None) -> None:
        """End it before its end."""
        self._end(State.TRUNCATED, ts_ns, number, out)

    def report(self, fields: FieldsOf) -> None:
        """Have the event of a file written that has ended, with what is known of its exchange by now."""
        if not self.reported:
            self.reported, self._fields = True, fields
            self._files.report(self)

    def store_for(self, sids: Sequence[int]) -> None:
        """Have it stored when it has ended, for these rules; for none, leave it."""
        if sids:
            self.store = True
            self.sids = tuple(dict.fromkeys((*self.sids, *sids)))

    def settle(self, digests: Sequence[str], magic: bool) -> None:
        """Find out what its event will say, and let its content go; for one whose event is written later."""
        for name in digests:
            self.digest(name)
        if magic:
            self.magic()
        self._kept, self.whole, self.beside = b"", False, {}

    def release(self) -> None:
        """Give back what it holds, without a word; for a parser that is let go. Does nothing to one that has ended."""
        if not self.ended:
            self.state = State.TRUNCATED
            self._files.forget(self)
            self._kept = b""

    def digest(self, name: str) -> str | None:
        """Return a digest in hexadecimal; None where it is not known: the file goes on, or not all of it was kept."""
        known = self._known.get(name)
        if known is None:
            machine = self._digests.get(name)
            if machine is None:
                if not (self.whole and self.ended):
                    return None
                machine = hashlib.new(name, self._kept, usedforsecurity=False)
            known = machine.hexdigest()
            if self.ended:
                self._known = {**self._known, name: known}
        return known if self.ended else None

    def magic(self) -> str | None:
        """Return what it is by its content, in libmagic's words; None where there is no content, or no libmagic."""
        if self._magic is None and self._kept:
            said = describe(bytes(self._kept))
            if not self.ended:
                return said
            self._magic = said
        return self._magic

    def transaction(self, ts_ns: int, number: int, *, partial: bool = False) -> Transaction:
        """Return it as what rules look at."""
        return Transaction(
            self._files.flows, self.slot, self.protocol, self.tx_id, self.direction, self.buffers, lambda: self.fields,
            ts_ns, number, partial=partial, files=(self,),
        )  # fmt: skip

    def _end(self, state: State, ts_ns: int, number: int, out: list[Transaction] | None) -> None:
        if self.ended:
            return
        self.state, self.ts_ns, self.number = state, ts_ns, number
        self._files.end(self)
        if out is not None and self._files.asked:
            out.append(self.transaction(ts_ns, number))

    def _keep(self, data: bytes) -> None:
        """Keep as much of the next bytes as is to be kept, and let the digests have what is not."""
        if self._digests:
            for machine in self._digests.values():
                machine.update(data)
        elif self.whole:
            room = self._files.room(self, len(data))
            if room < len(data):
                self.whole = False
                self._digests = {
                    name: hashlib.new(name, self._kept, usedforsecurity=False) for name in self._files.streamed()
                }
                for machine in self._digests.values():
                    machine.update(data)
            if room:
                if not isinstance(self._kept, bytearray):
                    self._kept = bytearray(self._kept)
                self._kept += data[:room]
                self._held += room

    @property
    def kept(self) -> int:
        """Bytes of its content that it keeps for itself."""
        return self._held

    @property
    def held(self) -> int:
        """Bytes that it counts for."""
        return COST + self._held


class FileBuffers(Mapping[str, bytes]):
    """The buffers of a file, and beside them those of its exchange."""

    __slots__ = ("_file",)

    def __init__(self, file: File) -> None:
        self._file = file

    @property
    def makers(self) -> Set[str]:
        """The names that it may have."""
        beside = self._file.beside
        return _MAKERS.keys() | getattr(beside, "makers", beside)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a buffer, or ``default`` where there is none."""
        make = _MAKERS.get(name)
        if make is None:
            return self._file.beside.get(name, default)
        found = make(self._file)
        return default if found is None else found

    def __getitem__(self, name: str) -> bytes:
        found: bytes | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in (*_MAKERS, *self._file.beside) if self.get(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _digest(name: str) -> Callable[[File], bytes | None]:
    def made(file: File) -> bytes | None:
        digest = file.digest(name) if file.state is State.CLOSED else None
        return digest.encode() if digest is not None else None

    return made


def _magic(file: File) -> bytes | None:
    said = file.magic() if file.ended else None
    return said.encode("utf-8", "replace") if said is not None else None


_MAKERS: dict[str, Callable[[File], bytes | None]] = {
    "file.data": lambda file: file.content or None,
    "file.name": lambda file: file.name or None,
    "file.magic": _magic,
    "file.size": lambda file: b"%d" % file.size if file.ended else None,
    "file.md5": _digest("md5"),
    "file.sha1": _digest("sha1"),
    "file.sha256": _digest("sha256"),
}

FILE_BUFFERS: Sequence[str] = tuple(_MAKERS)
"""Names of the buffers that every file has."""
