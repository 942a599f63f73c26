"""The default limits hit floods and nobody else: for each budget, who honest comes nearest to it, beside a flood.

All of it runs on the program itself, by a clock of the tests: seconds of traffic in a moment.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from ids.kernel.contract import REASON_NAMES, Reason
from ids.kernel.offline import Frames, OfflineProgram
from ids.kernel.settings import FastPathSettings

pytestmark = [pytest.mark.root, pytest.mark.xdp]
START_NS = 10**15
SECOND_NS = 10**9
MS_NS = 10**6
ETHERNET = bytes.fromhex("020000000002020000000001")
SERVER, CLIENT, FLOODER = "198.51.100.1", "192.0.2.7", "192.0.2.99"
SYN, SYNACK, ACK = 0x02, 0x12, 0x10

Sent = tuple[int, str, bytes]
"""When (ns after the start), by whom, and the frame."""


@pytest.fixture(scope="module")
def _program() -> Iterator[OfflineProgram]:
    with OfflineProgram(FastPathSettings()) as program:
        yield program


@pytest.fixture
def gate(_program: OfflineProgram) -> OfflineProgram:
    """The program as it comes, knowing nobody."""
    _program.reset()
    return _program


def ip(proto: int, src: str, dst: str, payload: bytes) -> bytes:
    """Return a frame; checksums are nobody's business here."""
    source, destination = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    if source.version == 6:
        head = struct.pack(">IHBB", 6 << 28, len(payload), proto, 255)
        return ETHERNET + b"\x86\xdd" + head + source.packed + destination.packed + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0)
    return ETHERNET + b"\x08\x00" + head + source.packed + destination.packed + payload


