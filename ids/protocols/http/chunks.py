"""What stands between the chunks of a body: their sizes, and what else is on those lines."""

from __future__ import annotations

from ids.counters import Counters
from ids.later import late_pattern
from ids.protocols.http.message import Side, Step
from ids.types import Direction

_SIZE = late_pattern(rb"[\s\0]*(?:0[xX])?0*([0-9A-Fa-f]{1,15})")
_NO_SIZE = late_pattern(rb"[\s\0]{0,64}[^\s\0A-Fa-f0-9]")
"""What begins no size, whatever follows."""
_PLAIN_EXTENSION = late_pattern(rb"[ \t]*(?:;[ \t]*[\w.!#-]+(?:=\"?[\w.!#-]*\"?)?[ \t]*){0,4}\r?")
"""What may stand behind a size without being looked at, while it is short: `_MAX_PLAIN_EXTENSION`."""
_MAX_PLAIN_EXTENSION = 64
_MAX_LINE = 4096
"""Bytes kept of such a line with its extensions."""
_ZEROS = late_pattern(rb"[\s\0]*(?:0[xX])?0*[0-9A-Fa-f]{0,15}$")
"""A size that may go on."""
_MAX_DIGITS = 16
_BAD_SIZE = (b"invalid_request_chunk_len", b"invalid_response_chunk_len")
"""By `Direction`: what chunks are called without a size."""


def read_size(side: Side, counters: Counters) -> bool:
    """Take the line before a chunk from the buffer; return whether another step may follow."""
    buffer = side.buffer
    end = buffer.find(b"\n", side.scanned)
    if end < 0:
        side.scanned = len(buffer)
        if _NO_SIZE.match(buffer):
            _leave(side, counters)
            return True
        return len(buffer) > _MAX_LINE and _cut(side, counters)
    size = _SIZE.match(bytes(buffer[:end]))
    side.scanned = 0
    message = side.message
    assert message is not None
    if not buffer[:end].strip(b"\r\t "):
        message.chunk_bytes += end + 1
        del buffer[: end + 1]
        return True
    if size is None:
        _leave(side, counters)
        return True
    if end > size.end():
        _keep_extension(side, counters, bytes(buffer[:end]), size.end())
    message.chunk_bytes += end + 1
    del buffer[: end + 1]
    side.remaining = int(size.group(1), 16)
    side.step = Step.CHUNK if side.remaining else Step.TRAILER
    return True


def read_extension(side: Side) -> bool:
    """Take the rest of a line that is longer than is kept; return whether another step may follow."""
    message, end = side.message, side.buffer.find(b"\n")
    assert message is not None
    if side.direction is Direction.TO_SERVER:
        more = side.buffer[: end if end >= 0 else None]
        message.strays[-1:] = more[: max(side.limit - len(message.strays), 0)] + b"\n"
    if end < 0:
        side.buffer.clear()
        return False
    del side.buffer[: end + 1]
    side.step = Step.CHUNK if side.remaining else Step.TRAILER
    return True


def _cut(side: Side, counters: Counters) -> bool:
    """Keep of a chunk-size line that does not end what matters of it; return whether another step may follow."""
    line = bytes(side.buffer)
    side.scanned = 0
    if _ZEROS.match(line) is not None:
        side.buffer[:] = (b"0" if line.strip() else b" ") + line[-_MAX_DIGITS:].lstrip(b" \t\r\v\f\0xX")
        return False
    size = _SIZE.match(line)
    if size is None:
        _leave(side, counters)
        return True
    _keep_extension(side, counters, line, size.end())
    side.buffer.clear()
    side.remaining = int(size.group(1), 16)
    side.step = Step.CHUNK_EXTENSION
    return False


def _keep_extension(side: Side, counters: Counters, line: bytes, at: int) -> None:
    """Keep a chunk-size line with more behind its size than chunks have: to some server it is a body."""
    message = side.message
    assert message is not None
    if b";" in line[at:]:
        message.noted.add(b"request_chunk_extension")  # Suricata's name for those of answers, too
    plain = len(line) - at <= _MAX_PLAIN_EXTENSION and _PLAIN_EXTENSION.fullmatch(line, at) is not None
    if not plain and side.direction is Direction.TO_SERVER:
        counters.add("http.chunk_extension_odd")
        message.strays += line[: max(side.limit - len(message.strays), 0)] + b"\n"


def _leave(side: Side, counters: Counters) -> None:
    """Take what is not in chunks after all for a plain body."""
    message = side.message
    assert message is not None
    counters.add("http.chunk_invalid")
    message.noted.add(_BAD_SIZE[side.direction])
    if message.head.length and not message.size:
        side.step, side.remaining = Step.BODY, message.head.length
    else:
        side.step = Step.UNTIL_CLOSE
