"""Rules that ask for payload and for what a parser gives are judged on both, once the exchange is there."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap

from ids.capture import open_capture
from ids.config import load_config
from ids.replay import replay

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
FIRST = b"GET /one?arg=1 HTTP/1.1\r\nHost: first.example\r\n\r\n"
SECOND = b"GET /two?arg=2 HTTP/1.1\r\nHost: second.example\r\n\r\n"


def conversation(*payloads: bytes, ends: bool = False) -> list[Packet]:
    """Return a connection on which the client says this."""
    there, back = IP(src="192.0.2.1", dst="198.51.100.1"), IP(src="198.51.100.1", dst="192.0.2.1")
    packets = [
        Ether(**MACS) / there / TCP(sport=40000, dport=80, flags="S", seq=999),
        Ether(**MACS) / back / TCP(sport=80, dport=40000, flags="SA", seq=4999, ack=1000),
        Ether(**MACS) / there / TCP(sport=40000, dport=80, flags="A", seq=1000, ack=5000),
    ]
    seq = 1000
    for data in payloads:
        packets.append(Ether(**MACS) / there / TCP(sport=40000, dport=80, flags="PA", seq=seq, ack=5000) / data)
        seq += len(data)
    if ends:
        packets.append(Ether(**MACS) / there / TCP(sport=40000, dport=80, flags="R", seq=seq, ack=5000))
    return packets


def alerts(tmp_path: Path, packets: list[Packet], rule: str, *, batch: int = 4096) -> list[tuple[int, int]]:
    """Return sid and packet of the alerts of one rule's body."""
    capture, file = tmp_path / "c.pcap", tmp_path / "r.rules"
    wrpcap(str(capture), packets)
    file.write_text(rule + "\n")
    settings = [f"rules.paths=[{file}]", "fastpath.replay=off"]
    with patch("ids.replay.runner.open_capture", partial(open_capture, max_packets=batch)):
        report = replay([capture], load_config(None, settings))
    return [(event["alert"]["signature_id"], event["pcap_cnt"]) for event in report.alerts]


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "has ended"])
@pytest.mark.parametrize("batch", [1, 4096], ids=["a packet a batch", "one batch"])
def test_payload_and_a_buffer_hold_together(tmp_path: Path, batch: int, ends: bool) -> None:
    packets = conversation(FIRST, SECOND, ends=ends)
    rule = 'alert tcp any any -> any any (content:"GET "; depth:4; content:"arg="; http_uri; sid:1;)'
    assert alerts(tmp_path, packets, rule, batch=batch) == [(1, 4), (1, 5)]


@pytest.mark.parametrize("rule", [
    'alert http any any -> any any (content:"POST "; content:"arg="; http_uri; sid:1;)',
    'alert http any any -> any any (content:"GET "; content:"none="; http_uri; sid:1;)',
    'alert http any any -> any any (content:!"GET "; content:"arg="; http_uri; sid:1;)',
], ids=["payload", "buffer", "negated"])  # fmt: skip
def test_where_one_of_the_two_fails_the_rule_does(tmp_path: Path, rule: str) -> None:
    assert alerts(tmp_path, conversation(FIRST), rule) == []


@pytest.mark.parametrize("batch", [1, 4096])
def test_what_comes_behind_an_exchange_is_not_beside_it(tmp_path: Path, batch: int) -> None:
    rule = 'alert http any any -> any any (content:"second.example"; content:"one"; http_uri; sid:1;)'
    assert alerts(tmp_path, conversation(FIRST, SECOND), rule, batch=batch) == []


def test_a_buffer_that_is_negated_alone_is_judged_where_it_is(tmp_path: Path) -> None:
    rule = 'alert http any any -> any any (content:"second.example"; content:!"one"; http_uri; sid:1;)'
    assert alerts(tmp_path, conversation(FIRST, SECOND), rule) == [(1, 5)]


def test_a_request_in_pieces_is_looked_at_from_its_start(tmp_path: Path) -> None:
    rule = 'alert http any any -> any any (content:"GET /one"; content:"first"; http_host; sid:1;)'
    pieces = [FIRST[i : i + 7] for i in range(0, len(FIRST), 7)]
    assert alerts(tmp_path, conversation(*pieces), rule, batch=2) == [(1, 3 + len(pieces))]


def test_a_datagram_is_beside_its_query(tmp_path: Path) -> None:
    query = DNS(id=7, rd=1, qd=DNSQR(qname="bad.example"))
    ask = Ether(**MACS) / IP(src="192.0.2.1", dst="198.51.100.1") / UDP(sport=40000, dport=53) / query
    rule = 'alert dns any any -> any any (content:"|01 00 00 01|"; offset:2; depth:4; dns_query; content:"bad"; sid:1;)'
    assert alerts(tmp_path, [ask], rule) == [(1, 1)]
    assert alerts(tmp_path, [ask], rule.replace("|01 00 00 01|", "|01 00 00 02|")) == []
