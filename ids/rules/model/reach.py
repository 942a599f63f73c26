"""What a rule has to be shown: over which transports its traffic comes."""

from __future__ import annotations

from ids.protocols import BY_NAME
from ids.rules.model.buffers import CATALOGUE, TRANSPORT_PROTOCOLS
from ids.rules.model.rule import Scoped
from ids.rules.model.yara import YaraRule

TRANSPORT_NAMES = {6: "tcp", 17: "udp"}


def transports_of(rule: Scoped) -> frozenset[str] | None:
    """Return which of ``tcp``, ``udp`` and ``other`` a rule looks at; None: it may be all of them."""
    numbers = _spoken_over(rule) if isinstance(rule, YaraRule) else None
    numbers = numbers or TRANSPORT_PROTOCOLS.get(rule.traffic.protocol)
    return frozenset(TRANSPORT_NAMES.get(number, "other") for number in numbers) if numbers else None


def _spoken_over(rule: YaraRule) -> frozenset[int]:
    """Return the IP protocol numbers of what a YARA rule looks at: streams, or buffers of a protocol."""
    buffer = CATALOGUE.get(rule.scope)
    protocol = BY_NAME.get(buffer.protocol) if buffer is not None and buffer.protocol is not None else None
    if protocol is None:
        return TRANSPORT_PROTOCOLS["tcp"]
    return frozenset(number for number in TRANSPORT_NAMES if protocol.recognised_over(number))
