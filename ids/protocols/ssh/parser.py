"""One SSH connection: banners and offers of both sides, until the rest is encrypted. It is one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ids.later import late_pattern
from ids.protocols.framing import Frames, Lines
from ids.protocols.protocol import ODDITY
from ids.protocols.shared import Shared
from ids.protocols.spelling import text
from ids.protocols.ssh.exchange import KEXINIT, NEWKEYS, Malformed, Offer, read_offer
from ids.protocols.ssh.settings import SshSettings
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

LONGEST_BANNER = 255
"""Bytes of a banner, its end included (RFC 4253 section 4.2)."""
_BANNER = late_pattern(rb"SSH-([^-]*)-?([^ \r]*)", re.DOTALL)
_HEAD = 6
"""Bytes of a packet up to its type: its length, the length of the padding, the type."""
_LEAST_LENGTH = 2
_MOST_LENGTH = 256 * 1024
"""The least and the most that a packet says of its length; OpenSSH reads no longer ones."""


class Side:
    """What one side has said, and what is in the middle of it."""

    __slots__ = (
        "banner", "done", "frames", "lines", "malformed", "odd", "offer", "offered", "passed", "proto", "secret",
        "software",
    )  # fmt: skip

    def __init__(self, shared: Shared[SshSettings]) -> None:
        self.lines = Lines(shared.pool, shared.settings.banner_bytes)
        self.frames = Frames(shared.pool, self._length_of, shared.settings.packet_bytes)
        self.passed = 0
        """Lines before the banner."""
        self.banner = False
        self.proto = self.software = b""
        self.offer: Offer | None = None
        self.offered = False
        """It has offered, also where the offer is kept no more."""
        self.secret = False
        """What follows is encrypted."""
        self.done = False
        """Nothing more is read."""
        self.malformed = False
        """No packet begins where one should."""
        self.odd: list[bytes] = []

    def _length_of(self, data: bytes | bytearray, at: int) -> int:
        """Return how many bytes a packet takes (RFC 4253 section 6), as `ids.protocols.framing.LengthOf`."""
        if len(data) < at + 4:
            return 0
        length = int.from_bytes(data[at : at + 4], "big")
        if not _LEAST_LENGTH <= length <= _MOST_LENGTH:
            self.malformed = True
            return -1
        return 4 + length

    def finish(self) -> None:
        """Read no more."""
        self.done = True
        self.lines.release()
        self.frames.release()


class SshConnection:
    """Both directions of a flow; a `StreamParser`."""

    __slots__ = ("_held", "_logged", "_shared", "_sides", "_slot", "_tx_id")

    def __init__(self, shared: Shared[SshSettings], slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._tx_id = tx_id
        self._sides = Side(shared), Side(shared)
        self._held = 0
        """Bytes of offers that are kept."""
        self._logged = False

    @property
    def settled(self) -> bool:
        """Whether both sides have said in SSH that the rest is encrypted: it need not be seen."""
        return all(side.secret for side in self._sides)

    def feed(self, stretch: Stretch, out: list[Transaction]) -> None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, ts_ns, number, gap, closed = stretch
        side = self._sides[direction]
        if not side.done:
            at = ts_ns, number
            if gap:
                self._shared.counters.add("ssh.gap")
            if not side.banner:
                data = self._greeting(direction, data, gap, closed, at, out)
            elif gap:
                side.finish()
            if side.banner and not side.done:
                self._packets(direction, data, at, out)
            self._complain(direction, (ts_ns, number, 0), out)
        if closed:
            side.finish()
        if not self._logged and all(each.done for each in self._sides):
            self._log(direction, (ts_ns, number, 0), out)

    def release(self) -> None:
        """Give back the memory of a connection that is parsed no more."""
        for side in self._sides:
            side.finish()
            side.offer = None
        self._shared.pool.give(self._held)
        self._held = 0

    # Banners.

    def _greeting(
        self, direction: Direction, data: bytes, gap: int, closed: bool, at: tuple[int, int], out: list[Transaction]
    ) -> bytes:
        """Read lines up to the banner; return what is behind it."""
        side, settings = self._sides[direction], self._shared.settings
        for line in side.lines.feed(data, gap, closed):
            found = _BANNER.match(line.data)
            if found is not None:
                self._greet(direction, found, line.data, (*at, line.behind), out)
                if not line.whole:
                    side.finish()
                return data[len(data) - line.behind :]
            side.odd.append(b"ssh.invalid_banner")
            side.passed += 1
            if side.passed >= settings.banner_lines:
                self._shared.counters.add("ssh.no_banner")
                side.finish()
                break
        return b""

    def _greet(
        self,
        direction: Direction,
        found: re.Match[bytes],
        line: bytes,
        at: tuple[int, int, int],
        out: list[Transaction],
    ) -> None:
        side = self._sides[direction]
        side.banner = True
        side.proto, side.software = found[1][:LONGEST_BANNER], found[2][:LONGEST_BANNER]
        if len(line) + 2 > LONGEST_BANNER:
            side.odd.append(b"ssh.long_banner")
        if side.proto.startswith(b"1.") and side.proto != b"1.99":
            side.secret = True  # the packets of version 1 are others
            side.finish()
        self._report(direction, at, out)

    # Packets.

    def _packets(self, direction: Direction, data: bytes, at: tuple[int, int], out: list[Transaction]) -> None:
        """Read packets up to the one behind which all is encrypted."""
        side, counters = self._sides[direction], self._shared.counters
        for packet in side.frames.feed(data):
            kind = packet.data[_HEAD - 1] if len(packet.data) >= _HEAD else 0
            if kind == KEXINIT and not side.offered:
                if not packet.whole:
                    counters.add("ssh.cut_offer")
                self._offer(direction, packet.data, (*at, packet.behind), out)
            elif kind == NEWKEYS:
                side.secret = side.offered
                side.finish()
                return
        if side.malformed:
            counters.add("ssh.malformed")
            side.odd.append(b"ssh.invalid_record")
            side.finish()

    def _offer(self, direction: Direction, packet: bytes, at: tuple[int, int, int], out: list[Transaction]) -> None:
        """Report what a side offers."""
        side, pool = self._sides[direction], self._shared.pool
        side.offered = True
        try:
            offer = read_offer(packet[_HEAD - 1 :], direction is Direction.TO_SERVER)
        except Malformed:
            self._shared.counters.add("ssh.malformed")
            side.odd.append(b"ssh.invalid_record")
            return
        if pool.take(len(offer.string)):
            self._held += len(offer.string)
            side.offer = offer
        self._report(direction, at, out)

    # What comes of it.

    def _report(self, direction: Direction, at: tuple[int, int, int], out: list[Transaction]) -> None:
        """Append all that a side has said so far."""
        side = self._sides[direction]
        buffers = {"ssh.proto": side.proto, "ssh.software": side.software}
        if side.offer is not None:
            of = "ssh.hassh" if direction is Direction.TO_SERVER else "ssh.hassh.server"
            buffers |= {of: side.offer.hash, f"{of}.string": side.offer.string}
        self._emit(direction, buffers, at, out)

    def _complain(self, direction: Direction, at: tuple[int, int, int], out: list[Transaction]) -> None:
        """Append what a side has said that is odd."""
        side = self._sides[direction]
        if side.odd:
            first, *others = dict.fromkeys(side.odd)
            side.odd = []
            self._emit(direction, {ODDITY: first}, at, out, others)

    def _log(self, direction: Direction, at: tuple[int, int, int], out: list[Transaction]) -> None:
        """Append the end of the transaction, where anything was said; keep no offers any more."""
        self._logged = True
        if any(side.banner for side in self._sides):
            self._emit(direction, {}, at, out, complete=True)
            out[-1].last = self.settled
        for side in self._sides:
            side.offer = None
        self._shared.pool.give(self._held)
        self._held = 0

    def _emit(
        self,
        direction: Direction,
        buffers: dict[str, bytes],
        at: tuple[int, int, int],
        out: list[Transaction],
        others: Iterable[bytes] = (),
        complete: bool = False,
    ) -> None:
        ts_ns, number, behind = at
        more = {ODDITY: tuple(others)} if others else {}
        out.append(
            Transaction(
                self._shared.flows, self._slot, "ssh", self._tx_id, direction, buffers, self._fields(), ts_ns, number,
                complete, more=more, behind=behind,
            )
        )  # fmt: skip

    def _fields(self) -> dict[str, Any]:
        """Return what EVE logs of a connection, as far as it is known."""
        logged: dict[str, Any] = {}
        for name, side in zip(("client", "server"), self._sides, strict=True):
            if not side.banner:
                continue
            logged[name] = {"proto_version": text(side.proto), "software_version": text(side.software)}
            if side.offer is not None and self._shared.settings.hassh_in_events:
                logged[name]["hassh"] = {"hash": side.offer.hash.decode(), "string": text(side.offer.string)}
        return logged
