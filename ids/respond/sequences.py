"""Which rules matched before, for the same party: three logins that fail, then one that succeeds.

Only matches of rules that another rule comes ``after`` are remembered, and of each party no more than it asks for.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TypeAlias

from ids.counters import Counters
from ids.respond.parties import Party, party_of
from ids.types import After, Match

MAX_REMEMBERED = 131_072
"""Parties, over all rules. The one that matched longest ago goes first: a rule that comes after its matches is then not
heard; counted."""

_Key: TypeAlias = tuple[int, str, Party]


class Sequences:
    """The times of the latest matches, within bounds."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._times: OrderedDict[_Key, deque[int]] = OrderedDict()

    def remember(self, match: Match) -> None:
        """Remember a match for the rules that come after it."""
        for way in match.signature.remembered:
            key = (match.signature.sid, way.by, party_of(match, way.by))
            times = self._times.get(key)
            if times is None or times.maxlen != way.times:  # its rule was loaded anew, with another number
                times = self._times[key] = deque(times or (), maxlen=way.times)
            times.append(match.ts_ns)
            self._times.move_to_end(key)
            if len(self._times) > MAX_REMEMBERED:
                self._times.popitem(last=False)
                self._counters.add("respond.sequences.evicted")

    def holds(self, match: Match, wanted: After) -> bool:
        """Return whether what has to come before a match did."""
        oldest_ns = match.ts_ns - wanted.seconds * 1_000_000_000
        party = party_of(match, wanted.by)
        count = 0
        for sid in wanted.sids:
            for time_ns in reversed(self._times.get((sid, wanted.by, party), ())):
                if time_ns < oldest_ns:
                    break
                count += 1
                if count >= wanted.times:
                    return True
        return False
