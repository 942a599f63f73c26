"""`ids stats` without an engine says whether the gate is in force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ids.cli import main, stats
from ids.errors import NoAnswer


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


def test_an_engine_that_hangs_costs_its_counters_and_not_the_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stats, "guarded_interfaces", lambda _: ["eth0"])
    monkeypatch.setattr(stats, "pinned_shadow", lambda _: False)
    monkeypatch.setattr(stats, "pinned_counts", lambda _: {"drop.blocked": (7, 420)})
    monkeypatch.setattr(stats, "pinned_heartbeat_age_s", lambda _: 42.4)

    def hung(*_: object) -> None:
        raise NoAnswer("the engine has not answered within 3 s")

    monkeypatch.setattr(stats, "request", hung)
    for form in ([], ["-o", "json"]):
        with pytest.raises(SystemExit) as ended:
            main(["stats", "--set", f"fastpath.pin_dir={tmp_path}", *form])
        assert ended.value.code == 2
    captured = capsys.readouterr()
    text, _, data = captured.out.rstrip().rpartition("\n")
    assert "drop.blocked" in text
    assert "has not answered within 3 s. Its last sign of life was 42 s ago" in captured.err
    found = json.loads(data)
    assert found["kernel"] == {"drop.blocked": {"packets": 7, "bytes": 420}}
    assert found["engine"] is None
    assert "42 s ago" in found["problem"]
