"""`anomaly` events of packets: what was odd about them, or why they were refused, in Suricata's words.

They are bounded: who sends odd packets shall not fill disks with them.
"""

from __future__ import annotations

import numpy as np

from ids.counters import Counters
from ids.decode.oddities import ANOMALY_NAMES, NAMES
from ids.events import Event
from ids.respond.events import interface_name, protocol_name, timestamp, vlan_tags
from ids.types import LIVE, U8, Packets, address_text

MAX_EVENTS = 16_384
MAX_EVENTS_LIVE = 256
"""Events of one batch; what is more is counted as ``decode.anomalies_not_written``. A batch is 16,384 packets of a
capture; of an interface it is what came within some milliseconds, and there is no end to that."""

_OF_ANOMALY = {int(anomaly): name for anomaly, name in ANOMALY_NAMES.items()}
_REFUSED = np.array(sorted(_OF_ANOMALY), np.uint8)
_WITH_PORTS = (6, 17)


def packet_anomalies(packets: Packets, counters: Counters) -> list[Event]:
    """Return the events of a batch, in the order of its packets."""
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
    return [_event(packets, int(rows[at]), _name(codes, int(at), at < len(row))) for at in order]


def _name(codes: U8, at: int, noted: bool) -> str:
    return NAMES[codes[at]] if noted else _OF_ANOMALY[int(codes[at])]


def _event(packets: Packets, row: int, name: str) -> Event:
    batch = packets.batch
    event: Event = {"timestamp": timestamp(int(batch.ts_ns[row]))}
    live = batch.source == LIVE
    if live:
        event["in_iface"] = interface_name(int(batch.interface[row]))
    else:
        event["pcap_cnt"] = int(batch.number[row])
    event["event_type"] = "anomaly"
    if vlan := int(packets.vlan[row]):
        event["vlan"] = vlan_tags(vlan)
    if packets.ip_version[row]:
        event |= _ends(packets, row)
        event["ip_v"] = int(packets.ip_version[row])
    if packets.carrier[row] >= 0:
        event["tunnel"] = _ends(packets, int(packets.carrier[row])) | {"depth": int(packets.depth[row])}
    if not live:
        event["pcap_filename"] = batch.source
    event["anomaly"] = {"type": "decode", "event": name}
    return event


def _ends(packets: Packets, row: int) -> Event:
    """Return the addresses of a packet, its ports where they are known, and its protocol."""
    src, dst = (address_text((int(high), int(low))) for high, low in (packets.src[row], packets.dst[row]))
    ends: Event = {"src_ip": src, "dest_ip": dst}
    if packets.proto[row] in _WITH_PORTS and (packets.sport[row] or packets.dport[row]):
        ends["src_port"], ends["dest_port"] = int(packets.sport[row]), int(packets.dport[row])
    ends["proto"] = protocol_name(int(packets.proto[row]))
    return ends
