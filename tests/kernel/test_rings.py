"""What the program shows arrives as batches: every byte, in order, and what had no room is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_network
from socket import IPPROTO_TCP
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scapy.layers.inet import IP, UDP

from ids.kernel import contract
from ids.kernel.contract import Cut, Reason
from ids.kernel.rings.reader import MAX_BATCH, Ring
from ids.types import PacketBatch
from tests.kernel import packets as p
from tests.kernel.conftest import settings
from tests.kernel.gate import XDP_PASS, Gate, Verdict

pytestmark = [pytest.mark.root, pytest.mark.xdp]


def frames(batch: PacketBatch) -> list[bytes]:
    """Return the captured bytes of each packet."""
    return [
        batch.data[offset : offset + length].tobytes()
        for offset, length in zip(batch.offset.tolist(), batch.caplen.tolist(), strict=True)
    ]


def udp(size: int, sport: int = 1, src: str = p.CLIENT) -> bytes:
    """Return a frame of exactly ``size`` bytes."""
    return p.wire(IP(src=src, dst=p.SERVER), UDP(sport=sport, dport=2), bytes(size - 42))


def others(number: int) -> str:
    """Return one of many addresses: nobody has more than a share."""
    return f"198.18.{number >> 8 & 255}.{number & 255}"


def test_packets_of_both_rings_come_in_the_order_of_time(gate: Gate) -> None:
    sent = [p.SYN, udp(1400, 2), p.PING, udp(700, 3), p.DATA]
    for packet in sent:
        gate.send(packet, after_ns=1000)
    batch = gate.shown()
    assert batch is not None
    assert frames(batch) == sent
    assert batch.wirelen.tolist() == [len(packet) for packet in sent]
    assert np.diff(batch.ts_ns).tolist() == [1000] * 4
    assert np.diff(batch.number).tolist() == [1] * 4
    assert set(batch.linktype.tolist()) == {1}
    assert batch.source == "live"


def test_no_packet_overtakes_one_of_the_other_ring(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while the rings are read, one behind the other, waits for its turn: it may answer what was missed."""
    _, large = gate.fastpath.rings.rings
    early, late = [p.SYN, udp(1400, 2)], [p.PING, udp(700, 3), p.DATA]
    take = Ring.take

    def while_reading(ring: Ring, limit: int = MAX_BATCH, behind: int = 0) -> NDArray[np.uint8] | None:
        rows = take(ring, limit, behind)
        if ring is large and limit == MAX_BATCH:
            monkeypatch.setattr(Ring, "take", take)
            gate.send_all(late)
        return rows

    gate.send_all(early)
    monkeypatch.setattr(Ring, "take", while_reading)
    batches = [gate.shown(), gate.shown(), gate.shown()]
    assert [frames(batch) for batch in batches if batch is not None] == [[*early, p.PING], late[1:]]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_ring_that_is_behind_holds_the_other_one_up(gate: Gate, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ring.take, "__defaults__", (limit, 0))
    sent = [p.SYN, p.PING, p.DNS, udp(700, 2), udp(800, 3), p.DATA, udp(900, 4)]
    gate.send_all(sent)
    seen = []
    while (batch := gate.shown()) is not None:
        seen += frames(batch)
    assert seen == sent


def test_times_are_unix_times(gate: Gate) -> None:
    from ids.kernel.system import syscall

    gate.fastpath.config["now_ns"] = 0
    syscall.prog_test_run(gate.fastpath.program, p.SYN)
    batch = gate.shown()
    assert batch is not None
    assert abs(int(batch.ts_ns[0]) - time.time_ns()) < 60 * 10**9


@pytest.mark.parametrize("size", [60, 183, 184, 185, 186, 1975, 1976])
def test_a_packet_is_shown_whole(gate: Gate, size: int) -> None:
    gate.send(udp(size))
    batch = gate.shown()
    assert batch is not None
    assert frames(batch) == [udp(size)]


def test_a_packet_larger_than_the_slot_is_shown_in_part(gate: Gate) -> None:
    packet = udp(3000)
    assert Reason.NOTE_SNAPPED in gate.send(packet).notes
    batch = gate.shown()
    assert batch is not None
    assert frames(batch) == [packet[:1976]]
    assert batch.wirelen.tolist() == [3000]


