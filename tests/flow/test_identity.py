"""Flow ids: unique, the same for the same capture, others at each live start."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ids.flow.identity import ID_BITS, FlowIds
from ids.flow.keys import KEY_BYTES
from ids.replay import replay
from tests.factory import T0
from tests.flow.traffic import UDP, Pkt, Run, Talk
from tests.replay.test_crew import EXPLOIT, config

KEYS = st.lists(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), min_size=1, max_size=50, unique=True)


def ids(keys: list[bytes], seed: int = 0, number: int = 1) -> list[int]:
    rows = np.arange(len(keys))
    found: list[int] = FlowIds(seed).take(keys, T0 + rows, number + rows).tolist()
    return found


@given(KEYS, st.integers(0, (1 << 64) - 1))
def test_they_are_distinct_exact_as_floats_and_never_zero(keys: list[bytes], seed: int) -> None:
    found = ids(keys, seed)
    assert len(set(found)) == len(keys)
    assert all(0 < number < 1 << ID_BITS and float(number) == number for number in found)
    assert ids(keys, seed) == found
    assert set(ids(keys, seed ^ 1)).isdisjoint(found), "another start"
    assert set(ids(keys, seed, number=2)).isdisjoint(found), "another connection of the same ends"


def test_a_million_differ() -> None:
    flows = FlowIds(7)
    keys = [at.to_bytes(8, "little") * (KEY_BYTES // 8) for at in range(200_000)]
    rows = np.arange(len(keys))
    found = {number for first in range(5) for number in flows.take(keys, T0 + rows, 1 + rows + first).tolist()}
    assert len(found) == 1_000_000


@given(KEYS)
def test_flows_that_would_share_an_id_get_others_while_they_live(keys: list[bytes]) -> None:
    flows = FlowIds()
    times = np.zeros(len(keys), np.int64)
    first = flows.take(keys, times, times)
    again = flows.take(keys, times, times)
    twice = flows.take(keys[:1] * 2, times[:1].repeat(2), times[:1].repeat(2))
    assert len({*first.tolist(), *again.tolist(), *twice.tolist()}) == 2 * len(keys) + 2
    for part in (first, again, twice):
        flows.give_back(part)
    assert flows.take(keys, times, times).tolist() == first.tolist()


def test_a_capture_has_the_same_ids_in_every_replay_whoever_inspects() -> None:
    def alerted(workers: int) -> list[tuple[int, int]]:
        report = replay([EXPLOIT], config(workers))
        return sorted((event["pcap_cnt"], event["flow_id"]) for event in report.alerts)

    assert alerted(1) == alerted(1) == alerted(2) == alerted(3) != []


def test_a_connection_on_the_ports_of_another_has_an_id_of_its_own() -> None:
    first, second = Talk().open().close(), Talk(client_isn=9000, server_isn=90_000).open().close()
    run = Run(first.pkts + second.pkts)
    assert len({flow.id for flow in run.started}) == 2


def test_the_order_of_ends_is_that_of_the_beginnings() -> None:
    run = Run([Pkt(proto=UDP, sport=port) for port in range(1, 50)])
    assert [flow.sport for flow in run.ended] == list(range(1, 50))
