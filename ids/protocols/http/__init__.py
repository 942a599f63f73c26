"""HTTP/1: both directions of a connection become requests and responses with named buffers.

- `starts` has the first bytes of messages; `settings` the limits;
- `connection` reads a connection: ordinary messages by `ordinary`, everything else by `parser`, the careful lane;
- `head`, `uri` and `content` read the parts of a message; `message` holds what a connection is in the middle of.
"""

from ids.protocols.http.connection import Shared
from ids.protocols.http.settings import HttpSettings
from ids.protocols.http.starts import FROM_CLIENT, FROM_SERVER
from ids.protocols.protocol import Buffer, Protocol
from ids.types import Direction

_REQUEST, _RESPONSE = Direction.TO_SERVER, Direction.TO_CLIENT

PROTOCOL = Protocol(
    name="http",
    from_client=FROM_CLIENT,
    from_server=FROM_SERVER,
    settings=HttpSettings,
    streams=Shared,
    event="http",
    buffers=tuple(
        Buffer(name, "http", side, text)
        for name, side, text in (
            ("http.method", _REQUEST, "request method"),
            ("http.uri", _REQUEST, "request target, normalised"),
            ("http.uri.raw", _REQUEST, "request target as sent"),
            ("http.host", _REQUEST, "host name, lower case, without port"),
            ("http.host.raw", _REQUEST, "host as sent"),
            ("http.user_agent", _REQUEST, "User-Agent header"),
            ("http.referer", _REQUEST, "Referer header"),
            ("http.accept", _REQUEST, "Accept header"),
            ("http.accept_enc", _REQUEST, "Accept-Encoding header"),
            ("http.accept_lang", _REQUEST, "Accept-Language header"),
            ("http.request_body", _REQUEST, "request body, decompressed"),
            ("http.request_line", _REQUEST, "first line of the request"),
            ("http.stat_code", _RESPONSE, "status code"),
            ("http.stat_msg", _RESPONSE, "status message"),
            ("http.response_body", _RESPONSE, "response body, decompressed"),
            ("http.response_line", _RESPONSE, "first line of the response"),
            ("http.server", _RESPONSE, "Server header"),
            ("http.location", _RESPONSE, "Location header"),
            ("http.header", None, "all headers, normalised"),
            ("http.header.raw", None, "all headers as sent"),
            ("http.header_names", None, "names of the headers, in order"),
            ("http.protocol", None, "protocol version of the first line"),
            ("http.connection", None, "Connection header"),
            ("http.content_type", None, "Content-Type header"),
            ("http.content_len", None, "Content-Length header"),
            ("http.cookie", None, "Cookie or Set-Cookie header"),
        )
    ),
)

__all__ = ["PROTOCOL", "HttpSettings"]
