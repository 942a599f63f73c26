"""Rules see into tunnels, and may name the addresses inside and outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Packet, Raw

from ids.testing import Session
from plugins.rules import Rules

INNER = IP(src="192.0.2.1", dst="203.0.113.1") / UDP(sport=4000, dport=53) / Raw(b"an attack")
TUNNEL = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="198.51.100.1", dst="198.51.100.2") / GRE()


def session(path: Path, *lines: str) -> Session:
    rule = path / "rule.yaml"
    head = ["title: an attack", "sid: 1", "level: high", "traffic: udp"]
    rule.write_text("rules:\n  -\n" + "".join(f"    {line}\n" for line in (*head, *lines)))
    return Session(f"rules.paths=[{rule}]", rules=Rules())


@pytest.mark.parametrize(
    ("condition", "packet", "found"),
    [
        ("src_ip: 192.0.2.1", TUNNEL / INNER, True),
        ("outer_src_ip: 198.51.100.0/24", TUNNEL / INNER, True),
        ("outer_dst_ip: 198.51.100.2", TUNNEL / INNER, True),
        ("outer_dst_ip: 198.51.100.1", TUNNEL / INNER, False),
        ("outer_src_ip: 192.0.2.1", TUNNEL / INNER, False),
        ("outer_src_ip: 192.0.2.1", Ether() / INNER, True),
    ],
)
def test_conditions_name_either_end(tmp_path: Path, condition: str, packet: Packet, found: bool) -> None:
    played = session(tmp_path, "match:", "  - payload: {contains: attack}", f"  - {condition}")
    played.frames(bytes(packet))
    played.end()
    assert played.sids == [1] * found


@pytest.mark.parametrize(("target", "blocked"), [("src_ip", "192.0.2.1/32"), ("outer_src_ip", "198.51.100.1/32")])
def test_blocks_name_either_end_and_only_without_proof(tmp_path: Path, target: str, blocked: str) -> None:
    for require, expected in (("any", [blocked]), ("proven", [])):
        played = session(
            tmp_path, "match:", "  - payload: {contains: attack}",
            f"block: {{target: {target}, for: 1h, mode: enforce, require: {require}}}",
        )  # fmt: skip
        played.frames(bytes(TUNNEL / INNER))
        played.end()
        assert played.blocks == expected
        (alert,) = played.alerts
        expected_ends = {"src_ip": "198.51.100.1", "dest_ip": "198.51.100.2", "proto": "GRE", "depth": 1}
        assert alert["tunnel"].items() >= expected_ends.items()


def test_a_flow_in_a_tunnel_is_not_dropped_by_its_inner_ports(tmp_path: Path) -> None:
    """The gate knows flows by what is on the wire: the same ports outside are another flow's."""
    played = session(tmp_path, "match:", "  - payload: {contains: attack}", "then: drop")
    played.frames(bytes(TUNNEL / INNER))
    played.end()
    assert played.sids == [1]
    assert [event for event in played.events if event["event_type"] == "drop"] == []
