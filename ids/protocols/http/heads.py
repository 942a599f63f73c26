"""The heads of ordinary messages, read once however often they are said.

Programs say the same head with each connection, and so does a server for each page. What follows from the bytes of a
head alone is kept with it: whether it is ordinary, where its body ends, and what EVE logs of it. `ordinary` says what
ordinary means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import orjson

from ids.later import late_pattern
from ids.protocols.http.block import header_values, request_fields, response_fields
from ids.protocols.http.head import cookies_of
from ids.protocols.http.uri import MAX_FILE_NAME, further_forms, path_of

MAX_HEADERS = 64
"""More headers than browsers and servers send; counting on costs more than the careful way."""
MAX_KNOWN = 1024
"""Heads of a side that are kept. Beyond it all are let go: nothing is lost but the time to read them again."""
MAX_KNOWN_BYTES = 1024
"""Of a head that is kept: those that come again are short, for long ones carry what is one visitor's."""

_HEADERS = rb"\r\n(?:[!#$%%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n){0,%d}"
_REQUEST = rb"(?:GET|POST|HEAD|PUT|DELETE|OPTIONS|PATCH) [!-~]+ HTTP/1\.[01]"
_RESPONSE = rb"HTTP/1\.[01] [2-9][0-9][0-9](?: (?:[!-~][ -~]*)?)?"
_TRANSFER = b"\ntransfer-encoding:"
_LENGTH = b"\ncontent-length:"
_CODED = b"\ncontent-encoding:"
_RANGE = b"\ncontent-range:"
_DISPOSITION = b"\ncontent-disposition:"
_HOST, _AUTHORIZATION = b"\nhost:", b"\nauthorization:"
_COOKIE, _SET_COOKIE = b"\ncookie:", b"\nset-cookie:"
_BODILESS = (b"204", b"304")
_NOTHING: dict[str, tuple[bytes, ...]] = {}
_MAX_DIGITS = 18
_ODD_TARGET = late_pattern(rb"[A-Z]+ [!-~]*?(?:[%\\#]|/[/.])")
_END = b"\r\n\r\n"
_LINE_END = b"\r\n"

Said = TypeVar("Said", "RequestHead", "ResponseHead")


class RequestHead:
    """What the head of an ordinary request says."""

    __slots__ = (
        "_fields", "_path", "_spelt", "apart", "block", "coded", "length", "may_be_odd", "method", "more", "sent",
    )  # fmt: skip

    def __init__(self, block: bytes, low: bytes, length: int) -> None:
        self.block = block
        """The head, without the blank line that ends it."""
        self.length = length
        """Content-Length; -1: there is none."""
        self.method = block[: block.index(b" ")]
        self.coded = length > 0 and coded(low)
        """The body has to be decoded or taken apart."""
        odd = _ODD_TARGET.match(block) is not None
        self.sent = None if odd else block + _LINE_END
        """The head with the blank line, unless the target is not what it seems."""
        forms = further_forms(block.split(b" ", 2)[1]) if odd else ()
        self.more = {"http.uri": forms} if forms else _NOTHING
        """Further forms of the target, as `Transaction.more` has them."""
        self._fields: dict[str, Any] | None = None
        self._spelt = ""
        self._path: bytes | None = None
        self.apart = b"\nlocation:" not in low
        """It has no field that a response may have as well."""
        self.may_be_odd = low.find(_HOST) < 0 or low.find(_AUTHORIZATION) >= 0 or len(block) > MAX_FILE_NAME
        """Something may be odd about it all the same: that it names no host, how it logs in, or its path."""

    @classmethod
    def read(cls, block: bytes) -> RequestHead | None:
        """Return what a head says; None where its lines are ordinary, but not all that they say."""
        low = block.lower()
        length = body_length(low)
        return None if length is None or several_cookies(low) else cls(block, low, length)

    def fields(self) -> dict[str, Any]:
        """Return what EVE logs of the request, as a copy; with the length of a response that has not come."""
        if self._fields is None:
            self._fields = request_fields(self.block)
        return {**self._fields, "length": 0}

    def spelt(self) -> str:
        """Return the same as JSON, without length and braces."""
        if not self._spelt:
            if self._fields is None:
                self._fields = request_fields(self.block)
            self._spelt = orjson.dumps(self._fields).decode()[1:-1]
        return self._spelt

    def path(self) -> bytes:
        """Return the path of the target, normalised."""
        if self._path is None:
            self._path = path_of(self.block.split(b" ", 2)[1])
        return self._path


