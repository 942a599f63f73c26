"""HTTP/1: both directions of a connection become requests and responses with named buffers.

- `starts` has the first bytes of messages; `settings` the limits;
- `connection` reads a connection: ordinary messages by `ordinary`, everything else by `parser`, the careful lane;
- `block`, `head`, `uri` and `content` read the parts of a message; `ends` finds the end of a head, `chunks` reads the
  sizes of chunks;
- `message` holds what a connection is in the middle of, `reports` makes transactions of it;
- `codings` undoes brotli, zstd and LZMA, `upgrade` says what comes after HTTP;
- `oddities` says what is odd about a head, `parts` about the parts of a form.
"""

from functools import partial

from ids.protocols.http.connection import Shared
from ids.protocols.http.frames import frame_of
from ids.protocols.http.oddities import ODDITIES, odd
from ids.protocols.http.settings import HttpSettings
from ids.protocols.http.starts import CLIENT_PRELUDE, FROM_CLIENT, FROM_SERVER, SERVER_PRELUDE, WITHIN
from ids.protocols.protocol import Buffer, Protocol
from ids.types import Direction
from ids.types.transactions import DERIVED, ODD_OF

_REQUEST, _RESPONSE = Direction.TO_SERVER, Direction.TO_CLIENT

_WHOLE: tuple[bytes, ...] = ()
"""A piece of the head as it is."""
_MERGED = (b", ",)
"""The values of all headers of one name."""

_LINES = (b": ", b", ", b"\r\n")
"""Headers, those of one name joined."""

_BODIES = ("http.request_body", "http.response_body")
_GROWING = (*_BODIES, "http.frame.request", "http.frame.response")
_SEVERAL = ("http.uri", "http.cookie", "http.request_header", "http.response_header", *_BODIES)

PROTOCOL = Protocol(
    name="http",
    by_message=True,
    from_client=FROM_CLIENT,
    client_prelude=CLIENT_PRELUDE,
    from_server=FROM_SERVER,
    strict=True,
    server_prelude=SERVER_PRELUDE,
    within=(b" http/", WITHIN),
    sure=True,
    settings=HttpSettings,
    streams=Shared,
    event="http",
    oddities=ODDITIES,
    buffers=tuple(
        Buffer(name, "http", side, text, name in _SEVERAL, seams, grows=name in _GROWING)
        for name, side, seams, text in (
            ("http.method", _REQUEST, _WHOLE, "request method"),
            ("http.uri", _REQUEST, _WHOLE, "request target, normalised; further forms beside"),
            ("http.uri.raw", _REQUEST, _WHOLE, "request target as sent"),
            ("http.host", _REQUEST, _MERGED, "host name, lower case, without port"),
            ("http.host.raw", _REQUEST, _MERGED, "host as sent"),
            ("http.user_agent", _REQUEST, _MERGED, "User-Agent header"),
            ("http.referer", _REQUEST, _MERGED, "Referer header"),
            ("http.accept", _REQUEST, _MERGED, "Accept header"),
            ("http.accept_enc", _REQUEST, _MERGED, "Accept-Encoding header"),
            ("http.accept_lang", _REQUEST, _MERGED, "Accept-Language header"),
            ("http.request_body", _REQUEST, None, "request body, decompressed; also without percent-encoding"),
            ("http.request_line", _REQUEST, _WHOLE, "first line of the request"),
            ("http.stat_code", _RESPONSE, _WHOLE, "status code"),
            ("http.stat_msg", _RESPONSE, _WHOLE, "status message"),
            ("http.response_body", _RESPONSE, None, "response body, decompressed"),
            ("http.response_line", _RESPONSE, _WHOLE, "first line of the response"),
            ("http.server", _RESPONSE, _MERGED, "Server header"),
            ("http.location", _RESPONSE, _MERGED, "Location header"),
            ("http.header", None, (b": ", b"\r\n"), "all headers, normalised"),
            ("http.start", None, _LINES, "first line and all headers, normalised, with the empty line behind them"),
            ("http.request_header", _REQUEST, _LINES, "each header of the request, normalised, without its line end"),
            ("http.response_header", _RESPONSE, _LINES, "each header of the response, normalised"),
            ("http.frame.request", _REQUEST, None, "head of the request as sent, and its body behind it, decoded"),
            ("http.frame.response", _RESPONSE, None, "head of the response as sent, and its body behind it, decoded"),
            ("http.header.raw", None, _WHOLE, "all headers as sent, with the empty line behind them"),
            ("http.header_names", None, None, "names of the headers, in order"),
            ("http.protocol", None, _WHOLE, "protocol version of the first line"),
            ("http.connection", None, _MERGED, "Connection header"),
            ("http.content_type", None, _MERGED, "Content-Type header"),
            ("http.content_len", None, _MERGED, "Content-Length header"),
            ("http.cookie", None, _MERGED, "Cookie or Set-Cookie header; several also each by itself"),
        )
    ),
)

ODD_OF[PROTOCOL.name] = odd
DERIVED.update({"http.frame.request": partial(frame_of, _REQUEST), "http.frame.response": partial(frame_of, _RESPONSE)})

__all__ = ["PROTOCOL", "HttpSettings"]
