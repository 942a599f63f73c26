"""How many different things a party was seen with lately: ports of one host, hosts of one network.

Of each rule and party the things are kept in the order in which they were last seen, so that what is too old is at the
front. No more are kept than the rule asks for: once there are as many, the rule is heard, the things are let go, and
nothing is counted until the time is over. A slow scan is a long time; it costs no more memory than a fast one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias

from ids.counters import Counters
from ids.respond.parties import ends_of, party_of
from ids.types import Direction, Distinct, Match

MAX_COUNTED = 65_536
"""Parties, over all rules. The one that was seen longest ago goes first: who scans slowly, from more addresses than
this, may stay unnoticed; counted."""

MAX_THINGS = 1_048_576
"""Things of all parties together, about 200 MB; likewise."""

_Key: TypeAlias = tuple[object, ...]


@dataclass(slots=True)
class _Seen:
    """Of one party."""

    things: OrderedDict[object, int] = field(default_factory=OrderedDict)
    """When each was seen last, in that order; nanoseconds."""
    heard_ns: int | None = None
    """When the rule was heard last."""


class DistinctCounts:
    """Counts what rules ask for, within bounds."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._parties: OrderedDict[_Key, _Seen] = OrderedDict()
        self._things = 0

    def reached(self, match: Match, wanted: Distinct) -> bool:
        """Count this match, and return whether it makes as many as the rule asks for."""
        key = (match.signature.gid, match.signature.sid, party_of(match, wanted.by))
        seen = self._parties.get(key)
        if seen is None:
            seen = self._parties[key] = _Seen()
        else:
            self._parties.move_to_end(key)
        window_ns = wanted.seconds * 1_000_000_000
        if seen.heard_ns is not None and 0 <= match.ts_ns - seen.heard_ns < window_ns:
            return False
        self._add(seen, _thing(match, wanted.thing), match.ts_ns, window_ns)
        if len(seen.things) >= wanted.at_least:
            self._things -= len(seen.things)
            seen.things.clear()
            seen.heard_ns = match.ts_ns
            return True
        self._make_room()
        return False

    def _add(self, seen: _Seen, thing: object, now_ns: int, window_ns: int) -> None:
        things = seen.things
        if things.pop(thing, None) is None:
            self._things += 1
        things[thing] = now_ns
        while now_ns - next(iter(things.values())) >= window_ns:
            things.popitem(last=False)
            self._things -= 1

    def _make_room(self) -> None:
        while len(self._parties) > MAX_COUNTED or self._things > MAX_THINGS:
            _, gone = self._parties.popitem(last=False)
            self._things -= len(gone.things)
            self._counters.add("respond.distinct.evicted")


def _thing(match: Match, thing: str) -> object:
    if thing.endswith("_ip"):
        return ends_of(match)[0 if thing == "src_ip" else 1]
    from_source = (thing == "src_port") is (match.direction is Direction.TO_SERVER)
    return match.flow.sport if from_source else match.flow.dport
