"""Garbage is not looked for while much is made; what is made at the start is left alone for good, and nothing else."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from ids.garbage import collected_later


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.parametrize("for_good", [True, False])
def test_what_is_made_at_the_start_is_left_alone(for_good: bool) -> None:
    before = gc.get_freeze_count()
    with collected_later(for_good=for_good):
        assert not gc.isenabled()
    assert gc.isenabled()
    assert (gc.get_freeze_count() > before) == for_good


def test_the_outermost_counts() -> None:
    before = gc.get_freeze_count()
    with collected_later():
        with collected_later(for_good=True):
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_an_error_leaves_it_as_it_was() -> None:
    with pytest.raises(ValueError, match="x"), collected_later():
        raise ValueError("x")
    assert gc.isenabled()


def test_where_nothing_is_looked_for_nothing_changes() -> None:
    gc.disable()
    with collected_later(for_good=True):
        pass
    assert not gc.isenabled()
