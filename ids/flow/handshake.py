"""The opening of a TCP connection: which sequence numbers did both hosts agree on?

THEORY. Only what both hosts must have agreed on counts; what a third party, or one side alone, can make up does not.

(1) A SYN offers a sequence number. A later SYN with another one is one more offer, until
(2) the SYN/ACK accepts one of them, by acknowledging it. Several SYN/ACKs are several offers, until
(3) the client's next segment acknowledges one of them, and no more than was seen to come after it: whoever forges the
    client's address has to guess that number out of 2**32. Both directions now have their first sequence number.
    If the SYN/ACK or the client's ACK was lost to us, a segment of the server shows as much that has data or a FIN, or
    acknowledges data; a bare ACK does not, for a server sends one before the handshake is complete, too, to whatever
    is out of its window (RFC 9293 section 3.10.7.4).
(4) A RST takes back every SYN/ACK before it. The host may have ignored it for reasons that we cannot see, so the SYNs
    stay: but it is the server that must show it, by another SYN/ACK or as in (3).
(5) A SYN of the server's, while the client's waits, is an offer too. The client's SYN/ACK that accepts it, and has the
    number of its own SYN, makes it one like (2): both opened at once, or the server answers in two steps.
(6) Data that comes earlier waits; data on a SYN (RFC 7413) counts if the SYN/ACK acknowledges it.

PROOF. To be followed is one thing, to be blamed another: whoever forges the client's address may forge the server's,
too, and then knows every number. A connection proves its ends only where the client acknowledges the SYN/ACK exactly,
and the SYN/ACK came another way than the SYN that it accepts: by another interface, or out of this host. A host that
is off the path of both reaches us by one way. But a SYN that is sent back by what is behind us (a route that loops)
comes a second way by itself: where SYNs of one connection came several ways, remembered or not, it proves nobody. A
capture does not show ways, so there the numbers alone must do. What is established by (3) without that, on the word
of the server or with other numbers, is inspected and proves nobody.

MEMORY. All that waits here may be forged, so it is charged to `Reassembly.used`, and has no claim on the half of its
limit that is left for connections both hosts agreed on.
"""

from __future__ import annotations

from typing import NamedTuple

from ids.flow.reassembly import MODULUS, Reassembly, distance
from ids.flow.segment import ACK, FIN, Segment
from ids.types import Direction

MAX_OFFERS = 4
"""SYNs, and SYN/ACKs, with different numbers that are remembered; hosts send one. The oldest is forgotten."""
SEVERAL = -2
"""No `Segment.way`: there are several."""
MAX_STAMPS = 11
"""SYNs with different timestamps from which on it is a flood of them: as many as Suricata keeps by default, and the
last."""
MAX_EARLY_SEGMENTS = 64
MAX_EARLY_BYTES = 65536
"""What may arrive before the handshake is complete: an initial window of common hosts."""
EARLY_COST = 512
"""Bytes that Python needs to hold a segment, besides its content: charged, or tiny segments would be free."""


class Offer(NamedTuple):
    """A SYN, or a SYN/ACK, that has not been accepted."""

    first: int
    """Sequence number of the first byte after it."""
    data: bytes
    """Payload of the SYN, as far as it is accepted."""
    peer_first: int = 0
    """Of a SYN/ACK: the first sequence number of the side that it answers."""
    lost: int = 0
    """Bytes of payload that there was no memory for: they become a hole."""
    way: int = 0
    """`Segment.way`; 0: not known."""
    apart: bool = True
    """Of a SYN/ACK: it came another way than the SYN that it accepts, as far as that is known."""

    def accepted_by(self, ack: int, more: int = 0) -> bool:
        """Whether ``ack`` acknowledges the SYN, and no more than its data and ``more`` bytes."""
        return 0 <= distance(ack, self.first) <= len(self.data) + self.lost + more


class Agreement(NamedTuple):
    """What both ends agreed on."""

    client_first: int
    """Sequence number of the client's first byte."""
    server_first: int
    syn_data: bytes
    """Data on the client's SYN, as far as it was accepted."""
    proven: bool = False
    """The client acknowledged exactly a SYN/ACK that came another way than the SYN."""


