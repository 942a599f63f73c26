"""What the program shows arrives as batches: every byte, in order, and what had no room is counted."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP

from ids.kernel import contract
from ids.kernel.contract import Reason
from ids.types import PacketBatch
from tests.kernel import packets as p
from tests.kernel.gate import Gate

pytestmark = [pytest.mark.root, pytest.mark.xdp]


def frames(batch: PacketBatch) -> list[bytes]:
    """Return the captured bytes of each packet."""
    return [
        batch.data[offset : offset + length].tobytes()
        for offset, length in zip(batch.offset.tolist(), batch.caplen.tolist(), strict=True)
    ]


def udp(size: int, sport: int = 1) -> bytes:
    """Return a frame of exactly ``size`` bytes."""
    return p.wire(IP(src=p.CLIENT, dst=p.SERVER), UDP(sport=sport, dport=2), bytes(size - 42))


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


def test_times_are_unix_times(gate: Gate) -> None:
    from ids.kernel import syscall

    gate.fastpath.config["now_ns"] = 0
    syscall.prog_test_run(gate.fastpath.program, p.SYN)
    batch = gate.shown()
    assert batch is not None
    assert abs(int(batch.ts_ns[0]) - time.time_ns()) < 5 * 10**9


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
    room = gate.fastpath.maps["ids_small"].spec.max_entries // contract.SMALL_STRIDE
    reasons = [gate.send(p.wire(p.IP4, p.tcp("S", sport=1024 + i))).reason for i in range(room + 5)]
    full = reasons.count(Reason.PASS_RING_FULL)
    assert reasons == [Reason.PASS_SHOWN] * (room + 5 - full) + [Reason.PASS_RING_FULL] * full
    assert 5 <= full <= 6
    batch = gate.shown()
    assert batch is not None
    assert len(batch) == room + 5 - full
    assert gate.send(p.SYN).reason == Reason.PASS_SHOWN


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
    assert time.monotonic() - started < 5
