"""Odd packets become `anomaly` events by Suricata's names; no flood of them fills a disk."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import GRE, Dot1Q, Ether

from ids.counters import Counters
from ids.decode.oddities import ANOMALY_NAMES, NAMES
from ids.events import Event
from ids.respond.anomalies import MAX_EVENTS_LIVE, Allowance, packet_anomalies
from ids.respond.events import oddity_event
from ids.types import LIVE, Direction, Transaction
from tests.decode.frames import decode
from tests.factory import make_flow
from tests.shared import event_validator, shared

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
ATOMIC = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(id=1) / TCP(sport=1, dport=2)
SHORT = bytes(ETHER / Dot1Q(vlan=7) / IP(src="192.0.2.1", dst="198.51.100.2") / TCP())[:-1]


def events_of(*frames: bytes) -> list[Event]:
    return packet_anomalies(decode(*frames), Counters(), Allowance(1000))


def test_names_are_those_of_the_schema() -> None:
    schema = json.loads(shared("eve-schema.json").read_text())
    events = schema["properties"]["stats"]["properties"]["decoder"]["properties"]
    for name in {*NAMES, *ANOMALY_NAMES.values()} - {"decoder.too_many_layers"}:
        _, layer, event = name.split(".")
        assert event in events["event"]["properties"][layer]["properties"], name
    assert "too_many_layers" in events


def test_an_event_says_what_is_known_of_the_packet() -> None:
    whole = bytes(ETHER / ATOMIC)
    short, useless = events_of(SHORT, bytes(ETHER / IP() / ICMP()), whole)
    assert short["anomaly"] == {"type": "decode", "event": "decoder.ipv4.trunc_pkt"}
    assert (short["pcap_cnt"], short["vlan"]) == (1, [7])
    assert useless["anomaly"]["event"] == "decoder.ipv6.exthdr_useless_fh"
    assert (useless["src_ip"], useless["src_port"], useless["dest_port"], useless["proto"]) == (
        "2001:db8::1",
        1,
        2,
        "TCP",
    )
    assert useless["pcap_cnt"] == 3


def test_in_a_tunnel_the_event_names_the_outer_packet() -> None:
    (event,) = events_of(bytes(ETHER / IP(src="192.0.2.1", dst="198.51.100.2") / GRE() / ATOMIC))
    assert event["tunnel"] == {"src_ip": "192.0.2.1", "dest_ip": "198.51.100.2", "proto": "GRE", "depth": 1}
    assert event["src_ip"] == "2001:db8::1"


def test_events_fit_the_schema() -> None:
    validator = event_validator()
    for event in events_of(SHORT, bytes(ETHER / ATOMIC), bytes(ETHER / IP() / GRE() / ATOMIC)):
        assert [error.message for error in validator.iter_errors(event)] == []


def test_a_flood_of_odd_packets_is_cut_and_counted() -> None:
    counters = Counters()
    packets = decode(*[bytes(ETHER / ATOMIC)] * (MAX_EVENTS_LIVE + 5))
    assert len(packet_anomalies(packets, counters, Allowance(1000))) == MAX_EVENTS_LIVE + 5
    live = replace(packets, batch=replace(packets.batch, source=LIVE))
    assert len(packet_anomalies(live, counters, Allowance(1000))) == MAX_EVENTS_LIVE
    assert counters["decode.anomalies_not_written"] == 5


def test_of_each_kind_there_are_so_many_in_a_second() -> None:
    """Across batches; another kind, and another second, has its own."""
    counters, allowance = Counters(), Allowance(3)
    packets = decode(*[bytes(ETHER / ATOMIC)] * 5, *[SHORT] * 2)
    at = packets.batch.ts_ns[0]
    second = replace(packets, batch=replace(packets.batch, ts_ns=np.full(7, at)))
    assert len(packet_anomalies(second, counters, allowance)) == 3 + 2
    assert len(packet_anomalies(second, counters, allowance)) == 0 + 1
    later = np.array([at] * 2 + [at + 1_000_000_000] * 5)
    next_one = replace(packets, batch=replace(packets.batch, ts_ns=later))
    assert len(packet_anomalies(next_one, counters, allowance)) == 3 + 2
    assert counters["decode.anomalies_not_written"] == 2 + 6 + 2


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=60), st.integers(0, 4), st.integers(0, 60))
def test_the_allowance_is_what_counting_one_by_one_comes_to(events: list[tuple[int, int]], most: int, cut: int) -> None:
    """In order of time, in one batch or two."""
    events.sort(key=lambda event: event[1])
    used: dict[tuple[int, int], int] = {}
    expected = []
    for event in events:
        expected.append(used.setdefault(event, 0) < most)
        used[event] += 1
    allowance = Allowance(most)
    found: list[bool] = []
    for part in (events[:cut], events[cut:]):
        kinds, seconds = np.array(part, np.int64).reshape(-1, 2).T
        found += allowance.allowed(kinds, seconds).tolist()
    assert found == expected


def test_none_is_written_where_none_is_allowed() -> None:
    counters = Counters()
    assert packet_anomalies(decode(SHORT), counters, Allowance(0)) == []
    assert counters["decode.anomalies_not_written"] == 1


@pytest.mark.parametrize(
    ("receiver", "proto", "source"), [(False, 6, "client"), (True, 6, "server"), (True, 17, "client")]
)
def test_what_is_said_over_tcp_may_be_its_receivers(receiver: bool, proto: int, source: str) -> None:
    """Suricata reads it by the packet that acknowledges it, and names whose that is."""
    flow = make_flow("192.0.2.1", "203.0.113.1", proto=proto)
    flow.columns.packets[flow.slot] = 3, 2
    row = Transaction(flow.columns, flow.slot, "http", 0, Direction.TO_SERVER, {}, {}, 0, 1)
    event = oddity_event(row, row.flow, b"http.missing_host_header", receiver=receiver)
    assert event["src_ip"] == {"client": "192.0.2.1", "server": "203.0.113.1"}[source]


def test_where_the_receiver_is_not_heard_it_is_the_senders() -> None:
    flow = make_flow("192.0.2.1", "203.0.113.1")
    flow.columns.packets[flow.slot] = 3, 0
    row = Transaction(flow.columns, flow.slot, "http", 0, Direction.TO_SERVER, {}, {}, 0, 1)
    assert oddity_event(row, row.flow, b"http.missing_host_header", receiver=True)["src_ip"] == "192.0.2.1"


def test_what_is_in_a_fragment_of_ipv6_is_not_named() -> None:
    fragment = ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(m=1, nh=58) / (b"x" * 5)
    (event,) = events_of(bytes(fragment))
    assert event["anomaly"]["event"] == "decoder.ipv6.frag_invalid_length"
    assert event["proto"] == "IPv6-Frag"
    assert "icmp_type" not in event
