"""What events say of single packets, read from their bytes: header fields as `drop` events have them, and frames.

For packets of which there are few: those of matches, and those that follow on one where somebody wants to see them.
"""

from __future__ import annotations

from typing import NamedTuple

from ids.events import Event
from ids.respond.events import (
    PLAIN,
    WIRE,
    ether_keys,
    interface_name,
    packet_source_of,
    protocol_name,
    timestamp,
    vlan_tags,
)
from ids.settings.respond import EveSettings
from ids.types import LIVE, Packets, address_text

LINKTYPE_ETHERNET = 1
_MACS = 12
_LINKTYPE_RAW, _DLT_RAW = 101, 12
"""Packets without a frame: the number in files, and the one that programs see."""

_TCP, _UDP, _ICMP = 6, 17, 1
_WITH_PORTS = (6, 17)
_MESSAGES = (1, 58)
_FLAGS = {"syn": 0x02, "ack": 0x10, "psh": 0x08, "rst": 0x04, "urg": 0x20, "fin": 0x01}
_LONGEST = 40
"""Bytes of a header that are looked at."""


class Frame(NamedTuple):
    """A packet, and what its first byte is the beginning of."""

    data: bytes
    linktype: int


def packet_base(event_type: str, packets: Packets, row: int, flow_id: int = 0, settings: EveSettings = PLAIN) -> Event:
    """Return the keys that every event of a packet carries; ``ethernet``: with the addresses of its frame."""
    batch = packets.batch
    event: Event = {"timestamp": timestamp(int(batch.ts_ns[row]))}
    if flow_id:
        event["flow_id"] = flow_id
    live = batch.source == LIVE
    if live:
        event["in_iface"] = interface_name(int(batch.interface[row]))
    else:
        event["pcap_cnt"] = int(batch.number[row])
    event["event_type"] = event_type
    if vlan := int(packets.vlan[row]):
        event["vlan"] = vlan_tags(vlan)
    carrier = int(packets.carrier[row])
    if packets.ip_version[row]:
        event |= _ends(packets, row, settings.full_ipv6)
        if packets.proto[row] in _MESSAGES and not packets.anomaly[row]:
            event["icmp_type"], event["icmp_code"] = int(packets.sport[row]), int(packets.dport[row])
        event["ip_v"] = int(packets.ip_version[row])
    event["pkt_src"] = WIRE
    if carrier >= 0:
        ports = int(packets.sport[carrier]), int(packets.dport[carrier])
        event["pkt_src"] = packet_source_of(int(packets.proto[carrier]), *ports)
        event["tunnel"] = _ends(packets, carrier, settings.full_ipv6) | {"depth": int(packets.depth[row])}
    frame = ether(packets, row) if settings.ethernet else None
    if frame is not None:
        event["ether"] = ether_keys(*frame)
    if not live:
        event["pcap_filename"] = batch.source
    return event


def _ends(packets: Packets, row: int, full: bool) -> Event:
    """Return the addresses of a packet, its ports where they are known, and its protocol."""
    src, dst = (address_text((int(high), int(low)), full) for high, low in (packets.src[row], packets.dst[row]))
    ends: Event = {"src_ip": src, "dest_ip": dst}
    if packets.proto[row] in _WITH_PORTS and (packets.sport[row] or packets.dport[row]):
        ends["src_port"], ends["dest_port"] = int(packets.sport[row]), int(packets.dport[row])
    ends["proto"] = protocol_name(int(packets.proto[row]))
    return ends


def header_fields(packets: Packets, row: int) -> Event:
    """Return the header fields of a packet as `drop` events have them; of a cut one what is there."""
    fields = _network(_header(packets, int(packets.l3[row])), int(packets.ip_version[row]))
    if packets.l4[row] >= 0:
        proto = int(packets.proto[row])
        if proto != _ICMP or packets.ip_version[row] == 4:
            fields |= _transport(_header(packets, int(packets.l4[row])), proto)
    return fields


def ether(packets: Packets, row: int) -> tuple[str, str] | None:
    """Return source and destination address of a frame; None where the packet is of no Ethernet frame of its own."""
    batch = packets.batch
    if batch.linktype[row] != LINKTYPE_ETHERNET or packets.depth[row] or batch.caplen[row] < _MACS:
        return None
    start = int(batch.offset[row])
    raw = batch.data[start : start + _MACS].tobytes()
    return raw[6:].hex(":"), raw[:6].hex(":")


def frame(packets: Packets, row: int, wire: int) -> Frame:
    """Return a packet as it was captured; ``wire`` is the row of the frame that brought it.

    What was put together of fragments comes in the frame of the last one.
    """
    batch = packets.batch
    start = int(batch.offset[row])
    data = batch.data[start : start + int(batch.caplen[row])].tobytes()
    linktype = int(batch.linktype[row])
    if row != wire and not packets.depth[row] and packets.l3[wire] >= 0:
        link = batch.data[int(batch.offset[wire]) : int(packets.l3[wire])].tobytes()
        data, linktype = link + data, int(batch.linktype[wire])
    return Frame(data, _DLT_RAW if linktype == _LINKTYPE_RAW else linktype)


def payload(packets: Packets, row: int) -> bytes:
    """Return the payload of a packet."""
    start = int(packets.payload[row])
    return b"" if start < 0 else packets.batch.data[start : start + int(packets.payload_len[row])].tobytes()


def _header(packets: Packets, start: int) -> bytes:
    return b"" if start < 0 else packets.batch.data[start : start + _LONGEST].tobytes()


def _network(raw: bytes, version: int) -> Event:
    if version == 4 and len(raw) >= 20:
        return {"len": _word(raw, 2), "tos": raw[1], "ttl": raw[8], "ipid": _word(raw, 4)}
    if version == 6 and len(raw) >= 40:
        first = int.from_bytes(raw[:4], "big")
        return {"len": _word(raw, 4), "tc": first >> 20 & 0xFF, "hoplimit": raw[7], "flowlbl": first & 0xFFFFF}
    return {}


def _transport(raw: bytes, proto: int) -> Event:
    if proto == _TCP and len(raw) >= 20:
        numbers = {"tcpseq": _long(raw, 4), "tcpack": _long(raw, 8), "tcpwin": _word(raw, 14)}
        flags = {name: bool(raw[13] & bit) for name, bit in _FLAGS.items()}
        return {**numbers, **flags, "tcpres": raw[12] & 0x0F, "tcpurgp": _word(raw, 18)}
    if proto == _UDP and len(raw) >= 8:
        return {"udplen": _word(raw, 4)}
    if proto == _ICMP and len(raw) >= 8:
        return {"icmp_id": _word(raw, 4), "icmp_seq": _word(raw, 6)}
    return {}


def _word(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 2], "big")


def _long(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "big")
