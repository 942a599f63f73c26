"""How HTTP/1 messages begin: strictly, to find one again; leniently, to recognise the protocol."""

from __future__ import annotations

from ids.later import late_pattern

_METHODS = (
    rb"GET|POST|HEAD|PUT|DELETE|OPTIONS|CONNECT|TRACE|PATCH|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|SEARCH|REPORT|"
    rb"SUBSCRIBE|UNSUBSCRIBE|NOTIFY|M-SEARCH|TRACK|DEBUG|INVOKE|PURGE|RPC_IN_DATA|RPC_OUT_DATA|BPROPFIND|BITS_POST"
)
"""Methods whose name alone is enough to recognise HTTP: RFC 9110, RFC 4918, RFC 3253, and usage."""

_SPACE = rb"[\t\x0b\x0c\x1c-\x1f \x85\xa0]"
"""White space to some server: that of ASCII, and that of Latin-1."""
REQUEST_START = rb"(?:" + _METHODS + rb")[ \t]+[^ \t\r\n]"
_REQUEST_LINE = late_pattern(rb"\n" + REQUEST_START)
_SOME_SPACE = _SPACE + rb"{1,64}"
REQUEST_AS_BODY = late_pattern(
    rb"[\r\n]*(?:(?i:(?:" + _METHODS + rb")" + _SOME_SPACE + rb"[^\s\0])"
    rb"|[A-Z]{1,20}" + _SOME_SPACE + rb"\S{1,2000}" + _SOME_SPACE + rb"HTTP/\d)"
)
"""A body that begins like a request: it is one, where the server reads no body."""
_REQUEST = late_pattern(
    rb"[\r\n \t]*(?:(?i:" + _METHODS + rb")(?![!-~])|[A-Z-]{1,20}[ \t]{1,64}\S{1,2000}[ \t]{1,64}HTTP/\d)"
)
ODD_ANSWER = late_pattern(rb"(?i:[\r\n\t \0]+HTTP/|HTTP/(?!0\.9|1\.[01])[^\r\n]{3})")
"""An answer, to whom is lenient, in which Suricata does not recognise HTTP."""
RESPONSE_START = rb"(?i:HTTP)/\d\.\d[ \t]+\d{3}"

_PROXY_V1 = rb"PROXY (?:TCP4|TCP6|UNKNOWN)[^\r\n]{0,96}"
_PROXY_V2 = rb"\0\r\nQUIT\n"
_PROXY_V2_KIND = rb"[ !][\0-\x32]"
_PROXY_HEADER = late_pattern(
    rb"[\r\n]*(?:" + _PROXY_V1 + rb"(?:(\r?\n)|\r?$)|" + _PROXY_V2 + rb"(?:" + _PROXY_V2_KIND + rb"(?s:(..))|.{0,3}$))"
)
MAX_PROXY_BYTES = 2048
"""Of version 2: addresses have at most 216, and what else proxies say of a connection is short."""


def is_request(head: bytes) -> bool:
    """Return whether a head begins as a request does: with a method that is known, or with what else may be a line of
    HTTP."""
    return _REQUEST.match(head) is not None


def proxy_header(buffer: bytes | bytearray) -> tuple[int, bool]:
    """Return the length of what a proxy sends before a client's first request (haproxy's PROXY protocol, versions 1 and
    2; 0: nothing), and whether all of it is there.
    """
    found = _PROXY_HEADER.match(buffer)
    if found is None:
        return 0, True
    if found[1] is not None:
        return found.end(), True
    if found[2] is None:
        return found.end(), False
    size = found.end() + int.from_bytes(found[2], "big")
    if size > MAX_PROXY_BYTES or _REQUEST_LINE.search(buffer, 0, size) is not None:
        return 0, True  # a server without that protocol reads lines
    return size, size <= len(buffer)


_ANY_METHOD = rb"[^\t-\r \x00:]"
"""Bytes of which a method may be made, as far as some server takes it."""

_PROXIED = rb"(?:[\r\n]*" + _PROXY_V1 + rb"\r?\n)?"
_PROXIED_V2 = rb"[\r\n]*" + _PROXY_V2 + _PROXY_V2_KIND + rb"(?s:.{2,220}?)(?i:" + REQUEST_START + rb")"

CLIENT_PRELUDE = _PROXIED + rb"[\r\n]*" + _ANY_METHOD + rb"*[ \t]*"
"""What says nothing yet: servers skip any number of empty lines, and take long methods and many spaces."""

HTTP2_START = b"PRI * HTTP/2.0\r\n"
_MAY_BE_HTTP2 = rb"(?!PRI \*(?: (?:H(?:T(?:T(?:P(?:/(?:2(?:\.(?:0(?:\r(?:\n)?)?)?)?)?)?)?)?)?)?)?\Z)"
"""What is no more than the beginning of HTTP/2 so far says nothing yet."""

# The target begins where the spaces end, and nowhere before: else a run of spaces would cost its square.
FROM_CLIENT = (
    _PROXIED_V2
    + rb"|"
    + _MAY_BE_HTTP2
    + _PROXIED
    + rb"[\r\n]*(?:(?i:"
    + REQUEST_START
    + rb")|"
    + _SPACE
    + rb"{0,400}(?i:"
    + _METHODS
    + rb")"
    + _SPACE
    + rb"{1,400}(?:[/*]|[A-Za-z]+://)|"
    + _ANY_METHOD
    + rb"+[ \t]+(?:[/*]|[A-Za-z]+://|[^ \t\r\n][^\r\n]{0,399}[ \t]HTTP/\d|(?<=[ \t][ \t])HTTP/\d))"
)
WITHIN = rb"(?:" + _METHODS + rb")[ \t]+(?:/|[A-Za-z]+://)[^\r\n]*[ \t](?i:HTTP)/\d"
"""A request behind something else: strictly, for bodies and mails have such lines as well."""
SERVER_PRELUDE = rb"[\r\n\t \0]+"
FROM_SERVER = rb"[\r\n\t \0]*(?i:HTTP)/\d"
