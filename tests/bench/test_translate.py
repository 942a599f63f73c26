"""The peer is given the same rules: all that ship, in its language, as it takes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.bench.peer import ROOT, configure, one_rule, starter_rules
from tests.bench.translate import MARKED, translate


def translated(folder: Path, match: str, more: str = "") -> list[str]:
    (folder / "rules.yaml").write_text(
        f"rules:\n  - {{title: t, sid: 9000001, traffic: http any any -> any any, match: {match}{more}}}\n"
    )
    lines, done, left = translate(folder, inline=bool(more))
    assert done + left == 1
    return lines


def test_all_rules_that_ship_are_known() -> None:
    lines, done, left = translate(ROOT / "rules" / "base")
    assert left == 0
    assert len(lines) >= done > 50


@pytest.mark.parametrize(
    ("match", "body"),
    [
        ("[{http.uri: {contains: 'a;\"b', nocase: true}}]", 'http.uri; content:"a|3b||22|b"; nocase;'),
        ("[{http.uri: {contains: é}}]", 'http.uri; content:"|c3||a9|";'),
        ("[{http.method: GET}]", 'http.method; content:"GET"; bsize:3;'),
        ("[{http.uri: {regex: '/a;\"$'}}]", 'http.uri; pcre:"/\\/a\\x3b\\x22$/";'),
        ("[{none: [{http.header: {contains: x}}]}]", 'http.header; content:!"x";'),
        (
            "[{http.uri: {contains: a}}, {http.cookie: {size: 2}}, {http.uri: {contains: b}}]",
            'http.uri; content:"a"; content:"b"; http.cookie; bsize:2;',
        ),
        ("[{payload: {contains: a}}]", 'pkt_data; content:"a";'),
    ],
)
def test_a_condition_becomes_its_like(tmp_path: Path, match: str, body: str) -> None:
    (line,) = translated(tmp_path, match)
    assert line == f'alert http any any -> any any (msg:"9000001"; {body} sid:9000001000; rev:1;)'


def test_alternatives_become_rules_of_their_own(tmp_path: Path) -> None:
    lines = translated(
        tmp_path,
        "[{any: [{http.uri: {contains: [a, b]}}, {http.cookie: {contains: c}}]}, {http.host: {contains: [d, e]}}]",
    )
    assert len(lines) == 6
    assert len({line.partition("sid:")[2] for line in lines}) == 6


def test_inline_a_rule_that_blocks_drops_and_marks_its_source(tmp_path: Path) -> None:
    line, marked = translated(tmp_path, "[{http.uri: {contains: a}}]", ", block: {target: src_ip, for: 1h}")
    assert line.startswith("drop http")
    assert "xbits:set,blocked,track ip_src" in line
    assert marked == MARKED


@pytest.mark.skipif(shutil.which("suricata") is None, reason="suricata is not installed: scripts/bench-setup.sh")
@pytest.mark.parametrize("inline", [False, True])
def test_the_peer_takes_every_rule(tmp_path: Path, inline: bool) -> None:
    rules = starter_rules(inline) + one_rule()
    done = subprocess.run([*configure(tmp_path, rules), "-T"], capture_output=True, text=True, timeout=120, check=False)
    assert "E: " not in done.stderr + done.stdout
    assert done.returncode == 0
