"""EVE events, key for key as Suricata writes them; our own additions sit under ``ids``.

The schema that judges them is Suricata's ``etc/schema.json``. Events are plain dicts, ready for any JSON writer.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ids.events import Event
from ids.respond.community_id import community_id, community_ids
from ids.types import (
    I64,
    LIVE,
    Direction,
    EndReason,
    Flow,
    FlowColumns,
    FlowState,
    Mark,
    Match,
    Transaction,
    address_texts,
)

PROTOCOL_NAMES = {
    1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 41: "IPv6", 47: "GRE", 50: "ESP", 58: "IPv6-ICMP", 132: "SCTP",
}  # fmt: skip
"""EVE's ``proto``: names of IP protocols as Suricata spells them; others are written as three-digit numbers."""

_TCP, _UDP, _SCTP = 6, 17, 132
_WITH_PORTS = (_TCP, _UDP, _SCTP)
_ICMP = (1, 58)


def timestamp(ts_ns: int) -> str:
    """Spell a time in EVE's way, microseconds and offset: ``2026-11-21T03:08:00.000000+0000``."""
    return f"{_second(ts_ns // 1_000_000_000)}.{ts_ns // 1000 % 1_000_000:06d}+0000"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):  # a hostile capture may claim any time
        return "1970-01-01T00:00:00"


def protocol_name(number: int) -> str:
    """Return EVE's name of an IP protocol."""
    return PROTOCOL_NAMES.get(number, f"{number:03d}")


def bases(event_type: str, flows: FlowColumns, slots: I64, ts_ns: Sequence[int], numbers: Sequence[int]) -> list[Event]:
    """Return for each slot the keys that every event of its flow carries, with the addresses of the client's packets.

    ``numbers`` are `PacketBatch.number` of the packets that caused the events; 0: none did.
    """
    made: list[Event] = []
    append, spell = made.append, timestamp
    names = [protocol_name(proto) for proto in flows.proto[slots].tolist()]
    columns = zip(
        ts_ns,
        numbers,
        flows.id[slots].tolist(),
        address_texts(flows.src[slots]),
        address_texts(flows.dst[slots]),
        flows.sport[slots].tolist(),
        flows.dport[slots].tolist(),
        names,
        flows.ip_version[slots].tolist(),
        community_ids(flows, slots),
        map(flows.sources.__getitem__, flows.source[slots].tolist()),
        strict=True,
    )
    for at_ns, number, flow_id, src, dst, sport, dport, proto, version, community, source in columns:
        event: Event = {"timestamp": spell(at_ns), "flow_id": flow_id}
        if number and source != LIVE:
            event["pcap_cnt"] = number
        event["event_type"] = event_type
        event["src_ip"], event["src_port"], event["dest_ip"], event["dest_port"] = src, sport, dst, dport
        event["proto"], event["ip_v"], event["community_id"] = proto, version, community
        if source != LIVE:
            event["pcap_filename"] = source
        append(event)
    _add_rare(made, flows, slots)
    return made


def _add_rare(made: list[Event], flows: FlowColumns, slots: I64) -> None:
    """Add what few flows have: an interface, VLAN tags, no ports."""
    proto, vlan = flows.proto[slots], flows.vlan[slots]
    portless = (proto != _TCP) & (proto != _UDP) & (proto != _SCTP)
    if portless.any():
        for at in np.flatnonzero(portless).tolist():
            kind, code = made[at].pop("src_port"), made[at].pop("dest_port")
            if proto[at] in _ICMP:
                made[at]["icmp_type"], made[at]["icmp_code"] = kind, code
    for at in np.flatnonzero(vlan).tolist():
        made[at]["vlan"] = _tags(int(vlan[at]))
    if LIVE in flows.sources:
        live = flows.source[slots] == flows.sources.index(LIVE)
        for at, interface in zip(np.flatnonzero(live).tolist(), flows.interface[slots[live]].tolist(), strict=True):
            made[at]["in_iface"] = interface_name(interface)


def base(event_type: str, flow: Flow, ts_ns: int, number: int, direction: Direction = Direction.TO_SERVER) -> Event:
    """Return the keys that every event of a flow carries; addresses are those of the packet that caused it."""
    live = flow.source == LIVE
    event: Event = {"timestamp": timestamp(ts_ns), "flow_id": flow.id}
    if live:
        event["in_iface"] = interface_name(flow.interface)
    elif number:
        event["pcap_cnt"] = number
    event["event_type"] = event_type
    if vlan := flow.vlan:
        event["vlan"] = _tags(vlan)
    forward, proto = direction is Direction.TO_SERVER, flow.proto
    event["src_ip"], event["dest_ip"] = (flow.src_ip, flow.dst_ip) if forward else (flow.dst_ip, flow.src_ip)
    sport, dport = flow.sport, flow.dport
    if proto in _WITH_PORTS:
        event["src_port"], event["dest_port"] = (sport, dport) if forward else (dport, sport)
    event["proto"], event["ip_v"] = protocol_name(proto), flow.ip_version
    if proto in _ICMP:
        event["icmp_type"], event["icmp_code"] = sport, dport
    event["community_id"] = community_id(flow.src, flow.dst, sport, dport, proto)
    if not live:
        event["pcap_filename"] = flow.source
    return event


def _tags(vlan: int) -> list[int]:
    return [tag for tag in (vlan & 0xFFF, vlan >> 16 & 0xFFF) if tag]


