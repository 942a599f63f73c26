"""Whether blocks bite: a source that is blocked in the kernel, and goes on all the same, comes by an unguarded way.

The kernel counts the packets of each flow behind its lists, so what a blocked source sends is not counted. Where it is,
it was seen elsewhere: on its way out of the one leg of a gateway that is guarded.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ids.kernel.system.links import interface_towards
from ids.types import IPAddress, IPNetwork

SETTLE_S = 2.0
"""Time for packets that were under way when the block was written."""
LOOK_S = 3.0
"""Time between two looks into the kernel's flows, which take some 30 ms where they are full."""
LOOKS = 4
"""Looks for one block: who sends nothing within that time is looked for again with its next match."""
MAX_SUSPECTS = 256
"""Blocks that are looked at; more come in an attack by many, and a few of them show it. The oldest goes first."""
MOST_NAMED = 3

SentBy = Callable[[Collection[IPNetwork]], Counter[IPNetwork]]
"""As `ids.kernel.FastPath.sent_by`."""
Allows = Callable[[IPAddress], bool]
"""Returns whether the kernel's allow-list keeps what an address sends from being dropped."""
Route = Callable[[str], str]
"""Returns the interface by which an address is reached; empty where nobody knows."""


@dataclass(slots=True)
class _Suspect:
    due_s: float
    packets: int | None = None
    """Counted at the last look."""
    looks: int = 0


class BiteWatch:
    """Looks at blocks that rules ordered and that have not met a packet, whether their sources go on."""

    def __init__(
        self, sent_by: SentBy, allows: Allows, guarded: Sequence[str], period_s: float, route: Route | None = None
    ) -> None:
        """``period_s``: seconds between two warnings; the first comes at once."""
        self.period_s = period_s
        self._sent_by = sent_by
        self._allows = allows
        self._guarded = guarded
        self._route = route or interface_towards
        self._suspects: OrderedDict[IPNetwork, _Suspect] = OrderedDict()
        self._going_on: Counter[IPNetwork] = Counter()
        """Packets since the last warning."""
        self._next_s = self._next_look_s = 0.0

    def suspect(self, network: IPNetwork, now_s: float) -> None:
        """Look at a block from soon on: it is new, or a rule has asked for it again."""
        if network not in self._suspects:
            self._suspects[network] = _Suspect(now_s + SETTLE_S)
            if len(self._suspects) > MAX_SUSPECTS:
                self._suspects.popitem(last=False)

    def clear(self, network: IPNetwork) -> None:
        """Look no more at a block: it has met packets, or is over."""
        self._suspects.pop(network, None)

    def check(self, now_s: float) -> Counter[IPNetwork]:
        """Return who went on since the last look, by packets."""
        if now_s < self._next_look_s:
            return Counter()
        due = [network for network, suspect in self._suspects.items() if suspect.due_s <= now_s]
        if not due:
            return Counter()
        self._next_look_s = now_s + LOOK_S
        sent = self._sent_by(due)
        found: Counter[IPNetwork] = Counter()
        for network in due:
            suspect = self._suspects[network]
            before, suspect.packets = suspect.packets, sent[network]
            suspect.looks += 1
            if before is not None and sent[network] > before and not self._allows(network.network_address):
                found[network] = sent[network] - before
            if network in found or suspect.looks > LOOKS:
                del self._suspects[network]
        if found:
            self._going_on = Counter(dict((self._going_on + found).most_common(MAX_SUSPECTS)))
        return found

    def warning(self, now_s: float) -> str:
        """Return what to log of those who went on, when it is time; else nothing."""
        if not self._going_on or now_s < self._next_s:
            return ""
        going_on, self._going_on = self._going_on, Counter()
        self._next_s = now_s + self.period_s
        foremost = going_on.most_common(MOST_NAMED)
        named = ", ".join(f"{network} ({packets} packets)" for network, packets in foremost)
        other = self._route(str(foremost[0][0].network_address))
        way = f" (the way to it is {other})" if other and other not in self._guarded else ""
        return (
            f"BLOCKED sources go on, seconds after they were blocked in the kernel: {named}. Packets are dropped where"
            f" they come in, and these come in by an interface that is not guarded{way}; guarded: "
            f"{', '.join(self._guarded)}. Name each leg of the gateway: -i, or interfaces in the settings"
        )
