"""What the functions return that a script may call, found out before it runs (`ids.rules.model.script`).

A function that has no fact returns nil in the script. Values are those that Suricata 7 returns, in its order; of a
protocol, they come from the exchange at hand, and of its request from what is kept of that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ids.protocols.dns.records import rrtype_name
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.script import PACKET, Script
from ids.types import Direction, Flow, Transaction, address_text

REQUEST_BUFFERS = ("http.request_line", "http.header.raw", "http.uri", "http.uri.raw", "http.request_body")
"""What is kept of requests for scripts that are asked of their responses."""

ASKS_REQUEST = frozenset((
    "HttpGetRequestHeader", "HttpGetRequestHeaders", "HttpGetRawRequestHeaders", "HttpGetRequestLine",
    "HttpGetRequestBody", "HttpGetRequestUriRaw", "HttpGetRequestUriNormalized",
))  # fmt: skip
"""Functions that return something of these."""

_MIME = {
    "from": "email.from", "to": "email.to", "cc": "email.cc", "subject": "email.subject", "date": "email.date",
    "message-id": "email.message_id", "x-mailer": "email.x_mailer", "received": "email.received",
}  # fmt: skip
"""Fields of a mail, and the buffers that have them."""

_PROTOCOLS = {
    "Http": ("http", "http2"), "Dns": ("dns", "mdns", "llmnr"), "Tls": ("tls",), "Ja3": ("tls", "quic"),
    "Ssh": ("ssh",), "Hassh": ("ssh",), "SMTP": ("smtp",),
}  # fmt: skip
"""By how the names of functions begin: of whose exchanges they know something."""

Instances = Callable[[str], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Scene:
    """Where and when a script is asked."""

    flow: Flow
    direction: Direction
    ts_ns: int
    transaction: Transaction | None = None
    request: Mapping[str, Sequence[bytes]] | None = None
    """Buffers of the request, beside its response."""

    def facts(self, script: Script, instances: Instances, variables: Mapping[str, int]) -> dict[bytes, Any]:
        """Return what the functions return that a script names."""
        found: dict[bytes, Any] = {}
        spoken = self.transaction.protocol if self.transaction is not None else ""
        for name in script.functions:
            if any(name.startswith(family) and spoken not in of for family, of in _PROTOCOLS.items()):
                continue
            if name == "SCByteVarGet":
                values = {i: variables.get(title) for i, title in enumerate(script.bytevars)}
                found[name.encode()] = {i: value for i, value in values.items() if value is not None}
                continue
            fact = _FACTS[name](_Asked(self, script, instances))
            if fact is not None:
                found[name.encode()] = fact
        return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """A scene, and the script that asks."""

    scene: Scene
    script: Script
    instances: Instances

    def of(self, name: str) -> bytes | None:
        """Return the first instance of a buffer of the exchange."""
        tx = self.scene.transaction
        found = tx.instances(name) if tx is not None else ()
        return found[0] if found else None

    def field(self, *path: str) -> Any:
        """Return what EVE logs of the exchange, at the end of a path; None where there is nothing."""
        tx = self.scene.transaction
        found: Any = tx.fields if tx is not None else None
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def said_by(self, side: Direction, name: str) -> Sequence[bytes]:
        """Return the instances of a buffer that a side of an HTTP exchange has sent."""
        tx = self.scene.transaction
        if tx is not None and tx.direction == side:
            return tx.instances(name)
        return (self.scene.request or {}).get(name, ()) if side == Direction.TO_SERVER else ()


def _values(*values: Any) -> dict[Any, Any]:
    """Return the values of a function, by place."""
    found: dict[Any, Any] = {place: _sent(value) for place, value in enumerate(values, 1) if value is not None}
    return found | {b"n": len(values)}


def _sent(value: Any) -> Any:
    """Return a value with all texts as bytes."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, Mapping):
        return {_sent(key): _sent(one) for key, one in value.items() if one is not None}
    return value


