"""The engine on a bench: captures go through it, and what the rules are handed can be watched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ids.capture import open_capture
from ids.config import Config
from ids.engine import Engine
from ids.errors import UsageError
from ids.events import Event, Events
from ids.replay import ReplayGate
from ids.rules.match.flagged import Session
from ids.rules.match.matcher import Matcher
from ids.types import I64, Bool, Datagrams, Direction, FlowBatch, FlowColumns, Match, Packets, Streams, Transactions

log = logging.getLogger(__name__)

RULES = "rules"
"""The plugin that matches rules."""

OnProgress = Callable[[Path, int], None]
_Watch = TypeVar("_Watch", bound="Watch")


class Watch:
    """Stands in the matcher's place, and hands everything on; subclasses look on."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher

    def streams(self, streams: Streams) -> list[Match]:
        """Take the new bytes of TCP."""
        return self.matcher.streams(streams)

    def datagrams(self, datagrams: Datagrams) -> list[Match]:
        """Take the payloads that are no part of a stream."""
        return self.matcher.datagrams(datagrams)

    def transactions(self, transactions: Transactions) -> list[Match]:
        """Take the sides of protocols' exchanges that were completed."""
        return self.matcher.transactions(transactions)

    def packets(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        """Take a batch of packets."""
        return self.matcher.packets(packets, flows)

    def needs(self, flows: FlowColumns, slots: I64, direction: Direction) -> Bool:
        """Return into which flows a rule looks that asks for packets or payload."""
        return self.matcher.needs(flows, slots, direction)

    def flagged(self, session: Session) -> list[Match]:
        """Take the Scapy packets of a flagged flow."""
        return self.matcher.flagged(session)


class Bench:
    """One engine, for captures one after the other."""

    def __init__(self, config: Config) -> None:
        """Load the rules; raises `IdsError` as the engine does."""
        engine = config.engine.model_copy(update={"workers": 1})
        eve = config.eve.model_copy(update={"path": None})
        config = config.model_copy(update={"engine": engine, "eve": eve})
        self.alerts: list[Event] = []
        self.packets = 0
        self._gate = ReplayGate()
        self.engine = Engine(config, self._gate, on_events=self._note, event_types={"alert"})
        self._rules = self.engine.plugins.plugin(RULES)
        if self._rules is None or self._rules.matcher is None:
            raise UsageError("the plugin that matches rules is not at work: take it out of plugins.disabled")

    @property
    def matcher(self) -> Matcher:
        """The rules at work."""
        matcher: Matcher = self._rules.matcher
        return matcher

    @contextmanager
    def watched(self, make: Callable[[Matcher], _Watch]) -> Iterator[_Watch]:
        """Have something watch what the rules are handed, as long as the context lasts."""
        matcher = self._rules.matcher
        watch = make(matcher)
        self._rules.matcher = watch
        try:
            yield watch
        finally:
            self._rules.matcher = matcher

    def run(self, path: Path, on_progress: OnProgress | None = None) -> None:
        """Run a capture, and end its flows; raises `CaptureError`."""
        with open_capture(path) as capture:
            for batch in capture:
                packets = self.engine.process(batch)
                self._gate.observe(batch, lambda packets=packets: packets)  # type: ignore[misc]
                self.packets += len(batch)
                if on_progress is not None:
                    on_progress(path, capture.bytes_read)
            if capture.problem is not None:
                log.warning("%s", capture.problem)
        self._gate = ReplayGate()
        self.engine.drain(self._gate)

    def close(self) -> None:
        """Stop the engine."""
        self.engine.stop()

    def _note(self, events: Events) -> None:
        if "alert" in events.counts:
            self.alerts += [event for event in events if event["event_type"] == "alert"]
