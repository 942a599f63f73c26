"""Which flows are whose, where several workers share them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ids.kernel.rings.workers import worker_of
from ids.types import Packets


@dataclass(frozen=True, slots=True)
class Share:
    """The part of all flows that one worker inspects."""

    number: int
    """From 0."""
    of: int
    """Number of workers."""
    seed: int = 0
    """Of the hash by which flows are spread; the gate's, where a gate spreads them too."""

    def of_packets(self, packets: Packets) -> Packets:
        """Return the packets with only this share's left usable.

        Datagrams were put together of their fragments by then, so that each goes where its ports say.
        """
        owner = worker_of(packets.src, packets.dst, packets.sport, packets.dport, packets.proto, self.of, self.seed)
        return replace(packets, usable=packets.usable & (owner == self.number))
