"""Packets that a host ignores, and an inspector may not: junk in the place of the attack, or an end that is none.

Each decoy goes ahead of the true bytes, at their very place in the stream, so that whoever takes it in takes the true
ones for a retransmission.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ids.testing.evade.conversation import OPENING, Conversation, junk, plainly
from ids.testing.evade.packets import resummed
from ids.testing.evade.policies import ALL
from ids.testing.evade.request import parse
from ids.testing.evade.segments import IDLE, pieces
from ids.testing.evade.steps import ACK, FIN, PSH, RST, SYN, Await, Evasion, Event, Pause, Segment, Step

FAMILY = "decoys"
FAR = 0x10000000
NOBODY = bytes.fromhex("00005e0053ff")
LONGER_THAN_A_CLOSED_FLOW_S = 65.0
OLD = 1 << 20
"""Further back than any window that was ever offered."""
MD5 = bytes((19, 18)) + bytes(range(16))
"""An option of segments that only hosts with a key take (RFC 2385)."""
UNKNOWN_DISCARD = bytes((0x5E, 2, 0, 0))
UNKNOWN_REPORT = bytes((0x9E, 2, 0, 0))
"""IPv6 options that nobody knows, whose first bits say what to do then: discard the packet (RFC 8200 section 4.2)."""
WITHOUT_MD5 = ALL - {"windows", "vista", "hpux", "irix", "macos"}

JUNK: dict[str, dict[str, Any]] = {
    "a wrong TCP checksum": {"damage": 1},
    "a TCP checksum far from the right one": {"damage": 0x7777},
    "a wrong IP checksum": {"ip_damage": 1},
    "a TTL that ends before the host": {"ttl": 1},
    "no ACK flag": {"flags": PSH},
    "no flag at all": {"flags": 0},
    "only FIN, without ACK": {"flags": FIN},
    "an acknowledgement of what was never sent": {"ack": FAR},
    "an acknowledgement far ahead by a window": {"ack": 0x20000},
    # Linux looks at an old acknowledgement only where something else of the segment is news, such as its window.
    "an acknowledgement too old for any window": {"ack": -OLD, "window": 1000},
    "a header of four words": {"words": 4},
    "a header longer than the segment": {"words": 15, "data_bytes": 8},
    "SYN within the connection": {"flags": SYN},
    "SYN and ACK within the connection": {"flags": SYN | ACK},
    "SYN and FIN at once": {"flags": SYN | FIN},
    "SYN and RST at once, out of the window": {"flags": SYN | RST, "shift": FAR},
    "another host's MAC address": {"mac": NOBODY},
    "the broadcast MAC address": {"mac": b"\xff" * 6},
    "a multicast MAC address": {"mac": bytes.fromhex("01005e000001")},
    "an IP packet longer than its frame": {"mangle": lambda packet: resummed(packet[:2] + b"\x05\x00" + packet[4:])},
    "an IP header of four words": {"mangle": lambda packet: resummed(b"\x44" + packet[1:])},
    "an IP version that is none": {"mangle": lambda packet: resummed(b"\x55" + packet[1:])},
    "a TTL of zero": {"ttl": 0},
    "a bad IP option": {"ip_options": bytes((7, 39, 4, 0))},
    "an IP option shorter than its own header": {"ip_options": bytes((0x44, 1, 5, 0))},
    "an IP option that reaches beyond the header": {"ip_options": bytes((7, 200, 4, 0))},
}
"""What makes a host ignore a segment, in the terms of `Segment`; ``data_bytes`` cuts its data, ``shift`` moves it."""

ENDS: dict[str, dict[str, Any]] = {
    "RST far out of the window": {"flags": RST | ACK, "shift": FAR},
    "RST behind the window": {"flags": RST | ACK, "shift": -1000},
    "RST within the window, not at its edge": {"flags": RST | ACK, "shift": 100},
    "RST with a wrong checksum": {"flags": RST | ACK, "damage": 1},
    "RST next to the edge, with an acknowledgement of what was never sent": {
        "flags": RST | ACK,
        "shift": 1,
        "ack": FAR,
    },
    "RST with another host's MAC address": {"flags": RST | ACK, "mac": NOBODY},
    "RST with a short TTL": {"flags": RST | ACK, "ttl": 1},
    "RST with a bad IP option": {"flags": RST, "ip_options": bytes((7, 200, 4, 0))},
    "RST with an MD5 signature": {"flags": RST | ACK, "options": MD5},
    "FIN early, behind a hole that more data fills": {"flags": FIN | ACK, "shift": 8},
    "FIN with a wrong checksum": {"flags": FIN | ACK, "damage": 1},
    "FIN with a short TTL": {"flags": FIN | ACK, "ttl": 1},
    "FIN without ACK": {"flags": FIN},
    "FIN out of the window": {"flags": FIN | ACK, "shift": FAR},
    "FIN with an acknowledgement of what was never sent": {"flags": FIN | ACK, "ack": FAR},
    "bare SYN within the connection": {"flags": SYN, "shift": FAR},
    "bare SYN at the next sequence number": {"flags": SYN},
}
"""What only seems to end the connection, or to begin another; without data."""
NOT_EVERYWHERE = {
    "RST within the window, not at its edge": ("linux", "vista", "macos"),  # RFC 5961 section 3.2
    "RST next to the edge, with an acknowledgement of what was never sent": ("linux", "vista", "macos"),
    "bare SYN within the connection": ("linux", "vista", "macos", "windows", "bsd", "bsd-right", "first", "last"),
    "bare SYN at the next sequence number": ("linux", "vista", "macos"),  # RFC 5961 section 4.2
    "SYN within the connection": ("linux", "vista", "macos"),
    "SYN and ACK within the connection": ("linux", "vista", "macos"),
    "SYN and FIN at once": ("linux", "vista", "macos"),
    "RST with an MD5 signature": WITHOUT_MD5,
}


def decoys(talk: Conversation) -> Iterator[Evasion]:
    """Give the evasions with packets that a host ignores."""
    for name, wrong in JUNK.items():
        yield talk.evasion(FAMILY, f"junk with {name}", _ahead(talk, wrong), NOT_EVERYWHERE.get(name, ALL))
    for name, wrong in ENDS.items():
        yield talk.evasion(FAMILY, name, _ended(talk, wrong), NOT_EVERYWHERE.get(name, ALL))
    yield talk.evasion(FAMILY, "junk with an MD5 signature", _ahead(talk, {"options": MD5}), WITHOUT_MD5)
    slow = (*_ended(talk, ENDS["RST with a short TTL"]),)
    waited = [*slow[:-1], Pause(LONGER_THAN_A_CLOSED_FLOW_S), slow[-1]]
    yield talk.evasion(FAMILY, "long idle after a RST with a short TTL", waited, unchecked=IDLE)
    yield from _aged(talk)
    yield from _out_of_window(talk)
    yield from _beyond_the_window(talk)
    yield from _over_ipv6(talk)


def _ahead(talk: Conversation, wrong: dict[str, Any]) -> Iterator[Step]:
    """Give the attack in pieces, each behind junk with a fault."""
    fault = dict(wrong)
    size, shift = fault.pop("data_bytes", None), fault.pop("shift", 0)
    for each in pieces(talk.attack, 48):
        yield replace(each, at=each.at + shift, data=junk(len(each.data))[:size], **fault)
        yield each


def _ended(talk: Conversation, wrong: dict[str, Any]) -> Iterator[Step]:
    """Give the attack in two pieces with an end between them that is none, and before them as well."""
    fault, half = dict(wrong), len(talk.attack) // 2
    shift = fault.pop("shift", 0)
    yield Segment(shift, b"", **fault)
    yield Segment(0, talk.attack[:half])
    yield Await(Event.TAKEN, half)
    yield Segment(half + shift, b"", **fault)
    yield Segment(half, talk.attack[half:])


def _aged(talk: Conversation) -> Iterator[Evasion]:
    """Send junk with timestamps of long ago, which hosts drop (PAWS, RFC 7323 section 5)."""
    more: dict[str, Any] = {"timestamps": True}
    yield talk.evasion(FAMILY, "junk with an old timestamp", _ahead(talk, {"age": 50_000}), **more)
    yield talk.evasion(FAMILY, "junk with a timestamp far in the past", _ahead(talk, {"age": 1 << 30}), **more)
    yield talk.evasion(FAMILY, "FIN with an old timestamp", _ended(talk, {"flags": FIN | ACK, "age": 50_000}), **more)


def _out_of_window(talk: Conversation) -> Iterator[Evasion]:
    """Send junk around the window, close enough for a tracker that keeps too much or gives up too early."""
    data = talk.attack
    for name, shift in (
        ("far ahead of the window", FAR), ("a megabyte ahead of the window", OLD), ("just behind the window", -1000),
        ("far behind the window", -FAR),
    ):  # fmt: skip
        steps = _ahead(talk, {"shift": shift})
        yield talk.evasion(FAMILY, f"junk {name}", steps)
    flood = [Segment(each, b"z", PSH | ACK, damage=1) for each in range(64)]
    yield talk.evasion(FAMILY, "many single bytes of junk with wrong checksums", [*flood, Segment(0, data)])
    held: Iterable[Step] = [Segment(len(data) + 2 * each, b"z") for each in range(1, 40)]
    yield talk.evasion(FAMILY, "junk waits behind holes that are never filled", [*held, *pieces(data, 16)])


def _beyond_the_window(talk: Conversation) -> Iterator[Evasion]:
    """Send junk for the attack's place before the window has come there: the host drops it.

    Without window scaling no host offers more than 65,535 bytes.
    """
    filler, http = benign(talk, 2 * 65_536)
    data, at = talk.attack, len(filler)
    policies = ALL | ({"nginx", "lenient"} if http else set())
    steps = [Segment(at, junk(len(data))), *plainly(filler), *plainly(data, at)]
    yield talk.evasion(
        FAMILY, "junk for a place that the window reaches later", steps, policies, size=at + len(data), http=http
    )


def benign(talk: Conversation, size: int) -> tuple[bytes, bool]:
    """Return bytes that may stand before the attack on the same connection, and whether they are an HTTP request."""
    if parse(talk.attack) is None:
        return b"benign line\n" * (size // 12), False
    head = b"POST /upload HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: %d\r\n\r\n"
    return head % size + b"benign! " * (size // 8), True


def _over_ipv6(talk: Conversation) -> Iterator[Evasion]:
    """Send junk that IPv6 hosts discard for what stands before the segment (RFC 8200 section 4)."""
    more: dict[str, Any] = {"ipv6": True}
    headers: dict[str, tuple[tuple[int, bytes], ...]] = {
        "an unknown destination option to be discarded": ((60, UNKNOWN_DISCARD),),
        "an unknown destination option to be reported": ((60, UNKNOWN_REPORT),),
        "an unknown hop-by-hop option to be discarded": ((0, UNKNOWN_DISCARD),),
        "hop-by-hop options in the second place": ((60, b""), (0, b"")),
        "a routing header of type 0": ((43, bytes((0, 1, 0, 0, 0, 0)) + bytes(16)),),
        "an unknown routing header": ((43, bytes((200, 1, 0, 0, 0, 0)) + bytes(16)),),
        "a jumbo payload option": ((0, bytes((0xC2, 4, 0, 0, 0, 100))),),
    }
    yield talk.evasion(
        FAMILY, "IPv6: junk with a hop limit that ends before the host", _ahead(talk, {"ttl": 1}), **more
    )
    for name, extensions in headers.items():
        yield talk.evasion(FAMILY, f"IPv6: junk behind {name}", _ahead(talk, {"extensions": extensions}), **more)
    ends = _ended(talk, {"flags": RST | ACK, "extensions": headers["an unknown destination option to be discarded"]})
    yield talk.evasion(FAMILY, "IPv6: RST behind an unknown destination option", ends, **more)
    fine: dict[str, tuple[tuple[int, bytes], ...]] = {
        "behind hop-by-hop options": ((0, b""),),
        "behind destination options": ((60, b""),),
        "behind many destination options": ((60, b""),) * 6,
        "behind an unknown option to be skipped": ((60, bytes((0x1E, 2, 0, 0))),),
    }
    for name, extensions in fine.items():
        steps = [replace(each, extensions=extensions) for each in pieces(talk.attack, 64)]
        yield talk.evasion(FAMILY, f"IPv6: {name}", steps, opening=OPENING, **more)
