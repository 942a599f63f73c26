"""The one caller of libyara: runs the compiled rules of a scope over one piece of data, and shows what matched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yara

from ids.counters import Counters
from ids.rules.match.conditions import MAX_EVIDENCE, shown
from ids.types import Evidence


class YaraScanner:
    """Compiled rules by scope, and the numbers of the rules in them."""

    def __init__(
        self,
        compiled: Mapping[str, Any],
        numbers: Mapping[str, Mapping[tuple[str, str], int]],
        counters: Counters,
        timeout_s: int,
    ) -> None:
        """Take ``yara.Rules`` by scope, and the numbers of its rules by namespace and name."""
        self._compiled = compiled
        self._numbers = numbers
        self._counters = counters
        self._timeout_s = timeout_s

    def scan(self, scope: str, data: bytes) -> dict[int, Any]:
        """Return the rules of this scope that match, by number, each with libyara's match."""
        self._counters.add("yara.scans")
        self._counters.add("yara.bytes", len(data))
        try:
            found = self._compiled[scope].match(
                data=data, fast=True, timeout=self._timeout_s, warnings_callback=self._warned
            )
        except yara.TimeoutError:
            self._counters.add("yara.timeout")
            return {}
        except yara.Error:
            self._counters.add("yara.error")
            return {}
        known = self._numbers[scope]
        return {known[key]: match for match in found if (key := (match.namespace, match.rule)) in known}

    def _warned(self, *_what: object) -> int:
        self._counters.add("yara.too_many_matches")
        return int(yara.CALLBACK_CONTINUE)


def yara_evidence(found: Any, buffer: str, data: bytes, base: int = 0) -> tuple[Evidence, ...]:
    """Show the first instance of each string that libyara found; ``base`` is the stream offset of ``data``."""
    places = [string.instances[0] for string in found.strings[:MAX_EVIDENCE]]
    return tuple(shown(buffer, data, place.offset, place.offset + len(place.matched_data), base) for place in places)


def yara_end(found: Any) -> int | None:
    """Return up to where the data has the first instance of each string that libyara found; None without any."""
    ends = [string.instances[0].offset + len(string.instances[0].matched_data) for string in found.strings]
    return max(ends, default=None)
