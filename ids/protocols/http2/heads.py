"""The head of a message of HTTP/2, as the named buffers that HTTP/1 has, so that one rule serves both."""

from __future__ import annotations

from collections.abc import Sequence

from ids.later import late_pattern
from ids.protocols.http.head import BUFFER_OF_HEADER, MAX_COOKIES, Head
from ids.protocols.http.ranges import is_range
from ids.protocols.http.uri import host_name, normalise, split_target
from ids.protocols.http2.hpack import Header
from ids.protocols.protocol import ODDITY

VERSION = b"HTTP/2"
HOP_BY_HOP = (b"connection", b"transfer-encoding", b"upgrade", b"keep-alive", b"proxy-connection")
"""Headers that HTTP/2 does not have (RFC 9113 section 8.2.2): to a server behind a proxy that hands them on as HTTP/1,
the body ends elsewhere."""
_MAX_DIGITS = 18
_LINE_END = late_pattern(rb"[\r\n\0]")


def request_head(headers: Sequence[Header], *, upgraded: bool = False) -> Head:
    """Return the head of a request; what is odd about it stands in the buffer `ODDITY`. ``upgraded``: it was sent as
    HTTP/1, which has headers that HTTP/2 has not.
    """
    values = _by_name(headers)
    method, paths = _first(values, b":method"), values.get(b":path", [])
    path = paths[0] if paths else b""
    head = Head({}, {}, _joined(values), method=method)
    buffers = head.buffers
    buffers["http.request_line"] = b"%s %s %s\r\n" % (method, path, VERSION)
    buffers["http.method"], buffers["http.uri.raw"] = method, path
    authority, target = split_target(path)
    buffers["http.uri"] = normalise(target)
    if paths[1:]:
        head.more["http.uri.raw"] = tuple(paths[1:])
        head.more["http.uri"] = tuple([normalise(split_target(other)[1]) for other in paths[1:]])
    _fill(head, headers, values, b"cookie", buffers["http.request_line"])
    hosts = [*values.get(b":authority", []), *values.get(b"host", []), *([authority] if authority else [])]
    if hosts:
        names = [host_name(raw)[0] for raw in hosts]
        buffers["http.host.raw"], buffers["http.host"] = hosts[0], names[0]
        if others := tuple(dict.fromkeys(name for name in names if name != names[0])):
            head.more["http.host"] = others
    head.length = _length(values)
    _note(head, [] if upgraded else _odd_of_request(values, headers))
    return head


def response_head(headers: Sequence[Header]) -> Head:
    """Return the head of a response."""
    values = _by_name(headers)
    status = _first(values, b":status")
    head = Head({}, {}, _joined(values))
    head.buffers["http.response_line"] = b"%s %s\r\n" % (VERSION, status)
    head.buffers["http.stat_code"], head.buffers["http.stat_msg"] = status, b""
    head.status = int(status) if status.isdigit() and len(status) <= 3 else 0
    head.length = _length(values)
    _fill(head, headers, values, b"set-cookie", head.buffers["http.response_line"])
    odd = _odd_headers(headers, values)
    if not all(map(is_range, values.get(b"content-range", []))):
        odd.append(b"http2.invalid_range")
    _note(head, odd)
    return head


def part_head(headers: Sequence[Header], of_client: bool) -> Head:
    """Return what stands behind the head proper, or before it: trailers, an interim response, a promised request."""
    values = _by_name(headers)
    head = Head({}, {}, _joined(values))
    _fill(head, headers, values, b"cookie" if of_client else b"set-cookie", b"\r\n")
    _note(head, _odd_headers(headers, values))
    return head


def _fill(head: Head, headers: Sequence[Header], values: dict[bytes, list[bytes]], cookie: bytes, first: bytes) -> None:
    """Fill the buffers that requests and responses have; ``first`` is the first line."""
    buffers, more = head.buffers, head.more
    lines = [b"%s: %s" % header for header in headers]
    names = tuple([name for name, _ in headers])
    buffers["http.protocol"] = VERSION
    buffers["http.header.raw"] = b"".join([line + b"\r\n" for line in lines])
    buffers["http.header"] = buffers["http.header.raw"]
    if cookie in values:
        buffers["http.header"] = b"".join([b"%s: %s\r\n" % one for one in headers if one[0].lower() != cookie])
        present = [value for value in values[cookie] if value]
        buffers["http.cookie"] = b"; ".join(present) if cookie == b"cookie" else b", ".join(present)
        if len(several := dict.fromkeys(present)) > 1:
            more["http.cookie"] = tuple(several)[:MAX_COOKIES]
    buffers["http.header_names"] = b"\r\n" + b"".join([name + b"\r\n" for name in names]) + b"\r\n"
    buffers["http.start"] = first + buffers["http.header.raw"] + b"\r\n"
    for buffer, instances in (("http2.header_name", names), ("http2.header", tuple(lines))):
        if instances:
            buffers[buffer] = instances[0]
            more[buffer] = instances[1:]
    for key, buffer in BUFFER_OF_HEADER.items():
        if key in head.headers:
            buffers[buffer] = head.headers[key]


def _odd_of_request(values: dict[bytes, list[bytes]], headers: Sequence[Header]) -> list[bytes]:
    found = _odd_headers(headers, values)
    authority, host = _first(values, b":authority"), _first(values, b"host")
    if b"@" in authority:
        found.append(b"http2.userinfo_in_uri")
    if authority and host and host_name(authority) != host_name(host):
        found.append(b"http2.authority_host_mismatch")
    return found


def _odd_headers(headers: Sequence[Header], values: dict[bytes, list[bytes]]) -> list[bytes]:
    found = []
    if any(name in values for name in HOP_BY_HOP):
        found.append(b"http2.connection_header")
    if _LINE_END.search(b"".join([part for header in headers for part in header])) is not None:
        found.append(b"http2.line_end_in_header")
    return found


def _note(head: Head, odd: list[bytes]) -> None:
    if odd:
        head.buffers[ODDITY], head.more[ODDITY] = odd[0], tuple(odd[1:])


def _by_name(headers: Sequence[Header]) -> dict[bytes, list[bytes]]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    return values


def _joined(values: dict[bytes, list[bytes]]) -> dict[bytes, bytes]:
    return {name: several[0] if len(several) == 1 else b", ".join(several) for name, several in values.items()}


def _length(values: dict[bytes, list[bytes]]) -> int | None:
    value = _first(values, b"content-length")
    return int(value) if value.isdigit() and len(value) <= _MAX_DIGITS else None


def _first(values: dict[bytes, list[bytes]], name: bytes) -> bytes:
    return values[name][0] if name in values else b""
