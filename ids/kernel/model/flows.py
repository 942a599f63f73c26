"""Flows of the model: ``bpf/ids_flow.h`` in Python. Keys, the handshake, and what counts against the depth."""

from __future__ import annotations

from dataclasses import dataclass, field

from ids.kernel.contract import Asked, FlowVerdict, KernelFlowState, Reason
from ids.kernel.model.parse import ACK, FIN, RST, SYN, TCP, WHOLE, Packet

FLOW_REUSE_NS = 60_000_000_000
EMPTY_BYTES = 64
ANSWERS = 16
BEHIND = 65536
"""A segment that begins no further than this before a position may reach it."""
DISCOUNTED = 1 << 24
"""By so much the bytes shown may fall behind where a turn began: what other CPUs had counted and could not show."""

WAVED_THROUGH = {FlowVerdict.BYPASS: Reason.PASS_BYPASS, FlowVerdict.UNNEEDED: Reason.PASS_UNNEEDED}
"""Verdicts on flows of which user space wants to see no more, and what their packets are counted under."""

_U32 = (1 << 32) - 1


@dataclass(slots=True)
class FlowEntry:
    """``struct ids_flow``."""

    first_ns: int
    last_ns: int
    client: int
    packets: list[int] = field(default_factory=lambda: [0, 0])
    bytes: list[int] = field(default_factory=lambda: [0, 0])
    shown: list[int] = field(default_factory=lambda: [0, 0])
    depth: int = 0
    isn: list[int] = field(default_factory=lambda: [0, 0])
    opened: int = 0
    state: int = 0
    verdict: int = 0
    fins: int = 0
    generation: list[int] = field(default_factory=lambda: [0, 0])
    cut: int = 0
    charged: int = 0
    fragmented: int = 0
    admitted: int = 0
    neighbour: int = 0
    hearsay: int = 0
    asked: int = 0
    spoke: int = 0
    turn: list[int] = field(default_factory=lambda: [0, 0])
    settled: list[int] = field(default_factory=lambda: [0, 0])

    def set_isn(self, side: int, isn: int) -> None:
        """Note the sequence number of a side's SYN."""
        self.isn[side] = isn
        self.opened |= 1 << side

    def restart(self, side: int, now_ns: int) -> None:
        """Start over in place, as if just added."""
        fresh = FlowEntry(now_ns, now_ns, side)
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))


def flow_key(packet: Packet) -> tuple[int, bytes]:
    """Return the side that sent the packet, and the flow's key as ``ids_flow4`` and ``ids_flow6`` have it."""
    vlan_proto = (packet.vlan << 8 | packet.proto).to_bytes(4, "little")
    if packet.src + packet.sport > packet.dst + packet.dport:
        return 1, packet.dst + packet.src + packet.dport + packet.sport + vlan_proto
    return 0, packet.src + packet.dst + packet.sport + packet.dport + vlan_proto


def first_flow(packet: Packet, side: int, now_ns: int) -> FlowEntry:
    """Return a flow as its first packet makes it."""
    answers = packet.tcp_flags & (SYN | ACK) == SYN | ACK
    return FlowEntry(now_ns, now_ns, 1 - side if answers else side)


def flow_seen(packet: Packet, flow: FlowEntry, side: int, now_ns: int) -> bool:
    """Count a packet of the flow and follow the handshake; return whether it proves its source."""
    proves, before = False, (flow.state, flow.fins)
    if flow.verdict == FlowVerdict.DROP and not is_condemned(packet, flow, now_ns):
        flow.restart(side, now_ns)
    if packet.proto == TCP and packet.fragment == WHOLE and flow.verdict != FlowVerdict.DROP:
        proves = _track(packet, flow, side, now_ns)
        _turn(packet, flow, side)
    packet.news = (flow.state, flow.fins) != before
    flow.last_ns = now_ns
    flow.packets[side] += 1
    flow.bytes[side] += packet.len
    return proves


def is_condemned(packet: Packet, flow: FlowEntry, now_ns: int) -> bool:
    """Return whether a packet of the flow is to die: not where it may begin another one after long silence."""
    reused = now_ns > flow.last_ns + FLOW_REUSE_NS and _opens(packet)
    return flow.verdict == FlowVerdict.DROP and not reused


def is_solicited(packet: Packet, flow: FlowEntry, side: int) -> bool:
    """Return whether a packet without a connection answers what its receiver asked."""
    few = flow.packets[side] + flow.fragmented < ANSWERS * flow.packets[1 - side]
    return packet.proto != TCP and flow.client != side and few


def _opens(packet: Packet) -> bool:
    return packet.proto != TCP or packet.tcp_flags & (SYN | ACK | RST) == SYN


