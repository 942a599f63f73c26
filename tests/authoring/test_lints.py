"""Warnings about rules, each with a near miss, and what is mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ids.authoring.fixes import fix_file
from ids.cli import cli
from tests.rules.builders import rule_text


def names(tmp_path: Path, text: str, name: str = "r.rules", *options: str) -> list[str]:
    """Return the names of the warnings of a file."""
    file = tmp_path / name
    file.write_text(text)
    result = CliRunner().invoke(cli, ["rules", "check", str(file), "-o", "json", *options])
    return [warning["name"] for warning in json.loads(result.stdout)["warnings"]]


def rule(options: str, sid: int = 1, head: str = "alert tcp $EXTERNAL_NET any -> $HOME_NET any") -> str:
    return f'{head} (msg:"x"; {options} sid:{sid}; rev:1;)\n'


GOOD = 'flow:established,to_server; content:"a needle, and a long one";'


@pytest.mark.parametrize(("text", "found"), [
    (rule(GOOD), []),
    (rule('flow:to_server; pcre:"/[a-z]+[0-9]/";'), ["no-literal"]),
    (rule('flow:to_server; content:"|00|";'), ["common-literal"]),
    (rule(GOOD + ' pcre:"/x(?=y).*z/";'), ["unbounded-regex"]),
    (rule(GOOD + ' pcre:"/x(?=y).{0,9}z/";'), []),
    (rule(GOOD + ' pcre:"/x.*z/";'), []),
    (rule('content:"a needle, and a long one";', head="alert tcp any any -> any any"), ["no-direction"]),
    (rule('flow:established; content:"a needle, and a long one";'), []),
    (rule('content:"a needle, and a long one";', head="alert udp any any -> any any"), []),
])  # fmt: skip
def test_each_warning_and_its_near_miss(tmp_path: Path, text: str, found: list[str]) -> None:
    assert names(tmp_path, text) == found


@pytest.mark.parametrize(("other", "shadowed"), [
    (rule(GOOD, 2), True),
    (rule(GOOD + ' content:"more"; distance:0;', 2), True),
    (rule(GOOD, 2, "alert tcp 192.0.2.1 any -> $HOME_NET any"), True),
    (rule(GOOD, 2, "alert tcp any any -> $HOME_NET any"), True),
    (rule(GOOD, 2, "alert udp $EXTERNAL_NET any -> $HOME_NET any"), False),
    (rule('flow:established,to_server; content:"another needle, and a long one";', 2), False),
    (rule(GOOD + " flowbits:set,seen; flowbits:noalert;", 2), False),
    (rule(GOOD, 2, "drop tcp $EXTERNAL_NET any -> $HOME_NET any"), False),
    (rule(GOOD.replace("established,", ""), 2), True),
    (rule(GOOD.replace("to_server", "to_client"), 2), False),
])  # fmt: skip
def test_a_rule_is_shadowed_where_another_always_alerts_too(tmp_path: Path, other: str, shadowed: bool) -> None:
    found = names(tmp_path, rule(GOOD) + other, "r.rules", "--without", "common-literal")
    assert (found.count("shadowed") > 0) is shadowed


@pytest.mark.parametrize("asks", ["flowbits:isset,seen;", "threshold:type limit, track by_src, count 1, seconds 9;"])
def test_a_rule_that_is_not_always_heard_shadows_none(tmp_path: Path, asks: str) -> None:
    assert "shadowed" not in names(tmp_path, rule(GOOD + asks) + rule(GOOD + ' content:"more"; distance:0;', 2))


@pytest.mark.parametrize(("asks", "shadowed"), [
    ("count: {distinct: dst_port, by: pair, at_least: 20, within: 10s}", False),
    ("after: {rules: 3, within: 1m}", False),
    ("level: high", True),
])  # fmt: skip
def test_a_rule_that_counts_or_comes_after_another_shadows_none(tmp_path: Path, asks: str, shadowed: bool) -> None:
    same = "[payload: {contains: 'a needle, and a long one'}]"
    other = rule_text("[payload: {contains: 'another needle, and a long one'}]", 3)
    text = "rules:\n" + rule_text(same, 1, more=f"{asks}\nrepeats: true") + rule_text(same, 2, more="repeats: true")
    assert ("shadowed" in names(tmp_path, text + other, "r.yaml")) is shadowed


def test_strict_makes_a_warning_an_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "r.rules"
    file.write_text(rule('flow:to_server; content:"|00|";'))
    assert CliRunner().invoke(cli, ["rules", "check", str(file)]).exit_code == 0
    assert CliRunner().invoke(cli, ["rules", "check", "--strict", str(file)]).exit_code == 1
    quiet = ["rules", "check", "--strict", "--without", "common-literal", str(file)]
    assert CliRunner().invoke(cli, quiet).exit_code == 0
    unknown = CliRunner().invoke(cli, ["rules", "check", "--without", "nonsense", str(file)])
    assert "no warning is called nonsense" in str(unknown.exception)


YAML = """rules:
  # of the shop
  - sid: 7
    # what an alert says
    title: a rule
    traffic: tcp any any -> any any
    match:
      - payload: {contains: abcdef}
    flow: [established, from_client]
    level: high  # it hurts

  - title: another
    sid: 8
    rev: 2
    match: [payload: {contains: ghijkl}]