def offer_of(segment: Segment) -> Offer:
    """Return what a SYN offers."""
    return Offer((segment.seq + 1) & MODULUS, segment.data, way=segment.way)


def charged(offer: Offer, shared: Reassembly) -> Offer:
    """Return an offer that is to be kept, charged for its data; without the data where there is no room for it."""
    if not _has_room(shared, len(offer.data)):
        offer = offer._replace(data=b"", lost=offer.lost + len(offer.data))
    shared.used += len(offer.data)
    return offer


class Handshake:
    """A handshake that is not complete."""

    __slots__ = ("answered", "early", "early_bytes", "replies", "stamps", "syns", "theirs", "way")

    def __init__(self) -> None:
        # Tuples, for there are as many of these as a flood has SYNs, and most stay empty.
        self.syns: tuple[Offer, ...] = ()
        self.replies: tuple[Offer, ...] = ()
        self.theirs: tuple[Offer, ...] = ()
        """SYNs of the server."""
        self.early: tuple[Segment, ...] = ()
        self.early_bytes = 0
        self.answered = 0
        """SYN/ACKs with numbers that no other remembered one had."""
        self.way: int | None = None
        """The one way by which SYNs came; `SEVERAL`: there were more. None: there was no SYN."""
        self.stamps: tuple[int | None, ...] = ()
        """Different timestamps of the client's SYNs, the first `MAX_STAMPS`; None: the first SYN had none."""

    def syn(self, offer: Offer, shared: Reassembly) -> None:
        """Take a SYN of the client."""
        self.way = offer.way if self.way in (None, offer.way) else SEVERAL
        self.syns = _with(self.syns, offer, shared)

    def crowded(self, stamp: int | None) -> bool:
        """Whether the client's SYN came with as many timestamps as may be, before one more with this timestamp."""
        return len(self.stamps) >= MAX_STAMPS and stamp is not None and stamp != self.stamps[-1]

    def stamped(self, stamp: int | None) -> None:
        """Take the timestamp of a SYN of the client."""
        new = stamp not in self.stamps and (stamp is not None or not self.stamps)
        if new and len(self.stamps) < MAX_STAMPS:
            self.stamps += (stamp,)

    def counter(self, offer: Offer, shared: Reassembly) -> None:
        """Take a SYN of the server: both sides open at once (RFC 9293 section 3.5), or it answers in two steps."""
        self.theirs = _with(self.theirs, offer._replace(data=b""), shared)

    def meets(self, segment: Segment, shared: Reassembly) -> bool:
        """Take a SYN/ACK of the client, if it accepts a SYN of the server and repeats its own."""
        for theirs in reversed(self.theirs):
            for syn in self.syns:
                if theirs.accepted_by(segment.ack) and syn.first == (segment.seq + 1) & MODULUS:
                    reply = Offer(theirs.first, b"", syn.first, len(syn.data), apart=False)
                    self.replies = _with(self.replies, reply, shared)
                    return True
        return False

    def reply(self, segment: Segment, shared: Reassembly) -> None:
        """Take a SYN/ACK of the server, if it accepts a SYN that was seen."""
        for syn in reversed(self.syns):
            if syn.accepted_by(segment.ack):
                size = distance(segment.ack, syn.first)
                accepted = syn.data[:size]
                first, lost = (segment.seq + 1) & MODULUS, size - len(accepted)
                apart = segment.way <= 0 or (self.way != SEVERAL and segment.way != self.way)
                reply = Offer(first, accepted, syn.first, lost, apart=apart)
                self.answered = self.different_from(first)
                self.replies = _with(self.replies, reply, shared)
                if segment.data:
                    segment.seq, segment.flags = reply.first, ACK
                    self.wait(segment, shared)
                return
        shared.counters.add("flow.tcp.synack_bad_ack")

    def wait(self, segment: Segment, shared: Reassembly) -> None:
        """Keep data that came before the handshake was complete."""
        if not segment.data and not segment.flags & FIN:
            return
        if len(self.early) >= MAX_EARLY_SEGMENTS or self.early_bytes + len(segment.data) > MAX_EARLY_BYTES:
            shared.count("early_dropped")
            return
        cost = EARLY_COST + len(segment.data)
        if not _has_room(shared, cost):
            return
        shared.used += cost
        self.early += (segment,)
        self.early_bytes += len(segment.data)

    def different_from(self, first: int) -> int:
        """Return how many SYN/ACKs with different numbers there were, the next one, of this number, included."""
        return self.answered + all(reply.first != first for reply in self.replies)

    def release(self, shared: Reassembly) -> None:
        """Give back the memory of all that waits: it is handed on, or the flow goes."""
        offered = sum(len(offer.data) for offer in self.syns + self.replies)
        shared.used -= offered + self.early_bytes + EARLY_COST * len(self.early)

    def completed_by(self, segment: Segment, shared: Reassembly) -> Agreement | None:
        """Return the agreement that a segment with ACK shows, or None."""
        if segment.direction is Direction.TO_SERVER:
            for reply in reversed(self.replies):
                more = distance(segment.ack, reply.first)
                if 0 <= more <= self._server_sent(reply.first):
                    return Agreement(reply.peer_first, reply.first, reply.data, reply.apart and not more)
            return None
        speaks = bool(segment.data or segment.flags & FIN)
        for reply in reversed(self.replies):
            begun = 0 <= distance(segment.seq, reply.first) <= MAX_EARLY_BYTES
            new = distance(segment.ack, reply.peer_first)
            if begun and 0 <= new <= MAX_EARLY_BYTES and (speaks or new > len(reply.data) + reply.lost):
                return Agreement(reply.peer_first, reply.first, reply.data)
        for syn in reversed(self.syns):
            new = distance(segment.ack, syn.first)
            if syn.accepted_by(segment.ack, self._client_sent()) and (speaks or new > len(syn.data) + syn.lost):
                shared.counters.add("flow.tcp.synack_missed")
                return Agreement(syn.first, segment.seq, syn.data)
        return None

    def take_back(self, shared: Reassembly) -> None:
        """Forget what the server offered."""
        shared.used -= sum(len(offer.data) for offer in self.replies)
        self.replies = ()

    @property
    def one_sided(self) -> bool:
        """Whether a client speaks, and nothing of a server was seen."""
        spoken = {early.direction for early in self.early}
        return spoken == {Direction.TO_SERVER} and bool(self.syns) and not self.replies and not self.theirs

    def _client_sent(self) -> int:
        """Return how many bytes the client may have sent by what waits, a FIN included."""
        return self.early_bytes + any(early.flags & FIN for early in self.early)

    def _server_sent(self, first: int) -> int:
        """Return how many bytes after its first one the server was seen to send, a FIN included."""
        ends = (
            distance(early.seq, first) + early.length + (early.flags & FIN)
            for early in self.early
            if early.direction is Direction.TO_CLIENT
        )
        return max((end for end in ends if 0 < end <= MAX_EARLY_BYTES), default=0)

    def refused_by(self, segment: Segment) -> bool:
        """Whether a RST answers the SYN, or withdraws it."""
        if segment.direction is Direction.TO_SERVER:
            return any(offer.first == segment.seq for offer in self.syns)
        return any(offer.accepted_by(segment.ack) for offer in self.syns) or any(
            offer.first == segment.seq for offer in self.replies
        )


def _has_room(shared: Reassembly, size: int) -> bool:
    """Return whether ``size`` bytes of what nobody agreed on may be kept; count it where they may not."""
    fits = not size or shared.used + size <= shared.memcap // 2
    if not fits:
        shared.count("early_memcap")
    return fits


def _with(offers: tuple[Offer, ...], offer: Offer, shared: Reassembly) -> tuple[Offer, ...]:
    for known in offers:
        if (known.first, known.peer_first, known.apart) == (offer.first, offer.peer_first, offer.apart):
            return offers
    if len(offers) >= MAX_OFFERS:
        shared.counters.add("flow.tcp.too_many_offers")
        shared.used -= len(offers[0].data)
        offers = offers[1:]
    return (*offers, charged(offer, shared))