def shown_bytes(packet: Packet) -> int:
    """Return the bytes of a packet that count against the depth."""
    if packet.proto != TCP or packet.fragment != WHOLE:
        return packet.len
    return packet.payload_len if packet.payload_len or packet.news else EMPTY_BYTES


def is_deep(packet: Packet, flow: FlowEntry, side: int, depth: int) -> bool:
    """Return whether nobody needs a packet, for the depth has been reached."""
    if packet.fragment != WHOLE or packet.tunnel:
        return False
    if packet.proto != TCP:
        return _is_spent(flow, side, depth)
    if packet.payload_len:
        return _is_beyond(flow, side, depth, packet.seq)
    return _is_spent(flow, side, depth) or _is_beyond(flow, 1 - side, depth, packet.ack)


def _is_spent(flow: FlowEntry, side: int, depth: int) -> bool:
    shown = (flow.shown[side] - flow.settled[side]) & _U32
    return depth <= shown < _U32 + 1 - DISCOUNTED


def _is_beyond(flow: FlowEntry, side: int, depth: int, at: int) -> bool:
    if not _is_spent(flow, side, depth):
        return False
    if not flow.opened & 1 << side:
        return True
    return (at - flow.isn[side] - 1 + BEHIND) & _U32 >= flow.turn[side] + depth + BEHIND


def _turn(packet: Packet, flow: FlowEntry, side: int) -> None:
    """Begin another turn of the other side, where this one begins to speak."""
    if not packet.payload_len or packet.tcp_flags & (SYN | RST | ACK) != ACK or flow.spoke == 1 + side:
        return
    if flow.state in (KernelFlowState.SYN, KernelFlowState.SYNACK):
        return
    other = 1 - side
    flow.spoke = 1 + side
    flow.settled[other] = flow.shown[other]
    at = (packet.ack - flow.isn[other] - 1) & _U32
    if flow.opened & 1 << other and (at - flow.turn[other]) & _U32 < 1 << 31:
        flow.turn[other] = at


def _track(packet: Packet, flow: FlowEntry, side: int, now_ns: int) -> bool:
    flags, state, proves = packet.tcp_flags, KernelFlowState, False
    if flags & RST:
        flow.state = state.CLOSED
    elif flags & SYN:
        if not flags & ACK:
            _track_syn(packet, flow, side, now_ns)
        elif side != flow.client and (flow.state <= state.SYN or (flow.state == state.SYNACK and flow.hearsay)):
            flow.hearsay = int(_is_hearsay(packet, flow))
            flow.set_isn(side, packet.seq)
            flow.set_isn(1 - side, (packet.ack - 1) & _U32)
            flow.state = state.SYNACK
    elif (
        flow.state == state.SYNACK
        and side == flow.client
        and flags & ACK
        and packet.ack == (flow.isn[1 - side] + 1) & _U32
    ):
        flow.state = state.ESTABLISHED
        proves = not flow.hearsay
    if flags & FIN and not flow.fins & 1 << side:
        flow.fins = flow.fins & 3 | 1 << side
        flow.state = state.CLOSED if flow.fins == 3 else state.CLOSING
    elif flow.fins and flags & (FIN | ACK) == ACK:
        flow.fins |= 4 << side
    return proves


def _is_hearsay(packet: Packet, flow: FlowEntry) -> bool:
    """Return whether who sent the SYN may have made its answer up."""
    return packet.apart and (flow.asked != Asked.ONE_WAY or packet.neighbour == flow.neighbour)


def _track_syn(packet: Packet, flow: FlowEntry, side: int, now_ns: int) -> None:
    """Start over what had ended, was long idle or had no beginning; look again at what was waved through."""
    state, asked, way = KernelFlowState, flow.asked, flow.neighbour
    if now_ns > flow.last_ns + FLOW_REUSE_NS:
        flow.restart(side, now_ns)
    elif flow.state in (state.NEW, state.CLOSED):
        flow.restart(side, now_ns)
        flow.asked, flow.neighbour = asked, way
    elif flow.verdict in WAVED_THROUGH:
        flow.verdict = FlowVerdict.INSPECT
    if flow.state == state.NEW:
        flow.state = state.SYN
    _ask(flow, packet.neighbour)  # of a connection that goes on, too: it may be reset before this comes back
    if flow.state == state.SYN and flow.client == side:
        flow.set_isn(side, packet.seq)
        flow.charged |= packet.charged
        flow.admitted = 0


def _ask(flow: FlowEntry, neighbour: int) -> None:
    """Note by which way a SYN came."""
    if not flow.asked:
        flow.asked, flow.neighbour = Asked.ONE_WAY, neighbour
    elif flow.neighbour != neighbour:
        flow.asked = Asked.SEVERAL_WAYS
