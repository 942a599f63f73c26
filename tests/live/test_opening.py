"""The gate as it is left: by the setting after a stop, in force after a crash, as it was after a start that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from ids.config import Config
from ids.errors import UsageError
from ids.live import opening as module
from ids.live.opening import Opening


class Gate:
    """A fast path that notes what is asked of it."""

    def __init__(self, *attached: str, on_stop: str = "keep") -> None:
        self.guarded = list(attached)
        self.closed: list[str | None] = []
        self.settings = SimpleNamespace(on_stop=on_stop)

    def attached(self) -> list[str]:
        return list(self.guarded)

    def detach(self, interface: str) -> None:
        self.guarded.remove(interface)

    def close(self, how: str | None = None) -> str:
        self.closed.append(how)
        return "eth0 stays guarded"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config.model_validate(
        {"fastpath": {"pin_dir": str(tmp_path / "pins")}, "engine": {"state_dir": str(tmp_path)}}
    )


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def opened(config: Config, stack: ExitStack, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Opening:
    monkeypatch.setattr(module, "FastPath", SimpleNamespace(open=lambda *_: gate))
    monkeypatch.setattr(module, "require_same_namespace", lambda *_: None)
    return Opening(config, 1, stack)


def test_a_start_that_fails_takes_away_what_it_has_brought(
    config: Config, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    opened(config, stack, gate, monkeypatch).undo()
    assert gate.closed == ["remove"]


def test_a_start_that_fails_leaves_what_was_there_before(
    config: Config, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pins/default/maps").mkdir(parents=True)
    gate = Gate("eth0")
    opening = opened(config, stack, gate, monkeypatch)
    gate.guarded.append("eth1")
    opening.undo()
    assert (gate.guarded, gate.closed) == (["eth0"], ["keep"])


def test_a_crash_leaves_it_in_force(config: Config, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate("eth0", on_stop="remove")
    opened(config, stack, gate, monkeypatch).abandon()
    assert gate.closed == ["keep"]


@pytest.mark.parametrize(("on_stop", "kept"), [("keep", True), ("remove", False)])
def test_a_stop_leaves_what_the_setting_says_and_forgets_lists_with_the_gate(
    config: Config, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_stop: str, kept: bool
) -> None:
    comments = tmp_path / "default/comments.json"
    comments.parent.mkdir()
    comments.write_text("[]")
    gate = Gate("eth0", on_stop=on_stop)
    opened(config, stack, gate, monkeypatch).leave()
    assert gate.closed == [None]
    assert comments.exists() is kept


def test_it_is_open_for_one_engine_alone(config: Config, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(config, stack, Gate(), monkeypatch)
    with pytest.raises(UsageError, match="another engine works with"):
        opened(config, stack, Gate(), monkeypatch)
    stack.close()
    with ExitStack() as later:
        opened(config, later, Gate(), monkeypatch)
