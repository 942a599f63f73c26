"""Chains, headers, state and lists of YAML rules: what each word comes to in the model."""

from __future__ import annotations

from math import nextafter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.rules.language import yaml_headers
from ids.rules.language.loader import load_rules
from ids.rules.language.schema_steps import MODIFIERS
from ids.rules.language.yaml_chain import WORDS
from ids.rules.model.chain import (
    Chain,
    Compare,
    Compute,
    Content,
    DataAt,
    Decode,
    Entropy,
    Expression,
    Extract,
    Jump,
    Length,
    Listed,
    Number,
    Step,
)
from ids.rules.model.header import (
    Checksum,
    HeaderBits,
    HeaderNumber,
    HeaderTest,
    IpOption,
    Noted,
    SameAddress,
    Spoken,
    StreamSize,
)
from ids.rules.model.rule import Address, All, Anchor, Any_, Literal, Rule
from ids.types import After, BitChange, BitTest, CounterChange, CounterTest, Distinct, State, Tagged, Threshold
from tests.rules.builders import load, load_errors, rule_text

FIRST = Content(b"a", offset=0, depth=1)


def rule_of(match: str, more: str = "", traffic: str = "tcp") -> Rule:
    loaded = load("rules:\n" + rule_text(match, more=more, traffic=traffic))
    assert [str(error) for error in loaded.errors] == []
    (rule,) = loaded.rules
    return rule


def steps_of(steps: str) -> tuple[Step, ...]:
    """Return the steps of a chain behind one that has found an ``a`` at the start."""
    (chain,) = rule_of(f"[payload: [{{contains: a, at: 0}}, {steps}]]").condition.parts
    assert isinstance(chain, Chain)
    assert chain.steps[0] == FIRST
    return chain.steps[1:]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{contains: b}", Content(b"b")),
        ("{contains: B, nocase: true}", Content(b"b", nocase=True)),
        ("{contains: {hex: '0d 0a'}}", Content(b"\r\n")),
        ("{contains: bc, at: 4}", Content(b"bc", offset=4, depth=2)),
        ("{contains: b, from: 4}", Content(b"b", offset=4)),
        ("{contains: b, from: 4, within_first: 9}", Content(b"b", offset=4, depth=9)),
        ("{contains: b, within_first: 9}", Content(b"b", depth=9)),
        ("{contains: b, after: 0}", Content(b"b", distance=0)),
        ("{contains: b, after: -3, within: 9}", Content(b"b", distance=-3, within=9)),
        ("{contains: b, within: 9}", Content(b"b", within=9)),
        ("{contains: b, from: 4, after: 1}", Content(b"b", offset=4, distance=1)),
        ("{contains: b, not: true, within: 9}", Content(b"b", negated=True, within=9)),
        ("{contains: b, rarest: true}", Content(b"b", preferred=True)),
        ("{startswith: bc}", Content(b"bc", offset=0, depth=2)),
        ("{endswith: bc}", Content(b"bc", at_end=True)),
        ("{endswith: bc, after: 0, within: 2}", Content(b"bc", distance=0, within=2, at_end=True)),
        ("{equals: bc}", Content(b"bc", offset=0, depth=2, at_end=True)),
        ("{size: 4}", Length(4, 4)),
        ("{size: {min: 4, lt: 9}, not: true}", Length(4, 8, negated=True)),
        ("{data_at_least: 4}", DataAt(4, relative=True)),
        ("{data_at_least: 4, not: true}", DataAt(4, negated=True, relative=True)),
        ("{has_byte: 300}", DataAt(300)),
        ("{entropy: {min: 4.5, max: 7}}", Entropy(4.5, 7)),
        ("{entropy: {gt: 4.5}, not: true}", Entropy(nextafter(4.5, 9), 8, negated=True)),
        ("{bytes: {size: 2, at: 4, gt: 9}}", Compare(Number(2, 4), ">", 9)),
        ("{bytes: {size: 2, after: -1, equals: 0x1F}}", Compare(Number(2, -1, relative=True), "=", 31)),
        ("{bytes: {size: 4, at: 0, order: little, max: 9}}", Compare(Number(4, 0, order="little"), "<=", 9)),
        ("{bytes: {at: 0, base: 10, min: 9}}", Compare(Number(0, 0, base=10), ">=", 9)),
        ("{bytes: {size: 3, at: 0, base: any, lt: 9}}", Compare(Number(3, 0, base=0), "<", 9)),
        ("{bytes: {size: 1, at: 0, any_bits: 0x80}}", Compare(Number(1, 0), "&", 128)),
        ("{bytes: {size: 1, at: 0, mask: 0xf0, equals: 4}, not: true}", Compare(Number(1, bits=240), "=", 4, True)),
        ("{jump: {size: 2, after: 0}}", Jump(Number(2, 0, relative=True))),
        ("{jump: {plus: 4}}", Jump(Number(0, relative=True), post_offset=4)),
        ("{jump: {from: end, plus: -4}}", Jump(Number(0, relative=True), origin="end", post_offset=-4)),
        (
            "{jump: {size: 1, at: 0, times: 4, align: 4, from: start, plus: 2}}",
            Jump(Number(1, 0), 4, True, "begin", 2),
        ),
        ("{extract: {size: 2, after: 1, as: len}}", Extract(Number(2, 1, relative=True), "len")),
        ("{extract: {size: 2, at: 1, as: len, times: 2, align: 4}}", Extract(Number(2, 1), "len", 2, 4)),
        ("{compute: {size: 1, at: 0, minus: 4, as: n}}", Compute(Number(1), "-", 4, "n")),
        ("{compute: {size: 1, at: 0, shifted_left: 4, as: n}}", Compute(Number(1), "<<", 4, "n")),
        ("{compute: {size: 1, at: 0, divided_by: 4, mask: 0xff, as: n}}", Compute(Number(1, bits=255), "/", 4, "n")),
        ("{decode_base64: {after: 0, size: 40}}", Decode(40, 0, True)),
        ("{decode_base64: {at: 3}}", Decode(None, 3)),
    ],
)  # fmt: skip
def test_a_step(step: str, expected: Step) -> None:
    assert steps_of(step) == (expected,)


