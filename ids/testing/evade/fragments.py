"""Segments in IP fragments: of every size and order, twice, overlapping with junk; IPv4 and IPv6."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from ids.testing.evade import packets
from ids.testing.evade.conversation import Conversation, junk
from ids.testing.evade.policies import ALL, POLICIES, datagram
from ids.testing.evade.steps import Cut, Evasion, Segment

FAMILY = "fragments"
UNIT = 8
"""Fragments begin at multiples of eight bytes (RFC 791 section 3.2)."""
TCP_HEADER = 20
HEAD = 3 * UNIT
"""Payload of the fragment that comes last of all where fragments overlap: the TCP header is in it."""
MARGIN = UNIT

Layout: TypeAlias = list[tuple[int, bytes]]
"""The fragments of a payload as they are sent: offset and content."""
Plan: TypeAlias = Callable[[bytes], Layout]


def fragments(talk: Conversation) -> Iterator[Evasion]:
    """Give the ways to send the attack in IP fragments."""
    sample = bytes(range(TCP_HEADER)) + talk.attack[:SIZE]
    for name, plan in PLANS.items():
        yield _evasion(talk, name, plan, ALL, ipv6=False)
        yield _evasion(talk, f"IPv6: {name}", plan, ALL - LINUX_WANTS_ALL_HEADERS.get(name, ALL - ALL), ipv6=True)
    for name, plan in OVERLAPS.items():
        policies = {policy for policy in POLICIES if datagram(policy, plan(sample)) == sample}
        if policies:
            yield _evasion(talk, name, plan, policies, ipv6=False)
        if policies - {"linux"}:
            yield _evasion(talk, f"IPv6: {name}", plan, policies, ipv6=True)
    for name, fault in FAULTS.items():
        steps = [
            Segment(at, talk.attack[at : at + SIZE], cut=_decoyed(fault)) for at in range(0, len(talk.attack), SIZE)
        ]
        yield talk.evasion(FAMILY, f"fragments of junk with {name} before the true ones", steps)
    yield _atomic(talk)
    yield _with_headers(talk)


SIZE = 640
"""Bytes of the attack in one datagram."""


def _evasion(talk: Conversation, name: str, plan: Plan, policies: Iterable[str], *, ipv6: bool) -> Evasion:
    cut, data = in_ipv6(plan) if ipv6 else in_ipv4(plan), talk.attack
    steps = [Segment(at, data[at : at + SIZE], cut=cut) for at in range(0, len(data), SIZE)]
    return talk.evasion(FAMILY, name, steps, policies, ipv6=ipv6)


def in_ipv4(plan: Plan) -> Cut:
    """Return what cuts an IPv4 packet by a plan."""

    def cut(packet: bytes) -> list[bytes]:
        header, payload = packet[:20], packet[20:]
        made = []
        for offset, piece in plan(payload):
            more = packets.MORE_FRAGMENTS if offset + len(piece) < len(payload) else 0
            head = (
                header[:2] + struct.pack(">H", 20 + len(piece)) + header[4:6] + struct.pack(">H", more | offset // UNIT)
            )
            head += header[8:10] + b"\0\0" + header[12:]
            made.append(head[:10] + struct.pack(">H", packets.checksum(head)) + head[12:] + piece)
        return made

    return cut


def in_ipv6(plan: Plan) -> Cut:
    """Return what cuts an IPv6 packet without extension headers by a plan."""

    def cut(packet: bytes) -> list[bytes]:
        header, payload, following = packet[:40], packet[40:], packet[6]
        identification = int.from_bytes(packets.checksum(payload).to_bytes(2, "big") * 2, "big")
        made = []
        for offset, piece in plan(payload):
            more = offset + len(piece) < len(payload)
            body = packets.fragment_header(following, offset, more, identification) + piece
            made.append(header[:4] + struct.pack(">HB", len(body), packets.FRAGMENT) + header[7:] + body)
        return made

    return cut


def even(payload: bytes, size: int) -> Layout:
    """Return fragments of one size, in order."""
    return [(at, payload[at : at + size]) for at in range(0, len(payload), size)]


def _pairs_swapped(payload: bytes) -> Layout:
    parts = even(payload, 24)
    return [each for at in range(0, len(parts), 2) for each in parts[at : at + 2][::-1]]


def _middle_last(payload: bytes) -> Layout:
    parts = even(payload, 24)
    half = len(parts) // 2
    return parts[:half] + parts[half + 1 :] + parts[half : half + 1]


PLANS: dict[str, Plan] = {
    "fragments of 8 bytes": lambda payload: even(payload, 8),
    "fragments of 24 bytes": lambda payload: even(payload, 24),
    "two fragments, the second first": lambda payload: even(payload, (len(payload) // 2 + 7) & ~7)[::-1],
    "fragments in reverse order": lambda payload: even(payload, 24)[::-1],
    "fragments in pairs the wrong way round": _pairs_swapped,
    "the middle fragment last": _middle_last,
    "every fragment twice": lambda payload: [each for each in even(payload, 24) for _ in range(2)],
    "all fragments, and all but the last again first": lambda payload: even(payload, 24)[:-1] + even(payload, 24),
    "a TCP header cut in two": lambda payload: [(0, payload[:8]), (8, payload[8:])],
    "the last fragment has one byte": lambda payload: _tail(payload),
}


def _tail(payload: bytes) -> Layout:
    at = (len(payload) - 1) // UNIT * UNIT
    return [(0, payload[:at]), (at, payload[at:])]


LINUX_WANTS_ALL_HEADERS = {name: frozenset({"linux"}) for name in ("fragments of 8 bytes", "a TCP header cut in two")}
"""In IPv6 the first fragment must hold all headers up to the transport's, whole (RFC 8200 section 4.5)."""


