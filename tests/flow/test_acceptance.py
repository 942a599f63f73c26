"""What hosts ignore is put aside; it is taken when they show that they did not ignore it."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import pytest

from ids.flow.half import Half
from ids.flow.notes import Note
from tests.factory import T0
from tests.flow.traffic import ACK, PSH, SECOND, SYN, Pkt, Run, Talk


def stamped(value: int) -> bytes:
    return b"\x01\x01\x08\x0a" + value.to_bytes(4, "big") + bytes(4)


SIGNED = b"\x01\x01\x13\x12" + bytes(16)
AUTHENTICATED = b"\x1d\x10" + bytes(14)


def opened(**of_syns: Any) -> Talk:
    return Talk().add(False, SYN, **of_syns).add(True, SYN | ACK, **of_syns).add(False, ACK)


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize(
    ("ack", "noted"),
    [
        (5001 + 1, Note.UNSEEN_ACK), (5001 + 4096, Note.UNSEEN_ACK), (5001 - 70_000, Note.BAD_ACK),
        (0x90000000, Note.BAD_ACK),
    ],
)  # fmt: skip
def test_data_that_acknowledges_what_was_not_sent_or_long_before_is_put_aside(
    ack: int, noted: Note, batch: int
) -> None:
    """As Suricata has it, an acknowledgement is invalid beyond the window; what lies in it we may have missed."""
    talk = opened().client(b"decoy", seq=1001, ack=ack).client(b"real!").server(b"")
    run = Run(talk.pkts, batch=batch)
    assert run.stream() == b"real!"
    assert run.variants == []
    assert run.counters["flow.tcp.bad_ack"] == 1
    assert [note for note, _, _ in run.notes if note is not Note.EST_ACK] == [noted]
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_an_old_acknowledgement_within_the_window_is_good() -> None:
    talk = opened().server(b"x" * 1000).add(False, ACK).client(b"late", ack=5001)
    assert Run(talk.pkts).stream() == b"late"


@pytest.mark.parametrize("batch", [1, 100])
def test_what_was_put_aside_is_taken_when_the_receiver_acknowledges_it(batch: int) -> None:
    talk = opened().client(b"GET /", ack=5101).client(b"evil", ack=5101).server(b"")
    run = Run(talk.pkts, batch=batch, drain=False)
    assert run.stream() == b"GET /evil"
    assert run.counters["flow.tcp.reassembly.aside_taken"] == 2


def test_what_was_put_aside_is_not_taken_by_an_acknowledgement_of_less() -> None:
    talk = opened().client(b"decoy", ack=5101).add(True, ACK, ack=1003)
    assert Run(talk.pkts, drain=False).stream() == b""


def test_what_is_put_aside_is_bounded() -> None:
    talk = opened()
    for at in range(100):
        talk.client(b"%03d" % at, seq=1001, ack=9999)
    run = Run(talk.pkts, drain=False)
    assert run.counters["flow.tcp.reassembly.aside_dropped"] == 84
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 48


def test_a_third_party_that_guesses_acknowledgements_gets_nothing_in() -> None:
    """Its data counts where one of its guesses is exact, as for the host; not within 65,536."""
    talk = opened().server(b"x" * 100).add(False, ACK)
    for guess in range(0, 1 << 32, 1 << 25):
        talk.client(b"forged", seq=1001, ack=(5102 + 70_000 + guess) & 0xFFFFFFFF)
    run = Run(talk.pkts)
    assert run.stream() == b""
    assert run.variants == []


def test_where_one_side_is_not_seen_its_numbers_are_those_that_the_other_acknowledged() -> None:
    talk = Talk().client(b"one", ack=5001).client(b"two", ack=6001).client(b"three", ack=7001)
    talk.client(b"forged", ack=0x90000000)
    talk.sent[0] -= 6
    run = Run(talk.client(b"four", ack=7001).pkts, midstream=True)
    assert run.stream() == b"onetwothreefour"


@pytest.mark.parametrize("batch", [1, 100])
def test_an_old_timestamp(batch: int) -> None:
    talk = opened().client(b"a", options=stamped(1000)).add(True, ACK, options=stamped(77))
    talk.client(b"decoy", seq=1002, options=stamped(990)).client(b"real!", seq=1002, options=stamped(1001))
    run = Run(talk.pkts, batch=batch)
    assert run.stream() == b"areal!"
    assert run.versions() == {b"adecoy"}
    assert run.counters["flow.tcp.old_timestamp"] == 1
    assert [note for note, _, _ in run.notes] == [Note.OLD_TIMESTAMP]


def test_timestamps_that_wrap_or_are_one_older_are_good() -> None:
    talk = opened().client(b"a", options=stamped(0xFFFFFFFF)).server(b"b", options=stamped(77))
    talk.client(b"b", options=stamped(3)).client(b"c", options=stamped(2)).client(b"d")
    assert Run(talk.pkts).stream() == b"abcd"


def test_a_decoy_with_a_clock_far_ahead_does_not_keep_the_rest_out() -> None:
    talk = opened().client(b"a", options=stamped(1000)).server(b"b", options=stamped(77))
    talk.client(b"decoy", seq=1002, options=stamped(1_000_000)).client(b"real!", seq=1002, options=stamped(1001))
    talk.sent[0] = 1007
    run = Run(talk.server(b"").client(b" on", options=stamped(1002)).server(b"").pkts, drain=False)
    assert {run.stream(), *run.versions()} >= {b"adecoy on", b"areal! on"}


@pytest.mark.parametrize("option", [SIGNED, AUTHENTICATED])
@pytest.mark.parametrize("batch", [1, 100])
def test_a_signature_where_the_handshake_had_none(option: bytes, batch: int) -> None:
    talk = opened().client(b"decoy", seq=1001, options=option).client(b"real!", seq=1001)
    run = Run(talk.pkts, batch=batch)
    assert run.stream() == b"real!"
    assert run.versions() == {b"decoy"}
    assert run.counters["flow.tcp.unexpected_signature"] == 1
    signed = opened(options=option).client(b"signed", options=option)
    for size in (1, batch):
        assert Run(signed.pkts, batch=size).stream() == b"signed"


def test_beyond_the_offered_window() -> None:
    scale = b"\x03\x03\x02\x00"
    for batch in (1, 100):
        for at, beyond in ((101, 1), (100, 0)):
            talk = opened(options=scale, window=25).add(True, ACK, window=25, ack=1001).client(b"far", seq=1001 + at)
            run = Run(talk.client(b"near", seq=1001).pkts, batch=batch, drain=False)
            assert run.counters["flow.tcp.beyond_window"] == beyond
            assert run.stream() == b"near"
    unscaled = opened(window=25).add(True, ACK, window=25, ack=1001).client(b"far", seq=1001 + 26)
    assert Run(unscaled.pkts, batch=1, drain=False).counters["flow.tcp.beyond_window"] == 1


# Idle.


@pytest.mark.parametrize("pause_s", [601, 4 * 24 * 3600])
def test_an_established_flow_goes_on_after_a_long_pause(pause_s: int) -> None:
    talk = Talk().open().client(b"GET /")
    talk.add(False, ACK | PSH, b"evil", ts_ns=T0 + pause_s * SECOND)
    for batch in (1, 100):
        run = Run(talk.pkts, batch=batch)
        assert run.stream() == b"GET /evil"


def test_a_flow_whose_host_ignored_a_rst_goes_on_long_after_it() -> None:
    talk = Talk().open().client(b"GET /").add(False, 4)
    talk.add(False, ACK | PSH, b"evil", ts_ns=T0 + 3600 * SECOND)
    assert Run(talk.pkts, batch=1).stream() == b"GET /evil"


def test_a_refused_or_scanned_port_is_forgotten_soon() -> None:
    refused = Talk().add(False, SYN).add(True, 4 | ACK, seq=0)
    scanned = Talk(base=Pkt(sport=7)).add(False, SYN).add(True, SYN | ACK).add(False, 4)
    run = Run([*refused.pkts, *scanned.pkts, Pkt(proto=17, ts_ns=T0 + 62 * SECOND)], batch=1, drain=False)
    assert {flow.reason for flow in run.ended} == {"timeout"}
    assert len(run.ended) == 2


# Depth.


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_depth_begins_anew_when_the_other_side_has_spoken(batch: int) -> None:
    talk = Talk().open().client(b"a" * 10).client(b"b" * 10).server(b"s" * 30).client(b"c" * 30).server(b"t" * 5)
    run = Run(talk.pkts, batch=batch, depth_bytes=15)
    assert run.stream() == b"a" * 10 + b"b" * 5 + b"~" * 5 + b"c" * 15
    assert run.counters["flow.tcp.reassembly.depth_bytes"] == 5 + 15 + 15


@pytest.mark.parametrize("batch", [1, 100])
def test_what_linux_drops_with_its_packet_is_read_in_a_variant_and_changes_nothing(batch: int) -> None:
    decoy: dict[str, Any] = {"doubtful": True, "usable": False}
    talk = opened().client(b"GET /").client(b"decoy", seq=1006, **decoy).client(b" real", seq=1006)
    run = Run([replace(talk.pkts[0], **decoy), *talk.pkts], batch=batch)
    assert run.stream() == b"GET / real"
    assert run.versions() == {b"GET /decoy"}
    assert len(run.started) == 1
    assert Run([replace(pkt, **decoy) for pkt in talk.pkts], batch=batch).started == []


@pytest.mark.parametrize("batch", [1, 100])
def test_what_linux_drops_is_taken_where_its_receiver_acknowledges_it(batch: int) -> None:
    """Then that host is of another kind: it has it, and the connection goes on behind it."""
    doubtful: dict[str, Any] = {"doubtful": True, "usable": False}
    talk = opened().client(b"GET /", **doubtful).server(b"answer").client(b"more")
    run = Run(talk.pkts, batch=batch)
    assert run.stream() == b"GET /more"
    assert run.counters["flow.tcp.reassembly.gap_bytes"] == 0


@pytest.mark.parametrize("batch", [1, 100])
def test_data_whose_acknowledgement_was_seen_too_early_is_taken_when_it_shows_true(batch: int) -> None:
    talk = opened().server(b"answer")
    late = talk.pkts.pop()
    talk.client(b"thanks", ack=5007)
    assert Run([*talk.pkts, late], batch=batch, drain=False).stream() == b"thanks"
    assert Run([*talk.pkts, replace(late, data=b"ans")], batch=batch, drain=False).stream() == b""


def test_a_capture_that_lacks_what_was_acknowledged_loses_no_more_than_that() -> None:
    talk = opened().client(b"GET").server(b"lost").server(b"answer")
    del talk.pkts[4]
    run = Run(talk.client(b"more").server(b"!", ack=1008).pkts)
    assert run.stream() == b"GETmore"


def test_a_connection_that_ends_leaves_nothing_to_the_collector() -> None:
    """Which seldom looks: what a disorderly connection held back would stay for minutes."""
    gc.collect()
    before = sum(isinstance(one, Half) for one in gc.get_objects())
    gc.disable()
    try:
        Run(opened().client(b"behind a hole", seq=1101).server(b"answer").pkts)
        assert sum(isinstance(one, Half) for one in gc.get_objects()) == before
    finally:
        gc.enable()
