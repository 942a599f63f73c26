"""The opening of a TCP connection: which sequence numbers did both hosts agree on?

THEORY. Only what both hosts must have agreed on counts; what a third party, or one side alone, can make up does not.

(1) A SYN offers a sequence number. A later SYN with another one is one more offer, until
(2) the SYN/ACK accepts one of them, by acknowledging it. Several SYN/ACKs are several offers, until
(3) the client's next segment acknowledges one of them: both directions now have their first sequence number. If the
    SYN/ACK or the client's ACK was lost to us, any later segment that acknowledges the same shows as much.
(4) Data that comes earlier waits; data on a SYN (RFC 7413) counts if the SYN/ACK acknowledges it.
"""

from __future__ import annotations

from typing import NamedTuple

from ids.counters import Counters
from ids.flow.reassembly import MODULUS, distance
from ids.flow.segment import ACK, FIN, Segment
from ids.types import Direction

MAX_OFFERS = 4
"""SYNs, and SYN/ACKs, with different numbers that are remembered; hosts send one. The oldest is forgotten."""
MAX_EARLY_SEGMENTS = 64
MAX_EARLY_BYTES = 65536
"""What may arrive before the handshake is complete: an initial window of common hosts."""


class Offer(NamedTuple):
    """A SYN, or a SYN/ACK, that has not been accepted."""

    first: int
    """Sequence number of the first byte after it."""
    data: bytes
    """Payload of the SYN, as far as it is accepted."""
    peer_first: int = 0
    """Of a SYN/ACK: the first sequence number of the side that it answers."""

    def accepted_by(self, ack: int, more: int = 0) -> bool:
        """Whether ``ack`` acknowledges the SYN, and no more than its data and ``more`` bytes."""
        return 0 <= distance(ack, self.first) <= len(self.data) + more


def offer_of(segment: Segment) -> Offer:
    """Return what a SYN offers."""
    return Offer((segment.seq + 1) & MODULUS, segment.data)


class Handshake:
    """A handshake that is not complete."""

    __slots__ = ("early", "early_bytes", "replies", "syns")

    def __init__(self) -> None:
        # Tuples, for there are as many of these as a flood has SYNs, and most stay empty.
        self.syns: tuple[Offer, ...] = ()
        self.replies: tuple[Offer, ...] = ()
        self.early: tuple[Segment, ...] = ()
        self.early_bytes = 0

    def syn(self, offer: Offer, counters: Counters) -> None:
        """Take a SYN of the client."""
        self.syns = _with(self.syns, offer, counters)

    def reply(self, segment: Segment, counters: Counters) -> None:
        """Take a SYN/ACK of the server, if it accepts a SYN that was seen."""
        for syn in reversed(self.syns):
            if syn.accepted_by(segment.ack):
                accepted = syn.data[: distance(segment.ack, syn.first)]
                reply = Offer((segment.seq + 1) & MODULUS, accepted, syn.first)
                self.replies = _with(self.replies, reply, counters)
                if segment.data:
                    segment.seq, segment.flags = reply.first, ACK
                    self.wait(segment, counters)
                return
        counters.add("flow.tcp.synack_bad_ack")

    def wait(self, segment: Segment, counters: Counters) -> None:
        """Keep data that came before the handshake was complete."""
        if not segment.data and not segment.flags & FIN:
            return
        if len(self.early) >= MAX_EARLY_SEGMENTS or self.early_bytes + len(segment.data) > MAX_EARLY_BYTES:
            counters.add("flow.tcp.reassembly.early_dropped")
            return
        self.early += (segment,)
        self.early_bytes += len(segment.data)

    def completed_by(self, segment: Segment, counters: Counters) -> tuple[int, int, bytes] | None:
        """Return the agreement that a segment with ACK proves, or None.

        It is the first sequence number of client and server, and the data on the client's SYN.
        """
        from_client = segment.direction is Direction.TO_SERVER
        for reply in reversed(self.replies):
            if from_client:
                fits = 0 <= distance(segment.ack, reply.first) <= MAX_EARLY_BYTES
            else:
                fits = (
                    0 <= distance(segment.seq, reply.first) <= MAX_EARLY_BYTES
                    and 0 <= distance(segment.ack, reply.peer_first) <= MAX_EARLY_BYTES
                )
            if fits:
                return reply.peer_first, reply.first, reply.data
        for syn in reversed(self.syns):
            if not from_client and syn.accepted_by(segment.ack, self.early_bytes):
                counters.add("flow.tcp.synack_missed")
                return syn.first, segment.seq, syn.data
        return None

    def refused_by(self, segment: Segment) -> bool:
        """Whether a RST answers the SYN, or withdraws it."""
        if segment.direction is Direction.TO_SERVER:
            return any(offer.first == segment.seq for offer in self.syns)
        return any(offer.accepted_by(segment.ack) for offer in self.syns) or any(
            offer.first == segment.seq for offer in self.replies
        )


def _with(offers: tuple[Offer, ...], offer: Offer, counters: Counters) -> tuple[Offer, ...]:
    for known in offers:
        if known.first == offer.first and known.peer_first == offer.peer_first:
            return offers
    if len(offers) >= MAX_OFFERS:
        counters.add("flow.tcp.too_many_offers")
        offers = offers[1:]
    return (*offers, offer)
