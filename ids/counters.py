"""Counters of everything that is dropped, skipped, refused or seen: no silent loss. Names are dotted, EVE-style."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

ALIKE = ("rules.loaded", "rules.refused")
"""Beginnings of the names that each process sets to the same number, at the start and in a reload."""


HIGHEST = ("engine.lag_ms", "engine.lag_highest_ms")
"""Gauges of which the highest of all processes says most."""


MOST_NAMED = 32
"""Names of one `Foremost` among the counters: each is a line of every `stats` event and of every scrape."""


class Counters:
    """A bag of named counts; ``counters.add("flow.memcap.dropped")``. One per engine, handed to every stage."""

    def __init__(self) -> None:
        self.values: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        """Count ``amount`` more of ``name`` (dotted lower-case words)."""
        self.values[name] += int(amount)

    def begin(self, *names: str) -> None:
        """Show these at zero from now on: a count that first appears as 1 has not risen, for who watches."""
        for name in names:
            self.values[name] += 0

    def set(self, name: str, value: int) -> None:
        """Set a gauge, such as the number of live flows."""
        self.values[name] = int(value)

    def with_workers(self, parts: Sequence[Mapping[str, int]], *, same_packets: bool) -> Counters:
        """Return these counts together with those of workers.

        ``same_packets``: every worker decodes all packets, those of a capture, and not only its share of them. The
        counts of decoding are then taken from the first worker.
        """
        summed = Counters()
        summed.values.update(self.values)
        for number, part in enumerate(parts):
            for name, value in part.items():
                repeated = same_packets and number and name.startswith("decode.")
                if name in HIGHEST:
                    summed.set(name, max(value, summed[name]))
                elif not repeated and not name.startswith(ALIKE):
                    summed.add(name, value)
        return summed

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def tree(self) -> dict[str, Any]:
        """Return the counts nested by the parts of their names, as EVE's ``stats`` has them."""
        root: dict[str, Any] = {}
        for name, value in sorted(self.values.items()):
            *parents, leaf = name.split(".")
            node = root
            for parent in parents:
                child = node.setdefault(parent, {})
                if not isinstance(child, dict):
                    child = node[parent] = {"total": child}
                node = child
            if isinstance(node.get(leaf), dict):
                node[leaf]["total"] = value
            else:
                node[leaf] = value
        return root


class Foremost:
    """Totals of many, such as the rules, of which the `MOST_NAMED` largest are counters: ``prefix.name``.

    Goes on from what is counted already, and holds one number for each name that it was ever given: names are those of
    what is loaded, never what traffic says.
    """

    def __init__(self, counters: Counters, prefix: str) -> None:
        self._counters = counters
        self._prefix = prefix
        begun = {name: count for name, count in counters.values.items() if name.startswith(f"{prefix}.")}
        self._totals = Counter({name.removeprefix(f"{prefix}."): count for name, count in begun.items()})
        self._named = set(self._totals)

    def add(self, name: str, amount: int = 1) -> None:
        """Count more of one. It becomes a counter once it exceeds one that is, or while there is room."""
        self._totals[name] += amount
        if name not in self._named:
            if len(self._named) >= MOST_NAMED:
                least = min(self._named, key=self._totals.__getitem__)
                if self._totals[least] >= self._totals[name]:
                    return
                self._named.discard(least)
                self._counters.values.pop(f"{self._prefix}.{least}", None)
            self._named.add(name)
        self._counters.set(f"{self._prefix}.{name}", self._totals[name])
