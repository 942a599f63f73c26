"""The comparison of two trees finds what differs, names it, and takes nothing else for a difference."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.bench_same import Differences, Event, compare_events

ALERT: Event = {
    "event_type": "alert", "timestamp": "t1", "flow_id": 7, "pcap_cnt": 4, "src_ip": "192.0.2.1", "src_port": 1,
    "dest_ip": "203.0.113.1", "dest_port": 80, "proto": "TCP", "alert": {"signature_id": 1, "severity": 2},
    "flow": {"pkts_toserver": 3},
}  # fmt: skip
FLOW: Event = {**ALERT, "event_type": "flow", "timestamp": "t2"}
OTHER: Event = {**ALERT, "src_ip": "192.0.2.2", "flow_id": 8}


def kinds(before: list[Event], after: list[Event], *ignored: str) -> dict[str, int]:
    found = Differences(ignored)
    compare_events("a.pcap", before, after, found)
    return dict(found.counts)


def with_value(event: Event, path: str, value: Any) -> Event:
    head, _, rest = path.partition(".")
    return {**event, head: with_value(event[head], rest, value) if rest else value}


def test_neither_order_nor_numbers_of_flows_matter() -> None:
    renumbered = [{**OTHER, "flow_id": 70}, {**FLOW, "flow_id": 80}, {**ALERT, "flow_id": 80}]
    assert kinds([ALERT, FLOW, OTHER], renumbered) == {}


def test_one_flow_that_became_two_is_found_and_two_that_became_one() -> None:
    split = [ALERT, {**FLOW, "flow_id": 9}]
    assert kinds([ALERT, FLOW], split) == {"flow_id: not one flow for another": 1}
    assert kinds(split, [ALERT, FLOW]) == {"flow_id: not one flow for another": 1}


@pytest.mark.parametrize(
    ("path", "value"),
    [("alert.severity", 3), ("flow.pkts_toserver", 3.0), ("pcap_cnt", 5), ("timestamp", "t9"), ("flow", {})],
)
def test_a_field_that_differs_is_named(path: str, value: Any) -> None:
    kind = "alert.flow.pkts_toserver" if value == {} else f"alert.{path}"
    assert kinds([ALERT, OTHER], [OTHER, with_value(ALERT, path, value)]) == {kind: 1}


def test_what_only_one_has_is_counted_for_that_one() -> None:
    assert kinds([ALERT, ALERT, FLOW], [ALERT, FLOW, OTHER]) == {"alert: only in base": 1, "alert: only here": 1}


def test_kinds_that_are_ignored_do_not_count() -> None:
    changed = with_value(ALERT, "alert.severity", 3)
    assert kinds([ALERT, FLOW], [changed], "alert.alert") == {"flow: only in base": 1}
