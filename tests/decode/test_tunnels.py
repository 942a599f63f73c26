"""What is in a tunnel is inspected as if it were on the wire; who carried it is kept."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import GRE, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import GRE_PPTP, Dot1Q, Ether
from scapy.layers.ppp import PPP
from scapy.packet import Packet, Raw

from ids.counters import Counters
from ids.decode import Decoder, DecodeSettings, TunnelSettings
from ids.decode.oddities import NAMES
from ids.flow import FlowTable
from ids.flow.settings import FlowSettings
from ids.types import Anomaly, Packets, address_text
from tests.decode.frames import anomalies, batch_of, payload

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
OUTER = IP(src="192.0.2.1", dst="198.51.100.2")
OUTER6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
DATA = b"GET / HTTP/1.1\r\n\r\n"
V4 = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=4000, dport=80, flags="PA") / Raw(DATA)
V6 = IPv6(src="2001:db8:1::1", dst="2001:db8:1::2") / TCP(sport=4000, dport=80, flags="PA") / Raw(DATA)
VXLAN = Raw(b"\x08\0\0\0\0\0\x05\0")
ORIGIN = b"\0\0" + bytes(6)
AUTHENTICATION = b"\0\1\4\2" + bytes(15)


def geneve(kind: int, options: bytes = b"") -> Raw:
    return Raw(struct.pack(">BBHI", len(options) // 4, 0, kind, 0x500) + options)


def gre(flags: int, kind: int, rest: bytes = b"") -> Packet:
    return IP(src="192.0.2.1", dst="198.51.100.2", proto=47) / Raw(struct.pack(">HH", flags, kind) + rest)


TUNNELS = {
    "IPv4 in IPv4": OUTER / V4,
    "IPv6 in IPv4": OUTER / V6,
    "IPv4 in IPv6": OUTER6 / V4,
    "IPv6 in IPv6": OUTER6 / V6,
    "behind IPv6 options": OUTER6 / IPv6ExtHdrDestOpt() / V4,
    "GRE": OUTER / GRE() / V4,
    "GRE over IPv6": OUTER6 / GRE() / V6,
    "GRE with all there is": gre(0xB000, 0x0800, bytes(12)) / V4,
    "GRE of Ethernet": OUTER / GRE(proto=0x6558) / ETHER / Dot1Q(vlan=5) / V6,
    "GRE of MPLS": gre(0, 0x8847, b"\0\0\x21\x40") / V4,
    "GRE of a tagged frame": gre(0, 0x8100, b"\0\x07\x08\0") / V4,
    "GRE of WCCP": gre(0, 0x883E, b"\0\0\0\0") / V4,
    "GRE of WCCP without a header": gre(0, 0x883E) / V4,
    "PPTP": OUTER / GRE_PPTP(seqnum_present=1, acknum_present=1) / PPP(proto=0x21) / V4,
    "ERSPAN I": gre(0, 0x88BE) / ETHER / V4,
    "ERSPAN II": gre(0x1000, 0x88BE, bytes(4) + b"\x10\x05" + bytes(6)) / ETHER / V4,
    "ERSPAN III": gre(0x1000, 0x22EB, bytes(4) + b"\x20\x05" + bytes(10)) / ETHER / V6,
    "ERSPAN III with a trailer": gre(0x1000, 0x22EB, bytes(4) + b"\x20\x05" + bytes(9) + b"\1" + bytes(8)) / ETHER / V6,
    "VXLAN": OUTER / UDP(dport=4789) / VXLAN / ETHER / V4,
    "VXLAN of Linux": OUTER6 / UDP(dport=8472) / VXLAN / ETHER / V6,
    "VXLAN-GPE": OUTER / UDP(dport=4790) / Raw(b"\x0c\0\0\1\0\0\x05\0") / V4,
    "Geneve": OUTER / UDP(dport=6081) / geneve(0x6558, bytes(8)) / ETHER / V4,
    "Geneve of IP": OUTER / UDP(dport=6081) / geneve(0x86DD) / V6,
    "Teredo": OUTER / UDP(dport=3544) / V6,
    "Teredo, back": OUTER / UDP(sport=3544) / V6,
    "Teredo with an origin": OUTER / UDP(dport=3544) / Raw(ORIGIN) / V6,
    "Teredo with both": OUTER / UDP(dport=3544) / Raw(AUTHENTICATION + ORIGIN) / V6,
}


def decoder(**tunnels: Any) -> Decoder:
    limits = TunnelSettings.model_validate(tunnels)
    return Decoder(DecodeSettings(checksums="all", tunnels=limits), Counters())


def decode(*frames: Packet | bytes, linktype: int = 101, into: Decoder | None = None) -> Packets:
    return (into or decoder()).decode(batch_of([bytes(frame) for frame in frames], linktype))


@pytest.mark.parametrize("packet", TUNNELS.values(), ids=TUNNELS)
def test_the_packet_in_a_tunnel_is_a_row_behind_its_carrier(packet: Packet) -> None:
    got = decode(V4, packet, V6)
    assert len(got) == 4
    assert got.usable.tolist() == [True, got.proto[1] != 47, True, True]
    assert got.depth.tolist() == [0, 0, 1, 0]
    assert got.carrier.tolist() == [-1, -1, 1, -1]
    assert (got.sport[2], got.dport[2], got.proto[2]) == (4000, 80, 6)
    assert payload(got, 2) == DATA
    assert got.batch.number.tolist() == [1, 2, 2, 3]
    assert address_text(tuple(got.src[2].tolist())) in ("10.0.0.1", "2001:db8:1::1")
    assert address_text(tuple(got.src[1].tolist())) in ("192.0.2.1", "2001:db8::1")


TEREDO = IPv6(src="2001:0:4137:9e50:8000:f12a:b9c8:2815", dst="2001:db8::1") / TCP(sport=4000, dport=80) / Raw(DATA)


def test_teredo_between_clients_is_found_on_any_port() -> None:
    packet = OUTER / UDP(sport=3797, dport=32900) / TEREDO
    assert decode(packet).depth.tolist() == [0, 1]
    assert decode(packet, into=decoder(teredo_ports=())).depth.tolist() == [0]


@pytest.mark.parametrize(
    "content",
    [bytes(TEREDO) + b"more", bytes(TEREDO)[:-1], bytes(V6), b"\x45" + bytes(TEREDO)[1:], b"\x60" + bytes(8)],
    ids=["longer", "shorter", "of no client of Teredo", "not IPv6", "short"],
)
def test_on_any_port_nothing_else_is_teredo(content: bytes) -> None:
    assert decode(OUTER / UDP(sport=3797, dport=32900) / Raw(content)).depth.tolist() == [0]


@pytest.mark.parametrize("name", ["ERSPAN II", "ERSPAN III", "ERSPAN III with a trailer"])
def test_a_mirrored_frame_is_of_the_vlan_it_was_mirrored_from(name: str) -> None:
    """Its length is counted with the header that says so, as Suricata counts it."""
    got = decode(TUNNELS[name])
    assert got.vlan.tolist() == [0, 5]
    assert got.batch.wirelen[1] == len(TUNNELS[name]) - 20 - 8


def test_tags_of_a_mirrored_frame_are_inside_its_vlan() -> None:
    got = decode(gre(0x1000, 0x88BE, bytes(4) + b"\x10\x05" + bytes(6)) / ETHER / Dot1Q(vlan=7) / V4)
    assert int(got.vlan[1]) == 5 | 7 << 16
    assert payload(got, 1) == DATA


@pytest.mark.parametrize(
    "packet",
    [
        gre(0x4000, 0x0800, bytes(4)) / V4,
        gre(0x0002, 0x0800) / V4,
        gre(0x2001, 0x0800, bytes(4)) / V4,
        gre(0, 0x0806) / V4,
        OUTER / UDP(dport=4789) / Raw(bytes(8)) / ETHER / V4,
        OUTER / UDP(dport=4790) / Raw(b"\x0c\0\0\x09\0\0\0\0") / V4,
        OUTER / UDP(dport=6081) / geneve(0x0806) / V4,
        OUTER / UDP(dport=3544) / V4,
        OUTER / UDP(dport=3544) / Raw(bytes(V6)[:39]),
        OUTER / UDP(dport=4788) / VXLAN / ETHER / V4,
        OUTER / UDP(dport=4789) / VXLAN,
    ],
)
def test_what_is_no_such_tunnel_is_left_alone(packet: Packet) -> None:
    got = decode(packet)
    assert len(got) == 1 or got.anomaly[1] == Anomaly.NOT_IP


def test_tunnels_nest_to_a_bound_which_is_reported() -> None:
    packet: Packet = V4
    for _ in range(5):
        packet = OUTER / packet
    got = decode(packet, into=decoder(max_depth=3))
    assert got.depth.tolist() == [0, 1, 2, 3]
    assert got.carrier.tolist() == [-1, 0, 0, 0]
    assert [(int(row), NAMES[code]) for row, code in zip(*got.notes, strict=True)] == [(3, "decoder.too_many_layers")]
    assert len(decode(packet, into=decoder(max_depth=0))) == 1


def test_fragments_in_a_tunnel_come_together() -> None:
    whole = IP(src="10.0.0.1", dst="10.0.0.2", id=3) / UDP(sport=1, dport=2) / Raw(bytes(600))
    got = decode(*(OUTER / UDP(sport=1, dport=4789) / VXLAN / ETHER / piece for piece in fragment(whole, 200)))
    rows = np.flatnonzero(got.usable & (got.depth == 1))
    assert len(rows) == 1
    assert (got.dport[rows[0]], got.payload_len[rows[0]]) == (2, 600)
    assert got.carrier[rows[0]] == rows[0] - 2


@pytest.mark.parametrize("outer", ["IPv4", "IPv6"])
def test_a_tunnel_in_fragments_is_looked_into(outer: str) -> None:
    if outer == "IPv4":
        pieces = fragment(IP(src="192.0.2.1", dst="198.51.100.2", id=4) / GRE() / V4, 48)
    else:
        header = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(id=4)
        pieces = fragment6(header / GRE() / V4, 100)
    assert len(pieces) > 1
    got = decode(*pieces)
    assert got.depth.tolist() == [0] * (len(pieces) + 1) + [1]
    assert payload(got, len(got) - 1) == DATA
    assert got.carrier[-1] == len(pieces)


def test_fragments_of_fragments_within_tunnels() -> None:
    """Fragments, of a tunnel, of fragments, of a tunnel: each layer is put together."""
    middle = IP(src="172.16.0.1", dst="172.16.0.2", id=5) / GRE() / V4
    frames = [
        outer
        for number, piece in enumerate(fragment(middle, 48))
        for outer in fragment(IP(src="192.0.2.1", dst="198.51.100.2", id=10 + number) / GRE() / piece, 40)
    ]
    got = decode(*frames)
    last = len(got) - 1
    assert (got.depth[last], payload(got, last)) == (2, DATA)
    assert got.usable[last]


def test_fragments_inside_and_outside_never_mix() -> None:
    pieces = fragment(IP(src="10.0.0.1", dst="10.0.0.2", id=3) / UDP(sport=1, dport=2) / Raw(bytes(300)), 200)
    got = decode(pieces[0], OUTER / pieces[1])
    assert not (got.usable & ~got.fragment & (got.proto == 17)).any()


def test_a_flow_in_a_tunnel_is_none_outside_and_keeps_the_outer_ends() -> None:
    table = FlowTable(FlowSettings(), Counters())
    carried = OUTER / UDP(sport=7, dport=4789) / VXLAN / ETHER / V4
    flows = table.process(decode(V4, carried))
    started = [flows.flows.view(slot) for slot in flows.started.tolist()]
    assert [(flow.proto, flow.depth) for flow in started] == [(6, 0), (17, 0), (6, 1)]
    assert started[0].tunnel is None
    assert started[2].tunnel == ("192.0.2.1", "198.51.100.2", 7, 4789, 17, 1)


def test_a_cut_off_tunnel_says_what_is_missing() -> None:
    frame = bytes(OUTER / GRE() / V4)
    batch = batch_of([frame[:-5]], 101, wirelen=[len(frame)])
    got = decoder().decode(batch)
    assert payload(got, 1) == DATA[:-5]
    assert got.payload_missing.tolist() == [5, 5]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_tunnels_never_raise_and_stay_in_bounds(data: st.DataObject) -> None:
    frames = []
    for _ in range(data.draw(st.integers(1, 4))):
        packet = data.draw(st.sampled_from(list(TUNNELS.values())))
        if data.draw(st.booleans()):
            packet = OUTER / packet
        frame = bytearray(bytes(packet))
        for _ in range(data.draw(st.integers(0, 4))):
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
        frames.append(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
    batch = batch_of(frames, 101, wirelen=[len(frame) + data.draw(st.integers(0, 99)) for frame in frames])
    got = Decoder(DecodeSettings(checksums=data.draw(st.sampled_from(["all", "none"]))), Counters()).decode(batch)
    assert (got.usable == (got.anomaly == Anomaly.NONE)).all()
    assert (got.payload_len >= 0).all()
    assert (got.payload_missing >= 0).all()
    assert ((got.payload == -1) | (got.payload + got.payload_len <= len(got.batch.data))).all()
    assert ((got.carrier >= 0) == (got.depth > 0)).all()
    inside = got.carrier[got.carrier >= 0]
    assert (got.depth[inside] == 0).all()
    assert (np.diff(got.batch.number) >= 0).all()


def test_a_batch_without_tunnels_is_not_copied() -> None:
    batch = batch_of([bytes(V4)], 101)
    assert decoder().decode(batch).batch is batch
    assert anomalies(decode(V4)) == [Anomaly.NONE]


def test_what_a_frame_has_its_packets_have_too() -> None:
    """Whatever columns a batch has, optional ones included."""
    batch = batch_of([bytes(V4), bytes(OUTER / GRE() / V4)], 101)
    holder = np.array([[1, 2], [3, 4]], np.uint64)
    held = replace(batch, holder=holder, tag=np.array([5, 6], np.uint32), unsummed=np.array([False, True]))
    got = decoder().decode(held).batch
    assert got.holder is not None
    assert got.tag is not None
    assert got.unsummed is not None
    assert got.holder.tolist() == [[1, 2], [3, 4], [3, 4]]
    assert got.tag.tolist() == [5, 6, 6]
    assert got.unsummed.tolist() == [False, True, True]
    assert got.interface.tolist() == [0, 1, 1]
