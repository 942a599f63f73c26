"""The gate of a replay: what the fast path, reacting at once, would have done with every packet of a capture.

The engine has inspected a whole batch when the gate gets it, and each order carries the number of the packet that
caused it. So the gate takes the batch's packets in order and carries out every order right behind its packet: the
verdict of a later packet is that of a gate without delay, whatever the size of the batches.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ids.flow.keys import echo_ids
from ids.kernel.contract import REASON_NAMES, BlockFlag, Reason
from ids.kernel.flows.entries import FlowAddress
from ids.replay.report import BlockReport, DroppedFlowReport, Tally
from ids.respond.gate import BlockOrder, Held
from ids.types import (
    FLOW_COUNT,
    I64,
    U8,
    U16,
    U64,
    BlockMode,
    Flow,
    FlowColumns,
    FlowCounts,
    IPAddress,
    IPNetwork,
    PacketBatch,
    Packets,
    address_halves,
    ascending,
)

if TYPE_CHECKING:
    from ids.kernel.offline import Judge

ROUND = 1024
"""Rows whose frames are rebuilt at once where that is needed, which bounds the memory for it."""

SECOND_NS = 1_000_000_000
_BLOCKED = (Reason.DROP_BLOCKED, Reason.DROP_BLOCKED_PREFIX)
_LOW = (1 << 64) - 1

OnVerdicts = Callable[[PacketBatch, U8, U8], None]
"""Gets a batch, the action (XDP_PASS, XDP_DROP, XDP_TX) and the `Reason` of each of its packets."""


@dataclass(slots=True)
class _Block:
    """An order, as something that rows can be compared with."""

    order: BlockOrder
    report: BlockReport
    mask: U64
    value: U64

    def hits(self, source: U64, number: I64, clock: I64) -> NDArray[np.bool_]:
        """Return which packets come from the network after the order, before it expires."""
        rows = (number > self.order.number) & (clock < self.order.ts_ns + self.order.ttl_s * SECOND_NS)
        for half in range(2):
            rows &= (source[:, half] & self.mask[half]) == self.value[half]
        return rows


@dataclass(slots=True)
class _Condemned:
    flow: FlowAddress
    number: int
    report: DroppedFlowReport


@dataclass(slots=True)
class ReplayGate:
    """Collects orders and judges batches. Without a judge it only counts the packets that blocks would have met."""

    judge: Judge | None = None
    on_verdicts: OnVerdicts | None = None
    tallies: dict[int, Tally] = field(default_factory=dict)
    """What became of the packets so far, by `Reason`."""
    judged: int = 0
    """Packets that went through the judge."""
    _blocks: list[_Block] = field(default_factory=list)
    _held: dict[IPNetwork, Held] = field(default_factory=dict)
    _condemned: list[_Condemned] = field(default_factory=list)
    _pending: list[_Block | _Condemned] = field(default_factory=list)
    _clock_ns: int = 1

    @property
    def counting(self) -> bool:
        """A replay reads every packet, so the gate knows no more than the engine."""
        return False

    @property
    def blocks(self) -> list[BlockReport]:
        """The blocks ordered so far."""
        return [block.report for block in self._blocks]

    @property
    def dropped_flows(self) -> list[DroppedFlowReport]:
        """The flows condemned so far."""
        return [condemned.report for condemned in self._condemned]

    def verdicts(self) -> dict[str, Tally]:
        """Return what became of the packets by the names of the reasons, in the order of the contract."""
        return {REASON_NAMES[Reason(reason)]: self.tallies[reason] for reason in sorted(self.tallies)}

    # ---- ids.respond.gate.Gate --------------------------------------------------------------------------------------

    def block(self, order: BlockOrder) -> int | None:
        """Remember the order; it applies to the packets after the one that caused it."""
        report = BlockReport(str(order.network), order.sid, order.mode.value, order.ttl_s, order.number)
        block = _Block(order, report, *_halves(order))
        self._blocks.append(block)
        self._held[order.network] = Held(order.mode, order.ts_ns + order.ttl_s * SECOND_NS)
        self._pending.append(block)
        return None

    def holds(self, network: IPNetwork) -> Held | None:
        """Nobody lifts a block in a replay."""
        return self._held.get(network)

    def allows(self, address: IPAddress) -> bool:
        """Know of no allow-list but the settings', which the engine has asked already."""
        return False

    def bypass(self, flow: Flow, *, unneeded: bool = False) -> bool:
        """Do nothing: a replay reads every packet anyhow."""
        return False

    def condemn(self, flow: Flow, number: int) -> bool:
        """Remember that the rest of the flow, after packet ``number``, is to be dropped, if it is one for the gate."""
        address = FlowAddress.of(flow)
        if address is None:
            return False
        report = DroppedFlowReport(flow.src_ip, flow.sport, flow.dst_ip, flow.dport, flow.proto, number)
        condemned = _Condemned(address, number, report)
        self._condemned.append(condemned)
        self._pending.append(condemned)
        return True

    def counts(self, flows: FlowColumns, slots: I64) -> FlowCounts:
        """Know nothing that the engine does not: it reads every packet."""
        return np.zeros(len(slots), FLOW_COUNT)

    def forget(self, flows: FlowColumns, slots: I64) -> None:
        """Do nothing: the gate's clock and the engine's are apart by up to a batch."""

    # ---- the packets ------------------------------------------------------------------------------------------------

    def observe(self, batch: PacketBatch, decoded: Callable[[], Packets]) -> None:
        """Let a batch that the engine is done with meet the gate; ``decoded`` is asked where that is needed."""
        if not len(batch):
            return
        clock = np.maximum(np.maximum.accumulate(batch.ts_ns), self._clock_ns)
        self._clock_ns = int(clock[-1])
        if self.judge is None:
            self._pending.clear()
            if self._blocks:
                self._stand_in(decoded())
            return
        answers, source = self._run(self.judge, batch, clock)
        actions, reasons = answers.astype(np.uint8), (answers >> 8).astype(np.uint8)
        self.judged += len(batch)
        self._tally(reasons, batch.wirelen)
        self._attribute(batch, reasons, source, clock)
        if self._condemned and (dropped := batch.number[reasons == Reason.DROP_FLOW]).size:
            self._attribute_flows(decoded(), dropped)
        if self.on_verdicts is not None:
            self.on_verdicts(batch, actions, reasons)

    def _run(self, judge: Judge, batch: PacketBatch, clock: I64) -> tuple[U16, U64]:
        """Run the batch, carrying out orders between packets; return the answers and the packets' sources."""
        from ids.replay.frames import ethernet_frames, sources  # brings the program, which no other replay needs

        self._pending.sort(key=_ordered_at)
        cuts = np.searchsorted(batch.number, [_ordered_at(order) for order in self._pending], side="right").tolist()
        orders = list(zip(cuts, self._pending, strict=True))
        self._pending = []
        answers = np.empty(len(batch), np.uint16)
        source = np.zeros((len(batch), 2), np.uint64)
        start = 0
        while start < len(batch):
            while orders and orders[0][0] <= start:
                _carry_out(judge, orders.pop(0)[1])
            stop = min(start + ROUND, len(batch), orders[0][0] if orders else len(batch))
            frames = ethernet_frames(batch, start, stop)
            answers[start:stop] = judge.run(frames, clock[start:stop])
            if self._blocks:
                source[start:stop] = sources(frames)
            start = stop
        self._pending = [order for _, order in orders]  # of the last packet: for the next batch's first
        return answers, source

    def _tally(self, reasons: U8, wirelen: I64) -> None:
        packets = np.bincount(reasons)
        sizes = np.bincount(reasons, weights=wirelen)
        for reason in np.flatnonzero(packets).tolist():
            tally = self.tallies.setdefault(reason, Tally())
            tally.packets += int(packets[reason])
            tally.bytes += int(sizes[reason])

    def _attribute(self, batch: PacketBatch, reasons: U8, source: U64, clock: I64) -> None:
        """Add to each block's report the packets that it stopped."""
        for block in self._blocks:
            rows = block.hits(source, batch.number, clock)
            if block.order.mode is BlockMode.ENFORCE:
                rows &= np.isin(reasons, _BLOCKED)
            else:
                rows &= reasons != Reason.DROP_BLOCKED
            _note(block.report, batch.number[rows])

    def _attribute_flows(self, packets: Packets, dropped: I64) -> None:
        rows = np.flatnonzero(np.isin(packets.batch.number, dropped))
        for condemned in self._condemned:
            _note(condemned.report, ascending(packets.batch.number[_rows_of(condemned, packets, rows)]))

    def _stand_in(self, packets: Packets) -> None:
        """Count the packets that the blocks would have met, by their addresses alone."""
        number, clock = packets.batch.number, packets.batch.ts_ns
        for block in self._blocks:
            _note(block.report, ascending(number[block.hits(packets.src, number, clock) & (packets.depth == 0)]))


