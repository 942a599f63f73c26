"""Put the bytes of one TCP direction in order, once, within bounds.

THEORY. A direction is a sequence of bytes numbered from 0, the first one after the SYN. Each sequence number is turned
into such an offset on arrival, by its signed 32-bit distance from the next expected one (RFC 9293 section 3.4), and
everything here counts in offsets, which do not wrap.

(1) Bytes that continue the stream are delivered at once, acknowledged or not: an attack must be stopped before it
    arrives.
(2) Bytes ahead of the stream are held back, and the hole before them is waited for.
(3) The first copy of bytes that were in order counts; of two copies that wait behind a hole, the one that the receiver
    prefers (`ids.flow.policies`). Another copy with the same content is a retransmission; one with other content is a
    conflict: it is counted, marked and noted, and the connection gets a variant that reads it (`ids.flow.versions`).
    As any copy may be the one that arrived, contested bytes are kept until the turn is over (`ids.flow.doubts`).
(4) A copy of bytes that the receiver had acknowledged is not compared: no host takes bytes back.
(5) A hole is given up when the receiver acknowledges past it (it got what we did not), or when the flow ends. What
    follows is delivered with ``gap``; bytes are never made up. What arrives for it after that is inspected in a
    variant: the acknowledgement may have been forged. What would exceed a limit while the hole is open is let go, that
    which is furthest ahead first, as hosts do: they will ask for it again. Where the receiver is not seen, the hole
    gives way instead.
(6) An acknowledgement of bytes that nobody has seen gives nothing up; but where the stream goes on far out of the
    window, close to such an acknowledgement, we lost more than a window of packets, and catch up.
(7) A FIN is a claim until the receiver acknowledges it: then the direction is closed. Bytes past an unacknowledged FIN
    show that it never arrived; they are delivered, as a conflict.
(8) Beyond the depth nothing is delivered or kept, only counted. It begins anew when the other side has spoken.
(9) A direction ends with exactly one chunk that has ``closed`` set, after which there is none.
(10) A segment that hosts ignore (`ids.flow.acceptance`) is put aside. It is delivered when the receiver acknowledges
    its bytes, or was seen to have sent what it acknowledges, and we have no others.
(11) Delivered bytes are kept until they are acknowledged, and `CONTEXT_BYTES` of them for longer, from the turn before
    the present one on: a variant begins with these, so that what is said in it can be understood.

COST. O(bytes + segments log segments): a segment is placed by bisection, a byte is compared at most once per copy that
was sent, and moved at most twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ids.counters import Counters
from ids.flow.notes import Notes
from ids.flow.policies import Targets
from ids.flow.segment import Arrival
from ids.flow.settings import StreamSettings

MODULUS = 0xFFFFFFFF
HALF = 1 << 31
CONTEXT_BYTES = 16 * 1024
"""Delivered and acknowledged bytes that are kept: the largest head of a request that common servers take."""


def distance(to: int, of: int) -> int:
    """Return the signed distance between two 32-bit sequence numbers: how far ``to`` is ahead of ``of``."""
    return ((to - of + HALF) & MODULUS) - HALF


class Chunk(NamedTuple):
    """A row of `ids.types.Streams` in the making."""

    row: int
    """Row in the batch of the packet that completed it: chunks are ordered by that."""
    slot: int
    direction: int
    offset: int
    data: bytes
    ts_ns: int
    number: int
    gap: int
    conflict: bool
    closed: bool


class Contest(Protocol):
    """The variants of a connection that is read in several ways; they may have to go for others."""

    def end(self, shared: Reassembly, at: Arrival) -> None:
        """End all of them."""


class Reassembly:
    """What all directions share: limits, counters, the memory in use, and the chunks made so far."""

    def __init__(self, settings: StreamSettings, counters: Counters) -> None:
        self.depth = settings.depth_bytes
        self.window = settings.window_bytes
        self.max_segments = settings.max_segments
        self.midstream = settings.midstream is True
        self.one_armed = settings.one_armed
        self.memcap = settings.memcap_bytes
        self.verify = settings.verify_bytes
        self.counters = counters
        self.versions = settings.versions
        self.targets = Targets(settings.policy, settings.policies)
        self.used = 0
        """Bytes held back or kept for comparison, over all flows."""
        self.chunks: list[Chunk] = []
        self.notes = Notes(counters)
        self.parsers = False
        """A stage behind this one parses protocols: what clients say in these has no depth."""
        self.inline = False
        """No packet can have been lost on its way here: what is dropped does not reach its host."""
        self.forks = self.batch = 0
        """Variants begun in this batch, and its number."""
        self.contested: OrderedDict[int, Contest] = OrderedDict()
        """Connections with variants by slot, that with the latest conflict last."""
        self.open_variant: Callable[[int], int] = lambda slot: -1
        """Makes a slot for a variant of the flow in a slot; -1: there is no room for it."""
        self.close_variant: Callable[[int], None] = lambda slot: None

    def take_chunks(self) -> list[Chunk]:
        """Return the chunks since the last call, as they were made."""
        chunks, self.chunks, self.forks = self.chunks, [], 0
        self.batch += 1
        return chunks

    def give_up_versions(self, but: Contest, at: Arrival) -> bool:
        """End the variants of the connection that has them for longest; return whether there is one ``but`` this."""
        for versions in self.contested.values():
            if versions is not but:
                self.counters.add("flow.tcp.versions.evicted")
                versions.end(self, at)
                return True
        return False

    def emit(
        self,
        at: Arrival,
        slot: int,
        direction: int,
        offset: int,
        data: bytes,
        gap: int = 0,
        conflict: bool = False,
        closed: bool = False,
    ) -> Chunk:
        """Make a chunk, and return it."""
        row, ts_ns, number = at
        chunk = Chunk(row, slot, direction, offset, data, ts_ns, number, gap, conflict, closed)
        self.chunks.append(chunk)
        return chunk

    def count(self, name: str, amount: int = 1) -> None:
        """Count ``amount`` of ``flow.tcp.reassembly.<name>``."""
        self.counters.add(f"flow.tcp.reassembly.{name}", amount)
