"""Matches a set of rules on everything that the stages before hand on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ids.counters import Counters
from ids.rules.buffers import PAYLOAD
from ids.rules.judging import SCAPY_PENDING, Judge
from ids.rules.literals import Needle, cover
from ids.rules.model import Rule, ScapyField, leaves
from ids.rules.packet_matcher import PacketMatcher
from ids.rules.prefilter import Prefilter
from ids.rules.retained import Retained
from ids.rules.settings import RulesSettings
from ids.rules.stream_matcher import StreamMatcher
from ids.rules.transaction_matcher import TransactionMatcher
from ids.types import Direction, Flow, FlowBatch, Match, Packets, StreamChunk, Transaction


class Matcher:
    """All rules of one load. After a reload, ``previous`` hands on what it knows of live flows."""

    def __init__(
        self,
        rules: Sequence[Rule],
        counters: Counters,
        settings: RulesSettings | None = None,
        detector: str = "",
        cache: Path | None = None,
        previous: Matcher | None = None,
    ) -> None:
        settings = settings or RulesSettings()
        self.rules = list(rules)
        self._judge = judge = Judge(counters, detector)
        self.retained: Retained = previous.retained if previous else Retained(settings.memcap_bytes, counters)
        self.retained.memcap_bytes = settings.memcap_bytes
        index = RuleIndex(self.rules, cache)
        self._stream = StreamMatcher(
            self.rules, index.stream, index.stream_unfiltered, judge, self.retained, counters, settings.window_bytes
        )
        self._transactions = TransactionMatcher(
            self.rules, index.buffers, index.transaction_unfiltered, judge, self.retained, counters,
            settings.transactions_per_flow,
        )  # fmt: skip
        self._packets = PacketMatcher(self.rules, index.packets, index.packet_unfiltered, index.headers, judge)

    def stream(self, chunk: StreamChunk) -> list[Match]:
        """Take the next bytes of a direction of a TCP flow."""
        if chunk.flow.proto != 6 or not self._stream.active:
            return []
        return self._stream.chunk(chunk)

    def transaction(self, transaction: Transaction) -> list[Match]:
        """Take one side of a protocol's exchange."""
        return self._transactions.transaction(transaction)

    def packets(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        """Take a batch of packets: header-only rules, and payloads of what is not TCP."""
        return self._packets.packets(packets, flows)

    def flagged(self, flow: Flow, packets: Sequence[Any], when: tuple[int, int]) -> list[Match]:
        """Take the Scapy packets of a flagged flow; judges the Scapy fields of the rules that wait for them."""
        pending: dict[Rule, Direction] = flow.storage.get(SCAPY_PENDING, {})
        matches: list[Match] = []
        for rule, direction in list(pending.items()):
            tests = [leaf for leaf in leaves(rule.condition) if isinstance(leaf, ScapyField)]
            if all(any(_scapy_field(packet, test) for packet in packets) for test in tests):
                del pending[rule]
                matches.append(Match(rule.signature, flow, direction, *when, detector=self._judge.detector))
        return matches

    def flow_end(self, flow: Flow) -> None:
        """Release what is kept of a flow that ended."""
        self._stream.end(flow)
        self._transactions.end(flow)


class RuleIndex:
    """Sorts rules by what notices them: needles of a buffer, the presence of a buffer, or headers."""

    def __init__(self, rules: Sequence[Rule], cache: Path | None) -> None:
        stream: list[tuple[Needle, int]] = []
        packets: list[tuple[Needle, int]] = []
        named: dict[str, list[tuple[Needle, int]]] = {}
        self.stream_unfiltered: list[int] = []
        self.packet_unfiltered: list[int] = []
        self.transaction_unfiltered: list[int] = []
        self.headers: list[int] = []
        for i, rule in enumerate(rules):
            needles = cover(rule.condition)
            if PAYLOAD in rule.buffers:
                entries = [(needle, i) for needle in needles or ()]
                if rule.traffic.carried_by(6):
                    stream += entries
                    self.stream_unfiltered += [] if needles else [i]
                if rule.traffic.protocol != "tcp":
                    packets += entries
                    self.packet_unfiltered += [] if needles else [i]
            elif not rule.buffers:  # of an application protocol: once it is recognised in the stream
                (self.headers if rule.traffic.app_proto is None else self.stream_unfiltered).append(i)
            elif needles is None:
                self.transaction_unfiltered.append(i)
            else:
                for needle in needles:
                    named.setdefault(needle.buffer, []).append((needle, i))
        self.stream = Prefilter(stream, cache)
        self.packets = Prefilter(packets, cache)
        self.buffers = {name: Prefilter(entries, cache) for name, entries in named.items()}


def _scapy_field(packet: Any, test: ScapyField) -> bool:
    """Tell whether a Scapy packet has the layer and the value in its field; text compares with how Scapy spells it."""
    layer = packet.getlayer(test.layer)
    if layer is None or not any(description.name == test.name for description in layer.fields_desc):
        return False
    value = layer.getfieldval(test.name)
    if isinstance(value, bytes):
        return value == str(test.value).encode()
    return bool(value == test.value or str(value) == test.value)
