"""Common needles are looked for on the ports of their rules: none is missed there, and elsewhere they cost nothing."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.errors import Location
from ids.rules.match.index import RuleIndex, carriers_of
from ids.rules.match.portwise import MOST_GROUPS, PortwisePrefilter
from ids.rules.match.prefilter import Prefilter
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.chain import Chain, Content
from ids.rules.model.header import HeaderNumber
from ids.rules.model.literals import Needle, cover_of
from ids.rules.model.ports import MOST_PORTS
from ids.rules.model.rule import All, FlowOptions, Node, Rule, Traffic
from ids.rules.model.sets import ANY_PORT, PortSet
from tests.factory import make_signature

port_sets = st.sampled_from([
    ANY_PORT, PortSet(((25, 25),)), PortSet(((25, 26), (53, 53))), PortSet(((53, 53),)), PortSet(((445, 445),)),
    PortSet(((139, 139), (445, 445))), PortSet(((0, 1),)), PortSet(((1, MOST_PORTS + 1),)), PortSet(((1024, 65535),)),
])  # fmt: skip
traffics = st.builds(
    Traffic,
    st.sampled_from(["tcp", "udp", "ip", "icmp", "smtp"]),
    sport=port_sets,
    dport=port_sets,
    both_ways=st.booleans(),
)
needles = st.builds(Needle, st.just(PAYLOAD), st.text("a\0\1", min_size=1, max_size=3).map(str.encode), st.just(False))
"""All of them common; those of `rare` are not."""
rare = st.just(Needle(PAYLOAD, b"Zq7Zq7Zq7", False))
ports = st.sampled_from([25, 26, 53, 139, 445, 1, 0, 40_000, -1, -2])
runs = st.lists(
    st.tuples(ports, ports, st.lists(st.text("a\0\1", max_size=6).map(str.encode), min_size=1, max_size=3)), max_size=5
)


def _rule(traffic: Traffic, *parts: Node, sid: int = 1) -> Rule:
    return Rule(make_signature(sid=sid), traffic, FlowOptions(), Location("r.rules", sid), All(parts), repeats=True)


def _looks_at(traffic: Traffic, sport: int, dport: int) -> bool:
    """Whether a rule looks at packets between two ports, or at answers to them; where there are none, only its protocol
    could have said that it does not."""
    if traffic.protocol in ("ip", "icmp"):
        return True
    ways = ((sport, dport), (dport, sport))
    return any(one in range(65536) and two in range(65536) for one, two in ways) and any(
        one in traffic.sport and two in traffic.dport for one, two in ways if min(one, two) >= 0
    )


@given(st.lists(st.tuples(needles | rare, traffics), max_size=6), runs, st.booleans())
def test_no_rule_misses_a_needle_on_its_ports(
    wanted: list[tuple[Needle, Traffic]], runs: list[tuple[int, int, list[bytes]]], told: bool
) -> None:
    """What one pass finds is found in several where a rule looks at it, each pair once and in order; and nothing else.

    A needle may begin in an earlier row of its run, and what was searched before is not reported again.
    """
    entries = [(needle, number) for number, (needle, _) in enumerate(wanted)]
    rules = [_rule(traffic) for _, traffic in wanted]
    parts = [part for _, _, parts in runs for part in parts]
    starts = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    heads = np.cumsum([0, *(len(parts) for _, _, parts in runs)])[:-1].astype(np.int64)
    counts = [len(parts) for _, _, parts in runs]
    floor = np.repeat(starts[heads], counts)
    fresh = starts[:-1] + np.array([len(part) // 2 for part in parts], np.int64)
    ends = np.repeat([run[0] for run in runs], counts), np.repeat([run[1] for run in runs], counts)
    data = b"".join(parts)
    one = list(zip(*(c.tolist() for c in Prefilter(entries).find(data, starts, floor, fresh)), strict=True))
    several = PortwisePrefilter(entries, rules)
    found = several.find(data, starts, floor, fresh, ends if told else None)
    pairs = list(zip(*(column.tolist() for column in found), strict=True))
    assert pairs == sorted(set(pairs))
    assert set(pairs) <= set(one)
    due = {(row, n) for row, n in one if _looks_at(wanted[n][1], int(ends[0][row]), int(ends[1][row]))}
    assert due <= set(pairs)
    assert told or pairs == one
    assert several.longest == Prefilter(entries).longest


def test_common_needles_cost_nothing_on_other_ports() -> None:
    """They are not even reported there; rare ones are, and so are those of rules on any port."""
    rules = [_rule(Traffic("tcp", dport=PortSet(((135, 135),)))), _rule(Traffic("tcp", dport=PortSet(((135, 135),))))]
    rules.append(_rule(Traffic("tcp")))
    wanted = (b"\0\1", b"Zq7Zq7Zq7", b"\0\1")
    prefilter = PortwisePrefilter([(Needle(PAYLOAD, v, False), n) for n, v in enumerate(wanted)], rules)
    data, starts = b"\0\1 Zq7Zq7Zq7", np.array([0, 12])
    for port, found in ((135, [0, 1, 2]), (80, [1, 2])):
        assert prefilter.find(data, starts, ports=(np.array([40_000]), np.array([port])))[1].tolist() == found


def test_ports_beyond_the_most_groups_share_one() -> None:
    """However many ports rules name, the passes are bounded; each needle is found on its port still."""
    many = range(1, 3 * MOST_GROUPS)
    rules = [_rule(Traffic("tcp", dport=PortSet(((port, port),)))) for port in many]
    prefilter = PortwisePrefilter([(Needle(PAYLOAD, b"\0\1", False), n) for n in range(len(rules))], rules)
    assert len(prefilter._bound) == MOST_GROUPS
    starts, client = np.arange(0, 2 * len(many) + 1, 2), np.full(len(many), 40_000)
    rows, found = prefilter.find(b"\0\1" * len(many), starts, ports=(client, np.array(many)))
    assert {(n, n) for n in range(len(many))} <= set(zip(rows.tolist(), found.tolist(), strict=True))


_START = Chain(PAYLOAD, (Content(b"\1\0\0\0", offset=0, depth=4),))
_SIZE = HeaderNumber("payload.size", ((5, 5),))
_TWO = Chain(PAYLOAD, (Content(b"\0\1", offset=6, depth=2),))
_RARE = Chain(PAYLOAD, (Content(b"\xfeSMB@\0", offset=4, depth=6),))


@pytest.mark.parametrize(
    ("parts", "read"),
    [
        ([_START], True),
        ([_SIZE, _START], True),
        ([_SIZE, Chain(PAYLOAD, (Content(b"\0\1\0", offset=1, depth=3),))], True),
        ([HeaderNumber("payload.size", ((5, 9),)), Chain(PAYLOAD, (Content(b"\0\1\0", offset=1, depth=3),))], False),
        ([_RARE], False),
        ([Chain(PAYLOAD, (Content(b"\1\0\0\0", offset=0, depth=9),))], False),
    ],
)
def test_what_columns_pick_is_not_looked_for(parts: list[Node], read: bool) -> None:
    """Four bytes at their place, or some in payloads of one size, are read at once; a rare needle is looked for."""
    index = RuleIndex([_rule(Traffic("tcp"), *parts)], (), None, Counters())
    assert (index.packet, index.packet_unfiltered) == (([], [0]) if read else ([0], []))


@pytest.mark.parametrize(
    ("value", "buffer"), list(product((b" ", b"\r\n", b"."), ("http.header", "http.response_body")))
)
def test_what_stands_everywhere_is_not_looked_for(value: bytes, buffer: str) -> None:
    """The buffer that it stands in is enough to notice its rule by."""
    index = RuleIndex([_rule(Traffic("http"), Chain(buffer, (Content(value),)))], (), None, Counters())
    assert list(index.by_buffer.values()) == [[0]]
    assert not index.buffers


def test_zeros_are_not_looked_for_in_files() -> None:
    """Those of programs are full of them, and each costs a call; where they stand in a request, they are rare."""
    for buffer, noticed in (("file.data", True), ("http.uri.raw", False)):
        index = RuleIndex([_rule(Traffic("http"), Chain(buffer, (Content(b"\0\0\0"),)))], (), None, Counters())
        assert list(index.by_buffer.values()) == ([[0]] if noticed else [])
        assert bool(index.buffers) is not noticed


@pytest.mark.parametrize(
    ("protocol", "carriers"),
    [("tcp", {6}), ("udp", {17}), ("icmp", {255}), ("ip", {6, 17, 255}), ("sip", {6, 17, 255})],
)
def test_bytes_are_looked_for_in_packets_that_may_be_the_rules(protocol: str, carriers: set[int]) -> None:
    rule = _rule(Traffic(protocol), HeaderNumber("ip.ttl", ((5, 9),)), Chain(PAYLOAD, (Content(b"Zq7Zq7Zq7"),)))
    index = RuleIndex([rule], (), None, Counters())
    assert set(index.in_packets) == {(PAYLOAD, carrier) for carrier in carriers}
    protocols = np.array([6, 17, 1, 58, 132, 0], np.uint8)
    assert carriers_of(protocols).tolist() == [6, 17, 255, 255, 255, 255]


def test_a_preferred_literal_may_be_common_where_a_rule_names_ports() -> None:
    """There the name of the protocol, which is rarer elsewhere, stands in every stream."""
    steps = Content(b"SMB"), Content(b"sh", distance=0, preferred=True)
    on_port, anywhere = Traffic("tcp", dport=PortSet(((445, 445),))), Traffic("tcp")
    for traffic, needle in ((on_port, b"sh"), (anywhere, b"SMB")):
        assert cover_of(_rule(traffic, Chain(PAYLOAD, steps))) == frozenset({Needle(PAYLOAD, needle, False)})
