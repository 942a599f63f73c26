"""Chains of positioned tests: what they mean, that their cost is bounded, and that the reference agrees."""

from __future__ import annotations

import pickle
import shutil
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from ids.rules.match.chains import MAX_STEPS, judge, program_of
from ids.rules.match.conditions import Found, View, holds
from ids.rules.match.reading import Reading, Variables
from ids.rules.model.chain import (
    DECODED,
    Chain,
    Compare,
    Compute,
    Content,
    DataAt,
    Decode,
    Expression,
    Extract,
    Jump,
    Length,
    Listed,
    Number,
    Step,
)
from ids.rules.model.header import SameAddress
from ids.rules.model.patterns import Pattern, compile_pattern
from ids.rules.model.rule import All, Any_, Instance, Literal, Node, NotAny
from tests.rules import chains_oracle
from tests.rules.chains_reference import Maker, disagreement
from tests.rules.packetwise import CLIENT, SERVER, Bench, packet_rule


def read(data: bytes, *steps: Step, origin: int = 0) -> Reading:
    """Judge a chain on one instance."""
    return judge(Chain("payload", steps), data, data.lower, Variables(), origin)


def found(data: bytes, *steps: Step) -> tuple[tuple[int, int], ...] | None:
    """Return where the steps of a chain were found; None where it does not hold."""
    return read(data, *steps).held


def regex(text: str, relative: bool = False, negated: bool = False) -> Expression:
    """Return a step for an expression."""
    return Expression(compile_pattern(text), negated, relative)


@pytest.mark.parametrize(
    ("data", "steps", "expected"),
    [
        (b"abcab", [Content(b"ab")], ((0, 2),)),
        (b"abcab", [Content(b"ab", offset=1)], ((3, 5),)),
        (b"abcab", [Content(b"ab", offset=1, depth=3)], None),  # it would end behind offset + depth
        (b"abcab", [Content(b"ab", offset=1, depth=4)], ((3, 5),)),
        (b"GET /A", [Content(b"/a", nocase=True)], ((4, 6),)),
        (b"abcab", [Content(b"ab", at_end=True)], ((3, 5),)),
        (b"abcabc", [Content(b"ab", at_end=True)], None),
        (b"abcab", [Content(b"c"), Content(b"a", distance=0)], ((2, 3), (3, 4))),
        (b"abcab", [Content(b"c"), Content(b"a", distance=1)], None),
        (b"abcab", [Content(b"c"), Content(b"ab", distance=-3)], ((2, 3), (0, 2))),
        (b"abxxab", [Content(b"b"), Content(b"a", within=2)], None),
        (b"abxxab", [Content(b"b"), Content(b"a", within=3)], ((1, 2), (4, 5))),
        (b"abcd", [Content(b"x", negated=True)], ()),
        (b"abcd", [Content(b"b", negated=True)], None),
        (b"abcd", [Content(b"b", negated=True, offset=2)], ()),
        (b"abcd", [Content(b"a"), Content(b"b", negated=True, within=1)], None),
        (b"abcd", [Content(b"a"), Content(b"b", negated=True, distance=1)], ((0, 1),)),
        (b"abcd", [Content(b"x", negated=True), Content(b"d")], ((3, 4),)),
        (b"abcd", [Content(b"cd", negated=True, at_end=True)], None),
    ],
)
def test_literals_stand_where_they_are_asked_to(
    data: bytes, steps: list[Step], expected: tuple[tuple[int, int], ...] | None
) -> None:
    assert found(data, *steps) == expected


def test_case_is_looked_past_in_long_buffers_too() -> None:
    data = b"x" * 9000 + b"AbCaBc"
    near = [Content(b"ab", nocase=True), Content(b"c", nocase=True, within=1), Content(b"abc", nocase=True, within=3)]
    assert found(data, *near) == ((9000, 9002), (9002, 9003), (9003, 9006))
    assert found(data, Content(b"abc", nocase=True, at_end=True)) == ((9003, 9006),)
    assert found(data, Content(b"ab", nocase=True), Content(b"C", within=1), Content(b"b", within=2)) is None
    assert found(data, Content(b"bc", nocase=True, negated=True, offset=8000, depth=1000)) == ()


