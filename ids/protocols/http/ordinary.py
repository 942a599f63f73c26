"""Ordinary HTTP/1 messages: recognised by one regular expression, their buffers and fields made when asked for.

A message is ordinary when every reader agrees on what it says: CRLF at the end of each line, single spaces in the first
one, printable ASCII, every header with a name and none folded, no more than `MAX_HEADERS`, one plain Content-Length or
none (`heads`). What `head` and `parser` would make of such a message is made here at a fraction of the cost, and a
property test holds both equal. Whatever is not ordinary is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from ids.later import late_pattern
from ids.protocols.files import FILE_BUFFERS, File
from ids.protocols.files.names import file_name
from ids.protocols.http.block import authority, first_line, header, header_values
from ids.protocols.http.head import BUFFER_OF_HEADER, cookies_of, start_of, with_end
from ids.protocols.http.heads import RequestHead, ResponseHead
from ids.protocols.http.message import Exchange
from ids.protocols.http.uri import MAX_FILE_NAME, further_body, host_name, normalise, path_of, split_target

_COOKIE, _SET_COOKIE = b"\ncookie:", b"\nset-cookie:"
_ODD = late_pattern(rb"[%\\]|/[/.]")
"""What normalising may change in a target."""


class Ordinary(Mapping[str, bytes]):
    """The buffers of an ordinary message. Each is made when asked for, and not kept."""

    __slots__ = ("block", "body", "said")
    makers: ClassVar[Mapping[str, Callable[[Any], bytes | None]]] = {}

    block: bytes
    """The head, without the blank line that ends it."""
    body: bytes

    def get(self, name: str, default: Any = None) -> Any:
        """Return a buffer, or ``default`` where the message has none of that name."""
        maker = self.makers.get(name)
        if maker is None:
            return default
        found = maker(self)
        return default if found is None else found

    def __getitem__(self, name: str) -> bytes:
        found: bytes | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.makers if self.get(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def word(self, number: int) -> bytes:
        """Return a word of the first line; the last of three may contain spaces."""
        words = first_line(self.block).split(b" ", 2)
        return words[number] if number < len(words) else b""

    def raw_headers(self) -> bytes:
        """Return the header lines as sent, and the empty line behind them."""
        return with_end(self._lines())

    def _lines(self) -> bytes:
        return self.block[self.block.index(b"\n") + 1 :]

    def header(self, key: bytes) -> bytes | None:
        """Return the value of a header, several joined by a comma; ``key`` is ``\\nname:`` in lower case."""
        return header(self.block, self.block.lower(), key)

    def headers(self, cookie: bytes) -> bytes | None:
        """Return the header lines in one spelling, without those of cookies; ``cookie`` as in `header`. None: there are
        none."""
        lines = self._lines().split(b"\r\n")[:-1]
        if not lines:
            return None
        if self.block.lower().find(cookie) >= 0:
            name = cookie[1:]
            lines = [line for line in lines if not line.lower().startswith(name)]
        pairs = [line.partition(b":") for line in lines]
        return b"".join([name + b": " + value.strip() + b"\r\n" for name, _, value in pairs])

    def start(self) -> bytes:
        """Return first line and headers in one spelling."""
        pairs = [line.partition(b":") for line in self._lines().split(b"\r\n")[:-1]]
        return start_of(first_line(self.block), [(name, value.strip()) for name, _, value in pairs])

    def header_names(self) -> bytes | None:
        """Return the names of the headers, a line each; None: there are none."""
        names = [line[: line.index(b":")] for line in self._lines().split(b"\r\n")[:-1]]
        return b"\r\n".join([b"", *names, b"\r\n"]) if names else None


class Request(Ordinary):
    """The buffers of an ordinary request."""

    __slots__ = ()
    said: RequestHead

    def __init__(self, said: RequestHead, body: bytes) -> None:
        self.said = said
        self.block = said.block
        self.body = body

    def head_as_sent(self) -> bytes | None:
        """Return the head, as `Transaction.head_as_sent` has it, unless the target is not what it seems."""
        return self.said.sent

    def may_be_odd(self) -> bool:
        """Return `RequestHead.may_be_odd`."""
        return self.said.may_be_odd

    def uri(self) -> bytes:
        """Return the normalised target: as sent, where normalising could not change it."""
        target = self.word(1)
        return normalise(split_target(target)[1]) if _ODD.search(target) else target

    def further(self) -> Mapping[str, tuple[bytes, ...]]:
        """Return the further forms of target and body, as `Transaction.more` has them."""
        forms = further_body(self.body) if self.body else ()
        return {**self.said.more, "http.request_body": forms} if forms else self.said.more

    def raw_host(self) -> bytes | None:
        """Return the authority of the target, or the Host header."""
        return authority(self.word(1)) or self.header(b"\nhost:") or None

    def host(self) -> bytes | None:
        """Return the name of the host."""
        raw = self.raw_host()
        return None if raw is None else host_name(raw)[0]

    def file_name(self) -> bytes | None:
        """Return the name under which a body is to be stored: the path of the target."""
        if not self.body or not self.block.startswith((b"PUT ", b"POST ")):
            return None
        return path_of(self.word(1)) or None


class Response(Ordinary):
    """The buffers of an ordinary response, and what EVE logs of its exchange."""

    __slots__ = ("asked",)
    said: ResponseHead

    def __init__(self, said: ResponseHead, body: bytes, asked: Exchange | RequestHead) -> None:
        """``asked`` is the request: its head is enough, where that is ordinary."""
        self.said = said
        self.block = said.block
        self.body = body
        self.asked = asked

    def head_as_sent(self) -> bytes:
        """Return the head, as `Transaction.head_as_sent` has it."""
        return self.said.sent

    def may_be_odd(self) -> bool:
        """Return whether something may be odd about it all the same: the name of its body."""
        return len(self.block) > MAX_FILE_NAME or len(self.asked.path()) > MAX_FILE_NAME

    def fields(self) -> dict[str, Any]:
        """Return the fields of the request, then those of the response."""
        fields = self.asked.fields()
        fields |= self.said.fields()
        fields["length"] = len(self.body)
        return fields

    def spelt(self) -> str | None:
        """Return the fields as `Transaction.spelt` has them; None where the two sides may have one in common."""
        asked, said = self.asked, self.said
        if type(asked) is not RequestHead or not (asked.apart and said.apart):
            return None
        return f'"http":{{{asked.spelt()},"length":{len(self.body)},{said.spelt()}}}'

    def cookies(self) -> bytes | None:
        """Return the cookies that the server sets."""
        values = header_values(self.block, self.block.lower(), _SET_COOKIE)
        return cookies_of(values)[0] if values else None

    def file_name(self) -> bytes | None:
        """Return the name that the server gives the body, else the path of what was asked for."""
        if not self.body:
            return None
        disposition = self.header(b"\ncontent-disposition:")
        return (file_name(disposition) if disposition else None) or self.asked.path() or None


class RequestWithFile(Request):
    """An ordinary request whose body is a file that somebody wants to know of."""

    __slots__ = ("file",)
    file: File


class ResponseWithFile(Response):
    """An ordinary response, likewise."""

    __slots__ = ("file",)
    file: File


def _of_file(name: str) -> Callable[[Any], bytes | None]:
    return lambda message: message.file.buffers.get(name)


def _of_header(name: bytes) -> Callable[[Ordinary], bytes | None]:
    key = b"\n" + name + b":"
    return lambda message: message.header(key)


def _body(message: Ordinary) -> bytes | None:
    return message.body or None


_BOTH: dict[str, Callable[[Any], bytes | None]] = {
    "http.header.raw": Ordinary.raw_headers,
    "http.header_names": Ordinary.header_names,
    "http.start": Ordinary.start,
    "file.data": _body,
    **{buffer: _of_header(name) for name, buffer in BUFFER_OF_HEADER.items()},
}
Request.makers = {
    "http.request_line": lambda message: first_line(message.block),
    "http.method": lambda message: message.word(0),
    "http.uri.raw": lambda message: message.word(1),
    "http.uri": Request.uri,
    "http.protocol": lambda message: message.word(2),
    "http.host": Request.host,
    "http.host.raw": Request.raw_host,
    "http.header": lambda message: message.headers(_COOKIE),
    "http.cookie": _of_header(b"cookie"),
    "http.request_body": _body,
    "file.name": Request.file_name,
    **_BOTH,
}
Response.makers = {
    "http.response_line": lambda message: first_line(message.block),
    "http.protocol": lambda message: message.word(0),
    "http.stat_code": lambda message: message.word(1),
    "http.stat_msg": lambda message: message.word(2),
    "http.header": lambda message: message.headers(_SET_COOKIE),
    "http.cookie": Response.cookies,
    "http.response_body": _body,
    "file.name": Response.file_name,
    **_BOTH,
}
_FILE = {name: _of_file(name) for name in FILE_BUFFERS}
RequestWithFile.makers = Request.makers | _FILE
ResponseWithFile.makers = Response.makers | _FILE
