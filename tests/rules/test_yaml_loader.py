"""YAML rules: what loads, and what every mistake is answered with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ids.rules.language.impossible import LOWER_CASE
from ids.rules.language.loader import load_rules
from ids.rules.model.buffers import CATALOGUE
from ids.rules.model.rule import Anchor, Any_, Literal, NotAny, Regex, RuleTest, Size
from ids.types import Action, BlockMode, BlockRequest, Direction, Threshold
from tests.rules.builders import load, load_errors, rule_text

EXAMPLE = """\
required_engine_version: 0.1.0
lists:
  - name: approved_scanners
    items: [192.0.2.10/32, 2001:db8::10/128]
rules:
  - title: sqlmap probes a protected web server
    id: 3f1f6a52-6c0e-4a57-9d0e-0b7c5a1e2f11
    sid: 1000001
    rev: 2
    status: experimental
    level: high
    description: The default User-Agent of sqlmap.
    author: the project
    date: 2026-11-21
    references: ['https://sqlmap.org']
    tags: [attack.t1190]
    falsepositives: [Authorised scans]
    classtype: web-application-attack
    traffic: http $EXTERNAL_NET any -> $HOME_NET any
    flow: [established, to_server]
    match:
      - http.user_agent: {contains: SQLmap, nocase: true}
      - any:
          - http.uri: {regex: '(?i)union\\s+select'}
          - http.uri: {contains: "'"}
    exceptions:
      - {name: scanners, src_ip: approved_scanners}
    threshold: {type: limit, track: by_src, count: 1, seconds: 60}
    then: drop
    block: {target: src_ip, for: 1h30m, mode: shadow, require: proven}
    tests:
      - name: fires
        http: {method: GET, uri: "/?id=1'", headers: {User-Agent: sqlmap/1.8}}
        alerts: 1
        evade: all
      - name: the recorded attack
        pcap: sqlmap.pcap
        blocked_from_packet: 12
