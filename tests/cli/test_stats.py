"""`ids stats` without an engine says whether the gate is in force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ids.cli import main, stats


@pytest.mark.parametrize(
    ("interfaces", "words"),
    [
        (["eth0.7", "in"], "the gate works alone on eth0.7, in"),
        ([], "nothing is attached"),
    ],
)
def test_a_gate_that_works_alone_is_distinguished_from_lists_that_wait(
    interfaces: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(stats, "guarded_interfaces", lambda _: interfaces)
    monkeypatch.setattr(stats, "pinned_shadow", lambda _: False)
    monkeypatch.setattr(stats, "pinned_counts", lambda _: {"pass.inspected": (2, 120), "drop.blocked": (0, 0)})
    place = ["--set", f"fastpath.pin_dir={tmp_path}", "--set", f"engine.runtime_dir={tmp_path}"]
    for form in ([], ["-o", "json"]):
        with pytest.raises(SystemExit):
            main(["stats", *place, *form])
    text, _, data = capsys.readouterr().out.rstrip().rpartition("\n")
    assert words in text
    assert json.loads(data) == {
        "attached": interfaces,
        "shadow": False,
        "kernel": {"pass.inspected": {"packets": 2, "bytes": 120}},
        "engine": None,
    }
