"""Note of a flow where its two sides do not go together, or where nothing shows what it is: events of recognition.

They are oddities (`ids.protocols.protocol.ODDITY`) of a flow and of no exchange in it (`NO_EXCHANGE`), by Suricata's
names. The parser of HTTP judges its servers itself, and says so (`Setup.contradicted`).

COST. None for ordinary flows, but a search for a pattern in what their second side says first, where that had to be
waited for anyway. A flow has each event once, so their number is bounded by that of flows.
"""

from __future__ import annotations

import re

from ids.protocols.protocol import ODDITY, Protocol
from ids.protocols.recognition import FAILED, Recogniser
from ids.protocols.stretch import Stretch
from ids.protocols.talk import Talk
from ids.types import Direction, FlowColumns, Mark, Transaction
from ids.types.transactions import NO_EXCHANGE

MISMATCH = b"applayer_mismatch_protocol_both_directions"
"""Each side begins in a protocol of its own."""
ONE_DIRECTION = b"applayer_detect_protocol_only_one_direction"
"""One of them begins in none that is known."""
WRONG_DIRECTION = b"applayer_wrong_direction_first_data"
"""The server speaks first where the client has to (`Protocol.client_first`)."""
SKIPPED = b"applayer_proto_detection_skipped"
"""One side has said much, in no protocol that is known, and the other nothing."""
UNEXPECTED = b"applayer_unexpected_protocol"
"""Behind a handover comes another protocol than was agreed on (`Handover.expected`)."""
NO_TLS = b"applayer_no_tls_after_starttls"
"""Likewise, where that was TLS."""
EVENTS = (MISMATCH, ONE_DIRECTION, WRONG_DIRECTION, SKIPPED, UNEXPECTED, NO_TLS)

TELLING_BYTES = 64
"""By so many a protocol that is `Protocol.strict` has shown. With less, the rest is waited for;"""
FEW_BYTES = 16
"""and of less than that, which may be a part of anything, nothing is said."""
ONE_SIDED_BYTES = 100_000
"""Bytes of one side without a word of the other behind which a flow is as it is; Suricata gives up there."""


class Sides:
    """Notes such events of flows."""

    def __init__(self, recogniser: Recogniser, flows: FlowColumns) -> None:
        self._recogniser = recogniser
        self._flows = flows

    def compare(
        self,
        talk: Talk,
        side: Direction,
        first: bytes,
        at: tuple[int, int],
        out: list[Transaction],
        *,
        final: bool = False,
    ) -> None:
        """Hold the first bytes of a side, as far as they came, against the protocol of the other.

        ``final``: no more of them is to be waited for.
        """
        protocol = talk.protocol
        if protocol is None or not _shows(protocol, side) or self._flows.marks[talk.slot] & Mark.MIDSTREAM:
            return
        found = self._recogniser.stream(first, side)
        if found is protocol or self._may_say(protocol, side, first):
            return
        if found is not None:
            if protocol.strict or found.strict:
                self.note(talk, side, (MISMATCH,), at, out)
        elif protocol.strict and len(first) >= (FEW_BYTES if final else TELLING_BYTES):
            self.note(talk, side, (ONE_DIRECTION,), at, out)

    def begin(self, talk: Talk, stretch: Stretch, alone: bool, out: list[Transaction]) -> None:
        """Judge the bytes by which it is decided what a flow is: whether side and protocol are those that were to come.

        ``alone``: the other side has said nothing before.
        """
        protocol, side, at = talk.protocol, stretch.direction, (stretch.ts_ns, stretch.number)
        expected, talk.expected = talk.expected, None
        if expected is not None:
            if protocol is None or protocol.name != expected:
                self.note(talk, side, (UNEXPECTED, NO_TLS) if expected == "tls" else (UNEXPECTED,), at, out)
        elif protocol is not None and protocol.client_first and side is Direction.TO_CLIENT:
            begun = stretch.gap or talk.handovers or self._flows.marks[talk.slot] & Mark.MIDSTREAM
            if alone and not begun:
                self.note(talk, side, (WRONG_DIRECTION,), at, out)

    def skip(self, talk: Talk, stretch: Stretch, behind: int, out: list[Transaction]) -> None:
        """Take the stretch with which a side has said `ONE_SIDED_BYTES`, ``behind`` bytes of it after these; note it
        where the other said nothing, and nothing shows."""
        if talk.protocol is None and not talk.handovers and talk.heard == 1 << stretch.direction:
            self.note(talk, stretch.direction, (SKIPPED,), (stretch.ts_ns, stretch.number), out, behind)

    def note(
        self,
        talk: Talk,
        side: Direction,
        names: tuple[bytes, ...],
        at: tuple[int, int],
        out: list[Transaction],
        behind: int = 0,
    ) -> None:
        """Append events of a flow, but for those that it had already."""
        names = tuple(name for name in names if name not in talk.noted)
        if not names:
            return
        talk.noted += names
        protocol = talk.protocol.name if talk.protocol is not None else FAILED
        out.append(
            Transaction(
                self._flows, talk.slot, protocol, NO_EXCHANGE, side, {ODDITY: names[0]}, {}, *at,
                more={ODDITY: names[1:]}, behind=behind,
            )
        )  # fmt: skip

    def _may_say(self, protocol: Protocol, side: Direction, first: bytes) -> bool:
        """Return whether a side of a protocol may begin so, though it does not show in that."""
        known = self._recogniser
        if side is Direction.TO_CLIENT:
            return known.may_answer(protocol, first) or known.prelude_of(protocol, first)
        prelude = protocol.client_prelude
        return known.may_follow(protocol, first) or (prelude is not None and re.match(prelude, first) is not None)


def _shows(protocol: Protocol, side: Direction) -> bool:
    """Return whether a protocol can be recognised by the first bytes of a side."""
    return (protocol.from_server if side else protocol.from_client) is not None
