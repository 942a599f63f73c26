"""Conversations of DNS, TLS, HTTP/2 and WebSocket made by hand: what few captures have, public ones least of all."""

from __future__ import annotations

import lzma
from struct import pack

import brotli
import zstandard

from ids.protocols.http2.frames import PREFACE
from tests.fuzz.seeds import Conversation
from tests.protocols import frames2 as http2
from tests.protocols import handshakes as tls
from tests.protocols import questions as dns

_ASKED = dns.message(dns.question(b"www.host.example"), dns.question(b"_53._tcp.host.example", dns.SRV))
_ANSWERED = dns.message(
    dns.question(b"www.host.example"),
    answers=(
        dns.record(dns.CNAME, dns.name(b"host.example")),
        dns.record(dns.A, b"\xc0\0\2\1", of=b"\4host\xc0\x15"),
        dns.record(dns.AAAA, b"\x20\1\x0d\xb8" + bytes(12)),
        dns.record(dns.MX, b"\0\1" + dns.BACK),
        dns.record(dns.TXT, b"\3one\0\5three"),
        dns.record(dns.SRV, pack(">3H", 1, 2, 53) + dns.BACK),
        dns.record(dns.SSHFP, b"\1\2\3\4"),
        dns.record(dns.HTTPS, b"\0\1\0"),
    ),
    authorities=(dns.record(dns.SOA, dns.BACK + dns.BACK + pack(">5I", 1, 2, 3, 4, 5)), dns.record(dns.NS, dns.BACK)),
    additionals=(dns.record(dns.OPT, b"\0\x0a\0\2ab", of=b"\0"),),
    flags=dns.ANSWER,
)
_CERTIFICATE = tls.certificate(
    subject=((tls.COUNTRY, tls.PRINTABLE, b"XX"), (tls.COMMON_NAME, tls.BMP, b"\0a\0b"), ("2.5.4.97", 0x03, b"\0a")),
    names=((0x82, b"host.example"), (0x87, b"\xc0\0\2\1"), (0x87, bytes(16)), (0x81, b"a@host.example")),
)
_TLS13 = tls.record(tls.client_hello(tls.EXTENSIONS + tls.OFFERS_13))
_ASKS_BACK = tls.server_hello() + tls.certificates(_CERTIFICATE) + tls.CERTIFICATE_REQUEST + tls.HELLO_DONE
_SSL2 = b"\x01\x03\x01\0\x06\0\0\0\x10\0\0\x2f\0\0\x35" + bytes(16)

HANDMADE = (
    Conversation(True, ((0, _ASKED), (1, _ANSWERED), (0, _ASKED))),
    Conversation(True, ((0, _ASKED), (1, _ANSWERED), (1, _ANSWERED[:200]), (0, _ANSWERED))),
    Conversation(False, ((0, dns.framed(_ASKED, _ASKED)), (1, dns.framed(_ANSWERED, _ANSWERED)))),
    Conversation(False, ((0, tls.client_side()), (1, tls.server_side(_CERTIFICATE, _CERTIFICATE)))),
    Conversation(False, ((0, _TLS13), (1, tls.record(tls.server_hello(tls.TAKES_13), size=7)), (0, _TLS13))),
    Conversation(
        False,
        (
            (0, tls.record(tls.client_hello())), (1, tls.record(_ASKS_BACK, size=100)),
            (0, tls.record(tls.certificates(_CERTIFICATE))), (1, tls.CHANGE_CIPHER + tls.DATA),
        ),
    ),
    Conversation(False, ((0, bytes((0x80, len(_SSL2))) + _SSL2), (1, tls.server_side(_CERTIFICATE)))),
)  # fmt: skip


def _pushed() -> tuple[bytes, bytes]:
    """Return streams with coded bodies, table changes and a WebSocket."""
    client, server = http2.Speaker(), http2.Speaker()
    said = PREFACE + http2.settings(s1=0, s2=1, s4=1 << 20, s6=9999)
    answered = http2.settings(s3=100, s1=65536)
    content = b"some words that come again and again " * 9
    coders = {"br": brotli.compress, "zstd": zstandard.compress, "lzma": lzma.compress}
    for number, (name, coder) in enumerate(coders.items()):
        stream = 2 * number + 1
        if number == 1:
            client.encoder.header_table_size = 64
        said += client.headers([*http2.GET, ("x-n", name)], stream, weight=number, pieces=number + 1)
        body = coder(content)
        answered += server.headers([*http2.OK, ("content-encoding", name)], stream, last=False, padding=number)
        answered += http2.data(body[:20], stream, last=False) + http2.data(body[20:], stream, padding=3)
    connect = [(":method", "CONNECT"), (":protocol", "websocket"), *http2.GET[1:]]
    said += client.headers(connect, 9, last=False) + http2.data(_SOCKET, 9, last=False)
    answered += server.headers(http2.OK, 9, last=False) + http2.data(http2.ws(b"hi", mask=None), 9)
    return said, answered


_DEFLATER = http2.Deflater()
_SOCKET = b"".join(
    (
        http2.ws(b"one"), http2.ws(b"tw", fin=False), http2.ws(b"ping", 9), http2.ws(b"o", 0), http2.ws(b"x" * 300, 2),
        http2.ws(_DEFLATER.message(b"words and words " * 20), rsv=0x40),
        http2.ws(_DEFLATER.message(b"words again " * 20), rsv=0x40), http2.ws(b"\3\xe8bye", 8),
    )
)  # fmt: skip
_UPGRADED = (
    b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABk\r\n\r\n"
)
_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
_SAID, _REPLIED = http2.conversation()

HTTP2 = (
    Conversation(False, ((0, _SAID), (1, _REPLIED))),
    Conversation(False, tuple((side, said) for side, said in enumerate(_pushed()))),
    Conversation(False, ((0, _UPGRADED), (1, _SWITCHED), (1, _REPLIED), (0, _SAID))),
    Conversation(False, ((0, http2.UPGRADE), (1, http2.SWITCHED), (0, _SOCKET), (1, http2.ws(b"a" * 200, mask=None)))),
    Conversation(False, ((0, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + _SAID), (1, _REPLIED))),
)
"""Those of HTTP/2 and WebSocket."""
