"""An upgrade to HTTP/2 that was agreed on, and perhaps did not take place: what the two sides say next shows.

A server may answer 101 and go on in HTTP/1, or hand an answer of somebody else through; whoever speaks to it then is to
be read as it reads him.
"""

from __future__ import annotations

from ids.later import late_pattern
from ids.protocols.http.message import Upgraded
from ids.protocols.http.oddities import NOTED
from ids.protocols.http2.frames import PREFACE
from ids.protocols.protocol import Handover
from ids.protocols.stretch import Stretch
from ids.types import Direction, FlowColumns, Transaction

FAILED = b"failed_protocol_change"
"""What is odd about the exchange that agreed on the upgrade, as Suricata calls it."""

_METHOD = late_pattern(rb"[\r\n]{0,16}[!#-'*+.^-z|~0-9A-Z-]{1,64}([ \t]|\Z)")
"""How a request of HTTP/1 begins, behind empty lines; and what may become one."""
_STATUS = b"HTTP/"


class Doubt:
    """What was said behind an upgrade, until it is clear what it is: some bytes of each side at most."""

    __slots__ = ("_held", "_sure", "_tx_id")

    def __init__(self, before: Upgraded) -> None:
        self._tx_id = before.next_id
        self._held = [b"", b""]
        self._sure = 0
        """Bits of the sides that speak HTTP/2."""

    @property
    def over(self) -> bool:
        """Whether the client speaks HTTP/2; what its server says is of no more interest then."""
        return bool(self._sure & 1 << Direction.TO_SERVER)

    def take(self, stretch: Stretch) -> Stretch | Handover | None:
        """Take the next bytes of a side; return them with what was held, where they are HTTP/2's. None: not clear yet.

        A `Handover` goes back to HTTP/1, with the id that its next exchange would have had.
        """
        side, data = stretch.direction, stretch.data
        held = self._held[side] + data
        back = None if self._sure >> side & 1 or stretch.gap else _goes_back(held, side)
        if back is None and not self._sure >> side & 1 and not (stretch.gap or stretch.closed):
            self._held[side] = held
            return None
        self._held[side] = b""
        if back:
            rest = [*self._held]
            rest[side] = held
            return Handover(self._tx_id, (rest[0], rest[1]), "http")
        if held or stretch.gap:
            self._sure |= 1 << side
        return stretch._replace(data=held)

    def failed(self, flows: FlowColumns, slot: int, stretch: Stretch) -> Transaction:
        """Return what is to be said of the exchange that agreed on the upgrade."""
        return Transaction(
            flows,
            slot,
            "http",
            self._tx_id - 1,
            Direction.TO_CLIENT,
            {NOTED: FAILED},
            {},
            stretch.ts_ns,
            stretch.number,
        )


def _goes_back(held: bytes, side: Direction) -> bool | None:
    """Return whether a side goes on in HTTP/1, by its first bytes; None: that does not show yet."""
    if side is Direction.TO_CLIENT:
        return None if _STATUS.startswith(held) else held.startswith(_STATUS)
    if PREFACE.startswith(held):
        return None
    found = None if held.startswith(PREFACE[:16]) else _METHOD.match(held)
    return False if found is None else True if found[1] else None
