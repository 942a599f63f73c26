"""Records the packets around each alert: those of its flow, before and behind the match, a capture file each.

What is kept in memory is bounded: the latest batches, for what came before a match, and the recordings that wait for
what comes behind it. Whether a match becomes an alert is decided later, perhaps in another process; so each recording
goes there, and those that an alert names are written (`ids.respond.recordings`).
"""

from __future__ import annotations

import io
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ids.capture.writer import PcapWriter
from ids.counters import Counters
from ids.respond.threshold import Hearing, Thresholds
from ids.settings.respond import CapturesSettings
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

MAX_UNSURE = 120
"""Beside them, for a rule that alerts only on some matches (`threshold`): those of matches that look like no alert. The
count may say otherwise where it is kept, as other workers see matches too."""

MAX_UNSURE_OPEN = 64
"""Of these at once, so that they leave room for the others."""

MAX_RULES = 4096
"""Rules with recordings in a minute; matches of further ones have none."""

_MINUTE_NS = 60_000_000_000
_SECOND_NS = 1_000_000_000
_NOTHING = Exhibit()


@dataclass(slots=True)
class _Recording:
    """One file in the making."""

    path: str
    slot: int
    until_ns: int
    linktype: int
    rows: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Time, length on the wire, frame."""
    size: int = 0
    sure: bool = True
    """The match looked like an alert."""


class Recorder:
    """Begins recordings with matches, and adds packets to them."""

    def __init__(self, settings: CapturesSettings, flows: FlowColumns, counters: Counters) -> None:
        self._flows = flows
        self._counters = counters
        self._history: deque[tuple[Packets, I64]] = deque(maxlen=HISTORY_BATCHES)
        self._open: dict[int, _Recording] = {}
        """By flow id."""
        self._made = flows.place(lambda: [0])
        """How many recordings a flow has had."""
        self._minute = -1
        self._of_rule: Counter[tuple[int, bool]] = Counter()
        """By sid, and whether the match looked like an alert: recordings in that minute."""
        self._unsure = 0
        """Open recordings of matches that did not."""
        self._thresholds = Thresholds(Counters())
        """As the process that decides counts matches, as far as they are seen here."""
        self._finished: list[tuple[str, bytes]] = []
        self.configure(settings)

    def configure(self, settings: CapturesSettings) -> None:
        """Go on by these settings; open recordings end as they began."""
        self._settings = settings

    @property
    def wanted(self) -> bool:
        """The settings ask for recordings."""
        return self._settings.dir is not None

    def finished(self) -> list[tuple[str, bytes]]:
        """Hand over what has been recorded since this was last asked: paths and contents of files."""
        done, self._finished = self._finished, []
        return done

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
        """Close all recordings; forget the traffic."""
        for flow_id in list(self._open):
            self._close(flow_id)
        self._history.clear()
        self._of_rule.clear()
        self._thresholds = Thresholds(Counters())

    def _named(self, match: Match, packets: Packets | None, flows: FlowBatch) -> Match:
        flow_id = match.flow.id
        if not flow_id or self._settings.dir is None or match.signature.state.silent:
            return match
        sure = True
        if match.signature.threshold is not None or match.signature.suppressed:
            sure = self._thresholds.heard(match) is Hearing.ALERTS
        recording = self._open.get(flow_id)
        # Nearly all matches of a rule that counts distinct things are no alerts; the one that is shows a flow of many.
        if recording is None and match.signature.distinct is None:
            recording = self._begin(match, packets, flows, sure=sure)
        if recording is None:
            return match
        return replace(match, exhibit=replace(match.exhibit or _NOTHING, capture=recording.path))

    def _begin(self, match: Match, packets: Packets | None, flows: FlowBatch, *, sure: bool) -> _Recording | None:
        made = self._made.of(match.flow)
        full = len(self._open) >= MAX_OPEN or made[0] >= MAX_OF_FLOW or (not sure and self._unsure >= MAX_UNSURE_OPEN)
        if full or self._too_many(match, sure=sure):
            self._counters.add("captures.not_recorded", int(sure))
            return None
        made[0] += sure
        self._unsure += not sure
        flow, settings = match.flow, self._settings
        name = f"{max(match.ts_ns, 0):019d}-{match.signature.sid}-{flow.id}.pcap"
        path = str(Path(settings.dir or ".") / name)
        recording = _Recording(path, flow.slot, match.ts_ns + int(settings.wait_s * _SECOND_NS), -1, sure=sure)
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

    def _too_many(self, match: Match, *, sure: bool) -> bool:
        minute, sid = match.ts_ns // _MINUTE_NS, match.signature.sid
        if minute != self._minute:
            self._minute = minute
            self._of_rule.clear()
        if (sid, sure) not in self._of_rule and len(self._of_rule) >= MAX_RULES:  # a plugin may make them up
            return True
        self._of_rule[sid, sure] += 1
        return self._of_rule[sid, sure] > (MAX_OF_RULE if sure else MAX_UNSURE)

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
        self._unsure -= not recording.sure
        if not recording.rows:
            return
        stream = io.BytesIO()
        writer = PcapWriter(stream, recording.linktype)
        for ts_ns, wirelen, frame in recording.rows:
            writer.write(frame, ts_ns, wirelen)
        self._finished.append((recording.path, stream.getvalue()))
