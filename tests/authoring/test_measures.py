"""`ids rules profile`, `coverage` and `new`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ids.authoring.profile import profile
from ids.authoring.skeleton import Idea, skeleton
from ids.cli import cli
from ids.config import load_config
from ids.replay import replay
from ids.rules.language.loader import load_rules
from ids.rules.match.evaluation import Evaluator
from ids.rules.model.buffers import CATALOGUE, PARSED
from tests.shared import ROOT

LOG4SHELL = ROOT / "pcaps/log4shell.pcap"


def ids(*words: str | Path) -> Any:
    result = CliRunner().invoke(cli, ["rules", *map(str, words), "-o", "json"])
    assert result.exit_code == 0, result.exception
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return rows[0] if len(rows) == 1 else rows


def test_a_profile_counts_what_the_engine_counts() -> None:
    config = load_config(None)
    found = profile([LOG4SHELL], config)
    report = replay([LOG4SHELL], config)
    yara = {rule.identity for rule in load_rules(["base"]).yara.rules}
    checks = sum(cost.checks for identity, cost in found.rules.items() if identity not in yara)
    assert checks == report.counters["rules"]["evaluations"]
    assert sum(cost.matches for cost in found.rules.values()) == report.counters["rules"]["matches"]
    assert found.packets == report.packets
    assert 0 < found.prefilter_ns < found.total.ns


def test_ordinary_work_is_not_measured() -> None:
    profile([LOG4SHELL], load_config(None))
    assert "perf_counter" not in Evaluator.evaluate.__code__.co_names
    assert Evaluator.evaluate.__qualname__ == "Evaluator.evaluate"


def test_a_profile_is_sorted_and_cut(tmp_path: Path) -> None:
    tree = ids("profile", LOG4SHELL, "--sort", "checks")
    checks = [row["checks"] for row in tree["rules"]]
    assert checks == sorted(checks, reverse=True)
    table = CliRunner().invoke(cli, ["rules", "profile", str(LOG4SHELL), "--top", "1"]).stdout
    assert "more (--top, or -o json)" in table


def test_coverage_says_who_asks_for_what(tmp_path: Path) -> None:
    rules = tmp_path / "r.rules"
    rules.write_text(
        'alert http any any -> any any (msg:"a"; http.uri; content:"abcdef"; sid:1;)\n'
        'alert http any any -> any any (msg:"b"; http.uri; content:"ghijkl"; http.cookie; content:"x"; sid:2;)\n'
        'alert telnet any any -> any any (msg:"c"; content:"mnopqr"; sid:3;)\n'
        'alert tcp any any -> any any (msg:"d"; content:"stuvwx"; sid:4;)\n'
        'alert tls any any -> any any (msg:"e"; tls.sni; content:"yz1234"; sid:5;)\n'
        'alert tcp any any -> any any (msg:"f"; nonsense; sid:6;)\n'
    )
    tree = ids("coverage", rules)
    needs = {need["name"]: (need["rules"], need["parsed"]) for need in tree["buffers"]}
    assert needs["http.uri"] == (2, True)
    assert needs["payload"] == (2, True)
    assert tree["unparsed"] == {}
    assert tree["transports"] == {"tcp": 5, "udp": 0, "other": 0}
    assert tree["left_out"] == {"keyword nonsense": 1}
    hidden = {each["setting"]: each for each in tree["hidden"] if each["sids"]}
    assert hidden["engine.bypass"]["sids"] == [4, 5]


def test_a_capture_that_ends_in_the_middle_of_a_packet_is_measured_up_to_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = LOG4SHELL.read_bytes()
    (tmp_path / "cut.pcap").write_bytes(whole[: len(whole) // 2])
    found = profile([tmp_path / "cut.pcap"], load_config(None))
    assert found.packets > 0
    assert "cut.pcap" in caplog.text


def test_coverage_reads_the_settings(tmp_path: Path) -> None:
    rules = tmp_path / "r.rules"
    rules.write_text('alert tcp any any -> any any (msg:"d"; content:"stuvwx"; offset:5000; sid:4;)\n')
    settings = ("--set", "fastpath.depth_tcp_bytes=4096", "--set", "engine.bypass=[]")
    tree = ids("coverage", rules, *settings)
    assert tree["depths"]["tcp"] == 4096
    assert tree["depths"]["udp"] == 4096, "no rule is interested in UDP"
    assert [each["setting"] for each in tree["hidden"] if each["sids"]] == ["fastpath.depth_tcp_bytes"]


BUFFERS = [
    name for name, one in CATALOGUE.items() if (one.protocol in PARSED or one.protocol is None) and name != "file.name"
]


@pytest.mark.parametrize("title", ['it\'s: "quoted" # and long', "yes"])
def test_what_is_begun_loads_whatever_the_buffer(tmp_path: Path, title: str) -> None:
    for number, name in enumerate(BUFFERS):
        (tmp_path / f"{name}.yaml").write_text(skeleton(Idea(title, name, "needle-1234", 9_000_000 + number)))
    loaded = load_rules([tmp_path])
    assert [str(error) for error in loaded.errors] == []
    assert len(loaded.rules) == len(BUFFERS)
    assert {rule.signature.title for rule in loaded.rules} == {title}


def test_its_tests_hold(tmp_path: Path) -> None:
    for number, name in enumerate(BUFFERS):
        literal = f"NEEDLE-{number}X9" if name == "http.method" else f"needle-{number}x9"
        (tmp_path / f"{number}.yaml").write_text(skeleton(Idea(name, name, literal, 9_000_000 + number)))
    rows = ids("test", tmp_path)
    assert [row for row in rows if not row["held"]] == []
    assert len(rows) >= 40


def test_new_asks_nobody_where_nobody_is(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["rules", "new", str(tmp_path / "r.yaml"), "--title", "x"])
    assert "--buffer is needed" in str(result.exception)
    words = ["rules", "new", str(tmp_path / "r.yaml"), "--title", "x", "--contains", "abc", "--buffer"]
    assert "did you mean 'http.uri'?" in str(CliRunner().invoke(cli, [*words, "http.url"]).exception)
    assert CliRunner().invoke(cli, [*words, "http.uri"]).exit_code == 0
    again = CliRunner().invoke(cli, [*words, "http.uri"])
    assert "is there already" in str(again.exception)


def begun(buffer: str) -> str:
    """Return the flow of a rule to begin with."""
    found = re.search(r"flow: \[(.*)\]", skeleton(Idea("x", buffer, "needle-1234", 9_000_001)))
    return found[1] if found is not None else ""


@pytest.mark.parametrize(("buffer", "flow"), [
    ("tls.cert_issuer", "established"),  # a server sends it, a client may
    ("tls.sni", "established, to_server"),
    ("ssh.hassh.server", "established, to_client"),
    ("file.magic", "established"),
    ("http.header", "established, to_server"),  # which is where its tests put it
    ("quic.sni", "to_server"),  # the first datagram comes before there is an answer
    ("dhcp.hostname", ""),
])  # fmt: skip
def test_what_is_begun_looks_where_its_buffer_is_sent(buffer: str, flow: str) -> None:
    assert begun(buffer) == flow


@pytest.mark.parametrize(("words", "why"), [
    (["x.rules", "--buffer", "http.uri", "--contains", "abc"], "x.rules is no file of YAML"),
    (["x.yar", "--buffer", "http.uri", "--contains", "abc"], "name one that ends in .yaml"),
    (["x.yaml", "--buffer", "http.host", "--contains", "Evil"], "http.host is in lower case"),
    (["x.yaml", "--buffer", "http.host", "--contains", "Evil", "--nocase"], ""),
])  # fmt: skip
def test_new_begins_nothing_that_never_matches(tmp_path: Path, words: list[str], why: str) -> None:
    path, *options = words
    result = CliRunner().invoke(cli, ["rules", "new", str(tmp_path / path), "--title", "x", *options])
    assert (why in str(result.exception)) if why else result.exit_code == 0
    assert (tmp_path / path).exists() == (not why)


def test_new_promises_no_tests_where_there_are_none(tmp_path: Path) -> None:
    words = [
        "rules",
        "new",
        str(tmp_path / "x.yaml"),
        "--title",
        "x",
        "--contains",
        "abc",
        "--buffer",
        "tls.cert_issuer",
    ]
    assert "without tests" in CliRunner().invoke(cli, words).stderr