def _one(value: Any) -> dict[Any, Any] | None:
    """Return a function's only value; None where there is none."""
    return None if value is None else _values(value)


def _numbered(values: Iterable[Any], first: int) -> dict[int, Any]:
    return dict(enumerate(values, first))


# Packets, flows and the rule.


def _tuple(asked: _Asked, turned: bool) -> dict[Any, Any]:
    flow = asked.scene.flow
    ends = [(address_text(flow.src), flow.sport), (address_text(flow.dst), flow.dport)]
    if turned and flow.proto not in (1, 58):  # of ICMP the ports are type and code
        ends.reverse()
    (src, sport), (dst, dport) = ends
    if turned and flow.proto in (1, 58):
        src, dst = dst, src
    return _values(flow.ip_version, src, dst, flow.proto, sport, dport)


def _seconds(ts_ns: int) -> tuple[int, int]:
    return ts_ns // 1_000_000_000, ts_ns // 1000 % 1_000_000


def _spelt(ts_ns: int) -> str:
    seconds, micros = _seconds(ts_ns)
    return f"{time.strftime('%m/%d/%Y-%H:%M:%S', time.gmtime(seconds))}.{micros:06d}"


def _flow_times(asked: _Asked) -> dict[Any, Any]:
    (first, first_us), (last, last_us) = _seconds(asked.scene.flow.start_ns), _seconds(asked.scene.flow.last_ns)
    return _values(first, last, first_us, last_us)


def _app_layer(asked: _Asked) -> dict[Any, Any]:
    flow = asked.scene.flow
    name = flow.app_proto or "unknown"
    return _values(name, name, name, flow.app_orig or "unknown", "unknown")


def _flow_stats(asked: _Asked) -> dict[Any, Any]:
    packets, sizes = asked.scene.flow.packets, asked.scene.flow.bytes
    return _values(packets[0], sizes[0], packets[1], sizes[1])


def _packet_payload(asked: _Asked) -> dict[Any, Any] | None:
    payload = asked.instances(PAYLOAD) if asked.script.of_packet or asked.instances(PACKET) else ()
    return _values(payload[0]) if payload else None


def _rule_ids(asked: _Asked) -> dict[Any, Any]:
    gid, sid, rev = asked.script.rule[:3]
    return _values(sid, rev, gid)


# HTTP.


def _host(asked: _Asked) -> dict[Any, Any] | None:
    return _one(asked.of("http.host") or asked.field("hostname"))


def _buffer_of(side: Direction, name: str, *path: str) -> Callable[[_Asked], dict[Any, Any] | None]:
    def fact(asked: _Asked) -> dict[Any, Any] | None:
        found = asked.said_by(side, name)
        return _one(found[0] if found else asked.field(*path) if path else None)

    return fact


def _headers(asked: _Asked, side: Direction) -> dict[bytes, bytes] | None:
    """Return the headers of a message; of several of one name, the values one behind the other."""
    raw = asked.said_by(side, "http.header.raw")
    if not raw:
        return None
    found: dict[bytes, bytes] = {}
    for line in raw[0].split(b"\n"):
        name, colon, value = line.partition(b":")
        name, value = name.strip(), value.strip()
        if colon and name:
            found[name] = found[name] + b", " + value if name in found else value
    return found


def _headers_of(side: Direction) -> Callable[[_Asked], dict[Any, Any] | None]:
    return lambda asked: _one(_headers(asked, side))


def _header_of(side: Direction) -> Callable[[_Asked], dict[Any, Any] | None]:
    def fact(asked: _Asked) -> dict[Any, Any] | None:
        found = _headers(asked, side)
        return None if found is None else {name.lower(): value for name, value in found.items() if value}

    return fact


def _body_of(side: Direction, name: str) -> Callable[[_Asked], dict[Any, Any] | None]:
    def fact(asked: _Asked) -> dict[Any, Any] | None:
        found = asked.said_by(side, name)
        return _values({1: found[0]}, 0, len(found[0])) if found else None

    return fact


