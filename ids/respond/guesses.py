"""Which exchange a match on raw bytes is likely to be in: its alert shows that one, as Suricata's does.

A rule on the stream names no exchange, and neither does one on the datagrams of a protocol; who reads its alert wants
to know which request it was. A guess, for several may be in one packet: nothing is decided by it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ids.settings.respond import EveSettings, RespondSettings
from ids.types import Exhibit, Match, Transaction, Transactions

MAX_LOOKED = 64
"""Exchanges of a flow that are looked at for one match. Who pipelines thousands, and has each matched, would else have
all of them looked at for each; of what is farther away nothing is shown."""

_TCP = 6
_NOTHING = Exhibit()


class Guesses:
    """Looks for the exchanges of matches among those of their batch."""

    def __init__(self, eve: EveSettings, respond: RespondSettings) -> None:
        self.configure(eve, respond)

    def configure(self, eve: EveSettings, respond: RespondSettings) -> None:
        """Go on by these settings."""
        self._single_packets = eve.guess_exchange
        self._at_once = respond.drop_packets
        """Who drops packets decides at each, and says what was known then."""

    def attach(self, matches: Sequence[Match], transactions: Transactions) -> list[Match]:
        """Attach to matches that are in no exchange the one that they are likely to be in."""
        slots = {match.flow.slot for match in matches if self._asked(match)}
        if not slots or not len(transactions):
            return list(matches)
        known: dict[int, list[Transaction]] = defaultdict(list)
        for row in transactions:
            if row.slot in slots and row.tx_id >= 0:  # below are no exchanges, but frames
                known[row.slot].append(row)
        shown = {(row.slot, row.key): row for rows in known.values() for row in rows if row.fields}
        return [
            self._with(match, known[match.flow.slot], shown)
            if match.flow.slot in known and self._asked(match)
            else match
            for match in matches
        ]

    def _asked(self, match: Match) -> bool:
        if match.transaction is not None or not match.flow.id:
            return False
        of_stream = match.exhibit is not None and match.exhibit.of_stream
        return of_stream or self._single_packets or (match.of_protocol and match.flow.proto != _TCP)

    def _with(
        self, match: Match, rows: Sequence[Transaction], shown: dict[tuple[int, tuple[str, int, int]], Transaction]
    ) -> Match:
        """Return a match with the exchange that it is in; what is known of that is what the batch says last."""
        row = _open_at(match, rows)
        if row is None:
            return match
        if not self._at_once:
            row = shown.get((row.slot, row.key), row)
        exhibit = match.exhibit or _NOTHING
        return replace(match, exhibit=replace(exhibit, exchange=row, guessed=match.flow.proto == _TCP))


def _open_at(match: Match, rows: Sequence[Transaction]) -> Transaction | None:
    """Return the exchange of which the side that matched goes on at the packet of the match; ``rows`` in their order.

    That is the first whose message of that side is complete with this packet or behind it; where the batch has none,
    the last one that had begun and was not over. None where it is not among `MAX_LOOKED`.
    """
    here = bisect_left(rows, match.number, key=lambda row: row.number)
    behind = next((row for row in rows[here : here + MAX_LOOKED] if row.direction == match.direction), None)
    if behind is not None:
        return behind
    over = {row.key for row in rows[max(here - MAX_LOOKED, 0) : here] if row.complete}
    upto = bisect_right(rows, match.number, key=lambda row: row.number)
    begun = rows[max(upto - MAX_LOOKED, 0) : upto]
    return next((row for row in reversed(begun) if row.key not in over), None)
