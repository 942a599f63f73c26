"""What the engine's orders come to in the kernel's maps."""

from __future__ import annotations

import time
from collections import OrderedDict

from ids.errors import KernelError
from ids.journal import Journal
from ids.kernel import Block, FastPath
from ids.respond.gate import BlockOrder, Held
from ids.types import I64, BlockMode, Flow, FlowColumns, FlowCounts, IPAddress, IPNetwork

MAX_WATCHED = 4096
"""Blocks whose first dropped packet is still awaited, for a `drop` event; the oldest are forgotten first."""


class KernelGate:
    """Carries orders out in the kernel's maps."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal or Journal()
        self.fastpath: FastPath | None = None
        self.watched: OrderedDict[IPNetwork, tuple[BlockOrder, int]] = OrderedDict()
        """Orders, and how many packets of each network were counted before, for a weaker block of somebody else's."""

        self.suspects: set[IPNetwork] = set()
        """Of ``watched``, blocks that drop and were ordered, or asked for again, since somebody took note of them."""

    @property
    def counting(self) -> bool:
        """The kernel counts every packet, and does not show every one."""
        return True

    def _open(self) -> FastPath:
        if self.fastpath is None:
            raise KernelError("the fast path is not open yet")
        return self.fastpath

    def block(self, order: BlockOrder) -> int | None:
        """Write the block and return when the kernel had it (``ts_ns``)."""
        now = time.time_ns()
        expires_ns = now + order.ttl_s * 1_000_000_000
        blocks = self._open().blocks
        weaker = blocks.get(order.network)
        blocks.add([Block(order.network, expires_ns, order.mode, order.sid, order.label)])
        written = time.time_ns()
        self._journal.block(order)
        self.watched[order.network] = order, weaker.packets if weaker and weaker.label != order.label else 0
        if len(self.watched) > MAX_WATCHED:
            self.suspects.discard(self.watched.popitem(last=False)[0])
        if order.mode is BlockMode.ENFORCE:
            self.suspects.add(order.network)
        return written

    def holds(self, network: IPNetwork) -> Held | None:
        """Look into the kernel's list."""
        block = self._open().blocks.get(network)
        if block is None or (block.expires_ns is not None and block.expires_ns <= time.time_ns()):
            return None
        if network in self.watched and block.mode is BlockMode.ENFORCE:
            self.suspects.add(network)
        return Held(block.mode, block.expires_ns)

    def allows(self, address: IPAddress) -> bool:
        """Look whether the kernel's list has the address: operators add to it while the engine runs."""
        return self._open().allowed.covers(address)

    def condemn(self, flow: Flow, number: int) -> bool:
        """Drop the rest of this flow in the driver; the kernel may not know it any more."""
        return self._open().drop_flow(flow)

    def bypass(self, flow: Flow, *, unneeded: bool = False) -> bool:
        """Let the rest of this flow pass unseen; the kernel may not know it any more."""
        return self._open().bypass_flow(flow, unneeded=unneeded)

    def counts(self, flows: FlowColumns, slots: I64) -> FlowCounts:
        """Ask the kernel, which counts every packet; it may not know a flow any more."""
        return self._open().flow_counts(flows, slots)

    def forget(self, flows: FlowColumns, slots: I64) -> None:
        """Delete the flows' entries."""
        self._open().forget_flows(flows, slots)