def test_a_relative_test_that_fails_sends_back_to_the_next_place_of_the_literal_before_it() -> None:
    assert found(b"ab ab ac", Content(b"a"), Content(b"c", within=1)) == ((6, 7), (7, 8))
    assert found(b"a1b2 a3c", Content(b"a"), regex(r"^\dc", relative=True)) == ((5, 6), (6, 8))
    assert found(b"a\x01a\x02", Content(b"a"), Compare(Number(1, 0, True), "=", 2)) == ((2, 3), (3, 4))
    assert found(b"axa", Content(b"a"), DataAt(1, negated=True, relative=True)) == ((2, 3), (-1, 3))[:1]


def test_it_goes_back_over_several_literals_and_past_tests_between_them() -> None:
    data = b"ab1 ab2 aab3"
    assert found(data, Content(b"a"), Content(b"b", within=1), Content(b"3", within=1)) == ((9, 10), (10, 11), (11, 12))
    past = [Content(b"a"), Content(b"zzz", negated=True), Content(b"b3", within=2)]
    assert found(data, *past) == ((9, 10), (10, 12))


def test_an_expression_leaves_the_cursor_where_pcre_does() -> None:
    # Hyperscan reports the match that ends first; PCRE takes the leftmost, and as much as its quantifiers like
    assert found(b"aaab", regex("a+"), Content(b"b", within=1)) == ((0, 3), (3, 4))
    assert found(b"x=1&y=2;", regex("=.*?[&;]"), Content(b"y", within=1)) == ((1, 4), (4, 5))
    assert found(b"abab!", regex("a.*b"), Content(b"!", within=1)) == ((0, 4), (4, 5))
    assert found(b"abab!", regex("a.*b"), Content(b"a", within=1)) is None
    assert found(b"foobar", regex("foo|foobar"), Content(b"bar", within=3)) == ((0, 3), (3, 6))


def test_an_expression_is_tried_again_behind_the_start_of_its_match() -> None:
    assert found(b"a1 a2 a3", regex(r"a\d"), Content(b" a3", within=3)) == ((3, 5), (5, 8))
    assert found(b"aab", regex("^a+"), Content(b"ab", within=2)) is None  # ^ is where the data starts, also then


def test_an_expression_may_match_nothing_at_all() -> None:
    expression = Expression(Pattern.lazy("a*"))
    assert found(b"aab", expression, Content(b"b", within=1)) == ((0, 2), (2, 3))
    assert found(b"xb", expression) == ((0, 0),)
    assert found(b"xb", Expression(Pattern.lazy("a*"), negated=True)) is None


def test_a_relative_expression_starts_at_the_cursor() -> None:
    assert found(b"xxab", Content(b"xx"), regex("^ab", relative=True)) == ((0, 2), (2, 4))
    assert found(b"xxcab", Content(b"xx"), regex("^ab", relative=True)) is None
    assert found(b"abxx", Content(b"xx"), regex("ab", relative=True, negated=True)) == ((2, 4),)


def test_there_is_data_at_a_place() -> None:
    assert found(b"abcd", DataAt(3)) == ((-1, 4),)
    assert found(b"abcd", DataAt(4)) is None  # counted from 0
    assert found(b"abcd", DataAt(4, negated=True)) == ()
    assert found(b"abcd", Content(b"ab"), DataAt(2, relative=True)) == ((0, 2), (-1, 4))
    assert found(b"abcd", Content(b"ab"), DataAt(3, relative=True)) is None


def test_a_buffer_has_a_length() -> None:
    assert found(b"abcd", Length(4, 4)) == ((-1, 4),)
    assert found(b"abcd", Length(5)) is None
    assert found(b"abcd", Length(5, negated=True)) == ()
    assert found(b"", Length(0, 0)) == ()


@pytest.mark.parametrize(
    ("number", "operator", "value", "expected"),
    [
        (Number(2, 0), "=", 0x6162, True),
        (Number(2, 0, order="little"), "=", 0x6261, True),
        (Number(1, 9), "=", 0x39, False),  # behind the end
        (Number(1, -1), "=", 0x61, False),
        (Number(1, 0, bits=0x60), "=", 0x03, True),  # 0x61 & 0x60, shifted by five
        (Number(3, 2, base=10), "=", 123, True),
        (Number(3, 0, base=10), "=", 0, False),  # no digits
        (Number(3, 0, base=16), ">", 0xAAF, True),
        (Number(1, 0), "&", 0x80, False),
        (Number(1, 0), "^", 0x61, False),
        (Number(9, 0), ">=", 0, False),  # more than 64 bits
    ],
)
def test_a_number_is_compared(number: Number, operator: str, value: int, expected: bool) -> None:
    assert (found(b"ab123 789", Compare(number, operator, value)) is not None) is expected


