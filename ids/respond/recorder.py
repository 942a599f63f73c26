"""Records the packets around each alert: those of its flow, before and behind the match, a capture file each.

What is kept in memory is bounded: the latest batches, for what came before a match, and the recordings that wait for
what comes behind it. The files are written by a thread (`ids.respond.recordings`).
"""

from __future__ import annotations

import io
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ids.capture.writer import PcapWriter
from ids.counters import Counters
from ids.respond.recordings import Recordings
from ids.respond.settings import CapturesSettings
from ids.types import I64, Exhibit, FlowBatch, FlowColumns, Match, Packets

HISTORY_BATCHES = 64
HISTORY_BYTES = 16 << 20
"""Batches that are kept for what came before a match; live, a batch may be no more than some packets."""

MAX_OPEN = 256
"""Recordings at once; some 64 MiB where each is full. Matches beyond them have none, and are counted."""

MAX_OF_FLOW = 8
"""Recordings of one flow, one behind the other."""

MAX_OF_RULE = 60
"""Recordings for one rule in a minute: a rule that matches everywhere must not push out what others found."""

MAX_RULES = 4096
"""Rules with recordings in a minute; matches of further ones have none."""

_MINUTE_NS = 60_000_000_000
_SECOND_NS = 1_000_000_000
_NOTHING = Exhibit()