def tcp(src: str, dst: str, ports: tuple[int, int], flags: int, seq: int, ack: int = 0) -> bytes:
    return ip(6, src, dst, struct.pack(">HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 64240, 0, 0))


def udp(src: str, dst: str, ports: tuple[int, int], size: int) -> bytes:
    return ip(17, src, dst, struct.pack(">HHHH", *ports, 8 + size, 0) + bytes(size))


def echo(src: str, dst: str, kind: int, identifier: int) -> bytes:
    return ip(1, src, dst, struct.pack(">BBHHH", kind, 0, 0, identifier, 1) + bytes(56))


def connections(src: str, count: int, per_s: int, rtt_ns: int, begin_ns: int = 0) -> Iterator[Sent]:
    """Yield connections that are opened at a rate and completed a round trip later."""
    for number in range(count):
        at_ns = begin_ns + number * SECOND_NS // per_s
        sport, isn = 1024 + number % 64000, number
        yield at_ns, src, tcp(src, SERVER, (sport, 443), SYN, isn)
        yield at_ns + rtt_ns // 2, "server", tcp(SERVER, src, (443, sport), SYNACK, 7 * number, isn + 1)
        yield at_ns + rtt_ns, src, tcp(src, SERVER, (sport, 443), ACK, isn + 1, 7 * number + 1)


def syns(src: str, count: int, per_s: int, begin_ns: int = 0) -> Iterator[Sent]:
    """Yield SYNs that nobody answers; of ever other sources where ``src`` is none."""
    for number in range(count):
        source = src or str(ipaddress.ip_address(0xC6120000 + number % 0x20000))
        at_ns = begin_ns + number * SECOND_NS // per_s
        yield at_ns, src or "forged", tcp(source, SERVER, (1024 + number % 60000, 443), SYN, number)


def verdicts(gate: OfflineProgram, *streams: Iterator[Sent]) -> dict[str, Counter[Reason]]:
    """Send all of it in the order of time; return what became of each sender's packets."""
    packets = sorted((sent for stream in streams for sent in stream), key=lambda sent: sent[0])
    times = np.array([START_NS + at_ns for at_ns, _, _ in packets], dtype=np.int64)
    answers = gate.run(Frames.of([frame for _, _, frame in packets]), times)
    outcome: dict[str, Counter[Reason]] = {}
    for (_, who, _), answer in zip(packets, answers, strict=True):
        outcome.setdefault(who, Counter())[Reason(answer >> 8)] += 1
    return outcome


def dropped(outcome: Counter[Reason]) -> dict[str, int]:
    return {REASON_NAMES[reason]: count for reason, count in outcome.items() if "DROP" in reason.name}


def passed(outcome: Counter[Reason]) -> int:
    return sum(count for reason, count in outcome.items() if "PASS" in reason.name)


def test_a_proxy_that_opens_14000_connections_a_second_beside_floods(gate: OfflineProgram) -> None:
    """Source: SYN. 14,000 a second had become 204."""
    outcome = verdicts(
        gate,
        connections(CLIENT, 1, 1, 100 * MS_NS),
        connections(CLIENT, 28_000, 14_000, 100 * MS_NS, SECOND_NS),
        syns(FLOODER, 20_000, 10_000, SECOND_NS),
        syns("", 40_000, 20_000, SECOND_NS),
    )
    assert dropped(outcome[CLIENT]) == {}
    assert passed(outcome[FLOODER]) <= 4096 + 2 * 200 + 1
    assert passed(outcome["forged"]) <= 256 + 2 * 1000 + 1


def test_a_nat_with_users_of_whom_some_reach_nobody(gate: OfflineProgram) -> None:
    """Source: SYN. Programs that look for peers try many that are gone."""
    outcome = verdicts(
        gate,
        connections(CLIENT, 1, 1, 100 * MS_NS),
        connections(CLIENT, 6000, 2000, 80 * MS_NS, SECOND_NS),
        syns(CLIENT, 450, 150, SECOND_NS),
    )
    assert dropped(outcome[CLIENT]) == {}


def test_a_crowd_that_nobody_knows_yet(gate: OfflineProgram) -> None:
    """Destination: SYN. 3,000 new clients a second, 50 ms away, are 150 at a time."""

    def crowd() -> Iterator[Sent]:
        for number in range(9000):
            source = str(ipaddress.ip_address("198.18.0.0") + number)
            for at_ns, who, frame in connections(source, 1, 1, 50 * MS_NS, number * SECOND_NS // 3000):
                yield at_ns, "server" if who == "server" else "crowd", frame

    assert dropped(verdicts(gate, crowd())["crowd"]) == {}


@pytest.mark.parametrize("per_s", [180, 333, 950])
def test_a_monitor_that_pings(gate: OfflineProgram, per_s: int) -> None:
    """Source and destination: ICMP. At 180 a second it lost 37%."""

    def pings() -> Iterator[Sent]:
        for number in range(10 * per_s):
            at_ns, host = number * SECOND_NS // per_s, str(ipaddress.ip_address("198.51.100.0") + number % 200)
            yield at_ns, "monitor", echo(CLIENT, host, 8, 1 + number % 60000)
            yield at_ns + MS_NS, "hosts", echo(host, CLIENT, 0, 1 + number % 60000)

    def flood() -> Iterator[Sent]:
        for number in range(50_000):
            yield number * SECOND_NS // 5000, "flood", echo(FLOODER, SERVER, 8, 7)

    outcome = verdicts(gate, pings(), flood())
    assert dropped(outcome["monitor"]) == dropped(outcome["hosts"]) == {}
    assert passed(outcome["flood"]) <= 2000 + 10 * 1000 + 1


def test_a_router_that_reports_what_it_cannot_deliver(gate: OfflineProgram) -> None:
    """Source: ICMP. Linux limits what a host reports to 1,000 a second."""
    errors = [
        (number * SECOND_NS // 900, "router", ip(1, CLIENT, SERVER, bytes([3, 1]) + bytes(34)))
        for number in range(9000)
    ]
    assert dropped(verdicts(gate, iter(errors))["router"]) == {}


def test_a_monitor_whose_answers_come_from_everywhere_under_a_flood_of_answers(gate: OfflineProgram) -> None:
    """Destination: ICMP. What was asked for is not charged, so a flood of answers does not crowd it out."""

    def pings() -> Iterator[Sent]:
        for number in range(2000):
            host = str(ipaddress.ip_address("198.18.0.0") + number)
            yield number * MS_NS, "monitor", echo(SERVER, host, 8, 1 + number)
            yield number * MS_NS + 300_000, "hosts", echo(host, SERVER, 0, 1 + number)

    def flood() -> Iterator[Sent]:
        for number in range(60_000):
            yield (
                number * SECOND_NS // 30_000,
                "flood",
                echo(str(ipaddress.ip_address("10.0.0.0") + number), SERVER, 0, 9),
            )

    outcome = verdicts(gate, pings(), flood())
    assert dropped(outcome["hosts"]) == {}
    assert passed(outcome["flood"]) <= 10_000 + 2 * 5000 + 1


def test_neighbours_on_a_busy_link(gate: OfflineProgram) -> None:
    """Source: ICMP. Link-local addresses are all of one /64, but not of one host."""

    def neighbours() -> Iterator[Sent]:
        solicitation = struct.pack(">BBHI", 135, 0, 0, 0) + ipaddress.ip_address("fe80::1").packed
        for number in range(12_000):
            source = str(ipaddress.ip_address("fe80::") + 2 + number % 600)
            yield number * SECOND_NS // 4000, "neighbours", ip(58, source, "ff02::1:ff00:1", solicitation)

    assert dropped(verdicts(gate, neighbours())["neighbours"]) == {}


def answers(count: int, per_s: int, port: int, size: int = 1200) -> Iterator[Sent]:
    """Yield questions of a resolver, each from a port of its own, and their large answers 20 ms later."""
    for number in range(count):
        at_ns, sport = number * SECOND_NS // per_s, 1024 + number % 60000
        upstream = str(ipaddress.ip_address("198.18.0.0") + number % 50)
        yield at_ns, "resolver", udp(SERVER, upstream, (sport, port), 40)
        yield at_ns + 20 * MS_NS, "upstream", udp(upstream, SERVER, (port, sport), size)


def test_a_resolver_whose_answers_are_large(gate: OfflineProgram) -> None:
    """Destination: reflection. Of 9,000 large answers a second 5,000 came."""

    def reflected() -> Iterator[Sent]:
        for number in range(60_000):
            source = str(ipaddress.ip_address("10.0.0.0") + number % 5000)
            yield number * SECOND_NS // 30_000, "reflected", udp(source, SERVER, (53, 4444), 1200)

    outcome = verdicts(gate, answers(18_000, 9000, 53), reflected())
    assert dropped(outcome["upstream"]) == {}
    assert passed(outcome["reflected"]) <= 2000 + 2 * 1000 + 1


def test_a_tunnel_whose_ports_are_an_amplifiers(gate: OfflineProgram) -> None:
    """Destination: reflection. OpenVPN on port 1194, 3,000 packets a second down and one up for two of them."""

    def tunnel() -> Iterator[Sent]:
        for number in range(9000):
            at_ns = number * SECOND_NS // 3000
            if number % 2 == 0:
                yield at_ns, "client", udp(SERVER, CLIENT, (1194, 1194), 80)
            yield at_ns + 1000, "tunnel", udp(CLIENT, SERVER, (1194, 1194), 1350)

    assert dropped(verdicts(gate, tunnel())["tunnel"]) == {}


def test_udp_has_no_limit_until_one_is_set(gate: OfflineProgram) -> None:
    """Source and destination: UDP. A download over QUIC is 100,000 packets a second of one address."""

    def download() -> Iterator[Sent]:
        for number in range(50_000):
            yield number * SECOND_NS // 100_000, "download", udp(CLIENT, SERVER, (443, 50000), 1200)

    assert dropped(verdicts(gate, download())["download"]) == {}
