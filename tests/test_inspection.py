"""Inspection: hooks are called in the documented order, and no event is made that nobody reads."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from ids import hookimpl, inspection
from ids.config import Config
from ids.counters import Counters
from ids.engine import Engine
from ids.flow.share import Share
from ids.inspection import Findings, Inspection
from ids.plugin import hookspec
from ids.plugin.host import PluginHost
from ids.replay import ReplayGate
from ids.testing import Session, to_client
from ids.types import (
    Direction,
    Flow,
    FlowColumns,
    Match,
    PacketBatch,
    Packets,
    StreamChunk,
    Transaction,
)
from tests.factory import make_flow, make_match
from tests.replay.batches import batch_of, conversation

REQUEST = b"GET /a HTTP/1.1\r\nHost: h.example\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
DATAGRAM = bytes(Ether() / IP(src="192.0.2.1", dst="203.0.113.1") / UDP(sport=5000, dport=9) / b"hello")
CONFIG = Config.model_validate({"rules": {"paths": []}})


def inspector(
    host: PluginHost | None = None,
    wanted: Collection[str] | None = None,
    counters: Counters | None = None,
    share: Share | None = None,
) -> Inspection:
    """Return an inspection with these plugins, or none."""
    counters = counters or Counters()
    host = host or PluginHost(counters)
    return Inspection(CONFIG, host, FlowColumns(), ReplayGate(), counters, live=False, wanted=wanted, share=share)


def exchange(close: bool = True) -> list[bytes]:
    return conversation(REQUEST, RESPONSE, close=close)


class Recorder:
    """Implements every hook that sees traffic, and notes its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def of(self, hook: str) -> list[Any]:
        return [value for name, value in self.calls if name == hook]

    @hookimpl
    def ids_packets(self, packets: Any, flows: Any) -> None:
        self.calls.append(("ids_packets", len(packets)))

    @hookimpl
    def ids_flow_start(self, flow: Flow) -> None:
        flow.flagged = True
        self.calls.append(("ids_flow_start", flow.sport))

    @hookimpl
    def ids_streams(self, streams: Any) -> None:
        self.calls.append(("ids_streams", len(streams)))

    @hookimpl
    def ids_stream(self, chunk: StreamChunk) -> None:
        self.calls.append(("ids_stream", (chunk.direction, chunk.data, chunk.closed)))

    @hookimpl
    def ids_datagrams(self, datagrams: Any) -> None:
        self.calls.append(("ids_datagrams", [datagram.data for datagram in datagrams]))

    @hookimpl
    def ids_transactions(self, transactions: Any) -> None:
        self.calls.append(("ids_transactions", len(transactions)))

    @hookimpl
    def ids_transaction(self, transaction: Transaction) -> None:
        self.calls.append(("ids_transaction", (transaction.direction, transaction.complete)))

    @hookimpl
    def ids_flagged(self, session: Any) -> None:
        self.calls.append(("ids_flagged", len(session.frames)))

    @hookimpl
    def ids_flow_end(self, flow: Flow) -> None:
        self.calls.append(("ids_flow_end", (flow.sport, flow.packets)))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def host(recorder: Recorder) -> PluginHost:
    host = PluginHost(Counters())
    host.register("recorder", recorder)
    return host


def test_hooks_are_called_in_the_order_in_which_they_are_documented(host: PluginHost, recorder: Recorder) -> None:
    """The specification lists them in the order of a packet's life; a batch may have all of them."""
    whole = inspector(host)
    whole.process(batch_of([*exchange(), DATAGRAM]))
    whole.drain()
    documented = [name for name in vars(hookspec) if name in recorder.names()]
    assert len(documented) == len([name for name in dir(recorder) if name.startswith("ids_")]) == 9
    assert list(dict.fromkeys(recorder.names())) == documented


def test_the_forms_that_are_called_one_at_a_time_say_what_the_batch_says(host: PluginHost, recorder: Recorder) -> None:
    whole = inspector(host)
    for number, frame in enumerate([*exchange(), DATAGRAM], 1):
        whole.process(batch_of([frame], first=number))
    whole.drain()
    assert recorder.of("ids_flow_start") == [40000, 5000]
    assert sum(recorder.of("ids_streams")) == len(recorder.of("ids_stream"))
    assert sum(recorder.of("ids_transactions")) == len(recorder.of("ids_transaction")) == 2
    assert recorder.of("ids_transaction") == [(Direction.TO_SERVER, False), (Direction.TO_CLIENT, True)]
    assert recorder.of("ids_datagrams") == [[b"hello"]]
    chunks = recorder.of("ids_stream")
    for direction, said in zip(Direction, (REQUEST, RESPONSE), strict=True):
        mine = [(data, closed) for which, data, closed in chunks if which == direction]
        assert b"".join(data for data, _ in mine) == said
        assert [closed for _, closed in mine].count(True) == 1
        assert mine[-1][1], "the last one closes"
    assert sorted(recorder.of("ids_flow_end")) == [(5000, (1, 0)), (40000, (5, 3))]


