"""Protocol exchanges, as named buffers that are made when something asks for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from typing import Any

from ids.types.flows import Flow, FlowColumns
from ids.types.packets import Direction

LINES: Mapping[str, tuple[str, Direction]] = {
    "http.request_header": ("http.start", Direction.TO_SERVER),
    "http.response_header": ("http.start", Direction.TO_CLIENT),
}
"""Buffers that are the lines of another one behind the first, each line an instance, up to an empty one; and the side
that sends them. They are made when they are asked for, and not kept: a head may have thousands."""

DERIVED: dict[str, Callable[[Transaction], Sequence[bytes]]] = {}
"""Buffers that are put together of others when something asks for them, and not kept; filled as `ODD_OF`."""

Fields = Mapping[str, Any]
_NO_MORE: Mapping[str, tuple[bytes, ...]] = {}

NO_EXCHANGE = -1
"""The number of what is said of a flow, and of no exchange in it."""

ODD = "app-layer-event"
"""The buffer in which parsers name what they find odd."""

ODD_OF: dict[str, Callable[[Transaction], Sequence[bytes]]] = {}
"""By protocol: what finds out what is odd about a transaction when something asks, of its other buffers; filled by the
packages of these protocols when they are imported."""


class Transaction:
    """One protocol exchange, or the part of it known so far."""

    __slots__ = (
        "_fields", "behind", "buffers", "complete", "direction", "files", "flows", "last", "more", "number", "partial",
        "protocol", "shown_id", "slot", "ts_ns", "tx_id", "within",
    )  # fmt: skip

    def __init__(
        self,
        flows: FlowColumns,
        slot: int,
        protocol: str,
        tx_id: int,
        direction: Direction,
        buffers: Mapping[str, bytes],
        fields: Fields | Callable[[], Fields],
        ts_ns: int,
        number: int,
        complete: bool = False,
        more: Mapping[str, tuple[bytes, ...]] = _NO_MORE,
        behind: int = 0,
        partial: bool = False,
        files: Sequence[Any] = (),
    ) -> None:
        self.flows = flows
        self.slot = slot
        self.protocol = protocol
        """EVE's name of the protocol, such as ``http``."""
        self.tx_id = tx_id
        """0-based within the flow; behind a tunnel's beginning it may begin anew, see ``key``. Or `NO_EXCHANGE`."""
        self.shown_id = tx_id
        """The number that alerts have for it: another one where Suricata counts each message."""
        self.within = 0
        """How many protocols of the flow had handed it on before this one."""
        self.direction = direction
        """Which side sent the part that completed these buffers."""
        self.buffers = buffers
        """Suricata's sticky buffer names (``http.uri``) to their bytes; of several instances, the first. It may make
        a buffer when it is asked for it; use ``get``. Then its ``makers`` are the names of those that it may have."""
        self.more = more
        """Of buffers that occur several times in one transaction: the further instances."""
        self._fields = fields
        self.ts_ns = ts_ns
        self.number = number
        """`PacketBatch.number` of the packet that completed these buffers."""
        self.behind = behind
        """Bytes that its parser was fed behind it, in the same piece: so it is known which packet completed it."""
        self.complete = complete
        """Both sides of the exchange are done: an event of the protocol may be written."""
        self.partial = partial
        """This side goes on: its head is all there, its body may grow (`ids.protocols.protocol.Buffer.grows`). It comes
        again, in full at the end."""
        self.last = False
        """Behind it its protocol ends, by what was said: the rest of the flow is another's, or encrypted."""
        self.files = files
        """The files in it (`ids.protocols.files.File`), where somebody wants files; they travel with it no further."""

    @property
    def flow(self) -> Flow:
        """The flow that it belongs to."""
        return self.flows.view(self.slot)

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from all other exchanges of its flow."""
        return self.protocol, self.within, self.tx_id

    @property
    def fields(self) -> Fields:
        """What EVE logs of it: the object under the protocol's key. Made when first asked for."""
        if callable(self._fields):
            self._fields = self._fields()
        return self._fields

    def __reduce__(self) -> tuple[Any, ...]:
        """Let what events say of the transaction travel to another process; its buffers stay behind."""
        what = self.protocol, self.shown_id, self.direction, dict(self.fields), self.ts_ns, self.number, self.complete
        return _travelled, (self.flow, *what)

    def head_as_sent(self) -> bytes | None:
        """Return the head of the message as it was sent, where its parser found it ordinary: then every buffer with
        ``seams`` is made of pieces of it (`ids.protocols.protocol.Buffer`). None where that is not known.
        """
        ordinary = getattr(self.buffers, "head_as_sent", None)
        return None if ordinary is None else ordinary()

    def spelt(self) -> str | None:
        """Return what EVE logs of it as JSON, its key before it, where its parser has that ready."""
        ready = getattr(self.buffers, "spelt", None)
        return None if ready is None else ready()

    def instances(self, name: str) -> Sequence[bytes]:
        """Return all instances of a buffer, in their order; empty where the transaction has none."""
        if name in LINES:
            return self._lines(name)
        if name in DERIVED:
            return DERIVED[name](self)
        if name == ODD and self.tx_id != NO_EXCHANGE and (odd := ODD_OF.get(self.protocol)) is not None:
            return odd(self)
        first = self.buffers.get(name)
        if first is None:
            return ()
        further = self.more.get(name)
        return (first, *further) if further else (first,)

    def _lines(self, name: str) -> Sequence[bytes]:
        base, side = LINES[name]
        whole = self.buffers.get(base) if self.direction == side else None
        return () if whole is None else whole.split(b"\r\n")[1:-2]


