"""What the two sides of a connection agree on with ``Upgrade`` (RFC 9110 section 7.8)."""

from __future__ import annotations

from typing import Any

from ids.counters import Counters
from ids.protocols.http.head import Head, parse_request
from ids.protocols.http.message import Upgraded

_NOT_TAKEN = (b"host", b"http2-settings")
"""Headers of a request to upgrade that HTTP/2 has in another place."""


def agreed(response: Head, request: bytes, next_id: int) -> tuple[str | None, Any]:
    """Return the protocol that a response 101 says comes next, and what its parser is to know of the request.

    A response that names none means that of the request. None: it must show in its bytes. ``next_id``: of the exchange
    that would come next.
    """
    asked = parse_request(request, 1 << 30, Counters()) if request else Head({}, {})
    named = response.headers.get(b"upgrade") or asked.headers.get(b"upgrade", b"")
    words = {word.strip().partition(b"/")[0] for word in named.lower().split(b",")}
    if response.status != 101:
        return None, None
    if b"websocket" in words:
        return "websocket", None
    if b"h2c" in words:
        return "http2", _upgraded(asked, next_id) if request else None
    return None, None


def _upgraded(asked: Head, next_id: int) -> Upgraded:
    """Return a request as HTTP/2 would have it."""
    buffers = asked.buffers
    headers = [(b":method", buffers["http.method"]), (b":path", buffers["http.uri.raw"])]
    host = asked.headers.get(b"host")
    if host is not None:
        headers.append((b":authority", host))
    for line in buffers.get("http.header", b"").split(b"\r\n"):
        name, colon, value = line.partition(b": ")
        if colon and name.lower() not in _NOT_TAKEN:
            headers.append((name, value))
    if "http.cookie" in buffers:
        headers.append((b"cookie", buffers["http.cookie"]))
    return Upgraded(headers, asked.headers.get(b"http2-settings", b""), next_id)
