"""The story stops at the first step that does not hold and says which; a stage that cannot be had is no failed step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ids.errors import KernelError
from ids.lab import story
from ids.lab.actors import Answer
from ids.lab.guard import Guard, GuardFailed
from ids.lab.story import Step, Story
from ids.lab.topology import ATTACKERS, Lab
from ids.lab.website import Website

ALERT = {
    "event_type": "alert",
    "src_ip": ATTACKERS[0],
    "alert": {"signature": "JNDI lookup", "signature_id": 1000081, "severity": 1},
    "ids": {"evidence": [{"buffer": "http.header", "offset": 3, "excerpt": "${jndi:\x1b[2Jldap}"}]},
}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab that exists in name only, with an engine that starts and alerts."""
    lab = Lab(name="ids-lab-0-0")
    monkeypatch.setattr(Lab, "directory", property(lambda _: tmp_path))
    monkeypatch.setattr(story, "start_website", lambda _: Website(None, "a stand-in"))  # type: ignore[arg-type]
    monkeypatch.setattr(story, "fetch", lambda *_, **__: Answer(200, 314, 0.5))
    monkeypatch.setattr(Guard, "start", lambda _: None)
    monkeypatch.setattr(Guard, "events", lambda _: [ALERT])
    monkeypatch.setattr(Guard, "rows", lambda *_: [])
    monkeypatch.setattr(Guard, "xdp_modes", lambda _: {"outside": "native"})
    return lab


def run(lab: Lab) -> tuple[story.Report, list[str], list[Step]]:
    titles: list[str] = []
    steps: list[Step] = []
    return Story(lab, titles.append, steps.append).run(0), titles, steps


def test_the_first_step_that_does_not_hold_is_the_last(stage: Lab, tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_text("".join(f"line {n}\n" for n in range(100)))
    report, titles, steps = run(stage)
    assert [(step.step, step.ok) for step in steps] == [
        ("stage", True), ("served", True), ("alerted", True), ("blocked", False),
    ]  # fmt: skip
    assert [step.title for step in steps] == titles
    assert steps == report.steps
    assert not report.ok
    assert steps[-1].detail == [f"the kernel's blocklist has no entry for {ATTACKERS[0]}"]
    assert report.log is not None
    assert report.log.splitlines()[-1] == "line 99"
    assert len(report.log.splitlines()) < 100


def test_evidence_gives_a_terminal_no_orders(stage: Lab) -> None:
    _, _, steps = run(stage)
    assert "evidence: http.header at 3: ${jndi:\\x1b[2Jldap}" in steps[2].detail
    assert all(line.isprintable() for step in steps for line in step.detail)


def test_a_report_is_plain_data(stage: Lab) -> None:
    report, _, _ = run(stage)
    data: dict[str, Any] = json.loads(json.dumps(report.to_json()))
    assert data["ok"] is False
    assert data.keys() == {"ok", "steps", "latency_ms", "map_write_ms", "kernel", "log"}
    assert data["steps"][2]["figures"]["sid"] == 1000081


def test_an_engine_that_fails_is_a_failed_step(stage: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Guard) -> None:
        raise GuardFailed("`ids run` ended with exit code 2")

    monkeypatch.setattr(Guard, "start", fail)
    report, _, _ = run(stage)
    assert [(step.step, step.ok) for step in report.steps] == [("stage", False)]


def test_a_kernel_that_refuses_ends_the_story_without_a_verdict(stage: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Guard) -> None:
        raise KernelError("no BTF")

    monkeypatch.setattr(Guard, "start", refuse)
    with pytest.raises(KernelError, match="no BTF"):
        run(stage)