class Transactions(Sequence[Transaction]):
    """The transactions of one batch, in the order of the packets that completed them."""

    def __init__(self, rows: Sequence[Transaction] = ()) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: Any) -> Any:
        return self._rows[row]

    def __iter__(self) -> Iterator[Transaction]:
        return iter(self._rows)

    def column(self, name: str, of: Sequence[int] | None = None) -> tuple[list[int], list[bytes]]:
        """Return all instances of one buffer in the batch, or of some rows, and beside each its transaction's row."""
        rows: list[int] = []
        contents: list[bytes] = []
        chosen = enumerate(self._rows) if of is None else zip(of, map(self._rows.__getitem__, of), strict=True)
        for row, transaction in chosen:
            instances = transaction.instances(name)
            rows += [row] * len(instances)
            contents += instances
        return rows, contents

    def columns(
        self, names: Set[str], of_some: Set[str], some: Collection[int]
    ) -> dict[str, tuple[list[int], list[bytes]]]:
        """Return the columns of many buffers: of ``names`` in all rows, and of ``of_some`` in the rows ``some``.

        Buffers that no row has are left out. It takes one pass, and asks each transaction only for what it may have.
        """
        columns: dict[str, tuple[list[int], list[bytes]]] = {}
        everywhere, there = _Wanted(names), _Wanted(names | of_some)
        rows_to_ask = range(len(self._rows)) if names else [row for row in sorted(some) if row < len(self._rows)]
        for row in rows_to_ask:
            transaction = self._rows[row]
            wanted = there if row in some else everywhere
            buffers, more = transaction.buffers, transaction.more
            for name in wanted.of(transaction):
                first = buffers.get(name)
                if first is None:
                    continue
                column = columns.get(name)
                if column is None:
                    column = columns[name] = [], []
                column[0].append(row)
                column[1].append(first)
                if further := more.get(name):  # as a whole it would have to make all buffers
                    column[0].extend([row] * len(further))
                    column[1].extend(further)
            for name in wanted.computed:
                instances = transaction.instances(name)
                if instances:
                    rows, contents = columns.setdefault(name, ([], []))
                    rows += [row] * len(instances)
                    contents += instances
        return columns


class _Wanted:
    """Names of buffers that are wanted, and which of them a transaction may have."""

    __slots__ = ("_common", "_names", "computed")

    def __init__(self, names: Set[str]) -> None:
        self.computed = [name for name in sorted(names) if name in LINES or name == ODD or name in DERIVED]
        """What no mapping says that it has."""
        self._names = names - set(self.computed)
        self._common: dict[int, tuple[Collection[str], list[str]]] = {}
        """By mapping of what makes buffers: it, and the names that are wanted of it."""

    def of(self, transaction: Transaction) -> list[str]:
        """Return the names that the buffers of a transaction may have."""
        makers: Collection[str] | None = getattr(transaction.buffers, "makers", None)
        if makers is None:
            return [name for name in transaction.buffers if name in self._names]
        known = self._common.get(id(makers))
        if known is None or known[0] is not makers:
            known = self._common[id(makers)] = makers, [name for name in makers if name in self._names]
        return known[1]


def _travelled(
    flow: Flow, protocol: str, tx_id: int, direction: Direction, fields: Fields, ts_ns: int, number: int, complete: bool
) -> Transaction:
    return Transaction(flow.columns, flow.slot, protocol, tx_id, direction, {}, fields, ts_ns, number, complete)
