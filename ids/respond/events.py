"""EVE events, key for key as Suricata writes them; our own additions sit under ``ids``.

The schema that judges them is Suricata's ``etc/schema.json``. Events are plain dicts, ready for any JSON writer; those
of which there are many a batch are spelt by `ids.respond.lines`.
"""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Sequence
from functools import lru_cache

from ids.events import Event
from ids.memory import passing
from ids.protocols import BY_NAME, EVENT_OF, FAILED
from ids.protocols.frame import FrameRow
from ids.respond.community_id import community_id
from ids.settings.respond import EveSettings
from ids.types import (
    LIVE,
    Action,
    Direction,
    Evidence,
    Exhibit,
    Flow,
    FlowColumns,
    FlowCount,
    Match,
    Noted,
    Signature,
    Transaction,
    address_text,
)
from ids.types.transactions import NO_EXCHANGE, Fields

PROTOCOL_NAMES = {
    1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 41: "IPv6", 47: "GRE", 50: "ESP", 58: "IPv6-ICMP", 132: "SCTP",
}  # fmt: skip
"""EVE's ``proto``: names of IP protocols as Suricata spells them; others are written as three-digit numbers."""

_TCP, _UDP, _SCTP = 6, 17, 132
WITH_PORTS = (_TCP, _UDP, _SCTP)
ICMP = (1, 58)
ICMP_ANSWERS = {(1, 8): 0, (1, 13): 14, (1, 15): 16, (1, 17): 18, (58, 128): 129}
"""Types that answer others, by protocol: a flow has the type of its first message."""

PLAIN = EveSettings.model_construct()
"""What is written where nothing more is asked for."""

WIRE = "wire/pcap"
_TUNNELS = {47: "gre tunnel", 4: "ipv4 tunnel", 41: "ipv6 tunnel"}
_UDP_TUNNELS = {4789: "vxlan encapsulation", 6081: "geneve encapsulation", 3544: "teredo tunnel"}
_TEREDO = "2001:0:"
"""Begins the addresses of Teredo; who uses it with others than its servers has any port."""
_PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F or byte in b"\r\n" else 0x2E for byte in range(256))
_NOTHING = Exhibit()


def timestamp(ts_ns: int) -> str:
    """Spell a time in EVE's way, microseconds and offset: ``2026-11-21T03:08:00.000000+0000``."""
    return f"{second(ts_ns // 1_000_000_000)}.{ts_ns // 1000 % 1_000_000:06d}+0000"


@passing
@lru_cache(maxsize=1024)
def second(seconds: int) -> str:
    """Spell a time up to the second."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):  # a hostile capture may claim any time
        return "1970-01-01T00:00:00"


def protocol_name(number: int) -> str:
    """Return EVE's name of an IP protocol."""
    return PROTOCOL_NAMES.get(number, f"{number:03d}")


def base(event_type: str, flow: Flow, ts_ns: int, number: int, direction: Direction = Direction.TO_SERVER) -> Event:
    """Return the keys that every event of a flow carries; addresses are those of the packet that caused it."""
    live = flow.source == LIVE
    event: Event = {"timestamp": timestamp(ts_ns)}
    if flow.id:  # what is no flow's packet has a view of its own, without an id
        event["flow_id"] = flow.id
    if live:
        event["in_iface"] = interface_name(flow.interface)
    elif number:
        event["pcap_cnt"] = number
    event["event_type"] = event_type
    if vlan := flow.vlan:
        event["vlan"] = vlan_tags(vlan)
    if flow.ip_version:
        event |= _ends(flow, direction)
    if flow.depth:
        event["tunnel"] = tunnel(flow)
    if flow.id:
        event["community_id"] = community_id(
            flow.src,
            flow.dst,
            flow.sport,
            flow.dport,
            flow.proto,
            flow.columns.community_seed,
            flow.columns.community_turned,
        )
    if not live:
        event["pcap_filename"] = flow.source
    return event


def _ends(flow: Flow, direction: Direction) -> Event:
    """Return addresses, ports and protocol, as the packet had them."""
    ends: Event = {}
    forward, proto = direction is Direction.TO_SERVER, flow.proto
    client, server = address_texts_of(flow)
    ends["src_ip"], ends["dest_ip"] = (client, server) if forward else (server, client)
    sport, dport = flow.sport, flow.dport
    if proto in WITH_PORTS:
        ends["src_port"], ends["dest_port"] = (sport, dport) if forward else (dport, sport)
    ends["proto"], ends["ip_v"] = protocol_name(proto), flow.ip_version
    if proto in ICMP:
        ends["icmp_type"], ends["icmp_code"] = (sport if forward else ICMP_ANSWERS.get((proto, sport), sport)), dport
    return ends


