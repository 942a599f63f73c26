"""A MIME message, read while it comes: headers, then parts, whose content is decoded on the way.

(1) A head ends at an empty line, at a boundary, or at ``header_bytes``; what is in it that is no header is passed over.
(2) A line of ``--`` and a boundary that is open ends the part before it, and those within. What stands before the first
    part and behind the last one is no part. A boundary that was closed may open again: there are readers that go on.
(3) Where headers contradict each other, every boundary that one of them names is one.
(4) A message within a message is read like a part, also where its transfer encoding says that it must not be.

COST. O(bytes), in runs of lines; a line's statement in Python only where it is uuencoded. MEMORY: a head, and 4 KiB of
lines that may be boundaries.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from copy import copy
from typing import NamedTuple

from ids.later import late_pattern
from ids.protocols.mime.decoding import Base64, QuotedPrintable, Raw, decoder
from ids.protocols.mime.headers import Headers, all_of, parameter, read_headers
from ids.protocols.mime.lines import Lines

MAX_DEPTH = 32
"""Boundaries that are open at once; those beyond are not looked for."""
MAX_BOUNDARY = 256
"""Bytes of a boundary; RFC 2046 allows 70."""
LONG_BOUNDARY = 70
LONG_LINE, LONG_ENCODED_LINE = 998, 76
"""Bytes of a line, without its end, that mails have at most: of any (RFC 5322), of base64 and its like (RFC 2045)."""
LONG_NAME, LONG_VALUE, LONG_FILENAME = 75, 2000, 255
"""Bytes beyond which Suricata takes a header or the name of a file for odd."""
_HEAD_END = late_pattern(rb"(?:\A|\n)\r?\n")
_NEXT_HEAD_END = late_pattern(rb"\n\r?\n")
_FIRST_EMPTY = late_pattern(rb"\r?\n")
_TAIL = 4 + MAX_BOUNDARY + 64
"""Bytes that a line with a boundary has at most, with what may stand behind it."""


class Leaf(NamedTuple):
    """A part that holds no others: its headers, when it begins; its content comes in pieces."""

    headers: Headers
    kind: bytes
    """Its type, in lower case; empty where it has none."""
    names: tuple[bytes, ...]
    """What it may be called."""
    attached: bool
    """Its headers say that it is a file."""


class Began(NamedTuple):
    """A part begins."""

    leaf: Leaf


class Content(NamedTuple):
    """Further content of the part that began last, decoded."""

    data: bytes


class Ended(NamedTuple):
    """The part that began last ends."""

    whole: bool
    """Its end was seen."""


What = Began | Content | Ended


class Reader:
    """Reads one message."""

    __slots__ = (
        "_boundaries", "_decoder", "_delimiter", "_first", "_fresh", "_held", "_in_head", "_leaf", "_lines",
        "_most_bytes", "_most_headers", "_most_parts", "_searched", "headers", "odd", "parts",
    )  # fmt: skip

    def __init__(self, header_bytes: int, headers: int, parts: int) -> None:
        self._most_bytes = header_bytes
        self._most_headers = headers
        self._most_parts = parts
        self._held = bytearray()
        """What is not read yet: the beginning of a head, or of a line that may be a boundary."""
        self._searched = 0
        """Bytes of it in which a head does not end."""
        self._in_head = True
        self._fresh = True
        """What comes next begins a line."""
        self._boundaries: dict[bytes, int] = {}
        """Those that are open, and how deep each is."""
        self._delimiter: re.Pattern[bytes] | None = None
        self._first: re.Pattern[bytes] | None = None
        """The same, where a line begins."""
        self._leaf: Leaf | None = None
        self._decoder = Raw()
        self._lines = Lines()
        """Those of the part that began last."""
        self.headers: Headers | None = None
        """Those of the message itself, once they are complete."""
        self.parts = 0
        self.odd: set[bytes] = set()
        """What was odd, by Suricata's names."""

    @property
    def held(self) -> int:
        """Bytes that are kept."""
        return len(self._held)

    @property
    def started(self) -> bool:
        """A body has begun."""
        return self.headers is not None

    def feed(self, piece: bytes) -> Iterator[What]:
        """Yield what the next bytes of the message are."""
        held = self._held
        held += piece
        if self._in_head and not self._head_is_there():
            return
        data, self._held, self._searched = bytes(held), bytearray(), 0
        at = 0
        while at < len(data):
            began, in_head = at, self._in_head
            at = yield from self._head(data, at) if in_head else self._body(data, at, last=False)
            if at == began and self._in_head == in_head:
                break
        self._held += data[at:]

    def fork(self) -> Reader:
        """Return a reader in the same state that reads on by itself."""
        other = copy(self)
        other._held, other._decoder, other._lines = self._held[:], copy(self._decoder), copy(self._lines)
        other._boundaries, other.odd = dict(self._boundaries), set(self.odd)
        return other

    def close(self, whole: bool = True) -> Iterator[What]:
        """Yield what is left; the message ended here, ``whole``, or was cut off."""
        data, self._held = bytes(self._held), bytearray()
        at = 0
        if self.headers is None and data.strip() and not read_headers(data, 1):
            self._take_headers(b"")
            self.odd.add(b"mime_malformed_msg")
            yield from self._begin()
        while at < len(data) or (self._in_head and self.headers is None):
            if self._in_head:
                ended = _FIRST_EMPTY.match(data, at) or _NEXT_HEAD_END.search(data, at)
                at = yield from self._head(data, at, ended.end() if ended is not None else len(data))
            else:
                at = yield from self._body(data, at, last=True)
        yield from self._end(whole)

    # Heads.

    def _head_is_there(self) -> bool:
        """Return whether the head that is held may end in it; what was searched is not searched again."""
        held, start = self._held, max(self._searched - _TAIL, 0)
        if len(held) > self._most_bytes or _HEAD_END.search(held, start) is not None:
            return True
        self._searched = len(held)
        return self._delimiter is not None and self._delimiter.search(held, start) is not None

    def _head(self, data: bytes, at: int, end: int | None = None) -> Generator[What, None, int]:
        """Read a head, where its end is there or is given; return how far it was read."""
        if end is None:
            ended = _FIRST_EMPTY.match(data, at) or _NEXT_HEAD_END.search(data, at)
            end = ended.end() if ended is not None else None
        boundary = self._boundary(data, at, len(data) if end is None else end, fresh=True)
        if boundary is not None and (boundary[0].endswith(b"\n") or end is not None):
            self._take_headers(data[at : boundary.start()])
            self._fresh = True
            yield from self._begin()
            return boundary.start()
        if end is None and len(data) - at <= self._most_bytes:
            return at
        self._fresh = end is not None and end - at <= self._most_bytes
        if end is None or not self._fresh:
            self.odd.add(b"mime_long_header_value")
            end = at + self._most_bytes
        self._take_headers(data[at:end])
        yield from self._begin()
        return end

    def _boundary(self, data: bytes, at: int, end: int, fresh: bool) -> re.Match[bytes] | None:
        """Return the next boundary; ``fresh``: the first byte begins a line."""
        if self._delimiter is None:
            return None
        if fresh and self._first is not None:
            found = self._first.match(data, at, end)
            if found is not None:
                return found
        return self._delimiter.search(data, at, end) if data.find(b"\n--", at, end) >= 0 else None

    def _take_headers(self, block: bytes) -> None:
        """Read the headers of the message, or of a part."""
        self._in_head = False
        headers = read_headers(block, self._most_headers)
        self._judge_headers(block, headers)
        if self.headers is None:
            self.headers = headers
            if block.strip() and not headers:
                self.odd.add(b"mime_malformed_msg")
        types = all_of(headers, b"content-type")
        kind = types[0].partition(b";")[0].strip().lower() if types else b""
        multiparts = [value for value in types if value.lower().startswith(b"multipart")]
        multipart = bool(multiparts)
        if multipart:
            self._open([boundary for value in multiparts for boundary in parameter(value, b"boundary")])
        encodings = all_of(headers, b"content-transfer-encoding")
        self._decoder = decoder(encodings[0]) if encodings and not multipart else Raw()
        if kind == b"message/rfc822" and type(self._decoder) is Raw and len(self._boundaries) < MAX_DEPTH:
            self._in_head = True
        places = [(value, b"filename") for value in all_of(headers, b"content-disposition")]
        places += [(value, b"name") for value in types]
        names = tuple(dict.fromkeys(name for value, key in places for name in parameter(value, key) if name))
        if any(len(name) > LONG_FILENAME for name in names):
            self.odd.add(b"mime_long_filename")
        attached = bool(names) or any(
            value.lower().startswith(b"attachment") for value in all_of(headers, b"content-disposition")
        )
        self._leaf = None if multipart or self._in_head else Leaf(headers, kind, names, attached)

    def _judge_headers(self, block: bytes, headers: Headers) -> None:
        """Note what is odd about the headers of a block by their sizes."""
        lines = Lines()
        lines.feed(block)
        if lines.longest > LONG_LINE:
            self.odd.add(b"mime_long_line")
        if any(len(name) > LONG_NAME for name, _ in headers):
            self.odd.add(b"mime_long_header_name")
        if any(len(value) > LONG_VALUE for _, value in headers):
            self.odd.add(b"mime_long_header_value")

    def _open(self, boundaries: list[bytes]) -> None:
        """Look for these boundaries from now on."""
        depth = max(self._boundaries.values(), default=0) + 1
        for boundary in boundaries:
            boundary = boundary.rstrip()
            if len(boundary) > LONG_BOUNDARY:
                self.odd.add(b"mime_long_boundary")
            boundary = boundary[:MAX_BOUNDARY]
            if boundary and boundary not in self._boundaries:
                if len(self._boundaries) >= MAX_DEPTH:
                    self.odd.add(b"mime_malformed_msg")
                    return
                self._boundaries[boundary] = depth
        self._compile()

    def _compile(self) -> None:
        ordered = sorted(self._boundaries, key=len, reverse=True)
        source = rb"--(" + b"|".join(map(re.escape, ordered)) + rb")(--)?[ \t]{0,32}(?:\r?\n|\Z)"
        self._delimiter = re.compile(rb"\r?\n" + source) if ordered else None
        self._first = re.compile(source) if ordered else None

    # Bodies.

    def _body(self, data: bytes, at: int, last: bool) -> Generator[What, None, int]:
        """Read a body up to the next boundary; return how far it was read."""
        found = self._boundary(data, at, len(data), self._fresh)
        if found is not None and (last or found[0].endswith(b"\n")):
            yield from self._content(data[at : found.start()])
            yield from self._end(True)
            depth = self._boundaries[found[1]]
            if any(other > depth for other in self._boundaries.values()):
                self._boundaries = {key: other for key, other in self._boundaries.items() if other <= depth}
                self._compile()
            self._in_head, self._fresh = not found[2], True
            if self.parts >= self._most_parts:
                self._in_head = False
                self._boundaries = {}
                self._compile()
                self.odd.add(b"mime_malformed_msg")
            return found.end()
        keep = len(data) if last or self._delimiter is None else self._safe(data, at)
        yield from self._content(data[at:keep])
        return keep

    def _safe(self, data: bytes, at: int) -> int:
        """Return where what is content for sure ends: a boundary may stand in the rest."""
        line = data.rfind(b"\n", at)
        start = line + 1 if line >= 0 else at
        if (line >= 0 or self._fresh) and len(data) - start < _TAIL and data[start : start + 1] in (b"", b"-"):
            if line < 0:
                return at
            return line - (line > at and data[line - 1 : line] == b"\r")
        return len(data) - 1 if data.endswith(b"\r") and len(data) > at else len(data)

    def _begin(self) -> Iterator[What]:
        if self._leaf is not None:
            self.parts += 1
            yield Began(self._leaf)

    def _content(self, data: bytes) -> Iterator[What]:
        if data:
            self._fresh = False
            if self._leaf is not None:
                self._lines.feed(data)
                decoded = self._decoder.decode(data)
                if decoded:
                    yield Content(decoded)

    def _end(self, whole: bool) -> Iterator[What]:
        if self._leaf is not None:
            rest = self._decoder.end()
            if rest:
                yield Content(rest)
            self._judge()
            yield Ended(whole)
            self._leaf = None
        self._decoder, self._lines = Raw(), Lines()

    def _judge(self) -> None:
        """Note what was odd about the content of a part that ends."""
        undone, longest = self._decoder, self._lines.longest
        if undone.odd:
            self.odd.add(undone.oddity)
        if longest > LONG_LINE:
            self.odd.add(b"mime_long_line")
        if longest > LONG_ENCODED_LINE and isinstance(undone, (Base64, QuotedPrintable)):
            self.odd.add(b"mime_long_enc_line")