def test_a_range_is_two_comparisons() -> None:
    number = Number(1, 0)
    assert steps_of("{bytes: {size: 1, at: 0, gt: 3, lt: 9}}") == (
        Compare(number, ">", 3), Compare(number, "<", 9),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "relative", "negated"), [("", False, False), (", here: true, not: true", True, True)]
)
def test_a_regex(words: str, relative: bool, negated: bool) -> None:
    (step,) = steps_of(f"{{regex: '^b+', nocase: true{words}}}")
    assert isinstance(step, Expression)
    assert (step.relative, step.negated) == (relative, negated)
    assert (step.pattern.text, step.pattern.nocase) == ("^b+", True)


def test_numbers_of_the_traffic_go_by_their_names() -> None:
    steps = steps_of(
        "{extract: {size: 1, at: 0, as: n}}, {contains: b, from: n, within_first: n}, {data_at_least: n},"
        " {bytes: {size: n, at: n, equals: n}}, {compute: {size: 1, at: n, plus: n, as: m}},"
        " {jump: {size: n, after: m, plus: m}}"
    )
    assert steps[1:] == (
        Content(b"b", offset="n", depth="n"), DataAt("n", relative=True), Compare(Number("n", "n"), "=", "n"),
        Compute(Number(1, "n"), "+", "n", "m"), Jump(Number("n", "m", relative=True), post_offset="m"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("[payload: {contains: b, at: 4}]", Chain("payload", (Content(b"b", offset=4, depth=1),))),
        ("[payload: {bytes: {size: 1, at: 0, gt: 3}}]", Chain("payload", (Compare(Number(1), ">", 3),))),
        ("[payload: {contains: b}]", Literal("payload", b"b")),
        ("[payload: [{contains: b}]]", Chain("payload", (Content(b"b"),))),
        ("[payload: [b, {hex: '63'}]]", Any_((
            Literal("payload", b"b", anchor=Anchor.WHOLE), Literal("payload", b"c", anchor=Anchor.WHOLE)))),
        ("[payload|lower|xor:0d0a: {contains: b}]", Literal("payload|lower|xor:0d0a", b"b")),
        ("['payload|base64:bytes 16, offset 4': {contains: b}]", Literal("payload|base64:bytes 16, offset 4", b"b")),
        ("[tcp.hdr: {size: {gt: 20}}, payload: {contains: b}]", All(())),
    ],
)  # fmt: skip
def test_what_stands_under_a_buffer(match: str, expected: object) -> None:
    """A mapping without a word of place is as it always was; a list of values is one of alternatives."""
    condition = rule_of(match).condition
    if expected != All(()):
        assert condition.parts == (expected,)