"""


def test_a_rule_on_infected_hosts_says_that_those_inside_are_meant() -> None:
    (rule,) = load(EXAMPLE.replace("require: proven}", "home: true}")).rules
    assert rule.signature.block == BlockRequest("src_ip", 5400, BlockMode.SHADOW, require_proven=True, home=True)


def test_the_example_loads_with_all_it_says() -> None:
    """Metadata of Sigma, identity of Suricata, lists and exceptions of Falco."""
    loaded = load(EXAMPLE)
    assert (loaded.errors, loaded.warnings) == ((), ())
    (rule,) = loaded.rules
    signature = rule.signature
    assert (signature.sid, signature.rev, signature.severity) == (1000001, 2, 1)
    assert signature.action is Action.DROP
    assert signature.block == BlockRequest("src_ip", 5400, BlockMode.SHADOW, require_proven=True)
    assert signature.threshold == Threshold("limit", "by_src", 1, 60)
    assert signature.metadata["level"] == ["high"]
    assert signature.metadata["created_at"] == ["2026-11-21"]
    assert signature.origin.endswith("r.yaml:6")
    assert (rule.flow.established, rule.flow.direction) == (True, Direction.TO_SERVER)
    assert rule.buffers == {"http.user_agent", "http.uri"}
    agent, either, exceptions = rule.condition.parts
    assert agent == Literal("http.user_agent", b"sqlmap", nocase=True)
    assert isinstance(either, Any_)
    assert isinstance(either.parts[0], Regex)
    assert isinstance(exceptions, NotAny)
    assert [test.kind for test in rule.tests] == ["http", "pcap"]
    assert rule.tests[1] == RuleTest("the recorded attack", "pcap", {"path": "sqlmap.pcap"}, 1, "none", 12)


@pytest.mark.parametrize(
    ("match", "parts"),
    [
        ("[http.method: GET]", [Literal("http.method", b"GET", anchor=Anchor.WHOLE)]),
        ("[http.stat_code: 404]", [Literal("http.stat_code", b"404", anchor=Anchor.WHOLE)]),
        ("[payload: {contains: 200}]", [Literal("payload", b"200")]),
        ("[payload: {contains: -7}]", [Literal("payload", b"-7")]),
        ("[payload: {contains: '010'}]", [Literal("payload", b"010")]),
        ("[payload: {contains: {hex: 41}}]", [Literal("payload", b"A")]),
        ("[payload: {startswith: {hex: '41 0d 0A'}}]", [Literal("payload", b"A\r\n", anchor=Anchor.START)]),
        ("[payload: {endswith: Xy, nocase: true}]", [Literal("payload", b"xy", True, Anchor.END)]),
        ("[payload: {contains: [a, b]}]", [Any_((Literal("payload", b"a"), Literal("payload", b"b")))]),
        ("[payload: {size: 7}]", [Size("payload", 7, 7)]),
        ("[payload: {size: {gt: 7, max: 9}}]", [Size("payload", 8, 9)]),
        ("[payload: {size: {min: 7, lt: 9}}]", [Size("payload", 7, 8)]),
        ("[none: [payload: {contains: é}]]", [NotAny((Literal("payload", "é".encode()),))]),
    ],
)
def test_operators(match: str, parts: list[object]) -> None:
    """Each operator, its short forms, and lists of values, of which one must hold."""
    (rule,) = load("rules:\n" + rule_text(match)).rules
    assert list(rule.condition.parts) == parts


OK = "[payload: {contains: abcdef}]"


def corpus() -> list[Any]:
    """Read the bad files and what each must be answered with."""
    blocks = Path(__file__).with_name("mistakes.txt").read_text().split("----\n")[1:]
    cases = [block.rstrip("\n").rpartition("\n=> ") for block in blocks]
    return [pytest.param(text + "\n", answer, id=answer.partition(" (")[0]) for text, _, answer in cases]


@pytest.mark.parametrize(("text", "message"), corpus())
def test_mistakes(text: str, message: str) -> None:
    """Each is answered with its place, what was expected, and what to do."""
    assert load_errors(text)[0] == message


def test_all_errors_of_all_rules_are_reported_and_good_rules_stay() -> None:
    """One run reports everything; a bad rule takes no other with it."""
    bad = rule_text("[htpp.uri: a, payload: {contains: ''}]", sid=2, more="rev: 0\nlevle: low")
    worse = rule_text("[htpp.uri: a, payload: {contains: ''}]", sid=3, traffic="tpc")
    text = "rules:\n" + rule_text(OK, sid=1) + bad + worse + rule_text(OK, sid=4)
    assert [rule.signature.sid for rule in load(text).rules] == [1, 4]
    assert [error.partition(": ")[0] for error in load_errors(text)] == [
        "r.yaml:10:10", "r.yaml:11:12", "r.yaml:9:23", "r.yaml:9:46", "r.yaml:15:23", "r.yaml:15:46", "r.yaml:14:14",
    ]  # fmt: skip


def test_a_regex_that_costs_too_much_is_refused_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a spelling that costs less; its neighbours load."""
    monkeypatch.setattr("ids.rules.model.patterns.COMPILE_CPU_S", 0.2)
    costly = "[payload: {regex: '(?s)select.{0,4000}from.{0,4000}(?:where|having)'}]"
    loaded = load("rules:\n" + rule_text("[payload: {contains: abcd}]", 1) + rule_text(costly, 2))
    assert [rule.signature.sid for rule in loaded.rules] == [1]
    (error,) = loaded.errors
    assert (error.location.line, error.location.column) == (9, 30)
    assert "too costly to compile: it takes more than 0.2 s" in error.message
    assert error.remedy.startswith("large counts cost most: write .* for .{0,4000}, as a whole '(?s)select.*from.*")


def test_a_sid_belongs_to_one_rule(tmp_path: Path) -> None:
    """The second rule with it is refused, with the place of the first one."""
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("rules:\n" + rule_text(OK, sid=9))
    loaded = load_rules([tmp_path])
    assert len(loaded.rules) == 1
    (error,) = loaded.errors
    assert str(error) == (
        f"{tmp_path}/b.yaml:2:5: sid 9 is already used by 'rule 9' at {tmp_path}/a.yaml:2:5"
        " (give one of them another sid)"
    )


def test_lists_are_shared_by_files_and_defined_once(tmp_path: Path) -> None:
    """As in Falco: a file of lists may serve others; a second definition is refused."""
    (tmp_path / "z.yaml").write_text("lists: [{name: known, items: [192.0.2.1]}]")
    (tmp_path / "a.yaml").write_text("rules:\n" + rule_text(OK, more="exceptions: [{name: x, src_ip: known}]"))
    assert load_rules([tmp_path]).errors == ()
    (tmp_path / "y.yaml").write_text("lists: [{name: known, items: [192.0.2.2]}]")
    (error,) = load_rules([tmp_path]).errors
    assert error.message == f"list 'known' is already defined at {tmp_path}/y.yaml:1:9"


