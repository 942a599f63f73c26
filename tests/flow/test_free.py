"""Slots that no flow has are given out as from a list, the last one first."""

from __future__ import annotations

import gc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ids.flow.free import FreeSlots


@given(st.lists(st.tuples(st.sampled_from(["take", "put", "grow", "sort"]), st.integers(0, 9)), max_size=40))
def test_slots_come_as_from_a_list(steps: list[tuple[str, int]]) -> None:
    capacity = 4
    free, model = FreeSlots(capacity), [3, 2, 1, 0]
    taken: list[int] = []
    for step, number in steps:
        if step == "take":
            count = min(number, len(model))
            got = free.take(count).tolist()
            assert got == [model.pop() for _ in range(count)]
            taken += got
        elif step == "put":
            back, taken = taken[:number], taken[number:]
            free.put(np.array(back, np.int64))
            model += back
        elif step == "grow":
            free.grow(capacity, capacity + number)
            model[:0] = range(capacity + number - 1, capacity - 1, -1)
            capacity += number
        else:
            free.lowest_first()
            model.sort(reverse=True)
        assert len(free) == len(model)
        assert free.slots.tolist() == model


def test_what_is_taken_stays_what_it_is() -> None:
    free = FreeSlots(4)
    taken = free.take(2)
    free.put(np.array([1, 0]))
    assert taken.tolist() == [0, 1]


def test_free_slots_are_no_objects() -> None:
    """A hundred thousand of them, made whenever flows ended, kept a piece of memory each from being given back."""
    assert not [held for held in gc.get_referents(FreeSlots(4)) if isinstance(held, list)]
