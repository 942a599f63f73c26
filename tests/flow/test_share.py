"""Each packet is one worker's, and what is in a tunnel goes where the gate sends the tunnel, where it does."""

from __future__ import annotations

import numpy as np
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import GRE

from ids.flow.share import Share
from ids.types import Packets
from tests.decode.frames import decode

WORKERS = 4
INNER = [IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=sport, dport=80) for sport in range(4000, 4040)]
TUNNELLED = [bytes(IP(src="192.0.2.1", dst="198.51.100.2") / GRE() / packet) for packet in INNER]


def owners(packets: Packets, *, by_carrier: bool) -> list[int]:
    """Return whose each packet inside is."""
    shares = [Share(number, WORKERS, by_carrier=by_carrier).of_packets(packets).usable for number in range(WORKERS)]
    inside = packets.depth > 0
    assert (np.count_nonzero(shares, axis=0)[inside] == 1).all()
    return [number for row in inside.nonzero()[0] for number in range(WORKERS) if shares[number][row]]


def test_where_the_gate_spreads_tunnels_what_is_inside_goes_with_them() -> None:
    assert len(set(owners(decode(*TUNNELLED, linktype=101), by_carrier=True))) == 1


def test_where_every_worker_sees_all_flows_inside_are_spread() -> None:
    assert len(set(owners(decode(*TUNNELLED, linktype=101), by_carrier=False))) == WORKERS
