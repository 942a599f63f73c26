"""What is wrong with the numbers of a TCP segment where its connection stands, in the words of Suricata's rules.

Nothing here decides what is inspected: `ids.flow.acceptance` does, for all kinds of hosts. These are the names that
Suricata's ``stream-events.rules`` have for what an attacker or a broken host does: handshakes that go wrong, segments
out of place around the end. A segment that is in order says nothing of the kind, so only those are judged that
are taken one by one (`ids.flow.passage`).

STATES. Suricata names where a connection ends by who began to: *CLOSE_WAIT* where the client sent the first FIN,
*LAST_ACK* when the server's came, too; *FIN_WAIT1* where it was the server, *FIN_WAIT2* when that FIN is acknowledged,
*TIME_WAIT* when the client's came, too. Where a FIN without ACK comes in *FIN_WAIT1*, which hosts ignore, it is
*CLOSING* up to the next acknowledgement that is in order. Who was first where both FINs have come is known by whose is
acknowledged.
"""

from __future__ import annotations

from ids.flow.acceptance import Scales, offered
from ids.flow.half import Half
from ids.flow.handshake import Handshake
from ids.flow.notes import Note
from ids.flow.reassembly import MODULUS, Reassembly, distance
from ids.flow.segment import ACK, FIN, RST, SYN, Segment
from ids.types import Direction

MAX_REPLIES = 5
"""SYN/ACKs with different numbers from which on it is a flood of them: as many as Suricata keeps by default, and the
first."""
SLACK_BYTES = 32
"""By how much a window may end before the last one..."""
WIDE = 1024
"""...where it is wider than this. Both as in Suricata: hosts overrun a little."""
Remarks = tuple[Note, ...]
_NONE: Remarks = ()


def remarks(halves: tuple[Half, Half], midstream: bool, segment: Segment, scales: Scales, closing: bool) -> Remarks:
    """Return what is to be said of the next segment of a connection, before it is taken.

    ``halves``: by direction. ``midstream``: its beginning was not seen. ``closing``: what `begins_closing` and
    `goes_on_closing` said last.
    """
    flags = segment.flags
    half, other = halves[segment.direction], halves[1 - segment.direction]
    if not flags & (SYN | RST | FIN) and segment.seq == half.next and half.fin_at is other.fin_at is None:
        acked = other.place(segment.ack)
        if other.acked <= acked <= other.offset:
            return _NONE
    if midstream:
        return _NONE
    if flags & SYN:
        return _again(segment, half, other)
    if not flags & ACK:
        if not flags & FIN or flags & RST or closing or begins_closing(halves, segment):
            return _NONE
        return _ending(segment, half, other)
    invalid = impossible(other.place(segment.ack), other)
    if flags & RST:
        return (Note.RST_ACK, Note.BAD_ACK) if invalid and segment.ack else _NONE
    if not flags & FIN and _shrinks(segment, half, other, scales):
        return (Note.WINDOW_UPDATE,)
    if closing:
        return _closing(segment, half, other, invalid=invalid)
    state = _state(halves[0], halves[1])
    if invalid:
        at_fin = Note.FIN_ACK if state is Note.EST_ACK and flags & FIN else state
        return (at_fin, Note.BAD_ACK)
    return _ending(segment, half, other) if flags & FIN else _acknowledging(segment, half, other, state)


def impossible(acked: int, other: Half) -> bool:
    """Whether a segment acknowledges what is beyond any window of the other side, or was long before."""
    if other.edge is None:
        return False
    return acked > max(other.edge, other.shown) or acked < 2 * other.acked - other.edge


def begins_closing(halves: tuple[Half, Half], segment: Segment) -> bool:
    """Whether a segment is a FIN without ACK that comes where the server's FIN is not acknowledged."""
    if segment.flags & (SYN | RST | FIN | ACK) != FIN:
        return False
    half = halves[segment.direction]
    start = half.place(segment.seq)
    if start < half.highest - 1 or (half.edge is not None and start > half.edge):
        return False
    return _state(halves[0], halves[1]) is Note.FIN1_ACK


def goes_on_closing(halves: tuple[Half, Half], segment: Segment, remarked: Remarks) -> bool:
    """Whether a connection is still closing behind a segment, of which ``remarked`` was said."""
    if segment.flags & (SYN | RST) or not segment.flags & ACK:
        return True
    return bool(remarked) or _keeps_alive(segment, halves[segment.direction], halves[1 - segment.direction])


def _keeps_alive(segment: Segment, half: Half, other: Half) -> bool:
    """Whether a segment is a keep-alive probe (RFC 9293 section 3.8.4)."""
    last = half.place(segment.seq) == half.highest - 1
    return last and segment.length <= 1 and other.place(segment.ack) == other.acked


