"""Follow one TCP connection, a segment at a time: who may speak, from which sequence number, until when.

THEORY. Only what both hosts must have agreed on counts; what a third party, or one side alone, can make up does not.

(1) A SYN offers a sequence number. A later SYN with another one is one more offer, until
(2) the SYN/ACK accepts one of them, by acknowledging it. Several SYN/ACKs are several offers, until
(3) the client's next segment acknowledges one of them: both directions now have their first sequence number. If the
    SYN/ACK or the client's ACK was lost to us, any later segment that acknowledges the same tells as much.
(4) Data that comes earlier waits; data on a SYN (RFC 7413) counts if the SYN/ACK acknowledges it.
(5) From then on a segment without ACK is ignored, as hosts do (RFC 9293 section 3.10.7.4).
(6) A RST counts only at the next expected sequence number, or behind a hole that we have; and as hosts may have ignored
    it for reasons that we cannot see, data that goes on after it is still delivered, for as long as the flow is kept.
(7) A SYN within a connection changes nothing, until a SYN/ACK of the other side accepts it: that is a new flow.
"""

from __future__ import annotations

from enum import Enum

from ids.flow.reassembly import MODULUS, Arrival, Half, Reassembly, distance
from ids.types import Direction, Flow, FlowState

FIN = 0x01
SYN = 0x02
RST = 0x04
ACK = 0x10
URG = 0x20

MAX_OFFERS = 4
"""SYNs, and SYN/ACKs, with different numbers that are remembered during one handshake; hosts send one."""
MAX_EARLY_SEGMENTS = 64
MAX_EARLY_BYTES = 65536
"""What may arrive before the handshake is complete: an initial window of common hosts."""


class Phase(Enum):
    """Where a connection stands."""

    OPENING = "opening"
    OPEN = "open"
    RESET = "reset"
    """A credible RST was seen."""
    CLOSED = "closed"
    """Both FINs are acknowledged, or a RST refused the SYN."""
    IGNORED = "ignored"
    """Picked up in the middle, and not to be followed."""


class Segment:
    """One TCP segment, as the careful path sees it."""

    __slots__ = ("ack", "at", "data", "direction", "flags", "length", "seq")

    def __init__(
        self, direction: Direction, flags: int, seq: int, ack: int, data: bytes, length: int, at: Arrival
    ) -> None:
        self.direction = direction
        self.flags = flags
        self.seq = seq
        self.ack = ack
        self.data = data
        self.length = length
        """Payload bytes on the wire; more than ``data`` has if the capture cut it."""
        self.at = at


class Offer:
    """A SYN, or a SYN/ACK, that has not been accepted."""

    __slots__ = ("data", "first", "peer_first")

    def __init__(self, first: int, data: bytes, peer_first: int = 0) -> None:
        self.first = first
        """Sequence number of the first byte after it."""
        self.data = data
        """Payload of the SYN."""
        self.peer_first = peer_first
        """Of a SYN/ACK: the first sequence number of the side that it answers."""


