"""TCP packets of connections whose beginning nobody saw are judged packet by packet."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from ids.config import load_config
from ids.replay import replay
from tests.rules.builders import rule_text

EXPLOIT = b"GET /cgi?x=needle HTTP/1.0\r\n\r\n"


def alerts(tmp_path: Path, rules: str, name: str, *payloads: bytes) -> list[tuple[int, int]]:
    """Return sid and packet of the alerts on segments of a connection without a beginning."""
    capture, file = tmp_path / "stray.pcap", tmp_path / name
    seq, packets = 1000, []
    for data in payloads:
        segment = TCP(sport=40000, dport=8000, flags="PA", seq=seq, ack=1)
        packets.append(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="192.0.2.1", dst="198.51.100.1")
                       / segment / data)  # fmt: skip
        seq += len(data)
    wrpcap(str(capture), packets)
    file.write_text(rules)
    config = load_config(None, [f"rules.paths=[{file}]", "stream.midstream=false", "fastpath.replay=off"])
    report = replay([capture], config)
    return [(event["alert"]["signature_id"], event["pcap_cnt"]) for event in report.alerts]


def test_a_rule_finds_its_bytes_in_each_packet_by_itself(tmp_path: Path) -> None:
    rule = 'alert tcp any any -> any 8000 (content:"needle"; sid:1;)\n'
    assert alerts(tmp_path, rule, "r.rules", b"nothing", EXPLOIT, b"nee", b"dle", EXPLOIT) == [(1, 2), (1, 5)]


def test_a_rule_that_does_not_repeat_matches_once(tmp_path: Path) -> None:
    rule = "rules:\n" + rule_text("[payload: {contains: needle}]")
    assert alerts(tmp_path, rule, "r.yaml", EXPLOIT, EXPLOIT) == [(1, 1)]


@pytest.mark.parametrize("flow", ["established", "to_client"])
def test_what_a_rule_asks_of_the_flow_holds_for_these_too(tmp_path: Path, flow: str) -> None:
    rule = f'alert tcp any any -> any any (flow:{flow}; content:"needle"; sid:1;)\n'
    assert alerts(tmp_path, rule, "r.rules", EXPLOIT) == []


def test_what_a_syn_brings_that_nobody_answers_is_looked_at(tmp_path: Path) -> None:
    capture, file = tmp_path / "syn.pcap", tmp_path / "r.rules"
    syn = TCP(sport=40000, dport=8000, flags="S", seq=1000)
    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="192.0.2.1", dst="198.51.100.1")
    wrpcap(str(capture), [frame / syn / EXPLOIT])
    file.write_text('alert tcp any any -> any 8000 (content:"needle"; sid:1;)\n')
    report = replay([capture], load_config(None, [f"rules.paths=[{file}]", "fastpath.replay=off"]))
    assert [event["alert"]["signature_id"] for event in report.alerts] == [1]
