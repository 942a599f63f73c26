"""The same bytes in other segments: cut small, out of order, sent twice, late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ids.testing.evade.conversation import MSS, Conversation, junk, plainly
from ids.testing.evade.packets import resummed
from ids.testing.evade.policies import ALL
from ids.testing.evade.steps import ACK, FIN, PSH, SYN, URG, Await, Evasion, Event, Pause, Segment, Step

FAMILY = "segments"
IDLE = "a test does not wait that long"
MORE_THAN_A_TIMEOUT_S = 700.0
"""Idle time that hosts bear (RFC 9293 has no limit) and trackers often do not."""


def pieces(data: bytes, size: int) -> list[Segment]:
    """Return segments of ``size`` bytes, in order."""
    return [Segment(at, data[at : at + size]) for at in range(0, len(data), size)]


def segments(talk: Conversation) -> Iterator[Evasion]:
    """Give the ways to cut and order segments."""
    data = talk.attack
    for size in (1, 2, 3, 8, 64):
        yield talk.evasion(FAMILY, f"segments of {size} byte{'s' * (size > 1)}", pieces(data, size))
    tiny = pieces(data, 8)
    half = len(tiny) // 2
    orders: dict[str, list[Segment]] = {
        "last segment first": tiny[::-1],
        "odd segments before even ones": tiny[1::2] + tiny[::2],
        "second half before the first": tiny[half:] + tiny[:half],
        "first byte last of all": [*pieces(data, 1)[1:], Segment(0, data[:1])],
        "in pairs the wrong way round": [each for at in range(0, len(tiny), 2) for each in tiny[at : at + 2][::-1]],
    }
    for name, order in orders.items():
        yield talk.evasion(FAMILY, name, order)
    yield talk.evasion(FAMILY, "every segment three times", [each for each in tiny for _ in range(3)])
    growing = [Segment(0, data[:end]) for end in (*range(16, min(len(data), MSS + 1), 16), len(data))]
    yield talk.evasion(FAMILY, "every segment repeats all before it", growing)
    end = Segment(len(data), b"", FIN | ACK)
    yield talk.evasion(FAMILY, "FIN before the data", [end, *tiny])
    yield talk.evasion(FAMILY, "FIN before the last data", [*tiny[:-1], end, tiny[-1]])
    for name, first in (("in the middle of the attack", half * 8), ("behind the first byte", 1)):
        wrapping = (1 << 32) - talk.base - first
        yield talk.evasion(FAMILY, f"sequence numbers wrap {name}", pieces(data, 48), first=wrapping)
    yield talk.evasion(
        FAMILY, "sequence numbers wrap, last segment first", tiny[::-1], first=(1 << 32) - talk.base - half
    )
    yield from _half_seen(talk)
    yield from _delayed(talk)
    yield from _interleaved(talk)
    yield from _urgent(talk)
    for name, odd in ODD.items():
        yield talk.evasion(FAMILY, f"true bytes with {name}", [replace(each, **odd) for each in pieces(data, 48)])
    old = [replace(each, ack=-(1 << 20) if each.at else 0) for each in pieces(data, 16)]
    yield talk.evasion(FAMILY, "true bytes with an acknowledgement of long ago", old, {"linux"}, unchecked=FAST_PATH)


def _half_seen(talk: Conversation) -> Iterator[Evasion]:
    """Look where only a part of the connection comes by."""
    for name, unseen in (
        ("only the client's packets are seen", lambda segment: segment.side == 1),
        ("the server's SYN/ACK is not seen", lambda segment: segment.side == 1 and segment.flags & SYN),
        ("the handshake is not seen", lambda segment: segment.at <= 0 and not segment.data and not segment.flags & FIN),
    ):
        why = "it is about what the inspector sees"
        yield talk.evasion(FAMILY, name, pieces(talk.attack, 48), unseen=unseen, unchecked=why)


def _delayed(talk: Conversation) -> Iterator[Evasion]:
    data, half = talk.attack, len(talk.attack) // 2
    halves = (Segment(0, data[:half]), Segment(half, data[half:]))
    yield talk.evasion(
        FAMILY, "hole filled after the rest was sent again", [halves[1], halves[1], Pause(0.05), halves[1], halves[0]]
    )
    idle: Any = {"unchecked": IDLE}
    pause = Pause(MORE_THAN_A_TIMEOUT_S)
    yield talk.evasion(FAMILY, "long idle before the request", [pause, *plainly(data)], **idle)
    yield talk.evasion(FAMILY, "long idle in the middle of the request", [halves[0], pause, halves[1]], **idle)
    yield talk.evasion(FAMILY, "long idle before a hole is filled", [halves[1], pause, halves[0]], **idle)
    no_ack: tuple[Step, ...] = (Segment(-1, flags=SYN), Await(Event.OPENED))
    yield talk.evasion(FAMILY, "first data completes the handshake", plainly(data), opening=no_ack)
    yield talk.evasion(
        FAMILY, "data in small windows", [Segment(each.at, each.data, window=1) for each in pieces(data, 32)]
    )
    bare = [Segment(each.at, each.data, ACK) for each in pieces(data, 32)]
    yield talk.evasion(FAMILY, "no segment is pushed", bare)
    probes = [part for each in pieces(data, 32) for part in (each, Segment(each.at + len(each.data) - 1, junk(1), ACK))]
    yield talk.evasion(FAMILY, "keep-alives with a byte of garbage", probes)
    before = [
        part
        for each in pieces(data, 32)
        for part in (Await(Event.TAKEN, each.at), Segment(each.at - 1, b"", ACK), each)
    ]
    yield talk.evasion(FAMILY, "keep-alives without a byte", before)


def _interleaved(talk: Conversation) -> Iterator[Evasion]:
    """Send the same twice at once, so that pieces of one connection may be taken for the other's."""
    data = talk.attack
    other = [Segment(each.at, junk(len(each.data)), connection=1) for each in pieces(data, 16)]
    opened = [
        step for connection in (0, 1) for step in (
            Segment(-1, flags=SYN, connection=connection), Await(Event.OPENED, connection=connection),
            Segment(0, flags=ACK, connection=connection),
        )
    ]  # fmt: skip
    mixed = [each for pair in zip(pieces(data, 16), other, strict=True) for each in pair]
    if not talk.base:
        yield talk.evasion(FAMILY, "interleaved with another connection", mixed, opening=opened)


