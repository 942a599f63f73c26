"""Undo content codings, and find the files in a body. Bounded, and never raising, whatever the bytes."""

from __future__ import annotations

import re
import zlib
from urllib.parse import unquote_to_bytes

from ids.counters import Counters
from ids.protocols.http.settings import HttpSettings

_MAX_MEMBERS = 16
"""Members of one gzip body; a member may be empty, so their number needs a bound of its own."""
_STEP = 512
"""Bytes fed to the decompressor at once: when it fails, what came before is kept."""
MAX_PARTS = 64
"""Parts of a multipart body that are looked at; the rest is still in the body's buffer."""

_BOUNDARY = re.compile(rb"(?i)boundary\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))")
_FILE_NAME = re.compile(rb"(?i)filename(\*?)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;]+))")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_CODING = re.compile(rb"gzip|deflate|br\b|zstd|compress")
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_HEADER, _GZIP_TRAILER = 10, 8


def decode_content(body: bytes, codings: bytes, limit: int, settings: HttpSettings, counters: Counters) -> bytes:
    """Undo the codings of a Content-Encoding value, last one first; at most ``limit`` bytes, as far as it goes."""
    names = _CODING.findall(codings.replace(b"\0", b"").lower())
    if len(names) > settings.decompression_layers:
        counters.add("http.coding_too_deep")
    for name in names[: -settings.decompression_layers - 1 : -1]:
        if name not in (b"gzip", b"deflate"):
            counters.add("http.coding_unsupported")
            continue
        allowed = min(limit, len(body) * settings.decompression_ratio)
        decoded = _gunzip(body, allowed) if body.startswith(_GZIP_MAGIC) else _inflate_either(body, allowed)
        if body and not decoded:
            counters.add("http.coding_invalid")
            continue
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


def _gunzip(body: bytes, limit: int) -> bytes:
    """Decompress gzip members (RFC 1952), without regard to their checksums: not every client checks them."""
    decoded, rest = b"", body
    for _ in range(_MAX_MEMBERS):
        if not rest.startswith(_GZIP_MAGIC) or len(decoded) >= limit:
            break
        member, rest = _inflate(rest[_gzip_header_length(rest) :], limit - len(decoded))
        decoded += member
        rest = rest[_GZIP_TRAILER:]
    return decoded


def _gzip_header_length(member: bytes) -> int:
    """Return the length of a gzip header, its optional fields included (RFC 1952 section 2.3.1)."""
    flags = member[3] if len(member) > 3 else 0
    length = _GZIP_HEADER
    if flags & 0x04:
        length += 2 + int.from_bytes(member[length : length + 2], "little")
    for flag in (0x08, 0x10):  # name, comment
        if flags & flag:
            end = member.find(b"\0", length)
            length = end + 1 if end >= 0 else length
    return length + 2 if flags & 0x02 else length


def _inflate_either(body: bytes, limit: int) -> bytes:
    """Decompress zlib (RFC 1950), or raw deflate, which many servers send under the same name."""
    if len(body) > 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0:
        decoded, _ = _inflate(body[2:], limit)
        if decoded:
            return decoded
    return _inflate(body, limit)[0]


def _inflate(body: bytes, limit: int) -> tuple[bytes, bytes]:
    """Decompress raw deflate, up to ``limit`` bytes or the first error; return also what follows its end."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    decoded = bytearray()
    for at in range(0, len(body), _STEP):
        try:
            decoded += machine.decompress(body[at : at + _STEP], max(limit - len(decoded), 1))
        except zlib.error:
            return bytes(decoded), b""
        if machine.eof:
            return bytes(decoded[:limit]), machine.unused_data + body[at + _STEP :]
        if len(decoded) >= limit:
            break
    return bytes(decoded[:limit]), b""
