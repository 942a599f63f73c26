"""What the comparison of recognition rests on: names, moved servers, and the list of known differences."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.utils import rdpcap, wrpcap

from tests.bench.bench_recognition import CHECKED, Row
from tests.bench.conversations import conversations
from tests.bench.moved import BY, moved, moved_port
from tests.bench.recognisers import moved_key
from tests.bench.recognition_names import NDPI, NDPI_OTHERS, OURS, SURICATAS, UnknownName, of_eve, of_ndpi

TO_NDPI_UNKNOWN = frozenset({"http2", "krb5", "ftp-data", "websocket"})
"""HTTP/2 in clear it takes for HTTP, if for anything."""


def test_every_name_means_a_protocol_and_every_protocol_has_one() -> None:
    assert set(NDPI.values()) <= SURICATAS
    assert OURS - set(NDPI.values()) <= TO_NDPI_UNKNOWN
    assert not NDPI.keys() & NDPI_OTHERS


def test_a_name_that_is_in_no_table_is_not_passed_over() -> None:
    assert (of_ndpi("NetBIOS", "TCP"), of_ndpi("NetBIOS", "UDP"), of_eve("http")) == ("smb", None, "http")
    with pytest.raises(UnknownName, match="Unheard"):
        of_ndpi("Unheard", "TCP")
    with pytest.raises(UnknownName, match="unheard"):
        of_eve("unheard")


def test_every_conversation_made_by_hand_is_one_of_a_protocol_that_is_known(tmp_path: Path) -> None:
    names = [path.stem.split("-", 1)[1] for path in conversations(tmp_path)]
    assert set(names) <= SURICATAS
    assert {"enip", "dnp3", "ldap"} <= set(names)


def test_servers_move_and_nothing_else_changes(tmp_path: Path) -> None:
    packets = [
        Ether() / IP() / TCP(sport=50000, dport=80) / b"said",
        Ether() / Dot1Q(vlan=7) / IP() / UDP(sport=161, dport=50001) / b"said",
        Ether() / IP() / UDP(sport=137, dport=137) / b"said",
        Ether() / IP(frag=7) / b"\0\x50\0\x50",
    ]
    for packet in packets:
        packet.time = 1_700_000_000
    wrpcap(str(tmp_path / "a.pcap"), packets)
    before = (tmp_path / "a.pcap").read_bytes()
    after = moved(before)
    assert after is not None
    (tmp_path / "b.pcap").write_bytes(after)
    there = rdpcap(str(tmp_path / "b.pcap"))
    assert (there[0][TCP].sport, there[0][TCP].dport) == (50000, 80 + BY)
    assert (there[1][UDP].sport, there[1][UDP].dport) == (161 + BY, 50001)
    assert [bytes(packet) for packet in there[2:]] == [bytes(packet) for packet in rdpcap(str(tmp_path / "a.pcap"))[2:]]
    assert moved_key("TCP 127.0.0.1 50000 127.0.0.1 80") == f"TCP 127.0.0.1 {80 + BY} 127.0.0.1 50000"


@given(st.binary(max_size=200))
def test_no_bytes_make_the_move_fail(tail: bytes) -> None:
    head = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
    after = moved(head + tail)
    assert after is not None
    assert len(after) == len(head + tail)
    assert moved(tail) is None or tail[:4] == head[:4]


@given(st.integers(0, 65535))
def test_a_port_that_moves_is_nobodys_then(port: int) -> None:
    assert moved_port(port) == port or moved_port(moved_port(port)) == moved_port(port)


def test_a_difference_is_what_another_sees_and_what_is_seen_alone() -> None:
    known = Row("a/b.pcap", "", ("http",), ("tls",), ())
    assert list(known.differences()) == ["suricata tls http a/b.pcap"]
    assert list(Row("a/b.pcap", "", ("http",), (), ()).differences()) == ["ours http - a/b.pcap"]
    assert list(Row("a/b.pcap", "", ("tls", "http"), ("http",), ("tls",)).differences()) == []
    assert list(Row("a/b.pcap", "", (), (), (), known).differences()) == ["moved http - a/b.pcap"]


def test_each_known_difference_has_its_cause() -> None:
    lines = [line for line in CHECKED.read_text().splitlines() if not line.startswith("#")]
    for line in lines:
        what, _, cause = line.partition("  ")
        assert what.split()[0] in ("suricata", "ndpi", "ours", "moved")
        assert len(what.split()) == 4
        assert cause
    assert len(set(lines)) == len(lines)
