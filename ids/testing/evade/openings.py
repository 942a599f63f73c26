"""Connections that begin in odd ways: data on the SYN, several SYNs, both sides at once, the same ports again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ids.testing.evade.conversation import OPENING, Conversation, junk, plainly
from ids.testing.evade.policies import ALL
from ids.testing.evade.steps import ACK, FIN, PSH, RST, SYN, Await, Evasion, Event, Pause, Segment, Step

FAMILY = "openings"
FAR = 0x10000000
WITHOUT_DATA_ON_SYN = frozenset({"linux", "windows", "vista", "bsd", "bsd-right"})
"""Others may keep it until the handshake is complete (RFC 9293 section 3.4)."""


def openings(talk: Conversation) -> Iterator[Evasion]:
    """Give the odd ways to open a connection."""
    data = talk.attack
    first, opened, last = OPENING
    plain = list(plainly(data))

    def odd(
        name: str, opening: list[Step], steps: list[Step] | None = None, policies: Iterable[str] = ALL, **more: Any
    ) -> Evasion:
        return talk.evasion(FAMILY, name, plain if steps is None else steps, policies, opening=opening, **more)

    yield odd(
        "junk on the SYN, which hosts without Fast Open leave out",
        [Segment(-1, junk(len(data)), SYN), opened, last],
        policies=WITHOUT_DATA_ON_SYN,
    )
    yield odd(
        "two SYNs, the second of another connection",
        [first, Segment(-1 + FAR, flags=SYN), opened, last],
    )
    yield odd("SYN sent twice", [first, first, opened, last])
    yield odd("SYN with a wrong checksum before", [Segment(-1 + 777, flags=SYN, damage=1), first, opened, last])
    yield odd("SYN with a short TTL before", [Segment(-1 + 777, flags=SYN, ttl=1), first, opened, last])
    yield odd("RST with a wrong sequence number in the handshake", [first, opened, Segment(100_000, flags=RST), last])
    yield odd("RST with a wrong checksum in the handshake", [first, opened, Segment(0, flags=RST, damage=1), last])
    yield odd("ACK with a wrong number before the right one",
              [first, opened, Segment(0, flags=ACK, ack=77), last], policies={"linux"})  # fmt: skip
    yield odd("junk before the SYN", [Segment(0, junk(40)), first, opened, last])
    yield odd(
        "FIN on the segment with all data",
        [first, opened, last],
        [Segment(0, data, PSH | ACK | FIN)],
        size=len(data) + 1,
    )
    yield from _fast_open(talk)
    if not talk.base:
        yield from _again(talk)
        yield from _both_at_once(talk)


def _fast_open(talk: Conversation) -> Iterator[Evasion]:
    """Send data on the SYN with a cookie of an earlier connection (RFC 7413)."""
    data = talk.attack
    ask = Segment(-1, flags=SYN, cookie=True)
    got: list[Step] = [ask, Await(Event.OPENED), Segment(0, flags=RST)]
    for name, early in (("the request", len(data)), ("half of the request", len(data) // 2)):
        if talk.base:
            break
        opening: list[Step] = [
            *got, Segment(-1, data[:early], SYN, connection=1, cookie=True), Await(Event.OPENED, early, 1),
            Segment(early, flags=ACK, connection=1),
        ]  # fmt: skip
        rest = [Segment(early, data[early:], connection=1)] if data[early:] else []
        steps = (*opening, *rest, *talk.ending(len(data), 1))
        yield Evasion(f"TCP Fast Open: {name} on the SYN", FAMILY, steps, frozenset({"linux", "macos", "vista"}))


def _again(talk: Conversation) -> Iterator[Evasion]:
    """Use the ports of an earlier connection again."""
    data = talk.attack
    second: list[Step] = [
        Segment(-1, flags=SYN, connection=1), Await(Event.OPENED, 0, 1), Segment(0, flags=ACK, connection=1),
        *plainly(data, connection=1), *talk.ending(len(data), 1),
    ]  # fmt: skip
    for name, first in (
        ("a reset connection", [*OPENING, Segment(0, junk(30)), Await(Event.TAKEN, 30), Segment(30, flags=RST | ACK)]),
        ("a connection that was reset before any data", [*OPENING, Segment(0, flags=RST | ACK)]),
        ("a refused handshake", [OPENING[0], OPENING[1], Segment(0, flags=RST)]),
        (
            "a closed connection",
            [*OPENING, Segment(0, flags=FIN | ACK), Await(Event.CLOSED, 1), Pause(0.02)],
        ),
    ):
        steps = (*first, *second)
        yield Evasion(f"the ports of {name} again", FAMILY, steps, ALL, same_ports=True)


def _both_at_once(talk: Conversation) -> Iterator[Evasion]:
    """Open with a SYN of each side: what an attacker's own server can do to a client that it wants to deceive."""
    data = talk.attack
    reason = "the server has to take part"
    syn, theirs = Segment(-1, flags=SYN), Segment(-1, flags=SYN, side=1)
    answer, acks = Segment(-1, flags=SYN | ACK), Segment(0, flags=ACK, side=1)
    for name, opening in (
        ("simultaneous open", (syn, theirs, answer, Await(Event.OPENED))),
        ("split handshake in four steps", (syn, Segment(-1, flags=ACK, side=1), theirs, answer, acks)),
        ("split handshake in three steps", (syn, theirs, answer, acks)),
    ):
        steps = (*opening, *plainly(data), *talk.ending(len(data)))
        yield Evasion(name, FAMILY, steps, ALL, unchecked=reason)