def test_a_comparison_can_be_negated_but_not_the_reading() -> None:
    assert found(b"a", Compare(Number(1), "=", 0x62, negated=True)) == ((0, 1),)
    assert found(b"a", Compare(Number(1, 5), "=", 0x62, negated=True)) is None


@pytest.mark.parametrize(
    ("jump", "expected"),
    [
        (Jump(Number(1)), 3),  # behind the number: 1 + 2
        (Jump(Number(1), origin="begin"), 2),
        (Jump(Number(1), origin="end", post_offset=-4), 6),
        (Jump(Number(1), multiplier=2), 5),
        (Jump(Number(1), align=True), 5),
        (Jump(Number(1), post_offset=-9), 0),  # to before the start
        (Jump(Number(0), origin="end", post_offset=-3), 5),
        (Jump(Number(1), multiplier=4), None),  # behind the end
    ],
)
def test_a_jump_moves_the_cursor(jump: Jump, expected: int | None) -> None:
    data = b"\x02ABCDEFG"
    at = read(data, jump, Content(data[expected : expected + 1], within=1) if expected is not None else Content(b"A"))
    assert (at.held[-1][0] if at.held else None) == expected


def test_a_jump_that_reads_nothing_leads_on_from_the_very_end() -> None:
    back = Jump(Number(0, relative=True), post_offset=-2)
    assert found(b"abcd", Content(b"cd"), back, Content(b"cd", within=2)) is not None
    assert found(b"abcd", Content(b"cd"), Jump(Number(1, relative=True))) is None


def test_a_number_of_no_size_has_all_digits_that_there_are() -> None:
    assert found(b"x120", Compare(Number(0, 1, base=10), "=", 120)) is not None
    assert found(b"x", Compare(Number(0, 1, base=10), "=", 0)) is None


def test_variables_place_what_comes_after_them() -> None:
    length = Extract(Number(1), "n")
    assert found(b"\x02..ab", length, Content(b"ab", distance="n", within=4)) == ((0, 1), (3, 5))
    assert found(b"\x02..xx", length, Content(b"ab", offset="n")) is None
    assert found(b"\x02abc", length, DataAt("n", relative=True)) == ((0, 1), (-1, 3))
    double = Compute(Number(1), "*", 2, "m")
    assert found(b"\x02..xab", double, Content(b"b", distance="m", within=2)) == ((0, 1), (5, 6))
    assert found(b"\x02", Compute(Number(1), "/", 0, "m")) is None
    assert found(b"abc", Content(b"a", offset="never_set")) is None


def test_going_back_extracts_anew() -> None:
    data = b"L\x01xL\x03..!"
    steps = Content(b"L"), Extract(Number(1, 0, True), "n"), Content(b"!", distance=0, within="n")
    values = Variables()
    assert judge(Chain("payload", steps), data, data.lower, values).held is not None
    assert values == {"n": 3}


def test_a_chain_that_does_not_hold_leaves_the_variables_alone() -> None:
    values = Variables(n=7)
    judge(Chain("payload", (Extract(Number(1), "n"), Content(b"x"))), b"ab", lambda: b"ab", values)
    assert values == {"n": 7}


def test_evaluation_ends_after_so_many_moves() -> None:
    near = [Content(b"a")] + [Content(b"a", within=40, distance=1)] * 20
    at = read(b"b" + b"a" * 5000, *near, Content(b"b", within=1))
    assert at.exhausted
    assert at.held is None
    assert at.left == 0


