"""A prefilter that looks for common needles only in the traffic of the ports that their rules name.

What is common in binary protocols, such as a few zeros and a one, stands in most packets; and each hit costs a call.
Rules that have no better needle mostly say on which ports they look. So one pass goes over all rows for needles that
are rare, or of rules on any port, and for each of some groups of ports one goes over their rows. Whether a rule looks
at the row that it is noticed in has still to be asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ids.counters import Counters
from ids.rules.match.clauses import distinct
from ids.rules.match.prefilter import Prefilter
from ids.rules.model.literals import Needle
from ids.rules.model.ports import named_ports
from ids.rules.model.rarity import score
from ids.rules.model.rule import Scoped
from ids.rules.model.sets import LAST_PORT
from ids.types import I64

COMMON_SCORE = 7.0
"""Below about four uncommon bytes a needle is looked for on the ports of its rule alone, where that names some."""

MOST_GROUPS = 12
"""Groups of ports that have a pass of their own: those that most needles are for. All others share the last one."""

Ports = tuple[np.ndarray, np.ndarray]
"""The two ports of each row; what is below 0 or above `LAST_PORT` is none."""


class PortwisePrefilter:
    """The needles of one buffer, as `Prefilter` has them, parted by the ports that their rules name."""

    def __init__(
        self,
        entries: Iterable[tuple[Needle, int]],
        rules: Sequence[Scoped],
        cache: Path | None = None,
        counters: Counters | None = None,
    ) -> None:
        """Compile the needles of ``(needle, rule)`` pairs; a rule is its place in ``rules``."""
        anywhere: list[tuple[Needle, int]] = []
        bound: list[tuple[Needle, int, list[int]]] = []
        for needle, number in entries:
            common = score(needle.value, needle.nocase) < COMMON_SCORE
            ports = named_ports(rules[number].traffic) if common else []
            if ports:
                bound.append((needle, number, ports))
            else:
                anywhere.append((needle, number))
        group_of = _groups([ports for _, _, ports in bound])
        self._group: NDArray[np.uint8] = np.zeros(LAST_PORT + 1, np.uint8)
        """By port: 1 + the number of its group; 0: no rule names it."""
        self._group[list(group_of)] = np.array(list(group_of.values()), np.uint8) + 1
        of_group: dict[int, list[tuple[Needle, int]]] = {}
        for needle, number, ports in bound:
            of_group.setdefault(group_of[ports[0]], []).append((needle, number))
        self._anywhere = Prefilter(anywhere, cache, counters)
        self._bound = [Prefilter(of_group[group], cache, counters) for group in sorted(of_group)]
        self.longest = max(part.longest for part in (self._anywhere, *self._bound))

    def __len__(self) -> int:
        return sum(map(len, (self._anywhere, *self._bound)))

    def find(
        self,
        data: bytes,
        starts: I64,
        floor: I64 | None = None,
        fresh: I64 | None = None,
        ports: Ports | None = None,
    ) -> tuple[I64, I64]:
        """Return ``(rows, rules)`` as `Prefilter.find` does, without rules on other ports than those of the row.

        ``ports`` has those of each row, the same for all rows from ``floor`` on; None: nothing is known of them. A rule
        may still be returned in the rows of a port that others of its group name.
        """
        found = [self._anywhere.find(data, starts, floor, fresh)]
        if self._bound and data:
            ends = [self._group[_known(column)] for column in ports] if ports is not None else None
            for number, prefilter in enumerate(self._bound, 1):
                if ends is None:
                    found.append(prefilter.find(data, starts, floor, fresh))
                elif len(picked := np.flatnonzero((ends[0] == number) | (ends[1] == number))):
                    found.append(_find_in(prefilter, picked, data, starts, floor, fresh))
        found = [part for part in found if len(part[0])] or found[:1]
        if len(found) == 1:
            return found[0]
        rows, numbers = (np.concatenate(column) for column in zip(*found, strict=True))
        return distinct(rows, numbers)


def _find_in(
    prefilter: Prefilter, picked: I64, data: bytes, starts: I64, floor: I64 | None, fresh: I64 | None
) -> tuple[I64, I64]:
    """Return what a prefilter finds in some of the rows."""
    begin, end = starts[picked], starts[picked + 1]
    joined = b"".join(map(data.__getitem__, map(slice, begin.tolist(), end.tolist())))
    own = np.append(0, np.cumsum(end - begin))
    shift = begin - own[:-1]
    places, rules = prefilter.find(
        joined,
        own,
        floor[picked] - shift if floor is not None else None,
        fresh[picked] - shift if fresh is not None else None,
    )
    return picked[places], rules


def _known(ports: np.ndarray) -> np.ndarray:
    """Return ports as indices; port 0, which no rule can name alone, stands for none."""
    return np.where((ports >= 0) & (ports <= LAST_PORT), ports, 0)


def _groups(named: Sequence[list[int]]) -> dict[int, int]:
    """Return the number of the group of each port: ports that one rule names are of one group."""
    above: dict[int, int] = {}

    def top(port: int) -> int:
        while (higher := above.setdefault(port, port)) != port:
            port = higher
        return port

    for ports in named:
        first = top(ports[0])
        for port in ports:
            above[top(port)] = first
    counts = Counter(top(ports[0]) for ports in named)
    ranked = [port for port, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    number = {port: min(place, MOST_GROUPS - 1) for place, port in enumerate(ranked)}
    return {port: number[top(port)] for port in above}
