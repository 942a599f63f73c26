"""Counters of everything that is dropped, skipped, refused or seen: no silent loss. Names are dotted, EVE-style."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

ALIKE = "rules.loaded"
"""Beginning of the names that each process sets to the same number, at the start and in a reload."""


HIGHEST = ("engine.lag_ms", "engine.lag_highest_ms")
"""Gauges of which the highest of all processes says most."""


class Counters:
    """A bag of named counts; ``counters.add("flow.memcap.dropped")``. One per engine, handed to every stage."""

    def __init__(self) -> None:
        self.values: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        """Count ``amount`` more of ``name`` (dotted lower-case words)."""
        self.values[name] += int(amount)

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
