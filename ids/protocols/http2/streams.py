"""What is known of one stream: a request and its response, each a side of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ids.protocols.files import File
from ids.protocols.http.message import Message
from ids.protocols.http2.frames import MAX_SETTINGS
from ids.protocols.http2.hpack import MAX_HEADERS, Header
from ids.protocols.spelling import text
from ids.protocols.websocket.parser import Connection

MAX_SIZES = 64
"""New sizes of the table that rules see of one message; two in a block make sense."""
HEADER_BYTES = 512
"""That a header which is kept counts for besides its bytes: its name and value are objects in the head and for the
event,"""
HEADER_COPIES = 6
"""and its bytes stand in as many buffers."""
STREAM_BYTES = 5 * 1024
"""That an open stream counts for, with a message of few headers, whoever opens it by a frame of eleven bytes."""
LOGGED_BYTES = 64 * 1024
"""Of the headers of one side, bytes that are written in an event."""
_COMMON = {b":method": "http_method", b":path": "url", b"host": "hostname", b"user-agent": "http_user_agent"}
_COMMON_NUMBERS = {b":status": "status", b"content-length": "length"}
_MAX_DIGITS = 18


class Half:
    """One direction of a stream."""

    __slots__ = (
        "cost", "ended", "entries", "error", "file", "kinds", "message", "odd", "priority", "settings",
        "several", "sizes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.entries: list[Header | int] = []
        """Headers, and new sizes of the table, as they came; at most `MAX_HEADERS`."""
        self.sizes: list[int] = []
        """New sizes of the table alone, at most `MAX_SIZES`."""
        self.settings: list[tuple[str, int]] = []
        """Those of its frames, at most `MAX_SETTINGS`."""
        self.error = ""
        """What EVE says of an error code."""
        self.priority: int | None = None
        self.several = ""
        """What EVE says that there is more than one of."""
        self.kinds: set[int] = set()
        """Types of its frames."""
        self.file: File | None = None
        """What its body is, where that is not coded: all of it, however much of it is inspected."""
        self.message: Message | None = None
        self.odd: list[bytes] = []
        """What was odd about its frames."""
        self.ended = False
        self.cost = 0
        """Bytes that it holds of the limit that all flows share."""

    def keep(self, entries: list[Header | int]) -> None:
        """Keep what a block said, for events."""
        self.entries += entries[: max(MAX_HEADERS - len(self.entries), 0)]
        room = MAX_SIZES - len(self.sizes)
        if room > 0:
            self.sizes += [entry for entry in entries if isinstance(entry, int)][:room]

    def agree(self, settings: list[tuple[str, int]]) -> None:
        """Note settings, for events."""
        self.settings += settings[: max(MAX_SETTINGS - len(self.settings), 0)]

    def weigh(self, weight: int) -> None:
        """Note a priority."""
        if self.priority is None:
            self.priority = weight
        else:
            self.several = self.several or "priority"

    def fail(self, error: str) -> None:
        """Note an error code, as EVE spells it."""
        if not self.error:
            self.error = error
        else:
            self.several = self.several or "error_code"


class Stream:
    """A request and its response, or what there is of them; also a single frame that is of no stream."""

    __slots__ = ("files", "halves", "number", "socket", "tx_id")

    def __init__(self, number: int, tx_id: int) -> None:
        self.number = number
        self.tx_id = tx_id
        self.halves = (Half(), Half())
        """By `Direction`."""
        self.files: Sequence[File] = ()
        """Those in its messages, whose events wait for its end."""
        self.socket: Connection | None = None
        """What reads its data where it has become a WebSocket (RFC 8441)."""

    @property
    def ended(self) -> bool:
        """No more comes of it, either way."""
        return self.halves[0].ended and self.halves[1].ended

    @property
    def says(self) -> bool:
        """There is something about it that EVE has a key for."""
        return any(half.entries or half.settings or half.error or half.priority is not None for half in self.halves)

    def fields(self) -> dict[str, Any]:
        """Return what EVE logs of it, as Suricata has it: an object is left out where that writes an empty one."""
        found: dict[str, Any] = {"version": "2"}
        common: dict[str, Any] = {}
        for half, key in zip(self.halves, ("request_headers", "response_headers"), strict=True):
            if headers := _logged(half, common):
                found[key] = headers
        found |= common
        of_frames: dict[str, Any] = {"stream_id": self.number}
        for half, key in zip(self.halves, ("request", "response"), strict=True):
            if said := _of_frames(half):
                of_frames[key] = said
        found["http2"] = of_frames
        return found


def _logged(half: Half, common: dict[str, Any]) -> list[dict[str, Any]]:
    """Return headers as EVE spells them, and note those that have a key of their own."""
    found: list[dict[str, Any]] = []
    room = LOGGED_BYTES
    for entry in half.entries:
        if isinstance(entry, int):
            found.append({"table_size_update": entry})
            continue
        name, value = entry
        room -= len(name) + len(value)
        if room < 0:
            break
        found.append({"name": text(name), "value": text(value)})
        known = name.lower()
        if known in _COMMON:
            common[_COMMON[known]] = text(value)
        elif known in _COMMON_NUMBERS and value.isdigit() and len(value) <= _MAX_DIGITS:
            common[_COMMON_NUMBERS[known]] = int(value)
    return found


def _of_frames(half: Half) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if half.settings:
        said["settings"] = [{"settings_id": name, "settings_value": value} for name, value in half.settings]
    if half.error:
        said["error_code"] = half.error
    if half.priority is not None:
        said["priority"] = half.priority
    if half.several:
        said["has_multiple"] = half.several
    return said