def _closing(segment: Segment, half: Half, other: Half, *, invalid: bool) -> Remarks:
    if half.place(segment.seq) != half.highest:
        return _NONE if _keeps_alive(segment, half, other) else (Note.CLOSING_PLACE,)
    return (Note.CLOSING_ACK, Note.BAD_ACK) if invalid else _NONE


def _shrinks(segment: Segment, half: Half, other: Half, scales: Scales) -> bool:
    """Whether a segment from beyond what was seen takes back a window by more than it fills: who forges one so has
    what comes next be ignored.
    """
    acked = other.place(segment.ack)
    if other.edge is None or half.place(segment.seq) <= max(half.shown, half.claimed):
        return False
    if acked <= max(other.shown, other.claimed):
        return False
    window = offered(segment, scales)
    lost = other.edge - other.acked - window
    return lost > segment.length and lost > acked - other.acked + (SLACK_BYTES if window > WIDE else 0)


def _state(client: Half, server: Half) -> Note:
    """Return where the connection stands, as what an acknowledgement out of place is called there."""
    if client.fin_at is None:
        if server.fin_at is None:
            return Note.EST_ACK
        return Note.FIN2_ACK if server.closed else Note.FIN1_ACK
    if server.fin_at is None:
        return Note.CLOSEWAIT_ACK
    return Note.LASTACK_ACK if client.closed else Note.TIMEWAIT_ACK


def _ending(segment: Segment, half: Half, other: Half) -> Remarks:
    """Judge a FIN whose acknowledgement is possible."""
    start = half.place(segment.seq)
    if half.fin_at is not None:
        first = other.fin_at is None and segment.direction is Direction.TO_SERVER
        return (Note.CLOSEWAIT_FIN,) if first and half.closed else _NONE
    if half.highest <= start and (half.edge is None or start <= half.edge):
        return _NONE
    if other.fin_at is None:
        return (Note.FIN_PLACE,)
    if segment.direction is Direction.TO_CLIENT:
        return (Note.CLOSEWAIT_FIN,)
    return (Note.FIN2_FIN,) if other.closed else (Note.FIN1_FIN,)


def _acknowledging(segment: Segment, half: Half, other: Half, state: Note) -> Remarks:
    """Judge a segment without FIN whose acknowledgement is possible."""
    start = half.place(segment.seq)
    end = start + segment.length
    beyond = half.edge is not None and start > half.edge
    if state is Note.EST_ACK:
        alive = segment.length <= 1 and start == half.highest - 1
        return (Note.BEFORE_ACK,) if end < half.acked and not alive else _NONE
    if state is Note.CLOSEWAIT_ACK:
        if segment.length and end <= half.acked:
            return (Note.CLOSEWAIT_BEFORE_ACK, Note.RETRANSMISSION)
        return (Note.CLOSEWAIT_PLACE,) if beyond else _NONE
    if state is Note.FIN1_ACK:
        from_server = segment.direction is Direction.TO_CLIENT
        answers = other.fin_at is not None and other.place(segment.ack) == other.fin_at + 1
        return (Note.FIN1_PLACE,) if beyond and (from_server or answers) else _NONE
    if state is Note.FIN2_ACK:
        return (Note.FIN2_PLACE,) if beyond else _NONE
    if state is Note.LASTACK_ACK:
        late = segment.direction is Direction.TO_SERVER and start > half.highest
        return (Note.LASTACK_PLACE,) if late else _NONE
    repeated = segment.length and end <= half.highest
    return _NONE if half.highest - 1 <= start <= half.highest or repeated else (Note.TIMEWAIT_PLACE,)


def _again(segment: Segment, half: Half, other: Half) -> Remarks:
    """Judge a SYN, or SYN/ACK, within the connection. A bare SYN is noted where it is taken."""
    if segment.flags & FIN:
        return (Note.FIN_SYN,)
    if not segment.flags & ACK:
        return _NONE
    if segment.direction is Direction.TO_SERVER:
        return (Note.SYNACK_OF_CLIENT,)
    if other.place(segment.ack) != other.acked:
        return (Note.OTHER_SYNACK_ACK,)
    if half.place(segment.seq) != -1:
        return (Note.OTHER_SYNACK,)
    return (Note.SYNACK_AGAIN,) if half.offset else _NONE


