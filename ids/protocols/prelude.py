"""What is kept of a flow until it is known what it speaks: first bytes, and the line that a client has begun.

MEMORY is ``probe_bytes`` a direction while a flow is probed, `PRELUDE_BYTES` more of a client while all flows together
hold less than `PRELUDE_MEMCAP_BYTES`, and as long until the server's first bytes confirm what it is.
"""

from __future__ import annotations

from ids.counters import Counters
from ids.later import late_pattern
from ids.protocols.recognition import LINE_BYTES, Recogniser
from ids.protocols.talk import Talk, Talks

PRELUDE_BYTES = 8 * 1024
"""Bytes of a client before its protocol shows: servers read no longer first line."""
PRELUDE_MEMCAP_BYTES = 64 * 1024 * 1024
"""Held of all flows that are probed; beyond it, a flow gets no more than twice ``probe_bytes``."""
LINES_MEMCAP_BYTES = 16 * 1024 * 1024
"""Held of all flows of lines that their clients have begun; beyond it, a line that is cut is not looked for."""

_LINE = late_pattern(rb"(?:[\r\n]*[A-Za-z_-]{1,20})(?:[ \t]|\Z)|\*\d{0,10}\r?\Z")
"""What a line that is looked for begins with: a word, or the star and the number of an array of Redis."""
_OTHER_LINE = b"\0"
"""Kept of a line that is none of those: so much that what follows does not stand at its start."""

_EMPTY = (b"\r\n", b"\r\n\t \0")
"""By direction: what may come before a message in any number, and is not worth keeping."""


class Preludes:
    """What is kept of all flows, within its bounds."""

    def __init__(self, talks: Talks, recogniser: Recogniser, counters: Counters, probe_bytes: int) -> None:
        """``probe_bytes``: of a direction that are looked at."""
        self._talks = talks
        self._recogniser = recogniser
        self._counters = counters
        self._probe_bytes = probe_bytes

    def behind(self, stream: bytes, side: int) -> tuple[bytes, int]:
        """Return what is worth looking at of a direction's first bytes, and at what length of it to give up."""
        probe = self._probe_bytes
        empty = len(stream) - len(stream.lstrip(_EMPTY[side]))
        stream = stream[max(empty - probe, 0) :]  # no parser needs more of them
        limit = self._recogniser.prelude(stream[:PRELUDE_BYTES], side) + probe
        return stream[:limit], limit

    def fit(self, prefix: bytes) -> bool:
        """Return whether a flow may hold so many bytes; count it where not."""
        if len(prefix) <= 2 * self._probe_bytes or self._talks.held <= PRELUDE_MEMCAP_BYTES:
            return True
        self._counters.add("app_layer.probe.memcap")
        return False

    def room(self, kept: bytes) -> int:
        """Return how many more bytes of a client are kept until its server has answered."""
        return PRELUDE_BYTES - len(kept) if self._talks.held <= PRELUDE_MEMCAP_BYTES else 0

    def keep_client(self, talk: Talk, kept: bytes, said: bytes, answered: bytes) -> None:
        """Keep what a client says until its server has answered, as long as there is room for it."""
        room = self.room(kept)
        talk.missed += max(len(said) - room, 0)
        self._talks.hold(talk, (kept + said[:room], answered))

    def keep_line(self, talk: Talk, line: bytes) -> None:
        """Keep the line that a client has begun, where it may become one that is looked for."""
        if line and (_LINE.match(line) is None or len(line) >= LINE_BYTES):
            line = _OTHER_LINE
        elif self._talks.lines + len(line) > LINES_MEMCAP_BYTES:
            self._counters.add("app_layer.probe.memcap")
            line = _OTHER_LINE
        self._talks.keep_line(talk, line)
