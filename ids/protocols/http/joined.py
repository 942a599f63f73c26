"""What the responses that have ranges of one file make together (`ids.protocols.files.ranges`), for rules and events.

Content-Range counts whatever the status is. The ranges of a coded file are ranges of its coded bytes (RFC 9110 section
14.2): its coding is undone once they are joined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ids.counters import Counters
from ids.protocols.files import File, Files
from ids.protocols.files.ranges import Content, Key
from ids.protocols.http.content import decode_content
from ids.protocols.http.message import Message
from ids.protocols.http.ranges import place_of
from ids.protocols.http.settings import BodySettings
from ids.types import Direction, FlowColumns

RANGE = b"content-range"


class Place(NamedTuple):
    """The response that is read."""

    flows: FlowColumns
    slot: int
    protocol: str
    ts_ns: int
    number: int


class Joined(NamedTuple):
    """Ranges that are joined: what rules look at, as a part of the exchange that brought the last of them."""

    buffers: Mapping[str, bytes]
    files: Sequence[File]
    partial: bool


def joined(
    files: Files,
    place: Place,
    message: Message,
    host: bytes,
    buffers: Mapping[str, bytes],
    settings: BodySettings,
    counters: Counters,
) -> list[Joined]:
    """Return what a response makes with others, as far as it has come; ``buffers`` are its own, ``host`` that of the
    request. The body must still be there.
    """
    found = place_of(message.head.headers.get(RANGE, b""))
    path = message.exchange.path()
    if found is None or not (path and files.active):
        return []
    if message.lost:
        counters.add("files.ranges_lost")
        return []
    start, stop, size = found
    primary = not place.flows.primary[place.slot]
    contents = files.ranges.take(
        Key(place.flows.view(place.slot).src, host.lower(), path, size),
        start, bytes(message.body), min(message.size, stop - start), settings.response_body_bytes, place.ts_ns,
        final=primary,
    )  # fmt: skip
    made: list[Joined] = []
    for content in contents:
        made += _as_rows(files, place, message, content, size, buffers, settings, counters)
    return made


def _as_rows(
    files: Files,
    place: Place,
    message: Message,
    content: Content,
    size: int,
    buffers: Mapping[str, bytes],
    settings: BodySettings,
    counters: Counters,
) -> list[Joined]:
    coding = message.head.headers.get(b"content-encoding", b"")
    readings: Sequence[bytes] = (content.data,)
    if coding:
        if content.at:
            return []
        goes_on = not content.whole
        undone = Counters() if goes_on else counters
        readings = decode_content(content.data, coding, settings.response_body_bytes, settings, undone, goes_on)
    if not (content.whole and files.tracked):
        return [Joined({**buffers, "file.data": data}, (), not content.whole) for data in readings if data]
    made = []
    for data in readings:
        file = files.whole(
            place.slot, place.protocol, message.exchange.tx_id, Direction.TO_CLIENT, data,
            name=buffers.get("file.name", b"") or message.exchange.path(), beside=buffers,
        )  # fmt: skip
        file.reported = False
        if not coding:
            file.size, file.whole = size, len(data) == size
        if file.whole:
            file.close(place.ts_ns, place.number)
        else:
            file.truncate(place.ts_ns, place.number)
        made.append(Joined(file.buffers, (file,), False))
    return made
