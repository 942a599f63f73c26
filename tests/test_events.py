"""Events as objects and as lines: the same, whichever they came as, and whatever is in them."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.config import load_config
from ids.events import Event, Events, Lines
from ids.replay import replay
from tests.shared import ROOT

TYPES = ("alert", "flow", "http", "stats")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
EVENTS = st.lists(
    st.builds(lambda kind, more: {"event_type": kind, "more": more}, st.sampled_from(TYPES), VALUES), max_size=12
)


def spelt(lines: list[Lines]) -> list[Event]:
    """Parse lines, as whoever reads the file does."""
    return [json.loads(line) for part in lines for line in part.data.decode().split("\n")[:-1]]


@given(EVENTS)
def test_lines_and_objects_say_the_same(rows: list[Event]) -> None:
    events = Events(rows)
    lines = events.lines()
    assert spelt(lines) == rows
    assert list(Events(lines=lines)) == list(events) == rows
    assert all(part.data.count(b"\n") == part.events > 0 for part in lines), "a line feed an event, and nowhere else"


@given(EVENTS)
def test_both_are_counted_alike(rows: list[Event]) -> None:
    for events in (Events(rows), Events(lines=Events(rows).lines())):
        assert len(events) == len(rows)
        assert events.counts == Counter(row["event_type"] for row in rows)
        assert bool(events) is bool(rows)


@given(EVENTS)
def test_neighbours_of_one_type_share_their_lines(rows: list[Event]) -> None:
    runs = [(kind, len(list(run))) for kind, run in groupby(rows, key=lambda row: row["event_type"])]
    assert [(part.event_type, part.events) for part in Events(rows).lines()] == runs


@given(EVENTS, st.sets(st.sampled_from(TYPES)))
def test_some_types_are_picked_in_their_order(rows: list[Event], types: set[str]) -> None:
    assert spelt(Events(rows).lines(types)) == [row for row in rows if row["event_type"] in types]


@given(st.lists(EVENTS, max_size=4))
def test_parts_are_joined_in_their_order(parts: list[list[Event]]) -> None:
    whole = [row for part in parts for row in part]
    joined = Events.joined(map(Events, parts))
    assert list(joined) == whole
    assert len(joined) == len(whole)


@given(EVENTS)
def test_events_travel_to_another_process(rows: list[Event]) -> None:
    again = pickle.loads(pickle.dumps(Events(rows)))
    assert (list(again), again.counts, again.lines()) == (rows, Events(rows).counts, Events(rows).lines())


def test_nothing_is_nothing() -> None:
    for events in (Events(), Events([]), Events.joined([])):
        assert (list(events), events.lines(), events.counts, len(events)) == ([], [], {}, 0)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("a\udcffb", "a\ufffdb"),
        ("\ud83d\ude00", "\U0001f600"),
        (2**70, 2**70),
        (Path("/x"), "/x"),
        ({7: "a number for a key"}, {"7": "a number for a key"}),
        ("\x00\r\n\x85\u2028", "\x00\r\n\x85\u2028"),
    ],
    ids=["no UTF-8", "a pair of surrogates", "a large number", "an object", "a key", "ends of lines"],
)
def test_a_value_that_json_does_not_know_costs_no_event(value: Any, read: Any) -> None:
    rows = [{"event_type": "flow", "n": 1}, {"event_type": "flow", "more": value}, {"event_type": "alert"}]
    first, second, third = spelt(Events(rows).lines())
    assert (first, second["more"], third) == (rows[0], read, rows[2])
    assert len(pickle.loads(pickle.dumps(Events(rows))).rows) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_a_capture_may_be_called_anything(tmp_path: Path, workers: int) -> None:
    """Names of files are bytes, and need be no text."""
    capture = tmp_path / b"\xff\n.pcap".decode("utf-8", "surrogateescape")
    capture.write_bytes((ROOT / "pcaps/log4shell.pcap").read_bytes())
    eve = tmp_path / "eve.json"
    report = replay(
        [capture], load_config(None, ["fastpath.replay=off", f"engine.workers={workers}", f"eve.path={eve}"])
    )
    assert not any(of.get("failures") for of in report.counters.get("plugin", {}).values())
    events = [json.loads(line) for line in eve.read_text().splitlines()]
    assert {event["event_type"] for event in events} >= {"alert", "flow", "http"}
    assert {event.get("pcap_filename", "").rpartition("/")[2] for event in events} <= {"\ufffd\n.pcap", ""}
