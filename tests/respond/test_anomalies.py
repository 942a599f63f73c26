"""Odd packets become `anomaly` events by Suricata's names; no flood of them fills a disk."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import GRE, Dot1Q, Ether

from ids.counters import Counters
from ids.decode.oddities import ANOMALY_NAMES, NAMES
from ids.events import Event
from ids.respond.anomalies import MAX_EVENTS_LIVE, packet_anomalies
from ids.types import LIVE
from tests.decode.frames import decode
from tests.shared import shared

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
ATOMIC = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(id=1) / TCP(sport=1, dport=2)
SHORT = bytes(ETHER / Dot1Q(vlan=7) / IP(src="192.0.2.1", dst="198.51.100.2") / TCP())[:-1]


def events_of(*frames: bytes) -> list[Event]:
    return packet_anomalies(decode(*frames), Counters())


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
    validator = jsonschema.Draft202012Validator(json.loads(shared("eve-schema.json").read_text()))
    for event in events_of(SHORT, bytes(ETHER / ATOMIC), bytes(ETHER / IP() / GRE() / ATOMIC)):
        assert [error.message for error in validator.iter_errors(event)] == []


def test_a_flood_of_odd_packets_is_cut_and_counted() -> None:
    counters = Counters()
    packets = decode(*[bytes(ETHER / ATOMIC)] * (MAX_EVENTS_LIVE + 5))
    assert len(packet_anomalies(packets, counters)) == MAX_EVENTS_LIVE + 5
    live = replace(packets, batch=replace(packets.batch, source=LIVE))
    assert len(packet_anomalies(live, counters)) == MAX_EVENTS_LIVE
    assert counters["decode.anomalies_not_written"] == 5
