"""`ids replay` as typed: what judged, what was dropped, and the verdict on every packet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ids.cli import cli
from tests.shared import ROOT

CAPTURE = ROOT / "pcaps" / "log4shell.pcap"


def run(*words: object) -> Result:
    """Run `ids replay` with the model."""
    return CliRunner().invoke(cli, ["replay", "--fast-path", "model", *map(str, words)])


def test_the_story_has_what_the_fast_path_did() -> None:
    result = run(CAPTURE)
    assert "the fast path drops from packet 25 on, 39 packets" in result.output
    assert "fast path  model (asked for by fastpath.replay): 67 packets pass, 39 drop.blocked" in result.output


def test_the_report_as_data() -> None:
    report = json.loads(run(CAPTURE, "-o", "json").stdout)
    assert report["fast_path"] == "model"
    assert report["captures"][0]["verdicts"]["drop.blocked"]["packets"] == 39


def test_a_verdict_for_every_packet(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.json"
    assert run(CAPTURE, "--verdicts", file).exit_code == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(1, 107))
    assert {(line["verdict"], line["reason"]) for line in lines} == {("pass", "pass.shown"), ("drop", "drop.blocked")}
    assert all(line["capture"].endswith("log4shell.pcap") and line["ts_ns"] > 0 for line in lines)


def test_verdicts_on_stdout_stand_alone() -> None:
    result = run(CAPTURE, "--verdicts", "-")
    assert [json.loads(line)["number"] for line in result.stdout.splitlines()] == list(range(1, 107))


@pytest.mark.parametrize("words", [("--eve", "-"), ("--set", "eve.path=-")], ids=["an option", "a setting"])
def test_events_on_stdout_stand_alone(words: tuple[str, str]) -> None:
    """In a process of its own: events are written to the descriptor, by a thread."""
    command = [sys.executable, "-c", "from ids.cli import cli; cli()", "replay", "--fast-path", "model"]
    result = subprocess.run([*command, str(CAPTURE), *words], capture_output=True, text=True, check=True, timeout=120)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"alert", "flow", "stats"} <= {event["event_type"] for event in events}


def test_words_that_do_not_fit_together() -> None:
    assert "needs a fast path" in str(run(CAPTURE, "--fast-path", "off", "--verdicts", "-").exception)
    assert "would mix" in str(run(CAPTURE, "-o", "json", "--verdicts", "-").exception)


RULE = """
rules:
  - title: "[/] :smile: [red]hostile"
    id: 3f1f6a52-6c0e-4a57-9d0e-0b7c5a1e2f11
    sid: 9000001
    level: high
    description: a rule of the tests
    traffic: tcp any any -> any any
    match:
      - payload: {contains: "${jndi:"}
"""


def test_evidence_titles_and_file_names_are_shown_as_they_are(tmp_path: Path) -> None:
    out = run(ROOT / "pcaps" / "leaks.pcap").stdout
    assert "root:x:0:0:root" in out
    rule = tmp_path / "rule.yaml"
    rule.write_text(RULE)
    captures = [tmp_path / "[red]a.pcap", tmp_path / ":x:\x1b[2J.pcap"]
    for capture in captures:
        capture.write_bytes(CAPTURE.read_bytes())
    result = run(*captures, "-S", rule)
    assert result.exit_code == 0, result.exception
    for shown in ("[/] :smile: [red]hostile (sid 9000001)", "/[red]a.pcap", r"/:x:\x1b[2J.pcap"):
        assert shown in result.stdout


PIECES = """
rules:
  - title: a lookup in a header
    sid: 9000002
    traffic: http
    match:
      - http.method: GET
      - http.header: {contains: "${jndi:"}
"""


def test_the_most_telling_piece_of_evidence_is_shown(tmp_path: Path) -> None:
    """The method, which the rule tests first, would say nothing."""
    rule = tmp_path / "rule.yaml"
    rule.write_text(PIECES)
    out = run(CAPTURE, "-S", rule).stdout
    (line,) = [line for line in out.splitlines() if line.startswith("alert")][:1]
    assert "http.method" not in line
    assert "http.header: " in line
    assert "${jndi:" in line


@pytest.mark.parametrize(("option", "says"), [
    (["--runmode", "single"], "--workers says"), (["--data-dir", "x"], "kept in memory"), (["-v"], "-v has no effect"),
])  # fmt: skip
def test_an_option_of_suricata_without_effect_says_so(option: list[str], says: str) -> None:
    result = CliRunner().invoke(cli, ["replay", *option, str(ROOT / "pcaps/log4shell.pcap")])
    assert result.exit_code == 0
    assert says in result.stderr