def test_what_was_decoded_is_a_buffer() -> None:
    rule = rule_of("[payload: [{contains: 'auth '}, {decode_base64: {after: 0}}], base64_data: {contains: root}]")
    assert rule.condition.parts[1] == Literal("base64_data", b"root")
    assert rule.buffers == {"payload"}, "what it decodes is the rule's own"


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("ip.ttl: 64", HeaderNumber("ip.ttl", ((64, 64),))),
        ("ip.ttl: {lt: 10}", HeaderNumber("ip.ttl", ((0, 9),))),
        ("ip.ttl: {gt: 10}", HeaderNumber("ip.ttl", ((11, 255),))),
        ("tcp.window: {min: 1, max: 1024}", HeaderNumber("tcp.window", ((1, 1024),))),
        ("icmp.type: [8, 0]", HeaderNumber("icmp.type", ((8, 8), (0, 0)))),
        ("ip.proto: {not: [6, 17]}", HeaderNumber("ip.proto", ((6, 6), (17, 17)), negated=True)),
        ("payload.size: {min: 100}", HeaderNumber("payload.size", ((100, 65535),))),
        ("tcp.flags: syn", HeaderBits("tcp.flags", "exactly", 2)),
        ("tcp.flags: [syn, ack]", HeaderBits("tcp.flags", "exactly", 18)),
        ("tcp.flags: {exactly: []}", HeaderBits("tcp.flags", "exactly", 0)),
        ("tcp.flags: {exactly: syn, ignoring: [ece, cwr]}", HeaderBits("tcp.flags", "exactly", 2, 192)),
        ("tcp.flags: {not_all: [psh, urg]}", HeaderBits("tcp.flags", "lacking", 40)),
        (
            "tcp.flags: {all: [syn], none: [ack]}",
            All((HeaderBits("tcp.flags", "all", 2), HeaderBits("tcp.flags", "none", 16))),
        ),
        ("ip.fragbits: {any: more_fragments}", HeaderBits("ip.fragbits", "any", 1)),
        ("same_address: true", SameAddress()),
        ("ip.option: [rr, lsrr]", Any_((IpOption("rr"), IpOption("lsrr")))),
        ("stream.client_size: {gt: 100}", StreamSize("client", ((101, yaml_headers.MOST_SENT),))),
        ("stream.either_size: {max: 9}", StreamSize("either", ((0, 9),))),
        ("stream.event: reassembly_overlap_different_data", Noted("stream", "reassembly_overlap_different_data")),
        ("decode.event: ipv4.trunc_pkt", Noted("decode", "ipv4.trunc_pkt")),
        ("bad_checksum: tcpv4", Checksum("tcpv4", valid=False)),
        ("app_protocol: http", Spoken("http")),
        ("app_protocol: {not: http}", Spoken("http", negated=True)),
        ("app_protocol: [tls, failed]", Any_((Spoken("tls"), Spoken("failed")))),
    ],
)
def test_tests_on_headers(match: str, expected: HeaderTest) -> None:
    traffic = "icmp" if match.startswith("icmp") else "ip"
    assert rule_of(f"[{match}]", traffic=traffic).condition.parts == (expected,)


