"""`anomaly` events of packets: what was odd about them, or why they were refused, in Suricata's words.

They are bounded twice: who sends odd packets shall not fill disks with them. Of each kind there are so many in a second
of traffic (`eve.packet_anomalies`; Suricata's default is none at all), and of a batch so many in all.
"""

from __future__ import annotations

import numpy as np

from ids.counters import Counters
from ids.decode.oddities import ANOMALY_NAMES, NAMES
from ids.events import Event
from ids.respond.events import PLAIN
from ids.respond.headers import packet_base
from ids.settings.respond import EveSettings
from ids.types import I64, LIVE, U8, Bool, Packets, ascending

MAX_EVENTS = 16_384
MAX_EVENTS_LIVE = 256
"""Events of one batch; what is more is counted as ``decode.anomalies_not_written``. A batch is 16,384 packets of a
capture; of an interface it is what came within some milliseconds, and there is no end to that."""

_SECOND_NS = 1_000_000_000

_OF_ANOMALY = {int(anomaly): name for anomaly, name in ANOMALY_NAMES.items()}
_REFUSED = np.array(sorted(_OF_ANOMALY), np.uint8)


class Allowance:
    """How many events of each kind there may be in a second of traffic."""

    def __init__(self, of_kind: int) -> None:
        self._of_kind = of_kind
        self._used: dict[int, tuple[int, int]] = {}
        """By kind, of which there are some fifty: the second that came last, and its events."""

    def allowed(self, kinds: I64, seconds: I64) -> Bool:
        """Return which events may be written, given the kind and the second of each, in their order."""
        allowed = np.zeros(len(kinds), np.bool_)
        for kind in ascending(kinds).tolist():
            of = np.flatnonzero(kinds == kind)
            now, group, count = np.unique(seconds[of], return_inverse=True, return_counts=True)
            last, used = self._used.get(kind, (-1, 0))
            before = np.where(now == last, used, 0)
            order = np.argsort(group, kind="stable")
            place = np.empty(len(of), np.int64)
            place[order] = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
            allowed[of] = before[group] + place < self._of_kind
            self._used[kind] = int(now[-1]), int(before[-1] + count[-1])
        return allowed


def packet_anomalies(
    packets: Packets, counters: Counters, allowance: Allowance, settings: EveSettings = PLAIN
) -> list[Event]:
    """Return the events of a batch, in the order of its packets."""
    row, code = packets.notes
    refused = np.flatnonzero(np.isin(packets.anomaly, _REFUSED)) if packets.anomaly.any() else row[:0]
    if not len(row) and not len(refused):
        return []
    rows = np.concatenate((row, refused))
    codes = np.concatenate((code, packets.anomaly[refused]))
    order = np.argsort(rows, kind="stable")
    kinds = codes.astype(np.int64) + np.where(np.arange(len(rows)) < len(row), 0, 256)
    allowed = allowance.allowed(kinds[order], packets.batch.ts_ns[rows[order]] // _SECOND_NS)
    if not allowed.all():
        counters.add("decode.anomalies_not_written", len(order) - int(np.count_nonzero(allowed)))
        order = order[allowed]
    most = MAX_EVENTS_LIVE if packets.batch.source == LIVE else MAX_EVENTS
    if len(order) > most:
        counters.add("decode.anomalies_not_written", len(order) - most)
        order = order[:most]
    return [_event(packets, int(rows[at]), _name(codes, int(at), at < len(row)), settings) for at in order]


def _name(codes: U8, at: int, noted: bool) -> str:
    return NAMES[codes[at]] if noted else _OF_ANOMALY[int(codes[at])]


def _event(packets: Packets, row: int, name: str, settings: EveSettings) -> Event:
    event = packet_base("anomaly", packets, row, settings=settings)
    if packets.fragment[row] and packets.ip_version[row] == 6:  # what is in it is not read
        event["proto"] = "IPv6-Frag"
        event.pop("icmp_type", None)
        event.pop("icmp_code", None)
    event["anomaly"] = {"type": "decode", "event": name}
    return event
