"""A flow that ended is brought up to the gate's counts: never down, and never to those of another conversation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.errors import KernelError
from ids.events import Events
from ids.respond.lines import EventLines
from ids.respond.recount import CLOCK_LAG_NS, Recount, add_unseen, belongs
from ids.types import FLOW_COUNT, I64, EndReason, Flow, FlowColumns, FlowCounts, Mark
from tests.factory import T0, make_flow
from tests.respond.test_responder import RecordingGate

SECOND = 1_000_000_000
PAIR = st.tuples(*[st.integers(0, 1 << 40)] * 2)


def count(**changes: Any) -> FlowCounts:
    """Return what the gate counted of one flow."""
    values: dict[str, Any] = {
        "known": True, "first_ns": T0, "last_ns": T0 + SECOND, "packets": (10, 20), "bytes": (1000, 20_000),
    }  # fmt: skip
    counts = np.zeros(1, FLOW_COUNT)
    for name, value in (values | changes).items():
        counts[name] = value
    return counts


def at(*flows: Flow) -> I64:
    return np.array([flow.slot for flow in flows], np.int64)


def test_what_was_not_shown_is_added_and_kept_apart() -> None:
    flow = make_flow(packets=[10, 5], bytes=[1000, 5000])
    add_unseen(flow.columns, at(flow), count())
    assert (flow.packets, flow.bytes) == ((10, 20), (1000, 20_000))
    assert (flow.unseen_packets, flow.unseen_bytes) == ((0, 15), (0, 15_000))
    assert flow.last_ns == T0 + SECOND


@given(PAIR, PAIR, PAIR, PAIR)
def test_nothing_shrinks_for_the_gate_may_have_begun_anew(
    shown: tuple[int, int], size: tuple[int, int], packets: tuple[int, int], total: tuple[int, int]
) -> None:
    flow = make_flow(packets=list(shown), bytes=list(size), last_ns=T0 + 9 * SECOND)
    add_unseen(flow.columns, at(flow), count(packets=packets, bytes=total))
    for side in (0, 1):
        assert flow.packets[side] == max(shown[side], packets[side]) == shown[side] + flow.unseen_packets[side]
        assert flow.bytes[side] == max(size[side], total[side]) == size[side] + flow.unseen_bytes[side]
    assert flow.last_ns == T0 + 9 * SECOND


@pytest.mark.parametrize(
    ("reason", "began_ns", "ours"),
    [
        ("timeout", T0, True),
        ("timeout", T0 + 5 * SECOND, True),  # forgotten by the gate, and begun again in its middle
        ("timeout", T0 + 11 * SECOND, False),
        ("tcp_reuse", T0, True),
        ("tcp_reuse", T0 + 5 * SECOND, False),  # begun anew at the SYN, which was still taken for this flow's
    ],
)
def test_a_count_that_began_too_late_is_another_conversation(reason: str, began_ns: int, ours: bool) -> None:
    flow = make_flow(reason=EndReason[reason.upper()], last_ns=T0 + 10 * SECOND)
    assert belongs(flow.columns, at(flow), count(first_ns=began_ns, last_ns=began_ns)).tolist() == [ours]


@pytest.mark.parametrize(("before_ns", "older"), [(CLOCK_LAG_NS, False), (SECOND, True)])
def test_a_flow_is_as_old_as_the_gate_knows_it(before_ns: int, older: bool) -> None:
    flow = make_flow()
    add_unseen(flow.columns, at(flow), count(first_ns=T0 - before_ns))
    assert flow.start_ns == (T0 - before_ns if older else T0)


class CountingGate(RecordingGate):
    """Answers with the counts that it is given, or like a kernel without the map."""

    def __init__(self) -> None:
        super().__init__()
        self.known: FlowCounts | None = None
        self.asked: list[Flow] = []
        self.forgotten: list[Flow] = []

    def counts(self, flows: FlowColumns, slots: I64) -> FlowCounts:
        if self.error:
            raise self.error
        self.asked += map(flows.view, slots.tolist())
        return np.zeros(len(slots), FLOW_COUNT) if self.known is None else np.repeat(self.known, len(slots))

    def forget(self, flows: FlowColumns, slots: I64) -> None:
        if self.error:
            raise self.error
        self.forgotten += map(flows.view, slots.tolist())


FLOWS = FlowColumns(256)


def flow_of(**changes: Any) -> Flow:
    return make_flow(columns=FLOWS, **changes)


def event_of(flow: Flow) -> dict[str, Any]:
    (event,) = Events(lines=[EventLines(flow.columns).flows(at(flow))])
    summary: dict[str, Any] = event["flow"]
    return summary


@pytest.fixture
def gate() -> CountingGate:
    return CountingGate()


@pytest.fixture
def counts(gate: CountingGate) -> Recount:
    return Recount(gate, FLOWS, Counters())


def closed(**changes: Any) -> Flow:
    return flow_of(tcp_flags=[0x13, 0x11], last_ns=T0 + 2 * SECOND, **changes)


@pytest.mark.parametrize("reason", ["timeout", "shutdown", "forced", "tcp_reuse"])
@pytest.mark.parametrize("condemned", [False, True])
def test_the_gate_forgets_what_timed_out_unless_it_is_to_drop_it(
    gate: CountingGate, counts: Recount, reason: str, condemned: bool
) -> None:
    gate.known = count(condemned=condemned)
    flow = flow_of(reason=EndReason[reason.upper()])
    counts.last_seen(at(flow))
    counts.settle(at(flow))
    assert flow.packets == (10, 20)
    assert gate.forgotten == ([flow] if reason == "timeout" and not condemned else [])
    assert event_of(flow).get("action") == ("drop" if condemned else None)
    assert len(gate.asked) == (1 if reason == "timeout" else 2), "who timed out was asked for just before"


def test_without_an_answer_a_flow_keeps_what_was_shown(gate: CountingGate, counts: Recount) -> None:
    flow = flow_of(packets=[1, 1])
    assert counts.last_seen(at(flow)).tolist() == [0]
    counts.settle(at(flow))
    assert (flow.packets, gate.forgotten) == ((1, 1), [])


def test_a_gate_that_fails_costs_the_counts_and_no_more(gate: CountingGate) -> None:
    counters = Counters()
    counts, flow = Recount(gate, FLOWS, counters), flow_of(packets=[1, 1], reason=EndReason.TIMEOUT)
    gate.known = count()
    assert counts.last_seen(at(flow)).tolist() == [T0 + SECOND]
    gate.error = KernelError("the map has gone")
    assert counts.last_seen(at(flow, flow_of())).tolist() == [0, 0]
    counts.settle(at(flow))
    assert flow.packets == (10, 20)
    assert (counters["flow.not_counted"], counters["flow.not_forgotten"]) == (2, 1)


@pytest.mark.parametrize(
    ("flags", "asked"),
    [([0x13, 0x13], 1), ([0x02, 0x14], 1), ([0x06, 0x12], 1), ([0x13, 0x12], 0), ([0x12, 0x12], 0)],
    ids=["both FINs", "refused", "withdrawn", "half closed", "open"],
)
def test_who_closes_is_asked_for_once(gate: CountingGate, counts: Recount, flags: list[int], asked: int) -> None:
    gate.known = count()
    flow = flow_of(tcp_flags=flags)
    counts.note_closing(at(flow))
    counts.note_closing(at(flow))
    assert len(gate.asked) == asked


def test_who_closes_is_asked_for_though_it_was_thought_idle_before(gate: CountingGate, counts: Recount) -> None:
    gate.known = count()
    flow = closed()
    counts.last_seen(at(flow))
    gate.known = count(packets=(10, 30))
    counts.note_closing(at(flow))
    gate.known = None
    counts.settle(at(flow))
    assert flow.packets == (10, 30)


def test_the_next_connection_on_the_same_ports_takes_nothing_away_from_the_one_before(
    gate: CountingGate, counts: Recount
) -> None:
    gate.known = count()
    flow = closed()
    counts.note_closing(at(flow))
    gate.known = count(first_ns=T0 + SECOND, packets=(7000, 7000))
    flow.columns.reason[flow.slot] = EndReason.TCP_REUSE
    counts.settle(at(flow))
    assert flow.packets == (10, 20)


def test_an_event_has_what_passed_unseen() -> None:
    flow = flow_of(packets=[10, 5], bytes=[1000, 5000])
    assert "bypassed" not in event_of(flow)
    add_unseen(flow.columns, at(flow), count())
    event = event_of(flow)
    assert (event["pkts_toclient"], event["bytes_toclient"], event["age"]) == (20, 20_000, 1)
    assert event["bypassed"] == {
        "pkts_toserver": 0, "bytes_toserver": 0, "pkts_toclient": 15, "bytes_toclient": 15_000
    }  # fmt: skip


def test_what_a_condemned_flow_lost_was_dropped_and_not_bypassed() -> None:
    flow = flow_of(packets=[10, 5], bytes=[1000, 5000], marks=Mark.CONDEMNED)
    add_unseen(flow.columns, at(flow), count())
    event = event_of(flow)
    assert (event["pkts_toclient"], event["action"]) == (20, "drop")
    assert "bypassed" not in event
