"""Attaches to matches what their events are to show of packets and bytes, where these are at hand.

What costs something is attached only as far as settings ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ids.counters import Counters
from ids.protocols.http.settings import HttpSettings
from ids.respond import headers
from ids.respond.counts import counts_by
from ids.respond.forwarded import Forwarded
from ids.respond.said import Conversation
from ids.settings.respond import EveSettings, RespondSettings
from ids.types import I64, Action, Exhibit, FlowBatch, FlowColumns, FlowCount, Match, Packets, Streams, Transactions

FLUSHED = "stream (flow timeout)"
"""``pkt_src`` of what is found when a flow ends, or when it was waited for bytes in vain."""

DEFRAGMENTED = "defrag"

_TCP = 6
_ICMP = (1, 58)
_DROPS = (Action.DROP, Action.REJECT)
_NOTHING = Exhibit()
_OF_STREAM = Exhibit(stream=True)
_RAW = Exhibit(stream=True, of_stream=True)
_UNSHOWN = Exhibit(of_stream=True)


class Exhibits:
    """Knows what the settings ask for."""

    def __init__(
        self, settings: EveSettings, flows: FlowColumns, counters: Counters, respond: RespondSettings | None = None,
        http: HttpSettings | None = None,
    ) -> None:  # fmt: skip
        self._flows = flows
        self._counters = counters
        self._forwarded = Forwarded(flows, (http or HttpSettings()).header_bytes)
        self.configure(settings, respond or RespondSettings())

    def configure(self, settings: EveSettings, respond: RespondSettings) -> None:
        """Go on by these settings. What was said before them is not known."""
        self._payload = settings.payload or settings.payload_printable
        self._packet = settings.packet
        self._ether = settings.ethernet
        self._forwarded.configure(settings, respond)
        self._said = Conversation(settings.payload_bytes, self._counters) if self._payload else None

    def heard(self, transactions: Transactions, streams: Streams) -> None:
        """Take the exchanges and the bytes of a batch, before what was found in it."""
        if self._forwarded.wanted:
            self._forwarded.note(transactions, streams)

    def of_streams(
        self, matches: Sequence[Match], streams: Streams, *, end: bool, raw: bool = False
    ) -> Sequence[Match]:
        """Attach the payload to what was found in streams and exchanges; ``end``: when their flows had ended, ``raw``:
        in the bytes of the streams."""
        if self._said is None:
            if raw:
                return [replace(match, exhibit=_RAW if match.signature.packet_wise else _UNSHOWN) for match in matches]
            return [replace(match, exhibit=_OF_STREAM) if match.signature.packet_wise else match for match in matches]
        found = [match for match in matches if match.flow.proto == _TCP]
        texts = iter(self._said.until(found, streams, end=end))
        return [
            replace(match, exhibit=Exhibit(payload=next(texts), stream=True, of_stream=raw))
            if match.flow.proto == _TCP
            else match
            for match in matches
        ]

    def note(self, flows: FlowBatch) -> None:
        """Remember what was said in a batch, once its matches are known."""
        if self._said is not None:
            if len(flows.streams):
                self._said.note(flows.streams)
            self._said.forget(self._flows.id[flows.ended])

    def of_packets(self, matches: Sequence[Match], packets: Packets | None, flows: FlowBatch) -> list[Match]:
        """Attach what is to be shown of packets; ``packets``: None where flows ended without any."""
        if self._forwarded.wanted:
            matches = [
                match
                if (said := self._forwarded.of(match)) is None
                else replace(match, exhibit=replace(match.exhibit or _NOTHING, xff=said.xff, client=said.client))
                for match in matches
            ]
        if packets is None:
            return [
                replace(match, exhibit=replace(match.exhibit or _NOTHING, source=FLUSHED))
                if match.flow.proto == _TCP
                else match
                for match in matches
            ]
        rows = _Rows(packets, flows, [match.number for match in matches])
        counts = counts_by(matches, packets, flows)
        return [self._shown(match, rows, at, counts[at]) for at, match in enumerate(matches)]

    def _shown(self, match: Match, rows: _Rows, at: int, counts: FlowCount | None) -> Match:
        """Return a match with what is to be shown of its packet."""
        asked = self._payload or self._packet or self._ether
        shown = match.exhibit or _NOTHING
        row, wire = -1, -1
        if asked or rows.several(at) or match.flow.proto in _ICMP or match.signature.action in _DROPS:
            row, wire = rows.of(match, at)
        if row < 0:
            return match if counts is None else replace(match, exhibit=replace(shown, counts=counts))
        packets = rows.packets
        frame = headers.frame(packets, row, wire) if self._packet else None
        return replace(
            match,
            exhibit=Exhibit(
                source=DEFRAGMENTED if row != wire and not packets.depth[row] else "",
                counts=counts,
                icmp=_kind(packets, row) if match.flow.proto in _ICMP else None,
                ether=headers.ether(packets, row) if self._ether else None,
                header=headers.header_fields(packets, row) if match.signature.action in _DROPS else None,
                payload=(shown.payload or headers.payload(packets, row)) if self._payload else None,
                stream=shown.stream,
                of_stream=shown.of_stream,
                xff=shown.xff,
                client=shown.client,
                capture=shown.capture,
                packet=None if frame is None else frame.data,
                linktype=0 if frame is None else frame.linktype,
            ),
        )


class _Rows:
    """Finds the packets of matches in a batch."""

    def __init__(self, packets: Packets, flows: FlowBatch, numbers: Sequence[int]) -> None:
        self.packets = packets
        self._slot = flows.slot
        number = packets.batch.number
        self._order: I64 | None = None
        if len(number) > 1 and np.any(number[1:] < number[:-1]):
            self._order = np.argsort(number, kind="stable")
            number = number[self._order]
        wanted = np.array(numbers, np.int64)
        self._low = np.searchsorted(number, wanted, side="left").tolist()
        self._high = np.searchsorted(number, wanted, side="right").tolist()

    def several(self, at: int) -> bool:
        """Return whether the frame of a match brought more than one packet, or itself."""
        return bool(self._high[at] - self._low[at] > 1)

    def of(self, match: Match, at: int) -> tuple[int, int]:
        """Return the row of the packet of a match, and that of its frame; -1 where the batch has it not."""
        span = range(self._low[at], self._high[at])
        rows = list(span) if self._order is None else self._order[span.start : span.stop].tolist()
        if not rows:
            return -1, -1
        flow = match.flow
        if flow.id:
            mine = [row for row in rows if self._slot[row] == flow.slot]
            return (mine[-1] if mine else rows[0]), rows[0]
        ends = (*flow.src, *flow.dst)
        mine = [row for row in rows if (*self.packets.src[row].tolist(), *self.packets.dst[row].tolist()) == ends]
        return (mine[0] if mine else rows[0]), rows[0]


def _kind(packets: Packets, row: int) -> tuple[int, int]:
    return int(packets.sport[row]), int(packets.dport[row])
