"""Rules that are judged packet by packet: in Suricata's words, and by Suricata itself where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import Ether

from ids.rules.language.loader import load_rules
from ids.rules.match.clauses import LAST, Clauses, Column, Predicate, complement, runs
from ids.rules.match.packet_columns import ranks_of
from ids.rules.match.packet_tests import AddressRanks
from ids.rules.match.packets import MOST_A_PACKET, MOST_ALONE_LIVE
from ids.rules.model.header import (
    Checksum,
    HeaderBits,
    HeaderNumber,
    HeaderTest,
    IpOption,
    Noted,
    SameAddress,
    StreamSize,
)  # fmt: skip
from ids.rules.model.rule import FlowOptions, NotAny, Rule
from ids.rules.model.sets import AddressSet, Interval
from ids.types import LIVE, Action
from tests.rules.packetwise import CLIENT, SERVER, Bench, packet_rule

pytestmark = pytest.mark.long

MACS = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")

EXCHANGE = """
1 syn                2 syn/ack         3 ack            4 request, 38 bytes   5 ack of it
6 answer, 43 bytes   7 ack of it       8 fin of client  9 fin of server      10 ack of it
11-16 ICMP echo requests and replies, 4 bytes each, identifier 7, sequence number 0 to 2
17 18 20 UDP to the server, port 6000, 7 bytes       19 its answer, 6 bytes
21 GRE with an unknown protocol      22 23 packets of IP protocol 99
"""


def exchange() -> list[Any]:
    """Return the packets of `EXCHANGE`."""
    from scapy.layers.inet import ICMP, IP, TCP, UDP

    ether, there, back = MACS, IP(src=CLIENT, dst=SERVER), IP(src=SERVER, dst=CLIENT)
    request = b"GET /abc HTTP/1.1\r\nHost: x.example\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    asked, told = 101 + len(request), 501 + len(answer)

    def client(flags: str, seq: int, ack: int, data: bytes = b"") -> Any:
        return ether / there / TCP(sport=40000, dport=80, flags=flags, seq=seq, ack=ack) / data

    def server(flags: str, seq: int, ack: int, data: bytes = b"") -> Any:
        return ether / back / TCP(sport=80, dport=40000, flags=flags, seq=seq, ack=ack) / data

    packets = [
        client("S", 100, 0), server("SA", 500, 101), client("A", 101, 501), client("PA", 101, 501, request),
        server("A", 501, asked), server("PA", 501, asked, answer), client("A", asked, told), client("FA", asked, told),
        server("FA", told, asked + 1), client("A", asked + 1, told + 1),
    ]  # fmt: skip
    for number in range(3):
        packets.append(ether / there / ICMP(type=8, id=7, seq=number) / b"ping")
        packets.append(ether / back / ICMP(type=0, id=7, seq=number) / b"ping")
    ask, reply = UDP(sport=5000, dport=6000) / b"udpdata", UDP(sport=6000, dport=5000) / b"answer"
    packets += [ether / there / ask, ether / there / ask, ether / back / reply, ether / there / ask]
    packets.append(ether / IP(src=CLIENT, dst=SERVER, proto=47) / b"\x00\x00\x88\xb5gredata")
    packets += [ether / IP(src=CLIENT, dst=SERVER, proto=99) / b"unknown" for _ in range(2)]
    return packets


def oddments() -> list[Any]:
    """Return packets with what is seldom seen: options, fragments, extension headers, a wrong checksum."""
    from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR, fragment
    from scapy.layers.inet6 import (
        ICMPv6EchoRequest,
        ICMPv6PacketTooBig,
        IPv6,
        IPv6ExtHdrFragment,
        fragment6,
    )  # fmt: skip
    from scapy.layers.sctp import SCTP, SCTPChunkInit

    ether, six = MACS, IPv6(src="2001:db8::1", dst="2001:db8::2")
    there = IP(src=CLIENT, dst=SERVER)
    sized = [("MSS", 1400), ("WScale", 7), ("SAckOK", b"")]
    packets = [
        there / TCP(sport=40001, dport=80, flags="S", seq=100, options=sized),  # 1
        there / TCP(sport=40002, dport=80, flags="S", seq=100, window=77, options=[("NOP", None), ("MSS", 1300)]),  # 2
        *fragment(IP(src=CLIENT, dst=SERVER, id=77) / UDP(sport=1000, dport=2000) / (b"x" * 100), 48),  # 3 to 5
        six / UDP(sport=1, dport=2) / b"abc",  # 6
        six / ICMPv6PacketTooBig(mtu=1280) / b"abc",  # 7
        six / ICMPv6EchoRequest(id=9, seq=3) / b"abc",  # 8
        there / TCP(sport=40009, dport=80, flags="SEC", seq=7, ack=8, chksum=0x1234),  # 9
        IP(src=CLIENT, dst=SERVER, options=[IPOption_RR(length=7, routers=["0.0.0.0"])]) / UDP(sport=1, dport=2),  # 10
        IP(src=CLIENT, dst=CLIENT, ttl=3) / UDP(sport=1, dport=2) / b"abc",  # 11
        IP(src=SERVER, dst=CLIENT) / ICMP(type=3, code=3) / there / UDP(sport=1, dport=2) / b"abc",  # 12
        IP(src=CLIENT, dst=SERVER, flags="DF", tos=16) / ICMP(type=8, id=5, seq=6),  # 13
        *fragment6(six / IPv6ExtHdrFragment(id=5) / UDP(sport=5, dport=6) / (b"z" * 2000), 1280),  # 14, 15
        there / SCTP(sport=7, dport=7) / SCTPChunkInit(init_tag=1),  # 16
    ]
    return [ether / packet for packet in packets]


def broken() -> list[Any]:
    """Return packets whose IP header is whole, and nothing behind it."""
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import IPv6

    tcp, udp, icmp = (IP(src=CLIENT, dst=SERVER, proto=proto) for proto in (6, 17, 1))
    six = {"src": "2001:db8::1", "dst": "2001:db8::2"}
    return [
        MACS / tcp / bytes(TCP(sport=1, dport=80))[:12],  # 1
        MACS / tcp / TCP(sport=1, dport=80, dataofs=1),  # 2
        MACS / tcp / TCP(sport=1, dport=80, dataofs=15),  # 3
        MACS / udp / bytes(UDP(sport=5, dport=6))[:5],  # 4
        MACS / udp / UDP(sport=5, dport=6, len=90) / b"abc",  # 5
        MACS / icmp / bytes(ICMP())[:5],  # 6
        MACS / IP(src=CLIENT, dst=SERVER, proto=17, len=200) / UDP() / b"abc",  # 7: not even that
        MACS / IPv6(**six, nh=6) / bytes(TCP())[:8],  # 8
        MACS / IPv6(**six, nh=44) / b"\x06\0\0\0\0\0\0\1\0",  # 9
        MACS / IP(src=CLIENT, dst=SERVER, proto=132) / (b"\0\1\0\2" + bytes(8)),  # 10: a whole header of SCTP
    ]


def calls() -> list[Any]:
    """Return calls of Sun RPC, and what is none."""
    from scapy.layers.inet import IP, TCP, UDP

    def call(*numbers: int, answers: int = 0) -> bytes:
        return b"".join(number.to_bytes(4, "big") for number in (7, answers, 2, *numbers))

    there = MACS / IP(src=CLIENT, dst=SERVER)
    record = (0x80000018).to_bytes(4, "big")
    return [
        there / UDP(sport=1, dport=111) / call(100000, 2, 3),  # 1
        there / UDP(sport=2, dport=111) / call(100000, 3, 4),  # 2
        there / UDP(sport=3, dport=111) / call(100003, 2, 3),  # 3
        there / UDP(sport=4, dport=111) / call(100000, 2, 3, answers=1),  # 4
        there / UDP(sport=5, dport=111) / call(100000, 2),  # 5: cut
        there / TCP(sport=6, dport=111, flags="S"),  # 6
        there / TCP(sport=6, dport=111, flags="PA", seq=1) / (record + call(100000, 2, 3)),  # 7
        there / TCP(sport=7, dport=111, flags="PA", seq=1) / call(100000, 2, 3),  # 8: no record
    ]


OF_CALLS: list[tuple[str, str, list[int]]] = [
    ("udp any any -> any any", "rpc:100000;", [1, 2]),
    ("udp any any -> any any", "rpc:100000,*,*;", [1, 2]),
    ("udp any any -> any any", "rpc:100000,2,*;", [1]),
    ("udp any any -> any any", "rpc: 100000 , * , 4;", [2]),
    ("tcp any any -> any any", "rpc:100000,2,3;", [7]),
    ("ip any any -> any any", "rpc:100000,2,3;", [1, 7]),
    ("ip any any -> any any", "rpc:100003;", [3]),
]

ALL = list(range(1, 24))
OF_EXCHANGE: list[tuple[str, str, list[int]]] = [
    # What is the same for all packets of a direction is judged once a flow and direction; without a flow, each time.
    ("ip any any -> any any", "", [1, 2, 11, 12, 17, 19, 21, 22, 23]),
    ("tcp any any -> any any", "", [1, 2]),
    ("tcp any any -> any 80", "", [1]),
    ("ip 192.0.2.1 any -> any any", "", [1, 11, 17, 21, 22, 23]),
    ("udp any any -> any 6000", "", [17]),
    ("icmp any any -> any any", "", [11, 12]),
    ("ip any any <> any any", "", [1, 2, 11, 12, 17, 19, 21, 22, 23]),
    ("ip any any -> any any", "ip_proto:6;", [1, 2]),
    ("ip any any -> any any", "ip_proto:!6;", [11, 12, 17, 19, 21, 22, 23]),
    ("tcp any any -> any any", "flowbits:set,foo;", [1, 2]),
    # What names addresses that it is not on, or asks anything else, is judged at each packet.
    ("ip !10.0.0.0/8 any -> any any", "", ALL),
    ("ip any any -> any any", "flow:to_server;", [1, 3, 4, 7, 8, 10, 11, 13, 15, 17, 18, 20, 21, 22, 23]),
    ("ip any any -> any any", "flow:to_client;", [2, 5, 6, 9, 12, 14, 16, 19]),
    ("ip any any -> any any", "flow:established;", [4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 19, 20]),
    ("ip any any -> any any", "flow:not_established;", [1, 2, 3, 11, 17, 18]),
    ("ip any any -> any any", "flow:stateless;", list(range(1, 21))),
    ("ip any any -> any any", "flow.age:<1;", list(range(1, 21))),
    ("ip any any -> any any", "flow.age:>1;", []),
    ("http any any -> any any", "", [5, 6, 7, 8, 9, 10]),
    ("http any any -> any any", "flow:established,to_server;", [7, 8, 10]),
    ("http any any -> any any", "ttl:64;", [5, 6, 7, 8, 9, 10]),
    ("tcp any any -> any any", "flags:S;", [1]),
    ("tcp any any -> any any", "flags:SA; flow:established;", []),
    ("tcp any any -> any any", "flags:!F;", [1, 2]),
    ("tcp any any -> any any", "flags:!S;", [8, 9]),
    ("tcp any any -> any any", "flags:*SA;", [1, 2]),
    ("tcp any any -> any any", "flags:*FA;", [2, 8, 9]),
    ("tcp any any -> any any", "flags:!U;", []),
    ("tcp any any -> any any", "flags:0,A;", []),
    ("tcp any any -> any any", "l3_proto:ipv4; flags:S;", [1]),
    ("tcp any any -> any any", "l3_proto:ipv6;", []),
    ("tcp any any -> any any", "ttl:64;", list(range(1, 11))),
    ("ip any any -> any any", "ttl:64;", ALL),
    ("tcp any any -> any any", "window:8192;", list(range(1, 11))),
    ("tcp any any -> any any", "flow:established; dsize:>0;", [4, 6]),
    ("icmp any any -> any any", "dsize:4;", [11, 12, 13, 14, 15, 16]),
    ("icmp any any -> any any", "itype:8;", [11, 13, 15]),
    ("icmp any any -> any any", "icmp_id:7; icmp_seq:1;", [13, 14]),
    ("tcp any any -> any any", "stream_size:client,>,38;", [4, 5, 6, 7, 8, 9, 10]),
    ("tcp any any -> any any", "stream_size:client,=,40;", [9, 10]),
    ("tcp any any -> any any", "stream_size:server,=,44;", [6, 7, 8, 9]),
    ("tcp any any -> any any", "stream_size:both,>,1;", [6, 7, 8, 9, 10]),
    # With bytes: those of the packet alone.
    ("ip any any -> any any", 'content:"udp";', [17, 18, 20]),
    ("ip any any -> any any", 'content:"unknown";', []),
    ("tcp any any -> any any", 'content:"GET"; ttl:64;', [4]),
    ("tcp any any -> any any", 'content:"GET"; ttl:63;', []),
    ("tcp-pkt any any -> any any", 'content:"GET"; content:"hello";', []),
    ("tcp-pkt any any -> any any", 'content:"GET"; depth:3;', [4]),
    ("http any any -> any any", 'content:"HTTP"; depth:4; flow:no_stream;', [6]),
    ("http any any -> any any", 'content:"GET"; depth:3; flow:no_stream;', []),
    ("tcp any any -> any any", 'content:"T"; flags:A+; dsize:>10;', [4, 6]),
    ("udp any any -> any any", 'content:"udp"; ttl:64;', [17, 18, 20]),
]

OF_ODDMENTS: list[tuple[str, str, list[int]]] = [
    ("tcp any any -> any any", "tcp.mss:>1350;", [1]),
    ("tcp any any -> any any", "tcp.mss:1000<>1500;", [1, 2]),
    ("tcp any any -> any any", "window:77;", [2]),
    ("tcp any any -> any any", "seq:7; ack:8;", [9]),
    ("tcp any any -> any any", "flags:S,CE;", [1, 2, 9]),
    ("tcp any any -> any any", "flags:*EC;", [9]),
    ("ip any any -> any any", "fragbits:M;", [3, 4]),
    ("ip any any -> any any", "fragbits:D;", [13]),
    ("ip any any -> any any", "fragbits:D,M*;", [13]),
    ("udp any any -> any any", "flow:only_frag;", [5, 15]),
    ("udp any any -> any any", "flow:no_frag;", [6, 10, 11]),
    ("ip any any -> any any", "l3_proto:ipv6; ttl:64;", [6, 7, 8, 14, 15, 15]),
    ("tcp any any -> any any", "stream_size:server,<,1000;", [1, 2, 9]),
    ("ip any any -> any any", "fragoffset:>0;", [4, 5, 15]),
    ("ip any any -> any any", "id:77;", [3, 4, 5, 5]),
    ("ip any any -> any any", "tos:16;", [13]),
    ("ip any any -> any any", "ttl:<4;", [11]),
    ("ip any any -> any any", "ipopts:rr;", [10]),
    ("ip any any -> any any", "sameip;", [11]),
    ("ip any any -> any any", "ip_proto:44; ttl:>0;", [14, 15]),
    ("icmp any any -> any any", "icmpv6.mtu:1280;", [7]),
    ("icmp any any -> any any", "icmp_id:9; icmp_seq:3;", [8]),
    ("icmp any any -> any any", "itype:3; icode:3;", [12]),
    ("ip any any -> any any", "tcpv4-csum:invalid;", [9]),
    ("ip any any -> any any", "tcpv4-csum:valid;", [1, 2]),
    ("ip any any -> any any", "udpv6-csum:valid;", [6, 15]),
    ("ip any any -> any any", "icmpv6-csum:valid;", [7, 8]),
    ("ip any any -> any 2000", "ttl:64;", [5]),
    ("sctp any 7 -> any 7", "", [16]),
    ("udp any any -> any any", "dsize:100;", [5]),
    ("icmp any any -> any any", 'ipv4.hdr; content:"|40 00|"; offset:6; depth:2;', [13]),
    ("icmp any any -> any any", 'icmpv4.hdr; content:"|03 03|"; startswith;', [12]),
    ("tcp any any -> any any", 'tcp.hdr; content:"|02 04 05 14|";', [2]),
    ("udp any any -> any any", 'udp.hdr; content:"|00 01 00 02|"; startswith;', [6, 10, 11]),
    ("ip any any -> any any", 'ipv6.hdr; content:"|60 00|"; startswith;', [6, 7, 8, 14, 15, 15]),
]


OF_BROKEN: list[tuple[str, str, list[int]]] = [
    ("ip any any -> any any", "", [1, 2, 3, 4, 5, 6, 8, 9, 10]),
    ("ip any any -> any any", "ttl:64;", [1, 2, 3, 4, 5, 6, 8, 9, 10]),
    ("ip any any -> any any", "dsize:0;", [1, 2, 3, 4, 5, 6, 8, 9, 10]),
    ("tcp any any -> any any", "", [1, 2, 3, 8]),
    ("tcp any any -> any any", "flags:S;", []),
    ("tcp any any -> any 80", "", []),
    ("udp any any -> any any", "", [4, 5]),
    ("icmp any any -> any any", "", [6]),
    ("ip any any -> any !80", "", [1, 2, 3, 4, 5, 8, 10]),
    ("ip any any -> any any", 'content:"abc";', []),
    ("ip any any -> any any", 'ipv4.hdr; content:"|45|"; startswith;', [1, 2, 3, 4, 5, 6, 10]),
    ("ip any any -> any any", "decode-event:ipv6.trunc_exthdr;", [9]),
    ("ip any any -> any any", "decode-event:ipv6.exthdr_useless_fh;", [9]),
    ("ip any any -> any any", "flow:stateless;", [10]),
]


def spelt(cases: list[tuple[str, str, list[int]]]) -> str:
    """Spell cases as rules, numbered from 1 on."""
    return "".join(f"alert {traffic} ({options} sid:{n};)\n" for n, (traffic, options, _) in enumerate(cases, 1))


def loaded(tmp_path: Path, text: str) -> tuple[Rule, ...]:
    """Return the rules of a text, all of them."""
    path = tmp_path / "t.rules"
    path.write_text(text)
    found = load_rules([path])
    assert not found.errors, [str(error) for error in found.errors]
    assert len(found.rules) == len(text.splitlines()), [str(warning) for warning in found.warnings]
    return found.rules


@pytest.mark.parametrize("cuts", ["none", "each", "some"])
@pytest.mark.parametrize(
    ("packets", "cases"),
    [(exchange, OF_EXCHANGE), (oddments, OF_ODDMENTS), (broken, OF_BROKEN), (calls, OF_CALLS)],
    ids=["exchange", "oddments", "broken", "calls"],
)
def test_which_packets_match(packets: Any, cases: list[Any], cuts: str, tmp_path: Path) -> None:
    """Each rule matches these packets, however they come in batches."""
    sent = packets()
    at = {"none": [], "each": list(range(1, len(sent))), "some": [3, 7, 12]}[cuts]
    found = Bench(*loaded(tmp_path, spelt(cases))).numbers(sent, at)
    wrong = [(case, found.get(sid, [])) for sid, case in enumerate(cases, 1) if found.get(sid, []) != case[2]]
    assert not wrong


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed: nothing to compare with")
@pytest.mark.parametrize(
    ("packets", "cases"),
    [(exchange, OF_EXCHANGE), (oddments, OF_ODDMENTS), (broken, OF_BROKEN), (calls, OF_CALLS)],
    ids=["exchange", "oddments", "broken", "calls"],
)
def test_suricata_agrees(packets: Any, cases: list[Any], tmp_path: Path) -> None:
    """The tables above are what Suricata says. It does not number what it puts together of fragments: 0."""
    from scapy.utils import wrpcap

    sent = packets()
    for number, packet in enumerate(sent):
        packet.time = 1_700_000_000 + number / 100
    wrpcap(str(tmp_path / "t.pcap"), sent)
    (tmp_path / "t.rules").write_text(spelt(cases))
    command = ["suricata", "-r", "t.pcap", "-S", "t.rules", "-l", ".", "-k", "none", "--runmode", "single"]
    subprocess.run([*command, "--set", "packet-alert-max=255"], cwd=tmp_path, check=True, capture_output=True)
    found: dict[int, list[int]] = {}
    for line in (tmp_path / "eve.json").read_text().splitlines():
        event = json.loads(line)
        if event["event_type"] == "alert":
            found.setdefault(event["alert"]["signature_id"], []).append(event.get("pcap_cnt", 0))
    whole = {5: "of fragments", 15: "of fragments"} if packets is oddments else {}
    for sid, (traffic, options, numbers) in enumerate(cases, 1):
        theirs = sorted(found.get(sid, []))
        unnumbered = theirs.count(0)
        assert len(theirs) == len(numbers), (traffic, options, theirs)
        assert set(theirs) - {0} <= set(numbers), (traffic, options, theirs)
        assert unnumbered <= sum(number in whole for number in numbers), (traffic, options, theirs)


# Rules that match once.


def test_the_protocol_of_a_flow_is_asked_once_for_each_side(tmp_path: Path) -> None:
    """Where a rule asks nothing else: when it was recognised, which Suricata does once it is acknowledged."""
    traffic = "tcp any any -> any any"
    rules: list[tuple[str, str, list[int]]] = [
        (traffic, "app-layer-protocol:http;", []),
        (traffic, "app-layer-protocol:!tls;", []),
    ]
    assert Bench(*loaded(tmp_path, spelt(rules))).numbers(exchange(), [5]) == {1: [5, 7], 2: [5, 7]}


def test_a_rule_that_does_not_repeat_matches_once_a_flow() -> None:
    """At the first packet that fits."""
    ttl = HeaderNumber("ip.ttl", ((64, 64),))
    bench = Bench(packet_rule(1, ttl, repeats=False), packet_rule(2, ttl, repeats=False, flow=FlowOptions(True)))
    found = bench.numbers(exchange(), [5])
    assert found == {1: [1, 11, 17, 21, 22], 2: [4, 12, 19]}


def test_a_test_on_headers_within_a_negation() -> None:
    """It is asked of the packet, not taken for granted."""
    short = HeaderNumber("payload.size", ((1, 1 << 40),))
    bench = Bench(packet_rule(1, NotAny((short,)), traffic="udp"), packet_rule(2, NotAny((short,)), traffic="tcp"))
    assert bench.numbers(exchange()) == {2: [1, 2, 3, 5, 7, 8, 9, 10]}


def test_midstream_and_refused_connections() -> None:
    """What was picked up in the middle is established; what was refused never was."""
    from scapy.layers.inet import IP, TCP

    there, back = MACS / IP(src=CLIENT, dst=SERVER), MACS / IP(src=SERVER, dst=CLIENT)
    packets = [
        there / TCP(sport=40000, dport=80, flags="PA", seq=5, ack=9) / b"abc",
        there / TCP(sport=40001, dport=80, flags="S", seq=5),
        back / TCP(sport=80, dport=40001, flags="RA", seq=0, ack=6),
    ]
    ttl = HeaderNumber("ip.ttl", ((64, 64),))
    for cuts in ([], [1, 2]):
        bench = Bench(
            packet_rule(1, ttl, flow=FlowOptions(True)), packet_rule(2, ttl, flow=FlowOptions(False)), midstream=True
        )
        assert bench.numbers(packets, cuts) == {1: [1], 2: [2, 3]}


# Packets without a flow.


def noted(event: str) -> Rule:
    """Return a rule on an event of decoding."""
    return packet_rule(1, Noted("decode", event))


def odd(name: str) -> bytes:
    """Return a frame that decoding has something to say of."""
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment

    four, six = MACS / IP(src=CLIENT, dst=SERVER), MACS / IPv6(src="2001:db8::1", dst="2001:db8::2")
    tcp = bytes(four / TCP(sport=1, dport=2))
    frames: dict[str, bytes] = {
        "ipv4.trunc_pkt": bytes(four / UDP() / b"abcdef")[:-3],
        "ipv4.pkt_too_small": bytes(four)[:30],
        "ipv4.hlen_too_small": bytes(four / UDP())[:14] + b"\x41" + bytes(four / UDP())[15:],
        "ipv6.trunc_pkt": bytes(six / UDP() / b"abcdef")[:-3],
        "ipv6.pkt_too_small": bytes(six / UDP())[: 14 + 39],
        "ipv6.dstopts_unknown_opt": bytes(six / IPv6ExtHdrDestOpt(options=[]) / UDP()).replace(
            b"\x01\x04\x00\x00\x00\x00", b"\x11\x04abcd"
        ),
        "ipv6.exthdr_useless_fh": bytes(six / IPv6ExtHdrFragment(id=1) / UDP() / b"abc"),
        "tcp.pkt_too_small": bytes(MACS / IP(src=CLIENT, dst=SERVER, proto=6) / b"0123456789"),
        "tcp.hlen_too_small": tcp[:46] + b"\xf0" + tcp[47:],
        "tcp.invalid_optlen": tcp[:46] + b"\x40" + tcp[47:],
        "tcp.opt_invalid_len": bytes(four / TCP(dataofs=6) / b"\x02\x09\x00\x00"),
        "tcp.opt_duplicate": bytes(four / TCP(options=[("MSS", 1), ("MSS", 2)])),
        "udp.pkt_too_small": bytes(four / UDP(len=200) / b"abc"),
        "udp.hlen_too_small": bytes(MACS / IP(src=CLIENT, dst=SERVER, proto=17) / b"\0\1\0\2\0"),
        "ipv4.iplen_smaller_than_hlen": bytes(MACS / IP(src=CLIENT, dst=SERVER, len=19) / UDP()),
        "sctp.pkt_too_small": bytes(MACS / IP(src=CLIENT, dst=SERVER, proto=132) / b"\0\1\0\2"),
        "esp.pkt_too_small": bytes(MACS / IP(src=CLIENT, dst=SERVER, proto=50) / b"\0\1\0\2"),
        "gre.pkt_too_small": bytes(MACS / IP(src=CLIENT, dst=SERVER, proto=47) / b"\0"),
        "udp.len_invalid": bytes(four / UDP(len=3) / b"abc"),
        "icmpv4.pkt_too_small": bytes(MACS / IP(src=CLIENT, dst=SERVER, proto=1) / b"\x08\x00\x00"),
        "icmpv4.unknown_type": bytes(four / ICMP(type=99)),
        "icmpv4.unknown_code": bytes(four / ICMP(type=8, code=7)),
        "ipv4.icmpv6": bytes(MACS / IP(src=CLIENT, dst=SERVER, proto=58) / (b"\x80" + bytes(15))),
    }
    return frames[name]


EVENTS = [
    "ipv4.trunc_pkt", "ipv4.pkt_too_small", "ipv4.hlen_too_small", "ipv6.trunc_pkt", "ipv6.dstopts_unknown_opt",
    "ipv6.pkt_too_small",
    "ipv6.exthdr_useless_fh", "tcp.pkt_too_small", "tcp.hlen_too_small", "tcp.invalid_optlen", "tcp.opt_invalid_len",
    "tcp.opt_duplicate", "udp.pkt_too_small", "udp.len_invalid", "icmpv4.pkt_too_small", "icmpv4.unknown_type",
    "icmpv4.unknown_code", "ipv4.icmpv6", "udp.hlen_too_small", "ipv4.iplen_smaller_than_hlen", "sctp.pkt_too_small",
    "esp.pkt_too_small", "gre.pkt_too_small",
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS)
def test_events_of_decoding(event: str) -> None:
    """A rule on an event matches the packet that has it, and no other."""
    frames = [odd(name) for name in EVENTS]
    assert Bench(noted(event)).numbers(frames) == {1: [EVENTS.index(event) + 1]}


def test_a_packet_without_a_flow() -> None:
    """Its match has a flow of its own, that has the addresses of the packet and no id."""
    (match,) = Bench(noted("tcp.hlen_too_small")).feed(batch(odd("tcp.hlen_too_small")))
    assert (match.flow.id, match.flow.src_ip, match.flow.dst_ip, match.flow.proto) == (0, CLIENT, SERVER, 6)
    assert match.number == 1


def batch(*frames: bytes) -> Any:
    """Return frames as a batch."""
    from tests.rules.packetwise import batch_of

    return batch_of(frames)


def test_hostile_frames_match_what_they_are_and_no_more() -> None:
    """Whatever is cut off or overwritten in a frame, every field can be asked for."""
    fields = [
        "ip.ttl", "ip.id", "ip.tos", "ip.proto", "ip.fragoffset", "tcp.seq", "tcp.ack", "tcp.window", "tcp.mss",
        "tcp.wscale", "icmp.type", "icmp.code", "icmp.id", "icmp.seq", "icmpv6.mtu", "payload.size",
    ]  # fmt: skip
    tests: list[HeaderTest] = [HeaderNumber(name, ((0, LAST),)) for name in fields]
    rules = [packet_rule(n, test) for n, test in enumerate(tests, 1)]
    random = np.random.default_rng(1)
    frames = []
    for packet in exchange() + oddments():
        frame = bytearray(bytes(packet))
        for _ in range(3):
            frame[random.integers(12, len(frame))] = random.integers(0, 256)
        frames.append(bytes(frame[: random.integers(14, len(frame) + 1)]))
    bench = Bench(*rules, *(packet_rule(100 + n, Noted("decode", event)) for n, event in enumerate(EVENTS)))
    for _ in range(20):
        random.shuffle(frames)
        bench.numbers(frames)


def test_no_packet_has_more_matches_than_the_most() -> None:
    """Those that pass or drop come first; the rest is counted."""
    rules = [packet_rule(n, HeaderNumber("ip.ttl", ((64, 64),))) for n in range(1, MOST_A_PACKET + 10)]
    rules.append(packet_rule(1000, HeaderNumber("ip.ttl", ((64, 64),)), action=Action.DROP))
    bench = Bench(*rules)
    found = bench.feed(batch(bytes(exchange()[0])))
    assert len(found) == MOST_A_PACKET
    assert found[0].signature.sid == 1000
    assert bench.counters["rules.packets.overflow"] == 10


# Clauses.

numbers = st.integers(-3, 12)
intervals = st.lists(st.tuples(numbers, numbers).map(lambda ends: (min(ends), max(ends))), min_size=1, max_size=3)


class Table:
    """Columns of a batch, as given."""

    def __init__(self, columns: dict[str, list[int | None]]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def axis(self, name: str) -> Column:
        """Return a column without its gaps."""
        present = [(row, value) for row, value in enumerate(self._columns[name]) if value is not None]
        return Column(np.array([row for row, _ in present], np.int64), np.array([v for _, v in present], np.int64))


@given(st.data())
def test_clauses_hold_where_all_their_tests_do(data: st.DataObject) -> None:
    """As said of one row after the other."""
    size = data.draw(st.integers(1, 40))
    values = st.lists(st.none() | numbers, min_size=size, max_size=size)
    columns = {name: data.draw(values) for name in "abc"}
    apart = intervals.map(lambda some: complement(complement(some)))
    predicates = st.builds(Predicate, st.sampled_from("abc"), apart)
    clauses = data.draw(
        st.lists(st.tuples(st.integers(0, 3), st.lists(predicates, min_size=1, max_size=3)), max_size=6)
    )

    def fits(row: int, clause: list[Predicate]) -> bool:
        return all(
            (value := columns[axis][row]) is not None and any(a <= value <= b for a, b in some) for axis, some in clause
        )

    expected = sorted({(row, owner) for owner, clause in clauses for row in range(size) if fits(row, clause)})
    found = Clauses(clauses).on(Table(columns))
    rows, owners = found.pairs()
    assert list(zip(rows.tolist(), owners.tolist(), strict=True)) == expected
    every = [(row, owner) for row in range(size) for owner in range(4)]
    kept = found.keep(np.array([row for row, _ in every]), np.array([owner for _, owner in every]))
    assert [pair for pair, keep in zip(every, kept.tolist(), strict=True) if keep] == expected
    assert {row for row, _ in expected} <= set(np.flatnonzero(found.any_rule()).tolist())


addresses = st.sampled_from([0, 1, 1 << 64, 0xFFFF << 32, (0xFFFF << 32) + 5, (0x10000 << 32) - 1, (1 << 128) - 1])


@given(st.lists(st.tuples(addresses, addresses).map(sorted), min_size=1, max_size=4), st.lists(addresses, min_size=1))
def test_ranks_keep_the_order_of_addresses(spans: list[list[int]], asked: list[int]) -> None:
    """An address is in a set where its rank is in the set's ranks."""
    sets = [AddressSet(((first, last),)) for first, last in spans]
    ranks = AddressRanks(sets)
    column = np.array([[address >> 64, address & (1 << 64) - 1] for address in asked], np.uint64)
    found = ranks_of(ranks, column)
    for one in sets:
        within: tuple[Interval, ...] = ranks.intervals(one)
        for address, rank in zip(asked, found.tolist(), strict=True):
            inside = any(first <= rank <= last for first, last in within)
            assert inside is ((address >> 64, address & (1 << 64) - 1) in one)


