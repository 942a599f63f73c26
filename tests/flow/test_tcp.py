"""Handshake, RST and FIN: what both hosts agreed on counts, and nothing else."""

from __future__ import annotations

import pytest

from ids.flow.notes import Note
from ids.types import Direction, FlowState
from tests.flow.traffic import ACK, FIN, PSH, RST, SYN, URG, Pkt, Run, Talk

CLIENT, SERVER = Direction


def test_the_handshake_establishes() -> None:
    talk = Talk().add(False, SYN).add(True, SYN | ACK)
    assert Run(talk.pkts).started[0].state is FlowState.NEW
    assert Run(talk.add(False, ACK).pkts).started[0].state is FlowState.ESTABLISHED


def test_without_a_handshake_there_are_flow_records_only() -> None:
    talk = Talk().client(b"x").server(b"y")
    run = Run(talk.pkts)
    assert run.chunks == []
    assert run.started[0].midstream
    assert run.started[0].packets == (1, 1)
    assert run.counters["flow.tcp.midstream_ignored"] == 1


@pytest.mark.parametrize("batch", [1, 100])
def test_midstream_pick_up(batch: int) -> None:
    run = Run(Talk().client(b"x").server(b"y").client(b"z").pkts, batch=batch, midstream=True)
    assert (run.stream(CLIENT), run.stream(SERVER)) == (b"xz", b"y")
    assert run.started[0].midstream


def test_a_syn_starts_over_what_was_picked_up_in_the_middle() -> None:
    run = Run(Talk().client(b"decoy").pkts + Talk(client_isn=70).open().client(b"real").pkts)
    assert run.stream(flow=run.started[1]) == b"real"


def test_the_syn_that_the_server_acknowledges_counts() -> None:
    decoy, real = Talk(client_isn=77).add(False, SYN), Talk(client_isn=1000)
    for order in ([*decoy.pkts, Pkt(flags=SYN, seq=1000)], [Pkt(flags=SYN, seq=1000), *decoy.pkts]):
        real = Talk(client_isn=1000).open().client(b"real")
        run = Run(order + real.pkts[1:])
        assert run.stream() == b"real"
        assert len(run.started) == 1


def test_the_syn_ack_that_the_client_acknowledges_counts() -> None:
    real = Talk().open().client(b"hi").server(b"there")
    forged = Pkt(back=True, flags=SYN | ACK, seq=123456, ack=1001)
    run = Run([*real.pkts[:1], forged, *real.pkts[1:]])
    assert (run.stream(CLIENT), run.stream(SERVER)) == (b"hi", b"there")


def test_a_syn_ack_that_acknowledges_nothing_is_ignored() -> None:
    real = Talk().open().client(b"hi")
    forged = Pkt(back=True, flags=SYN | ACK, seq=123456, ack=4)
    run = Run([*real.pkts[:1], forged, *real.pkts[1:]])
    assert run.stream() == b"hi"
    assert run.counters["flow.tcp.synack_bad_ack"] == 1


def test_lost_syn_ack() -> None:
    real = Talk().open().client(b"hi").server(b"there")
    del real.pkts[1]
    run = Run(real.pkts)
    assert (run.stream(CLIENT), run.stream(SERVER)) == (b"hi", b"there")


def test_lost_third_packet() -> None:
    real = Talk().open().server(b"banner").client(b"hi")
    del real.pkts[2]
    run = Run(real.pkts)
    assert (run.stream(CLIENT), run.stream(SERVER)) == (b"hi", b"banner")


def test_lost_syn_is_midstream() -> None:
    real = Talk().open().client(b"hi")
    run = Run(real.pkts[1:])
    assert run.chunks == []
    assert run.started[0].src_ip == "192.0.2.1"


def test_data_before_the_handshake_is_complete_waits() -> None:
    real = Talk().open().client(b"early")
    early = real.pkts.pop()
    run = Run([real.pkts[0], early, *real.pkts[1:]])
    assert run.stream() == b"early"


