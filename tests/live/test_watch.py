"""The log says loudly, once and again, that traffic passes uninspected; and a gauge says how far behind we are."""

from __future__ import annotations

import time
from collections import Counter
from ipaddress import ip_address

import numpy as np
import pytest

from ids.counters import Counters
from ids.live import watch
from ids.live.lag import Lag
from ids.live.watch import Watch
from ids.types import IPAddress
from tests.replay.batches import batch_of


class Clock:
    """Time that tests pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(watch, "time", made)
    return made


def lost(packets: int) -> dict[str, int]:
    return {"kernel.pass.ring_full.packets": packets, "kernel.pass.ring_full.bytes": 100 * packets}


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if "UNINSPECTED" in record.getMessage()]
    caplog.clear()
    return found


def test_at_once_and_then_once_a_period_with_what_is_new(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    opened = Counter({ip_address("192.0.2.1"): 7})
    watched = Watch(60, opened.copy)
    watched.check({})
    assert lines(caplog) == []
    clock.now += 5
    opened.update({ip_address("192.0.2.66"): 9, ip_address("2001:db8::"): 1})
    watched.check(lost(12))
    (first,) = lines(caplog)
    assert "12 packets, 1,200 bytes: the ring was full (engine.workers" in first
    assert first.endswith(". Of connections opened by 192.0.2.66 (90 %), 2001:db8:: (10 %)")
    for _ in range(3):
        clock.now += 10
        watched.check(lost(20))
    assert lines(caplog) == [], "not every second"
    clock.now += 31
    watched.check(lost(30))
    (second,) = lines(caplog)
    assert "18 packets" in second
    assert "in the last 61 s" in second
    assert "opened by" not in second, "nothing new is known of them"
    clock.now += 100
    watched.check(lost(30))
    assert lines(caplog) == [], "nothing new"
    clock.now += 1
    watched.check(lost(31))
    assert len(lines(caplog)) == 1


def test_what_an_engine_before_had_lost_is_not_reported_again(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watch(60, Counter)
    watched.begin(lost(100))
    watched.check(lost(100))
    assert lines(caplog) == []
    watched.check(lost(103))
    assert "3 packets" in lines(caplog)[0]


def test_the_end_sums_up_all_that_this_engine_left_out(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    watched = Watch(60, Counter)
    watched.begin(lost(100))
    watched.sum_up(lost(100))
    assert "uninspected in all: nothing" in caplog.text
    watched.check(lost(104))
    watched.sum_up({**lost(105), "kernel.pass.depth.packets": 9})
    assert "5 packets, 500 bytes: the ring was full" in caplog.text
    assert "9 packets: they lay beyond the depth" in caplog.text


def test_whose_connections_have_no_beginning(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def unbegun(since_ns: int) -> Counter[IPAddress]:
        asked.append(since_ns)
        return Counter({ip_address("192.0.2.66"): 9, ip_address("2001:db8::1"): 2})

    watched = Watch(60, Counter, unbegun)
    watched.check(lost(1))
    assert "beginning" not in lines(caplog)[0]
    clock.now += 61
    watched.check({**lost(1), "flow.tcp.midstream_ignored": 5, "flow.tcp.reassembly.midstream_bytes": 500})
    assert lines(caplog)[0].endswith(". Without a beginning were connections of 192.0.2.66 (9), 2001:db8::1 (2)")
    assert asked == [int(1000e9)]


def test_what_the_settings_leave_out_is_no_loss(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    Watch(60, Counter).check({"kernel.pass.depth.packets": 9, "kernel.pass.bypass.packets": 9})
    assert lines(caplog) == []


def test_a_worker_that_counts_from_zero_again_is_no_loss(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watch(60, Counter)
    counts = {"flow.tcp.midstream_ignored": 5, "flow.tcp.reassembly.midstream_bytes": 500}
    watched.check(counts)
    clock.now += 61
    lines(caplog)
    watched.check(dict.fromkeys(counts, 1))
    assert lines(caplog) == []


def test_lag_is_the_age_of_the_oldest_packet_when_its_batch_is_over() -> None:
    counters = Counters()
    lag = Lag(counters)
    now = time.time_ns()
    lag.note(batch_of([bytes(60)] * 2, ts_ns=[now - 3_000_000_000, now]))
    lag.note(batch_of([bytes(60)], ts_ns=[now]))
    lag.tick()
    at_most_ms = (time.time_ns() - now) / 1e6 + 3000 + 1
    assert 3000 <= counters["engine.lag_ms"] <= at_most_ms
    lag.tick()
    assert counters["engine.lag_ms"] == 0
    assert 3000 <= counters["engine.lag_highest_ms"] <= at_most_ms


def test_of_several_workers_the_one_behind_most_counts() -> None:
    both = Counters().with_workers([{"engine.lag_ms": 5}, {"engine.lag_ms": 70}], same_packets=False)
    assert both["engine.lag_ms"] == 70
    assert np.isscalar(both["engine.lag_ms"])