def test_a_flow_starts_before_its_bytes_and_ends_after_them(host: PluginHost, recorder: Recorder) -> None:
    whole = inspector(host)
    whole.process(batch_of(exchange(close=False)))
    assert "ids_flow_end" not in recorder.names()
    whole.drain()
    names = recorder.names()
    assert names.index("ids_flow_start") < names.index("ids_stream")
    assert names.index("ids_flow_end") > max(at for at, name in enumerate(names) if name == "ids_stream")


def test_matches_come_in_the_order_of_their_packets_signed_and_marked() -> None:
    class Detector:
        """Finds something in every chunk and transaction."""

        @hookimpl
        def ids_stream(self, chunk: StreamChunk) -> list[Match]:
            return [make_match(chunk.flow, number=chunk.number, detector="")]

        @hookimpl
        def ids_transaction(self, transaction: Transaction) -> list[Match]:
            return [make_match(transaction.flow, number=transaction.number, detector="")]

    host = PluginHost(Counters())
    host.register("finder", Detector())
    whole = inspector(host)
    found = whole.process(batch_of([*exchange(), DATAGRAM]))
    numbers = [match.number for match in found.matches]
    assert numbers == sorted(numbers)
    assert set(numbers) >= {4, 5}
    assert {match.detector for match in found.matches} == {"finder"}
    last = whole.drain()
    assert [event["src_port"] for event in last.matched_flows] == [40000]
    assert [event["src_port"] for event in last.flows] == [5000], "nothing was found in it"


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        (None, {"http": 1, "fileinfo": 1, "flow": 2}),
        ({"fileinfo"}, {"fileinfo": 1}),
        ({"http"}, {"http": 1}),
        ({"flow", "alert"}, {"flow": 2}),
        ({"alert"}, {}),
        (set(), {}),
    ],
)
def test_events_that_nobody_reads_are_not_made(wanted: set[str] | None, made: dict[str, int]) -> None:
    whole = inspector(wanted=wanted)
    found = Findings.merged([whole.process(batch_of([*exchange(), DATAGRAM])), whole.drain()])
    assert dict(Counter(found.transactions.counts) + Counter(found.flows.counts)) == made
    assert len(found.ended) == 2, "that flows end is known in any case"