@pytest.mark.parametrize("ack", [5000, 5002, 5001 + 65536, 5001 - 65536])
def test_an_acknowledgement_of_what_the_server_never_sent_completes_no_handshake(ack: int) -> None:
    """Its sender guesses: he has not seen the SYN/ACK."""
    run = Run(Talk().add(False, SYN).add(True, SYN | ACK).client(b"forged", ack=ack).pkts)
    assert run.chunks == []
    assert run.started[0].state is FlowState.NEW


def test_the_client_may_acknowledge_what_the_server_sent_with_its_syn_ack() -> None:
    talk = Talk().add(False, SYN).add(True, SYN | ACK, b"banner").client(b"hi", ack=5004).client(b"!", ack=5007)
    run = Run(talk.pkts)
    assert (run.stream(CLIENT), run.stream(SERVER)) == (b"hi!", b"banner")


@pytest.mark.parametrize("synack", [True, False], ids=["synack-seen", "synack-lost"])
def test_a_bare_ack_of_the_server_completes_no_handshake(synack: bool) -> None:
    """A server answers a forged segment out of its window with one, before any handshake is complete."""
    forged = Talk().add(False, SYN).add(True, SYN | ACK).client(b"x", seq=0x40000000, ack=77).add(True, ACK)
    if not synack:
        del forged.pkts[1]
    assert Run(forged.pkts).started[0].state is FlowState.NEW


def test_after_a_rst_no_acknowledgement_of_the_client_completes_the_handshake() -> None:
    """A host whose address was forged answers the SYN/ACK with a RST; who forged it may go on guessing."""
    talk = Talk().add(False, SYN).add(True, SYN | ACK).add(False, RST).client(b"forged")
    run = Run(talk.pkts)
    assert run.chunks == []
    assert run.started[0].state is FlowState.CLOSED


def test_a_server_that_goes_on_after_a_rst_shows_that_it_ignored_it() -> None:
    talk = Talk().add(False, SYN).add(True, SYN | ACK).add(False, RST).add(False, ACK).client(b"evil")
    assert Run(talk.add(True, ACK).pkts).stream() == b"evil"
    again = Talk().add(False, SYN).add(True, SYN | ACK).add(False, RST).add(True, SYN | ACK, seq=5000)
    assert Run(again.client(b"evil", ack=5001).pkts).stream() == b"evil"


@pytest.mark.parametrize("batch", [1, 100])
def test_a_flow_that_is_reset_before_its_handshake_is_complete_shows_none(batch: int) -> None:
    by_client, by_server = Talk().add(False, SYN).add(False, RST), Talk().add(False, SYN).add(True, RST | ACK, seq=0)
    half_open = Talk().add(False, SYN).add(True, SYN | ACK).add(False, RST)
    for talk in (by_client, by_server, half_open):
        (flow,) = Run(talk.pkts, batch=batch).started
        assert (flow.state, flow.midstream) == (FlowState.CLOSED, True)
    (flow,) = Run(Talk().open().client(b"x").add(False, RST).pkts, batch=batch).started
    assert (flow.state, flow.midstream) == (FlowState.CLOSED, False)
    decoy = Talk().open().client(b"on")
    (flow,) = Run([decoy.pkts[0], Pkt(flags=RST, seq=1001), *decoy.pkts[1:]], batch=batch).started
    assert (flow.state, flow.midstream) == (FlowState.ESTABLISHED, False)


def test_data_that_no_server_ever_answers_is_counted() -> None:
    run = Run([Pkt(flags=SYN, seq=1000), Pkt(seq=1001, data=b"shout")])
    assert run.chunks == []
    assert run.counters["flow.tcp.reassembly.unestablished_bytes"] == 5


def test_early_data_is_bounded() -> None:
    run = Run([Pkt(flags=SYN, seq=1000), *[Pkt(seq=1001, data=b"x") for _ in range(100)]])
    assert run.counters["flow.tcp.reassembly.early_dropped"] == 36


def early_of(sport: int, size: int) -> list[Pkt]:
    return [Pkt(flags=SYN, seq=1000, sport=sport), Pkt(seq=1001, data=b"x" * size, sport=sport)]


