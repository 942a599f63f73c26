"""Captured frames become what the program would have met on the wire."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.kernel.contract import Reason
from ids.kernel.offline import OfflineModel
from ids.kernel.settings import FastPathSettings
from ids.replay.frames import MAX_FRAME, ethernet_frames, sources
from ids.types import PacketBatch, address_halves
from tests.factory import T0
from tests.kernel import packets as p
from tests.replay.batches import batch_of


def frames_of(batch: PacketBatch) -> list[bytes]:
    """Return the frames that a batch becomes."""
    frames = ethernet_frames(batch, 0, len(batch))
    pairs = zip(frames.offset.tolist(), frames.length.tolist(), strict=True)
    return [frames.data[offset : offset + length].tobytes() for offset, length in pairs]


def reasons_of(batch: PacketBatch) -> list[int]:
    """Return what the fast path makes of a batch."""
    model = OfflineModel(FastPathSettings())
    return [answer >> 8 for answer in model.run(ethernet_frames(batch, 0, len(batch)), batch.ts_ns)]


def test_ethernet_stays_where_and_what_it_is() -> None:
    batch = batch_of([p.SYN, p.DATA6])
    assert frames_of(batch) == [p.SYN, p.DATA6]
    assert np.shares_memory(ethernet_frames(batch, 0, 2).data, batch.data)


IP4, IP6 = p.SYN[14:], p.DATA6[14:]


@pytest.mark.parametrize(
    ("linktype", "packet"),
    [
        (101, IP4),
        (101, IP6),
        (228, IP4),
        (229, IP6),
        (0, b"\2\0\0\0" + IP4),
        (108, b"\0\0\0\x1e" + IP6),
        (113, bytes(14) + b"\x08\x00" + IP4),
        (276, b"\x86\xdd" + bytes(18) + IP6),
    ],
)
def test_other_link_types_get_an_ethernet_header(linktype: int, packet: bytes) -> None:
    (frame,) = frames_of(batch_of([packet], linktype=linktype))
    assert frame[14:] == (IP6 if IP6 in packet else IP4)
    assert reasons_of(batch_of([packet], linktype=linktype)) == [Reason.PASS_SHOWN]


def test_an_unknown_link_type_is_not_ip() -> None:
    assert reasons_of(batch_of([IP4], linktype=147)) == [Reason.PASS_NOT_IP]


def test_a_snap_length_makes_no_malformed_packet() -> None:
    packet = p.wire(p.IP4, p.tcp("A"), b"x" * 1000)
    whole, cut = frames_of(batch_of([packet, packet[:68]], wirelen=[len(packet), len(packet)]))
    assert (whole, cut) == (packet, packet[:68] + bytes(len(packet) - 68))
    cut_off = batch_of([packet[:68], packet[:20], packet[:9]], wirelen=[len(packet), len(packet), 13])
    assert reasons_of(cut_off)[0] == Reason.PASS_SHOWN
    assert reasons_of(cut_off)[2] == Reason.DROP_ETH_SHORT


def test_the_length_on_the_wire_is_not_taken_at_its_word() -> None:
    (frame,) = frames_of(batch_of([p.SYN], wirelen=[1 << 31]))
    assert len(frame) == MAX_FRAME
    (frame,) = frames_of(batch_of([bytes(200_000)]))
    assert len(frame) == MAX_FRAME


def test_sources_are_the_outermost_addresses() -> None:
    found = sources(ethernet_frames(batch_of([p.SYN, p.QINQ, p.DATA6, p.ARP_REQUEST, p.SYN[:30]]), 0, 5))
    client, client6 = address_halves(p.CLIENT), address_halves(p.CLIENT6)
    assert [tuple(row) for row in found.tolist()] == [client, client, client6, (0, 0), (0, 0)]


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=80),
            st.integers(0, 3000),
            st.sampled_from([0, 1, 9, 12, 50, 101, 104, 108, 113, 147, 228, 229, 276]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_no_capture_is_too_strange(rows: list[tuple[bytes, int, int]]) -> None:
    batch = batch_of([frame for frame, _, _ in rows], wirelen=[len(frame) + more for frame, more, _ in rows])
    batch.linktype[:] = [linktype for _, _, linktype in rows]
    assert len(reasons_of(batch)) == len(rows)
    assert all(reason in Reason for reason in map(Reason, reasons_of(batch)))
    assert batch.ts_ns[0] > T0