def test_files(tmp_path: Path) -> None:
    """Directories are searched, patterns excluded, and what is not there is reported."""
    (tmp_path / "sub").mkdir()
    for name in ("a.yml", "sub/b.yaml", "c.yar", "d-lab.yaml", "e.txt"):
        (tmp_path / name).write_text("")
    loaded = load_rules([tmp_path, tmp_path / "none.yaml", tmp_path / "none", tmp_path / "e.txt"], exclude=["*-lab.*"])
    assert [Path(name).name for name in loaded.files] == ["a.yml", "c.yar", "b.yaml", "none.yaml"]
    assert sorted(error.message for error in loaded.errors) == [
        "cannot be read: No such file or directory", "does not exist", "is no rule file",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.yaml", "a.rules", "a.yar"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert [error.message for error in load_rules([tmp_path / name]).errors] == ["is no plain file"]
    assert load_rules([tmp_path]).files == ()


def test_disabled_rules_are_checked_and_left_out() -> None:
    """Their mistakes are still reported."""
    loaded = load("rules:\n" + rule_text(OK, sid=1) + rule_text("[7]", sid=2), disabled_sids=[1, 2])
    assert (loaded.rules, len(loaded.errors)) == ((), 1)


@pytest.mark.parametrize(
    ("match", "warning"),
    [
        ("[payload: {regex: '[a-z]{9}'}]", "sid 1: no literal to look for, so it is evaluated on every payload"),
        ("[none: [payload: {contains: abcdef}]]", "sid 1: no literal to look for, so it is evaluated on every payload"),
        ("[payload: {contains: a}]", "sid 1: its best literal b'a' is common, so it is evaluated often"),
        (
            "[payload: {regex: 'abcdef(?!g)'}]",
            "sid 1: slow regex 'abcdef(?!g)': Zero-width assertions are not supported.",
        ),
    ],
)
def test_warnings(match: str, warning: str) -> None:
    """A rule that loads but costs is named."""
    loaded = load("rules:\n" + rule_text(match))
    assert len(loaded.rules) == 1
    assert [w.message for w in loaded.warnings] == [warning]


@pytest.mark.parametrize(
    ("match", "more", "places"),
    [
        ("[http.host: {equals: Evil.Example}]", "", ["5:33"]),
        ("[http.host: Evil.Example]", "", ["5:24"]),
        ("[http.host: {endswith: [.example, .Example]}]", "", ["5:46"]),
        ("[http.host: {equals: Evil.Example, nocase: true}]", "", []),
        ("[http.host: evil.example]", "", []),
        ("[http.host.raw: Evil.Example]", "", []),
        (
            "[http.uri: {contains: abcdef}]",
            "exceptions: [{name: a, http.host: [good.example, Good.Example]}]",
            ["6:54"],
        ),
    ],
)
def test_capitals_where_there_are_none_are_named(match: str, more: str, places: list[str]) -> None:
    """The host is in lower case, so that a literal with a capital never stands there."""
    loaded = load("rules:\n" + rule_text(match, traffic="http", more=more))
    assert len(loaded.rules) == 1
    named = [w for w in loaded.warnings if "lower case" in w.message]
    assert [f"{w.location.line}:{w.location.column}" for w in named] == places
    for warning in named:
        assert warning.message.startswith("sid 1: http.host is in lower case, so it never has b'")
        assert warning.remedy.startswith("write '")
        assert warning.remedy.islower()


def test_buffers_in_lower_case_are_those_that_say_so() -> None:
    assert {name for name, buffer in CATALOGUE.items() if "lower case" in buffer.text} == LOWER_CASE


def test_the_same_literal_is_called_weakest_at_every_load() -> None:
    """Of a set, whose order differs between runs of Python."""
    loaded = load("rules:\n" + rule_text("[payload: {contains: ['or', '||', 'is', '&&', 'at']}]"))
    assert [w.message for w in loaded.warnings] == ["sid 1: its best literal b'&&' is common, so it is evaluated often"]


def test_a_rule_without_match_is_named() -> None:
    """It alerts on all of its traffic; exceptions do not make it selective."""
    text = (
        "rules: [{title: rule 1, sid: 1, traffic: tcp any any -> any 23, exceptions: [{name: a, src_ip: [192.0.2.1]}]}]"
    )
    loaded = load(text)
    assert len(loaded.rules) == 1
    assert [w.message for w in loaded.warnings] == ["sid 1: without match: it alerts on every flow of its traffic"]


@pytest.mark.parametrize(
    ("flow", "match", "sender"),
    [
        ("to_client", "[http.uri: {contains: abcdef}]", "client"),
        ("from_server", "[http.header: {contains: abcdef}, http.method: {equals: POST}]", "client"),
        ("to_server", "[http.stat_msg: {contains: abcdef}]", "server"),
        ("to_server", "[http.uri: {contains: abcdef}]", None),
        ("to_client", "[http.header: {contains: abcdef}]", None),
        ("to_client", "[http.uri: {contains: abcdef}, http.stat_msg: {contains: abcdef}]", None),
        ("established", "[http.uri: {contains: abcdef}]", None),
    ],
)
def test_a_buffer_that_the_direction_never_carries_is_named(flow: str, match: str, sender: str | None) -> None:
    """What the other side sends is never seen; both sides together are one exchange."""
    loaded = load("rules:\n" + rule_text(match, traffic="http", more=f"flow: [{flow}]"))
    assert len(loaded.rules) == 1
    assert [f"sent by the {sender}" in str(w) and ":6:" in str(w) for w in loaded.warnings] == [True] * bool(sender)


@pytest.mark.parametrize(
    ("traffic", "match", "more", "warned"),
    [
        ("http", "[http.response_body: {contains: abcdef}]", "block: {target: src_ip}", True),
        ("http", "[http.response_body: {contains: abcdef}]", "block: {}", True),
        ("tcp", OK, "flow: [to_client]\nblock: {target: src_ip}", True),
        ("tcp $HOME_NET any -> any any", OK, "flow: [to_client]\nblock: {}", True),
        ("tcp any any <> $EXTERNAL_NET any", OK, "flow: [to_client]\nblock: {}", True),
        ("tcp", OK, "flow: [to_client]\nblock: {target: dst_ip}", False),
        ("tcp $EXTERNAL_NET any -> any any", OK, "flow: [to_client]\nblock: {}", False),
        ("tcp", OK, "flow: [to_client]", False),
        ("tcp", OK, "flow: [to_server]\nblock: {}", False),
        ("tcp", OK, "block: {}", False),
        ("http", "[http.uri: {contains: abcdef}, http.stat_code: {equals: '200'}]", "block: {}", False),
    ],
)
def test_a_rule_on_answers_that_blocks_the_server_is_named(traffic: str, match: str, more: str, warned: bool) -> None:
    """The sender of an answer is the server; one outside may be the attacker."""
    loaded = load("rules:\n" + rule_text(match, traffic=traffic, more=more))
    assert (len(loaded.rules), loaded.errors) == (1, ())
    warned_of = [w for w in loaded.warnings if "which is the server" in w.message]
    assert [w.remedy for w in warned_of] == ["`target: dst_ip` blocks its client"] * warned


NOT_A_BLOCK = "a datagram proves nobody"


@pytest.mark.parametrize(
    ("traffic", "block", "warned"),
    [
        ("udp", "{}", True),
        ("icmp", "{target: dst_ip}", True),
        ("udp", "{require: any}", False),
        ("udp", None, False),
        ("tcp", "{}", False),
        ("ip", "{}", False),
        ("http", "{}", False),
        ("dns", "{}", False),  # TCP carries it too
    ],
)
def test_a_block_that_asks_datagrams_for_a_proof_is_named(traffic: str, block: str | None, warned: bool) -> None:
    loaded = load("rules:\n" + rule_text(OK, traffic=traffic, more="" if block is None else f"block: {block}"))
    assert loaded.errors == () or traffic == "http"
    found = [warning for warning in loaded.warnings if NOT_A_BLOCK in warning.message]
    assert len(found) == warned
    assert all("require: any" in warning.remedy and warning.location.line == 6 for warning in found)


def test_a_rule_of_scapy_fields_alone_is_named_for_what_it_costs() -> None:
    loaded = load("rules:\n" + rule_text("[scapy.TCP.window: 7]", 1) + rule_text("[scapy.TCP.window: 7, " + OK[1:], 2))
    (warning,) = loaded.warnings
    assert warning.message.startswith("sid 1: nothing but Scapy fields")
    assert "contains" in warning.remedy


def test_what_is_no_yaml_of_one_rule_hides_nothing_of_the_others(tmp_path: Path) -> None:
    """A key twice, a value that is none: each is reported beside all other errors, in this file and the next."""
    broken, other = tmp_path / "broken.yaml", tmp_path / "other.yaml"
    twice = rule_text("[payload: {contains: abcd}]", 1, more="sid: 11")
    no_date = rule_text("[payload: {contains: abcd}]", 2, more="date: 2026-13-40")
    unknown = rule_text("[payload: {contains: abcd}]", 3, more="titel: x")
    good = rule_text("[payload: {contains: abcd}]", 4)
    broken.write_text("rules:\n" + twice + no_date + unknown + good + "rules: []\n")
    other.write_text("rules:\n" + rule_text("[payload: {contain: abcd}]", 5) + rule_text("[payload: {size: 4}]", 6))
    loaded = load_rules([broken, other])
    assert [rule.signature.sid for rule in loaded.rules] == [4, 6]
    said = [(Path(error.location.path).name, error.message) for error in loaded.errors]
    assert said[0] == ("broken.yaml", "key 'sid' is given twice")
    assert [name for name, _ in said] == ["broken.yaml"] * 4 + ["other.yaml"]
    for part in ("is no valid value: month must be in 1..12", "key 'rules' is given twice", "unknown key 'titel'"):
        assert any(part in message for _, message in said), (part, said)