def test_early_data_is_charged_and_takes_no_more_than_half_of_the_memory_there_is() -> None:
    pkts = [pkt for sport in range(1, 20) for pkt in early_of(sport, 1000)]
    run = Run(pkts, drain=False, memcap_bytes=10_000)
    assert run.counters["flow.tcp.reassembly.early_memcap"] == 16
    assert 3000 < run.counters["flow.tcp.reassembly.memuse_bytes"] <= 5000
    run.take(run.table.drain())
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_early_segments_of_no_size_are_not_free() -> None:
    run = Run([Pkt(flags=SYN, seq=1000), *[Pkt(seq=1001, data=b"x") for _ in range(20)]], drain=False)
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] > 20 * 500


@pytest.mark.parametrize("lost", [False, True], ids=["synack-seen", "synack-lost"])
def test_early_data_that_is_handed_on_is_not_charged_any_more(lost: bool) -> None:
    real = Talk().add(False, SYN, b"fast").client(b"early", ack=5001).add(True, SYN | ACK, ack=1005)
    real = real.client(b"", seq=1010).server(b"ok", ack=1010)
    if lost:
        del real.pkts[2:4]
    run = Run(real.pkts, drain=False, verify_bytes=0)
    assert run.stream() == b"fastearly"
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_syn_data_is_charged_whichever_way_it_goes() -> None:
    offers = [Pkt(flags=SYN, seq=seq, data=b"x" * 100) for seq in range(0, 6000, 1000)]
    run = Run(offers, drain=False)
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 400
    within = Talk().open().add(False, SYN, b"y" * 50, seq=70_000).add(False, SYN, b"z" * 60, seq=90_000)
    run = Run(within.pkts, drain=False)
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 60
    run.take(run.table.drain())
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_syn_data_that_there_was_no_memory_for_is_a_gap() -> None:
    talk = Talk().add(False, SYN, b"f" * 200).add(True, SYN | ACK).add(False, ACK).client(b"open").server(b"")
    run = Run(talk.pkts, memcap_bytes=300)
    assert run.stream() == b"~" * 200 + b"open"
    assert run.counters["flow.tcp.reassembly.early_memcap"] == 1


def test_data_on_the_syn_counts_when_acknowledged() -> None:
    talk = Talk().add(False, SYN, b"fast").add(True, SYN | ACK).add(False, ACK).client(b"open")
    assert Run(talk.pkts).stream() == b"fastopen"


def test_data_on_the_syn_does_not_count_when_not_acknowledged() -> None:
    talk = Talk().add(False, SYN, b"fast").add(True, SYN | ACK, ack=1001).add(False, ACK, seq=1001, ack=5001)
    assert Run(talk.client(b"slow", seq=1001).pkts).stream() == b"slow"


def test_segments_without_ack_flag_are_ignored() -> None:
    run = Run(Talk().open().add(False, PSH, b"none", seq=1001).client(b"real").pkts)
    assert run.stream() == b"real"
    assert run.counters["flow.tcp.no_ack_flag"] == 1


def test_a_credible_rst_closes() -> None:
    run = Run(Talk().open().client(b"x").add(False, RST).pkts)
    assert run.started[0].state is FlowState.CLOSED


def test_a_forged_rst_does_not() -> None:
    talk = Talk().open().add(False, RST, seq=4711).client(b"on")
    run = Run(talk.pkts)
    assert run.started[0].state is FlowState.ESTABLISHED
    assert run.stream() == b"on"
    assert run.counters["flow.tcp.rst_invalid"] == 1


def test_data_that_goes_on_after_a_rst_is_still_seen() -> None:
    run = Run(Talk().open().add(False, RST).client(b"on").pkts)
    assert run.stream() == b"on"
    assert run.counters["flow.tcp.rst_ignored_by_host"] == 1
    assert run.started[0].state is FlowState.ESTABLISHED
    assert [(note, side) for note, side, _ in run.notes] == [(Note.RESET_IGNORED, Direction.TO_SERVER)]


def test_data_that_was_under_way_when_the_other_side_reset_is_nothing_to_note() -> None:
    assert Run(Talk().open().add(True, RST, seq=5001).client(b"on").pkts).notes == []


