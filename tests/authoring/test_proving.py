"""Tests that rules carry: who talks, what is sent, what counts as held."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from ids.authoring.parties import NoParties, parties
from ids.authoring.proving import families_of
from ids.cli import cli
from ids.errors import Location
from ids.rules.language.traffic import parse_flow, parse_traffic
from ids.rules.language.variables import Variables
from ids.rules.model.rule import Scoped
from ids.rules.settings import DEFAULT_VARIABLES
from ids.testing import make_signature
from ids.types import address_halves
from tests.rules.builders import rule_text


def run(tmp_path: Path, text: str, *options: str, name: str = "r.yaml") -> Result:
    """Run the tests of a rule file."""
    file = tmp_path / name
    file.write_text(text)
    return CliRunner().invoke(cli, ["rules", "test", str(file), *options])


def verdicts(tmp_path: Path, text: str, *options: str, name: str = "r.yaml") -> list[dict[str, Any]]:
    result = run(tmp_path, text, "-o", "json", *options, name=name)
    assert result.exit_code in (0, 1), result.exception
    rows: list[dict[str, Any]] = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == (0 if all(row["held"] for row in rows) else 1)
    return rows


def proved(match: str, tests: str, traffic: str = "tcp", more: str = "") -> str:
    return "rules:\n" + rule_text(match, 1, traffic) + f"    tests: {tests}\n{more}"


@pytest.mark.parametrize("traffic", [
    "tcp any any -> any any", "tcp $EXTERNAL_NET any -> $HOME_NET 445", "tcp $HOME_NET any -> $EXTERNAL_NET any",
    "tcp 192.0.2.7 1024: -> 198.51.100.0/24 [80,8080]", "udp any any -> any !53", "tcp any 21 -> any any",
    "tcp 2001:db8::/32 any -> 2001:db8::/32 any", "tcp !10.0.0.0/8 any -> 10.1.2.3 any", "tcp any 1:1023 -> any any",
    "ip [192.0.2.1,2001:db8::7] any -> 2001:db8::8 any",
])  # fmt: skip
@pytest.mark.parametrize("direction", ["to_server", "to_client"])
def test_a_rule_looks_at_those_who_talk(traffic: str, direction: str) -> None:
    """The sender of its traffic is the server where the rule is about what servers send."""
    variables = Variables(DEFAULT_VARIABLES)
    asked = parse_traffic(traffic, variables)
    rule = Scoped(make_signature(), asked, parse_flow([direction]), Location("r.yaml"))
    who = parties(rule, 4444)
    ends = [(address_halves(host), port) for host, port in zip(who.hosts, who.ports, strict=True)]
    (sender, sport), (receiver, dport) = ends if direction == "to_server" else ends[::-1]
    assert sender in asked.src
    assert receiver in asked.dst
    assert sport in asked.sport
    assert dport in asked.dport


def test_hosts_of_different_versions_never_meet() -> None:
    traffic = parse_traffic("tcp 192.0.2.1 any -> 2001:db8::1 any", Variables({}))
    with pytest.raises(NoParties):
        parties(Scoped(make_signature(), traffic, parse_flow([]), Location("r.yaml")), 80)


@pytest.mark.parametrize(("traffic", "match", "fires", "stays"), [
    ("tcp", "[payload: {contains: abcdef}]", "payload: {to_server: xabcdefx}", "payload: {to_server: abcxdef}"),
    ("tcp", "[payload: {contains: abcdef}]", 'payload: {to_client_hex: "616263646566"}', "payload: {to_client: a}"),
    ("udp", "[payload: {contains: abcdef}]", "payload: {proto: udp, to_server: abcdef}", "payload: {to_server: a}"),
    ("icmp", "[payload: {contains: abcdef}]", "payload: {proto: icmp, to_server: abcdef}", "payload: {to_server: a}"),
    ("tcp", "[payload: {contains: abcdef}]",
     "payload: {turns: [{server_hex: '61'}, {client: xabc}, {client_base64: ZGVm}]}",
     "payload: {turns: [{client: xabc}, {server: def}]}"),
    ("udp", "[payload: {contains: abcdef}]", "payload: {proto: udp, turns: [{server: a}, {client: xabcdef}]}",
     "payload: {proto: udp, turns: [{client: xabc}, {client: def}]}"),
    ("http", "[http.uri: {contains: abcdef}]", "http: {uri: /abcdef}", "http: {uri: /, headers: {Referer: abcdef}}"),
    ("http", "[http.response_body: {contains: abcdef}]", "http: {status: 200, response_body: abcdef}",
     "http: {body: abcdef}"),
    ("dns", "[dns.query: {contains: abcdef}]", "dns: {query: abcdef.example}", "dns: {query: a.example}"),
    ("dns", "[dns.answer.name: {contains: abcdef}]", "dns: {query: abcdef.example, answers: [192.0.2.1]}",
     "dns: {query: abcdef.example}"),
    ("tls", "[tls.sni: {equals: abcdef.example}]", "tls: {sni: abcdef.example, alpn: [h2]}",
     "tls: {sni: x.abcdef.example}"),
    ("tls", "[tls.alpn: {equals: h9}]", "tls: {sni: a.example, alpn: [h2, h9]}", "tls: {sni: h9}"),
    ("tcp", "[tcp.flags: syn]", "probes: {first_port: 7}", "probes: {first_port: 7, flags: [fin]}"),
    ("tcp", "[ip.ttl: 3, ip.id: 7, ip.tos: 8]", "packets: [{ttl: 3, id: 7, tos: 8}]", "packets: [{ttl: 3, id: 7}]"),
    ("tcp", "[ip.fragbits: {all: [dont_fragment]}]", "packets: [{fragbits: [dont_fragment]}]", "packets: [{}]"),
    ("tcp", "[ip.option: rr]", 'packets: [{ip_options_hex: "07 07 04 00 00 00 00 00"}]', "packets: [{}]"),
    ("tcp", "[tcp.window: 7, tcp.mss: 100]", 'packets: [{window: 7, tcp_options_hex: "02 04 00 64"}]',
     "packets: [{window: 7}]"),
    ("icmp", "[icmp.type: 3, icmp.code: 4]", "packets: [{proto: icmp, type: 3, code: 4}]", "packets: [{proto: icmp}]"),
    ("icmp 2001:db8::/32 any -> any any", "[icmp.type: 128, ip.ttl: 9]", "packets: [{proto: icmp, ttl: 9}]",
     "packets: [{proto: icmp, ttl: 9, type: 129}]"),
    ("udp", "[bad_checksum: udpv4]", "packets: [{proto: udp, data: x, wrong_checksum: [transport]}]",
     "packets: [{proto: udp, data: x}]"),
    ("tcp", "[bad_checksum: ipv4]", "packets: [{wrong_checksum: [ip]}]", "packets: [{wrong_checksum: [transport]}]"),
    ("tcp", "[same_address: true]", "packets: [{same_address: true}]", "packets: [{}]"),
    ("udp any any -> any 9", "[payload: {contains: abcdef}]",
     "packets: [{proto: udp, port: 7, data: abcdef}, {proto: udp, port: 9, data: abcdef}]",
     "packets: [{proto: udp, port: 9, data: abc}, {proto: udp, port: 7, data: abcdef}]"),
    ("udp", "[payload: {contains: abcdef}]", "packets: [{proto: udp, sender: server, data: abcdef}]",
     "packets: [{proto: udp, data: abc}, {proto: udp, data: def}]"),
])  # fmt: skip
def test_each_stimulus_is_what_it_says(tmp_path: Path, traffic: str, match: str, fires: str, stays: str) -> None:
    tests = f"[{{name: fires, {fires}}}, {{name: stays, {stays}, alerts: 0}}]"
    found = verdicts(tmp_path, proved(match, tests, traffic))
    assert [(row["test"], row["got"]) for row in found] == [("fires", "1 alert"), ("stays", "no alert")]
    assert all(row["held"] for row in found)


def test_what_does_not_hold_is_an_exit_code(tmp_path: Path) -> None:
    text = proved("[payload: {contains: abcdef}]", "[{name: none, payload: {to_server: abcdef}, alerts: 0}]")
    result = run(tmp_path, text)
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert "1 test of 1 rule, 1 failed" in result.stdout


def test_no_threshold_of_one_test_reaches_another(tmp_path: Path) -> None:
    limit = "    threshold: {type: limit, track: by_rule, count: 1, seconds: 3600}\n"
    one = "payload: {to_server: abcdef}"
    text = proved("[payload: {contains: abcdef}]", f"[{{name: a, {one}}}, {{name: b, {one}}}]", more=limit)
    assert [row["got"] for row in verdicts(tmp_path, text)] == ["1 alert", "1 alert"]


def test_what_sends_the_same_is_run_once_and_judged_for_each_rule(tmp_path: Path) -> None:
    one = "payload: {to_server: abcdef}"
    text = proved("[payload: {contains: abc}]", f"[{{name: a, {one}}}]")
    other = proved("[payload: {contains: xyz}]", f"[{{name: b, {one}, alerts: 0}}, {{name: c, {one}}}]")
    text += other.replace("rules:\n", "").replace("sid: 1", "sid: 2")
    assert [(row["got"], row["held"]) for row in verdicts(tmp_path, text)] == [
        ("1 alert", True), ("no alert", True), ("no alert", False),
    ]  # fmt: skip


def test_what_was_sent_in_one_test_is_not_counted_in_the_next(tmp_path: Path) -> None:
    """Both have the flow of one id: the same ends at the same time."""
    text = proved(
        "[stream.client_size: {gt: 20}, payload: {contains: abcdef}]",
        "[{name: a, payload: {to_server: a longer message with abcdef}},"
        " {name: b, payload: {to_server: abcdef}, alerts: 0}]",
    )
    assert [row["got"] for row in verdicts(tmp_path, text)] == ["1 alert", "no alert"]


def test_a_capture_is_named_from_the_rule_on_and_may_be_absent(tmp_path: Path) -> None:
    text = proved("[payload: {contains: abcdef}]", "[{name: a, pcap: none.pcap}]")
    (row,) = verdicts(tmp_path, text)
    assert (row["held"], row["got"]) == (False, "nothing")
    assert "none.pcap: no such capture" in row["note"]


def test_an_evasion_that_works_is_named(tmp_path: Path) -> None:
    """A rule on single packets misses what is cut in two."""
    rules = 'alert tcp any any -> any any (msg:"x"; dsize:>5; content:"abcdef"; sid:1; rev:1;)\n'
    (tmp_path / "r.tests.yaml").write_text("tests: {1: [{name: a, payload: {to_server: xabcdefx}}]}")
    plain = verdicts(tmp_path, rules, name="r.rules")
    assert [row["held"] for row in plain] == [True]
    found = verdicts(tmp_path, rules, "--evade", "segments", name="r.rules")
    assert any(row["evasion"] and row["evasion"].startswith("segments: ") and not row["held"] for row in found)


def test_a_rule_on_streams_is_not_evaded(tmp_path: Path) -> None:
    text = proved("[payload: {contains: abcdef}]", "[{name: a, payload: {to_server: xabcdefx}, evade: [segments]}]")
    found = verdicts(tmp_path, text)
    assert len(found) > 5
    assert all(row["held"] for row in found)


@pytest.mark.parametrize(("companion", "message"), [
    ("tests: {2: [{name: a, payload: {to_server: x}}]}", "r.tests.yaml:1:9: "),
    ("tests: {1: [{name: a}]}", "give exactly one of"),
    ("tests: {'1': [{name: a, payload: {to_server: x}}]}", "r.tests.yaml:1:9: "),
    ("tests: {1: [{name: a, payload: {to_server_hex: 4x}}]}", "write two hexadecimal digits a byte"),
    ("test: {}", "unknown key 'test' (did you mean 'tests'?)"),
    ("tests: [", "is not valid YAML"),
    ("tests: {1: [{name: a, payload: {turns: [{client_base64: x}]}}]}", "write base64"),
    ("tests: {1: [{name: a, payload: {turns: [{client: x, server: y}]}}]}", "exactly one of client, server"),
    ("tests: {1: [{name: a, payload: {to_server: x, turns: [{client: x}]}}]}", "give turns, or what is sent each way"),
    ("tests: {1: [{name: a, payload: {to_server: x}, evade: [nonsense]}]}", "no family of evasions is called"),
])  # fmt: skip
def test_mistakes_in_a_companion_are_refused_with_their_place(tmp_path: Path, companion: str, message: str) -> None:
    (tmp_path / "r.tests.yaml").write_text(companion)
    result = run(tmp_path, 'alert tcp any any -> any any (msg:"x"; content:"abc"; sid:1;)\n', name="r.rules")
    assert result.exit_code != 0
    assert message in str(result.exception)


def test_a_companion_is_no_rule_file(tmp_path: Path) -> None:
    (tmp_path / "r.tests.yaml").write_text("tests: {1: [{name: a, payload: {to_server: xabcx}}]}")
    (tmp_path / "r.rules").write_text('alert tcp any any -> any any (msg:"x"; content:"abc"; sid:1;)\n')
    result = CliRunner().invoke(cli, ["rules", "test", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "1 test of 1 rule, all hold" in result.stdout


def test_junit_says_the_same(tmp_path: Path) -> None:
    """Also of names that XML has no place for."""
    tests = '[{name: "a\\x01b", payload: {to_server: abcdef}}, {name: c, payload: {to_server: abcdef}, alerts: 0}]'
    run(tmp_path, proved("[payload: {contains: abcdef}]", tests), "--junit", str(tmp_path / "r.xml"))
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert [case.get("name") for case in root.iter("testcase")] == ["a?b", "c"]
    (failure,) = root.iter("failure")
    assert failure.get("message") == "expected no alert, got 1 alert"


def test_all_is_every_family_of_the_same_bytes() -> None:
    assert "requests" not in families_of("all")
    assert "overlaps" in families_of("all")
    assert families_of(("requests", "none", "segments")) == ("requests", "segments")
    with pytest.raises(ValueError, match="nonsense"):
        families_of("nonsense")


def test_rules_without_tests_are_not_called_tested(tmp_path: Path) -> None:
    result = run(tmp_path, "rules:\n" + rule_text("[payload: {contains: abcdef}]"))
    assert "no rule here carries a test" in str(result.exception)


LEAK = proved(
    "[http.response_body: {contains: abcdef}]",
    "[{name: a, http: {uri: /, status: 200, response_body: abcdef}}, {name: b, http: {uri: /}, alerts: 0}]",
    "http",
)


def test_what_the_server_says_is_not_looked_for_where_it_is_not_seen(tmp_path: Path) -> None:
    found = verdicts(tmp_path, LEAK, "--evade", "segments")
    skipped = [row for row in found if row["skipped"]]
    assert [row["evasion"] for row in skipped] == ["segments: only the client's packets are seen"]
    assert all(row["held"] for row in found)


def test_a_sample_has_some_of_all_ways_and_the_same_each_time(tmp_path: Path) -> None:
    def ways(*options: str) -> list[str]:
        return [row["evasion"] for row in verdicts(tmp_path, LEAK, "--evade", "all", *options) if row["evasion"]]

    some = ways("--sample", "5")
    assert len(some) == len(set(some)) == 5
    assert some == ways("--sample", "5")


def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in the same order."""
    monkeypatch.setattr("ids.authoring.provers.ORDER", 3)
    text = proved(
        "[payload: {contains: abcdef}]",
        "[{name: a, payload: {to_server: abcdef}}, {name: b, payload: {to_server: a}}, {name: c, pcap: none.pcap}]",
    )

    def told(*options: str) -> list[dict[str, Any]]:
        return [row | {"ms": 0} for row in verdicts(tmp_path, text, "--evade", "segments", "--sample", "4", *options)]

    assert told("--workers", "2") == told("--workers", "1")


