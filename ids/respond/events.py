"""EVE events, key for key as Suricata writes them; our own additions sit under ``ids``.

The schema that judges them is Suricata's ``etc/schema.json``. Events are plain dicts, ready for any JSON writer.
"""

from __future__ import annotations

import socket
import time
from functools import lru_cache
from typing import Any

from ids.respond.community_id import community_id
from ids.types import Direction, Flow, FlowState, Match, Transaction

Event = dict[str, Any]

PROTOCOL_NAMES = {
    1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 41: "IPv6", 47: "GRE", 50: "ESP", 58: "IPv6-ICMP", 132: "SCTP",
}  # fmt: skip
"""EVE's ``proto``: names of IP protocols as Suricata spells them; others are written as three-digit numbers."""

_TCP, _UDP, _SCTP = 6, 17, 132
_ICMP = (1, 58)


def timestamp(ts_ns: int) -> str:
    """Spell a time in EVE's way, microseconds and offset: ``2026-11-21T03:08:00.000000+0000``."""
    seconds, nanoseconds = divmod(ts_ns, 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1000:06d}+0000"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):  # a hostile capture may claim any time
        return "1970-01-01T00:00:00"


def protocol_name(number: int) -> str:
    """Return EVE's name of an IP protocol."""
    return PROTOCOL_NAMES.get(number, f"{number:03d}")


def base(event_type: str, flow: Flow, ts_ns: int, number: int, direction: Direction = Direction.TO_SERVER) -> Event:
    """Return the keys that every event of a flow carries; addresses are those of the packet that caused it."""
    live = flow.source == "live"
    event: Event = {"timestamp": timestamp(ts_ns), "flow_id": flow.id}
    if live:
        event["in_iface"] = interface_name(flow.interface)
    elif number:
        event["pcap_cnt"] = number
    event["event_type"] = event_type
    if flow.vlan:
        event["vlan"] = [tag for tag in (flow.vlan & 0xFFF, flow.vlan >> 16 & 0xFFF) if tag]
    forward = direction is Direction.TO_SERVER
    event["src_ip"] = flow.src_ip if forward else flow.dst_ip
    event["dest_ip"] = flow.dst_ip if forward else flow.src_ip
    if flow.proto in (_TCP, _UDP, _SCTP):
        event["src_port"] = flow.sport if forward else flow.dport
        event["dest_port"] = flow.dport if forward else flow.sport
    event["proto"] = protocol_name(flow.proto)
    event["ip_v"] = flow.ip_version
    if flow.proto in _ICMP:
        event["icmp_type"], event["icmp_code"] = flow.sport, flow.dport
    identity = flow.storage.get("community_id")
    if identity is None:
        identity = flow.storage["community_id"] = community_id(flow)
    event["community_id"] = identity
    if not live:
        event["pcap_filename"] = flow.source
    return event


