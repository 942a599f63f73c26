"""Which packets belong together, from real frames."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ids.counters import Counters
from ids.decode import Decoder, DecodeSettings
from ids.flow import FlowSettings, FlowTable
from ids.types import Flow, FlowState
from tests.flow.traffic import CLIENT, SERVER
from tests.replay.batches import batch_of

ASK, BACK = IP(src=CLIENT, dst=SERVER), IP(src=SERVER, dst=CLIENT)
ASK6, BACK6 = IPv6(src="2001:db8::1", dst="2001:db8::2"), IPv6(src="2001:db8::2", dst="2001:db8::1")


def flows_of(*packets: Packet) -> list[Flow]:
    """Return the flows that these packets make, in one batch."""
    packets_ = Decoder(DecodeSettings(), Counters()).decode(batch_of([bytes(Ether() / packet) for packet in packets]))
    assert packets_.usable.all()
    return FlowTable(FlowSettings(), Counters()).process(packets_).started


@pytest.mark.parametrize(
    ("first", "other", "answer"),
    [
        (ASK / ICMP(id=0), ASK / ICMP(id=0xFFFF), BACK / ICMP(type=0, id=0)),
        (ASK6 / ICMPv6EchoRequest(id=0), ASK6 / ICMPv6EchoRequest(id=0xFFFF), BACK6 / ICMPv6EchoReply(id=0)),
    ],
)
def test_echoes_are_told_apart_by_their_identifier(first: Packet, other: Packet, answer: Packet) -> None:
    flows = flows_of(first, other, answer)
    assert [(flow.echo_id, flow.packets, flow.state) for flow in flows] == [
        (0, [1, 1], FlowState.ESTABLISHED), (0xFFFF, [1, 0], FlowState.NEW),
    ]  # fmt: skip


def test_other_icmp_has_no_identifier() -> None:
    flows = flows_of(ASK / ICMP(type=13, id=5), BACK / ICMP(type=14, id=6), ASK / ICMP(type=3) / BACK / ICMP(id=7))
    assert [(flow.sport, flow.echo_id, flow.packets) for flow in flows] == [(13, None, [1, 1]), (3, None, [1, 0])]