@pytest.mark.parametrize("sides", [["query", "answer"], ["query"], ["answer"], []])
def test_dns_events_are_of_the_sides_that_are_asked_for(tmp_path: Path, sides: list[str]) -> None:
    question = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\3www\0\0\1\0\1"
    answer = question[:2] + b"\x81\x80" + question[4:]
    asked = Ether() / IP(src="192.0.2.1", dst="203.0.113.1") / UDP(sport=5000, dport=53) / question
    answered = Ether() / IP(src="203.0.113.1", dst="192.0.2.1") / UDP(sport=53, dport=5000) / answer
    path = tmp_path / "eve.json"
    eve = {"path": str(path), "types": ["dns"], "dns": sides}
    engine = Engine(Config.model_validate({"rules": {"paths": []}, "eve": eve}), ReplayGate())
    engine.process(batch_of([bytes(asked), bytes(answered)]))
    engine.stop()
    written = [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    assert [event["dns"]["type"] for event in written] == sides


def test_an_event_that_is_not_made_costs_no_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser makes them for whoever asks."""
    asked: list[Transaction] = []

    def spelt(transaction: Transaction) -> str:
        asked.append(transaction)
        return '"http":{}'

    monkeypatch.setattr(Transaction, "fields", property(spelt))
    monkeypatch.setattr(Transaction, "spelt", spelt)
    inspector(wanted={"flow"}).process(batch_of(exchange()))
    assert asked == []
    inspector(wanted={"http"}).process(batch_of(exchange()))
    assert [transaction.complete for transaction in asked] == [True]


@pytest.mark.parametrize(
    ("eve", "expected"),
    [
        ({"types": ["http", "stats"]}, {"http", "stats"}),
        ({"types": ["flow"]}, {"flow"}),
        ({}, {"http", "fileinfo", "flow", "stats"}),
        (None, set()),
    ],
)
def test_the_engine_makes_what_its_outputs_read(
    tmp_path: Path, eve: dict[str, list[str]] | None, expected: set[str]
) -> None:
    path = tmp_path / "eve.json"
    settings = {"rules": {"paths": []}, "eve": {} if eve is None else {"path": str(path), **eve}}
    engine = Engine(Config.model_validate(settings), ReplayGate())
    engine.process(batch_of([*exchange(), DATAGRAM]))
    engine.stop()
    written = [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    assert {event["event_type"] for event in written} == expected
    assert {name for name in ("http", "fileinfo", "flow") if engine.counters[f"events.{name}"]} == expected - {"stats"}


def many_flows(count: int) -> PacketBatch:
    """One datagram of each of many flows."""
    batch = batch_of([DATAGRAM] * count)
    data = batch.data.copy().reshape(count, len(DATAGRAM))
    ports = np.arange(1, count + 1, dtype=">u2")
    data[:, 34:36] = ports.view(np.uint8).reshape(count, 2)
    data[:, 40:42] = 0  # no checksum
    return batch_of([row.tobytes() for row in data])


def test_very_many_flow_events_are_spelt_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a capture may have a hundred thousand."""
    said = []
    for limit in (10, 1000):
        monkeypatch.setattr(inspection, "FLOWS_AT_ONCE", limit)
        whole = inspector()
        whole.process(many_flows(333))
        found = whole.drain()
        assert (len(found.flows), found.flows.counts) == (333, {"flow": 333})
        said.append([orjson.loads(orjson.dumps(event)) for event in found.flows])
    assert said[0] == said[1]
    assert [event["src_port"] for event in said[0]] == list(range(1, 334))


def test_shares_together_are_the_whole() -> None:
    batch = many_flows(200)
    parts = []
    for number in range(3):
        part = inspector(share=Share(number, 3, seed=7))
        part.process(batch)
        parts.append(part.drain())
    assert all(len(part.flows) > 30 for part in parts), "each has about a third"
    merged = Findings.merged(parts)
    assert sorted(event["src_port"] for event in merged.flows) == list(range(1, 201))
    assert len(merged.ended) == 200


class OfNoFlow:
    """Finds something in each packet, which has no flow."""

    @hookimpl
    def ids_packets(self, packets: Packets, flows: Any) -> list[Match]:
        return [make_match(make_flow(id=0), number=int(number)) for number in packets.batch.number]


def test_one_worker_alone_reports_of_packets_without_a_flow() -> None:
    """All workers decode all packets of a capture."""
    found = []
    for share in (None, Share(0, 2), Share(1, 2)):
        counters = Counters()
        host = PluginHost(counters)
        host.register("of no flow", OfNoFlow())
        found.append(len(inspector(host, counters=counters, share=share).process(batch_of(exchange())).matches))
    assert found == [8, 8, 0]


def test_both_directions_of_a_flow_meet_in_one_share() -> None:
    seen = []
    for number in range(2):
        part = inspector(share=Share(number, 2))
        part.process(batch_of(exchange()))
        seen += [(event["flow"]["pkts_toserver"], event["flow"]["pkts_toclient"]) for event in part.drain().flows]
    assert seen == [(5, 3)]


def test_fragments_are_let_go_by_the_clock_too() -> None:
    """What a flood left would stay until somebody else sends a fragment."""
    counters = Counters()
    inspected = inspector(counters=counters)
    batch = batch_of([bytes(Ether() / IP(src="192.0.2.1", dst="198.51.100.2", flags="MF", proto=17) / (b"f" * 8))])
    inspected.process(batch)
    assert counters["decode.defrag.active"] == 1
    inspected.expire(int(batch.ts_ns[0]) + 2 * int(CONFIG.decode.defrag.timeout_s * 1e9) + 1)
    assert counters["decode.defrag.active"] == 0


def test_time_is_spent_where_the_counters_say() -> None:
    counters = Counters()
    inspector(counters=counters).process(batch_of(exchange()))
    assert {name for name in counters.values if name.startswith("time_us.")} == {
        f"time_us.{stage}" for stage in inspection.STAGES
    }


def test_every_hook_for_traffic_is_tried_here() -> None:
    takes = {name for name in vars(hookspec) if name.startswith("ids_")}
    others = {"ids_start", "ids_reload", "ids_interest", "ids_event_types", "ids_veto_block", "ids_events", "ids_event"}
    others |= {"ids_stop", "ids_needs", "ids_changes"}
    assert takes - others == {name for name, _ in inspect.getmembers(Recorder) if name[:4] == "ids_"}


class Counting:
    """Counts sides of exchanges, as a detector of many refusals does."""

    def __init__(self) -> None:
        self.whole = self.each = self.parts = 0

    @hookimpl
    def ids_transactions(self, transactions: Any, parts: Any) -> None:
        self.whole += len(transactions)
        self.parts += len(parts)

    @hookimpl
    def ids_transaction(self, transaction: Any) -> None:
        self.each += 1


def test_a_side_that_comes_in_parts_counts_once() -> None:
    """Else an honest client is taken for one that guesses passwords."""
    counting = Counting()
    session = Session(counting=counting)
    session.tcp(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n", b"abc", b"def",
        to_client(b"HTTP/1.1 401 No\r\nContent-Length: 6\r\n\r\n"), to_client(b"abcdef"), batch=1,
    )  # fmt: skip
    assert (counting.whole, counting.each) == (2, 2)
    assert counting.parts == 5