@pytest.mark.parametrize(
    ("from_server", "seq", "note"),
    [(False, 1000, Note.SYN_AGAIN), (False, 77_777, Note.OTHER_SYN), (True, 5000, Note.SYN_OF_SERVER)],
)
def test_a_syn_within_the_connection_is_noted(from_server: bool, seq: int, note: Note) -> None:
    """By the names and in the cases that Suricata has for it."""
    run = Run(Talk().open().client(b"x").add(from_server, SYN, seq=seq).client(b"y").pkts)
    assert [(one, side) for one, side, _ in run.notes] == [(note, Direction(from_server))]


def test_refused_connection() -> None:
    refused = Talk().add(False, SYN).add(True, RST | ACK, seq=0)
    run = Run(refused.pkts + Talk(client_isn=8).open().client(b"ok").pkts)
    assert [flow.state for flow in run.started] == [FlowState.CLOSED, FlowState.ESTABLISHED]
    assert run.stream(flow=run.started[1]) == b"ok"


def test_decoy_rst_and_syn_do_not_hide_the_connection() -> None:
    talk = Talk().open().add(False, RST).add(False, SYN, seq=999_999).client(b"evil")
    run = Run(talk.pkts)
    assert run.stream() == b"evil"
    assert len(run.started) == 1


def test_decoy_rst_and_syn_during_the_handshake() -> None:
    real = Talk().open().client(b"evil")
    decoys = [Pkt(flags=RST, seq=1001), Pkt(flags=SYN, seq=77)]
    run = Run([real.pkts[0], *decoys, *real.pkts[1:]])
    assert run.stream() == b"evil"


@pytest.mark.parametrize("batch", [1, 100])
def test_a_new_connection_on_the_same_ports_that_the_server_accepts(batch: int) -> None:
    again = Talk(client_isn=777_000, server_isn=999).open().client(b"new")
    run = Run(Talk().open().client(b"old").pkts + again.pkts, batch=batch)
    assert [run.stream(flow=flow) for flow in run.started] == [b"old", b"new"]
    assert [flow.packets for flow in run.started] == [(4, 1), (2, 1)]
    assert run.ended[0].reason == "tcp_reuse"


def test_the_other_side_opens_a_connection_on_the_same_ports() -> None:
    again = Talk(base=Pkt(src="203.0.113.1", dst="192.0.2.1", sport=80, dport=40000)).open().client(b"back")
    run = Run(Talk().add(False, SYN).pkts + again.pkts)
    assert run.started[1].src_ip == "203.0.113.1"
    assert run.stream(flow=run.started[1]) == b"back"


def test_both_fins_acknowledged_close() -> None:
    talk = Talk().open().add(False, FIN | ACK).add(True, ACK).server(b"tail").add(True, FIN | ACK)
    assert Run(talk.pkts).started[0].state is FlowState.ESTABLISHED
    run = Run(talk.add(False, ACK).pkts, drain=False)
    assert run.started[0].state is FlowState.CLOSED
    assert run.stream(SERVER) == b"tail"
    assert sorted((c.direction, c.closed) for c in run.chunks if c.closed) == [(0, True), (1, True)]


def test_urgent_data_is_counted() -> None:
    run = Run(Talk().open().add(False, ACK | URG, b"!").pkts)
    assert run.stream() == b"!"
    assert run.counters["flow.tcp.urgent"] == 1


@pytest.mark.parametrize(("client", "server"), [(54186, 9080), (38498, 8443), (40000, 80), (2000, 443), (33000, 1024)])
def test_of_a_connection_picked_up_at_an_answer_the_lower_port_is_the_servers(client: int, server: int) -> None:
    """Though it is nobody's by right: systems take the ports of their clients from 32768 on."""
    talk = Talk(base=Pkt(sport=client, dport=server)).server(b"answer").client(b"asked")
    run = Run(talk.pkts, midstream=True)
    assert (run.stream(CLIENT), run.stream(SERVER)) == (b"asked", b"answer")
