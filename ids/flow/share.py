"""Which flows are whose, where several workers share them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ids.kernel.rings.workers import worker_of
from ids.types import Bool, Packets

_TCP, _UDP = 6, 17
_ANY_OTHER = np.uint8(255)
"""A protocol without ports."""


@dataclass(frozen=True, slots=True)
class Share:
    """The part of all flows that one worker inspects."""

    number: int
    """From 0."""
    of: int
    """Number of workers."""
    seed: int = 0
    """Of the hash by which flows are spread; the gate's, where a gate spreads them too."""
    by_carrier: bool = False
    """The gate spreads packets by what is on the wire itself: what is in a tunnel goes where the tunnel goes."""
    tunnel_ports: tuple[int, ...] = ()
    """UDP ports whose packets the gate spreads by addresses alone: a tunnel has another port in each direction."""
    shared_ports: tuple[int, ...] = ()
    """TCP ports whose connections all workers are shown: what is said there announces other connections."""

    def of_packets(self, packets: Packets) -> Packets:
        """Return the packets with only this share's left usable.

        Datagrams were put together of their fragments by then, so that each goes where its ports say.
        """
        return self.divide(packets)[0]

    def divide(self, packets: Packets) -> tuple[Packets, Packets | None]:
        """Return what `of_packets` does, and the packets with only those left usable that are others', but shown to
        all; None where there are none.

        What is in a tunnel that the gate does not look into comes to one worker with all else in it, and is not shared.
        """
        proto = packets.proto
        if self.tunnel_ports:
            ends = np.isin(packets.sport, self.tunnel_ports) | np.isin(packets.dport, self.tunnel_ports)
            proto = np.where((proto == _UDP) & ends, _ANY_OTHER, proto)
        owner = worker_of(packets.src, packets.dst, packets.sport, packets.dport, proto, self.of, self.seed)
        if self.by_carrier and packets.depth.any():
            owner = np.where(packets.carrier >= 0, owner[packets.carrier], owner)
        mine = owner == self.number
        own = _left(packets, mine)
        if not self.shared_ports:
            return own, None
        heard = (packets.proto == _TCP) & ~mine
        heard &= np.isin(packets.sport, self.shared_ports) | np.isin(packets.dport, self.shared_ports)
        if self.by_carrier:
            heard &= packets.carrier < 0
        return own, _left(packets, heard) if bool((heard & (packets.usable | packets.doubtful)).any()) else None


def _left(packets: Packets, rows: Bool) -> Packets:
    return replace(packets, usable=packets.usable & rows, doubtful=packets.doubtful & rows)