STATE = {
    "when: [{flow: a}]": State((BitTest("flow", ("a",)),)),
    "when: [{flow: [a, b]}]": State((BitTest("flow", ("a", "b")),)),
    "when: [{not_src: a, pair: b}]": State((BitTest("src", ("a",), True), BitTest("pair", ("b",)))),
    "when: [{counter: {n: 3}}]": State((CounterTest("n", "==", 3),)),
    "when: [{counter: {n: {min: 3, lt: m}}}]": State((CounterTest("n", ">=", 3), CounterTest("n", "<", "m"))),
    "when: [{counter: {n: {is_set: false}}}]": State((CounterTest("n", "notset"),)),
    "set: [{flow: a}]": State(changes=(BitChange("flow", "set", "a"),)),
    "set: [{dst: a, for: 10m}]": State(changes=(BitChange("dst", "set", "a", 600),)),
    "unset: [{src: a}]": State(changes=(BitChange("src", "unset", "a"),)),
    "toggle: [{pair: a}]": State(changes=(BitChange("pair", "toggle", "a"),)),
    "counters: {n: {add: 1}}": State(changes=(CounterChange("n", "+", 1),)),
    "counters: {n: {subtract: m}}": State(changes=(CounterChange("n", "-", "m"),)),
    "counters: {n: {set: 0}}": State(changes=(CounterChange("n", "=", 0),)),
    "log_packets: {packets: 10}": State(changes=(Tagged("session", 10, "packets"),)),
    "log_packets: {of: dst, time: 1m}": State(changes=(Tagged("host", 60, "seconds", "dst"),)),
    "silent: true": State(silent=True),
}


@pytest.mark.parametrize("more", STATE)
def test_state(more: str) -> None:
    rule = rule_of("[payload: {contains: abcdef}]", more)
    assert rule.signature.state == STATE[more]
    assert rule.repeats is more.startswith("when"), "what is asked may come true later in the flow"


def test_counts_and_thresholds() -> None:
    match = "[payload: {contains: abcdef}]"
    counts = rule_of(match, "count: {distinct: dst_port, by: pair, at_least: 20, within: 10s}")
    assert counts.signature.distinct == Distinct("dst_port", "pair", 20, 10)
    limited = rule_of(match, "threshold: {type: filter, track: by_both, count: 5, seconds: 1m}")
    assert limited.signature.threshold == Threshold("filter", "by_both", 5, 60)


def test_a_rule_that_comes_after_others_has_them_remembered() -> None:
    text = (
        rule_text("[payload: {contains: failed}]", 1)
        + rule_text("[payload: {contains: welcome}]", 2, more="after: {rules: 1, times: 3, within: 60s}")
        + rule_text("[payload: {contains: again}]", 3, more="after: {rules: [1, 2], by: pair, within: 60s}")
        + rule_text("[payload: {contains: other}]", 4, more="after: {rules: [1], times: 5, within: 10s}")
    )
    loaded = load("rules:\n" + text)
    assert [str(error) for error in loaded.errors] == []
    first, second, third, _ = (rule.signature for rule in loaded.rules)
    assert second.after == After((1,), "client", 3, 60)
    assert [(one.by, one.times) for one in first.remembered] == [("client", 5), ("pair", 1)], "the most that any asks"
    assert [(one.by, one.times) for one in second.remembered] == [("pair", 1)]
    assert third.remembered == ()


@pytest.mark.parametrize(
    ("rules", "answer"),
    [("2", "sid 1 comes after sid 2, which no rule has"), ("1", "sid 1 comes after itself")],
)
def test_a_rule_comes_after_one_that_there_is(rules: str, answer: str) -> None:
    text = "rules:\n" + rule_text("[payload: {contains: abcdef}]", more=f"after: {{rules: {rules}, within: 1m}}")
    assert answer in load_errors(text)[0]
    assert load(text).rules == ()