def address_texts_of(flow: Flow) -> tuple[str, str]:
    """Spell the addresses of a flow's client and server."""
    full = flow.columns.full_ipv6
    return address_text(flow.src, full), address_text(flow.dst, full)


def vlan_tags(vlan: int) -> list[int]:
    """Return the VLAN ids of `Packets.vlan`, the outermost first."""
    return [tag for tag in (vlan & 0xFFF, vlan >> 16 & 0xFFF, vlan >> 32 & 0xFFF) if tag]


def tunnel(flow: Flow) -> Event:
    """Return what EVE says of the outermost packet around a flow's first one."""
    outer = flow.tunnel
    assert outer is not None
    made: Event = {"src_ip": outer.src_ip, "dest_ip": outer.dst_ip, "proto": protocol_name(outer.proto)}
    if outer.proto in WITH_PORTS:
        made["src_port"], made["dest_port"] = outer.sport, outer.dport
    made["depth"] = outer.depth
    return made


def _carrier(match: Match) -> Event:
    """Return what alerts say of the packet around theirs: its ends as that side sends it, and which packet it was."""
    made = {"src_port": 0, "dest_port": 0, **tunnel(match.flow)}
    if match.direction is Direction.TO_CLIENT:
        made |= {
            "src_ip": made["dest_ip"], "dest_ip": made["src_ip"], "src_port": made["dest_port"],
            "dest_port": made["src_port"],
        }  # fmt: skip
    if match.flow.source != LIVE and match.number:
        made["pcap_cnt"] = match.number
    return made | {"pkt_src": WIRE}


def interface_name(index: int) -> str:
    """Return the name of an interface, as it was within the last second, or ``if<index>`` where it is gone."""
    return _name_in(int(time.monotonic()), index)


