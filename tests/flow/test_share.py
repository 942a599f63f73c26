"""Each packet is one worker's, and what is in a tunnel goes where the gate sends the tunnel, where it does."""

from __future__ import annotations

import numpy as np
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN

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


def test_both_directions_of_a_tunnel_over_udp_meet_in_one_worker() -> None:
    """Each end has ports of its own by which routers spread what it sends."""
    ends = {"src": "192.0.2.1", "dst": "198.51.100.2"}, {"src": "198.51.100.2", "dst": "192.0.2.1"}
    frames = [
        bytes(IP(**ends[number % 2]) / UDP(sport=50000 + number, dport=4789) / VXLAN(vni=1, flags=8) / Ether() / packet)
        for number, packet in enumerate(INNER)
    ]
    packets = decode(*frames, linktype=101)
    assert np.count_nonzero(packets.depth) == len(INNER)
    shares = [Share(number, WORKERS, 0, True, (4789,)).of_packets(packets).usable for number in range(WORKERS)]
    assert sorted(np.count_nonzero(mine) for mine in shares) == [0, 0, 0, len(packets.src)]


def test_where_every_worker_sees_all_flows_inside_are_spread() -> None:
    assert len(set(owners(decode(*TUNNELLED, linktype=101), by_carrier=False))) == WORKERS


def test_all_hear_the_connections_at_shared_ports_and_one_has_them() -> None:
    ends = {"src": "192.0.2.1", "dst": "198.51.100.2"}
    frames = [bytes(IP(**ends) / TCP(sport=sport, dport=dport)) for sport in range(4000, 4020) for dport in (21, 80)]
    frames += [bytes(IP(**ends) / TCP(sport=21, dport=4000)), bytes(IP(**ends) / UDP(sport=21, dport=21) / b"x")]
    packets = decode(*frames, linktype=101)
    shared = (packets.proto == 6) & ((packets.sport == 21) | (packets.dport == 21))
    parts = [Share(number, WORKERS, shared_ports=(21, 990)).divide(packets) for number in range(WORKERS)]
    heard = [other.usable for _, other in parts if other is not None]
    assert (np.count_nonzero([own.usable for own, _ in parts], axis=0) == 1).all()
    assert (np.count_nonzero(heard, axis=0) == (WORKERS - 1) * shared).all()


def test_what_a_tunnel_keeps_together_is_not_shared() -> None:
    inside = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=4000, dport=21)
    packets = decode(bytes(IP(src="192.0.2.1", dst="198.51.100.2") / GRE() / inside), linktype=101)
    for by_carrier, count in ((True, 0), (False, WORKERS - 1)):
        shares = [Share(number, WORKERS, by_carrier=by_carrier, shared_ports=(21,)) for number in range(WORKERS)]
        assert sum(share.divide(packets)[1] is not None for share in shares) == count
