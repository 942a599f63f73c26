"""Numbers the rules of all languages, and sorts them by what notices them: needles, a buffer that is there, headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from ids.counters import Counters
from ids.protocols import BY_NAME, meant
from ids.rules.match.packet_tests import demanded, fixed_bytes
from ids.rules.match.portwise import PortwisePrefilter
from ids.rules.match.prefilter import Prefilter
from ids.rules.match.selectors import Selectors
from ids.rules.model.buffers import CATALOGUE, GROWING, PACKET_HEADERS, PAYLOAD, TRANSPORT_PROTOCOLS
from ids.rules.model.chain import Chain, Content
from ids.rules.model.growth import lasting
from ids.rules.model.header import HeaderNumber
from ids.rules.model.literals import Needle, cover, cover_of
from ids.rules.model.rarity import WEAK_IN_HEAD, WEAK_SCORE, score, score_in_head
from ids.rules.model.rule import All, Anchor, Rule, leaves
from ids.rules.model.script import Script
from ids.rules.model.yara import STREAM, YaraRule
from ids.types import U8

_TCP, _UDP, _OTHER = 6, 17, 255
"""IP protocol numbers; the last stands for all but the first two."""
CARRIERS = _TCP, _UDP, _OTHER
"""What packets are parted by before bytes are looked for in them."""

_EVERYWHERE = frozenset((b" ", b".", b"/", b"\r\n"))
_ALL_OVER_FILES = frozenset(bytes(size) for size in range(1, 5))

LEAST_NEEDLE = 3
"""Bytes of the shortest needle that is looked for in packets where a rule says of other bytes where they stand."""


def _in_head(name: str, needle: Needle) -> bool:
    """Return whether a needle can be looked for in whole heads: rare there, and over no seam of its buffer."""
    return CATALOGUE[name].stands_in_head(needle.value) and score_in_head(needle.value) >= WEAK_IN_HEAD


def _of_packets(rule: Rule) -> bool:
    """Return whether a rule looks for bytes in single packets."""
    if not rule.buffers or not rule.buffers <= PACKET_HEADERS.keys() | {PAYLOAD}:
        return False
    return rule.asks_headers or rule.flow.payload_of == "packet" or rule.buffers != {PAYLOAD}


def carriers_of(protocols: U8) -> U8:
    """Return of packets, by their IP protocol numbers, which of `CARRIERS` they are of."""
    found: U8 = np.where((protocols == _TCP) | (protocols == _UDP), protocols, _OTHER).astype(np.uint8)
    return found


def _carried_by(rule: Rule, carrier: int) -> bool:
    """Return whether packets of one of `CARRIERS` are a rule's."""
    if carrier == _OTHER:
        numbers = TRANSPORT_PROTOCOLS.get(rule.traffic.protocol)
        return not numbers or not numbers <= {_TCP, _UDP}
    return rule.traffic.carried_by(carrier)


def _floods(needle: Needle, least: int) -> bool:
    """Return whether a needle stands all over ordinary packets: it is too short, or one byte again and again."""
    return len(needle.value) < least or len(set(needle.value)) == 1


def _read_at_once(rule: Rule, needles: frozenset[Needle]) -> bool:
    """Return whether columns pick the packets of a rule better than its needles: these are common, and it says where
    four bytes stand, or where some stand in payloads of one size.
    """
    fixed = fixed_bytes(rule.condition)
    if fixed is None or min(score(needle.value, needle.nocase) for needle in needles) >= WEAK_SCORE:
        return False
    return fixed.axis.split(":")[2] == "4" or any(
        isinstance(test, HeaderNumber)
        and test.field == "payload.size"
        and not test.negated
        and all(first == last for first, last in test.intervals)
        for test in demanded(rule.condition)
    )


def _everywhere(needle: Needle) -> bool:
    """Return whether a needle stands in nearly every instance of its buffer, or all over many of them."""
    if needle.anchor is not Anchor.ANYWHERE:
        return False
    return needle.value in _EVERYWHERE or (needle.buffer in GROWING and needle.value in _ALL_OVER_FILES)


def _of_either(rule: Rule) -> bool:
    """Return whether Suricata looks for the bytes of a rule both in single packets and in streams.

    Those that are bound to a place are: it may be one in a packet. Datagrams are single packets anyway.
    """
    if not rule.repeats or rule.buffers != {PAYLOAD} or rule.flow.payload_of is not None:
        return False
    return rule.traffic.carried_by(_TCP) and any(_is_placed(leaf) for leaf in leaves(rule.condition))


