"""How evenly bytes are used."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.rules.model.entropy import MAX_BYTES, entropy_of


@pytest.mark.parametrize(
    ("data", "bits"), [(b"", 0), (b"aaaa", 0), (b"abab", 1), (b"abcd" * 9, 2), (bytes(range(256)), 8)]
)
def test_bits_a_byte(data: bytes, bits: float) -> None:
    assert entropy_of(data) == bits


@given(st.binary(min_size=1, max_size=400))
def test_it_is_shannons(data: bytes) -> None:
    shares = [count / len(data) for count in Counter(data).values()]
    assert math.isclose(entropy_of(data), -sum(share * math.log2(share) for share in shares), abs_tol=1e-9)


def test_no_more_is_read_than_is_allowed() -> None:
    assert entropy_of(bytes(MAX_BYTES) + b"x" * MAX_BYTES) == 0