class Connection:
    """The TCP state of one flow."""

    __slots__ = ("_early", "_early_bytes", "_replies", "_reuse", "_syns", "flow", "halves", "phase", "shared")

    def __init__(self, shared: Reassembly, flow: Flow) -> None:
        self.shared = shared
        self.flow = flow
        self.phase = Phase.OPENING
        self.halves: tuple[Half, Half] | None = None
        """By `Direction`; None until the handshake is complete."""
        self._syns: list[Offer] = []
        self._replies: list[Offer] = []
        self._early: list[Segment] = []
        self._early_bytes = 0
        self._reuse: tuple[Direction, Offer] | None = None

    def start(self, client_next: int, server_next: int) -> tuple[Half, Half]:
        """Begin both directions at these sequence numbers: the handshake is complete."""
        halves = (
            Half(self.shared, self.flow, Direction.TO_SERVER, client_next),
            Half(self.shared, self.flow, Direction.TO_CLIENT, server_next),
        )
        self.halves = halves
        self.phase = Phase.OPEN
        self.flow.state = FlowState.ESTABLISHED
        return halves

    def segment(self, segment: Segment) -> Offer | None:
        """Take the next segment. An offer is returned where a new connection replaces this one, beginning with it."""
        if self.phase is Phase.IGNORED:
            self.shared.count("midstream_bytes", len(segment.data))
            return None
        if segment.flags & URG and segment.data:
            self.shared.counters.add("flow.tcp.urgent")
        if segment.flags & RST:
            self._reset(segment)
            return None
        if segment.flags & SYN:
            return self._synchronise(segment)
        if not segment.flags & ACK:
            self.shared.counters.add("flow.tcp.no_ack_flag")
            return None
        if self.halves is None and not self._establish(segment):
            self._wait(segment)
            return None
        self._established(segment)
        return None

    def offered(self, offer: Offer) -> None:
        """Begin with a SYN that was seen before: in the flow that this one replaces."""
        self._syns.append(offer)

    def pick_up(self, flags: int, seq: int, ack: int) -> None:
        """Begin in the middle: at this segment's numbers, if that is wanted and possible."""
        if not self.shared.midstream or flags & RST or not flags & ACK:
            self.phase = Phase.IGNORED
            self.shared.counters.add("flow.tcp.midstream_ignored")
        elif flags & SYN:  # of the server
            self.start(ack, (seq + 1) & MODULUS)
        else:
            self.start(seq, ack)

    def close(self, at: Arrival) -> None:
        """End both directions, if they ever began."""
        if self.halves is not None:
            for half in self.halves:
                half.close(at)
        elif self._early_bytes:
            self.shared.count("unestablished_bytes", self._early_bytes)

    def settle(self) -> None:
        """Note the end of the connection where both directions are closed."""
        if self.halves is not None and self.halves[0].closed and self.halves[1].closed:
            self.phase = Phase.CLOSED
            self.flow.state = FlowState.CLOSED

    def _established(self, segment: Segment) -> None:
        assert self.halves is not None
        half, other = self.halves[segment.direction], self.halves[1 - segment.direction]
        other.acknowledge(other.place(segment.ack), segment.at)
        start = half.place(segment.seq)
        if segment.data:
            if self.phase is Phase.RESET and half.orderly and start == half.offset:
                self.shared.counters.add("flow.tcp.rst_ignored_by_host")
                self.phase, self.flow.state = Phase.OPEN, FlowState.ESTABLISHED
            half.receive(start, segment.data, segment.at)
        if segment.flags & FIN:
            half.finish(start + segment.length)
        self.settle()

    def _reset(self, segment: Segment) -> None:
        if self.halves is None:
            credible = self._refuses(segment)
        else:
            half = self.halves[segment.direction]
            credible = half.next_sequence == segment.seq or half.offset <= half.place(segment.seq) < half.highest + 1
        if not credible:
            self.shared.counters.add("flow.tcp.rst_invalid")
            return
        if self.phase in (Phase.OPENING, Phase.OPEN):
            refused = self.halves is None and segment.direction is Direction.TO_CLIENT
            self.phase = Phase.CLOSED if refused else Phase.RESET
            self.flow.state = FlowState.CLOSED

    def _refuses(self, segment: Segment) -> bool:
        """Whether a RST answers the SYN, or withdraws it."""
        if segment.direction is Direction.TO_CLIENT:
            return any(0 <= distance(segment.ack, offer.first) <= len(offer.data) for offer in self._syns) or any(
                offer.first == segment.seq for offer in self._replies
            )
        return any(offer.first == segment.seq for offer in self._syns)

    def _synchronise(self, segment: Segment) -> Offer | None:
        if segment.flags & ACK:
            if self._reuse is not None and self._reuse[0] is not segment.direction:
                offer = self._reuse[1]
                if 0 <= distance(segment.ack, offer.first) <= len(offer.data):
                    return offer
            if self.halves is None:
                self._reply(segment)
            return None
        offer = Offer((segment.seq + 1) & MODULUS, segment.data)
        if self.halves is None and segment.direction is Direction.TO_SERVER:
            self._remember(self._syns, offer)
        else:
            if self.halves is not None:
                self.shared.counters.add("flow.tcp.syn_in_connection")
            self._reuse = (segment.direction, offer)
        return None

    def _reply(self, segment: Segment) -> None:
        """Take a SYN/ACK of the server, if it accepts a SYN that was seen."""
        if segment.direction is Direction.TO_SERVER:
            self._establish(segment)
            return
        for syn in reversed(self._syns):
            accepted = distance(segment.ack, syn.first)
            if 0 <= accepted <= len(syn.data):
                reply = Offer((segment.seq + 1) & MODULUS, syn.data[:accepted], syn.first)
                self._remember(self._replies, reply)
                if segment.data:
                    segment.seq, segment.flags = reply.first, ACK
                    self._wait(segment)
                return
        self.shared.counters.add("flow.tcp.synack_bad_ack")

    def _remember(self, offers: list[Offer], offer: Offer) -> None:
        for known in offers:
            if known.first == offer.first and known.peer_first == offer.peer_first:
                return
        if len(offers) >= MAX_OFFERS:
            self.shared.counters.add("flow.tcp.too_many_offers")
            del offers[0]
        offers.append(offer)

    def _wait(self, segment: Segment) -> None:
        """Keep data that came before the handshake was complete."""
        if not segment.data and not segment.flags & FIN:
            return
        if len(self._early) >= MAX_EARLY_SEGMENTS or self._early_bytes + len(segment.data) > MAX_EARLY_BYTES:
            self.shared.count("early_dropped")
            return
        self._early.append(segment)
        self._early_bytes += len(segment.data)

    def _establish(self, segment: Segment) -> bool:
        """Complete the handshake if this segment acknowledges one of the offers; return whether it did."""
        for reply in reversed(self._replies):
            if segment.direction is Direction.TO_SERVER:
                fits = 0 <= distance(segment.ack, reply.first) <= MAX_EARLY_BYTES
            else:
                fits = (
                    0 <= distance(segment.seq, reply.first) <= MAX_EARLY_BYTES
                    and 0 <= distance(segment.ack, reply.peer_first) <= MAX_EARLY_BYTES
                )
            if fits:
                self._begin(reply.peer_first, reply.first, reply.data, segment.at)
                return True
        if segment.direction is Direction.TO_CLIENT:
            for syn in reversed(self._syns):
                if 0 <= distance(segment.ack, syn.first) <= len(syn.data) + self._early_bytes:
                    self.shared.counters.add("flow.tcp.synack_missed")
                    self._begin(syn.first, segment.seq, syn.data, segment.at)
                    return True
        return False

    def _begin(self, client_next: int, server_next: int, syn_data: bytes, at: Arrival) -> None:
        halves = self.start(client_next, server_next)
        if syn_data:
            halves[0].receive(0, syn_data, at)
        early, self._early, self._early_bytes = self._early, [], 0
        self._syns.clear()
        self._replies.clear()
        for segment in early:
            segment.at = at
            self._established(segment)
