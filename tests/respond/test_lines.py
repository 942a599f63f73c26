"""Events that are spelt by the thousand say what single events say."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from ids.events import Events
from ids.respond import events, lines
from ids.respond.lines import EventLines, timestamps
from ids.types import Direction, Flow, FlowColumns, Mark, Transaction
from tests.factory import T0, make_flow

COLUMNS = FlowColumns(64)
FLOWS: dict[str, Flow] = {
    "TCP": make_flow(columns=COLUMNS),
    "UDP on IPv6": make_flow("2001:db8::1", "2001:db8::2", COLUMNS, proto=17, dport=53),
    "ICMP": make_flow(columns=COLUMNS, proto=1, sport=8, dport=0),
    "no ports": make_flow(columns=COLUMNS, proto=253, sport=0, dport=0),
    "a port like a type": make_flow(columns=COLUMNS, proto=58, sport=128, dport=128),
    "SCTP in a VLAN": make_flow(columns=COLUMNS, proto=132, vlan=5 | 7 << 16),
    "live": make_flow(columns=COLUMNS, source="live", interface=1),
    "a file's name that is no UTF-8": make_flow(columns=COLUMNS, source="caf\udce9.pcap"),
    "a file's name with a quote": make_flow(columns=COLUMNS, source='a"b\\.pcap'),
}


def spelt(*flows: Flow) -> list[dict[str, Any]]:
    slots = np.array([flow.slot for flow in flows])
    return list(Events(lines=[EventLines(COLUMNS).flows(slots)]))


@pytest.mark.parametrize("name", FLOWS)
def test_a_line_has_the_keys_of_a_single_event(name: str) -> None:
    flow = FLOWS[name]
    (event,) = spelt(flow)
    expected = events.base("flow", flow, flow.last_ns, 0)
    if "pcap_filename" in expected:
        expected["pcap_filename"] = expected["pcap_filename"].encode("utf-8", "replace").decode()
        event["pcap_filename"] = event["pcap_filename"].replace("\ufffd", "?")
    assert {key: event.get(key) for key in expected} == expected
    assert set(event) - set(expected) <= {"flow", "tcp", "app_proto"}


def test_a_transaction_has_the_number_of_its_packet() -> None:
    flow = FLOWS["TCP"]
    fields = {"url": '/"\\\n', "status": 200}
    rows = [
        Transaction(COLUMNS, flow.slot, "http", number, Direction.TO_SERVER, {}, fields, T0 + number, number)
        for number in range(1, 4)
    ]
    made = list(Events(lines=EventLines(COLUMNS).transactions(rows)))
    assert [(event["tx_id"], event["pcap_cnt"]) for event in made] == [(1, 1), (2, 2), (3, 3)]
    assert made[0]["http"] == fields
    expected = events.base("http", flow, T0 + 1, 1)
    assert {key: made[0][key] for key in expected} == expected


def test_many_are_spelt_as_each_by_itself() -> None:
    together = spelt(*FLOWS.values())
    assert together == [event for flow in FLOWS.values() for event in spelt(flow)]


def test_what_passed_unseen_is_not_said_of_a_flow_that_was_dropped() -> None:
    unseen: dict[str, Any] = {"unseen_packets": [1, 2], "unseen_bytes": [60, 120]}
    passed, dropped = (
        make_flow(columns=COLUMNS, marks=int(marks), **unseen) for marks in (Mark.BYPASSED, Mark.CONDEMNED)
    )
    first, second = spelt(passed, dropped)
    assert first["flow"]["bypass"] == "capture"
    assert first["flow"]["bypassed"] == {
        "pkts_toserver": 1, "pkts_toclient": 2, "bytes_toserver": 60, "bytes_toclient": 120,
    }  # fmt: skip
    assert (second["flow"]["action"], "bypassed" in second["flow"]) == ("drop", False)


def test_columns_of_times_are_spelt_like_single_ones() -> None:
    times = np.array([0, 999, T0 + 123_456_789, -1, (1 << 62) + 5])
    assert timestamps(times) == [events.timestamp(int(at)) for at in times]


@pytest.mark.parametrize(("event_type", "numbered"), [("http", True), ("smtp", True), ("dns", False), ("tls", False)])
def test_an_exchange_has_its_number_beside_it_where_the_peers_has(event_type: str, numbered: bool) -> None:
    row = Transaction(COLUMNS, FLOWS["TCP"].slot, event_type, 5, Direction.TO_SERVER, {}, {"id": 1}, T0, 1)
    (made,) = Events(lines=EventLines(COLUMNS).transactions([row]))
    assert made.get("tx_id") == (5 if numbered else None)


@pytest.mark.parametrize(("before", "now"), [(None, "http"), ("http", "tls"), ("http", "failed"), ("http", "http")])
def test_a_flow_says_what_it_was_before(before: str | None, now: str) -> None:
    columns = FlowColumns(1)
    flow = make_flow(columns=columns)
    flow.app_proto, columns.app_orig[flow.slot] = now, columns.app_code(before)
    (made,) = Events(lines=[EventLines(columns).flows(np.array([flow.slot]))])
    assert (made["app_proto"], made.get("app_proto_orig")) == (now, before if before != now else None)
    travelled = pickle.loads(pickle.dumps(flow))
    assert (travelled.app_proto, travelled.app_orig) == (now, before)


@pytest.mark.parametrize(("proto", "said"), [(17, "failed"), (6, None), (1, None)])
def test_a_flow_of_udp_that_was_not_recognised_says_so_at_its_end(proto: int, said: str | None) -> None:
    columns = FlowColumns(1)
    columns.app_code("failed")
    flow = make_flow(columns=columns, proto=proto)
    flow.app_proto = None
    (made,) = Events(lines=[EventLines(columns).flows(np.array([flow.slot]))])
    assert made.get("app_proto") == said


@pytest.mark.parametrize(
    ("full", "client"), [(False, "2001:db8::1"), (True, "2001:0db8:0000:0000:0000:0000:0000:0001")]
)
def test_addresses_have_all_their_zeros_where_that_is_asked_for(full: bool, client: str) -> None:
    columns = FlowColumns(1)
    columns.full_ipv6 = full
    flow = make_flow("2001:db8::1", "2001:db8::2", columns)
    (made,) = Events(lines=[EventLines(columns).flows(np.array([flow.slot]))])
    assert made["src_ip"] == events.base("flow", flow, 0, 0)["src_ip"] == events.flow_summary(flow)["src_ip"] == client
    assert flow.src_ip == "2001:db8::1", "what is no event is spelt as ever"
    columns = FlowColumns(1)
    columns.full_ipv6 = full
    (made,) = Events(lines=[EventLines(columns).flows(np.array([make_flow("192.0.2.1", columns=columns).slot]))])
    assert made["src_ip"] == "192.0.2.1"


@pytest.mark.parametrize(("start_ns", "last_ns", "age"), [(999_999_999, 1_000_000_000, 1), (0, 999_999_999, 0)])
def test_the_age_of_a_flow_is_in_seconds_of_the_clock(start_ns: int, last_ns: int, age: int) -> None:
    columns = FlowColumns(1)
    slot = make_flow(columns=columns).slot
    columns.start_ns[slot], columns.last_ns[slot] = T0 + start_ns, T0 + last_ns
    (made,) = Events(lines=[EventLines(columns).flows(np.array([slot]))])
    assert made["flow"]["age"] == age


@pytest.mark.parametrize(
    ("name", "last", "ending", "source"),
    [
        ("TCP", False, False, "wire/pcap"),
        ("TCP", True, False, "stream (detect/log)"),
        ("TCP", False, True, "stream (flow timeout)"),
        ("TCP", True, True, "stream (flow timeout)"),
        ("UDP on IPv6", False, True, "wire/pcap"),
    ],
)
def test_an_exchange_says_what_completed_it(name: str, last: bool, ending: bool, source: str) -> None:
    """A packet, the end of a protocol within its flow, or the end of the flow; datagrams wait for nothing."""
    row = Transaction(COLUMNS, FLOWS[name].slot, "http", 0, Direction.TO_SERVER, {}, {"id": 1}, T0, 1)
    row.last = last
    (made,) = Events(lines=EventLines(COLUMNS, ending=ending).transactions([row]))
    assert made["pkt_src"] == source


def test_what_is_kept_of_a_flow_is_what_would_be_spelt(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as many flows as there is room for."""
    monkeypatch.setattr(lines, "MAX_KEPT", len(FLOWS) - 1)
    kept: dict[int, str] = {}
    rows = [
        Transaction(COLUMNS, flow.slot, "dns", 0, Direction.TO_SERVER, {}, {}, T0, number)
        for number, flow in enumerate(FLOWS.values(), 1)
    ]
    slots = np.array([flow.slot for flow in FLOWS.values()])
    expected = list(Events(lines=[EventLines(COLUMNS).flows(slots)]))
    assert list(Events(lines=[EventLines(COLUMNS, kept).flows(slots)])) == expected
    assert kept == {}, "a flow that ended has no more events"
    for part in (rows[1:], rows):
        one_by_one = [next(iter(Events(lines=EventLines(COLUMNS).transactions([row])))) for row in part]
        assert list(Events(lines=EventLines(COLUMNS, kept).transactions(part))) == one_by_one
        assert kept.keys() == {flow.id for flow in list(FLOWS.values())[1:]}
    assert list(Events(lines=[EventLines(COLUMNS, kept).flows(slots)])) == expected