def test_a_full_ring_is_counted_and_empties_again(gate: Gate) -> None:
    room = gate.fastpath.rings.rings[0].size // contract.SMALL_STRIDE
    gate.fastpath.config["depth_tcp"] = gate.fastpath.config["thin_after_bytes"] = 1 << 20
    packets = [p.wire(IP(src=others(i % 64), dst=p.SERVER), p.tcp("A"), b"x") for i in range(room + 5)]
    for_a_start = [gate.send(packet).reason for packet in packets]
    shown = for_a_start.count(Reason.PASS_SHOWN)
    assert room - 1 <= shown <= room
    assert for_a_start == [Reason.PASS_SHOWN] * shown + [Reason.PASS_RING_FULL] * (room + 5 - shown)
    thinned = Reason.PASS_THINNED  # what has a hole gives way to what has none
    assert gate.send(packets[-1]).reason == thinned
    batch = gate.shown()
    assert batch is not None
    assert len(batch) == shown
    assert gate.send(p.SYN).reason == Reason.PASS_SHOWN


def test_new_flows_give_way_last_and_then_whole(gate: Gate) -> None:
    """What user space does get is whole: a flow that was let in goes on while no other begins."""
    ring = gate.fastpath.rings.rings[0]
    room = ring.size // contract.SMALL_STRIDE
    ends = [IP(src=others(i % 128), dst=p.SERVER) for i in range(room)]
    syns = [p.wire(end, p.tcp("S", sport=1024 + i)) for i, end in enumerate(ends)]
    reasons = [gate.send(syn).reason for syn in syns]
    let_in = reasons.count(Reason.PASS_SHOWN)
    assert reasons == [Reason.PASS_SHOWN] * let_in + [Reason.PASS_THINNED] * (room - let_in)
    assert abs(let_in - room * 7 // 8) <= 1
    first, refused = (p.wire(ends[i], p.tcp("A", sport=1024 + i), b"x") for i in (0, room - 1))
    assert gate.send(first).reason == Reason.PASS_SHOWN
    assert gate.send(refused).reason == Reason.PASS_THINNED
    assert gate.send(p.wire(ends[-1], p.tcp("FA", sport=1023 + room))).reason == Reason.PASS_THINNED, "its end too"
    quiet = [gate.send(p.wire(IP(src=others(room + i), dst=p.SERVER), p.tcp("S"))).reason for i in range(room // 8)]
    assert abs(quiet.index(Reason.PASS_THINNED) - room // 16) <= 3, "there is some more room for quiet sources"
    while gate.shown() is not None:
        pass
    assert gate.send(p.wire(p.IP4, p.tcp("S", sport=999))).reason == Reason.PASS_SHOWN


def test_a_flow_begins_only_where_the_other_ring_has_room_too(gate: Gate) -> None:
    """A SYN is small; the answers to what follows it are not."""
    ring = gate.fastpath.rings.rings[1]
    ports = iter(range(1024, 4096))
    while ring.backlog_bytes <= ring.size * 15 // 16:
        if gate.send(udp(700, src=others(next(ports)))).reason == Reason.PASS_THINNED:
            break
    assert gate.send(p.SYN).reason == Reason.PASS_THINNED
    gate.shown()
    assert gate.send(p.wire(p.IP4, p.tcp("S", sport=999))).reason == Reason.PASS_SHOWN


def tcp_flow(gate: Gate) -> Any:
    """Return the only TCP flow there is."""
    (key,) = [key for key in gate.fastpath.maps["ids_flows4"] if key[-4] == IPPROTO_TCP]
    raw = gate.fastpath.maps["ids_flows4"].get(key)
    assert raw is not None
    return np.frombuffer(raw, dtype=contract.FLOW)[0]


@pytest.mark.parametrize(
    ("packet", "opened", "behind"),
    [(p.DATA, 0, 100), (p.DATA, 0, 1 << 23), (p.wire(p.IP4, p.tcp("A", seq=1)), 3, 100)],
    ids=["data", "data of many CPUs", "an acknowledgement"],
)
def test_a_turn_that_began_with_bytes_that_were_not_shown_after_all_has_its_depth(
    gate: Gate, packet: bytes, opened: int, behind: int
) -> None:
    """One CPU counts a packet and finds no room for it; meanwhile, on another, the other side begins to speak."""
    gate.fastpath.config["depth_tcp"] = 1 << 20
    gate.send(p.DATA)
    flow = tcp_flow(gate).copy()
    flow["opened"], flow["turn"] = opened, 0
    flow["settled"] = flow["shown"] + np.uint32(behind)
    (key,) = [key for key in gate.fastpath.maps["ids_flows4"] if key[-4] == IPPROTO_TCP]
    gate.fastpath.maps["ids_flows4"].set(key, flow.tobytes())
    assert gate.send(packet).reason == Reason.PASS_SHOWN


def test_a_flow_that_met_a_full_ring_is_noted_once_and_keeps_its_depth(gate: Gate) -> None:
    gate.send(p.DATA)
    room = gate.fastpath.rings.rings[0].size // contract.SMALL_STRIDE
    gate.fastpath.config["thin_small_bytes"] = 0
    while gate.send(udp(60, src=others(room))).reason == Reason.PASS_SHOWN:
        room -= 1
    before = tcp_flow(gate)["shown"].tolist()
    full = Verdict(XDP_PASS, Reason.PASS_RING_FULL)
    assert gate.send(p.DATA) == replace(full, notes=frozenset({Reason.NOTE_CUT_RING_FULL}))
    gate.fastpath.configure(gate.fastpath.settings)
    assert gate.send(p.DATA).reason == Reason.PASS_THINNED, "what has a hole gives way"
    assert tcp_flow(gate)["cut"] == Cut.RING_FULL | Cut.THINNED
    assert tcp_flow(gate)["shown"].tolist() == before


def test_one_source_leaves_much_of_a_ring_to_others(gate: Gate) -> None:
    """Whatever it sends, and its flows are cut whole; and when the ring has been read it begins anew."""
    ring = gate.fastpath.rings.rings[0]
    room = ring.size // contract.SMALL_STRIDE
    data = p.wire(p.IP4, p.tcp("A", sport=1000), b"x")
    gate.send_all([p.wire(p.IP4, p.tcp("S", sport=1000)), data])
    syns = [p.wire(p.IP4, p.tcp("S", sport=1024 + i)) for i in range(room)]
    reasons = [gate.send(syn).reason for syn in syns]
    shown = reasons.count(Reason.PASS_SHOWN)
    assert reasons == [Reason.PASS_SHOWN] * shown + [Reason.PASS_UNFAIR] * (room - shown)
    assert room * 7 // 12 <= shown <= room * 2 // 3 + 1, "what it had before there was little room is not counted"
    quiet = IP(src=others(1), dst=p.SERVER)
    assert gate.send(p.wire(quiet, p.tcp("S"))).reason == Reason.PASS_SHOWN
    assert gate.send(p.wire(quiet, p.tcp("A"), b"GET /")).reason == Reason.PASS_SHOWN
    cut = gate.send(data)
    assert cut == Verdict(XDP_PASS, Reason.PASS_UNFAIR, frozenset({Reason.NOTE_CUT_UNFAIR}))
    assert gate.send(p.wire(p.IP4, p.tcp("FA", sport=1000))).reason == Reason.PASS_SHOWN, "its end is not kept back"
    answer = p.wire(IP(src=p.SERVER, dst=p.CLIENT), p.reply("A", dport=1024), b"y")
    assert gate.send(answer).reason == Reason.PASS_UNFAIR, "both directions go by who opened the flow"
    while gate.shown() is not None:
        pass
    assert gate.send(data).reason == Reason.PASS_SHOWN


SPORT = 14 + 20
"""Where the source port stands in a frame of TCP over IPv4."""


def test_shares_shrink_with_the_number_of_those_who_want_one(gate: Gate) -> None:
    """And however many there are, there is room for the next."""
    ring = gate.fastpath.rings.rings[0]
    room = ring.size // contract.SMALL_STRIDE
    syns = [p.wire(IP(src=others(of), dst=p.SERVER), p.tcp("S")) for of in range(8)]
    for count in (2, 4, 8):
        shown = [0] * (count + 1)
        for number in range(3 * room):
            of = number % count
            packet = syns[of][:SPORT] + (1024 + number).to_bytes(2, "big") + syns[of][SPORT + 2 :]
            shown[of] += gate.send(packet).reason == Reason.PASS_SHOWN
        late = IP(src=others(99), dst=p.SERVER)
        assert gate.send(p.wire(late, p.tcp("S", sport=count))).reason == Reason.PASS_SHOWN
        assert max(shown[:count]) <= 1.3 * min(shown[:count]) + 2, "but for what came before there was little room"
        assert sum(shown) <= room * 7 // 8
        while gate.shown() is not None:
            pass


def test_what_was_missed_is_known_by_who_opened_the_flow(gate: Gate) -> None:
    room = gate.fastpath.rings.rings[0].size // contract.SMALL_STRIDE
    reasons = [gate.send(p.wire(p.IP4, p.tcp("S", sport=1024 + i))).reason for i in range(room)]
    missed = reasons.count(Reason.PASS_UNFAIR)
    assert gate.fastpath.missed() == {ip_address(p.CLIENT): missed}


def test_a_packet_is_in_the_name_of_who_opened_its_flow(gate: Gate) -> None:
    """IPv6 by its /64; and all packets of a flow have one tag."""
    answers = p.wire(p.IP4_BACK, p.reply("SA")), p.wire(p.IP6_BACK, p.reply("SA"))
    gate.send_all([p.SYN, answers[0], p.DATA, p.SYN6, answers[1]])
    batch = gate.shown()
    assert batch is not None
    assert batch.holder is not None
    assert batch.tag is not None
    holders = [str(IPv6Address(row.tobytes()).ipv4_mapped or IPv6Address(row.tobytes())) for row in batch.holder]
    network = str(ip_network(f"{p.CLIENT6}/64", strict=False).network_address)
    assert holders == [p.CLIENT] * 3 + [network] * 2
    assert len(set(batch.tag[:3].tolist())) == len(set(batch.tag[3:].tolist())) == 1
    assert batch.tag[0] != batch.tag[4]


def crowd(gate: Gate, send: Callable[[bytes], object]) -> None:
    """Fill the large ring to three quarters, and by one record more, with the beginnings of flows."""
    ring = gate.fastpath.rings.rings[1]
    ports = iter(range(1024, 2048))
    while ring.backlog_bytes <= ring.size * 3 // 4:
        send(udp(700, src=others(next(ports))))


def test_long_flows_give_way_to_beginnings_while_a_ring_is_nearly_full(gate: Gate) -> None:
    gate.fastpath.config["depth_tcp"] = 1 << 20
    gate.fastpath.config["thin_after_bytes"] = 1199
    long = p.wire(p.IP4, p.tcp("A"), bytes(600))
    assert gate.send_all([long, long]) == [Reason.PASS_SHOWN] * 2
    flow = gate.flow()
    crowd(gate, gate.send)
    thinned = Verdict(XDP_PASS, Reason.PASS_THINNED)
    assert gate.send(long) == replace(thinned, notes=frozenset({Reason.NOTE_CUT_THINNED}))
    assert gate.send(long) == thinned, "noted once"
    shown = {
        "a new flow": udp(700, 9999),
        "the flow's other side": p.wire(p.IP4_BACK, p.reply("A"), bytes(600)),
        "the flow's end": p.wire(p.IP4, p.tcp("FA"), bytes(600)),
        "what goes into the other ring": p.wire(p.IP4, p.tcp("A"), b"short"),
    }
    assert {what: gate.send(packet).reason for what, packet in shown.items()} == dict.fromkeys(shown, Reason.PASS_SHOWN)
    while gate.shown() is not None:
        pass
    assert gate.send(long).reason == Reason.PASS_SHOWN, "once there is room again"
    after = tcp_flow(gate)
    assert after["cut"] == Cut.THINNED
    assert after["shown"].sum() == flow["shown"].sum() + 600 + 600 + 5 + 600, "what gave way was not shown"


def test_a_flow_of_which_less_was_shown_does_not_give_way(gate: Gate) -> None:
    gate.fastpath.config["depth_tcp"] = 1 << 20
    gate.fastpath.config["thin_after_bytes"] = 1200
    long = p.wire(p.IP4, p.tcp("A"), bytes(600))
    gate.send_all([long, long])
    crowd(gate, gate.send)
    assert gate.send_all([long, long]) == [Reason.PASS_SHOWN, Reason.PASS_THINNED], "more than 1200, not from 1200 on"


def test_a_ring_is_nearly_full_at_three_quarters_of_its_own_size(gate: Gate) -> None:
    gate.fastpath.configure(settings(gate.fastpath.settings.pin_dir, ring_small_bytes=1 << 12, thin_after_bytes=7))
    config = gate.fastpath.config[0]
    assert (config["thin_small_bytes"], config["thin_large_bytes"]) == ((1 << 18) * 3 // 4, (1 << 20) * 3 // 4)
    assert config["thin_after_bytes"] == 7


def test_reading_goes_on_around_the_end_of_the_ring(gate: Gate) -> None:
    for round_number in range(5):
        ports = range(1024, 1324)
        for port in ports:
            gate.send(p.wire(p.IP4, p.tcp("S", sport=port, seq=round_number)))
        batch = gate.shown()
        assert batch is not None
        seen = [int.from_bytes(frame[34:36], "big") for frame in frames(batch)]
        assert seen == list(ports)


def test_waiting_ends_without_packets(gate: Gate) -> None:
    started = time.monotonic()
    assert gate.fastpath.rings.poll(0.05) is None
    assert time.monotonic() - started < 60
