"""Which packets belong together, from real frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ids.counters import Counters
from ids.decode import Decoder, DecodeSettings
from ids.flow import FlowSettings, FlowTable
from ids.flow.keys import echo_ids
from ids.types import Flow, FlowState
from tests.flow.traffic import CLIENT, SERVER
from tests.replay.batches import batch_of

ASK, BACK = IP(src=CLIENT, dst=SERVER), IP(src=SERVER, dst=CLIENT)
ASK6, BACK6 = IPv6(src="2001:db8::1", dst="2001:db8::2"), IPv6(src="2001:db8::2", dst="2001:db8::1")


def flows_of(*packets: Packet) -> list[Flow]:
    """Return the flows that these packets make, in one batch."""
    packets_ = Decoder(DecodeSettings(), Counters()).decode(batch_of([bytes(Ether() / packet) for packet in packets]))
    assert packets_.usable.all()
    made = FlowTable(FlowSettings(), Counters()).process(packets_)
    return [made.flows.view(slot) for slot in made.started.tolist()]


@pytest.mark.parametrize(
    ("first", "other", "answer"),
    [
        (ASK / ICMP(id=0), ASK / ICMP(id=0xFFFF), BACK / ICMP(type=0, id=0)),
        (ASK6 / ICMPv6EchoRequest(id=0), ASK6 / ICMPv6EchoRequest(id=0xFFFF), BACK6 / ICMPv6EchoReply(id=0)),
    ],
)
def test_echoes_are_distinguished_by_their_identifier(first: Packet, other: Packet, answer: Packet) -> None:
    flows = flows_of(first, other, answer)
    assert [(flow.echo_id, flow.packets, flow.state) for flow in flows] == [
        (0, (1, 1), FlowState.ESTABLISHED), (0xFFFF, (1, 0), FlowState.NEW),
    ]  # fmt: skip


def test_other_icmp_has_no_identifier() -> None:
    flows = flows_of(ASK / ICMP(type=13, id=5), BACK / ICMP(type=14, id=6), ASK / ICMP(type=3) / BACK / ICMP(id=7))
    assert [(flow.sport, flow.echo_id, flow.packets) for flow in flows] == [(13, None, (1, 1)), (3, None, (1, 0))]


@given(st.integers(0, 60), st.integers(0, 0x1FFF), st.sampled_from(["", "MF"]), st.sampled_from([0, 3, 8]))
def test_a_damaged_echo_has_no_identifier_and_harms_nobody(length: int, offset: int, flags: str, kind: int) -> None:
    """Whatever is cut off, in fragments, or the last in its buffer."""
    whole = Ether() / IP(src=CLIENT, dst=SERVER, frag=offset, flags=flags, proto=1) / ICMP(type=kind, id=5) / bytes(8)
    packets = Decoder(DecodeSettings(), Counters()).decode(batch_of([bytes(whole)[:length]], wirelen=[60]))
    identifiers = echo_ids(packets, np.arange(len(packets)))
    assert identifiers.tolist() == [5 if packets.usable[0] and kind != 3 else -1]