@given(st.sets(st.integers(0, 20)))
def test_runs_are_the_numbers(some: set[int]) -> None:
    """As few intervals as can be."""
    found = runs(sorted(some))
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(some)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(found))


def test_the_payload_of_icmp_and_esp() -> None:
    """It is what follows the message's own header: of a timestamp 20 bytes, of a router's advertisement its list."""
    from scapy.layers.inet import ICMP, IP

    there = MACS / IP(src=CLIENT, dst=SERVER)
    packets = [
        there / ICMP(type=13),
        there / ICMP(bytes([9, 0, 0, 0, 1, 2, 0, 9])) / (bytes(8) + b"rest"),
        there / ICMP(bytes([9, 0, 0, 0, 200, 200, 0, 9])) / b"cut short",
        MACS / IP(src=CLIENT, dst=SERVER, proto=50) / (bytes(8) + b"sealed"),
    ]
    sizes = [packet_rule(n + 1, HeaderNumber("payload.size", ((n, n),))) for n in range(12)]
    assert Bench(*sizes).numbers(packets) == {1: [1, 3], 5: [2], 7: [4]}


def test_a_size_that_is_not_asks_for_a_payload() -> None:
    """A packet without one has none of another size (Suricata's ``dsize:!9``)."""
    assert Bench(packet_rule(1, HeaderNumber("payload.size", ((38, 38),), negated=True), traffic="tcp")).numbers(
        exchange()
    ) == {1: [6]}


