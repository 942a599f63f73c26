"""Who is inspected next when there is not time for all: others first, whatever a few sources send."""

from __future__ import annotations

import logging
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.counters import Counters
from ids.live.turns import AGAIN_S, MAX_LINES, MAX_WAIT_S, SLICE_S, WINDOW_S, Turns
from ids.types import PacketBatch

NOISY, QUIET = "192.0.2.99", "192.0.2.10"


class Sent:
    """Packets by (source, flow): their bytes name both and their place in the flow."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, int], int] = {}
        self.number = 0

    def batch(self, *packets: tuple[str, int]) -> PacketBatch:
        """Return the next packets of these flows, with odd room between them."""
        frames = []
        for packet in packets:
            self.places[packet] = place = self.places.get(packet, -1) + 1
            frames.append(f"{packet[0]} {packet[1]} {place}".encode())
        size = np.array([len(frame) for frame in frames])
        holders = b"".join(bytes(10) + b"\xff\xff" + bytes(map(int, source.split("."))) for source, _ in packets)
        number = np.arange(self.number + 1, self.number + 1 + len(frames))
        self.number += len(frames)
        return PacketBatch(
            data=np.frombuffer(b"".join(frame.ljust(40, b"\0") for frame in frames), np.uint8),
            offset=np.arange(len(frames)) * 40, caplen=size, wirelen=size, ts_ns=number * 1000, number=number,
            linktype=np.ones(len(frames), np.uint16), interface=np.zeros(len(frames), np.uint32), source="test",
            holder=np.frombuffer(holders, np.uint64).reshape(-1, 2),
            tag=np.array([flow * 0x9E3779B1 & 0xFFFFFFFF for _, flow in packets], np.uint32),
        )  # fmt: skip


class Machine:
    """Rings, a clock that inspection moves on, and what was inspected."""

    def __init__(self, cost_s: dict[str, float], batch_s: float = 0.0, crowded: float = 1.0) -> None:
        """``batch_s`` is what a batch costs beside its packets; ``crowded``: all takes so many times its own time."""
        self.cost_s, self.batch_s, self.crowded = cost_s, batch_s, crowded
        self.now = self.own = 100.0
        self.rings: deque[PacketBatch] = deque()
        self.counters = Counters()
        self.turns = Turns(self, self.counters, lambda: self.now, lambda: self.own)
        self.seen: list[tuple[float, str, int, int]] = []
        """Time, source, flow and place, in the order of inspection."""

    def poll(self, timeout_s: float) -> PacketBatch | None:
        """Return what waits; time passes where nothing does."""
        if self.rings:
            return self.rings.popleft()
        self.now += timeout_s
        return None

    def work(self, timeout_s: float = 0.0) -> bool:
        """Inspect one batch; return whether there was one."""
        batch = self.turns.next(timeout_s)
        if batch is None:
            return False
        assert batch.holder is None, "nobody behind this has a use for it"
        self.spend(self.batch_s)
        for start, size in zip(batch.offset.tolist(), batch.caplen.tolist(), strict=True):
            source, flow, place = batch.data[start : start + size].tobytes().decode().split()
            self.spend(self.cost_s.get(source, 10e-6))
            self.seen.append((self.now, source, int(flow), int(place)))
        self.turns.done()
        return True

    def spend(self, seconds: float) -> None:
        """Have so much time on a processor, and wait for it as long as that takes here."""
        self.own += seconds
        self.now += seconds * self.crowded

    def finish(self) -> None:
        """Inspect all that waits."""
        while self.rings or self.work():
            self.work()

    def places(self, source: str, flow: int) -> list[int]:
        """Return which packets of a flow were inspected."""
        return [place for _, name, number, place in self.seen if (name, number) == (source, flow)]


def test_what_is_little_is_handed_on_as_it_comes() -> None:
    machine, sent = Machine({}), Sent()
    machine.rings.append(sent.batch(*[(NOISY, 1)] * 200, (QUIET, 2)))
    assert machine.work()
    assert [source for _, source, _, _ in machine.seen] == [NOISY] * 200 + [QUIET]
    assert machine.turns.lines == []
    assert not machine.work()


def test_where_others_have_the_processors_slices_do_not_become_small() -> None:
    """Each batch has its price beside its packets': of one packet at a time, a line would wait for minutes."""
    machine, sent = Machine({NOISY: 1e-4}, batch_s=0.02, crowded=10.0), Sent()
    began = machine.now
    while machine.now < began + 30:
        machine.rings.append(sent.batch(*[(NOISY, number % 7) for number in range(300)], (QUIET, 9)))
        machine.work()
        machine.work()
    noisy = sum(source == NOISY for _, source, _, _ in machine.seen)
    assert noisy > 30 / 10 / 0.04 * 50, "fifty and more in each slice"


