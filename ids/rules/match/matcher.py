"""Matches a set of rules, of all languages, on everything that the stages before hand on, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ids.counters import Counters
from ids.rules.match.beside import Beside
from ids.rules.match.datagrams import DatagramMatcher
from ids.rules.match.evaluation import Evaluator
from ids.rules.match.flagged import FlaggedMatcher, Session
from ids.rules.match.index import RuleIndex
from ids.rules.match.memory import FlowMemory, Retained
from ids.rules.match.needs import Needs
from ids.rules.match.packets import PacketMatcher
from ids.rules.match.strays import StrayMatcher
from ids.rules.match.streams import StreamMatcher
from ids.rules.match.transactions import TransactionMatcher
from ids.rules.match.yara import YaraScanner
from ids.rules.model.rule import Rule, Scoped, base_of
from ids.rules.model.ruleset import RuleSet
from ids.rules.model.yara import YaraRule
from ids.rules.settings import RulesSettings
from ids.types import (
    I64,
    Bool,
    Datagrams,
    Direction,
    FlowBatch,
    FlowColumns,
    Match,
    Packets,
    Streams,
    Transactions,
)


class Matcher:
    """All rules of one load. After a reload, ``previous`` hands on what it knows of live flows. ``inline``: a packet is
    judged by what it shows itself, as Suricata does where it drops packets."""

    def __init__(
        self,
        loaded: RuleSet,
        flows: FlowColumns,
        counters: Counters,
        settings: RulesSettings | None = None,
        detector: str = "",
        cache: Path | None = None,
        previous: Matcher | None = None,
        *,
        inline: bool = False,
    ) -> None:
        settings = settings or RulesSettings()
        memory: FlowMemory = previous.memory if previous else FlowMemory(flows, settings.memcap_bytes, counters)
        memory.retained.memcap_bytes = settings.memcap_bytes
        self.memory: FlowMemory = memory
        self.index = index = RuleIndex(loaded.rules, loaded.yara.rules, cache, counters)
        self.evaluator = evaluator = Evaluator(counters, memory, detector)
        self.scanner = scanner = YaraScanner(
            loaded.yara, index.yara_scopes, counters, settings.yara_timeout_s, lambda: memory.flows.epoch
        )
        self._streams = StreamMatcher(index, evaluator, scanner, memory, counters, settings.window_bytes)
        self._datagrams = DatagramMatcher(index, evaluator)
        self.packet_matcher = PacketMatcher(index, evaluator, flows, counters, inline=inline)
        self._beside = Beside(memory, self.packet_matcher.payload_of) if index.mixed else None
        self.transaction_matcher = TransactionMatcher(
            index, evaluator, scanner, memory, counters, settings.transactions_per_flow,
            self.packet_matcher.header_answer, self._beside,
        )  # fmt: skip
        self._strays = StrayMatcher(index, evaluator)
        self._flagged = FlaggedMatcher(index, evaluator, memory, counters)
        self._needs = Needs(index.rules)

    @property
    def rules(self) -> Sequence[Scoped]:
        """The rules of all languages."""
        return self.index.rules

    @property
    def buffers(self) -> set[str]:
        """The names of all buffers that rules ask for."""
        of_rules = {base_of(name) for rule in self.rules if isinstance(rule, Rule) for name in rule.buffers}
        return of_rules | {rule.scope for rule in self.rules if isinstance(rule, YaraRule)}

    @property
    def stores(self) -> bool:
        """Whether a rule asks for files to be stored."""
        return any(isinstance(rule, Rule) and rule.signature.stores is not None for rule in self.rules)

    @property
    def retained(self) -> Retained:
        """The account of what is kept of flows."""
        return self.memory.retained

    def needs(self, flows: FlowColumns, slots: I64, direction: Direction) -> Bool:
        """Return for each flow whether a rule looks at packets or payload of a direction, whatever its parser says."""
        return self._needs.of(flows, slots, direction)

    def streams(self, streams: Streams) -> list[Match]:
        """Take the new bytes of TCP."""
        if self._beside is not None:
            self._beside.note(streams=streams)
        return self._streams.streams(streams)

    def datagrams(self, datagrams: Datagrams) -> list[Match]:
        """Take the payloads that are no part of a stream."""
        if self._beside is not None:
            self._beside.note(datagrams=datagrams)
        return self._datagrams.datagrams(datagrams)

    def transactions(self, transactions: Transactions) -> list[Match]:
        """Take the sides of protocols' exchanges that were completed."""
        return self.transaction_matcher.transactions(transactions)

    def packets(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        """Take a batch of packets, for rules that are judged packet by packet."""
        if self._beside is not None:
            self._beside.begin()
        return self.packet_matcher.packets(packets, flows) + self._strays.packets(packets, flows)

    def flagged(self, session: Session) -> list[Match]:
        """Take the Scapy packets of a flagged flow, for the rules that wait for them."""
        return self._flagged.flagged(session)