def test_headers_of_the_packet_that_completed_a_request() -> None:
    """A rule on a protocol's buffers may ask for them; of what is no packet of the batch nothing holds."""
    from ids.rules.model.chain import Chain, Content

    uri = Chain("http.uri", (Content(b"/abc"),))
    rules = [
        packet_rule(1, uri, HeaderNumber("ip.ttl", ((64, 64),)), traffic="http"),
        packet_rule(2, uri, HeaderNumber("ip.ttl", ((63, 63),)), traffic="http"),
        packet_rule(3, uri, HeaderNumber("payload.size", ((38, 38),)), traffic="http"),
        packet_rule(4, uri, NotAny((HeaderNumber("payload.size", ((38, 38),)),)), traffic="http"),
    ]
    bench = Bench(*rules)
    packets = bench.decoder.decode(batch(*map(bytes, exchange())))
    flows = bench.table.process(packets)
    transactions = bench.protocols.feed(flows.streams, flows.datagrams)
    assert bench.matcher.packets(packets, flows) == []
    assert sorted(match.signature.sid for match in bench.matcher.transactions(transactions)) == [1, 3]
    answer = bench.matcher.packet_matcher.header_answer(99, int(flows.slot[0]))
    assert not answer(HeaderNumber("ip.ttl", ((0, 255),)))


