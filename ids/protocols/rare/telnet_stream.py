"""One direction of Telnet (RFC 854): its text in lines, and the commands in it, in the order in which they come.

Both come as messages whose first byte says what they are:

    b"A" text            another form of the line that follows, or of its piece
    b"T" text            a line without its end; a piece of one that is longer than the limit
    b"O" verb option     WILL, WONT, DO, DONT with an option
    b"S" option content  a subnegotiation, its first bytes
    b"C" command         any other command
    b"X" name            what is odd; each once

A subnegotiation reaches up to IAC SE. Some servers pass over its first bytes only (busybox: the option, and a window's
size), and what follows them is typed for these. So what a client sends in one is read as text too, beside the ordinary
reading, unless it ends and is of its form, and the server has sent one itself: then it knows where they end.

What outlives a piece of the stream counts in the pool. A line that a piece completes takes nothing of it.

COST. O(bytes), however they are cut.
"""

from __future__ import annotations

from collections.abc import Iterator

from ids.later import late_pattern
from ids.protocols.framing import Message, Pool
from ids.protocols.rare.telnet_line import ERASE, KILL, Line

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
_TEXT, _COMMAND, _OPTION, _SUB, _SUB_COMMAND = range(5)
"""What the next byte is: text, behind IAC, behind a verb, of a subnegotiation, behind IAC in one."""
_END = late_pattern(rb"[\r\n]")
_BYTE_IAC = b"\xff"
_KEYS = {247: ERASE, 248: KILL}
"""Commands that erase a character, and a line, and the keys that do so."""
_WINDOW, _WINDOW_BYTES = 31, 4
_SIZES = {
    **dict.fromkeys((0, 1, 3, 6, 18, 25, 85, 86), 0),
    _WINDOW: _WINDOW_BYTES, 24: 41, 32: 41, 33: 1, 35: 256,
}  # fmt: skip
"""By option: bytes of a subnegotiation, at most. Most others may have any."""