def _is_placed(leaf: object) -> bool:
    """Return whether a test says where literals stand, or is none of a chain, as rules in YAML have them."""
    if isinstance(leaf, Script):
        return False
    if not isinstance(leaf, Chain):
        return True
    return any(isinstance(step, Content) and (step.offset, step.depth) != (None, None) for step in leaf.steps)


def _is_named(leaf: object) -> bool:
    """Return whether a test is on a buffer of a protocol."""
    return getattr(leaf, "buffer", PAYLOAD) != PAYLOAD


class RuleIndex:
    """The rules of one load; a rule's number is its place in ``rules``."""

    def __init__(self, rules: Sequence[Rule], yara: Sequence[YaraRule], cache: Path | None, counters: Counters) -> None:
        self.rules: list[Rule | YaraRule] = [*rules, *yara]
        self.identities = tuple(rule.identity for rule in self.rules)
        """What flows remember this load by, which may outlive it: the rules themselves can take tens of megabytes."""
        self.numbers = {identity: number for number, identity in enumerate(self.identities)}
        self.selectors = Selectors([(rule.traffic, rule.flow) for rule in self.rules])
        self.yara_scopes: dict[str, dict[tuple[str, str], int]] = {}
        """Numbers of the YARA rules of each scope, by namespace and name."""
        self.stream_unfiltered: list[int] = []
        self.datagram_unfiltered: list[int] = []
        self.by_buffer: dict[str, list[int]] = {}
        """Rules that nothing but the presence of a buffer notices."""
        self.by_protocol: dict[str, list[int]] = {}
        """Rules that nothing notices but an exchange of a protocol: those of scripts that ask for it."""
        self.headers: list[int] = []
        self._stream: list[tuple[Needle, int]] = []
        self._datagram: list[tuple[Needle, int]] = []
        self._named: dict[str, list[tuple[Needle, int]]] = {}
        self.packet: list[int] = []
        """Rules that look for bytes in single packets, or in their headers, and are noticed by needles,"""
        self.packet_unfiltered: list[int] = []
        """and those of them that no needle picks: their tests on columns do, or nothing can."""
        self.of_either: set[int] = set()
        """Those of both that are looked for in streams and datagrams, too: in packets of TCP only."""
        self.mixed: set[int] = set()
        """Rules that ask for payload and for buffers of a protocol: judged when an exchange is there."""
        self.asks_headers = False
        """Some rule on a protocol's buffers asks for the headers of the packet that completed them."""
        self._in_packets: dict[tuple[str, int], list[tuple[Needle, int]]] = {}
        for number, rule in enumerate(self.rules):
            if isinstance(rule, YaraRule):
                self._sort_yara(rule, number)
            else:
                self._sort(rule, number)
        all_rules = self.rules
        self.stream = PortwisePrefilter(self._stream, all_rules, cache, counters)
        self.datagram = PortwisePrefilter(self._datagram, all_rules, cache, counters)
        self.in_packets = {
            key: PortwisePrefilter(entries, all_rules, cache, counters) for key, entries in self._in_packets.items()
        }
        """By buffer and `CARRIERS`."""
        self.buffers = {name: Prefilter(entries, cache, counters) for name, entries in self._named.items()}
        self.made_always = self.by_buffer.keys() | {
            name for name, entries in self._named.items() if not all(_in_head(name, needle) for needle, _ in entries)
        }
        """Buffers that something is looked for in that an ordinary message's head, as it was sent, need not show."""
        in_heads = [
            (replace(needle, value=needle.value.lower(), nocase=True, anchor=Anchor.ANYWHERE), number)
            for name, entries in self._named.items()
            if name not in self.made_always
            for needle, number in entries
        ]
        self.heads = Prefilter(in_heads, cache, counters)
        """The needles of all other buffers: where a head has none of them, these buffers have none."""

    @staticmethod
    def early(rule: Rule | YaraRule) -> Rule | YaraRule | None:
        """Return what of a rule can be judged on the beginning of a message: where that holds, the rule holds of the
        whole. None: nothing, it waits for the end.
        """
        if isinstance(rule, YaraRule):
            return None if rule.scope in GROWING else rule
        condition = lasting(rule.condition, GROWING)
        if condition is rule.condition:
            return rule
        return replace(rule, condition=condition) if isinstance(condition, All) else None

    def _sort(self, rule: Rule, number: int) -> None:
        needles = cover_of(rule)
        if not rule.exchanges and (_of_packets(rule) or _of_either(rule)):
            least = 2 if fixed_bytes(rule.condition) is None else LEAST_NEEDLE
            floods = not needles or any(_floods(needle, least) for needle in needles)
            if needles and not floods and not _read_at_once(rule, needles):
                self.packet.append(number)
                for needle, carrier in product(needles, CARRIERS):
                    if _carried_by(rule, carrier):
                        self._in_packets.setdefault((needle.buffer, carrier), []).append((needle, number))
            else:
                self.packet_unfiltered.append(number)
            if _of_packets(rule):
                return
            self.of_either.add(number)
        self.asks_headers |= rule.asks_headers and bool(rule.buffers or rule.exchanges)
        if rule.exchanges and rule.buffers <= {PAYLOAD}:
            if rule.buffers:
                self.mixed.add(number)
            for name in rule.exchanges:
                self.by_protocol.setdefault(name, []).append(number)
        elif PAYLOAD in rule.buffers and rule.buffers != {PAYLOAD}:
            self._sort_mixed(rule, number)
        elif PAYLOAD in rule.buffers:
            if needles and any(len(needle.value) == 1 for needle in needles):
                needles = None  # one byte stands in nearly every stream: the traffic of the rule tells more
            entries = [(needle, number) for needle in needles or ()]
            if rule.traffic.carried_by(_TCP):
                self._stream += entries
                self.stream_unfiltered += [] if needles else [number]
            if rule.traffic.protocol != "tcp" and rule.flow.payload_of != "stream":
                self._datagram += entries
                self.datagram_unfiltered += [] if needles else [number]
        elif not rule.buffers:  # of an application protocol: once it is recognised in the stream
            self._sort_bare(rule, number)
        elif needles is None:
            for name in rule.buffers:
                self.by_buffer.setdefault(name, []).append(number)
        else:
            self._sort_named(needles, number)

    def _sort_named(self, needles: frozenset[Needle], number: int) -> None:
        """Sort a rule by needles in buffers of a protocol; what is in nearly all of them tells no more than that a
        buffer is there, and costs a call each time that it is.
        """
        present = {needle.buffer for needle in needles if _everywhere(needle)}
        for name in sorted(present):
            self.by_buffer.setdefault(name, []).append(number)
        for needle in needles:
            if needle.buffer not in present:
                self._named.setdefault(needle.buffer, []).append((needle, number))

    def _sort_mixed(self, rule: Rule, number: int) -> None:
        """Sort a rule on payload and on a protocol's buffers by the latter."""
        self.mixed.add(number)
        parts = [part for part in rule.condition.parts if any(_is_named(leaf) for leaf in leaves(part))]
        needles = cover(All(tuple(parts)))
        if needles is None or any(needle.buffer == PAYLOAD for needle in needles):
            for name in rule.buffers - {PAYLOAD}:
                self.by_buffer.setdefault(name, []).append(number)
            return
        self._sort_named(needles, number)

    def _sort_bare(self, rule: Rule, number: int) -> None:
        """Sort a rule without a test on bytes; one on an application protocol waits until it is recognised."""
        if rule.repeats and rule.flow.payload_of == "stream":
            return  # a packet is none, and of a stream it asks nothing
        protocol = BY_NAME.get(meant(rule.traffic.protocol)[0])
        if protocol is None or rule.repeats or rule.asks_headers:
            self.headers.append(number)
            return
        for ip_proto, rules in ((_TCP, self.stream_unfiltered), (_UDP, self.datagram_unfiltered)):
            if protocol.recognised_over(ip_proto):
                rules.append(number)

    def _sort_yara(self, rule: YaraRule, number: int) -> None:
        self.yara_scopes.setdefault(rule.scope, {})[rule.namespace, rule.name] = number
        entries = [(needle, number) for needle in rule.needles or ()]
        if rule.scope == STREAM:
            if rule.traffic.carried_by(_TCP):
                self._stream += entries
                self.stream_unfiltered += [number] if rule.needles is None else []
        elif rule.needles is None:
            self.by_buffer.setdefault(rule.scope, []).append(number)
        elif entries:
            self._named.setdefault(rule.scope, []).extend(entries)
