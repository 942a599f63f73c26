"""Clients that begin with a message their server cannot read, and go on with one that it does.

Protocols with a length before each message survive that: the server answers with an error, and reads the next one. So
no first bytes show what the flow is. At the ports of such a protocol the messages of a client are walked by their
lengths, until one begins as the protocol's do.

COST. A step for each message, and a flow keeps no more than the bytes by which a message is recognised.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Walked:
    """How the messages of a protocol are walked."""

    ports: frozenset[int]
    """TCP ports of its servers."""
    size_of: Callable[[bytes], int]
    """Returns the length of the message that begins so, with what stands before it; 0: more bytes are needed, -1: no
    server takes it, and goes on."""
    begins: re.Pattern[bytes]
    """How a message of a client begins."""
    head: int
    """Bytes by which that shows."""


class Walk:
    """A walk over what one client says, from its first byte on."""

    __slots__ = ("_head", "_left", "_of")

    def __init__(self, of: Walked) -> None:
        self._of = of
        self._head = b""
        """The beginning of a message, while it shows nothing."""
        self._left = 0
        """Bytes of a message that are passed over."""

    def on(self, data: bytes) -> bytes | None:
        """Take the next bytes. Return what the client says from the first message of the protocol on, empty while
        there is none; None where nothing is to be expected any more.
        """
        at, of = 0, self._of
        while at < len(data):
            passed = min(self._left, len(data) - at)
            self._left -= passed
            at += passed
            head = self._head + data[at : at + of.head - len(self._head)]
            if of.begins.match(head) is not None:
                return head + data[at + len(head) - len(self._head) :]
            size = of.size_of(head)
            if size < 0 or (not size and len(head) >= of.head):
                return None
            if not size or len(head) < min(size, of.head):
                self._head = head
                return b""
            at += min(size, len(head)) - len(self._head)
            self._left, self._head = max(size - len(head), 0), b""
        return b""