def _shape(begin: int, end: int, junk_first: bool) -> Plan:
    def plan(payload: bytes) -> Layout:
        top = (len(payload) - 2 * MARGIN) // UNIT * UNIT
        old = (HEAD + MARGIN, top)
        new = (old[0] + begin, old[1] + end)
        if old[1] - old[0] < 4 * MARGIN:
            return []
        low, high = max(old[0], new[0]), min(old[1], new[1])
        spoilt = payload[:low] + junk(high - low) + payload[high:]
        versions = (spoilt, payload) if junk_first else (payload, spoilt)
        arrived = [(a, version[a:b]) for version, (a, b) in zip(versions, (old, new), strict=True)]
        first, last = min(old[0], new[0]), max(old[1], new[1])
        return [*arrived, (last, payload[last:]), (0, payload[:first])]

    return plan


def _covered(junk_first: bool) -> Plan:
    def plan(payload: bytes) -> Layout:
        parts = even(payload, 24)
        spoilt = [(at, junk(len(piece))) for at, piece in parts[2:-1]]
        true = parts[2:-1]
        return [*(spoilt if junk_first else true), *(true if junk_first else spoilt), *parts[-1:], *parts[:2]]

    return plan


_SHIFTS = {"before": -MARGIN, "with": 0, "after": MARGIN}
OVERLAPS: dict[str, Plan] = {
    f"fragment that begins {begin} and ends {end} the other, junk {'first' if first else 'last'}": _shape(
        _SHIFTS[begin], _SHIFTS[end], first
    )
    for begin in _SHIFTS
    for end in _SHIFTS
    for first in (True, False)
}
OVERLAPS |= {
    "fragments of junk before the true ones": _covered(True),
    "fragments of junk behind the true ones": _covered(False),
}


Fault: TypeAlias = Callable[[bytes], bytes]
"""Makes of an IPv4 packet, but for its checksum, one that the host does not put together with the others."""


FAULTS: dict[str, Fault] = {
    "a short TTL": lambda packet: packets.resummed(packet[:8] + b"\1" + packet[9:]),
    "a wrong IP checksum": lambda packet: packet[:11] + bytes((packet[11] ^ 1,)) + packet[12:],
    "another protocol": lambda packet: packets.resummed(packet[:9] + bytes((packets.UDP,)) + packet[10:]),
    "another identification": lambda packet: packets.resummed(packet[:4] + bytes((packet[4] ^ 0x80,)) + packet[5:]),
}


def _decoyed(fault: Fault) -> Cut:
    """Return what sends each fragment but the first behind junk in its place, with a fault."""
    cut = in_ipv4(lambda payload: even(payload, 24))

    def both(packet: bytes) -> list[bytes]:
        true = cut(packet)
        spoilt = [fault(each[:20] + junk(len(each) - 20)) for each in true[1:]]
        return [true[0], *(each for pair in zip(spoilt, true[1:], strict=True) for each in pair)]

    return both


def _atomic(talk: Conversation) -> Evasion:
    """Send packets with a fragment header that are whole (RFC 6946)."""
    cut = in_ipv6(lambda payload: [(0, payload)])
    steps = [Segment(at, talk.attack[at : at + 64], cut=cut) for at in range(0, len(talk.attack), 64)]
    return talk.evasion(FAMILY, "IPv6: atomic fragments", steps, ipv6=True)


def _with_headers(talk: Conversation) -> Evasion:
    """Send fragments whose payload begins with destination options, so that the first one has no TCP header."""

    def cut(packet: bytes) -> list[bytes]:
        options = packets.extension(packet[6], bytes((1, 12)) + bytes(12)) * 1
        whole = packet[:4] + struct.pack(">HB", len(packet) - 40 + len(options), packets.DESTINATION) + packet[7:40]
        return in_ipv6(lambda payload: even(payload, 16))(whole + options + packet[40:])

    steps = [Segment(at, talk.attack[at : at + SIZE], cut=cut) for at in range(0, len(talk.attack), SIZE)]
    # RFC 8200 section 4.5: the first fragment must hold all headers up to the transport's; Linux drops what has not.
    return talk.evasion(FAMILY, "IPv6: a first fragment without the TCP header", steps, ALL - {"linux"}, ipv6=True)