def test_an_evaluation_that_is_given_up_is_counted() -> None:
    near = [Content(b"a")] + [Content(b"a", within=40, distance=1)] * 20
    bench = Bench(packet_rule(1, Chain("payload", (*near, Content(b"bc", within=2))), traffic="udp"))
    packet = Ether() / IP(src=CLIENT, dst=SERVER) / UDP(sport=1024, dport=9) / (b"bc" + b"a" * 1000)
    assert bench.numbers([packet]) == {}
    assert bench.counters["rules.exhausted"] >= 1


def test_what_failed_once_is_not_tried_again() -> None:
    """Without that, each of twenty literals with two places would double the moves."""
    steps = [Content(b"a")] + [Content(b"a", within=2)] * 20
    at = read(b"b" + b"a" * 40, *steps, Content(b"b", within=1))
    assert not at.exhausted
    assert at.held is None


def test_a_literal_that_is_nowhere_ends_the_evaluation_at_once() -> None:
    at = read(b"ab" * 3000, Content(b"a"), Content(b"b", within=1), Content(b"nowhere"))
    assert MAX_STEPS - at.left == 3
    at = read(b"ab" * 3000, Content(b"a"), Content(b"b", within=1), Content(b"nowhere", distance=0))
    assert MAX_STEPS - at.left == 3


def test_searches_over_much_data_count_for_more_than_one_move() -> None:
    data = b"nowhereb" + b"a" * 500 + b"x" * (1 << 21)
    at = read(data, Content(b"a"), Content(b"nowhere", within=1 << 22), Content(b"b", within=1))
    assert at.exhausted


def test_few_searches_are_made_aside() -> None:
    slow = regex(r"(?<=a)x*")
    at = read(b"c" + b"ab" * 500, Content(b"a"), slow, Content(b"c", within=1))
    assert at.exhausted or at.left <= 0


def test_what_depends_on_nothing_before_it_ends_the_evaluation() -> None:
    data = b"c" + b"ab" * 3000
    pairs = [Content(b"a"), Content(b"b", within=1)]
    at = read(data, *pairs, Content(b"c", offset=1))  # it is there, but not where it is asked for
    assert (at.held, MAX_STEPS - at.left) == (None, 3)
    at = read(data, *pairs, Content(b"c"), Content(b"b", within=1))
    assert (at.held, MAX_STEPS - at.left) == (None, 5)  # c is looked for once more, a and b are not
    at = read(data, *pairs, DataAt(9000), Content(b"c", within=1))
    assert (at.held, MAX_STEPS - at.left) == (None, 3)


def test_places_may_overlap() -> None:
    assert found(b"aaab", Content(b"aa"), Content(b"b", within=1)) == ((1, 3), (3, 4))
    assert found(b"aabab", regex("a.b"), Content(b"ab", within=2)) == ((0, 3), (3, 5))
    assert found(b"abab!", regex("[ab]{3}"), Content(b"!", within=1)) == ((1, 4), (4, 5))


def test_a_long_chain_needs_no_deep_stack() -> None:
    assert read(b"a" * 2500, *[Content(b"a", distance=0)] * 2500).held is not None


def test_a_chain_is_compiled_once_and_pickles_without_what_it_was_compiled_to() -> None:
    chain = Chain("payload", (Content(b"a"),))
    assert program_of(chain) is program_of(chain)
    copy = pickle.loads(pickle.dumps(chain))
    assert copy == chain
    assert copy.program is None


def test_where_the_head_of_a_stream_is_gone_places_are_still_those_of_the_stream() -> None:
    assert read(b"xab", Content(b"ab", offset=100, depth=3), origin=-100).held == ((1, 3),)
    assert read(b"xab", Content(b"ab", depth=3), origin=-100).held is None
    assert read(b"xab", Content(b"ab", within=103, distance=0), origin=-100).held == ((1, 3),)
    assert read(b"xab", Compare(Number(1, 100), "=", 0x78), origin=-100).held == ((0, 1),)
    assert read(b"xab", Compare(Number(1, 0), "=", 0x78), origin=-100).held is None
    assert read(b"xab", Length(103, 103), origin=-100).held == ((-1, 3),)


def test_what_is_gone_makes_no_difference_to_literals_behind_it() -> None:
    maker = Maker(seed=21)
    held = 0
    for _ in range(4000):
        steps = tuple(step for step in maker.steps() if isinstance(step, Content | DataAt | Length))
        data, gone = maker.data(), maker.random.randrange(6)
        whole = read(b"\xfe" * gone + data, *steps)
        rest = read(data, *steps, origin=-gone)
        assert (rest.held is None) is (whole.held is None), (steps, data, gone)
        held += whole.held is not None
    assert held > 500


