"""What is handed on of a flood for rules that count distinct things: enough for the same first alerts, and bounded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from ids.counters import Counters
from ids.respond.distinct import DistinctCounts
from ids.respond.parties import Party, party_of
from ids.rules.match import counted
from ids.rules.model.header import HeaderBits
from ids.types import Distinct, Match
from tests.rules.packetwise import SERVER, Bench, batch_of, packet_rule

SYN = HeaderBits("tcp.flags", "all", 2)


def probe(source: int, port: int, host: int = 2) -> Any:
    return (
        Ether()
        / IP(src=f"192.0.2.{source}", dst=f"198.51.100.{host}")
        / TCP(sport=1024 + source, dport=port, flags="S")
    )


def matches(packets: Sequence[Any], wanted: Distinct, cuts: Sequence[int] = ()) -> list[Match]:
    """Return the matches of a rule that counts, in batches that end at the cuts."""
    bench = Bench(packet_rule(1, SYN, traffic="tcp", distinct=wanted))
    bounds = [0, *(cut for cut in cuts if 0 < cut < len(packets)), len(packets)]
    batches = [batch_of(packets[begin:end], begin + 1) for begin, end in pairwise(bounds)]
    return [match for batch in batches for match in bench.feed(batch)]


def first_alerts(found: Sequence[Match], wanted: Distinct) -> dict[Party, int]:
    """Return the packet at which each party is alerted on first."""
    counts = DistinctCounts(Counters())
    first: dict[Party, int] = {}
    for match in sorted(found, key=lambda match: match.number):
        if counts.reached(match, wanted):
            first.setdefault(party_of(match, wanted.by), match.number)
    return first


PROBES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(2, 4)), min_size=1, max_size=40)


@given(
    PROBES, st.sampled_from(["src", "dst", "client", "server", "pair"]),
    st.sampled_from(["dst_port", "src_port", "dst_ip", "src_ip"]), st.integers(2, 4), st.integers(0, 40),
)  # fmt: skip
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_first_alerts_are_the_same(
    monkeypatch: pytest.MonkeyPatch, probes: list[tuple[int, int, int]], by: str, thing: str, at_least: int, cut: int
) -> None:
    wanted = Distinct(thing, by, at_least, 60)
    packets = [probe(*one) for one in probes]
    monkeypatch.setattr(counted, "FEW", 10_000)
    whole = matches(packets, wanted, [cut])
    monkeypatch.setattr(counted, "FEW", 0)
    thinned = matches(packets, wanted, [cut])
    assert len(thinned) <= len(whole) == len(packets)
    assert first_alerts(thinned, wanted) == first_alerts(whole, wanted)


def test_a_scan_of_all_ports_comes_to_a_few_matches() -> None:
    packets = [probe(1, port) for port in range(1, 1001)]
    assert len(matches(packets, Distinct("dst_port", "pair", 20, 10))) == 20


def test_a_scanner_is_found_in_a_flood_of_forged_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all can be handed on, those who did one thing only are left out first."""
    monkeypatch.setattr(counted, "MOST_COUNTED", 50)
    sources = [f"10.0.{number // 200}.{number % 200 + 1}" for number in range(600)]
    forged = [Ether() / IP(src=source, dst=SERVER) / TCP(dport=81, flags="S") for source in sources]
    scan = [probe(1, port) for port in range(1, 31)]
    packets = [packet for pair in zip(forged, [*scan, *forged[30:]], strict=True) for packet in pair]
    wanted = Distinct("dst_port", "pair", 20, 10)
    found = matches(packets, wanted)
    assert len(found) == 50
    assert len(first_alerts(found, wanted)) == 1