"""
MENDED = """rules:
  # of the shop
    # what an alert says
  - title: a rule
    sid: 7
    rev: 1
    level: high  # it hurts
    traffic: tcp any any -> any any
    flow: [established, to_server]
    match:
      - payload: {contains: abcdef}

  - title: another
    sid: 8
    rev: 2
    match: [payload: {contains: ghijkl}]
"""


def test_yaml_is_mended_and_comments_stay(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(YAML)
    done = fix_file(str(file))
    assert done is not None
    assert set(done.changes) == {"add rev", "sort keys", "write to_server and to_client"}
    assert file.read_text() == MENDED
    assert fix_file(str(file)) is None, "there is nothing left to do"


def test_rules_of_suricata_are_mended(tmp_path: Path) -> None:
    file = tmp_path / "r.rules"
    file.write_text('# kept\nalert tcp any any -> any any (msg:"rev of flow:from_client"; flow:from_client; sid:1;)\n')
    done = fix_file(str(file))
    assert done is not None
    text = file.read_text()
    assert "flow:to_server; sid:1; rev:1;)" in text
    assert text.startswith("# kept\n")
    assert fix_file(str(file)) is None


@pytest.mark.parametrize(
    "text", ["rules: [", "rules:\n  - 7\n", "lists: []\n", "rules:\n  - {sid: 1, title: x}\n", "\xff"]
)
def test_what_cannot_be_mended_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text, encoding="latin-1")
    before = file.read_bytes()
    fix_file(str(file))
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_rule_file_keeps_its_rights(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("rules:\n" + rule_text("[payload: {contains: abcdef}]"))
    file.chmod(0o640)
    assert fix_file(str(file)) is not None
    assert file.stat().st_mode & 0o777 == 0o640


CLASSED = {
    "r.rules": 'alert tcp any any -> any 80 (msg:"x"; content:"abcdef"; classtype:{}; sid:1;)',
    "r.yaml": "rules: [{{title: x, sid: 1, traffic: http, match: [http.uri: abcdef], classtype: {}}}]",
}


@pytest.mark.parametrize(("name", "classtype", "odd"), [
    ("r.rules", "trojan-activity", False), ("r.yaml", "trojan-activity", False), ("r.rules", "trojan-activty", True),
    ("r.yaml", "trojan-activty", True), ("r.rules", "our-own-class", True), ("r.yaml", "our-own-class", False),
])  # fmt: skip
def test_a_class_that_nobody_defines(tmp_path: Path, name: str, classtype: str, odd: bool) -> None:
    """In YAML, whose severity is its level, one's own is no mistake."""
    assert ("other" in names(tmp_path, CLASSED[name].format(classtype), name)) == odd


@pytest.mark.parametrize(("options", "expected"), [
    ('msg:"x" content:"abcdef";', ["other", "matches-everything"]),  # a ; is missing, so that it asks for nothing
    ('msg:"say \\"hi\\" to them"; content:"abcdefgh"; flow:to_server;', []),
    ('msg:"x";', ["matches-everything"]),
    ('msg:"x"; flowbits:isset,y;', ["never-matches"]),
    ('msg:"x"; flowbits:set,y; noalert;', []),
])  # fmt: skip
def test_a_rule_that_asks_for_nothing(tmp_path: Path, options: str, expected: list[str]) -> None:
    assert names(tmp_path, f"alert tcp any any -> any any ({options} sid:1; rev:1;)") == expected


def test_an_address_list_alerts_on_all_of_its_traffic_and_means_to(tmp_path: Path) -> None:
    assert names(tmp_path, 'alert ip 192.0.2.0/24 any -> any any (msg:"x"; sid:1; rev:1;)') == []


@pytest.mark.parametrize(("head", "options", "odd"), [
    ("alert dns any any -> any any", 'flow:established,to_server; dns.query; content:"evil.example";', True),
    ("alert quic any any -> any any", 'flow:established; quic.sni; content:"evil.example";', True),
    ("alert dns any any -> any any", 'flow:to_server; dns.query; content:"evil.example";', False),
    ("alert dns any any -> any any", 'flow:established; dns.response.rrname; content:"evil.example";', False),
    ("alert tls any any -> any any", 'flow:established,to_server; tls.sni; content:"evil.example";', False),
])  # fmt: skip
def test_the_first_datagram_comes_before_an_answer(tmp_path: Path, head: str, options: str, odd: bool) -> None:
    assert names(tmp_path, rule(options, head=head)) == ["other"] * odd
