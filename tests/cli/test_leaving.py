"""The process of a command ends at once: nothing is lost by that, and nothing is taken apart that the system frees."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable

import pytest

import ids.cli


class Left(BaseException):
    """The process is gone."""


class Stream(io.StringIO):
    """Output that notes when it is written."""

    def __init__(self, noted: list[str]) -> None:
        super().__init__()
        self._noted = noted

    def flush(self) -> None:
        self._noted.append("flush")


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done, in its order, while a command ends whose process has no thread but this."""
    done: list[str] = []

    def leave(status: int) -> None:
        done.append(f"left with {status}")
        raise Left

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr("atexit._run_exitfuncs", lambda: done.append("exit functions"))
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    return done


def ending(code: object) -> Callable[[], None]:
    def main() -> None:
        raise SystemExit(code)

    return main


@pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (3, 3)])
def test_all_is_written_and_exit_functions_run_before_it_ends(
    monkeypatch: pytest.MonkeyPatch, noted: list[str], code: object, status: int
) -> None:
    monkeypatch.setattr(ids.cli, "main", ending(code))
    monkeypatch.setattr(sys, "stdout", Stream(noted))
    with pytest.raises(Left):
        ids.cli.start()
    assert noted == ["flush", "exit functions", "flush", f"left with {status}"]


def test_a_thread_at_work_is_waited_for_as_python_does(monkeypatch: pytest.MonkeyPatch, noted: list[str]) -> None:
    monkeypatch.setattr(ids.cli, "main", ending(0))
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    with pytest.raises(SystemExit):
        ids.cli.start()
    assert noted == []


def test_output_that_cannot_be_written_is_reported_as_python_does(
    monkeypatch: pytest.MonkeyPatch, noted: list[str]
) -> None:
    def full() -> None:
        raise OSError

    monkeypatch.setattr(sys.stdout, "flush", full)
    monkeypatch.setattr(ids.cli, "main", ending(0))
    with pytest.raises(SystemExit):
        ids.cli.start()
    assert noted == []


@pytest.mark.parametrize("failure", [SystemExit("a message"), KeyboardInterrupt(), ValueError("a bug")])
def test_what_python_has_to_print_it_prints(
    monkeypatch: pytest.MonkeyPatch, noted: list[str], failure: BaseException
) -> None:
    def main() -> None:
        raise failure

    monkeypatch.setattr(ids.cli, "main", main)
    with pytest.raises(type(failure)):
        ids.cli.start()
    assert noted == []
