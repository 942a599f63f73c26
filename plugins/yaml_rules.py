"""The rules of YAML files (and of every language that loads into the same model) as a detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ids import hookimpl
from ids.errors import RulesRefused
from ids.rules.buffers import TRANSPORT_PROTOCOLS
from ids.rules.judging import SCAPY_PENDING
from ids.rules.loader import load_rules
from ids.rules.matcher import Matcher
from ids.rules.paths import cache_directory
from ids.types import Flow, FlowBatch, Match, Packets, StreamChunk, Transaction

if TYPE_CHECKING:
    from ids.plugin.context import EngineContext
    from ids.plugin.session import FlowSession

NAME = "yaml_rules"
TRANSPORT_NAMES = {6: "tcp", 17: "udp"}


class YamlRules:
    """Loads the rules of ``rules.paths`` and matches them. A reload with bad rules leaves the old ones at work."""

    def __init__(self) -> None:
        self.matcher: Matcher | None = None

    @hookimpl
    def ids_start(self, context: EngineContext) -> None:
        """Load the rules; raises `RulesRefused` where one is bad."""
        self.matcher = None
        self._load(context)()

    @hookimpl
    def ids_reload(self, context: EngineContext) -> Callable[[], None]:
        """Load the rules anew; raises `RulesRefused`, and then the old ones stay."""
        return self._load(context)

    @hookimpl
    def ids_interest(self) -> set[str] | None:
        """Tell which transports the loaded rules look at."""
        wanted: set[str] = set()
        for rule in self.matcher.rules if self.matcher else ():
            numbers = TRANSPORT_PROTOCOLS.get(rule.traffic.protocol)
            if not numbers:
                return None
            wanted |= {TRANSPORT_NAMES.get(number, "other") for number in numbers}
        return wanted

    @hookimpl
    def ids_packets(self, packets: Packets, flows: FlowBatch) -> list[Match] | None:
        """Match header-only rules, and payloads of UDP and ICMP."""
        return self.matcher.packets(packets, flows) if self.matcher else None

    @hookimpl
    def ids_stream(self, chunk: StreamChunk) -> list[Match] | None:
        """Match payloads of TCP."""
        return self.matcher.stream(chunk) if self.matcher else None

    @hookimpl
    def ids_transaction(self, transaction: Transaction) -> list[Match] | None:
        """Match the buffers of protocols."""
        return self.matcher.transaction(transaction) if self.matcher else None

    @hookimpl
    def ids_flagged(self, session: FlowSession) -> list[Match] | None:
        """Match the Scapy fields of rules whose other tests hold."""
        flow = session.flow
        if self.matcher is None or not flow.storage.get(SCAPY_PENDING):
            return None
        return self.matcher.flagged(flow, session.packets, (flow.last_ns, flow.first_number))

    @hookimpl
    def ids_flow_end(self, flow: Flow) -> None:
        """Let go what is kept of the flow."""
        if self.matcher:
            self.matcher.flow_end(flow)

    def _load(self, context: EngineContext) -> Callable[[], None]:
        """Load the rules; return what puts them in force."""
        settings = context.config.rules
        cache = cache_directory(settings)
        loaded = load_rules(settings.paths, context.config.vars, settings.exclude, settings.disabled_sids, cache=cache)
        if loaded.errors:
            raise RulesRefused(list(loaded.errors))
        matcher = Matcher(loaded.rules, context.counters, settings, NAME, cache, previous=self.matcher)

        def commit() -> None:
            self.matcher = matcher
            context.counters.set("rules.loaded", len(loaded.rules))

        return commit


plugin = YamlRules()