def test_a_rule_may_come_after_one_that_is_switched_off() -> None:
    text = "rules:\n" + rule_text("[payload: {contains: abcdef}]", 1)
    text += rule_text("[payload: {contains: ghijkl}]", 2, more="after: {rules: 1, within: 1m}")
    assert load(text, disabled_sids=[1]).errors == ()


def test_a_bit_that_nobody_sets_is_warned_of() -> None:
    waits = rule_text("[payload: {contains: abcdef}]", 1, more="when: [{flow: login}]")
    (warning,) = load("rules:\n" + waits).warnings
    assert "it waits for login, which no rule sets" in str(warning)
    sets = rule_text("[payload: {contains: ghijkl}]", 2, more="set: [{flow: login}]")
    assert load("rules:\n" + waits + sets).warnings == ()


# Lists.


def load_beside(directory: Path, text: str, **files: str) -> Any:
    for name, content in files.items():
        (directory / f"{name}.txt").write_text(content)
    path = directory / "r.yaml"
    path.write_text(text)
    return load_rules([path])


LISTS = """\
lists:
  - {name: domains, file: bad.txt, kind: domain}
  - {name: hosts, file: hosts.txt, kind: ip}
  - {name: words, items: [alpha, beta]}
"""


@pytest.mark.parametrize(
    ("match", "kind", "listed", "other"),
    [
        ("http.host: {in_list: domains}", "domain", b"www.bad.example", b"good.example"),
        ("http.host: {in_list: {file: bad.txt, kind: domain}}", "domain", b"bad.example", b"notbad.example"),
        ("http.method: {in_list: words}", "string", b"beta", b"bet"),
    ],
)
def test_a_buffer_may_be_looked_up(tmp_path: Path, match: str, kind: str, listed: bytes, other: bytes) -> None:
    files = {"bad": "# a comment\nbad.example\n", "hosts": "192.0.2.0/24\n"}
    loaded = load_beside(tmp_path, LISTS + "rules:\n" + rule_text(f"[{match}]", traffic="http"), **files)
    assert [str(error) for error in loaded.errors] == []
    (chain,) = loaded.rules[0].condition.parts
    (step,) = chain.steps
    assert isinstance(step, Listed)
    assert (step.kind, step.negated) == (kind, False)
    assert step.members is not None
    assert listed in step.members
    assert other not in step.members


def test_an_address_may_be_looked_up(tmp_path: Path) -> None:
    text = (
        LISTS
        + "rules:\n"
        + rule_text(
            "[{src_ip: hosts}, {dst_ip: {in_list: {file: hosts.txt, kind: ip}}}, payload: {contains: abcdef}]",
            more="exceptions: [{name: known, src_ip: hosts}]",
        )
    )
    loaded = load_beside(tmp_path, text, bad="", hosts="192.0.2.0/24\n2001:db8::/32\n")
    assert [str(error) for error in loaded.errors] == []
    src, dst = loaded.rules[0].condition.parts[:2]
    assert isinstance(src, Address)
    assert isinstance(dst, Address)
    for address in (src, dst):
        assert (0, 0xFFFF << 32 | 0xC0000207) in address.members
        assert (0, 0xFFFF << 32 | 0xC0000307) not in address.members
        assert (0x20010DB8 << 32, 1) in address.members


def test_rules_learn_what_they_see() -> None:
    """And only lists that are for that."""
    lists = "lists: [{name: learned_here, learned: true}, {name: words, items: [a]}]\nrules:\n"
    match = "[payload: [{learn: learned_here}], 'payload|lower': {forget: learned_here}]"
    (rule,) = load(lists + rule_text(match)).rules
    parts: Any = rule.condition.parts
    learned, forgotten = (part.steps[0] for part in parts)
    assert (learned.change, forgotten.change) == ("add", "remove")
    assert learned.members is forgotten.members
    for wrong in ("[payload: {learn: words}]", "[payload: {learn: nothing}]", "[src_ip: {in_list: learned_here}]"):
        assert load(lists + rule_text(wrong)).errors