@pytest.mark.parametrize("cost_s", [20e-6, 1e-3, 0.02])
def test_others_wait_for_no_more_than_a_slice_or_two(cost_s: float) -> None:
    """Of a source that sends ten times what can be inspected, however much each of its packets costs."""
    machine, sent = Machine({NOISY: cost_s}), Sent()
    asked: list[float] = []
    began = arrives = machine.now

    def poll(timeout_s: float) -> PacketBatch | None:
        """Return what has come since the last call, one quiet packet every 0.1 s among it."""
        nonlocal arrives
        machine.now += 0.0005
        noisy = [(NOISY, number % 7) for number in range(min(int((machine.now - arrives) * 10 / cost_s), 16384))]
        arrives = machine.now if cost_s < 0.005 else arrives + len(noisy) * cost_s / 10
        quiet = []
        while began + 0.1 * len(asked) < machine.now < began + 6:
            quiet.append((QUIET, len(asked)))
            asked.append(began + 0.1 * len(asked))
        packets = [*noisy[: len(noisy) // 2], *quiet, *noisy[len(noisy) // 2 :]]
        return sent.batch(*packets) if packets else None

    machine.poll = poll  # type: ignore[method-assign]
    while machine.now < began + 6:
        machine.work(0.001)
    busy_s = machine.now - began
    for _ in range(60):
        machine.work()
    late = {flow: at - asked[flow] for at, source, flow, _ in machine.seen if source == QUIET}
    assert len(late) == len(asked) >= 59
    learned = 30  # until then it is not known what its packets cost
    assert max(late[flow] for flow in range(learned, len(asked))) < 2 * SLICE_S + 2 * cost_s + 0.01
    share = sum(source == NOISY and at < began + busy_s for at, source, _, _ in machine.seen) * cost_s / busy_s
    assert share > 0.8, "the rest of the time is the noisy one's"


def test_lines_have_equal_shares_of_time() -> None:
    """Whatever their packets cost, and however many there are."""
    noisy = {"192.0.2.1": 1e-4, "192.0.2.2": 4e-4}
    machine, sent = Machine(noisy), Sent()
    spent = dict.fromkeys(noisy, 0.0)
    for turn in range(200):
        machine.rings.append(sent.batch(*[("192.0.2.1", 1), ("192.0.2.2", turn)] * 600))
        machine.work()
    for _, source, _, _ in machine.seen[len(machine.seen) // 4 :]:
        spent[source] += noisy[source]
    low, high = sorted(spent.values())
    assert low > 0.6 * high


def test_what_cannot_be_inspected_soon_is_cut_by_flows_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    machine, sent = Machine({NOISY: 1e-3}), Sent()
    caplog.set_level(logging.WARNING)
    total = 0
    for turn in range(40):
        machine.rings.append(sent.batch(*[(NOISY, turn // 4)] * 1000))
        total += 1000
        machine.work()
    while machine.rings:
        machine.work()
    last = machine.now
    machine.finish()
    assert machine.now - last < MAX_WAIT_S + 0.1, "what waits is inspected soon"
    seen = sum(source == NOISY for _, source, _, _ in machine.seen)
    assert machine.counters["engine.uninspected.share"] == total - seen > 0
    for flow in range(10):
        places = machine.places(NOISY, flow)
        assert places == sorted(places)
    record = caplog.records[0].getMessage()
    assert f"passed uninspected, of connections opened by {NOISY}:" in record
    assert len(caplog.records) <= 1 + (machine.now - 100.0) / AGAIN_S


def test_a_flow_that_was_cut_stays_cut_until_the_line_is_empty() -> None:
    machine, sent = Machine({NOISY: 1e-3}), Sent()
    machine.rings.append(sent.batch(*[(NOISY, 1)] * 2000))
    machine.work()
    machine.rings.append(sent.batch(*[(NOISY, 1)] * 2000))
    machine.work()
    machine.rings.append(sent.batch((NOISY, 1)))
    while machine.rings:
        machine.work()
    machine.finish()
    cut = machine.places(NOISY, 1)
    assert cut == list(range(len(cut))), "no holes"
    machine.rings.append(sent.batch((NOISY, 1)))
    machine.finish()
    assert machine.places(NOISY, 1)[-1] == 4001, "now there is room again"


def test_who_is_quiet_again_waits_in_no_line() -> None:
    machine, sent = Machine({NOISY: 1e-4}), Sent()
    machine.rings.append(sent.batch(*[(NOISY, 1)] * 5000))
    machine.finish()
    assert [str(address) for address in machine.turns.lines] == [NOISY]
    machine.now += 2 * WINDOW_S
    for _ in range(3):
        machine.rings.append(sent.batch((NOISY, 2), (QUIET, 1)))
        machine.finish()
        machine.now += WINDOW_S
    assert machine.turns.lines == []


def test_many_sources_of_the_same_rate_are_one_batch() -> None:
    """As behind a busy website: nobody takes more than a share, and large batches cost least."""
    machine, sent = Machine({}), Sent()
    machine.rings.append(sent.batch(*[(f"192.0.2.{host}", 1) for host in range(200)] * 60))
    assert machine.work()
    assert len(machine.seen) == 12000
    assert machine.turns.lines == []


def test_of_too_many_those_who_send_least_come_first() -> None:
    """A hundred sources, each as modest as the others, and somebody who sends next to nothing."""
    machine, sent = Machine({}), Sent()
    crowd = [f"198.51.100.{host}" for host in range(100)]
    machine.cost_s = dict.fromkeys([*crowd, QUIET], 1e-3)
    seen_before = 0
    for turn in range(20):
        machine.rings.append(sent.batch(*[(source, turn) for source in crowd] * 8, (QUIET, turn)))
        while not machine.places(QUIET, turn):
            assert machine.work()
        if turn > 2:
            assert len(machine.seen) - seen_before <= 2 * SLICE_S / 1e-3 + 2
        seen_before = len(machine.seen)
    machine.finish()
    assert len(machine.seen) + machine.counters["engine.uninspected.share"] == sent.number
    assert machine.turns.lines == [], "none of them is named"


def test_who_is_among_too_many_overtakes_nothing_of_its_own() -> None:
    """One that sent much a moment ago, and now sends next to nothing, or more than all others."""
    machine, sent = Machine({}), Sent()
    crowd = [f"198.51.100.{host}" for host in range(100)]
    machine.cost_s = dict.fromkeys(crowd, 1e-4)
    for turn in range(12):
        often = [(source, 1) for source in crowd for _ in range(60 if (turn + int(source[11:])) % 3 else 1)]
        machine.rings.append(sent.batch(*often, *[(crowd[turn], 1)] * 2000))
        machine.work()
    machine.finish()
    for source in crowd:
        places = machine.places(source, 1)
        assert places == sorted(places)
    assert len(machine.seen) + machine.counters["engine.uninspected.share"] == sent.number


STEPS = st.lists(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(1, 900)), min_size=1, max_size=6), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.dictionaries(st.integers(0, 40), st.sampled_from([1e-5, 1e-3, 0.3])), st.data())
def test_nothing_is_lost_doubled_or_out_of_order(
    steps: list[list[tuple[int, int, int]]], costs: dict[int, float], data: st.DataObject
) -> None:
    """Each packet is inspected once, or counted as not; packets of a flow keep their order; lines are bounded."""
    machine, sent = Machine({f"198.51.100.{host}": cost for host, cost in costs.items()}), Sent()
    for step in steps:
        packets = [(f"198.51.100.{host}", flow) for host, flow, count in step for _ in range(count)]
        machine.rings.append(sent.batch(*packets))
        for _ in range(data.draw(st.integers(0, 3))):
            machine.work()
        assert len(machine.turns.lines) <= MAX_LINES
    machine.finish()
    seen = [entry[1:] for entry in machine.seen]
    assert len(set(seen)) == len(seen)
    assert len(seen) + machine.counters["engine.uninspected.share"] == sent.number
    for source, flow in sent.places:
        places = machine.places(source, flow)
        assert places == sorted(places)


def test_at_the_end_what_waits_is_inspected_for_a_while_and_the_rest_is_counted() -> None:
    machine, sent = Machine({NOISY: 1e-3}), Sent()
    while not machine.turns.lines:
        machine.rings.append(sent.batch(*[(NOISY, 1)] * 600))
        machine.work()
    machine.rings.append(sent.batch(*[(NOISY, 1)] * 600))
    machine.work()
    refused = machine.counters["engine.uninspected.share"]
    waiting = sent.number - len(machine.seen) - refused
    taken = 0
    for batch in machine.turns.rest(0.1):
        taken += len(batch)
        machine.now += len(batch) * 1e-3
    assert 0 < taken < waiting
    assert machine.counters["engine.uninspected.share"] - refused == waiting - taken
