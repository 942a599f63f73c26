"""Frames that are no part of a message: what they say to rules and events, and how many are too many."""

from __future__ import annotations

import base64
import binascii

from ids.counters import Counters
from ids.protocols.framing import Pool
from ids.protocols.http2.frames import (
    ERRORS,
    EXACT,
    GOAWAY,
    PRIORITY,
    RST_STREAM,
    SETTING_NAMES,
    SETTINGS,
    TYPES,
    WINDOW_UPDATE,
    FrameHead,
    number_of,
    settings_of,
)
from ids.protocols.http2.reports import Reports
from ids.protocols.http2.streams import Stream
from ids.protocols.protocol import ODDITY
from ids.types import Direction

MAX_WEIGHTS = 256
"""Priorities that are kept of streams that are not open yet."""
WEIGHT_BYTES = 128
"""What one counts for in the memory of the protocol; the oldest gives way there, too."""
MANY_RESETS = 100
"""Streams that a client resets before they are answered at which it is odd: browsers reset some when a page is left."""
_WEIGHT_AT = 4
_TO_SERVER, _TO_CLIENT = Direction


class Control:
    """Frames of one connection that are no part of a message."""

    __slots__ = ("_counters", "_latest", "_noted", "_pool", "_reports", "_resets", "weights")

    def __init__(self, reports: Reports, counters: Counters, pool: Pool) -> None:
        self._reports = reports
        self._counters = counters
        self._pool = pool
        self.weights: dict[int, int] = {}
        """Priorities of streams that are not open yet; at most `MAX_WEIGHTS`."""
        self._noted: set[tuple[Direction, bytes]] = set()
        """What was found odd about the connection; a name of `ids.protocols.http2.ODDITIES` each."""
        self._latest = [-1, 0]
        """The highest stream that each side has opened."""
        self._resets = 0
        """Streams that the client has reset, less those that were answered."""

    def is_new(self, direction: Direction, name: bytes) -> bool:
        """Return whether something odd is said of a direction for the first time."""
        known = (direction, name) in self._noted
        self._noted.add((direction, name))
        return not known

    def reuses(self, number: int, direction: Direction) -> bool:
        """Return whether a stream that is opened was open before, as its number says (RFC 9113 section 5.1.1)."""
        opener = 1 - number % 2
        if direction != opener:
            return False
        again = number <= self._latest[opener]
        self._latest[opener] = max(number, self._latest[opener])
        return again

    def answered(self) -> None:
        """Note that the server has answered."""
        self._resets = max(self._resets - 1, 0)

    def ends(self, head: FrameHead, payload: bytes) -> bool:
        """Return whether a frame ends its stream."""
        return head.kind == RST_STREAM and len(payload) == EXACT[RST_STREAM]

    def take(
        self, head: FrameHead, payload: bytes, direction: Direction, exchange: Stream, stream: Stream | None
    ) -> None:
        """Report a frame as of an exchange: an open ``stream``, or one of its own."""
        kind, half = head.kind, exchange.halves[direction]
        if kind >= len(TYPES):
            self._counters.add("http2.frame_unknown")
            return
        buffers: dict[str, bytes] = {}
        more: dict[str, tuple[bytes, ...]] = {}
        logged = False
        if kind in EXACT and len(payload) != EXACT[kind]:
            buffers[ODDITY] = b"http2.invalid_frame_length"
        elif kind == RST_STREAM:
            code = number_of(payload)
            half.fail(_camel(code))
            buffers["http2.errorcode"] = b"%d" % code
            logged = stream is not None
            self._note_reset(direction)
        elif kind == GOAWAY:
            code = number_of(payload[4:])
            half.fail(_joined(code))
            buffers["http2.errorcode"] = b"%d" % code
            logged = True
        elif kind == WINDOW_UPDATE:
            buffers["http2.window"] = b"%d" % (number_of(payload) & 0x7FFFFFFF)
        elif kind == PRIORITY:
            self._weigh(head.stream, payload[_WEIGHT_AT], stream, direction)
            buffers["http2.priority"] = b"%d" % payload[_WEIGHT_AT]
        elif kind == SETTINGS:
            if head.length % 6:
                buffers[ODDITY] = b"http2.invalid_frame_length"
            logged = self._settings(payload, exchange, direction, buffers, more)
        half.kinds.add(kind)
        silent = stream is None and not logged
        if not self._reports.frame(exchange, direction, kind, buffers, more, logged=logged, silent=silent):
            self._note_flood(direction)

    def _settings(
        self,
        payload: bytes,
        exchange: Stream,
        direction: Direction,
        buffers: dict[str, bytes],
        more: dict[str, tuple[bytes, ...]],
    ) -> bool:
        """Take settings; return whether there are some that EVE has."""
        found = settings_of(payload)
        named = [(name, value) for number, value in found if (name := SETTING_NAMES.get(number)) is not None]
        exchange.halves[direction].agree([(name.replace("_", ""), value) for name, value in named])
        spelt = [b"%s %d" % (SETTING_NAMES.get(number, str(number)).encode(), value) for number, value in found]
        if spelt:
            buffers["http2.settings"], more["http2.settings"] = spelt[0], tuple(spelt[1:])
        return bool(named)

    def acknowledged(self, direction: Direction) -> None:
        """Take a frame that says nothing but that settings were taken."""
        if not self._reports.affords():
            self._note_flood(direction)

    def _note_flood(self, direction: Direction) -> None:
        if self.is_new(direction, b"http2.flood"):
            self._reports.odd(Stream(0, 0), direction, b"http2.flood")

    def _weigh(self, number: int, weight: int, stream: Stream | None, direction: Direction) -> None:
        if stream is not None:
            stream.halves[direction].weigh(weight)
            return
        if number not in self.weights and (len(self.weights) >= MAX_WEIGHTS or not self._pool.take(WEIGHT_BYTES)):
            if not self.weights:
                return
            del self.weights[next(iter(self.weights))]
        self.weights[number] = weight

    def weight(self, number: int) -> int | None:
        """Return the priority that was said of a stream that is opened now, and keep it no longer."""
        weight = self.weights.pop(number, None)
        if weight is not None:
            self._pool.give(WEIGHT_BYTES)
        return weight

    def release(self) -> None:
        """Give back what all flows share."""
        self._pool.give(WEIGHT_BYTES * len(self.weights))
        self.weights.clear()

    def _note_reset(self, direction: Direction) -> None:
        if direction is not _TO_SERVER:
            return
        self._resets += 1
        if self._resets >= MANY_RESETS and self.is_new(direction, b"http2.rapid_reset"):
            self._counters.add("http2.rapid_reset")
            self._reports.odd(Stream(0, 0), direction, b"http2.rapid_reset")


def upgraded_settings(coded: bytes) -> bytes | None:
    """Return the payload of a frame of settings that stands in the header of an upgrade; None where it cannot be."""
    raw = coded.strip().replace(b"=", b"")
    try:
        settings = base64.b64decode(raw + b"=" * (-len(raw) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return settings if len(settings) % 6 == 0 else None


def _camel(code: int) -> str:
    """Spell an error code as EVE does that of a stream: ``NoError``."""
    if code >= len(ERRORS):
        return str(code)
    return "".join([word.capitalize() for word in ERRORS[code].replace("1_1", "11").split("_")])


def _joined(code: int) -> str:
    """Spell an error code as EVE does that of a connection: ``NOERROR``."""
    return _camel(code).upper()