def test_evasions_are_counted_by_rule_and_family(tmp_path: Path) -> None:
    result = run(tmp_path, LEAK, "--evade", "segments", "--junit", str(tmp_path / "j.xml"))
    played = len(verdicts(tmp_path, LEAK, "--evade", "segments")) - 3
    assert "segments" in result.stdout
    assert f"{played}/{played}" in result.stdout
    assert "1 evasion skipped: the rule is about what the server says" in result.stdout
    root = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == (str(played + 3), "0", "1")
    assert len(root.findall(".//skipped")) == 1


def test_a_missed_evasion_is_an_exit_code_and_stands_in_the_table(tmp_path: Path) -> None:
    rules = 'alert tcp any any -> any any (msg:"x"; dsize:>5; content:"abcdef"; sid:1; rev:1;)\n'
    (tmp_path / "r.tests.yaml").write_text("tests: {1: [{name: a, payload: {to_server: xabcdefx}}]}")
    result = run(tmp_path, rules, "--evade", "segments", "--failed", name="r.rules")
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert "found of played" in result.stdout


def test_a_test_that_cannot_be_said_in_other_ways_is_counted(tmp_path: Path) -> None:
    """Its author would else think that evasions were tried."""
    text = """rules:
  - title: x
    sid: 1
    traffic: udp
    match: [payload: {contains: abcdef}]
    tests:
      - {name: a, payload: {proto: udp, to_server: abcdef}, evade: all}
      - {name: b, payload: {proto: udp, to_server: abc}, alerts: 0, evade: all}
"""
    result = run(tmp_path, text)
    assert result.exit_code == 0
    assert "1 test not said in other ways" in result.stdout
    assert "not said in other ways" not in run(tmp_path, LEAK, "--evade", "segments").stdout
