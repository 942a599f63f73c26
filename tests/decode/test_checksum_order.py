"""Sums of segments in whatever order they come: as right, and as cheap, as in the order of the buffer."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import checksum

from ids.decode.checksum import MIN_SEGMENT, segments_valid
from tests.cost import LINEAR, growth


@given(st.lists(st.tuples(st.integers(8, 60), st.booleans(), st.integers(0, 5)), min_size=1, max_size=12), st.data())
def test_the_order_of_segments_changes_no_sum(shapes: list[tuple[int, bool, int]], data: st.DataObject) -> None:
    """Each holds a checksum that is right or is not, some bytes behind the one before it."""
    buffer, starts, ends, valid = b"", [], [], []
    for size, right, gap in shapes:
        body = b"\0\0" + data.draw(st.binary(min_size=size, max_size=size)) + b"\1"
        total = checksum(body)
        body = (total if right else total ^ 1).to_bytes(2, "big") + body[2:]
        buffer += bytes(gap)
        starts.append(len(buffer))
        buffer += body
        ends.append(len(buffer))
        valid.append(right)
    order = data.draw(st.permutations(range(len(shapes))))
    of = np.array(order)
    found = segments_valid(np.frombuffer(buffer, np.uint8), np.array(starts)[of], np.array(ends)[of])
    assert found.tolist() == [valid[place] for place in order]


def test_leaping_to_and_fro_costs_what_lies_there_once() -> None:
    """As small packets and large ones do, which have a ring each and come in the order of time."""

    def leap(count: int) -> None:
        half = count * 1024
        start = np.arange(count) // 2 * 2048 + np.where(np.arange(count) % 2, half, 0)
        segments_valid(np.zeros(2 * half, np.uint8), start, start + MIN_SEGMENT)

    assert growth(leap, 8192) < LINEAR, "it reads the buffer for each of them"