def view(**buffers: list[bytes]) -> View:
    """Return a view of buffers, whose names have ``_`` for the dot."""
    named = {name.replace("_", "."): many for name, many in buffers.items()}
    return View(lambda name: named.get(name, ()))


def places(node: Node, on: View) -> list[Found] | None:
    """Return where the tests of a condition found what they look for; None where it does not hold."""
    found: list[Found] = []
    return found if holds(node, on, found) else None


def test_a_chain_holds_where_one_instance_satisfies_all_of_it() -> None:
    names = view(dns_query=[b"www.example", b"evil.example"])
    chain = Chain("dns.query", (Content(b"evil"), Content(b".example", distance=0, at_end=True)))
    assert places(chain, names) == [("dns.query", 1, 0, 4), ("dns.query", 1, 4, 12)]
    apart = Chain("dns.query", (Content(b"evil"), Content(b"www")))
    assert places(apart, names) is None
    assert places(Chain("http.uri", (Content(b"x", negated=True),)), names) is None  # there is no such buffer


def test_chains_are_parts_of_groups() -> None:
    names = view(dns_query=[b"www.example", b"evil.example"])
    www, evil = (Chain("dns.query", (Content(one),)) for one in (b"www", b"evil"))
    assert places(Instance("dns.query", (www, evil)), names) is None
    assert places(Instance("dns.query", (evil, Literal("dns.query", b"example"))), names) is not None
    assert places(Any_((Chain("dns.query", (Content(b"no"),)), evil)), names) == [("dns.query", 1, 0, 4)]
    assert places(NotAny((Chain("dns.query", (Content(b"no"),)),)), names) == []
    assert places(NotAny((evil,)), names) is None


def test_variables_are_those_of_the_rule() -> None:
    both = view(payload=[b"\x03"], http_uri=[b"abcd"])
    rule = All((Chain("payload", (Extract(Number(1), "n"),)), Chain("http.uri", (Content(b"d", offset="n", depth=1),))))
    assert places(rule, both) is not None
    assert places(Chain("http.uri", (Content(b"d", offset="n"),)), both) is None  # another rule on the same view


def test_decoded_base64_is_a_buffer_of_the_rule() -> None:
    body = view(payload=[b"x:YQ== x:aGVsbG8= x:eA=="])
    rule = All((Chain("payload", (Content(b"x:"), Decode(relative=True))), Chain(DECODED, (Content(b"hell"),))))
    assert places(rule, body) == [("payload", 0, 0, 2), (DECODED, 1, 0, 4)]
    assert places(Chain(DECODED, (Content(b"hell"),)), body) is None


def test_base64_is_decoded_at_a_bounded_number_of_places() -> None:
    at = read(b"x:YQ== " * 100, Content(b"x:"), Decode(relative=True))
    assert len(at.decoded) == 16


def test_tests_on_headers_are_asked_of_who_judges_them() -> None:
    on = view(payload=[b"a"])
    assert places(SameAddress(), on) == []  # judged before
    on.header = lambda _test: False
    assert places(SameAddress(), on) is None


def test_the_whole_buffer_is_in_a_list() -> None:
    on = view(dns_query=[b"evil.example"])
    listed: Any = {b"evil.example"}
    assert places(Chain("dns.query", (Listed("evil", members=listed),)), on) is not None
    assert places(Chain("dns.query", (Listed("evil", negated=True, members=listed),)), on) is None
    assert places(Chain("dns.query", (Listed("evil"),)), on) is None


def test_the_reference_agrees_on_random_chains() -> None:
    maker = Maker(seed=20)
    for _ in range(4000):
        assert disagreement(*maker.case()) == ""


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed")
def test_suricata_agrees_on_random_chains() -> None:
    """But for what `tests.rules.chains_oracle` knows to be otherwise, on purpose."""
    cases, held, refused, reasons = chains_oracle.compare(seed=4, rules=120, packets=40)
    assert cases > 4000
    assert held > 200
    assert refused < 20
    assert len(reasons) <= cases // 500, reasons
