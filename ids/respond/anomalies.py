"""`anomaly` events of packets: what was odd about them, or why they were refused, in Suricata's words.

They are bounded: who sends odd packets shall not fill disks with them.
"""

from __future__ import annotations

import numpy as np

from ids.counters import Counters
from ids.decode.oddities import ANOMALY_NAMES, NAMES
from ids.events import Event
from ids.respond.headers import packet_base
from ids.types import LIVE, U8, Packets

MAX_EVENTS = 16_384
MAX_EVENTS_LIVE = 256
"""Events of one batch; what is more is counted as ``decode.anomalies_not_written``. A batch is 16,384 packets of a
capture; of an interface it is what came within some milliseconds, and there is no end to that."""

_OF_ANOMALY = {int(anomaly): name for anomaly, name in ANOMALY_NAMES.items()}
_REFUSED = np.array(sorted(_OF_ANOMALY), np.uint8)


def packet_anomalies(packets: Packets, counters: Counters, *, ethernet: bool = False) -> list[Event]:
    """Return the events of a batch, in the order of its packets; ``ethernet``: with the addresses of their frames."""
    row, code = packets.notes
    refused = np.flatnonzero(np.isin(packets.anomaly, _REFUSED)) if packets.anomaly.any() else row[:0]
    if not len(row) and not len(refused):
        return []
    rows = np.concatenate((row, refused))
    codes = np.concatenate((code, packets.anomaly[refused]))
    order = np.argsort(rows, kind="stable")
    most = MAX_EVENTS_LIVE if packets.batch.source == LIVE else MAX_EVENTS
    if len(order) > most:
        counters.add("decode.anomalies_not_written", len(order) - most)
        order = order[:most]
    return [_event(packets, int(rows[at]), _name(codes, int(at), at < len(row)), ethernet) for at in order]


def _name(codes: U8, at: int, noted: bool) -> str:
    return NAMES[codes[at]] if noted else _OF_ANOMALY[int(codes[at])]


def _event(packets: Packets, row: int, name: str, ethernet: bool) -> Event:
    event = packet_base("anomaly", packets, row, ethernet=ethernet)
    event["anomaly"] = {"type": "decode", "event": name}
    return event
