"""Connections that follow each other on the same ports within a batch are parted, and that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ids.flow import lives
from ids.flow.keys import Groups, group
from ids.flow.lives import MAX_LIVES, WORTH_A_WAVE, parted
from tests.flow.traffic import ACK, SYN, Pkt, Run, Talk, columns

LONG = [b"x"] * WORTH_A_WAVE
FOREVER_NS = 10**18


def again(lives_of: int, said: Sequence[bytes] = LONG, end: bool = True) -> list[Pkt]:
    """Return connections of the same ports, one after the other."""
    pkts: list[Pkt] = []
    for number in range(lives_of):
        talk = Talk(1000 * number, 77_000 * number).open()
        for data in said:
            talk.client(data).server(data)
        pkts += talk.close().pkts if end else talk.pkts
    return pkts


def groups_of(pkts: Sequence[Pkt]) -> Groups:
    """Return the groups of a batch as they are parted."""
    packets = columns(pkts)
    return parted(group(packets, packets.batch.ts_ns, FOREVER_NS), packets)


@pytest.mark.parametrize("count", [1, 2, MAX_LIVES, MAX_LIVES + 3])
def test_each_connection_is_a_group_of_its_own(count: int) -> None:
    size = len(again(1))
    groups = groups_of([*again(count), Pkt(sport=9)])
    of_ports = sorted((groups.ends - groups.starts).tolist())[1:]
    assert of_ports[: MAX_LIVES - 1] == [size] * min(count, MAX_LIVES - 1)
    assert sum(of_ports) == count * size
    assert len(of_ports) == min(count, MAX_LIVES)
    assert len(groups.keys) == len(groups.starts) == len(groups.order)


@pytest.mark.parametrize(
    "pkts",
    [
        again(2, said=[]),  # not worth it
        again(2, end=False),  # the first goes on, for all that one can see
        [Pkt(flags=SYN, seq=seq) for seq in range(3 * WORTH_A_WAVE)],
        [*again(1), *[Pkt(flags=SYN | ACK)] * WORTH_A_WAVE],
    ],
)
def test_other_packets_stay_together(pkts: list[Pkt]) -> None:
    assert len(groups_of(pkts).starts) == 1


@pytest.mark.parametrize("count", [2, 3, MAX_LIVES + 3])
@pytest.mark.parametrize("batch", [1 << 20, 50])
def test_what_they_come_to_is_the_same(monkeypatch: pytest.MonkeyPatch, count: int, batch: int) -> None:
    monkeypatch.setattr(lives, "WORTH_A_WAVE", 1)
    pkts = again(count, said=[b"a", b"b"])
    run, careful = Run(pkts, batch=batch), Run(pkts, orderly_lane=False)
    assert run.summary() == careful.summary()
    assert run.counters.values == careful.counters.values
    assert [flow.reason for flow in run.ended] == ["tcp_reuse"] * (count - 1) + ["shutdown"]
