"""What is remarkable about a TCP connection: once a direction, for `anomaly` events in Suricata's words."""

from __future__ import annotations

from enum import IntEnum

from ids.counters import Counters
from ids.types import FlowColumns, Noted

MAX_NOTES = 4096
"""Notes of one batch; more are counted as ``flow.tcp.notes_dropped``."""


class Note(IntEnum):
    """What is noted; the names of the events are Suricata's (``stream-events.rules``) where it has one. At most 16."""

    CONFLICT = 0
    """Copies of the same bytes differ."""
    BAD_ACK = 1
    """Data acknowledges what was not sent, or long before."""
    OLD_TIMESTAMP = 2
    """RFC 7323 section 5: it would be dropped."""
    SIGNATURE = 3
    """An MD5 or authentication option on a connection that has none."""
    OUT_OF_WINDOW = 4
    URGENT = 5
    LATE_DATA = 6
    """What fills a hole that had been given up."""
    MULTIPATH = 7
    """The server agreed to take bytes of the connection by further paths, each a connection of its own (RFC 8684)."""
    FURTHER_PATH = 8
    """This is one of them."""
    RESET_IGNORED = 9
    """A side went on behind its own credible RST: somebody else sent that, or it was to end the inspection."""
    SYN_AGAIN = 10
    """The client's SYN came again within the connection,"""
    OTHER_SYN = 11
    """or one with another sequence number,"""
    SYN_OF_SERVER = 12
    """or one of the server."""

    @property
    def event(self) -> str:
        """Return EVE's ``anomaly.event``."""
        return _EVENTS[self]


_EVENTS = {
    Note.CONFLICT: "stream.reassembly_overlap_different_data",
    Note.BAD_ACK: "stream.pkt_invalid_ack",
    Note.OLD_TIMESTAMP: "stream.pkt_invalid_timestamp",
    Note.SIGNATURE: "stream.pkt_unexpected_signature",
    Note.OUT_OF_WINDOW: "stream.est_packet_out_of_window",
    Note.URGENT: "stream.urgent_data",
    Note.LATE_DATA: "stream.reassembly_late_data",
    Note.MULTIPATH: "stream.multipath",
    Note.FURTHER_PATH: "stream.multipath_joined",
    Note.RESET_IGNORED: "stream.suspected_rst_inject",
    Note.SYN_AGAIN: "stream.est_syn_resend",
    Note.OTHER_SYN: "stream.est_syn_resend_diff_seq",
    Note.SYN_OF_SERVER: "stream.est_syn_toclient",
}


class Notes:
    """The notes of a batch."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._made: list[Noted] = []

    def take(self) -> list[Noted]:
        """Return the notes since the last call."""
        made, self._made = self._made, []
        return made

    def add(self, columns: FlowColumns, slot: int, direction: int, note: Note, at: tuple[int, int, int]) -> bool:
        """Note something about a direction, the first time; return whether it is."""
        bit = 1 << (2 * note + direction)
        noted = int(columns.noted[slot])
        if noted & bit:
            return False
        columns.noted[slot] = noted | bit
        if len(self._made) >= MAX_NOTES:
            self._counters.add("flow.tcp.notes_dropped")
            return True
        self._made.append(Noted(slot, direction, note, note.event, at[1], at[2]))
        return True
