"""Counters of several workers as those of one engine."""

from __future__ import annotations

import pytest

from ids.counters import Counters


@pytest.mark.parametrize(
    ("same_packets", "decoded"), [(True, 100), (False, 160)], ids=["a capture", "interfaces, each its share"]
)
def test_packets_that_every_worker_decodes_count_once(same_packets: bool, decoded: int) -> None:
    workers = [{"decode.packets": 100, "flow.total": 3}, {"decode.packets": 60, "flow.total": 4}]
    summed = Counters().with_workers(workers, same_packets=same_packets)
    assert (summed["decode.packets"], summed["flow.total"]) == (decoded, 7)


def test_rules_are_loaded_once_however_many_workers_reloaded_them() -> None:
    counters = Counters()
    each = {"rules.loaded": 89, "rules.refused": 3}
    for name, value in each.items():
        counters.set(name, value)
    summed = counters.with_workers([{**each, "rules.matches": 1}] * 2, same_packets=False)
    assert (summed["rules.loaded"], summed["rules.refused"], summed["rules.matches"]) == (89, 3, 2)
