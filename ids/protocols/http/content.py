"""Undo content codings, and find the files in a body. Bounded, and never raising, whatever the bytes."""

from __future__ import annotations

import zlib

from ids.counters import Counters
from ids.later import late_pattern
from ids.protocols.files.names import file_name
from ids.protocols.http.codings import UNDO, too_much_memory
from ids.protocols.http.settings import BodySettings

MAX_MEMBERS = 16384
"""Members of one gzip body that are decompressed: more than a body of 100 KiB holds, for the least has 20 bytes. Each
costs some microseconds, so in a larger body their number needs a bound."""
FREE_MEMBERS = 128
"""Of them, those that a body may have whatever its size; each further one needs `_LEAST_MEMBER` bytes as it was sent:
coded twice, thousands of members are some dozens of bytes."""
_LEAST_MEMBER = 18
"""Bytes of a gzip header and trailer."""
MAX_READINGS = 4
"""Of a body coded several times, each in a way that can be read as two."""
_STEP = 512
"""Bytes fed to the decompressor at once: when it fails, what came before is kept."""
MAX_PARTS = 64
"""Parts of a multipart body that are looked at; the rest is still in the body's buffer."""

_BOUNDARY = late_pattern(rb"(?i)boundary\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))")
_BLANK_LINE = late_pattern(rb"\r?\n\r?\n")
_CODING = late_pattern(rb"gzip|deflate|\bbr\b|zstd|lzma|\bxz\b|compress")
_PADDING = late_pattern(rb"\0*")
"""What may stand between two members."""
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_HEADER, _GZIP_TRAILER = 10, 8
_DEFLATED = 8
"""The only method of compression there is."""
_RESERVED = 0xE0
"""Flags of gzip that have no meaning."""
BOMB_BYTES = 1 << 20
"""What a body must come to, at least, to be a bomb: Suricata's compression-bomb-limit."""
MISLABELLED = "http.coding_mislabelled"
"""Counts bodies that are coded otherwise than their header says,"""
INVALID = "http.coding_invalid"
"""those of which nothing comes,"""
BOMBS = "http.compression_bomb"
"""those coded several times that grow by more than ``decompression_ratio``, by how the parts grow that were undone,"""
MEMORY_LIMIT = "http.lzma_memlimit"
"""and those of LZMA that ask for too much memory."""