@lru_cache(maxsize=256)
def interface_name(index: int) -> str:
    """Return the name of an interface, or ``if<index>`` where it is gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"if{index}"


def flow_summary(flow: Flow) -> Event:
    """Return the ``flow`` object that alerts and drops carry."""
    packets, size = flow.packets, flow.bytes
    summary: Event = {
        "pkts_toserver": packets[0],
        "pkts_toclient": packets[1],
        "bytes_toserver": size[0],
        "bytes_toclient": size[1],
        "start": timestamp(flow.start_ns),
        "src_ip": flow.src_ip,
        "dest_ip": flow.dst_ip,
    }
    if flow.proto in _WITH_PORTS:
        summary["src_port"], summary["dest_port"] = flow.sport, flow.dport
    return summary


def alert_event(match: Match, blocked: bool) -> Event:
    """Return the ``alert`` event of a match; ``blocked`` says whether its packets are being dropped."""
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


def transaction_events(transactions: Sequence[Transaction]) -> list[Event]:
    """Return the events of completed protocol exchanges of flows in the same columns, such as ``http``."""
    made: list[Event] = []
    for protocol in {transaction.protocol: None for transaction in transactions}:
        rows = [transaction for transaction in transactions if transaction.protocol == protocol]
        slots = np.array([transaction.slot for transaction in rows])
        times, numbers = [row.ts_ns for row in rows], [row.number for row in rows]
        events = bases(protocol, rows[0].flows, slots, times, numbers)
        for event, transaction in zip(events, rows, strict=True):
            event["tx_id"] = transaction.tx_id
            event[protocol] = dict(transaction.fields)
        made += events
    return made


def flow_events(flows: FlowColumns, slots: I64) -> list[Event]:
    """Return the ``flow`` events of flows that ended; `ids.respond.responder.Responder.close` completes them."""
    last_ns = flows.last_ns[slots].tolist()
    made = bases("flow", flows, slots, last_ns, [0] * len(slots))
    columns = zip(
        made,
        last_ns,
        flows.start_ns[slots].tolist(),
        flows.app_proto[slots].tolist(),
        flows.packets[slots].tolist(),
        flows.bytes[slots].tolist(),
        flows.state[slots].tolist(),
        flows.reason[slots].tolist(),
        flows.marks[slots].tolist(),
        strict=True,
    )
    for event, end_ns, start_ns, app_proto, packets, size, state, reason, marks in columns:
        if app_proto:
            event["app_proto"] = flows.app_names[app_proto]
        event["flow"] = {
            "pkts_toserver": packets[0],
            "pkts_toclient": packets[1],
            "bytes_toserver": size[0],
            "bytes_toclient": size[1],
            "start": timestamp(start_ns),
            "end": event["timestamp"],
            "age": max(0, round((end_ns - start_ns) / 1e9)),
            "state": _STATES[state],
            "reason": _REASONS[reason],
            "alerted": False,
        }
        if marks & Mark.BYPASSED:
            event["flow"]["bypass"] = "capture"
        if marks & Mark.CONDEMNED:
            event["flow"]["action"] = "drop"
    _add_unseen(made, flows, slots)
    _add_tcp(made, flows, slots)
    return made


_STATES = [state.eve for state in FlowState]
_REASONS = [reason.name.lower() for reason in EndReason]
_TCP_STATES = ["syn_sent", "established", "closed"]
_TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr")


def _add_unseen(made: list[Event], flows: FlowColumns, slots: I64) -> None:
    """Say what passed without being shown; of a flow that was dropped, that is not what passed."""
    unseen = flows.unseen_packets[slots].any(axis=1) & (flows.marks[slots] & Mark.CONDEMNED == 0)
    for at in np.flatnonzero(unseen).tolist():
        packets, size = flows.unseen_packets[slots[at]].tolist(), flows.unseen_bytes[slots[at]].tolist()
        made[at]["flow"]["bypassed"] = {
            "pkts_toserver": packets[0],
            "pkts_toclient": packets[1],
            "bytes_toserver": size[0],
            "bytes_toclient": size[1],
        }


def _add_tcp(made: list[Event], flows: FlowColumns, slots: I64) -> None:
    tcp = np.flatnonzero(flows.proto[slots] == _TCP)
    of = slots[tcp]
    columns = zip(
        tcp.tolist(), flows.tcp_flags[of].tolist(), flows.state[of].tolist(), flows.gaps[of].tolist(), strict=True
    )
    for at, (to_server, to_client), state, gaps in columns:
        summary = dict(_tcp_flags(to_server, to_client))
        summary["state"] = _TCP_STATES[state]
        for name, gap in zip(("ts_gap", "tc_gap"), gaps, strict=True):
            if gap:
                summary[name] = True
        made[at]["tcp"] = summary


@lru_cache(maxsize=4096)
def _tcp_flags(to_server: int, to_client: int) -> Event:
    both = to_server | to_client
    summary: Event = {
        "tcp_flags": f"{both:02x}",
        "tcp_flags_ts": f"{to_server:02x}",
        "tcp_flags_tc": f"{to_client:02x}",
    }
    return summary | {name: True for bit, name in enumerate(_TCP_FLAGS) if both >> bit & 1}


def drop_event(match: Match, reason: str, block: Event | None) -> Event:
    """Return the ``drop`` event of a flow or source that a rule condemned; ``block`` describes the block, if any."""
    event = base("drop", match.flow, match.ts_ns, match.number, match.direction)
    event["drop"] = {"reason": reason}
    event["ids"] = {"packet_ts_ns": match.ts_ns, "sid": match.signature.sid}
    if block is not None:
        event["ids"]["block"] = block
    return event
