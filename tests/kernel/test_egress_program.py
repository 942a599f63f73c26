"""The egress program is loaded once, however often interfaces go and come back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ids.kernel.attach.egress import EgressView


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """What is loaded: the variant, and a descriptor in place of a program."""
    made: list[tuple[bool, int]] = []

    def load(_: EgressView, *, own_only: bool = False) -> int:
        made.append((own_only, os.open("/dev/null", os.O_RDONLY)))
        return made[-1][1]

    monkeypatch.setattr(EgressView, "load", load)
    monkeypatch.setattr(EgressView, "_attach", lambda _, ifname, program: os.fstat(program))
    return made


def is_open(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").exists()


def test_an_interface_that_is_back_gets_the_program_that_is_there(
    loaded: list[tuple[bool, int]], tmp_path: Any
) -> None:
    view = EgressView(tmp_path, {})
    for _ in range(3):
        view.attach(["outside", "inside"])
    view.attach([])
    view.attach(["outside", "inside"])
    assert [own_only for own_only, _ in loaded] == [True]
    view.attach(["outside"])
    assert [own_only for own_only, _ in loaded] == [True, False], "with one leg, all that leaves is shown"
    assert [is_open(descriptor) for _, descriptor in loaded] == [False, True]
    view.close()
    view.close()
    assert not is_open(loaded[1][1])


def test_what_was_prepared_for_as_many_interfaces_is_what_they_get(
    loaded: list[tuple[bool, int]], tmp_path: Path
) -> None:
    view = EgressView(tmp_path, {})
    view.prepare(2)
    view.attach(["outside", "inside"])
    assert [own_only for own_only, _ in loaded] == [True]
    view.attach(["outside"])
    assert [own_only for own_only, _ in loaded] == [True, False]
    view.close()