class TelnetStream:
    """Cuts one direction."""

    __slots__ = (
        "_after_return",
        "_at",
        "_charged",
        "_edits",
        "_limit",
        "_lines",
        "_lost",
        "_odd",
        "_option",
        "_out",
        "_pool",
        "_size",
        "_state",
        "_strayed",
        "_sub",
        "_sub_size",
        "_verb",
        "understands",
    )  # fmt: skip

    def __init__(self, pool: Pool, limit: int, *, typed: bool = False) -> None:
        """A line, and a subnegotiation, has ``limit`` bytes at most: the rest of a line is another one, that of a
        subnegotiation is skipped. ``typed``: who sends it edits it.
        """
        self._pool = pool
        self._limit = limit
        self._edits = typed
        self._state = _TEXT
        self._verb = self._option = 0
        self._lines = [Line(limit, edits=typed)]
        """The line that has not ended; behind it the same with what stood in subnegotiations, if that may be text."""
        self._strayed = False
        """It is known of a subnegotiation of the line that it may."""
        self._sub = bytearray()
        self._sub_size = 0
        """Bytes of the subnegotiation, with those that are skipped."""
        self.understands = False
        """The receiver has sent a subnegotiation itself."""
        self._charged = 0
        """What the pool was asked for."""
        self._after_return = False
        """The last byte of text was a carriage return: a line feed or a zero behind it is of the same end."""
        self._lost = 0
        self._size = self._at = 0
        """Bytes of the piece that is read, and how many of them are read."""
        self._odd: set[bytes] = set()
        self._out: list[Message] = []

    def feed(self, data: bytes, gap: int = 0, closed: bool = False) -> Iterator[Message]:
        """Yield what the next bytes complete; ``gap`` bytes are missing before them."""
        self._out = []
        self._size, self._at = len(data), 0
        if gap:
            self._state, self._after_return = _TEXT, False
            self._cut_line()
            self._sub.clear()
            self._lost += gap
        while self._at < len(data):
            if self._state in (_TEXT, _SUB):
                end = data.find(_BYTE_IAC, self._at)
                piece = data[self._at : end if end >= 0 else len(data)]
                self._at += len(piece)
                if self._state == _SUB:
                    self._take_details(piece)
                else:
                    self._take_text(piece, self._lines)
                if end >= 0:
                    self._at += 1
                    self._state += 1 if self._state == _TEXT else _SUB_COMMAND - _SUB
            else:
                byte = data[self._at]
                self._at += 1
                self._take_command(byte)
        if closed:
            if self._state in (_SUB, _SUB_COMMAND):
                self._find_odd(b"unended_subnegotiation")
            self._cut_line()
            self._sub.clear()
        self._settle()
        return iter(self._out)

    def begun(self) -> bytes:
        """Return the beginning of a line that has not ended, and begin a new one."""
        line = self._lines[0].take()[0]
        self._settle()
        return line

    def release(self) -> None:
        """Hold nothing."""
        self._end_forms(self._lines)
        self._sub.clear()
        self._settle()

    def _settle(self) -> None:
        """Have the pool count what is held. Where it refuses, the line is cut here, and nothing is held."""
        more = self._held - self._charged
        if more > 0 and not self._pool.take(more):
            self._pool.skip(self._held)
            self._cut_line()
            self._sub.clear()
            more = self._held - self._charged
        if more < 0:
            self._pool.give(-more)
        self._charged += more

    @property
    def _held(self) -> int:
        return len(self._sub) + sum([len(line) for line in self._lines])

    def _take_command(self, byte: int) -> None:
        """Take a byte that is none of text."""
        state = self._state
        self._state = _TEXT
        if state == _OPTION:
            if self._verb == SB:
                self._begin_details(byte)
            else:
                self._say(b"O" + bytes((self._verb, byte)))
        elif state == _SUB_COMMAND and byte == IAC:
            self._state = _SUB
            self._take_details(_BYTE_IAC)
        else:
            if state == _SUB_COMMAND:  # any command ends it, though SE should
                self._end_details(ended=byte == SE)
                if byte == SE:
                    return
            self._begin_command(byte)

    def _begin_command(self, byte: int) -> None:
        if byte == IAC:
            self._take_text(_BYTE_IAC, self._lines)
        elif byte >= SB:
            self._verb, self._state = byte, _OPTION
        else:
            if byte in _KEYS:
                for line in self._lines:
                    line.command(_KEYS[byte])
            self._say(b"C" + bytes((byte,)))

    # Subnegotiations.

    def _begin_details(self, option: int) -> None:
        self._state = _SUB
        self._option, self._sub_size = option, 0
        if self._edits and len(self._lines) == 1:
            self._lines.append(self._lines[0].copy())

    def _take_details(self, piece: bytes) -> None:
        """Take bytes of a subnegotiation; what is behind what some servers pass over is text as well."""
        passed = max(_WINDOW_BYTES - self._sub_size, 0) if self._option == _WINDOW else 0
        self._sub_size += len(piece)
        fits = piece[: self._limit - 1 - len(self._sub)]
        self._sub += fits
        self._pool.skip(len(piece) - len(fits))
        if self._is_long:
            self._find_odd(b"long_subnegotiation")
        if self._edits:
            self._take_text(piece[passed:], self._lines[1:])

    def _end_details(self, *, ended: bool) -> None:
        """Say what was negotiated. Only where it may have been text, the line with it is kept."""
        self._say(b"S" + bytes((self._option,)) + self._sub)
        self._sub.clear()
        if not ended:
            self._find_odd(b"unended_subnegotiation")
        known = self.understands or self._option == _WINDOW
        self._strayed = self._strayed or self._is_long or not (ended and known)
        if not self._strayed:
            del self._lines[1:]

    @property
    def _is_long(self) -> bool:
        """The subnegotiation is longer than its form."""
        return self._sub_size > _SIZES.get(self._option, self._limit)

    def _find_odd(self, name: bytes) -> None:
        if name not in self._odd:
            self._odd.add(name)
            self._say(b"X" + name)

    # Text.

    def _take_text(self, piece: bytes, lines: list[Line]) -> None:
        """Take text: a line ends at a line feed, a carriage return, or both; a zero may follow the latter."""
        if self._after_return and piece:
            self._after_return = False
            if piece[:1] in (b"\n", b"\0"):
                piece = piece[1:]
        start = 0
        behind = self._at
        while (found := _END.search(piece, start)) is not None:
            self._add(piece[start : found.start()], lines)
            start = found.end()
            self._at = behind - len(piece) + start
            self._end_line(lines, whole=True)
            if found[0] == b"\r":
                if start == len(piece):
                    self._after_return = True
                elif piece[start] in b"\n\0":
                    start += 1
        self._at = behind
        self._add(piece[start:], lines)

    def _add(self, piece: bytes, lines: list[Line]) -> None:
        """Add text to the line; what does not fit begins another one."""
        full = [one for line in lines for one in line.add(piece)]
        for one in full if len(lines) == 1 else dict.fromkeys(full):
            self._say(b"T" + one, False)

    def _cut_line(self) -> None:
        """End a line of which more may have been to come."""
        if any(map(len, self._lines)):
            self._end_line(self._lines, whole=False)

    def _end_line(self, lines: list[Line], *, whole: bool) -> None:
        """Say a line that has ended. What a subnegotiation holds is nobody's answer to a prompt: it is not whole."""
        whole = whole and lines is self._lines
        first, *others = self._end_forms(lines)
        for other in others:
            self._say(b"A" + other)
        self._say(b"T" + first, whole)

    def _end_forms(self, lines: list[Line]) -> list[bytes]:
        """Return the forms of a line, that of most servers first, and begin another one."""
        forms = list(dict.fromkeys([form for line in lines for form in line.take()]))
        if self._state not in (_SUB, _SUB_COMMAND):
            del self._lines[1:]
            self._strayed = False
        return forms

    def _say(self, data: bytes, whole: bool = True) -> None:
        lost, self._lost = self._lost, 0
        self._out.append(Message(data, self._size - self._at, whole, lost))