@lru_cache(maxsize=256)
def _name_in(_second: int, index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"if{index}"


def flow_summary(flow: Flow, counts: FlowCount | None = None) -> Event:
    """Return the ``flow`` object that alerts carry; ``counts``: as it was then, where more has come since."""
    then = counts or FlowCount(*flow.packets, *flow.bytes)
    client, server = address_texts_of(flow)
    summary: Event = {
        "pkts_toserver": then.packets_to_server,
        "pkts_toclient": then.packets_to_client,
        "bytes_toserver": then.bytes_to_server,
        "bytes_toclient": then.bytes_to_client,
        "start": timestamp(flow.start_ns),
        "src_ip": client,
        "dest_ip": server,
    }
    if flow.proto in WITH_PORTS:
        summary["src_port"], summary["dest_port"] = flow.sport, flow.dport
    return summary


def alert_event(match: Match, blocked: bool, settings: EveSettings = PLAIN, verdict: str = "") -> Event:
    """Return the ``alert`` event of a match.

    ``blocked`` says whether its packets are being dropped, ``verdict`` what became of this one, where that is written.
    """
    event = _of_match("alert", match)
    event["alert"] = _alert(match, blocked)
    if match.flow.depth:
        event["tunnel"] = _carrier(match)
    if match.exhibit is not None and match.exhibit.xff:
        if settings.xff == "overwrite":
            event["src_ip" if match.direction is Direction.TO_SERVER else "dest_ip"] = match.exhibit.xff
        else:
            event["alert"]["xff"] = match.exhibit.xff
    if isinstance(match.transaction, FrameRow):
        event |= _frame(match.transaction, match.evidence)
    elif match.transaction is not None:
        event |= _of_exchange(match.transaction)
    elif match.exhibit is not None and match.exhibit.exchange is not None:
        event |= _of_exchange(match.exhibit.exchange)
        if match.exhibit.guessed:
            event["tx_guessed"] = True
    if match.flow.app_proto:
        event["app_proto"] = match.flow.app_proto
    if match.flow.app_orig not in (None, match.flow.app_proto):
        event["app_proto_orig"] = match.flow.app_orig
    event["direction"] = _direction(match)
    if match.flow.id or match.flow.sport or match.flow.dport:  # of a packet with a bad checksum there is as much
        event["flow"] = flow_summary(match.flow, (match.exhibit or _NOTHING).counts)
    if match.exhibit is not None:
        if match.exhibit.capture:
            event["capture_file"] = match.exhibit.capture
        if match.exhibit.files:
            event["files"] = [dict(file) for file in match.exhibit.files]
        event |= _shown(match.exhibit, settings)
    if settings.verdict:
        event["verdict"] = _verdict(match, verdict)
    event["ids"] = {
        **event.get("ids", {}),
        "detector": match.detector,
        "rule": match.signature.origin,
        "packet_ts_ns": match.ts_ns,
        **_forwarded(match),
        "evidence": evidence_of(match),
    }
    return event


def _of_exchange(row: Transaction) -> Event:
    """Return what alerts say of the exchange that they are in."""
    if row.tx_id == NO_EXCHANGE:
        return {}
    said: Event = {"tx_id": row.shown_id}
    protocol, fields = row.protocol, row.fields
    in_alert = BY_NAME[protocol].in_alert if protocol in BY_NAME else None
    if fields or protocol not in EVENT_OF or EVENT_OF[protocol] == protocol:
        said |= exchange(protocol, fields if in_alert is None else in_alert(fields))
    return said


def _frame(row: FrameRow, evidence: Sequence[Evidence]) -> Event:
    """Return what EVE says of the frame in which a rule found what it looked for."""
    found = next((row.frames[each.buffer] for each in evidence if each.buffer in row.frames), None)
    return {} if found is None else {"frame": dict(found)}


def _forwarded(match: Match) -> Event:
    """Return for whom a trusted proxy speaks, and by what."""
    client = match.exhibit.client if match.exhibit is not None else None
    if client is None:
        return {}
    named = {"ip": address_text(client.address), "via": client.via, "proxy": address_text(match.flow.src)}
    return {"client": named}


def evidence_of(match: Match) -> list[Event]:
    """Return what was matched, one character a byte, and where in each excerpt."""
    return [
        {
            "buffer": e.buffer,
            "offset": e.offset,
            "excerpt": e.excerpt.decode("latin-1"),
            "matched": list(e.matched or (0, len(e.excerpt))),
        }
        for e in match.evidence
    ]


def exchange(protocol: str, fields: Fields) -> Event:
    """Return what is logged of an exchange: the object of its protocol, and those that stand beside it."""
    own, beside = dict(fields), BY_NAME[protocol].beside if protocol in BY_NAME else ()
    lifted = {key: own.pop(key) for key in beside if key in own}
    named: Event = {EVENT_OF.get(protocol, protocol): own, **lifted}
    return {"ids": named} if protocol in BY_NAME and BY_NAME[protocol].ours else named


def _of_match(event_type: str, match: Match) -> Event:
    """Return the keys that every event of a match carries."""
    event = base(event_type, match.flow, match.ts_ns, match.number, match.direction)
    exhibit = match.exhibit or _NOTHING
    if exhibit.icmp is not None:
        event["icmp_type"], event["icmp_code"] = exhibit.icmp
    event["pkt_src"] = exhibit.source or packet_source(match.flow)
    if exhibit.ether is not None:
        event["ether"] = ether_keys(*exhibit.ether)
    return event


def _alert(match: Match, blocked: bool) -> Event:
    signature = match.signature
    alert: Event = {
        "action": "blocked" if blocked else "allowed",
        "gid": signature.gid,
        "signature_id": signature.sid,
        "rev": signature.rev,
        "signature": signature.title,
        "category": signature.category or signature.classtype,
        "severity": signature.severity,
    }
    if signature.attacked and match.flow.ip_version:
        alert |= _attack(match, signature)
    if signature.metadata:
        alert["metadata"] = {key: list(values) for key, values in signature.metadata.items()}
    if signature.references:
        alert["references"] = list(signature.references)
    return alert


def _attack(match: Match, signature: Signature) -> Event:
    """Return who attacks and who is attacked, where the rule knows."""
    ends = _ends(match.flow, match.direction)
    sides = [{"ip": ends[f"{side}_ip"]} for side in ("src", "dest")]
    if "src_port" in ends:
        for side, end in zip(("src", "dest"), sides, strict=True):
            end["port"] = ends[f"{side}_port"]
    source, target = sides if signature.attacked == "dest_ip" else sides[::-1]
    return {"source": source, "target": target}


def _shown(exhibit: Exhibit, settings: EveSettings) -> Event:
    """Return payload and packet, as far as they were attached."""
    shown: Event = {}
    if exhibit.payload is not None:
        if settings.payload and exhibit.payload:
            shown["payload"] = base64.b64encode(exhibit.payload).decode()
        if settings.payload_printable:
            shown["payload_printable"] = exhibit.payload.translate(_PRINTABLE).decode()
        shown["stream"] = int(exhibit.stream)
    if exhibit.packet is not None:
        shown |= packet_keys(exhibit.packet, exhibit.linktype)
    return shown


def packet_keys(data: bytes, linktype: int) -> Event:
    """Return a packet as events carry it."""
    return {"packet": base64.b64encode(data).decode(), "packet_info": {"linktype": linktype}}


def ether_keys(source: str, destination: str) -> Event:
    """Return the addresses of a frame as events carry them."""
    return {"src_mac": source, "dest_mac": destination}


def packet_source(flow: Flow) -> str:
    """Return where packets of a flow come from, in Suricata's words."""
    outer = flow.tunnel
    if outer is None:
        return WIRE
    if outer.proto == _UDP and flow.src_ip.startswith(_TEREDO) | flow.dst_ip.startswith(_TEREDO):
        return _UDP_TUNNELS[3544]
    return packet_source_of(outer.proto, outer.sport, outer.dport)


def packet_source_of(proto: int, sport: int, dport: int) -> str:
    """Return where a packet comes from whose carrier has this protocol and these ports."""
    if proto == _UDP:
        return _UDP_TUNNELS.get(dport) or _UDP_TUNNELS.get(sport) or "vxlan encapsulation"
    return _TUNNELS.get(proto, "gre tunnel")


def _verdict(match: Match, word: str) -> Event:
    """Return what became of a packet, and who would have been sent a reset."""
    verdict: Event = {"action": word or "alert"}
    signature = match.signature
    if signature.action is Action.REJECT:
        verdict["reject-target"] = signature.rejected or "to_client"
        if match.flow.proto == _TCP:
            verdict["reject"] = ["tcp-reset"]
        elif match.flow.proto in (_UDP, *ICMP):
            verdict["reject"] = ["icmp-prohib"]
    return verdict


def _direction(match: Match) -> str:
    return "to_server" if match.direction is Direction.TO_SERVER else "to_client"


def anomaly_event(flows: FlowColumns, noted: Noted) -> Event:
    """Return the ``anomaly`` event of something remarkable about a TCP connection."""
    flow = flows.view(noted.slot)
    event = base("anomaly", flow, noted.ts_ns, noted.number, Direction(noted.direction))
    event["pkt_src"] = packet_source(flow)
    event["anomaly"] = {"type": "stream", "event": noted.event}
    if flow.app_proto:
        event["anomaly"]["app_proto"] = flow.app_proto
    return event


def stranger_event(flows: FlowColumns, slot: int) -> Event:
    """Return the ``anomaly`` event of a protocol at another's port."""
    flow = flows.view(slot)
    event = base("anomaly", flow, int(flows.last_ns[slot]), 0, Direction.TO_SERVER)
    event["anomaly"] = {
        "app_proto": flow.app_proto, "type": "applayer", "event": "APPLAYER_PROTOCOL_AT_ANOTHERS_PORT",
        "layer": "proto_detect",
    }  # fmt: skip
    return event


_IN_CAPITALS = frozenset(("http", "smtp", "tls"))
"""Protocols whose oddities Suricata spells so in events; in rules it does not."""


def oddity_event(transaction: Transaction, flow: Flow, oddity: bytes, *, receiver: bool = False) -> Event:
    """Return the ``anomaly`` event of what a parser found odd in a part of a transaction, an instance of `ODDITY`.

    ``flow`` is the one that is named: of a variant its connection (`ids.flow.versions`). ``receiver``: over TCP it
    names who received that as its source (`EveSettings.anomaly_of_receiver`).
    """
    direction, of_flow = transaction.direction, transaction.tx_id == NO_EXCHANGE
    turned = receiver and not of_flow and flow.proto == _TCP
    if turned and flow.packets[1 - direction]:  # of one who is not heard nothing is read so
        direction = Direction(1 - direction)
    event = base("anomaly", flow, transaction.ts_ns, transaction.number, direction)
    event["pkt_src"] = packet_source(flow)
    if of_flow:  # what the flow is may be decided by now, and Suricata leaves out what is not known
        known = {"app_proto": flow.app_proto} if flow.app_proto not in (None, FAILED) else {}
        event["anomaly"] = {**known, "type": "applayer", "event": oddity.decode().upper(), "layer": "proto_detect"}
        return event
    event["tx_id"] = transaction.tx_id
    name = oddity.decode().partition(".")[2]
    if transaction.protocol in _IN_CAPITALS:
        name = name.upper()
    event["anomaly"] = {
        "app_proto": transaction.protocol, "type": "applayer", "event": name, "layer": "proto_parser",
    }  # fmt: skip
    return event


def drop_event(match: Match, reason: str, block: Event | None, settings: EveSettings = PLAIN) -> Event:
    """Return the ``drop`` event of a flow or source that a rule condemned; ``block`` describes the block, if any."""
    event = _of_match("drop", match)
    event["direction"] = _direction(match)
    header = match.exhibit.header if match.exhibit is not None else None
    event["drop"] = {**(header or {}), "reason": reason}
    if settings.drop_alert and not match.signature.exception:
        event["alert"] = _alert(match, blocked=True)
    if settings.verdict:
        event["verdict"] = _verdict(match, "drop")
    event["ids"] = {"packet_ts_ns": match.ts_ns, "sid": match.signature.sid, **_forwarded(match)}
    if block is not None:
        event["ids"]["block"] = block
    return event
