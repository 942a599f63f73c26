"""How Redis writes commands and replies (its documentation, "Redis serialization protocol specification", RESP2 and
RESP3; inline commands in its source, ``networking.c`` and ``sds.c``).

A `Commands` and a `Replies` take the messages of one direction, lines and pieces of strings, and return what they
complete. Of each no more than its bounds is kept, however long it is.
"""

from __future__ import annotations

import re

from ids.later import late_pattern
from ids.protocols.framing import Lines, Message, Pool
from ids.protocols.waiting import SPARE_BYTES

MAX_ARGUMENTS = 1024
"""Words of one command that are kept: commands of more are long lists of keys and values."""
SCRIPTS = frozenset(b"EVAL EVAL_RO SCRIPT FUNCTION".split())
"""Commands of which an argument is a program: of it as much is kept as of a command in all."""
_WORD_BYTES = 48
"""What a word that waits for others counts for besides its bytes,"""
_NAME_BYTES = 64
"""and what is kept of the first one where there is no memory."""
MAX_ELEMENTS = 4
"""Strings and numbers of a reply of several that are kept: they say what a message of a channel is."""
ELEMENT_BYTES = 64

_HEAD = late_pattern(rb"([*$])(-?\d{1,10})")
_BEGINS = late_pattern(rb"\*\d{1,10}")
_NUMBER = late_pattern(rb"-?\d{1,10}")
_PIECE = rb"[^\s\"']+|\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?"
_WORD = late_pattern(rb"(?:" + _PIECE + rb")+", re.DOTALL)
"""Of a line: quotes may open anywhere within it."""
_PIECES = late_pattern(_PIECE, re.DOTALL)
_ESCAPE = late_pattern(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
_END = 2
"""Bytes behind a string."""

TYPES = {
    b"+": "status", b"-": "error", b":": "integer", b"$": "string", b"*": "array", b"_": "null", b"#": "boolean",
    b",": "double", b"(": "big_number", b"!": "error", b"=": "verbatim", b"%": "map", b"~": "set", b">": "push",
}  # fmt: skip
"""By first byte."""
_STRINGS, _SEVERAL, _PAIRS = b"$!=", b"*~>%|", b"%|"


class Share(Pool):
    """What one side of a flow holds of its protocol's memory. Its first bytes count for nothing (`SPARE_BYTES`): else
    whoever holds all of it would blind others to the shortest command.
    """

    def __init__(self, pool: Pool) -> None:
        self.held = 0
        self._pool = pool

    def take(self, size: int) -> bool:
        """Return whether so many bytes more may be held; if so, they count from now on."""
        more = self._beyond(size) - self._beyond(0)
        if more and not self._pool.take(more):
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        """Hold so many bytes less."""
        self._pool.give(self._beyond(0) - self._beyond(-size))
        self.held -= size

    def lose(self, size: int) -> None:
        """Count bytes that are not read for want of memory."""
        self._pool.lose(size)

    def skip(self, size: int) -> None:
        """Count bytes in which no message is looked for."""
        self._pool.skip(size)

    def _beyond(self, more: int) -> int:
        return max(self.held + more - SPARE_BYTES, 0)


class Kept:
    """The first bytes of a string that comes in pieces."""

    __slots__ = ("_held", "_last", "_left", "_pool", "cut", "limit")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._held = bytearray()
        self._last = b""
        """Its last piece, which counts in no memory: the string is complete."""
        self._left = 0
        """Bytes of the string still to come."""
        self.limit = 0
        """Bytes that are kept."""
        self.cut = False
        """Not all of it was kept."""

    def begin(self, size: int, limit: int) -> None:
        """Begin a string of so many bytes."""
        self._left, self.limit, self.cut = size, limit, size > limit

    def take(self, message: Message) -> None:
        """Take the next piece."""
        self.cut = self.cut or message.lost > 0
        piece = message.data[: min(self._left, self.limit - len(self._held))]
        self._left -= min(len(message.data) + message.lost, self._left)
        if message.whole:
            self._last = piece
        elif self._pool.take(len(piece)):
            self._held += piece
        else:
            self._pool.lose(len(piece))
            self.cut, self.limit = True, len(self._held)

    def end(self) -> bytes:
        """Return what was kept, and hold it no more."""
        whole = bytes(self._held) + self._last if self._held else self._last
        self.release()
        return whole

    def release(self) -> None:
        """Hold nothing."""
        self._pool.give(len(self._held))
        self._held, self._last = bytearray(), b""


class ClientLines(Lines):
    """What a client says: servers look for the end of a line that says a number at its carriage return, and never look
    at the byte behind that. Commands in a line end at a line feed.
    """

    __slots__ = ("within",)

    def __init__(self, pool: Pool, limit: int) -> None:
        super().__init__(pool, limit)
        self.within = False
        """An array has begun: only lines that say a number are in it."""

    def _end(self, data: bytes, at: int) -> int:
        held = self._held
        if not self.within and (held[:1] or data[at : at + 1]) != b"*":
            return super()._end(data, at)
        if held[-1:] == b"\r":
            return at
        end = data.find(b"\r", at) + 1
        return end if 0 < end < len(data) else -1


class Values:
    """What both directions have in common: lines, and strings that are announced by one."""

    def __init__(self, lines: Lines, pool: Pool) -> None:
        self._lines = lines
        self._kept = Kept(pool)
        self._string = False
        """What comes is of a string."""
        self.left = 0
        """Bytes of it, and of its end, that are still to come."""

    def release(self) -> None:
        """Hold nothing."""
        self._kept.release()

    def _begin_string(self, size: int, limit: int) -> None:
        self._string, self.left = True, size + _END
        self._kept.begin(size, limit)
        self._lines.raw(size + _END)

    def _take_piece(self, message: Message) -> bytes | None:
        """Return a string that is complete with this piece."""
        self.left = max(self.left - len(message.data) - message.lost, 0)
        self._kept.take(message)
        if not message.whole:
            return None
        self._string = False
        return self._kept.end()


class Commands(Values):
    """What a client says."""

    def __init__(self, lines: ClientLines, pool: Pool, argument_bytes: int, command_bytes: int) -> None:
        super().__init__(lines, pool)
        self._cutter = lines
        self._bounds = argument_bytes, command_bytes
        self._pool = pool
        self._awaited = 0
        """Words of the command that are still to come."""
        self._words: list[bytes] = []
        self._size = 0
        """Bytes of them,"""
        self._counted = 0
        """and what they count for in the memory: nothing, while all came in the bytes at hand."""
        self._full = False
        """There was no memory for them: no more of the command is kept."""
        self._lost = False
        """It is not known where a command begins."""
        self.number = 0
        """Words of the last command, kept or not."""
        self.cut = False
        """Not all of the last command was kept."""
        self.odd = False
        """The last line stands where none may."""

    def lose(self) -> None:
        """Go on behind missing bytes."""
        self._forget()
        self._string, self.left, self._lost = False, 0, True

    def release(self) -> None:
        """Hold nothing."""
        super().release()
        self._forget()

    def settle(self) -> None:
        """Count words that wait for others, now that the bytes at hand are read. Where there is no room for them, keep
        no more than the name.
        """
        size = self._size + _WORD_BYTES * len(self._words) - self._counted
        if self._full or not size:
            return
        if self._pool.take(size):
            self._counted += size
            return
        self._pool.lose(self._size)
        self._pool.give(self._counted)
        self._words, self._size, self._counted = [self._words[0][:_NAME_BYTES]], 0, 0
        self._full = self.cut = True

    def take(self, message: Message) -> list[bytes] | None:
        """Return the words of a command that this completes; the first ones of a long one."""
        self.odd = False
        if self._string:
            word = self._take_piece(message)
            return None if word is None else self._take_word(word)
        if self._lost and not _BEGINS.fullmatch(message.data):
            return None
        self._lost = False
        found = _HEAD.fullmatch(message.data)
        number = int(found[2]) if found is not None else 0
        if self._awaited:
            if found is not None and found[1] == b"$" and number >= 0:
                self._begin_string(number, self._room())
                return None
            self._forget()
            self.odd = True  # servers close the connection
            return None
        if found is not None and found[1] == b"*":
            self._await(max(number, 0))  # of none and of less it is no command, and servers read on
            return None
        return self._inline(message)

    def _room(self) -> int:
        """Return how many bytes of the next word are kept."""
        if self._full or len(self._words) >= MAX_ARGUMENTS:
            return 0
        argument, command = self._bounds
        if self._words and self._words[0].upper() in SCRIPTS:
            argument = command
        return max(min(argument, command - self._size), 0)

    def _await(self, words: int) -> None:
        """Begin a command of so many words; 0: none has begun."""
        self._awaited = words
        self._cutter.within = words > 0
        self.number, self.cut = words or self.number, self.cut and not words

    def _take_word(self, word: bytes) -> list[bytes] | None:
        self.cut = self.cut or self._kept.cut
        if len(self._words) < MAX_ARGUMENTS and not self._full:
            self._words.append(word)
            self._size += len(word)
        else:
            self.cut = True
        self._awaited -= 1
        if self._awaited:
            return None
        words = self._words
        self._forget()
        return words

    def _inline(self, message: Message) -> list[bytes] | None:
        """Return the words of a line; within quotes are blanks and escapes."""
        words: list[bytes] = []
        for number, found in enumerate(_WORD.finditer(message.data), 1):
            self.number = number
            if number <= MAX_ARGUMENTS:
                words.append(b"".join([_plain(piece) for piece in _PIECES.findall(found[0])]))
        self.cut = not message.whole or self.number > MAX_ARGUMENTS
        return words or None

    def _forget(self) -> None:
        self._pool.give(self._counted)
        self._words, self._size, self._counted, self._full = [], 0, 0, False
        self._await(0)


def _plain(piece: bytes) -> bytes:
    """Return what a piece of a word says, without its quotes."""
    quote = piece[:1]
    if quote == b'"':
        return _ESCAPE.sub(_escaped, piece[1:].removesuffix(quote))
    return piece[1:].removesuffix(quote).replace(b"\\'", b"'") if quote == b"'" else piece


def _escaped(found: re.Match[bytes]) -> bytes:
    """Return the byte that an escape stands for."""
    if found[1] is not None:
        return bytes.fromhex(found[1].decode())
    return _ESCAPES.get(found[2], found[2])


class Reply:
    """One reply of a server."""

    __slots__ = ("cut", "elements", "kind", "number", "value")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        """One of `TYPES`."""
        self.value: bytes | None = None
        """What a line or a string says, its first bytes."""
        self.number: int | None = None
        """Bytes of a string; elements of what has several."""
        self.elements: list[bytes] = []
        """Of what has several: the first strings and numbers in it."""
        self.cut = False


class Replies(Values):
    """What a server says."""

    def __init__(self, lines: Lines, pool: Pool, string_bytes: int) -> None:
        super().__init__(lines, pool)
        self._limit = string_bytes
        self._reply: Reply | None = None
        self._awaited = 0
        """Elements of the reply that are still to come, those within others included,"""
        self._passed = 0
        """and of attributes, which stand before a value and are not of it."""
        self.odd = False
        """The last line is of no type."""

    def lose(self) -> None:
        """Go on behind missing bytes."""
        self._kept.release()
        self._reply, self._string = None, False
        self.left = self._awaited = self._passed = 0

    def take(self, message: Message) -> Reply | None:
        """Return the reply that this completes."""
        self.odd = False
        if self._string:
            value = self._take_piece(message)
            return None if value is None else self._add(value)
        kind, rest = message.data[:1], message.data[1:]
        if kind == b"|":
            self._passed += 2 * _count(rest)
            return None
        if kind not in TYPES:
            self.lose()
            self.odd = True
            return None
        if self._reply is None and not self._passed:
            self._reply, self._awaited = Reply(TYPES[kind]), 1
            first = True
        else:
            first = False
        return self._take_line(kind, rest, first)

    def _take_line(self, kind: bytes, rest: bytes, first: bool) -> Reply | None:
        """Take the line with which a value begins; ``first``: the reply's own."""
        several = kind in _SEVERAL
        if not several and kind not in _STRINGS:
            return self._add(rest)
        if _NUMBER.fullmatch(rest) is None:
            self.lose()
            self.odd = True
            return None
        size, reply = int(rest), self._reply
        if reply is not None and first:
            reply.number = size if size >= 0 else None
            reply.kind = reply.kind if size >= 0 else "null"
        if not several and size >= 0:
            wanted = reply is not None and not self._passed
            room = ELEMENT_BYTES if reply is not None and len(reply.elements) < MAX_ELEMENTS else 0
            self._begin_string(size, (self._limit if first else room) if wanted else 0)
            return None
        return self._add(None, max(size, 0) * (2 if kind in _PAIRS else 1))

    def _add(self, value: bytes | None, behind: int = 0) -> Reply | None:
        """Take a value, behind which come so many that are within it; return the reply where it is the last one."""
        if self._passed:
            self._passed += behind - 1
            return None
        reply = self._reply
        if reply is None:
            return None
        if reply.number is None or reply.kind in ("string", "verbatim", "error"):
            reply.value = value[: self._limit] if value is not None else None
            reply.cut = self._kept.cut and reply.number is not None
        elif value is not None and len(reply.elements) < MAX_ELEMENTS:
            reply.elements.append(value[:ELEMENT_BYTES])
        self._awaited += behind - 1
        if self._awaited > 0:
            return None
        self._reply = None
        return reply


def _count(digits: bytes) -> int:
    return max(int(digits), 0) if _NUMBER.fullmatch(digits) else 0
