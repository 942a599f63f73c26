"""Other ways to write an HTTP request (RFC 9112, and what servers forgive): what nginx takes, and what it refuses."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from ids.testing.evade.request import Request

Trick: TypeAlias = Callable[[Request], bytes | None]
"""Returns the request written otherwise; None where it does not fit the request."""

_CHUNKED = b"Transfer-Encoding: chunked"
_WITH_BODY = b"GET /a HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 24\r\n\r\nbenign and long enough!!"


def _target(change: Callable[[bytes], bytes | None]) -> Trick:
    def trick(request: Request) -> bytes | None:
        changed = change(request.target)
        return None if changed is None else replace(request, target=changed).text()

    return trick


def _path(change: Callable[[bytes], bytes]) -> Trick:
    def trick(request: Request) -> bytes:
        path, mark, query = request.target.partition(b"?")
        return replace(request, target=change(path) + mark + query).text()

    return trick


def _encoded(pattern: bytes, upper: bool = True) -> Callable[[bytes], bytes]:
    """Return what percent-encodes the single bytes that match; what is encoded already stays."""
    form = b"%%%02X" if upper else b"%%%02x"

    def encode(found: re.Match[bytes]) -> bytes:
        return found[0] if len(found[0]) == 3 else form % found[0][0]

    return lambda target: re.sub(rb"%[0-9A-Fa-f]{2}|" + pattern, encode, target)


def _query_only(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes | None]:
    def changed(target: bytes) -> bytes | None:
        path, mark, query = target.partition(b"?")
        return path + mark + change(query) if query else None

    return changed


def _chunked(cut: Callable[[bytes], bytes]) -> Trick:
    def trick(request: Request) -> bytes | None:
        if not request.body:
            return None
        plain = request.without(b"content-length").with_headers(b"Transfer-Encoding: chunked")
        return replace(plain, body=cut(request.body)).text()

    return trick


def _chunks(body: bytes, size: int, head: bytes = b"%x", end: bytes = b"0\r\n\r\n") -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(head % len(part) + b"\r\n" + part + b"\r\n" for part in parts) + end


def _lines(change: Callable[[bytes], bytes]) -> Trick:
    return lambda request: replace(request, headers=tuple(change(line) for line in request.headers)).text()


def _first_line(form: bytes) -> Trick:
    """Return a trick that writes the first line in a form with ``method``, ``target`` and ``version`` in it."""

    def trick(request: Request) -> bytes:
        parts = {b"method": request.method, b"target": request.target, b"version": request.version}
        rest = request.text()[len(b" ".join(parts.values())) :]
        return form % parts + rest

    return trick


def _absolute(request: Request) -> bytes:
    return replace(request, target=b"http://" + request.header(b"host") + request.target).text()


def _with(*lines: bytes) -> Trick:
    return lambda request: request.with_headers(*lines).text()


def _length(form: bytes) -> Trick:
    """Return a trick that writes the Content-Length in another form."""

    def trick(request: Request) -> bytes | None:
        if not request.body:
            return None
        return request.without(b"content-length").with_headers(b"Content-Length: " + form % len(request.body)).text()

    return trick


def _coded(*codings: bytes, size: int = 7, keep_length: bool = False, version: bytes = b"HTTP/1.1") -> Trick:
    """Return a trick that sends the body in chunks, with these header lines."""

    def trick(request: Request) -> bytes | None:
        if not request.body:
            return None
        plain = request if keep_length else request.without(b"content-length")
        return replace(plain.with_headers(*codings), version=version, body=_chunks(request.body, size)).text()

    return trick


def _with_body_coded(encode: Callable[[bytes], bytes], coding: bytes) -> Trick:
    """Return a trick that sends the body in a content coding."""

    def trick(request: Request) -> bytes | None:
        if not request.body:
            return None
        body = encode(request.body)
        lines = b"Content-Encoding: " + coding, b"Content-Length: %d" % len(body)
        return replace(request.without(b"content-length").with_headers(*lines), body=body).text()

    return trick


def _members(body: bytes) -> bytes:
    """Return gzip of many members without content, and one with it."""
    return gzip.compress(b"", mtime=0) * 40 + gzip.compress(body, mtime=0)


def _like_zlib(body: bytes) -> bytes:
    """Return raw deflate (RFC 1951) that begins like zlib (RFC 1950).

    The body is stored, which leaves bits of the block's first byte free; they and the length make the header of zlib.
    """
    size = next(size for size in range(len(body) + 16, 0xFFFF) if (0x78 << 8 | size & 0xFF) % 31 == 0)
    whole = (
        b"\x78" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + body + b"&" * (size - len(body))
    )
    return whole + b"\x01\x00\x00\xff\xff"


def _method(method: bytes) -> Trick:
    return lambda request: replace(request, method=method).text()


def _in_target(trick: Trick) -> Trick:
    """Return a trick for requests whose target says more than their headers do, which it may lose."""

    def guarded(request: Request) -> bytes | None:
        fits = request.method == b"GET" and len(request.target) > max(map(len, request.headers))
        return trick(request) if fits else None

    return guarded


def _like_chunks(request: Request) -> bytes | None:
    """Say that the body comes in chunks, to a server that knows only the length: its first line is like a size."""
    if not request.body:
        return None
    body = b"a=&" + request.body + b"\n" + b"x" * 10 + b"\r\n0\r\n\r\n"
    lines = _CHUNKED, b"Content-Length: %d" % len(body)
    return replace(request.without(b"content-length").with_headers(*lines), body=body).text()


def _as_body(request: Request) -> bytes:
    """Send the request as the body of another, to a server that reads none."""
    inner = request.text()
    lines = b"Host: " + (request.header(b"host") or b"www.example.org"), b"Content-Length: %d" % len(inner)
    return Request(b"GET", b"/a", b"HTTP/1.1", lines, inner).text()


def _within_words(change: bytes) -> Callable[[bytes], bytes]:
    """Return what puts bytes between letters."""
    return lambda line: re.sub(rb"(?<=[a-z])(?=[a-z])", change, line)


def _only_with_body(trick: Trick) -> Trick:
    return lambda request: trick(request) if request.body else None


TAKEN: dict[str, Trick] = {
    "one line end before": lambda request: b"\r\n" + request.text(),
    "forty line ends before": lambda request: b"\r\n" * 40 + request.text(),
    "five hundred line feeds before": lambda request: b"\n" * 500 + request.text(),
    "line feeds only": lambda request: request.text(b"\n"),
    "an unknown method": _method(b"FROBNICATE"),
    "a method with an underscore": _method(b"X_GET"),
    "a method of another protocol": _method(b"MAIL"),
    "a method of SMTP": _method(b"EHLO"),
    "a method of FTP": _method(b"USER"),
    "a method of IRC": _method(b"NICK"),
    "a method of two hundred letters": _method(b"A" * 200),
    "a method of WebDAV": _method(b"PROPFIND"),
    "absolute URI": _absolute,
    "absolute URI in capitals": lambda request: (
        replace(request, target=b"HTTP://" + request.header(b"host") + request.target).text()
    ),
    "two spaces before the target": _first_line(b"%(method)s  %(target)s %(version)s"),
    "five spaces before the version": _first_line(b"%(method)s %(target)s     %(version)s"),
    "a space behind the version": _first_line(b"%(method)s %(target)s %(version)s "),
    "version 1.0": lambda request: replace(request, version=b"HTTP/1.0").text(),
    "HTTP/0.9": _in_target(lambda request: b"GET " + request.target + b"\r\n"),
    "no version, but headers": _in_target(_first_line(b"%(method)s %(target)s")),
    "version 1.9": lambda request: replace(request, version=b"HTTP/1.9").text(),
    "version 1.01": lambda request: replace(request, version=b"HTTP/1.01").text(),
    "every letter of the target percent-encoded": _target(_encoded(rb"[a-zA-Z]")),
    "every third letter percent-encoded, small": _target(_encoded(rb"(?<=[a-z]{2})[a-z]", upper=False)),
    "letters of the query percent-encoded": _target(_query_only(_encoded(rb"[a-zA-Z]"))),
    "dots and slashes of the query percent-encoded": _target(_query_only(_encoded(rb"[./]"))),
    "all of the path but its first slash percent-encoded": _path(lambda path: b"/" + _encoded(rb"[^/%]")(path[1:])),
    "double slashes": _path(lambda path: path.replace(b"/", b"//")),
    "twenty slashes": _path(lambda path: path.replace(b"/", b"/" * 20, 1)),
    "dot segments": _path(lambda path: path.replace(b"/", b"/./")),
    "dot segments that go up again": _path(lambda path: b"/a/b/../.." + path),
    "percent-encoded dot segments": _path(lambda path: b"/a/%2e%2e" + path),
    "double slashes in the query": _target(_query_only(lambda query: query.replace(b"/", b"//"))),
    "dot segments in the query": _target(_query_only(lambda query: query.replace(b"/", b"/./"))),
    "a fragment behind the target": _target(lambda target: target + b"#top"),
    "an empty parameter before": _target(_query_only(lambda query: b"&&" + query)),
    "a long parameter before": _target(_query_only(lambda query: b"a=" + b"b" * 4000 + b"&" + query)),
    "header names in capitals": _lines(lambda line: line.partition(b":")[0].upper() + line[line.index(b":") :]),
    "header names in small letters": _lines(lambda line: line.partition(b":")[0].lower() + line[line.index(b":") :]),
    "no space behind the colon": _lines(lambda line: line.replace(b": ", b":", 1)),
    "many spaces behind the colon": _lines(lambda line: line.replace(b": ", b":" + b" " * 60, 1)),
    "spaces behind values": _lines(lambda line: line + b" " * 20),
    "three hundred headers before": _with(*[b"X-Filler-%d: filler" % each for each in range(300)]),
    "a header of 7 kB before": _with(b"X-Filler: " + b"f" * 7000),
    "three headers of 7 kB before": _with(*[b"X-Filler: " + b"f" * 7000] * 3),
    "two Cookies": _with(b"Cookie: a=b"),
    "a header that nginx ignores before": _with(b"X_Filler: f"),
    "the body in chunks of one byte": _chunked(lambda body: _chunks(body, 1)),
    "the body in chunks of seven bytes": _chunked(lambda body: _chunks(body, 7)),
    "chunk sizes with leading zeros": _chunked(lambda body: _chunks(body, 9, b"%012x")),
    "chunk sizes with many leading zeros": _chunked(lambda body: _chunks(body, 9, b"0" * 600 + b"%x")),
    "chunk sizes in capitals": _chunked(lambda body: _chunks(body, 15, b"%X")),
    "chunk sizes with a space behind": _chunked(lambda body: _chunks(body, 7, b"%x  ")),
    "chunk extensions": _chunked(lambda body: _chunks(body, 7, b'%x;name="value"')),
    "long chunk extensions": _chunked(lambda body: _chunks(body, 7, b"%x;" + b"e" * 900)),
    "a last chunk of many zeros": _chunked(lambda body: _chunks(body, 7, b"%x", b"0000000000\r\n\r\n")),
    "trailers behind the chunks": _chunked(lambda body: _chunks(body, 7, b"%x", b"0\r\nX-Trailer: t\r\n\r\n")),
    "chunked, in odd letters": _coded(b"tRANSFER-eNCODING:  chUNKed", size=5),
    "chunks with line feeds only": _chunked(lambda body: _chunks(body, 9).replace(b"\r\n", b"\n")),
    "Content-Length with leading zeros": _length(b"000000%d"),
    "a plain body that is called deflate": _only_with_body(_with(b"Content-Encoding: deflate")),
    "a plain body that is called gzip": _only_with_body(_with(b"Content-Encoding: gzip")),
    "an empty Cookie before": _with(b"Cookie:"),
    "raw deflate like zlib": _with_body_coded(_like_zlib, b"deflate"),
    "the request as the body of a GET": _as_body,
    "a GET with a body before": lambda request: _WITH_BODY + request.text(),
    "a header of SMTP before": lambda request: request.with_headers(b"EHLO: mail.example.org").text(),
    "Connection: close": _with(b"Connection: close"),
    "Upgrade to HTTP/2": _with(
        b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
    ),
    "Upgrade to WebSocket": _with(
        b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ),
}  # fmt: skip
"""What nginx 1.22 takes."""

REFUSED: dict[str, Trick] = {
    "a header like the first line of a response": _with(b"HTTP/1.1 200 OK: yes"),
    "a header without a name": _with(b": f"),
    "folded headers": _lines(lambda line: line.replace(b" ", b"\r\n ", 1)),
    "folded headers, with a tab": _lines(lambda line: line.replace(b": ", b":\r\n\t", 1)),
    "a tab behind the method": _first_line(b"%(method)s\t%(target)s %(version)s"),
    "a tab before the version": _first_line(b"%(method)s %(target)s\t%(version)s"),
    "a tab behind the colon": _lines(lambda line: line.replace(b": ", b":\t", 1)),
    "a space before the colon": _lines(lambda line: line.replace(b":", b" :", 1)),
    "a space before the first header": lambda request: request.text().replace(b"\r\n", b"\r\n ", 1),
    "a method in small letters": lambda request: replace(request, method=request.method.lower()).text(),
    "spaces before the method": lambda request: b"  " + request.text(),
    "no method": _first_line(b"%(target)s %(version)s"),
    "version in small letters": lambda request: replace(request, version=b"http/1.1").text(),
    "version 0.9": lambda request: replace(request, version=b"HTTP/0.9").text(),
    "version 1": lambda request: replace(request, version=b"HTTP/1").text(),
    "version 2.0": lambda request: replace(request, version=b"HTTP/2.0").text(),
    "version 1.1 behind another word": _first_line(b"%(method)s %(target)s xyz %(version)s"),
    "carriage returns only": lambda request: request.text(b"\r"),
    "backslashes in the path": _path(lambda path: path.replace(b"/", b"\\")),
    "absolute URI without a host": _target(lambda target: b"http://" + target),
    "percent-encoded twice": _in_target(_target(lambda target: _encoded(rb"[a-z]")(target).replace(b"%", b"%25"))),
    "overlong UTF-8": _target(_query_only(lambda query: query.replace(b"/", b"%c0%af"))),
    "percent u": _target(_query_only(lambda query: re.sub(rb"[a-z]", lambda found: b"%%u%04x" % found[0][0], query))),
    "a NUL in the target": _path(lambda path: path + b"%00.html"),
    "a bare NUL in a header": _with(b"X-Filler: f\0f"),
    "two Hosts": _with(b"Host: www.example.com"),
    "no Host": lambda request: request.without(b"host").text(),
    "Content-Length twice, the same": _only_with_body(
        lambda request: request.with_headers(b"Content-Length: %d" % len(request.body)).text()
    ),
    "Content-Length twice, another first": _only_with_body(_with(b"Content-Length: 3")),
    "Content-Length with a plus": _length(b"+%d"),
    "Content-Length with an underscore": _only_with_body(
        lambda request: request.without(b"content-length").with_headers(
            b"Content-Length: %d_%d" % divmod(len(request.body), 10)
        ).text()
    ),
    "a first line of SSH before": lambda request: b"SSH-2.0-x / x\r\n\r\n" + request.text(),
    "a first line of SMTP before": lambda request: b"HELO / x\r\n\r\n" + request.text(),
    "version 1 of the PROXY protocol before": lambda request: (
        b"PROXY TCP4 198.51.100.9 203.0.113.80 40000 80\r\n" + request.text()
    ),
    "version 2 of the PROXY protocol before": lambda request: (
        b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c" + bytes((198, 51, 100, 9, 203, 0, 113, 80, 156, 64, 0, 80)) + request.text()
    ),
    "gzip of forty members": _with_body_coded(_members, b"gzip"),
    "a body like chunks beside Content-Length": _like_chunks,
    "carriage returns within the target": _target(_within_words(b"\r")),
    "carriage returns within headers": _lines(_within_words(b"\r")),
    "a carriage return before each header": lambda request: replace(
        request, headers=(b"X-Filler: f\r" + b"\r".join(request.headers),)
    ).text(),
    "no-break spaces in the first line": _first_line(b"%(method)s\xa0%(target)s\xa0%(version)s"),
    "next-line characters in the first line": _first_line(b"%(method)s\x85%(target)s\x85%(version)s"),
    "Content-Length behind a no-break space": _length(b"\xa0%d"),
    "Content-Length beside chunks": _coded(_CHUNKED, keep_length=True),
    "chunked twice": _coded(_CHUNKED, _CHUNKED),
    "identity, chunked": _coded(b"Transfer-Encoding: identity, chunked"),
    "chunk sizes with 0x": _chunked(lambda body: _chunks(body, 7, b"0x%x")),
    "chunks in HTTP/1.0": _coded(_CHUNKED, version=b"HTTP/1.0"),
}  # fmt: skip
"""What nginx 1.22 refuses, or takes for another request."""