class ResponseHead:
    """What the head of an ordinary final response says."""

    __slots__ = ("_fields", "_spelt", "apart", "block", "bodiless", "coded", "length", "more", "named", "sent")

    def __init__(self, block: bytes, low: bytes, length: int) -> None:
        self.block = block
        """The head, without the blank line that ends it."""
        self.length = length
        """Content-Length; -1: there is none."""
        self.sent = block + _LINE_END
        """The head with that."""
        self.bodiless = block[9:12] in _BODILESS
        """No body follows, whatever the length."""
        self.coded = coded(low)
        """The body has to be decoded or taken apart."""
        self.named = _DISPOSITION in low
        """It names its body."""
        self.more = _several(block, low)
        """Each of several cookies, as `Transaction.more` has them."""
        self._fields: dict[str, Any] | None = None
        self._spelt = ""
        self.apart = b"\nuser-agent:" not in low and b"\nreferer:" not in low
        """It has no field of a request but that of `RequestHead.apart`."""

    @classmethod
    def read(cls, block: bytes) -> ResponseHead | None:
        """Return what a head says; None as for `RequestHead.read`."""
        low = block.lower()
        length = body_length(low)
        return None if length is None or _RANGE in low else cls(block, low, length)

    def fields(self) -> dict[str, Any]:
        """Return what EVE logs of it; not to be changed."""
        if self._fields is None:
            self._fields = response_fields(self.block)
        return self._fields

    def spelt(self) -> str:
        """Return the same as JSON, without braces."""
        if not self._spelt:
            self._spelt = orjson.dumps(self.fields()).decode()[1:-1]
        return self._spelt


class Heads(Generic[Said]):
    """Finds the heads of one side."""

    __slots__ = ("_is_ordinary", "_known", "_limit", "_read")

    def __init__(self, pattern: re.Pattern[bytes], read: Callable[[bytes], Said | None], header_bytes: int) -> None:
        """``header_bytes``: of the longest head that is looked at, its blank line included."""
        self._is_ordinary = pattern.fullmatch
        self._read: Callable[[bytes], Said | None] = read
        self._limit = header_bytes
        self._known: dict[bytes, Said] = {}

    def at(self, data: bytes, at: int) -> Said | None:
        """Return the ordinary head that begins there and is whole; None where there is none."""
        end = data.find(_END, at, at + self._limit)
        if end < 0:
            return None
        block = data[at : end + 2]
        said = self._known.get(block)
        if said is None and self._is_ordinary(block) is not None:
            said = self._read(block)
            if said is not None and end - at <= MAX_KNOWN_BYTES:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[block] = said
        return said


def request_heads(header_count: int, header_bytes: int) -> Heads[RequestHead]:
    """Return what finds the heads of ordinary requests."""
    pattern = re.compile(_REQUEST + _HEADERS % min(header_count, MAX_HEADERS))
    return Heads(pattern, RequestHead.read, header_bytes)


def response_heads(header_count: int, header_bytes: int) -> Heads[ResponseHead]:
    """Return what finds the heads of ordinary final responses."""
    pattern = re.compile(_RESPONSE + _HEADERS % min(header_count, MAX_HEADERS))
    return Heads(pattern, ResponseHead.read, header_bytes)


def body_length(low: bytes) -> int | None:
    """Return the Content-Length of a head in lower case, -1 without one; None where the end of the body is no plain
    matter."""
    if low.find(_TRANSFER) >= 0:  # quicker than `in`
        return None
    at = low.find(_LENGTH)
    if at < 0:
        return -1
    at += len(_LENGTH)
    digits = low[at : low.index(b"\r", at)].strip()
    if not digits.isdigit() or len(digits) > _MAX_DIGITS or low.find(_LENGTH, at) >= 0:
        return None
    return int(digits)


def several_cookies(low: bytes) -> bool:
    """Return whether a head, in lower case, has more than one Cookie header."""
    at = low.find(_COOKIE)
    return at >= 0 and low.find(_COOKIE, at + 1) >= 0


def coded(low: bytes) -> bool:
    """Return whether a body with this head, in lower case, has to be decoded or taken apart."""
    return _CODED in low or b"multipart/" in low


def _several(block: bytes, low: bytes) -> dict[str, tuple[bytes, ...]]:
    at = low.find(_SET_COOKIE)
    if at < 0 or low.find(_SET_COOKIE, at + 1) < 0:
        return _NOTHING
    several = cookies_of(header_values(block, low, _SET_COOKIE))[1]
    return {"http.cookie": several} if several else _NOTHING