def _ordered_at(order: _Block | _Condemned) -> int:
    return order.order.number if isinstance(order, _Block) else order.number


def _carry_out(judge: Judge, order: _Block | _Condemned) -> None:
    if isinstance(order, _Condemned):
        judge.condemn(order.flow)
        return
    block = order.order
    mode = BlockFlag.SHADOW if block.mode is BlockMode.SHADOW else BlockFlag.ENFORCE
    judge.block(block.network, expires_ns=block.ts_ns + block.ttl_s * SECOND_NS, mode=mode, sid=block.sid)


def _note(report: BlockReport | DroppedFlowReport, numbers: I64) -> None:
    if len(numbers):
        report.packets += len(numbers)
        if report.cut_off_from is None:
            report.cut_off_from = int(numbers[0])


def _rows_of(condemned: _Condemned, packets: Packets, rows: I64) -> I64:
    """Return those of the rows that belong to the flow, in either direction."""
    flow = condemned.flow
    src, dst = packets.src[rows], packets.dst[rows]
    echo = echo_ids(packets, rows)
    sport, dport = (np.where(echo < 0, port[rows], echo) for port in (packets.sport, packets.dport))
    ours = (packets.proto[rows] == flow.proto) & (packets.vlan[rows] == flow.vlan)
    ours &= packets.depth[rows] == 0
    ours &= packets.batch.number[rows] > condemned.number
    there = (
        (src == flow.src).all(axis=1) & (dst == flow.dst).all(axis=1) & (sport == flow.sport) & (dport == flow.dport)
    )
    back = (src == flow.dst).all(axis=1) & (dst == flow.src).all(axis=1) & (sport == flow.dport) & (dport == flow.sport)
    found: I64 = rows[ours & (there | back)]
    return found


def _halves(order: BlockOrder) -> tuple[U64, U64]:
    """Return the network as a mask and a value of two 64-bit halves."""
    network = order.network
    length = network.prefixlen + (96 if network.version == 4 else 0)
    mask = ((1 << length) - 1) << (128 - length)
    value = address_halves(ipaddress.ip_address(network.network_address))
    return np.array([mask >> 64, mask & _LOW], np.uint64), np.array(value, np.uint64)
