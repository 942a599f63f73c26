"""What plugins may count on within a batch: the order of the hooks, final counts, and which process they are in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ids import hookimpl
from ids.capture import open_capture
from ids.config import Config
from ids.counters import Counters
from ids.engine import Engine
from ids.flow.share import Share
from ids.inspection import Findings
from ids.plugin import hookspec
from ids.plugin.context import EngineContext
from ids.plugin.host import PluginHost
from ids.replay.crew import Crew
from ids.replay.gate import ReplayGate
from ids.testing import Session, make_match, make_signature, to_client
from ids.types import (
    FLOW_COUNT,
    I64,
    BlockMode,
    BlockRequest,
    Flow,
    FlowColumns,
    FlowCounts,
    Match,
    Transactions,
)
from tests.shared import ROOT

IN_ORDER = [
    "ids_packets", "ids_flow_start", "ids_streams", "ids_stream", "ids_transactions", "ids_transaction", "ids_flagged",
    "ids_flow_end", "ids_events", "ids_event",
]  # fmt: skip


def plugin_of(**hooks: Callable[..., Any]) -> object:
    """Return a plugin with these functions as its hooks."""
    return type("Plugin", (), {name: hookimpl(function) for name, function in hooks.items()})()


def test_the_hooks_of_a_batch_come_in_the_documented_order() -> None:
    called: list[str] = []

    def note(name: str) -> Callable[..., None]:
        def hook(self: object) -> None:
            called.append(name)

        return hook

    def flag(self: object, flow: Flow) -> None:
        called.append("ids_flow_start")
        flow.flagged = True

    hooks = {name: note(name) for name in reversed(IN_ORDER)} | {"ids_flow_start": flag}
    session = Session(noting=plugin_of(**hooks))
    session.tcp(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    session.end()
    in_batch = called[: called.index("ids_flow_end")]
    assert list(dict.fromkeys(in_batch)) == [name for name in IN_ORDER if name != "ids_flow_end"]
    at_end = called[len(in_batch) :]
    assert list(dict.fromkeys(at_end)) == ["ids_flow_end", "ids_events", "ids_event"], "the rest of a flow is its event"


def test_matches_are_decided_in_the_order_of_their_packets() -> None:
    def matches(self: object, flows: Any) -> list[Match]:
        flow = flows.flows.view(int(flows.slot[0]))
        return [make_match(flow, make_signature(sid=sid), number=number) for sid, number in ((1, 4), (2, 2), (3, 2))]

    session = Session(unordered=plugin_of(ids_packets=matches))
    session.tcp(b"x")
    assert session.sids == [2, 3, 1]


def test_the_counts_of_a_flow_that_ended_have_what_the_gate_did_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise of `ids_flow_end`."""
    ended: list[tuple[tuple[int, int], tuple[int, int]]] = []

    def note(self: object, flow: Flow) -> None:
        ended.append((flow.packets, flow.unseen_packets))

    def counts(self: ReplayGate, flows: FlowColumns, slots: I64) -> FlowCounts:
        counted = np.zeros(len(slots), FLOW_COUNT)
        counted["known"], counted["packets"], counted["bytes"] = True, (100, 200), (1000, 2000)
        counted["first_ns"], counted["last_ns"] = flows.start_ns[slots], flows.last_ns[slots]
        return counted

    monkeypatch.setattr(ReplayGate, "counting", True)
    monkeypatch.setattr(ReplayGate, "counts", counts)
    session = Session(note=plugin_of(ids_flow_end=note))
    session.tcp(b"x")
    session.end()
    ((packets, unseen),) = ended
    assert packets == (100, 200)
    assert 0 < unseen[0] < 100


@pytest.mark.parametrize(("share", "outputs"), [(None, True), (Share(0, 2), False)], ids=["who decides", "a worker"])
def test_outputs_are_opened_where_events_come(share: Share | None, outputs: bool) -> None:
    seen: list[bool] = []

    def note(self: object, context: EngineContext) -> None:
        seen.append(context.outputs)

    config = Config()
    engine = Engine(config, ReplayGate(), plugins=_host(plugin_of(ids_reload=note)))
    engine.inspect(share)
    assert engine.reload(config) == []
    assert seen == [outputs]


def test_an_engine_outlives_a_plugin_that_fails_in_a_reload_and_names_it() -> None:
    config = Config()
    loaded: list[int] = []
    engine = Engine(config, ReplayGate(), plugins=_host(plugin_of(ids_reload=lambda self: loaded.pop)))
    assert engine.unfinished == []
    assert "IndexError" in str(*engine.reload(config))
    assert "plugin plugin failed" in str(*engine.unfinished)


def _host(plugin: object) -> PluginHost:
    host = PluginHost(Counters())
    host.register("plugin", plugin)
    return host


def test_with_workers_detectors_run_in_them_and_decisions_and_outputs_do_not(tmp_path: Path) -> None:
    """The table in docs/plugins.md."""
    calls = tmp_path / "calls"

    def note(hook: str) -> Callable[..., None]:
        def call(self: object) -> None:
            with calls.open("a") as file:
                file.write(f"{hook} {os.getpid()}\n")

        return call

    def block(self: object, transactions: Transactions) -> list[Match]:
        note("ids_transactions")(self)
        signature = make_signature(block=BlockRequest("src_ip", 60, BlockMode.ENFORCE, require_proven=True))
        return [make_match(tx.flow, signature, number=tx.number, ts_ns=tx.ts_ns) for tx in transactions]

    hooks = {hook for name, hook in vars(hookspec).items() if name.startswith("ids_")}
    unasked = {"ids_reload", "ids_interest", "ids_transactions"}
    names = {hook.__name__ for hook in hooks} - unasked
    host = _host(plugin_of(**{name: note(name) for name in names}, ids_transactions=block))
    _replay_with_two_workers(Engine(Config(), ReplayGate(), plugins=host), ROOT / "pcaps" / "scripts.pcap")
    here: dict[str, set[bool]] = {}
    for line in calls.read_text().splitlines():
        hook, pid = line.split()
        here.setdefault(hook, set()).add(int(pid) == os.getpid())
    deciding = {
            "ids_start", "ids_event_types", "ids_veto_block", "ids_events", "ids_event", "ids_changes", "ids_stop",
        }  # fmt: skip
    assert {hook for hook, places in here.items() if places == {True}} == deciding
    inspecting = {"ids_packets", "ids_flow_start", "ids_streams", "ids_stream", "ids_transactions", "ids_transaction",
                  "ids_needs", "ids_flow_end"}  # fmt: skip
    assert {hook for hook, places in here.items() if places == {False}} == inspecting


def _replay_with_two_workers(engine: Engine, path: Path) -> None:
    crew = Crew(engine, [path], 2)
    try:
        with open_capture(path) as capture:
            for batch in capture:
                engine.take(batch, crew.found(len(batch)))
        engine.drain(found=crew.drained())
    finally:
        crew.close()
        engine.stop(Findings())
