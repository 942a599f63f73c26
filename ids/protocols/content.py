"""Undo content codings, and find the files in a body. Bounded, and never raising, whatever the bytes."""

from __future__ import annotations

import re
import zlib
from urllib.parse import unquote_to_bytes

from ids.counters import Counters
from ids.protocols.settings import HttpSettings

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS
_MAX_MEMBERS = 16
"""Members of one gzip body; a member may be empty, so their number needs a bound of its own."""
MAX_PARTS = 64
"""Parts of a multipart body that are looked at; the rest is still in the body's buffer."""

_BOUNDARY = re.compile(rb"(?i)boundary\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))")
_FILE_NAME = re.compile(rb"(?i)filename(\*?)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;]+))")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


def decode_content(body: bytes, codings: bytes, limit: int, settings: HttpSettings, counters: Counters) -> bytes:
    """Undo the codings of a Content-Encoding value, last one first; at most ``limit`` bytes, as far as it goes."""
    names = [name.strip().lower() for name in codings.split(b",")]
    for layer, name in enumerate(reversed(names)):
        if name in (b"", b"identity"):
            continue
        if name not in (b"gzip", b"x-gzip", b"deflate"):
            counters.add("http.coding_unsupported")
            return body
        if layer >= settings.decompression_layers:
            counters.add("http.coding_too_deep")
            return body
        allowed = min(limit, len(body) * settings.decompression_ratio)
        decoded = _inflate(body, allowed)
        if not decoded and body:
            counters.add("http.coding_invalid")
            return body
        if len(decoded) >= allowed:
            counters.add("http.decompression_limit")
        body = decoded
    return body


def find_files(content_type: bytes, body: bytes, counters: Counters) -> tuple[bytes, bytes]:
    """Return names and contents of the files in a multipart body, each joined by CRLF; else nothing and ``body``."""
    boundary = _BOUNDARY.search(content_type) if b"multipart/" in content_type.lower() else None
    if boundary is None:
        return b"", body
    parts = body.split(b"--" + (boundary.group(1) or boundary.group(2) or b""), MAX_PARTS + 1)[1:]
    if len(parts) > MAX_PARTS:
        counters.add("http.multipart_too_many_parts")
        del parts[MAX_PARTS:]
    names, contents = [], []
    for part in parts:
        blank = _BLANK_LINE.search(part)
        if blank is None:
            continue
        name = file_name(part[: blank.start()])
        if name:
            names.append(name)
            contents.append(part[blank.end() :].removesuffix(b"\n").removesuffix(b"\r"))
    return b"\r\n".join(names), b"\r\n".join(contents)


def file_name(disposition: bytes) -> bytes:
    """Return the file name in a Content-Disposition value, or nothing."""
    found = _FILE_NAME.search(disposition)
    if found is None:
        return b""
    name = found.group(2) if found.group(2) is not None else found.group(3)
    return unquote_to_bytes(name.rpartition(b"''")[2]) if found.group(1) else name


def _inflate(body: bytes, limit: int) -> bytes:
    """Decompress gzip, zlib or raw deflate, up to ``limit`` bytes or the first error."""
    for wbits in (_GZIP_OR_ZLIB, _RAW_DEFLATE):
        decoded = b""
        rest = body
        for _ in range(_MAX_MEMBERS):
            machine = zlib.decompressobj(wbits)
            try:
                decoded += machine.decompress(rest, max(limit - len(decoded), 1))
            except zlib.error:
                break
            rest = machine.unused_data
            if not machine.eof or not rest or len(decoded) >= limit:
                break
        if decoded:
            return decoded[:limit]
    return b""