def opening_remarks(handshake: Handshake, segment: Segment, shared: Reassembly) -> Remarks:
    """Return what is to be said of the next segment of a handshake that is not complete, before it is taken."""
    if segment.flags & RST:
        return _NONE
    answered, from_client = bool(handshake.replies), segment.direction is Direction.TO_SERVER
    if segment.flags & SYN:
        if segment.flags & ACK:
            return _answer_of_client(handshake, segment) if from_client else _answer(handshake, segment)
        first = (segment.seq + 1) & MODULUS
        if not answered:
            return (Note.SYN_FLOOD,) if from_client and handshake.crowded(segment.stamp) else _NONE
        if not from_client:
            return (Note.HANDSHAKE_SYN_OF_SERVER,)
        return _NONE if any(syn.first == first for syn in handshake.syns) else (Note.HANDSHAKE_OTHER_SYN,)
    if not segment.flags & ACK:
        return _NONE
    if not answered:
        strays = shared.midstream and from_client and not segment.flags & FIN and _strays(handshake, segment)
        return (Note.ONE_SIDED_SEQ,) if strays else _NONE
    if handshake.theirs:
        return _NONE if from_client else _third_of_four(handshake, segment)
    if shared.inline and not from_client and not segment.flags & FIN:
        return _before_third(handshake, segment)
    return _third(handshake, segment, from_client=from_client)


def _answer_of_client(handshake: Handshake, segment: Segment) -> Remarks:
    """Judge a SYN/ACK of the client: right where the server sent a SYN, too."""
    if handshake.replies:
        return (Note.HANDSHAKE_SYNACK_OF_CLIENT,)
    if not handshake.theirs:
        return (Note.SYNACK_DIRECTION,)
    if not any(syn.accepted_by(segment.ack) for syn in handshake.theirs):
        return (Note.FOUR_WRONG_ACK,)
    first = (segment.seq + 1) & MODULUS
    return _NONE if any(syn.first == first for syn in handshake.syns) else (Note.FOUR_WRONG_SYN,)


def _answer(handshake: Handshake, segment: Segment) -> Remarks:
    """Judge a SYN/ACK of the server."""
    accepted = [syn for syn in handshake.syns if syn.accepted_by(segment.ack)]
    if not accepted:
        return (Note.HANDSHAKE_OTHER_ACK,) if handshake.replies else (Note.SYNACK_WRONG_ACK,)
    if handshake.replies:
        first = (segment.seq + 1) & MODULUS
        return (Note.SYNACK_FLOOD,) if handshake.different_from(first) > MAX_REPLIES + 1 else _NONE
    ignored = all(syn.data and syn.first == segment.ack for syn in accepted)
    return (Note.EARLY_DATA_IGNORED,) if ignored else _NONE


def _third_of_four(handshake: Handshake, segment: Segment) -> Remarks:
    """Judge how a server, which had sent a SYN itself, answers the client's SYN/ACK."""
    if not any(reply.first == segment.seq for reply in handshake.replies):
        return (Note.FOUR_WRONG_SEQ,)
    known = any(reply.peer_first == segment.ack for reply in handshake.replies)
    return _NONE if known else (Note.FOUR_INVALID_ACK, Note.BAD_ACK)


def _strays(handshake: Handshake, segment: Segment) -> bool:
    """Whether the first that a client says, whose server was not seen, is not what its SYN announced."""
    if handshake.early or handshake.theirs or not handshake.syns:
        return False
    return not any(syn.accepted_by(segment.seq) for syn in handshake.syns)


def _before_third(handshake: Handshake, segment: Segment) -> Remarks:
    """Judge what a server says behind its SYN/ACK where the client's ACK must have come by."""
    if any(reply.data or reply.lost for reply in handshake.replies):
        return _NONE  # it may answer what came with the SYN
    ends = ((reply.first, reply.peer_first) for reply in handshake.replies)
    in_order = bool(segment.length) and (segment.seq, segment.ack) in ends
    return (Note.SERVER_DATA_FIRST,) if in_order else (Note.SERVER_FIRST,)


def _third(handshake: Handshake, segment: Segment, *, from_client: bool) -> Remarks:
    """Judge what comes behind a SYN/ACK."""
    replies = handshake.replies
    if not from_client:
        behind = any(0 <= distance(segment.seq, reply.first) <= handshake.early_bytes for reply in replies)
        return _NONE if behind else (Note.THIRD_WRONG,)
    acked = any(0 <= distance(segment.ack, reply.first) <= handshake.early_bytes for reply in replies)
    places = [distance(segment.seq, reply.peer_first) for reply in replies]
    if acked:
        return (Note.THIRD_WRONG,) if all(place < 0 for place in places) else _NONE
    return (Note.THIRD_WRONG_ACK,) if 0 in places else (Note.THIRD_WRONG,)
