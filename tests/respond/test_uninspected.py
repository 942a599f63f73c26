"""What went uninspected, read off the counters."""

from __future__ import annotations

from ids.respond.uninspected import REASONS, flat, uninspected

KERNEL = {
    "kernel.pass.ring_full.packets": 12, "kernel.pass.ring_full.bytes": 3400,
    "kernel.note.flow_cut.ring_full.packets": 2,
    "kernel.pass.shown.packets": 99, "kernel.pass.depth.packets": 7, "kernel.pass.depth.bytes": 700,
}  # fmt: skip
MIDSTREAM = {"flow.tcp.midstream_ignored": 797, "flow.tcp.reassembly.midstream_bytes": 123_456}


def test_flows_packets_and_bytes_with_the_reason_and_what_to_set() -> None:
    (row,) = uninspected(MIDSTREAM, live=False)
    assert (row.reason, row.flows, row.packets, row.bytes) == ("midstream", 797, None, 123_456)
    assert str(row) == (
        "797 flows, 123,456 bytes: the beginning of their connections was not seen (stream.midstream: true)"
    )
    assert row.to_json()["remedy"] == "stream.midstream: true"


def test_losses_come_before_what_the_settings_leave_out() -> None:
    rows = uninspected({**MIDSTREAM, **KERNEL}, live=True)
    assert [(row.reason, row.intended) for row in rows] == [("ring_full", False), ("midstream", False), ("depth", True)]
    assert rows[0].amount == "2 flows, 12 packets, 3,400 bytes"


def test_a_replay_inspects_what_the_kernel_would_not_have_shown() -> None:
    assert uninspected(KERNEL, live=False) == []


def test_flows_without_a_byte_have_nothing_to_inspect() -> None:
    assert uninspected({"flow.tcp.midstream_ignored": 3}, live=True) == []
    assert [row.reason for row in uninspected({"flow.evicted.tcp.established": 1}, live=True)] == ["evicted"]


def test_every_reason_has_a_name_of_its_own_a_remedy_and_a_counter() -> None:
    assert len({reason.name for reason in REASONS}) == len(REASONS)
    assert all(reason.remedy and (reason.flows or reason.packets or reason.bytes) for reason in REASONS)


def test_a_tree_of_counters_is_flattened() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": 2}, "e": 3}) == {"a.b.c": 1, "a.d": 2, "e": 3}