MODEL: list[tuple[HeaderTest, list[int]]] = [
    (HeaderNumber("tcp.wscale", ((7, 7),)), [1]),
    (HeaderNumber("tcp.wscale", ((7, 7),), negated=True), []),
    (HeaderNumber("tcp.mss", ((1400, 1400),), negated=True), [2]),
    (HeaderNumber("ip.ttl", ((0, 3), (65, 255))), [11]),
    (HeaderBits("tcp.flags", "exactly", 0x02), [1, 2]),
    (HeaderBits("tcp.flags", "exactly", 0x02, ignored=0xC0), [1, 2, 9]),
    (HeaderBits("tcp.flags", "all", 0x42), [9]),
    (HeaderBits("tcp.flags", "any", 0xC0), [9]),
    (HeaderBits("tcp.flags", "none", 0xC0), [1, 2]),
    (HeaderBits("ip.fragbits", "all", 1), [3, 4]),
    (HeaderBits("ip.fragbits", "any", 3), [3, 4, 13]),
    (SameAddress(), [11]),
    (IpOption("rr"), [10]),
    (IpOption("eol"), [10]),
    (IpOption("any"), [10]),
    (IpOption("lsrr"), []),
    (Checksum("tcpv4", valid=False), [9]),
    (Checksum("tcpv4", valid=True), [1, 2]),
    (Checksum("udpv4", valid=True), [5, 10, 11]),
    (Checksum("udpv6", valid=True), [6, 15]),
    (Checksum("icmpv4", valid=True), [12, 13]),
    (Checksum("icmpv6", valid=True), [7, 8]),
    (Checksum("ipv4", valid=False), []),
    (Noted("decode", "ipv4.trunc_pkt"), []),
    (Noted("decode", "never.heard_of"), []),
]


