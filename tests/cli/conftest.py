"""A real fast path without an engine, for what operators type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ids.cli import main
from ids.kernel import AllowList, Blocklist, FastPath, FastPathSettings
from tests.bench.report import CannotRun
from tests.bench.scratch import scratch_bpffs

Ids = Callable[..., tuple[int, str, str]]


def rows_of(printed: str) -> list[dict[str, Any]]:
    """Return the lines of JSON that a command has printed."""
    return [json.loads(line) for line in printed.splitlines()]


@pytest.fixture(scope="session")
def pins() -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_bpffs())
        except CannotRun as reason:
            pytest.skip(str(reason))
        fastpath = FastPath.open(FastPathSettings(pin_dir=folder), "default")
        stack.callback(fastpath.close, "remove")
        yield folder


@pytest.fixture
def blocks(pins: Path) -> Iterator[Blocklist]:
    """The blocklist, empty; the allow-list is empty too."""
    with Blocklist.open(pins / "default") as opened:
        with AllowList.open(pins / "default") as allowed:
            for entry in allowed.list():
                allowed.delete(entry.network)
        opened.clear()
        yield opened


@pytest.fixture
def ids(capsys: pytest.CaptureFixture[str], pins: Path, blocks: Blocklist, tmp_path: Path) -> Ids:
    """Run one command against it, with a state of its own; returns exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words), "--set", f"fastpath.pin_dir={pins}", "--set", f"engine.state_dir={tmp_path}"])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run
