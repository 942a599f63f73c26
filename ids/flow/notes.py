"""What is remarkable about a TCP connection, in Suricata's words: once a direction for `anomaly` events; for rules."""

from __future__ import annotations

from enum import IntEnum

from ids.counters import Counters
from ids.types import FlowColumns, Noted

MAX_NOTES = 4096
"""Notes of one batch; more are counted as ``flow.tcp.notes_dropped``."""
MAX_REPEATED = 1024
"""Of these, those that are noted each time (`REPEATED`)."""


class Note(IntEnum):
    """What is noted; the names of the events are Suricata's (``stream-events.rules``) where it has one. At most
    64."""

    CONFLICT = 0
    """Copies of the same bytes differ."""
    BAD_ACK = 1
    """What is acknowledged is beyond any window that was offered, or was so long before."""
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
    # What is wrong with the numbers of a segment, by where its connection stands (`ids.flow.remarks`).
    RST_ACK = 13
    EST_ACK = 14
    FIN_ACK = 15
    FIN_PLACE = 16
    CLOSEWAIT_ACK = 17
    CLOSEWAIT_FIN = 18
    CLOSEWAIT_PLACE = 19
    FIN1_ACK = 20
    FIN1_FIN = 21
    FIN1_PLACE = 22
    FIN2_ACK = 23
    FIN2_FIN = 24
    FIN2_PLACE = 25
    LASTACK_ACK = 26
    LASTACK_PLACE = 27
    TIMEWAIT_ACK = 28
    TIMEWAIT_PLACE = 29
    # SYNs and SYN/ACKs within a connection, and within its handshake.
    FIN_SYN = 30
    SYNACK_OF_CLIENT = 31
    OTHER_SYNACK_ACK = 32
    OTHER_SYNACK = 33
    SYNACK_AGAIN = 34
    HANDSHAKE_SYN_OF_SERVER = 35
    HANDSHAKE_OTHER_SYN = 36
    HANDSHAKE_SYNACK_OF_CLIENT = 37
    HANDSHAKE_OTHER_ACK = 38
    SYNACK_DIRECTION = 39
    SYNACK_WRONG_ACK = 40
    SYNACK_FLOOD = 41
    EARLY_DATA_IGNORED = 42
    THIRD_WRONG_ACK = 43
    THIRD_WRONG = 44
    FOUR_WRONG_ACK = 45
    FOUR_WRONG_SYN = 46
    FOUR_WRONG_SEQ = 47
    FOUR_INVALID_ACK = 48
    # What was said and acknowledged before.
    BEFORE_ACK = 49
    CLOSEWAIT_BEFORE_ACK = 50
    RETRANSMISSION = 51
    UNSEEN_ACK = 52
    """Data acknowledges what could have been sent, and was not seen."""
    SYN_FLOOD = 53
    """The client's SYN came again and again, with ever other timestamps."""
    CLOSING_ACK = 54
    CLOSING_PLACE = 55
    WINDOW_UPDATE = 56
    """From beyond what was seen, a window that ends before one that was offered."""
    SERVER_FIRST = 57
    """The server goes on before the client's ACK of its SYN/ACK was seen, where packets cannot be lost,"""
    SERVER_DATA_FIRST = 58
    """and it is data in order."""
    ONE_SIDED_SEQ = 59
    """Of a client whose server was not seen: it begins elsewhere than its SYN says."""

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
    Note.RST_ACK: "stream.rst_invalid_ack",
    Note.EST_ACK: "stream.est_invalid_ack",
    Note.FIN_ACK: "stream.fin_invalid_ack",
    Note.FIN_PLACE: "stream.fin_out_of_window",
    Note.CLOSEWAIT_ACK: "stream.closewait_invalid_ack",
    Note.CLOSEWAIT_FIN: "stream.closewait_fin_out_of_window",
    Note.CLOSEWAIT_PLACE: "stream.closewait_ack_out_of_window",
    Note.FIN1_ACK: "stream.fin1_invalid_ack",
    Note.FIN1_FIN: "stream.fin1_fin_wrong_seq",
    Note.FIN1_PLACE: "stream.fin1_ack_wrong_seq",
    Note.FIN2_ACK: "stream.fin2_invalid_ack",
    Note.FIN2_FIN: "stream.fin2_fin_wrong_seq",
    Note.FIN2_PLACE: "stream.fin2_ack_wrong_seq",
    Note.LASTACK_ACK: "stream.lastack_invalid_ack",
    Note.LASTACK_PLACE: "stream.lastack_ack_wrong_seq",
    Note.TIMEWAIT_ACK: "stream.timewait_invalid_ack",
    Note.TIMEWAIT_PLACE: "stream.timewait_ack_wrong_seq",
    Note.FIN_SYN: "stream.fin_syn",
    Note.SYNACK_OF_CLIENT: "stream.est_synack_toserver",
    Note.OTHER_SYNACK_ACK: "stream.est_synack_resend_with_different_ack",
    Note.OTHER_SYNACK: "stream.est_synack_resend_with_diff_seq",
    Note.SYNACK_AGAIN: "stream.est_synack_resend",
    Note.HANDSHAKE_SYN_OF_SERVER: "stream.3whs_syn_toclient_on_syn_recv",
    Note.HANDSHAKE_OTHER_SYN: "stream.3whs_syn_resend_diff_seq_on_syn_recv",
    Note.HANDSHAKE_SYNACK_OF_CLIENT: "stream.3whs_synack_toserver_on_syn_recv",
    Note.HANDSHAKE_OTHER_ACK: "stream.3whs_synack_resend_with_different_ack",
    Note.SYNACK_DIRECTION: "stream.3whs_synack_in_wrong_direction",
    Note.SYNACK_WRONG_ACK: "stream.3whs_synack_with_wrong_ack",
    Note.SYNACK_FLOOD: "stream.3whs_synack_flood",
    Note.EARLY_DATA_IGNORED: "stream.3whs_synack_tfo_data_ignored",
    Note.THIRD_WRONG_ACK: "stream.3whs_right_seq_wrong_ack_evasion",
    Note.THIRD_WRONG: "stream.3whs_wrong_seq_wrong_ack",
    Note.FOUR_WRONG_ACK: "stream.4whs_synack_with_wrong_ack",
    Note.FOUR_WRONG_SYN: "stream.4whs_synack_with_wrong_syn",
    Note.FOUR_WRONG_SEQ: "stream.4whs_wrong_seq",
    Note.FOUR_INVALID_ACK: "stream.4whs_invalid_ack",
    Note.BEFORE_ACK: "stream.est_pkt_before_last_ack",
    Note.CLOSEWAIT_BEFORE_ACK: "stream.closewait_pkt_before_last_ack",
    Note.RETRANSMISSION: "stream.pkt_retransmission",
    Note.UNSEEN_ACK: "stream.pkt_ack_unseen",
    Note.SYN_FLOOD: "stream.3whs_syn_flood",
    Note.CLOSING_ACK: "stream.closing_invalid_ack",
    Note.CLOSING_PLACE: "stream.closing_ack_wrong_seq",
    Note.WINDOW_UPDATE: "stream.pkt_bad_window_update",
    Note.SERVER_FIRST: "stream.3whs_ack_in_wrong_dir",
    Note.SERVER_DATA_FIRST: "stream.3whs_ack_data_inject",
    Note.ONE_SIDED_SEQ: "stream.3whs_async_wrong_seq",
}
REPEATED = frozenset((Note.BEFORE_ACK, Note.CLOSEWAIT_BEFORE_ACK, Note.RETRANSMISSION))
"""What rules count: noted each time, and in no event, for it comes with every loss."""


class Notes:
    """The notes of a batch."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._made: list[Noted] = []
        self._repeated = 0

    def take(self) -> list[Noted]:
        """Return the notes since the last call."""
        made, self._made, self._repeated = self._made, [], 0
        return made

    def add(self, columns: FlowColumns, slot: int, direction: int, note: Note, at: tuple[int, int, int]) -> bool:
        """Note something about a direction; return whether it is the first time."""
        noted = int(columns.noted[slot, direction])
        again = bool(noted >> note & 1)
        if again and note not in REPEATED:
            return False
        columns.noted[slot, direction] = noted | 1 << note
        quiet = note in REPEATED
        self._repeated += quiet
        if len(self._made) >= MAX_NOTES or (quiet and self._repeated > MAX_REPEATED):
            self._counters.add("flow.tcp.notes_dropped")
        else:
            self._made.append(Noted(slot, direction, note, note.event, at[1], at[2], quiet))
        return not again
