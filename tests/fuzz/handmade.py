"""Conversations of DNS and TLS made by hand: what few captures have, and those that are public least of all."""

from __future__ import annotations

from struct import pack

from tests.fuzz.seeds import Conversation
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
