"""What `ids doctor` says of the engine that runs, if one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ids.doctor import Check, Status, engine
from ids.errors import NoAnswer, NotRunning


def checked(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[Check]:
    """Return the checks of an engine that answers this, or raises it."""

    def request(*_: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(engine, "request", request)
    return engine.check_engine(Path("default.sock"))


def test_where_none_runs_nothing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(monkeypatch, NotRunning("no engine")) == []


def test_one_that_hangs_is_a_failure_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = checked(monkeypatch, NoAnswer("it hangs: end it"))
    assert (check.status, check.remedy) == (Status.FAIL, "it hangs: end it")


def test_blocks_that_do_not_bite_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    _, check = checked(monkeypatch, {"ids": {"respond": {"not_biting": {"blocks": 2, "packets": 37}}}})
    assert check.status is Status.WARN
    assert "2 sources went on" in check.found
    assert "37 packets" in check.found
    assert "-i" in check.remedy


def test_all_is_well_where_each_block_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [check.status for check in checked(monkeypatch, {"ids": {}})] == [Status.OK, Status.OK]