def test_a_bad_entry_is_reported_at_its_line(tmp_path: Path) -> None:
    text = "lists: [{name: hosts, file: hosts.txt, kind: ip}]\nrules:\n" + rule_text("[src_ip: hosts]")
    loaded = load_beside(tmp_path, text, hosts="192.0.2.1\nnobody\n")
    assert "hosts.txt:2" in str(loaded.errors[0])
    assert loaded.rules == ()


# Mistakes of all kinds.

WORD = st.one_of(
    st.sampled_from(sorted(WORDS)), st.sampled_from(["hex", "min", "as", "all", "none", "flow", "distinct", "x"])
)
LEAF = st.one_of(
    st.sampled_from(
        ["a", "len", "true", "4", "-1", "0x10", "010", "12:30", "null", "[]", "{}", "'", "2026-11-21", "1.5"]
    ),
    st.integers(-(2**70), 2**70).map(str),
)
PART = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: f"[{', '.join(parts)}]"),
        st.dictionaries(WORD, inner, max_size=4).map(
            lambda parts: "{" + ", ".join(f"{word}: {part}" for word, part in parts.items()) + "}"
        ),
    ),
    max_leaves=12,
)  # fmt: skip
NAME = st.one_of(
    st.sampled_from(sorted(yaml_headers.WORDS)),
    st.sampled_from(["payload", "http.uri|lower", "http.uri|nothing", "src_ip", "any", "base64_data", "tcp.hdr"]),
)
KEY = st.sampled_from(["when", "set", "unset", "count", "after", "counters", "silent", "threshold", "repeats", "flow"])


@pytest.mark.parametrize(
    "rule",
    [
        rule_text("[payload: [{contains: a}, {contains: b, after: null}]]"),
        rule_text("[payload: [{contains: a}, {bytes: {size: 1, at: 0, gt: 1, lt: null}}]]"),
        rule_text("[payload: [{contains: a}, {bytes: null}]]"),
        rule_text("[payload: [{contains: a}, {data_at_least: null}]]"),
        rule_text("[ip.ttl: {min: 1, max: null}]"),
        rule_text("[tcp.flags: {all: syn, none: null}]"),
        *(
            rule_text("[payload: {contains: abcdef}]", more=more)
            for more in (
                "count: null", "when: [{flow: null}]", "when: [{flow: a, counter: {n: {min: 1, max: null}}}]",
                "set: [{src: a, for: null}]", "after: null", "counters: {n: {add: null}}",
            )
        ),
    ],
)  # fmt: skip
def test_nothing_is_passed_over_because_it_is_empty(rule: str) -> None:
    """Such a rule would match more than it says."""
    loaded = load("rules:\n" + rule)
    assert "no value" in str(loaded.errors[0])
    assert loaded.rules == ()


@given(NAME, PART, KEY, PART)
def test_whatever_is_written_is_loaded_or_refused(name: str, part: str, key: str, value: str) -> None:
    """Never a traceback; and what is refused has a place."""
    loaded = load("rules:\n" + rule_text(f"[{name}: {part}]", more=f"{key}: {value}"))
    assert loaded.rules or loaded.errors
    assert all(error.location.line for error in loaded.errors)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(sorted(WORDS), LEAF)))
def test_whatever_a_step_says_is_loaded_or_refused(words: dict[str, str]) -> None:
    step = "{" + ", ".join(f"{word}: {value}" for word, value in words.items() if value != "'") + "}"
    words = {word: value for word, value in words.items() if value != "'"}  # which would quote the words behind it
    loaded = load("rules:\n" + rule_text(f"[payload: [{{contains: a}}, {step}]]"))
    assert loaded.rules or loaded.errors
    tests = words.keys() & MODIFIERS.keys()
    if loaded.rules:
        (test,) = tests
        assert words.keys() - {test} <= MODIFIERS[test], "no word is passed over"
