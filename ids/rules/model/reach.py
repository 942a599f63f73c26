"""What a rule has to be shown: over which transports its traffic comes."""

from __future__ import annotations

from ids.protocols import BY_NAME
from ids.protocols.files import FILE_BUFFERS
from ids.rules.model.buffers import CATALOGUE, PACKET_HEADERS, PAYLOAD, TRANSPORT_PROTOCOLS
from ids.rules.model.rule import Rule, Scoped
from ids.rules.model.yara import STREAM, YaraRule

TRANSPORT_NAMES = {6: "tcp", 17: "udp"}


def transports_of(rule: Scoped) -> frozenset[str] | None:
    """Return which of ``tcp``, ``udp`` and ``other`` a rule looks at; None: it may be all of them."""
    numbers = _spoken_over(rule) if isinstance(rule, YaraRule) else None
    numbers = numbers or TRANSPORT_PROTOCOLS.get(rule.traffic.protocol)
    return frozenset(TRANSPORT_NAMES.get(number, "other") for number in numbers) if numbers else None


def reads_raw(rule: Scoped) -> bool:
    """Return whether a rule looks at more than buffers that a parser fills: at payload or packets, or at no byte."""
    if isinstance(rule, YaraRule):
        return rule.scope == STREAM
    if isinstance(rule, Rule) and rule.exchanges and not rule.buffers:
        return rule.asks_headers
    if not isinstance(rule, Rule) or not rule.buffers or rule.buffers & (PACKET_HEADERS.keys() | {PAYLOAD}):
        return True
    return rule.asks_headers or rule.needs_scapy


def _spoken_over(rule: YaraRule) -> frozenset[int]:
    """Return the IP protocol numbers of what a YARA rule looks at: streams, or buffers of a protocol."""
    buffer = CATALOGUE.get(rule.scope)
    if buffer is None or rule.scope in FILE_BUFFERS:
        return TRANSPORT_PROTOCOLS["tcp"]
    if buffer.protocol is None:  # of several protocols
        return frozenset(TRANSPORT_NAMES)
    return frozenset(number for number in TRANSPORT_NAMES if BY_NAME[buffer.protocol].recognised_over(number))