@pytest.mark.parametrize("case", range(len(MODEL)))
def test_each_test_on_headers(case: int) -> None:
    """It holds for these of the oddments."""
    test, numbers = MODEL[case]
    assert Bench(packet_rule(1, test)).numbers(oddments()) == ({1: numbers} if numbers else {})


@pytest.mark.parametrize(
    ("side", "numbers"),
    [("client", [4, 5, 6, 7, 8, 9, 10]), ("server", [6, 7, 8, 9, 10]), ("both", [6, 7, 8, 9, 10]),
     ("either", [4, 5, 6, 7, 8, 9, 10])],
)  # fmt: skip
def test_sizes_of_streams(side: str, numbers: list[int]) -> None:
    """They count what each side has sent by then, also where a connection lies in several batches."""
    rule = packet_rule(1, StreamSize(side, ((20, LAST),)))
    few = packet_rule(2, StreamSize(side, ((20, LAST),), negated=True))
    for cuts in ([], [4], list(range(1, 23))):
        found = Bench(rule, few).numbers(exchange(), cuts)
        assert found[1] == numbers
        if side in ("client", "server"):
            assert sorted(found[1] + found[2]) == list(range(1, 11))


def test_what_is_noted_of_a_connection() -> None:
    """A rule on an event of streams matches the packet for which it was noted."""
    from scapy.layers.inet import IP, TCP

    packets = exchange()[:4]
    packets.append(
        MACS / IP(src=CLIENT, dst=SERVER) / TCP(sport=40000, dport=80, flags="PA", seq=101, ack=501) / b"PUT /"
    )
    bench = Bench(packet_rule(1, Noted("stream", "reassembly_overlap_different_data")))
    assert bench.numbers(packets) == {1: [5]}


def test_a_flood_of_packets_without_a_flow_is_bounded() -> None:
    """Live, as many of a batch are reported as of the oddities of decoding; more are counted."""
    bench = Bench(packet_rule(1, Noted("decode", "icmpv4.pkt_too_small")))
    flood = batch(*[odd("icmpv4.pkt_too_small")] * (MOST_ALONE_LIVE + 7))
    assert len(bench.feed(flood)) == MOST_ALONE_LIVE + 7
    assert len(bench.feed(replace(flood, source=LIVE))) == MOST_ALONE_LIVE
    assert bench.counters["rules.packets.alone_left_out"] == 7