@dataclass(slots=True)
class _Recording:
    """One file in the making."""

    name: str
    slot: int
    until_ns: int
    linktype: int
    rows: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Time, length on the wire, frame."""
    size: int = 0


class Recorder:
    """Begins recordings with matches, and adds packets to them."""

    def __init__(self, settings: CapturesSettings, flows: FlowColumns, counters: Counters, *, live: bool) -> None:
        self._flows = flows
        self._counters = counters
        self._live = live
        self._history: deque[tuple[Packets, I64]] = deque(maxlen=HISTORY_BATCHES)
        self._open: dict[int, _Recording] = {}
        """By flow id."""
        self._made = flows.place(lambda: [0])
        """How many recordings a flow has had."""
        self._minute = -1
        self._of_rule: Counter[int] = Counter()
        """By sid: recordings in that minute."""
        self._shelf: Recordings | None = None
        self.configure(settings)

    def configure(self, settings: CapturesSettings) -> None:
        """Go on by these settings; open recordings end as they began."""
        self._settings = settings
        if self._shelf is not None and self._shelf.settings != settings:
            self._shelf.flush()
            self._shelf = None
        if settings.dir is not None and self._shelf is None:
            self._shelf = Recordings(settings, self._counters, patient=not self._live)

    @property
    def wanted(self) -> bool:
        """The settings ask for recordings."""
        return self._shelf is not None

    def take(self, matches: Sequence[Match], packets: Packets | None, flows: FlowBatch) -> list[Match]:
        """Take a batch and what was found in it; return the matches with the names of their recordings."""
        if packets is not None and self._open:
            self._go_on(packets, flows.slot)
        named = [self._named(match, packets, flows) for match in matches]
        if packets is not None:
            self._history.append((packets, flows.slot))
            held = sum(len(past.batch.data) for past, _ in self._history)
            while held > HISTORY_BYTES and len(self._history) > 1:
                held -= len(self._history.popleft()[0].batch.data)
        if self._open:
            for flow_id in self._open.keys() & set(self._flows.id[flows.ended].tolist()):
                self._close(flow_id)
            self.expire(int(packets.batch.ts_ns.max()) if packets is not None and len(packets.batch) else 0)
        return named

    def expire(self, now_ns: int) -> None:
        """Close the recordings that have waited long enough, or are full."""
        for flow_id in [flow_id for flow_id, one in self._open.items() if one.until_ns <= now_ns]:
            self._close(flow_id)

    def flush(self) -> None:
        """Close all recordings, and wait until they are written; forget the traffic."""
        for flow_id in list(self._open):
            self._close(flow_id)
        self._history.clear()
        self._of_rule.clear()
        if self._shelf is not None:
            self._shelf.flush()

    def _named(self, match: Match, packets: Packets | None, flows: FlowBatch) -> Match:
        flow_id = match.flow.id
        if not flow_id or self._shelf is None or match.signature.state.silent:
            return match
        recording = self._open.get(flow_id)
        # Nearly all matches of a rule that counts distinct things are no alerts; the one that is shows a flow of many.
        if recording is None and match.signature.distinct is None:
            recording = self._begin(match, packets, flows)
        if recording is None:
            return match
        path = self._shelf.path(recording.name)
        return replace(match, exhibit=replace(match.exhibit or _NOTHING, capture=path))

    def _begin(self, match: Match, packets: Packets | None, flows: FlowBatch) -> _Recording | None:
        made = self._made.of(match.flow)
        if len(self._open) >= MAX_OPEN or made[0] >= MAX_OF_FLOW or self._too_many(match):
            self._counters.add("captures.not_recorded")
            return None
        made[0] += 1
        flow, settings = match.flow, self._settings
        name = f"{max(match.ts_ns, 0):019d}-{match.signature.sid}-{flow.id}.pcap"
        recording = _Recording(name, flow.slot, match.ts_ns + int(settings.wait_s * _SECOND_NS), -1)
        known = [*self._history, *([(packets, flows.slot)] if packets is not None else [])]
        before: list[tuple[Packets, int]] = []
        behind: list[tuple[Packets, int]] = []
        for past, slots in known:
            batch = past.batch
            rows = np.flatnonzero((slots == flow.slot) & (batch.ts_ns >= flow.start_ns))
            earlier = batch.number[rows] <= match.number
            before += [(past, row) for row in rows[earlier][-settings.packets_before :].tolist()]
            behind += [(past, row) for row in rows[~earlier][: settings.packets].tolist()]
        self._open[flow.id] = recording
        for past, row in before[-settings.packets_before :] + behind:
            if not self._add(recording, past, row):
                break
        return recording

    def _too_many(self, match: Match) -> bool:
        minute, sid = match.ts_ns // _MINUTE_NS, match.signature.sid
        if minute != self._minute:
            self._minute = minute
            self._of_rule.clear()
        if sid not in self._of_rule and len(self._of_rule) >= MAX_RULES:  # a plugin may make them up
            return True
        self._of_rule[sid] += 1
        return self._of_rule[sid] > MAX_OF_RULE

    def _go_on(self, packets: Packets, slots: I64) -> None:
        by_slot = {recording.slot: flow_id for flow_id, recording in self._open.items()}
        for row in np.flatnonzero(np.isin(slots, np.array(list(by_slot), np.int64))).tolist():
            flow_id = by_slot[int(slots[row])]
            recording = self._open.get(flow_id)
            if recording is not None and not self._add(recording, packets, row):
                recording.until_ns = 0  # full: closed behind the matches of this batch

    def _add(self, recording: _Recording, packets: Packets, row: int) -> bool:
        """Add a packet; return whether there is room for more."""
        batch = packets.batch
        settings = self._settings
        start, length, linktype = int(batch.offset[row]), int(batch.caplen[row]), int(batch.linktype[row])
        if recording.linktype < 0:
            recording.linktype = linktype
        full = len(recording.rows) >= settings.packets or recording.size + length > settings.file_bytes
        if full or linktype != recording.linktype:
            return not full
        frame = batch.data[start : start + length].tobytes()
        recording.rows.append((int(batch.ts_ns[row]), int(batch.wirelen[row]), frame))
        recording.size += length + 16
        return len(recording.rows) < settings.packets

    def _close(self, flow_id: int) -> None:
        recording = self._open.pop(flow_id)
        if self._shelf is None or not recording.rows:
            return
        stream = io.BytesIO()
        writer = PcapWriter(stream, recording.linktype)
        for ts_ns, wirelen, frame in recording.rows:
            writer.write(frame, ts_ns, wirelen)
        self._shelf.put(recording.name, stream.getvalue())
