"""One direction of Telnet (RFC 854): its text in lines, and the commands in it, in the order in which they come.

Both come as messages whose first byte says what they are:

    b"T" text            a line without its end; a piece of one that is longer than the limit
    b"O" verb option     WILL, WONT, DO, DONT with an option
    b"S" option content  a subnegotiation, its first bytes
    b"C" command         any other command

COST. O(bytes), however they are cut.
"""

from __future__ import annotations

from collections.abc import Iterator

from ids.later import late_pattern
from ids.protocols.framing import Message, Pool

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
_TEXT, _COMMAND, _OPTION, _SUB, _SUB_COMMAND = range(5)
"""What the next byte is: text, behind IAC, behind a verb, of a subnegotiation, behind IAC in one."""
_END = late_pattern(rb"[\r\n]")
_BYTE_IAC = b"\xff"


class TelnetStream:
    """Cuts one direction."""

    __slots__ = (
        "_after_return",
        "_at",
        "_limit",
        "_line",
        "_lost",
        "_out",
        "_pool",
        "_size",
        "_state",
        "_sub",
        "_verb",
    )  # fmt: skip

    def __init__(self, pool: Pool, limit: int) -> None:
        """A line, and a subnegotiation, has ``limit`` bytes at most: the rest of a line is another one, that of a
        subnegotiation is skipped.
        """
        self._pool = pool
        self._limit = limit
        self._state = _TEXT
        self._verb = 0
        self._line = bytearray()
        self._sub = bytearray()
        self._after_return = False
        """The last byte of text was a carriage return: a line feed or a zero behind it is of the same end."""
        self._lost = 0
        self._size = self._at = 0
        """Bytes of the piece that is read, and how many of them are read."""
        self._out: list[Message] = []

    def feed(self, data: bytes, gap: int = 0, closed: bool = False) -> Iterator[Message]:
        """Yield what the next bytes complete; ``gap`` bytes are missing before them."""
        self._out = []
        self._size, self._at = len(data), 0
        if gap:
            self._end_line(whole=False)
            self._give_back(self._sub)
            self._state, self._after_return = _TEXT, False
            self._lost += gap
        while self._at < len(data):
            if self._state in (_TEXT, _SUB):
                end = data.find(_BYTE_IAC, self._at)
                piece = data[self._at : end if end >= 0 else len(data)]
                self._at += len(piece)
                if self._state == _SUB:
                    self._hold(self._sub, piece)
                else:
                    self._take_text(piece)
                if end >= 0:
                    self._at += 1
                    self._state += 1 if self._state == _TEXT else _SUB_COMMAND - _SUB
            else:
                byte = data[self._at]
                self._at += 1
                self._take_command(byte)
        if closed:
            self._end_line(whole=False)
        return iter(self._out)

    def begun(self) -> bytes:
        """Return the beginning of a line that has not ended, and begin a new one."""
        line = bytes(self._line)
        self._give_back(self._line)
        return line

    def release(self) -> None:
        """Hold nothing."""
        self._give_back(self._line)
        self._give_back(self._sub)

    def _take_command(self, byte: int) -> None:
        """Take a byte that is none of text."""
        state = self._state
        self._state = _TEXT
        if state == _OPTION:
            if self._verb == SB:
                self._hold(self._sub, bytes((byte,)))
                self._state = _SUB
            else:
                self._say(b"O" + bytes((self._verb, byte)))
        elif state == _SUB_COMMAND and byte == IAC:
            self._hold(self._sub, _BYTE_IAC)
            self._state = _SUB
        else:
            if state == _SUB_COMMAND:  # any command ends it, though SE should
                self._say(b"S" + bytes(self._sub))
                self._give_back(self._sub)
                if byte == SE:
                    return
            self._begin_command(byte)

    def _begin_command(self, byte: int) -> None:
        if byte == IAC:
            self._take_text(_BYTE_IAC)
        elif byte >= SB:
            self._verb, self._state = byte, _OPTION
        else:
            self._say(b"C" + bytes((byte,)))

    def _take_text(self, piece: bytes) -> None:
        """Take text: a line ends at a line feed, a carriage return, or both; a zero may follow the latter."""
        if self._after_return and piece:
            self._after_return = False
            if piece[:1] in (b"\n", b"\0"):
                piece = piece[1:]
        start = 0
        behind = self._at
        while (found := _END.search(piece, start)) is not None:
            self._add(piece[start : found.start()])
            start = found.end()
            self._at = behind - len(piece) + start
            self._end_line(whole=True)
            if found[0] == b"\r":
                if start == len(piece):
                    self._after_return = True
                elif piece[start] in b"\n\0":
                    start += 1
        self._at = behind
        self._add(piece[start:])

    def _add(self, piece: bytes) -> None:
        """Add text to the line; what does not fit begins another one."""
        while len(self._line) + len(piece) > self._limit:
            room = self._limit - len(self._line)
            self._hold(self._line, piece[:room])
            piece = piece[room:]
            self._end_line(whole=False)
        self._hold(self._line, piece)

    def _hold(self, held: bytearray, piece: bytes) -> None:
        """Hold bytes of a line or of a subnegotiation, or skip them where there is no room."""
        room = self._limit - len(held)
        fits = piece[:room]
        if fits and self._pool.take(len(fits)):
            held += fits
        else:
            fits = b""
        self._pool.skip(len(piece) - len(fits))

    def _end_line(self, *, whole: bool) -> None:
        if self._line or whole:
            self._say(b"T" + self.begun(), whole)

    def _give_back(self, held: bytearray) -> None:
        self._pool.give(len(held))
        held.clear()

    def _say(self, data: bytes, whole: bool = True) -> None:
        lost, self._lost = self._lost, 0
        self._out.append(Message(data, self._size - self._at, whole, lost))