def _urgent(talk: Conversation) -> Iterator[Evasion]:
    """Add urgent bytes, which hosts take out of the stream unless asked not to (RFC 6093 section 2)."""
    data, half = talk.attack, len(talk.attack) // 2
    hidden = data[:half] + junk(1) + data[half:]
    urgent = PSH | ACK | URG
    first, second = Segment(0, hidden[: half + 1], urgent, urgent=half + 1), Segment(half + 1, hidden[half + 1 :])
    yield talk.evasion(FAMILY, "urgent byte of junk at the end of a segment", [first, second], size=len(hidden))
    whole = [Segment(0, hidden, urgent, urgent=half + 1)]
    yield talk.evasion(FAMILY, "urgent byte of junk in the middle of a segment", whole, size=len(hidden))
    flagged = [Segment(each.at, each.data, urgent, urgent=0x8000) for each in pieces(data, 16)]
    yield talk.evasion(FAMILY, "urgent pointer far beyond the data", flagged, ALL)
    unflagged = [Segment(each.at, each.data, urgent=5) for each in pieces(data, 16)]
    yield talk.evasion(FAMILY, "urgent pointer without the flag", unflagged)


FAST_PATH = "Linux looks at the acknowledgement where the rest of the segment is news, which depends on the moment"
ODD: dict[str, dict[str, Any]] = {
    "a SYN's options": {"options": bytes((2, 4, 5, 0xB4, 3, 3, 7, 4, 2))},
    "an unknown TCP option": {"options": bytes((254, 6, 1, 2, 3, 4))},
    "a TCP option shorter than its own header": {"options": bytes((254, 1, 1, 1))},
    "a TCP option that reaches beyond the header": {"options": bytes((254, 40, 1, 1))},
    "forty bytes of TCP options": {"options": b"\1" * 40},
    "congestion flags": {"flags": PSH | ACK | 0xC0},
    "no window": {"window": 0},
    "IP options that do nothing": {"ip_options": b"\1" * 8},
    "an IP option that records the route": {"ip_options": bytes((7, 39, 4)) + bytes(36)},
    "an unknown IP option": {"ip_options": bytes((0x5E, 4, 0, 0))},
    "the reserved IP flag": {"mangle": lambda packet: resummed(packet[:6] + bytes((packet[6] | 0x80,)) + packet[7:])},
    "a frame that goes on behind the packet": {"trailer": junk(48)},
    "the largest TTL": {"ttl": 255},
    "the smallest TTL that arrives": {"ttl": 2},
}
"""What looks wrong with a segment and is not, in the terms of `Segment`: hosts take it."""
