"""Gathering reads what slicing would, and zero outside."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ids.capture.gather import gather


@given(
    st.binary(max_size=40),
    st.lists(st.integers(-50, 100) | st.sampled_from([-(1 << 62), 1 << 62])),
    st.integers(1, 50),
)
def test_gather_is_slicing_with_zeros_beyond_the_ends(data: bytes, at: list[int], size: int) -> None:
    got = gather(np.frombuffer(data, np.uint8), np.array(at, np.int64), np.dtype(f"V{size}"))
    expected = [(data[i : i + size] if i >= 0 else b"").ljust(size, b"\0") for i in at]
    assert [element.tobytes() for element in got] == expected