# DNS.


def _queries(asked: _Asked) -> dict[Any, Any]:
    tx = asked.scene.transaction
    names = tx.instances("dns.queries.rrname") if tx is not None else ()
    types = tx.instances("dns.rrtype") if tx is not None else ()
    found = [{"type": rrtype_name(int(of)), "rrname": name} for name, of in zip(names, types, strict=False)]
    return _values(_numbered(found, 0))


def _records(section: str) -> Callable[[_Asked], dict[Any, Any]]:
    def fact(asked: _Asked) -> dict[Any, Any]:
        found = asked.field(section) or ()
        return _values(_numbered(map(_record, found), 0))

    return fact


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    parts = [part for part in record.values() if isinstance(part, Mapping)]
    named = [part[key] for part in parts for key in ("mname", "name", "fingerprint") if key in part]
    shown = {"type": record.get("rrtype"), "ttl": record.get("ttl"), "rrname": record.get("rrname")}
    address = record.get("rdata") or (named[0] if named else None)
    return shown | ({"addr": address} if isinstance(address, str) else {})


def _rcode(asked: _Asked) -> dict[Any, Any] | None:
    code = asked.field("rcode")
    return None if code == "NOERROR" else _one(code)


# TLS, SSH and mail.


def _first_of(buffer: str, *path: str) -> Callable[[_Asked], dict[Any, Any] | None]:
    """Return what gives a buffer of the exchange, or what is logged, where the other side has sent it."""

    def fact(asked: _Asked) -> dict[Any, Any] | None:
        value = asked.of(buffer)
        return _one(asked.field(*path) if value is None else value)

    return fact


def _certificate(asked: _Asked, key: str) -> Any:
    """Return what is known of the certificate of the side that speaks."""
    value = asked.of(f"tls.cert_{key}")
    if value is not None:
        return value
    logged = {"issuer": "issuerdn"}.get(key, key)
    return asked.field(logged) if asked.scene.direction == Direction.TO_CLIENT else asked.field("client", logged)


def _cert_info(asked: _Asked) -> dict[Any, Any] | None:
    subject = _certificate(asked, "subject")
    if subject is None:
        return None
    return _values(asked.field("version"), subject, _certificate(asked, "issuer"), _certificate(asked, "fingerprint"))


def _cert_time(buffer: str) -> Callable[[_Asked], dict[Any, Any] | None]:
    def fact(asked: _Asked) -> dict[Any, Any] | None:
        value = asked.of(buffer)
        return None if value is None else _values(int(value))

    return fact


def _cert_chain(asked: _Asked) -> dict[Any, Any]:
    tx = asked.scene.transaction
    found = tx.instances("tls.certs") if tx is not None else ()
    return _values(_numbered([{"length": len(data), "data": data} for data in found], 0))


def _ssh(side: str, *path: str) -> Callable[[_Asked], dict[Any, Any] | None]:
    return lambda asked: _one(asked.field(side, *path))


def _mime_fields(asked: _Asked) -> dict[Any, Any]:
    found = {name: asked.of(buffer) for name, buffer in _MIME.items()}
    return {name.encode(): value for name, value in found.items() if value}


def _receivers(asked: _Asked) -> dict[Any, Any]:
    tx = asked.scene.transaction
    return _values(_numbered(tx.instances("smtp.rcpt_to") if tx is not None else (), 1))


_SERVER, _CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT

