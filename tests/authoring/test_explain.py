"""Why a rule matched, or what kept it from it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ids.authoring.bench import Watch
from ids.authoring.stimuli import frames_of
from ids.authoring.trace import trace
from ids.capture.writer import PcapWriter
from ids.cli import cli
from ids.rules.language.loader import load_rules
from ids.rules.match.conditions import View, holds
from ids.rules.model.chain import Chain
from ids.rules.model.rule import All
from ids.testing.values import T0
from plugins import rules as rules_plugin
from tests.rules.builders import rule_text
from tests.rules.chains_reference import Maker


def capture(tmp_path: Path, test: str) -> Path:
    """Write the capture that a test of the first rule is."""
    file = tmp_path / "stimulus.yaml"
    text = rule_text("[payload: {contains: zzzzzz}]", 78, "ip")
    file.write_text(f"rules:\n{text}    tests: [{{name: a, {test}}}]\n")
    (rule,) = load_rules([file]).rules
    path = tmp_path / "a.pcap"
    with path.open("wb") as stream:
        writer = PcapWriter(stream)
        for at, frame in frames_of(rule, rule.tests[0]):
            writer.write(frame, T0 + at)
    return path


def explained(tmp_path: Path, text: str, test: str, sid: int = 1, name: str = "r.rules") -> dict[str, Any]:
    rules = tmp_path / name
    rules.write_text(text)
    pcap = capture(tmp_path, test)
    result = CliRunner().invoke(cli, ["rules", "explain", f"{rules}:{sid}", str(pcap), "-o", "json"])
    assert result.exit_code == 0, result.exception
    story: dict[str, Any] = json.loads(result.stdout)
    human = CliRunner().invoke(cli, ["rules", "explain", f"{rules}:{sid}", str(pcap)])
    assert human.exit_code == 0, human.exception
    return story


def flat(nodes: Any) -> list[tuple[bool, str]]:
    """Return all findings of a tree."""
    found: list[tuple[bool, str]] = []
    for node in nodes if isinstance(nodes, list) else [nodes]:
        found += [(node["held"], node["text"]), *flat(node.get("parts", []))]
    return found


def failures(nodes: Any) -> list[str]:
    return [text for held, text in flat(nodes) if not held]


CHAIN = (
    'alert tcp any any -> any 445 (msg:"x"; flow:to_server; content:"abcd"; content:"efgh"; distance:2; within:4;'
    " sid:1;)"
)


def test_a_match_is_shown_with_its_bytes(tmp_path: Path) -> None:
    story = explained(tmp_path, CHAIN, "payload: {port: 445, to_server: 12abcd34efgh}")
    assert (len(story["matches"]), story["alerts"], story["best"]["held"]) == (1, 1, True)
    (chain,) = story["best"]["condition"]["parts"]
    first, second = chain["parts"]
    assert bytes.fromhex(first["bytes"]["hex"])[2:6] == b"abcd"
    assert (second["bytes"]["start"], second["bytes"]["end"]) == (8, 12)


def test_the_step_of_a_chain_that_fails_is_named(tmp_path: Path) -> None:
    story = explained(tmp_path, CHAIN, "payload: {port: 445, to_server: 12abcd3efgh}")
    assert (story["matches"], story["alerts"], story["noticed"]) == ([], 0, 1)
    (chain,) = story["best"]["condition"]["parts"]
    assert [part["held"] for part in chain["parts"]] == [True, False]
    assert chain["parts"][1]["text"] == 'contains "efgh" distance 2 within 4'


def test_a_port_that_is_another_is_named(tmp_path: Path) -> None:
    story = explained(tmp_path, CHAIN, "payload: {port: 446, to_server: 12abcd34efgh}")
    assert story["admitted"] == 0
    assert failures(story["best"]["traffic"]) == ["destination port: it is 446"]
    assert story["best"]["condition"] is None


def test_a_literal_that_was_not_seen_is_named(tmp_path: Path) -> None:
    story = explained(tmp_path, CHAIN, "payload: {port: 445, to_server: nothing of the kind}")
    assert (story["admitted"] > 0, story["noticed"]) == (True, 0)
    assert any('contains "' in text for text in failures(story["best"]["prefilter"]))


def test_transactions_are_looked_at_buffer_by_buffer(tmp_path: Path) -> None:
    rule = 'alert http any any -> any any (msg:"x"; http.uri; content:"/shop"; http.user_agent; content:"evil"; sid:1;)'
    story = explained(tmp_path, rule, "http: {uri: /shop, headers: {User-Agent: good}}")
    assert story["best"]["place"] == "http transaction 0"
    assert 'contains "evil"' in failures(story["best"]["condition"])
    assert (True, 'contains "/shop"') in flat(story["best"]["condition"])


def test_headers_of_packets_are_judged(tmp_path: Path) -> None:
    rule = 'alert tcp any any -> any any (msg:"x"; flags:S; ttl:>100; sid:1;)'
    story = explained(tmp_path, rule, "payload: {to_server: abc}")
    assert story["best"]["place"] == "packet"
    assert any(text.startswith("ip.ttl") for text in failures(story["best"]["condition"]))


def test_state_is_named_with_who_sets_it(tmp_path: Path) -> None:
    rules = (
        'alert tcp any any -> any any (msg:"x"; content:"abcd"; flowbits:isset,seen; sid:1;)\n'
        'alert tcp any any -> any any (msg:"y"; content:"wxyz"; flowbits:set,seen; flowbits:noalert; sid:2;)\n'
    )
    story = explained(tmp_path, rules, "payload: {to_server: abcd}")
    assert (len(story["matches"]) > 0, story["alerts"]) == (True, 0)
    assert failures(story["state"]) == ["flow bit seen is set (changed by sid 2; of these matched here: none)"]


def test_a_text_that_another_rule_captured_is_named_with_it(tmp_path: Path) -> None:
    text = (
        'alert tcp any any -> any any (msg:"x"; flow:to_server; content:"abc"; flowvar:who,"root"; sid:1; rev:1;)\n'
        'alert tcp any any -> any any (msg:"y"; flow:to_server; pcre:"/^(?P<flow_who>[a-z]+) /"; noalert; sid:2;)\n'
    )
    story = explained(tmp_path, text, "payload: {to_server: root abc}")
    (state,) = story["state"]
    assert state["held"]
    assert "changed by sid 2; of these matched here: 2" in state["text"]


def test_strings_of_yara_are_shown_whatever_the_condition_says(tmp_path: Path) -> None:
    rule = 'rule r { meta: sid = 1 strings: $a = "abcdef" $b = "uvwxyz" condition: all of them }'
    story = explained(tmp_path, rule, "payload: {to_server: 12abcdef}", name="r.yar")
    found = flat(story["best"]["condition"])
    assert (True, 'string $a: "abcdef"') in found
    assert (False, "string $b") in found


def test_a_rule_that_is_not_loaded_is_asked_for_in_vain(tmp_path: Path) -> None:
    (tmp_path / "r.rules").write_text(CHAIN)
    pcap = capture(tmp_path, "payload: {to_server: abcd}")
    result = CliRunner().invoke(cli, ["rules", "explain", f"{tmp_path / 'r.rules'}:9", str(pcap)])
    assert "no rule with sid 9 is loaded, of 1" in str(result.exception)
    result = CliRunner().invoke(cli, ["rules", "explain", "r.rules", str(pcap)])
    assert "names no rule" in str(result.exception)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_traced_is_what_is_judged(seed: int) -> None:
    """On random chains, and data that they nearly fit."""
    maker = Maker(seed=seed)
    for _ in range(150):
        instances = {"payload": [maker.data(), maker.data()]}
        condition = All((Chain("payload", maker.steps()),))
        one, other = (View(lambda name: instances.get(name, ())) for _ in range(2))  # noqa: B023
        assert trace(condition, one).held == holds(condition, other, [])


def test_bytes_that_are_common_are_looked_at_in_packets_too(tmp_path: Path) -> None:
    """A rule whose literal picks nothing is tried on each packet of its traffic, and explained there."""
    rule = 'alert tcp any any -> any 445 (msg:"x"; flow:to_server; content:"|00 00|"; depth:2; sid:1;)'
    turns = 'payload: {port: 445, turns: [{client: "hello"}, {client_hex: "0000616263"}]}'
    story = explained(tmp_path, rule, turns)
    assert (story["alerts"], story["best"]["held"], story["best"]["place"]) == (1, True, "packet")


def test_what_was_not_inspected_is_named(tmp_path: Path) -> None:
    rule = 'alert tcp any any -> any 445 (msg:"x"; content:"abcdef"; sid:1;)'
    wrong = "packets: [{port: 445, data: abcdef, flags: [ack], wrong_checksum: [transport]}]"
    story = explained(tmp_path, rule, wrong)
    assert story["alerts"] == 0
    assert [row["packets"] for row in story["uninspected"]] == [1]


def test_who_watches_the_rules_answers_all_that_the_plugin_asks() -> None:
    asked = set(re.findall(r"self\.matcher\.(\w+)\(", Path(rules_plugin.__file__).read_text()))
    assert {"streams", "needs"} <= asked
    assert {name for name in asked if not hasattr(Watch, name)} == set()


def test_a_rule_on_payload_and_on_a_buffer_is_judged_at_the_exchange(tmp_path: Path) -> None:
    rule = 'alert http any any -> any any (content:"GET "; depth:4; http.uri; content:"/b"; sid:1;)\n'
    story = explained(tmp_path, rule, "http: {uri: /a/b}")
    assert (len(story["matches"]), story["best"]["condition"]["held"]) == (1, True)
    assert (True, 'contains "GET " depth 4') in flat(story["best"]["condition"])
