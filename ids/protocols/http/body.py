"""What the body of a message adds to the buffers of its head, and when a body that goes on is looked at again.

A server may act on a head, or on the beginning of a body, whose end never comes. So what is there is looked at when the
head is complete, and again as the body grows: `EARLY_LOOKS` times however little it grew, then each time by half. The
bytes of all looks together are at most three times those of the body, and `EARLY_LOOKS` times those of a short one. A
body that is coded has to be decoded from its start, and one of a server is seldom cut short: each is looked at when it
has doubled.
"""

from __future__ import annotations

from ids.counters import Counters
from ids.protocols.files.names import file_name
from ids.protocols.http.content import (
    BOMBS,
    INVALID,
    MEMORY_LIMIT,
    MISLABELLED,
    boundary_of,
    decode_content,
    find_files,
)
from ids.protocols.http.head import Head
from ids.protocols.http.message import UPLOADS, Message
from ids.protocols.http.oddities import NOTED
from ids.protocols.http.parts import odd_parts
from ids.protocols.http.settings import BodySettings
from ids.protocols.http.uri import further_body, further_forms
from ids.types import Direction

EARLY_LOOKS = 8
"""Looks at a request's body for which it need not have grown by half."""

More = dict[str, tuple[bytes, ...]]


def is_due(message: Message) -> bool:
    """Return whether the body has grown so far that it is to be looked at again."""
    return len(message.body) >= message.due


def looked(message: Message, direction: Direction) -> None:
    """Note that the body was looked at as it is."""
    size = len(message.body)
    message.looks += 1
    if direction is Direction.TO_CLIENT or b"content-encoding" in message.head.headers:
        message.due = 2 * size
    elif message.looks > EARLY_LOOKS:
        message.due = size + size // 2
    message.due = max(message.due, size + 1)


def buffers_of(
    message: Message, direction: Direction, settings: BodySettings, counters: Counters, goes_on: bool = False
) -> tuple[dict[str, bytes], More]:
    """Return all buffers of a message with the body that is there, and their further instances.

    What is found out of one that ``goes_on`` is not counted: its end will be.
    """
    buffers, more = dict(message.head.buffers), dict(message.head.more)
    if direction is Direction.TO_SERVER:
        if message.forms is None:
            message.forms = further_forms(buffers.get("http.uri.raw", b""))
        if message.forms:
            more["http.uri"] = message.forms
    if message.body:
        limit = settings.request_body_bytes if direction is Direction.TO_SERVER else settings.response_body_bytes
        coding = message.head.headers.get(b"content-encoding", b"")
        counters = Counters() if goes_on else counters
        before = [counters[name] for name in (MISLABELLED, INVALID, BOMBS, MEMORY_LIMIT)]
        readings = decode_content(bytes(message.body), coding, limit, settings, counters, goes_on)
        _note_coding(message, direction, counters, before)
        if direction is Direction.TO_SERVER and coding:
            readings = _with_body_as_sent(readings, bytes(message.body))
        if readings:
            add = _add_request_body if direction is Direction.TO_SERVER else _add_response_body
            add(message.head, readings, message.exchange.path(), buffers, more, counters)
        if direction is Direction.TO_SERVER and message.head.method == b"POST":
            boundary = boundary_of(message.head.headers.get(b"content-type", b""))
            message.noted |= odd_parts(bytes(message.body), boundary) if boundary else set()
    if message.noted:
        buffers[NOTED] = b" ".join(sorted(message.noted))
    if message.strays:
        strays = bytes(message.strays)
        body = buffers.setdefault("http.request_body", strays)
        if body is not strays:
            more["http.request_body"] = (*more.get("http.request_body", ()), strays)
    return buffers, more


def _note_coding(message: Message, direction: Direction, counters: Counters, before: list[int]) -> None:
    """Note what was found out about the codings of a body; ``before``: what was counted before that."""
    mislabelled, invalid, bomb, memory = [
        counters[name] > count for name, count in zip((MISLABELLED, INVALID, BOMBS, MEMORY_LIMIT), before, strict=True)
    ]
    message.miscoded |= mislabelled or invalid
    if direction is Direction.TO_SERVER:
        return  # Suricata leaves those of requests
    found = {
        b"gzip_decompression_failed": mislabelled,
        b"compression_bomb": bomb,
        b"lzma_memlimit_reached": memory,
    }
    message.noted |= {name for name, is_so in found.items() if is_so}


def _with_body_as_sent(readings: tuple[bytes, ...], body: bytes) -> tuple[bytes, ...]:
    """Add the body of a request as it was sent: hardly a server undoes its coding, and a plain one may be called coded,
    of which comes something all the same."""
    return tuple(dict.fromkeys((*readings, body)))


def _add_request_body(
    head: Head,
    readings: tuple[bytes, ...],
    path: bytes,
    buffers: dict[str, bytes],
    more: More,
    counters: Counters,
) -> None:
    body, *others = readings
    buffers["http.request_body"] = body
    content_type = head.headers.get(b"content-type", b"")
    names, buffers["file.data"] = find_files(content_type, body, counters)
    if not names and head.method in UPLOADS:
        names = path
    if names:
        buffers["file.name"] = names
    further = [*others, *(form for reading in readings for form in further_body(reading))]
    if further:
        more["http.request_body"] = tuple(further)
    if others:
        more["file.data"] = tuple(find_files(content_type, other, counters)[1] for other in others)


def _add_response_body(
    head: Head,
    readings: tuple[bytes, ...],
    path: bytes,
    buffers: dict[str, bytes],
    more: More,
    _counters: Counters,
) -> None:
    body, *others = readings
    buffers["http.response_body"] = buffers["file.data"] = body
    if others:
        more["http.response_body"] = more["file.data"] = tuple(others)
    name = file_name(head.headers.get(b"content-disposition", b"")) or path
    if name:
        buffers["file.name"] = name