@lru_cache(maxsize=256)
def interface_name(index: int) -> str:
    """Return the name of an interface, or ``if<index>`` where it is gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"if{index}"


def flow_summary(flow: Flow) -> Event:
    """Return the ``flow`` object that alerts and drops carry."""
    summary: Event = {
        "pkts_toserver": flow.packets[0],
        "pkts_toclient": flow.packets[1],
        "bytes_toserver": flow.bytes[0],
        "bytes_toclient": flow.bytes[1],
        "start": timestamp(flow.start_ns),
        "src_ip": flow.src_ip,
        "dest_ip": flow.dst_ip,
    }
    if flow.proto in (_TCP, _UDP, _SCTP):
        summary["src_port"], summary["dest_port"] = flow.sport, flow.dport
    return summary


def alert_event(match: Match, blocked: bool) -> Event:
    """Return the ``alert`` event of a match; ``blocked`` tells whether its packets are being dropped."""
    signature = match.signature
    event = base("alert", match.flow, match.ts_ns, match.number, match.direction)
    alert: Event = {
        "action": "blocked" if blocked else "allowed",
        "gid": signature.gid,
        "signature_id": signature.sid,
        "rev": signature.rev,
        "signature": signature.title,
        "category": signature.classtype,
        "severity": signature.severity,
    }
    if signature.metadata:
        alert["metadata"] = {key: list(values) for key, values in signature.metadata.items()}
    if signature.references:
        alert["references"] = list(signature.references)
    event["alert"] = alert
    if match.transaction is not None:
        event["tx_id"] = match.transaction.tx_id
        event[match.transaction.protocol] = dict(match.transaction.fields)
    if match.flow.app_proto:
        event["app_proto"] = match.flow.app_proto
    event["direction"] = "to_server" if match.direction is Direction.TO_SERVER else "to_client"
    event["flow"] = flow_summary(match.flow)
    event["ids"] = {
        "detector": match.detector,
        "rule": signature.origin,
        "packet_ts_ns": match.ts_ns,
        "evidence": [
            {"buffer": e.buffer, "offset": e.offset, "excerpt": e.excerpt.decode("latin-1")} for e in match.evidence
        ],
    }
    return event


def transaction_event(transaction: Transaction) -> Event:
    """Return the event of a completed protocol exchange, such as ``http``."""
    event = base(transaction.protocol, transaction.flow, transaction.ts_ns, transaction.number)
    event["tx_id"] = transaction.tx_id
    event[transaction.protocol] = dict(transaction.fields)
    return event


def flow_event(flow: Flow) -> Event:
    """Return the ``flow`` event of a flow that ended."""
    event = base("flow", flow, flow.last_ns, 0)
    if flow.app_proto:
        event["app_proto"] = flow.app_proto
    event["flow"] = {
        "pkts_toserver": flow.packets[0],
        "pkts_toclient": flow.packets[1],
        "bytes_toserver": flow.bytes[0],
        "bytes_toclient": flow.bytes[1],
        "start": timestamp(flow.start_ns),
        "end": timestamp(flow.last_ns),
        "age": max(0, round((flow.last_ns - flow.start_ns) / 1e9)),
        "state": flow.state.value,
        "reason": flow.reason,
        "alerted": flow.alerted,
    }
    if flow.storage.get("bypassed"):
        event["flow"]["bypass"] = "capture"
    if flow.storage.get("respond.condemned"):
        event["flow"]["action"] = "drop"
    elif any(flow.unseen_packets):
        event["flow"]["bypassed"] = {
            "pkts_toserver": flow.unseen_packets[0],
            "pkts_toclient": flow.unseen_packets[1],
            "bytes_toserver": flow.unseen_bytes[0],
            "bytes_toclient": flow.unseen_bytes[1],
        }
    if flow.proto == _TCP:
        event["tcp"] = _tcp(flow)
    return event


def _tcp(flow: Flow) -> Event:
    to_server, to_client = flow.tcp_flags
    both = to_server | to_client
    tcp: Event = {
        "tcp_flags": f"{both:02x}",
        "tcp_flags_ts": f"{to_server:02x}",
        "tcp_flags_tc": f"{to_client:02x}",
    }
    for bit, name in enumerate(("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr")):
        if both >> bit & 1:
            tcp[name] = True
    states = {FlowState.NEW: "syn_sent", FlowState.ESTABLISHED: "established", FlowState.CLOSED: "closed"}
    tcp["state"] = states[flow.state]
    for name, gap in zip(("ts_gap", "tc_gap"), flow.gaps, strict=True):
        if gap:
            tcp[name] = True
    return tcp


def drop_event(match: Match, reason: str, block: Event | None) -> Event:
    """Return the ``drop`` event of a flow or source that a rule condemned; ``block`` describes the block, if any."""
    event = base("drop", match.flow, match.ts_ns, match.number, match.direction)
    event["drop"] = {"reason": reason}
    event["ids"] = {"packet_ts_ns": match.ts_ns, "sid": match.signature.sid}
    if block is not None:
        event["ids"]["block"] = block
    return event
