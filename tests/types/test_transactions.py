"""The buffers of a batch's transactions: one at a time, and many in one pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.made import Made
from ids.types import Direction, Transaction, Transactions
from tests.factory import make_flow

FLOW = make_flow()
NAMES = ["a", "b", "c", "http.start", "http.request_header", "app-layer-event"]
LINES = b"GET / HTTP/1.1\r\nHost: h\r\nAccept: *\r\n\r\n"
MAKERS: dict[str, Callable[[int], tuple[bytes, ...]]] = {
    "a": lambda size: (b"x" * size,) if size else (),
    "c": lambda size: (b"c",) * size,
}
"""Buffers that are made of a number."""


def transaction(buffers: dict[str, tuple[bytes, ...]] | int, direction: Direction) -> Transaction:
    """Return one that has its buffers, or makes them of a number when it is asked for them."""
    what = FLOW.columns, FLOW.slot, "http", 0, direction
    if isinstance(buffers, int):
        made = Made(MAKERS, buffers)
        return Transaction(*what, made, {}, 0, 0, more=made.further)
    first = {name: many[0] for name, many in buffers.items() if many}
    more = {name: many[1:] for name, many in buffers.items() if len(many) > 1}
    return Transaction(*what, first, {}, 0, 0, more=more)


BUFFERS = st.integers(0, 3) | st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from([b"1", b"22", LINES]), max_size=3).map(tuple)
)
BATCHES = st.lists(st.builds(transaction, BUFFERS, st.sampled_from(Direction)), max_size=8).map(Transactions)


@given(BATCHES, st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)), st.sets(st.integers(0, 7)))
def test_many_columns_in_one_pass_are_the_columns_one_by_one(
    batch: Transactions, names: set[str], of_some: set[str], some: set[int]
) -> None:
    found = batch.columns(names, of_some, some)
    rows = [row for row in sorted(some) if row < len(batch)]
    one_by_one = {name: batch.column(name, rows) for name in of_some - names} | {n: batch.column(n) for n in names}
    assert found == {name: column for name, column in one_by_one.items() if column[0]}


def test_nothing_is_made_that_nobody_asks_for() -> None:
    def fail(_: int) -> tuple[bytes, ...]:
        pytest.fail("nobody asked for b")

    made = Made({"a": lambda _: (b"1",), "b": fail}, 0)
    batch = Transactions([Transaction(FLOW.columns, FLOW.slot, "x", 0, Direction.TO_SERVER, made, {}, 0, 0)])
    assert batch.columns({"a"}, {"b"}, ()) == {"a": ([0], [b"1"])}