_FACTS: Mapping[str, Callable[[_Asked], dict[Any, Any] | None]] = {
    "SCPacketPayload": _packet_payload,
    "SCPacketTimestamp": lambda asked: _values(*_seconds(asked.scene.ts_ns)),
    "SCPacketTimeString": lambda asked: _values(_spelt(asked.scene.ts_ns)),
    "SCPacketTuple": lambda asked: _tuple(asked, asked.scene.direction == _CLIENT),
    "SCFlowTuple": lambda asked: _tuple(asked, False),
    "SCFlowTimestamps": _flow_times,
    "SCFlowTimeString": lambda asked: _values(_spelt(asked.scene.flow.start_ns)),
    "SCFlowAppLayerProto": _app_layer,
    "SCFlowStats": _flow_stats,
    "SCFlowId": lambda asked: _values(asked.scene.flow.id),
    "SCRuleIds": _rule_ids,
    "SCRuleMsg": lambda asked: _values(asked.script.rule[3]),
    "SCRuleClass": lambda asked: _values(*asked.script.rule[4:]) if asked.script.rule[4] else None,
    "SCThreadInfo": lambda asked: _values(os.getpid(), "ids", "ids"),
    "HttpGetRequestHost": _host,
    "HttpGetRequestLine": _buffer_of(_SERVER, "http.request_line"),
    "HttpGetResponseLine": _buffer_of(_CLIENT, "http.response_line"),
    "HttpGetRawRequestHeaders": _buffer_of(_SERVER, "http.header.raw"),
    "HttpGetRawResponseHeaders": _buffer_of(_CLIENT, "http.header.raw"),
    "HttpGetRequestUriRaw": _buffer_of(_SERVER, "http.uri.raw", "url"),
    "HttpGetRequestUriNormalized": _buffer_of(_SERVER, "http.uri", "url"),
    "HttpGetRequestHeaders": _headers_of(_SERVER),
    "HttpGetResponseHeaders": _headers_of(_CLIENT),
    "HttpGetRequestHeader": _header_of(_SERVER),
    "HttpGetResponseHeader": _header_of(_CLIENT),
    "HttpGetRequestBody": _body_of(_SERVER, "http.request_body"),
    "HttpGetResponseBody": _body_of(_CLIENT, "http.response_body"),
    "DnsGetQueries": _queries,
    "DnsGetAnswers": _records("answers"),
    "DnsGetAuthorities": _records("authorities"),
    "DnsGetRcode": _rcode,
    "DnsGetRecursionDesired": lambda asked: _values(bool(asked.field("rd"))),
    "DnsGetDnsRrname": _first_of("dns.queries.rrname"),
    "DnsGetTxid": lambda asked: _one(asked.field("id")),
    "TlsGetVersion": lambda asked: _one(asked.field("version")),
    "TlsGetCertInfo": _cert_info,
    "TlsGetCertChain": _cert_chain,
    "TlsGetSNI": _first_of("tls.sni", "sni"),
    "TlsGetCertSerial": _first_of("tls.cert_serial", "serial"),
    "TlsGetCertNotBefore": _cert_time("tls.cert_notbefore"),
    "TlsGetCertNotAfter": _cert_time("tls.cert_notafter"),
    "Ja3GetHash": _first_of("ja3.hash", "ja3", "hash"),
    "Ja3GetString": _first_of("ja3.string", "ja3", "string"),
    "Ja3SGetHash": _first_of("ja3s.hash", "ja3s", "hash"),
    "Ja3SGetString": _first_of("ja3s.string", "ja3s", "string"),
    "SshGetServerProtoVersion": _ssh("server", "proto_version"),
    "SshGetServerSoftwareVersion": _ssh("server", "software_version"),
    "SshGetClientProtoVersion": _ssh("client", "proto_version"),
    "SshGetClientSoftwareVersion": _ssh("client", "software_version"),
    "HasshGet": _ssh("client", "hassh", "hash"),
    "HasshGetString": _ssh("client", "hassh", "string"),
    "HasshServerGet": _ssh("server", "hassh", "hash"),
    "HasshServerGetString": _ssh("server", "hassh", "string"),
    "SMTPGetMimeField": _mime_fields,
    "SMTPGetMimeList": lambda asked: _values(_numbered(_mime_fields(asked), 1)),
    "SMTPGetMailFrom": _first_of("smtp.mail_from", "mail_from"),
    "SMTPGetRcptList": _receivers,
}
"""By name of a function: what finds out what it returns."""