class Budget:
    """What undoing the codings of one body may cost, over all layers and readings."""

    __slots__ = ("bytes", "members", "mislabelled")

    def __init__(self, size: int, limit: int) -> None:
        """Take the size of the body as it was sent, and the limit of what comes of it."""
        self.members = min(FREE_MEMBERS + size // _LEAST_MEMBER, MAX_MEMBERS)
        self.bytes = max(MAX_READINGS * limit, size)
        self.mislabelled = False
        """The body is not what its codings say, though it may be readable: gzip without its magic, with what RFC 1952
        reserves, or with another checksum or length than its own; deflate that is not raw, as Suricata takes it."""


def decode_content(
    body: bytes, codings: bytes, limit: int, settings: BodySettings, counters: Counters, goes_on: bool = False
) -> tuple[bytes, ...]:
    """Undo the codings of a Content-Encoding value, last one first; at most ``limit`` bytes, as far as it goes.

    Return what comes of it, and all else that may: raw deflate can be written such that it looks like zlib, and who
    gets it takes it for the one or the other. Of a body that ``goes_on`` there may be nothing yet.
    """
    names = _CODING.findall(codings.replace(b"\0", b"").lower())
    if len(names) > settings.decompression_layers:
        counters.add("http.coding_too_deep")
    readings, budget, growth = [body], Budget(len(body), limit), 1.0
    for name in names[: -settings.decompression_layers - 1 : -1]:
        undo = UNDO.get(name)
        if undo is None and name not in (b"gzip", b"deflate"):
            counters.add("http.coding_unsupported")
            continue
        found: dict[bytes, None] = {}
        for reading in readings:
            allowed = min(limit, len(reading) * settings.decompression_ratio, budget.bytes)
            if undo is not None:
                content, intact = undo(reading, allowed)
                decoded, failed = [content] if content else [], not intact
                if failed and not content and name in (b"lzma", b"xz") and too_much_memory(reading):
                    counters.add(MEMORY_LIMIT)
            else:
                decoded, failed = _decoded(name, reading, allowed, budget, counters)
            budget.bytes -= sum(map(len, decoded))
            if reading is readings[0] and len(names) > 1 and decoded:
                growth *= _growth(reading, decoded[0], allowed)
            if not decoded and (failed or not goes_on):
                counters.add(INVALID)
                decoded = [reading]
            elif decoded and len(decoded[0]) >= allowed:
                counters.add("http.decompression_limit")
            found.update(dict.fromkeys(decoded))
        readings = list(found)
        if len(readings) > MAX_READINGS:
            counters.add("http.coding_too_many_readings")
            del readings[MAX_READINGS:]
    if budget.mislabelled:
        counters.add(MISLABELLED)
    if growth > settings.decompression_ratio and growth * len(body) > BOMB_BYTES:
        counters.add(BOMBS)
    return tuple(readings)


def _growth(body: bytes, decoded: bytes, allowed: int) -> float:
    """Return how many times its size a body comes to. What was cut is taken to go on growing as it began."""
    if len(decoded) < allowed:
        return len(decoded) / max(len(body), 1)
    for wbits in (zlib.MAX_WBITS + 32, -zlib.MAX_WBITS):
        machine = zlib.decompressobj(wbits)
        try:
            beginning = machine.decompress(body, allowed)
        except zlib.error:
            continue
        return len(beginning) / max(len(body) - len(machine.unconsumed_tail) - len(machine.unused_data), 1)
    return len(decoded) / max(len(body), 1)


def _decoded(name: bytes, body: bytes, limit: int, budget: Budget, counters: Counters) -> tuple[list[bytes], bool]:
    """Undo gzip or deflate, whatever the coding is called; return all that may be meant, and whether it was neither."""
    if _GZIP_MAGIC.startswith(body[:2]):
        found = [_gunzip(body, limit, budget, counters)]
        budget.mislabelled |= name == b"deflate" and len(body) > 1
    else:
        found = [_inflate(body, 0, limit)]
        wrapped = len(body) > 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
        if wrapped:
            found.insert(0, _inflate(body, 2, limit))
        budget.mislabelled |= found[-1][1] < 0 if name == b"deflate" else not wrapped or found[0][1] < 0
    return [decoded for decoded, _ in found if decoded], all(end < 0 for _, end in found)


def boundary_of(content_type: bytes) -> bytes | None:
    """Return what stands between the parts of a multipart body; None where the body is none."""
    found = _BOUNDARY.search(content_type) if b"multipart/" in content_type.lower() else None
    return None if found is None else found.group(1) or found.group(2) or b""


def file_parts(body: bytes, boundary: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and content of each part of a multipart body that is a file; of the first `MAX_PARTS` parts."""
    found = []
    for part in body.split(b"--" + boundary, MAX_PARTS + 1)[1 : MAX_PARTS + 1]:
        blank = _BLANK_LINE.search(part)
        name = file_name(part[: blank.start()]) if blank is not None else b""
        if blank is not None and name:
            found.append((name, part[blank.end() :].removesuffix(b"\n").removesuffix(b"\r")))
    return found


def find_files(content_type: bytes, body: bytes, counters: Counters) -> tuple[bytes, bytes]:
    """Return names and contents of the files in a multipart body, each joined by CRLF; else nothing and ``body``."""
    boundary = boundary_of(content_type)
    if boundary is None:
        return b"", body
    if body.count(b"--" + boundary) > MAX_PARTS:
        counters.add("http.multipart_too_many_parts")
    parts = file_parts(body, boundary)
    return b"\r\n".join([name for name, _ in parts]), b"\r\n".join([content for _, content in parts])


def _gunzip(body: bytes, limit: int, budget: Budget, counters: Counters) -> tuple[bytes, int]:
    """Decompress gzip members (RFC 1952), without regard to their checksums: not every client checks them.

    Returns also where they end, as `_inflate` does. What is beyond the budget follows as it is.
    """
    decoded, at = bytearray(), 0
    while body.startswith(_GZIP_MAGIC, at) and len(decoded) < limit:
        if not budget.members:
            counters.add("http.gzip_too_many_members")
            return bytes(decoded) + body[at : at + limit - len(decoded)], at
        budget.members -= 1
        start = at + _gzip_header_length(body, at)
        member, end = _inflate(body, start, limit - len(decoded))
        decoded += member
        if end < 0:
            budget.mislabelled = True
            return bytes(decoded), end
        budget.mislabelled |= _is_odd_member(body, at, start, member, end)
        padding = _PADDING.match(body, end + _GZIP_TRAILER)
        at = padding.end() if padding is not None else len(body)
    return bytes(decoded), at


def _is_odd_member(body: bytes, at: int, start: int, member: bytes, end: int) -> bool:
    """Return whether flags of a gzip member have no meaning, or a checksum is wrong; ``start`` and ``end`` are those of
    what is compressed."""
    if len(body) < max(at + _GZIP_HEADER, start):
        return False
    method, flags, header = body[at + 2], body[at + 3], body[at:start]
    if method != _DEFLATED or flags & _RESERVED:
        return True
    if flags & 0x02 and zlib.crc32(header[:-2]) & 0xFFFF != int.from_bytes(header[-2:], "little"):
        return True
    trailer = zlib.crc32(member).to_bytes(4, "little") + (len(member) & 0xFFFFFFFF).to_bytes(4, "little")
    return end + _GZIP_TRAILER <= len(body) and body[end : end + _GZIP_TRAILER] != trailer


def _gzip_header_length(body: bytes, at: int) -> int:
    """Return the length of the gzip header there, its optional fields included (RFC 1952 section 2.3.1)."""
    flags = body[at + 3] if len(body) > at + 3 else 0
    end = at + _GZIP_HEADER
    if flags & 0x04:
        end += 2 + int.from_bytes(body[end : end + 2], "little")
    for flag in (0x08, 0x10):  # name, comment
        if flags & flag:
            zero = body.find(b"\0", end)
            end = zero + 1 if zero >= 0 else end
    return end - at + (2 if flags & 0x02 else 0)


def _inflate(body: bytes, at: int, limit: int) -> tuple[bytes, int]:
    """Decompress raw deflate from a place on, up to ``limit`` bytes or the first error; return also where it ends.

    Where something is wrong, what came before it is kept, to the byte, and the end is -1.
    """
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    decoded = bytearray()
    size, step = len(body), _STEP
    while at < size and len(decoded) < limit:
        before = machine.copy() if step > 1 else machine
        try:
            decoded += machine.decompress(body[at : at + step], limit - len(decoded))
        except zlib.error:
            if step == 1:
                return bytes(decoded), -1
            machine, size, step = before, min(size, at + step), 1
            continue
        at += step
        if machine.eof:
            return bytes(decoded), min(at, size) - len(machine.unused_data)
    return bytes(decoded), len(body)
