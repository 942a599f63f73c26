"""Packets in the server's name: the client's network is where they come from, and nobody but an inspector takes them.

The server never sees them, so its view is unchanged whatever its policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ids.testing.evade.conversation import OPENING, Conversation, junk
from ids.testing.evade.policies import ALL
from ids.testing.evade.segments import pieces
from ids.testing.evade.steps import ACK, FIN, PSH, RST, SYN, Evasion, Segment, Step

FAMILY = "forgeries"
ELSEWHERE = 0x00F00000
"""How far a forged sequence number is from the server's."""


def forgeries(talk: Conversation) -> Iterator[Evasion]:
    """Give the evasions with packets in the server's name."""
    data, half = talk.attack, len(talk.attack) // 2
    halves = [Segment(0, data[:half]), Segment(half, data[half:])]
    plain = pieces(data, 48)
    for name, steps in (
        ("an acknowledgement of what the client sends next", [_server(ack=len(data)), *plain]),
        ("an acknowledgement past a hole that is filled then", [halves[1], _server(ack=len(data)), halves[0]]),
        ("an acknowledgement far ahead", [_server(ack=1 << 20), *plain]),
        ("an acknowledgement of junk far ahead", [Segment(1 << 21, junk(40)), _server(ack=(1 << 21) + 40), *plain]),
        ("a RST", [_server(flags=RST | ACK), *plain]),
        ("a RST in the middle", [halves[0], _server(flags=RST | ACK, ack=half), halves[1]]),
        ("a RST somewhere in the window", [_server(1000, flags=RST | ACK), *plain]),
        ("a FIN", [_server(flags=FIN | ACK), *plain]),
        ("a FIN that is acknowledged", [_server(flags=FIN | ACK), Segment(0, b"", ACK, ack=1), *plain]),
        ("data", [_server(data=b"220 mail.example.org ESMTP ready\r\n", flags=PSH | ACK), *plain]),
        ("an answer in another protocol", [_server(data=b"SSH-2.0-OpenSSH_9.6\r\n", flags=PSH | ACK), *plain]),
        ("a window of zero", [_server(window=0), *plain]),
    ):
        yield _evasion(talk, name, steps)
    yield from _in_the_handshake(talk, plain)


def _evasion(talk: Conversation, name: str, steps: Sequence[Step], **more: Any) -> Evasion:
    return talk.evasion(FAMILY, f"forged: {name}", steps, ALL, **more)


def _server(at: int = 0, data: bytes = b"", flags: int = ACK, ack: int = 0, window: int = 64240) -> Segment:
    return Segment(at, data, flags, side=1, forged=True, ack=ack, window=window)


def _in_the_handshake(talk: Conversation, plain: Sequence[Step]) -> Iterator[Evasion]:
    """Forge the server's part of the handshake: an inspector that believes it waits for other numbers."""
    if talk.before:
        return
    syn, opened, ack = OPENING
    another = _server(ELSEWHERE - 1, flags=SYN | ACK)
    for name, opening in (
        ("a SYN/ACK behind the true one", [syn, opened, another, ack]),
        ("a SYN/ACK behind the handshake", [syn, opened, ack, another]),
        ("a RST behind the SYN", [syn, opened, _server(flags=RST | ACK), ack]),
        ("a SYN of the server's", [syn, opened, _server(ELSEWHERE - 1, flags=SYN), ack]),
    ):
        yield _evasion(talk, name, plain, opening=opening)
