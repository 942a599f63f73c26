"""The buffers that a rule can name: Suricata's sticky buffers, each with its protocol and the side that sends it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from ids.types import Direction

PAYLOAD = "payload"
"""The bytes after the transport header: of a TCP direction as one stream, of UDP and ICMP packet by packet."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """A named piece of traffic. ``side`` is the sender, None where either side can send it."""

    name: str
    protocol: str | None
    side: Direction | None
    text: str


_REQUEST, _RESPONSE = Direction.TO_SERVER, Direction.TO_CLIENT

CATALOGUE: dict[str, Buffer] = {
    name: Buffer(name, protocol, side, text)
    for name, protocol, side, text in (
        (PAYLOAD, None, None, "payload of TCP (the whole stream of one direction), UDP or ICMP"),
        ("file.data", None, None, "content of a transferred file or body, decompressed"),
        ("file.name", None, None, "name of a transferred file"),
        ("http.method", "http", _REQUEST, "request method"),
        ("http.uri", "http", _REQUEST, "request target, normalised"),
        ("http.uri.raw", "http", _REQUEST, "request target as sent"),
        ("http.host", "http", _REQUEST, "host name, lower case, without port"),
        ("http.host.raw", "http", _REQUEST, "host as sent"),
        ("http.user_agent", "http", _REQUEST, "User-Agent header"),
        ("http.referer", "http", _REQUEST, "Referer header"),
        ("http.accept", "http", _REQUEST, "Accept header"),
        ("http.accept_enc", "http", _REQUEST, "Accept-Encoding header"),
        ("http.accept_lang", "http", _REQUEST, "Accept-Language header"),
        ("http.request_body", "http", _REQUEST, "request body, decompressed"),
        ("http.request_line", "http", _REQUEST, "first line of the request"),
        ("http.stat_code", "http", _RESPONSE, "status code"),
        ("http.stat_msg", "http", _RESPONSE, "status message"),
        ("http.response_body", "http", _RESPONSE, "response body, decompressed"),
        ("http.response_line", "http", _RESPONSE, "first line of the response"),
        ("http.server", "http", _RESPONSE, "Server header"),
        ("http.location", "http", _RESPONSE, "Location header"),
        ("http.header", "http", None, "all headers, normalised"),
        ("http.header.raw", "http", None, "all headers as sent"),
        ("http.header_names", "http", None, "names of the headers, in order"),
        ("http.protocol", "http", None, "protocol version of the first line"),
        ("http.connection", "http", None, "Connection header"),
        ("http.content_type", "http", None, "Content-Type header"),
        ("http.content_len", "http", None, "Content-Length header"),
        ("http.cookie", "http", None, "Cookie or Set-Cookie header"),
        ("dns.query", "dns", _REQUEST, "name asked for"),
        ("dns.opcode", "dns", None, "operation code, decimal"),
        ("dns.rcode", "dns", _RESPONSE, "response code, decimal"),
        ("dns.rrtype", "dns", _REQUEST, "type asked for, decimal"),
        ("dns.answer.name", "dns", _RESPONSE, "names in the answer section"),
        ("tls.sni", "tls", _REQUEST, "server name that the client asks for"),
        ("tls.version", "tls", None, "negotiated or offered version"),
        ("tls.cert_subject", "tls", _RESPONSE, "subject of the server's certificate"),
        ("tls.cert_issuer", "tls", _RESPONSE, "issuer of the server's certificate"),
        ("tls.cert_serial", "tls", _RESPONSE, "serial number of the server's certificate"),
        ("tls.cert_fingerprint", "tls", _RESPONSE, "SHA-1 of the server's certificate, hexadecimal with colons"),
        ("tls.certs", "tls", _RESPONSE, "certificates as sent, DER"),
        ("tls.alpn", "tls", None, "application protocols offered or chosen"),
        ("ja3.hash", "tls", _REQUEST, "JA3 of the client, hexadecimal"),
        ("ja3.string", "tls", _REQUEST, "JA3 string of the client"),
        ("ja3s.hash", "tls", _RESPONSE, "JA3S of the server, hexadecimal"),
        ("ja3s.string", "tls", _RESPONSE, "JA3S string of the server"),
        ("ja4.hash", "tls", _REQUEST, "JA4 of the client"),
        ("ssh.proto", "ssh", None, "protocol version of the banner"),
        ("ssh.software", "ssh", None, "software of the banner"),
        ("ssh.hassh", "ssh", _REQUEST, "HASSH of the client"),
        ("ssh.hassh.server", "ssh", _RESPONSE, "HASSH of the server"),
        ("smtp.helo", "smtp", _REQUEST, "argument of HELO or EHLO"),
        ("smtp.mail_from", "smtp", _REQUEST, "argument of MAIL FROM"),
        ("smtp.rcpt_to", "smtp", _REQUEST, "arguments of RCPT TO"),
        ("ftp.command", "ftp", _REQUEST, "command word"),
        ("ftp.command_data", "ftp", _REQUEST, "argument of the command"),
        ("ftp.reply", "ftp", _RESPONSE, "text of the reply"),
        ("ftp.completion_code", "ftp", _RESPONSE, "code of the reply"),
        ("smb.named_pipe", "smb", None, "named pipe of a tree connect"),
        ("smb.share", "smb", None, "share of a tree connect"),
    )
}

PARSED = frozenset({"http"})
"""Protocols with a parser (`ids.protocols`). Buffers of the others are known by name, and refused: a rule on one could
never match."""

TRANSPORT_PROTOCOLS: dict[str, frozenset[int]] = {
    "ip": frozenset(),
    "tcp": frozenset({6}),
    "udp": frozenset({17}),
    "icmp": frozenset({1, 58}),
}
"""Names of a rule's ``traffic`` that restrict the IP protocol number; the empty set is every protocol."""

APP_PROTOCOLS = frozenset(
    {"dhcp", "dnp3", "dns", "ftp", "ftp-data", "http", "http2", "ike", "imap", "krb5", "ldap", "modbus", "mqtt", "nfs",
     "ntp", "pgsql", "pop3", "quic", "rdp", "rfb", "sip", "smb", "smtp", "snmp", "ssh", "telnet", "tftp", "tls"}
)  # fmt: skip
"""Names of a rule's ``traffic`` that restrict `Flow.app_proto`, as EVE spells them."""


def refusal(name: str, others: list[str]) -> tuple[str, str] | None:
    """Return why a rule cannot test a buffer, and what to do; None when it can. ``others`` may stand in its place."""
    buffer = CATALOGUE.get(name)
    if buffer is None:
        return f"unknown buffer {name!r}", nearest(name, [*CATALOGUE, *others])
    if buffer.protocol is not None and buffer.protocol not in PARSED:
        return f"there is no parser for {buffer.protocol} that gives {name}", "test payload instead"
    return None


def wrong_way(names: Iterable[str], direction: Direction | None) -> str | None:
    """Return why a rule on these buffers can never match in this direction (None: both ways), or None when it can.

    Buffers of both sides together are a request with its response, which matches under either direction.
    """
    sent = {name: side for name in sorted(names) if name in CATALOGUE and (side := CATALOGUE[name].side) is not None}
    if direction is None or not sent or direction in sent.values():
        return None
    name, side = next(iter(sent.items()))
    asked, sender = ("to_client", "client") if side == Direction.TO_SERVER else ("to_server", "server")
    return f"{name} is sent by the {sender}, but flow asks for {asked}: the rule can never match"


def nearest(word: str, known: list[str]) -> str:
    """Return the remedy for an unknown name: the nearest known one, or all when they are few."""
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(sorted(known))}" if 0 < len(known) <= 12 else ""
