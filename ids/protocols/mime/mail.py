"""A mail: what it says of itself, as rules test it and EVE logs it; its attachments are files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import copy
from itertools import pairwise
from typing import Any

from ids.counters import Counters
from ids.later import late_pattern
from ids.protocols.files import File, Files
from ids.protocols.framing import Pool
from ids.protocols.mime.decoding import UU_BEGIN, Uuencoded
from ids.protocols.mime.headers import all_of, decode_words
from ids.protocols.mime.reader import Began, Content, Ended, Leaf, Reader, What
from ids.protocols.mime.settings import MailSettings
from ids.protocols.spelling import text
from ids.types import Direction, Transaction

_HEADERS = {
    b"from": "email.from", b"to": "email.to", b"cc": "email.cc", b"subject": "email.subject", b"date": "email.date",
    b"message-id": "email.message_id", b"x-mailer": "email.x_mailer", b"received": "email.received",
}  # fmt: skip
EMAIL_BUFFERS = {
    "email.from": "From header of a mail; also decoded",
    "email.to": "To header of a mail; also decoded",
    "email.cc": "Cc header of a mail; also decoded",
    "email.subject": "Subject header of a mail; also decoded",
    "email.date": "Date header of a mail",
    "email.message_id": "Message-ID header of a mail",
    "email.x_mailer": "X-Mailer header of a mail",
    "email.received": "Received headers of a mail",
    "email.url": "addresses that the text of a mail links to, lower case, without their scheme",
    "email.body": "text of a mail, its transfer encoding undone",
}
"""What rules can test of a mail."""
_URL = late_pattern(rb"(http|https|ftp)://([^\s\"'<>\]]+)", re.IGNORECASE)
_MAX_URL = 2048
_UU = late_pattern(rb"(?:\A|\n)(?=" + UU_BEGIN.pattern + rb"\r?\n)")
_MAX_UU = 16
"""Files within a text that are found."""

More = dict[str, tuple[bytes, ...]]


class Mail:
    """One mail on its way."""

    __slots__ = (
        "_attachments", "_beside", "_counters", "_fields", "_file", "_files", "_flow", "_held", "_limits", "_pool",
        "_reader", "_text", "_texts", "_urls", "ended", "failed", "odd",
    )  # fmt: skip

    def __init__(
        self,
        files: Files,
        flow: tuple[int, str, int, Direction],
        limits: MailSettings,
        pool: Pool,
        counters: Counters,
        beside: Mapping[str, bytes],
        fields: Callable[[], dict[str, Any]],
    ) -> None:
        """Begin a mail of a flow: its slot, its protocol, the id of the transaction, and who sends it.

        ``beside`` are buffers of the exchange that rules may ask for together with a file, ``fields`` what EVE logs.
        """
        self._files = files
        self._flow = flow
        self._limits = limits
        self._pool = pool
        self._counters = counters
        self._beside = beside
        self._fields = fields
        self._reader = Reader(limits.header_bytes, limits.header_count, limits.parts)
        self._file: File | None = None
        self._text: bytearray | None = None
        """Text of the part that is being read, as far as it is kept."""
        self._texts: list[bytes] = []
        self._urls: dict[bytes, bool] = {}
        """Addresses, and whether they are logged: Suricata 7 logs those of ``http`` alone."""
        self._attachments: list[bytes] = []
        self._held = 0
        """Bytes that count in the pool."""
        self.ended = False
        self.failed = False
        """It was cut off."""
        self.odd: set[bytes] = self._reader.odd

    def feed(self, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take its next bytes."""
        for what in self._reader.feed(data):
            self._take(what, ts_ns, number, out)
        self._account()

    def close(self, ts_ns: int, number: int, out: list[Transaction], whole: bool = True) -> None:
        """End it: ``whole``, or cut off."""
        for what in self._reader.close(whole):
            self._take(what, ts_ns, number, out)
        self.ended, self.failed = True, not whole

    def fork(self) -> Mail | None:
        """Return a mail in the same state that reads on by itself; None where there is no room for it."""
        other = copy(self)
        other._reader = self._reader.fork()
        other._texts, other._urls, other._attachments = self._texts[:], dict(self._urls), self._attachments[:]
        other._text = self._text[:] if self._text is not None else None
        other.odd = other._reader.odd
        if not self._pool.take(self._held):
            return None
        if self._file is not None:
            other._file = other._open((self._file.name,))
            other._file.append(self._file.content)
        return other

    def gap(self, size: int) -> None:
        """Note bytes of it that were lost."""
        if self._file is not None:
            self._file.gap(size)

    def release(self) -> None:
        """Give back what it holds, and let go of what it says."""
        self._pool.give(self._held)
        self._held = 0
        self._texts, self._text = [], None
        if self._file is not None:
            self._file.release()

    @property
    def buffers(self) -> tuple[dict[str, bytes], More]:
        """What rules test of it, and the further instances."""
        found: dict[str, tuple[bytes, ...]] = {}
        headers = self._reader.headers or []
        for name, buffer in _HEADERS.items():
            values = all_of(headers, name)
            if values:
                found[buffer] = tuple(dict.fromkeys([*values, *map(decode_words, values)]))
        if self._urls:
            found["email.url"] = tuple(self._urls)
        if self._texts:
            found["email.body"] = tuple(self._texts)
        return {name: one[0] for name, one in found.items()}, {
            name: one[1:] for name, one in found.items() if len(one) > 1
        }

    def email(self, extended: bool) -> dict[str, Any]:
        """Return what EVE logs of it."""
        headers = self._reader.headers
        logged: dict[str, Any] = {"status": self._status()}
        if headers is None:
            return logged
        last = dict(headers)
        if b"from" in last:
            logged["from"] = text(last[b"from"])
        for name in (b"to", b"cc"):
            if last.get(name):
                logged[name.decode()] = [text(one.lstrip()) for one in last[name].split(b",")]
        if extended:
            for name, key in ((b"date", "date"), (b"message-id", "message_id"), (b"subject", "subject"),
                              (b"x-mailer", "x_mailer")):  # fmt: skip
                if name in last:
                    logged[key] = text(last[name])
            if received := all_of(headers, b"received"):
                logged["received"] = [text(one) for one in received]
        if self._attachments:
            logged["attachment"] = [text(one) for one in self._attachments]
        if urls := [text(one) for one, shown in self._urls.items() if shown]:
            logged["url"] = urls
        return logged

    def _status(self) -> str:
        if self.ended and not self.failed:
            return "PARSE_DONE"
        return "BODY_STARTED" if self._reader.headers is not None else "HEADER_STARTED"

    # Parts.

    def _take(self, what: What, ts_ns: int, number: int, out: list[Transaction]) -> None:
        match what:
            case Began(leaf):
                self._begin(leaf)
            case Content(data):
                if self._file is not None:
                    self._file.append(data, ts_ns, number, out)
                elif self._text is not None:
                    self._text += data[: self._limits.text_bytes - len(self._text)]
            case Ended(whole):
                self._finish(whole, ts_ns, number, out)

    def _begin(self, leaf: Leaf) -> None:
        if leaf.attached:
            name = leaf.names[0] if leaf.names else b""
            if name:
                self._attachments.append(name)
            self._file = self._open(leaf.names)
        else:
            self._text = bytearray()

    def _open(self, names: tuple[bytes, ...]) -> File:
        slot, protocol, tx_id, direction = self._flow
        name = names[-1] if names else b""
        return self._files.open(
            slot, protocol, tx_id, direction, name=name, fields=self._fields, beside={**self._beside, **self.buffers[0]}
        )

    def _finish(self, whole: bool, ts_ns: int, number: int, out: list[Transaction]) -> None:
        if self._file is not None:
            if whole:
                self._file.close(ts_ns, number, out)
            else:
                self._file.truncate(ts_ns, number, out)
            self._file = None
        elif self._text is not None:
            content, self._text = bytes(self._text), None
            self._links(content)
            self._embedded(content, ts_ns, number, out)
            if content and len(self._texts) < self._limits.parts:
                self._texts.append(content)

    def _links(self, content: bytes) -> None:
        """Note what a text links to, the last one first, as Suricata does."""
        if b"://" not in content:
            return
        found = {match[2][:_MAX_URL].lower(): match[1].lower() == b"http" for match in _URL.finditer(content)}
        for url, logged in reversed(found.items()):
            if len(self._urls) >= self._limits.urls:
                self._counters.add("mime.too_many_urls")
                return
            self._urls[url] = logged

    def _embedded(self, content: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Report files that stand in a text as ``uuencode`` makes them."""
        if b"begin" not in content:
            return
        starts = [match.end() for match, _ in zip(_UU.finditer(content), range(_MAX_UU), strict=False)]
        for start, end in pairwise([*starts, len(content)]):
            decoder = Uuencoded()
            data = decoder.decode(content[start:end]) + decoder.end()
            self._attachments.append(decoder.name)
            file = self._open((decoder.name,))
            file.append(data, ts_ns, number, out)
            file.close(ts_ns, number, out)

    def _account(self) -> None:
        """Count what is held; for want of memory, hold no text."""
        held = self._reader.held + sum(map(len, self._texts)) + (len(self._text) if self._text is not None else 0)
        if held > self._held and not self._pool.take(held - self._held):
            self._texts = []
            if self._text is not None:
                self._text = bytearray()
            held = min(self._reader.held, self._held)
        if held < self._held:
            self._pool.give(self._held - held)
        self._held = held
