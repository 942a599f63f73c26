"""Follow one TCP connection, a segment at a time: who may speak, from which sequence number, until when.

THEORY. `ids.flow.handshake` has the rules of the opening. From then on:

(1) A segment without ACK is ignored, as hosts do (RFC 9293 section 3.10.7.4). Data that hosts ignore for other reasons
    (`ids.flow.acceptance`) is put aside.
(2) A RST counts only at the next expected sequence number, or behind a hole that we have; and as hosts may have ignored
    it for reasons that we cannot see, data that goes on after it is still delivered, for as long as the flow is kept.
(3) A SYN within a connection changes nothing, until a SYN/ACK of the other side accepts it: that is a new flow.
(4) Hosts take a byte that is marked urgent out of the stream, or leave it in: both are read.
(5) The connection is closed when both directions are: `ids.flow.reassembly` says when.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from ids.flow.acceptance import Fault, fault_of, hear, in_window, misplaced
from ids.flow.aside import Ignored
from ids.flow.half import Half
from ids.flow.handshake import Handshake, Offer, charged, offer_of
from ids.flow.notes import Note
from ids.flow.reassembly import Reassembly
from ids.flow.remarks import Remarks, begins_closing, goes_on_closing, impossible, opening_remarks, remarks
from ids.flow.segment import ACK, FIN, RST, SYN, URG, Arrival, Segment
from ids.flow.versions import Versions
from ids.types import NEVER, Direction, FlowColumns, FlowState, Mark

_MIDSTREAM = int(Mark.MIDSTREAM)


class Phase(IntEnum):
    """Where a connection stands."""

    NONE = 0
    """It is no TCP."""
    OPENING = 1
    OPEN = 2
    RESET = 3
    """A credible RST was seen."""
    CLOSED = 4
    """Both FINs are acknowledged, or a RST refused the SYN."""
    IGNORED = 5
    """Picked up in the middle, and not to be followed."""


class Connection:
    """The TCP state of one flow."""

    __slots__ = (
        "closing",
        "columns",
        "halves",
        "handshake",
        "phase",
        "reset_by",
        "reuse",
        "scales",
        "shared",
        "signed",
        "slot",
        "versions",
        "windows",
    )

    def __init__(self, shared: Reassembly, columns: FlowColumns, slot: int) -> None:
        self.shared = shared
        self.columns = columns
        self.slot = slot
        self.phase = Phase.OPENING
        self.reset_by: Direction | None = None
        """Whose credible RST was seen last."""
        self.handshake: Handshake | None = None
        """What was offered so far; None before the first SYN, and when the handshake is complete."""
        self.halves: tuple[Half, Half] | None = None
        """By `Direction`; None until the handshake is complete."""
        self.reuse: tuple[Direction, Offer] | None = None
        """A SYN within the connection, and who sent it."""
        self.versions = Versions(slot)
        """What else its hosts may have read."""
        self.scales: tuple[int | None, int | None] = (None, None)
        """Window scales that the two sides offered, by `Direction`."""
        self.windows: tuple[int | None, int | None] = (None, None)
        """The same of the windows, which are not scaled there."""
        self.closing = False
        """A FIN without ACK came behind the server's; see `ids.flow.remarks`."""
        self.signed = False
        """Its SYNs have an MD5 or authentication option."""

    @property
    def bare(self) -> bool:
        """Whether numbers say all there is to say: nothing offered anew, held back, missing or claimed."""
        if self.reuse is not None or self.handshake is not None or self.versions.variants or self.closing:
            return False
        return self.halves is None or (self.halves[0].plain and self.halves[1].plain)

    @property
    def orderly(self) -> bool:
        """Whether it is open, and may go on as one of many."""
        return self.phase is Phase.OPEN and self.bare

    def start(self, client_next: int, server_next: int) -> tuple[Half, Half]:
        """Begin both directions at these sequence numbers: the handshake is complete."""
        halves = (
            Half(self.shared, self.columns, self.slot, Direction.TO_SERVER, client_next, self.versions),
            Half(self.shared, self.columns, self.slot, Direction.TO_CLIENT, server_next, self.versions),
        )
        halves[0].peer, halves[1].peer = halves[1], halves[0]
        halves[1].edge, halves[0].edge = self.windows
        self.halves = halves
        self.handshake = None
        self.columns.marks[self.slot] &= ~np.uint16(Mark.MIDSTREAM)  # a RST before may have set it
        self._enter(Phase.OPEN, FlowState.ESTABLISHED)
        return halves

    def offer(self, offer: Offer) -> None:
        """Take a SYN of the client."""
        if self.handshake is None:
            self.handshake = Handshake()
        self.handshake.syn(offer, self.shared)

    def segment(self, segment: Segment) -> Offer | None:
        """Take the next segment. An offer is returned where a new connection replaces this one, beginning with it."""
        if self.phase is Phase.IGNORED:
            self.shared.count("midstream_bytes", len(segment.data))
            return None
        if segment.doubtful:
            self._doubt(segment)
            return None
        if self.phase is Phase.OPEN or self.phase is Phase.OPENING:
            self._remark(segment)
        if segment.flags & URG and segment.data:
            self.shared.counters.add("flow.tcp.urgent")
        if segment.flags & SYN:
            self._note_options(segment)
        if segment.flags & RST:
            self._reset(segment)
        elif segment.flags & SYN:
            return self._synchronise(segment)
        elif not segment.flags & ACK:
            self.shared.counters.add("flow.tcp.no_ack_flag")
        elif self.halves is not None or self._establish(segment):
            self._established(segment)
        elif self.handshake is not None:
            self.handshake.wait(segment, self.shared)
        return None

    def _remark(self, segment: Segment) -> None:
        """Note what is wrong with a segment where the connection stands."""
        remarked: Remarks = ()
        if self.halves is not None:
            midstream = bool(self.columns.marks.item(self.slot) & _MIDSTREAM)
            remarked = remarks(self.halves, midstream, segment, self.scales, self.closing)
            if self.closing:
                self.closing = goes_on_closing(self.halves, segment, remarked)
            elif segment.flags & (FIN | ACK) == FIN:
                self.closing = not midstream and begins_closing(self.halves, segment)
        elif self.handshake is not None:
            remarked = opening_remarks(self.handshake, segment, self.shared)
        for note in remarked:
            self.shared.notes.add(self.columns, self.slot, segment.direction, note, segment.at)

    def close(self, at: Arrival) -> None:
        """End both directions, if they ever began."""
        self._note_reuse(None)
        if self.halves is None and self.shared.midstream:
            self._take_one_side(at)
        if self.halves is not None:
            for half in self.halves:
                half.close(at)
            self.versions.end(self.shared, at)
            for half in self.halves:
                half.peer = None  # no cycle is to wait for the collector
        elif self.handshake is not None:
            self.handshake.release(self.shared)
            if self.handshake.early_bytes:
                self.shared.count("unestablished_bytes", self.handshake.early_bytes)
                self.shared.count("unestablished_flows")

    def _take_one_side(self, at: Arrival) -> None:
        """Take what a client said whose server was not seen at all: it may be out of our sight."""
        handshake = self.handshake
        if handshake is None or not handshake.one_sided or self.columns.packets[self.slot, 1]:
            return
        handshake.release(self.shared)
        syn = handshake.syns[-1]
        client, _ = self.start(syn.first, handshake.early[0].ack)
        self.columns.established_from[self.slot] = 0
        self.columns.marks[self.slot] |= np.uint16(Mark.MIDSTREAM)
        if syn.data:
            client.receive(0, syn.data, at)
        for early in handshake.early:
            early.at = at
            self._established(early)

    def settle(self) -> None:
        """Note the end of the connection where both directions are closed."""
        if self.halves is not None and self.halves[0].closed and self.halves[1].closed:
            self._enter(Phase.CLOSED, FlowState.CLOSED)

    def _enter(self, phase: Phase, state: FlowState) -> None:
        self.phase = phase
        self.columns.state[self.slot] = state

    def _established(self, segment: Segment) -> None:
        assert self.halves is not None
        half, other = self.halves[segment.direction], self.halves[1 - segment.direction]
        start, acked = half.place(segment.seq), other.place(segment.ack)
        fault = fault_of(segment, half, other, signed=self.signed)
        if fault is None:
            if acked > other.highest or in_window(segment, start, half):
                other.acknowledge(acked, segment.at)
            fault = misplaced(start, acked, half, other)
        if fault is not None:
            self._put_aside(segment, start, acked, half, other, fault)
            return
        hear(segment, start, acked, half, other, self.scales)
        if start + segment.length > half.reached:
            half.reached = start + segment.length
        if segment.data:
            if self.phase is Phase.RESET and start == half.offset:
                self.shared.counters.add("flow.tcp.rst_ignored_by_host")
                if self.reset_by is segment.direction:
                    half.note(Note.RESET_IGNORED, segment.at)
                self._enter(Phase.OPEN, FlowState.ESTABLISHED)
            if segment.flags & URG:
                half.note(Note.URGENT, segment.at)
                half.leave_out(start + max(segment.urgent - 1, 0), segment.at)
            offset = half.offset
            half.receive(start, segment.data, segment.at, segment.ttl)
            if half.offset > offset:
                other.spoken(segment.at)
        if segment.flags & FIN:
            half.finish(start + segment.length)
        if other.aside:
            other.reconsider(half.shown, segment.at)
        self.settle()

    def _put_aside(self, segment: Segment, start: int, acked: int, half: Half, other: Half, fault: Fault) -> None:
        """Keep data that hosts ignore; what only some of them ignore is read, too, in a variant."""
        self.shared.counters.add(f"flow.tcp.{fault.counter}")
        fin = bool(segment.flags & FIN)
        if segment.data or fin or fault is Fault.OLD_TIMESTAMP:
            unseen = fault is Fault.BAD_ACK and not impossible(acked, other)
            half.note(Note.UNSEEN_ACK if unseen else fault.note, segment.at)
        if not segment.data and not fin:
            return
        ahead = fault is Fault.BAD_ACK and acked > other.shown
        half.put_aside(Ignored(start, segment.data, segment.stamp, acked if ahead else None, fin))
        if fault.depends_on_host:
            half.doubt(start, segment.data, segment.at)

    def _doubt(self, segment: Segment) -> None:
        """Take a segment in a packet that Linux drops, and other hosts may not: it changes nothing, and is read."""
        if self.halves is None or not segment.data or segment.flags & (SYN | RST):
            return
        half, other = self.halves[segment.direction], self.halves[1 - segment.direction]
        start = half.place(segment.seq)
        if misplaced(start, other.place(segment.ack), half, other) is None:
            self.shared.counters.add("flow.tcp.doubtful")
            half.put_aside(Ignored(start, segment.data, segment.stamp, None, fin=False))
            half.doubt(start, segment.data, segment.at)

    def _note_options(self, segment: Segment) -> None:
        """Remember what a SYN or SYN/ACK offers."""
        self.signed |= segment.signed
        if self.halves is not None:
            return
        (client_scale, server_scale), (client_window, server_window) = self.scales, self.windows
        if segment.direction is Direction.TO_SERVER:
            self.scales = segment.scale, server_scale
            self.windows = max(segment.window, client_window or 0), server_window
        else:
            self.scales = client_scale, segment.scale
            self.windows = client_window, max(segment.window, server_window or 0)

    def _establish(self, segment: Segment) -> bool:
        """Complete the handshake, if this segment does; return whether it did."""
        handshake = self.handshake
        agreed = handshake.completed_by(segment, self.shared) if handshake is not None else None
        if handshake is None or agreed is None:
            return False
        handshake.release(self.shared)
        client, server = self.start(agreed.client_first, agreed.server_first)
        self.columns.established_from[self.slot] = segment.at[2] + 1
        client.heard = server.heard = True
        if agreed.proven:
            self.columns.marks[self.slot] |= np.uint16(Mark.PROVEN)
        if agreed.syn_data:
            client.receive(0, agreed.syn_data, segment.at)
        for early in handshake.early:
            early.at = segment.at
            self._established(early)
        return True

    def _reset(self, segment: Segment) -> None:
        if self.halves is not None:
            half, other = self.halves[segment.direction], self.halves[1 - segment.direction]
            if fault_of(segment, half, other, signed=True) is not None:
                half.note(Note.OLD_TIMESTAMP, segment.at)  # hosts take such a RST all the same
            credible = half.next_sequence == segment.seq or half.offset <= half.place(segment.seq) <= half.highest
        else:
            credible = self.handshake is not None and self.handshake.refused_by(segment)
        if not credible:
            self.shared.counters.add("flow.tcp.rst_invalid")
            return
        if self.handshake is not None:
            self.handshake.take_back(self.shared)
        self.reset_by = segment.direction
        if self.phase in (Phase.OPENING, Phase.OPEN):
            refused = self.halves is None and segment.direction is Direction.TO_CLIENT
            self._enter(Phase.CLOSED if refused else Phase.RESET, FlowState.CLOSED)
            if self.halves is None:  # the state does not tell this from a connection, and it proves nobody's address
                self.columns.established_from[self.slot] = NEVER
                self.columns.marks[self.slot] |= np.uint16(Mark.MIDSTREAM)

    def _synchronise(self, segment: Segment) -> Offer | None:
        """Take a SYN or SYN/ACK; return the offer that it accepts, if that begins another connection."""
        if not segment.flags & ACK:
            if self.halves is None and segment.direction is Direction.TO_SERVER:
                self.offer(offer_of(segment))
                if self.handshake is not None:
                    self.handshake.stamped(segment.stamp)
                return None
            if self.halves is None and self.handshake is not None:
                self.handshake.counter(offer_of(segment), self.shared)
            elif self.halves is not None:
                self.shared.counters.add("flow.tcp.syn_in_connection")
                if not segment.flags & FIN:
                    self._note_syn(segment)
            self._note_reuse((segment.direction, offer_of(segment)))
            return None
        from_client = segment.direction is Direction.TO_SERVER
        if self.handshake is not None and from_client and self.handshake.meets(segment, self.shared):
            return None
        if self.reuse is not None and self.reuse[0] is not segment.direction:
            offer = self.reuse[1]
            if offer.accepted_by(segment.ack):
                return offer
        if self.handshake is not None:
            if segment.direction is Direction.TO_CLIENT:
                self.handshake.reply(segment, self.shared)
            else:
                self._establish(segment)
        return None

    def _note_syn(self, segment: Segment) -> None:
        """Note a SYN within the connection."""
        assert self.halves is not None
        half = self.halves[segment.direction]
        if segment.direction is Direction.TO_CLIENT:
            half.note(Note.SYN_OF_SERVER, segment.at)
        else:
            again = half.place(segment.seq) == -1
            half.note(Note.SYN_AGAIN if again else Note.OTHER_SYN, segment.at)

    def _note_reuse(self, reuse: tuple[Direction, Offer] | None) -> None:
        """Remember a SYN within the connection, in place of the one before it, if any."""
        if self.reuse is not None:
            self.shared.used -= len(self.reuse[1].data)
        self.reuse = None if reuse is None else (reuse[0], charged(reuse[1], self.shared))
