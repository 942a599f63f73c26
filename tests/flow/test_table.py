"""A batch of packets becomes flows and chunks."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from ids import memory
from ids.counters import Counters
from ids.flow import FlowSettings, FlowTable, keys, slots
from ids.flow.slots import GIVE_BACK_NS
from ids.types import I64, Bool, Direction, Flow, FlowBatch, FlowState, TcpState
from tests.factory import T0
from tests.flow.traffic import (
    ACK,
    CLIENT,
    FIN,
    ICMP,
    RST,
    SECOND,
    SERVER,
    SYN,
    TCP,
    UDP,
    Pkt,
    Run,
    Talk,
    columns,
    interleave,
)


def test_whole_conversation_in_one_batch() -> None:
    talk = Talk().open().client(b"hello ").client(b"world").server(b"fine").close()
    run = Run(talk.pkts, drain=False)
    (flow,) = run.started
    assert run.stream(Direction.TO_SERVER) == b"hello world"
    assert run.stream(Direction.TO_CLIENT) == b"fine"
    assert flow.state is FlowState.CLOSED
    assert flow.packets == (6, 3)
    assert [chunk.closed for chunk in run.chunks] == [True, True]
    assert [chunk.number for chunk in run.chunks] == [5, 6]


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("orderly_lane", [True, False])
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(False, SYN)], TcpState.SYN_SENT),
        ([(False, SYN), (True, SYN | ACK)], TcpState.SYN_RECV),
        ([], TcpState.ESTABLISHED),
        ([(False, FIN | ACK)], TcpState.CLOSE_WAIT),
        ([(False, FIN | ACK), (True, ACK)], TcpState.CLOSE_WAIT),
        ([(False, FIN | ACK), (True, FIN | ACK)], TcpState.LAST_ACK),
        ([(True, FIN | ACK)], TcpState.FIN_WAIT1),
        ([(True, FIN | ACK), (False, ACK)], TcpState.FIN_WAIT2),
        ([(True, FIN | ACK), (False, FIN | ACK)], TcpState.TIME_WAIT),
        ([(False, FIN | ACK), (True, FIN | ACK), (False, ACK)], TcpState.CLOSED),
        ([(True, FIN | ACK), (False, FIN | ACK), (True, ACK)], TcpState.CLOSED),
        ([(False, RST | ACK)], TcpState.CLOSED),
    ],
)
def test_an_ended_connection_says_how_far_it_had_come(
    said: list[tuple[bool, int]], expected: TcpState, orderly_lane: bool, batch: int
) -> None:
    opening = bool(said) and bool(said[0][1] & SYN)
    talk = Talk() if opening else Talk().open().client(b"hello").server(b"fine").client(b"")
    for back, flags in said:
        talk.add(back, flags)
    (flow,) = Run(talk.pkts, batch=batch, orderly_lane=orderly_lane).ended
    assert TcpState(int(flow.columns.tcp_state[flow.slot])) is expected


def test_one_packet_a_batch() -> None:
    talk = Talk().open().client(b"hello ").client(b"world").server(b"fine").close()
    assert Run(talk.pkts, batch=1).summary() == Run(talk.pkts).summary()


def test_chunks_come_in_turns_so_that_answers_follow_questions() -> None:
    talk = Talk().open().client(b"q1a ").client(b"q1b").server(b"a1").client(b"q2").server(b"a2")
    run = Run(talk.pkts, drain=False)
    assert [(chunk.direction, chunk.data) for chunk in run.chunks] == [
        (Direction.TO_SERVER, b"q1a q1b"),
        (Direction.TO_CLIENT, b"a1"),
        (Direction.TO_SERVER, b"q2"),
        (Direction.TO_CLIENT, b"a2"),
    ]
    assert [chunk.offset for chunk in run.chunks] == [0, 0, 7, 2]
    assert [chunk.number for chunk in run.chunks] == [5, 6, 7, 8]


def test_rows_map_to_flows_in_the_order_of_first_packets() -> None:
    pkts = [
        Pkt(proto=UDP, sport=9, dport=53),
        Pkt(usable=False),
        Pkt(flags=SYN, sport=2),
        Pkt(proto=UDP, back=True, sport=9, dport=53),
    ]
    run = Run(pkts, drain=False)
    (batch,) = run.batches
    assert [(flow.sport, flow.proto) for flow in views(batch, batch.touched)] == [(9, UDP), (2, TCP)]
    first, second = batch.touched.tolist()
    assert batch.slot.tolist() == [first, -1, second, first]
    assert batch.direction.tolist() == [0, 0, 0, 1]


def test_syn_ack_first_makes_its_receiver_the_client() -> None:
    run = Run([Pkt(back=True, flags=SYN | ACK, seq=5, ack=1)], drain=False)
    (flow,) = run.started
    assert (flow.src_ip, flow.dst_ip, flow.sport, flow.dport) == (CLIENT, SERVER, 40000, 80)
    assert flow.packets == (0, 1)
    assert flow.midstream


def test_same_ports_on_another_vlan_are_another_flow() -> None:
    run = Run([Pkt(proto=UDP), Pkt(proto=UDP, vlan=7), Pkt(proto=UDP, vlan=7 << 16 | 7)])
    assert len(run.started) == 3


def test_mapped_ipv6_addresses_are_not_ipv4() -> None:
    run = Run([Pkt(proto=UDP), Pkt(proto=UDP, src="::ffff:c000:201", dst="::ffff:cb00:7101")])
    assert [flow.ip_version for flow in run.started] == [4, 6]


def test_echo_and_its_reply_are_one_established_flow() -> None:
    echo = Pkt(proto=ICMP, sport=8, dport=0)
    reply = Pkt(proto=ICMP, src=SERVER, dst=CLIENT, sport=0, dport=0)
    run = Run([echo, reply, echo], drain=False)
    (flow,) = run.started
    assert (flow.sport, flow.dport, flow.packets, flow.state) == (8, 0, (2, 1), FlowState.ESTABLISHED)


def test_a_packet_from_and_to_the_same_endpoint() -> None:
    land = Pkt(flags=SYN, src=CLIENT, dst=CLIENT, sport=7, dport=7)
    run = Run([land, land])
    assert run.started[0].packets == (2, 0)


def test_empty_batches() -> None:
    assert Run([]).started == []
    run = Run([Pkt(usable=False)])
    assert run.batches[0].slot.tolist() == [-1]


def test_idle_flows_time_out_by_their_state() -> None:
    question = Pkt(proto=UDP, sport=1, ts_ns=T0)
    pkts = [
        question,
        Pkt(proto=UDP, sport=2, ts_ns=T0),
        Pkt(proto=UDP, sport=2, back=True, ts_ns=T0),
        Pkt(proto=UDP, sport=3, ts_ns=T0 + 31 * SECOND),
    ]
    run = Run(pkts, drain=False)
    assert [(flow.sport, flow.reason) for flow in run.ended] == [(1, "timeout")]


@pytest.mark.parametrize("batch", [1, 100])
def test_a_pause_longer_than_the_timeout_makes_a_new_flow(batch: int) -> None:
    run = Run([Pkt(proto=UDP, ts_ns=T0), Pkt(proto=UDP, ts_ns=T0 + 31 * SECOND)], batch=batch)
    assert [flow.packets for flow in run.started] == [(1, 0), (1, 0)]
    run = Run([Pkt(proto=UDP, ts_ns=T0), Pkt(proto=UDP, ts_ns=T0 + 29 * SECOND)], batch=batch)
    assert [flow.packets for flow in run.started] == [(2, 0)]


@pytest.mark.parametrize("batch", [1, 100])
def test_seconds_of_a_timeout_count_whole(batch: int) -> None:
    start = T0 // SECOND * SECOND
    for later_ns, flows in ((30 * SECOND + 999_999_999, 1), (31 * SECOND, 2)):
        pkts = [Pkt(proto=UDP, ts_ns=start + SECOND // 5), Pkt(proto=UDP, ts_ns=start + later_ns)]
        assert len(Run(pkts, batch=batch).started) == flows


def test_time_never_goes_back() -> None:
    pkts = [Pkt(proto=UDP, ts_ns=T0 + 1000 * SECOND), Pkt(proto=UDP, ts_ns=T0), Pkt(proto=UDP, sport=2, ts_ns=T0)]
    for batch in (1, 3):
        run = Run(pkts, batch=batch, drain=False)
        assert run.ended == []
        assert [flow.packets for flow in run.started] == [(2, 0), (1, 0)]


def test_a_flood_of_syns_evicts_itself() -> None:
    established = Talk().open()
    flood = [Pkt(flags=SYN, sport=port) for port in range(1, 200)]
    answered = [Pkt(proto=UDP), Pkt(proto=UDP, back=True)]
    run = Run(established.pkts + answered + flood + established.client(b"still here").pkts[3:], batch=50, max_flows=20)
    assert len(run.started) == 201
    assert run.counters["flow.evicted.tcp.new"] == 201 - 20
    assert run.stream() == b"still here"
    assert all(flow.sport < 200 for flow in run.ended[:181])
    assert {flow.reason for flow in run.ended[:181]} == {"forced"}


def test_the_table_never_holds_more_than_its_limit() -> None:
    run = Run([Pkt(proto=UDP, sport=port) for port in range(1, 100)], drain=False, max_flows=10)
    assert len(run.table) == 10
    assert run.counters["flow.active"] == 10


def test_syn_after_an_orderly_close_starts_a_new_flow() -> None:
    first = Talk().open().client(b"one").close()
    second = Talk(client_isn=9000, server_isn=20).open().client(b"two").close()
    for batch in (1, 3, 100):
        run = Run(first.pkts + second.pkts, batch=batch)
        assert [flow.packets for flow in run.started] == [(5, 2), (5, 2)]
        assert [run.stream(flow=flow) for flow in run.started] == [b"one", b"two"]
        assert [flow.reason for flow in run.ended] == ["tcp_reuse", "shutdown"]
    first_slot, second_slot = run.batches[0].started.tolist()
    assert run.batches[0].slot.tolist() == [first_slot] * 7 + [second_slot] * 7


def test_every_followed_direction_closes_exactly_once() -> None:
    talks = [
        Talk().open(),
        Talk(base=Pkt(sport=2)).open().client(b"x").close(),
        Talk(base=Pkt(sport=3)).open().add(False, RST),
        Talk(base=Pkt(sport=4)).add(False, SYN),
    ]
    run = Run(interleave(talks))
    closed = [[(c.flow.sport, c.direction) for c in run.chunks if c.closed].count((p, d)) for p in (40000, 2, 3, 4)
              for d in Direction]  # fmt: skip
    assert closed == [1, 1, 1, 1, 1, 1, 0, 0]


def test_colliding_hashes_are_distinguished(monkeypatch: pytest.MonkeyPatch) -> None:
    talks = [Talk(base=Pkt(sport=port)).open().client(b"%d" % port).close() for port in range(1, 6)]
    expected = Run(interleave(talks)).summary()
    monkeypatch.setattr(keys, "hash_of", lambda words: np.zeros(len(words[0]), dtype=np.uint64))
    assert Run(interleave(talks)).summary() == expected
    assert Run(interleave(talks), batch=2).summary() == expected


def test_flow_ids_are_unique() -> None:
    run = Run([Pkt(proto=UDP, sport=port) for port in range(1, 50)], max_flows=5)
    assert len({flow.id for flow in run.started}) == 49


def test_expire_without_packets() -> None:
    run = Run([Pkt(proto=UDP, ts_ns=T0)], drain=False)
    assert ports(run.table.expire(T0 + 30 * SECOND)) == []
    ended = run.table.expire(T0 + 31 * SECOND)
    assert views(ended, ended.ended) == run.started
    assert run.counters["flow.total"] == 1


class Elsewhere:
    """Somebody who sees packets that the table does not, and is asked before a flow times out."""

    def __init__(self, **last_s: float) -> None:
        self.last_ns = {int(port[1:]): T0 + int(seconds * SECOND) for port, seconds in last_s.items()}
        self.asked: list[list[int]] = []

    def table(self) -> FlowTable:
        """A table that has seen one datagram from each of three ports."""

        def last_seen(slots: I64) -> I64:
            asked = table.flows.sport[slots].tolist()
            self.asked.append(asked)
            return np.array([self.last_ns.get(port, 0) for port in asked], np.int64)

        table = FlowTable(FlowSettings(), Counters(), last_seen=last_seen)
        table.process(columns([Pkt(proto=UDP, sport=port, ts_ns=T0) for port in (1, 2, 3)]))
        return table


def views(batch: FlowBatch, slots: I64) -> list[Flow]:
    return [batch.flows.view(slot) for slot in slots.tolist()]


def ports(batch: FlowBatch) -> list[int]:
    return [flow.sport for flow in views(batch, batch.ended)]


def test_a_flow_whose_packets_pass_unseen_is_not_idle() -> None:
    elsewhere = Elsewhere(p2=20)
    table = elsewhere.table()
    assert ports(table.expire(T0 + 31 * SECOND)) == [1, 3]
    assert ports(table.expire(T0 + 50 * SECOND)) == []
    assert ports(table.expire(T0 + 51 * SECOND)) == [2]
    assert elsewhere.asked == [[1, 2, 3], [2]], "once for all, and once in its timeout for who is kept"


def test_a_flow_that_was_kept_goes_on_when_it_is_seen_again() -> None:
    table = Elsewhere(p2=20).table()
    again = table.process(columns([Pkt(proto=UDP, sport=2, ts_ns=T0 + 40 * SECOND)]))
    assert len(again.started) == 0
    assert (views(again, again.touched)[0].packets, ports(again)) == ((2, 0), [1, 3])


def test_one_that_is_kept_times_out_by_its_latest_unseen_packet() -> None:
    elsewhere = Elsewhere(p2=2)
    table = elsewhere.table()
    table.process(columns([Pkt(proto=UDP, sport=4, ts_ns=T0 + 30 * SECOND)]))
    assert ports(table.expire(T0 + 31 * SECOND)) == [1, 3]
    assert ports(table.expire(T0 + 33 * SECOND)) == [2]
    assert ports(table.expire(T0 + 61 * SECOND)) == [4]


def test_a_crowd_that_has_gone_leaves_its_memory_and_who_stayed_is_who_he_was() -> None:
    talk = [
        Pkt(proto=UDP, sport=7, dport=53, data=b"ask"),
        Pkt(proto=UDP, back=True, sport=7, dport=53, data=b"answer"),
    ]
    crowd = [Pkt(proto=UDP, sport=1024 + number, dport=9, ts_ns=T0) for number in range(20_000)]
    table = FlowTable(FlowSettings(udp_new_timeout_s=10), Counters())
    table.process(columns([replace(pkt, ts_ns=T0) for pkt in crowd[:15_000] + talk + crowd[15_000:]]))
    given: list[int] = []
    table.expire(T0 + GIVE_BACK_NS)

    def empty(columns: Iterable[np.ndarray], unused: Bool) -> None:
        given.append(int(unused.sum()))
        memory.empty(columns, unused)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots, "empty", empty)
        for later in (1, GIVE_BACK_NS, 2 * GIVE_BACK_NS):
            result = table.expire(T0 + GIVE_BACK_NS + later)
    capacity = result.flows.capacity
    assert given == [capacity - 1], "once, and all but the one that is left"
    again = table.process(columns([replace(talk[0], ts_ns=T0 + 2 * GIVE_BACK_NS), replace(crowd[0], ts_ns=None)]))
    (fresh,) = again.started.tolist()
    (kept,) = set(again.touched.tolist()) - {fresh}
    assert kept >= 15_000
    assert fresh == 0, "the lowest slots are taken first"
    table_slots = table._slots
    for kept_by in (table_slots._by_key, table_slots._ids._taken):
        assert sys.getsizeof(kept_by) < 1000, "tables are as small as what is in them"
    flow = again.flows.view(kept)
    assert (flow.sport, flow.packets, flow.state) == (7, (2, 1), FlowState.ESTABLISHED)
    assert again.flows.view(fresh).packets == (1, 0)
