"""The files in HTTP messages: every body of a response, and of a request that is POSTed or PUT.

A file is called what the message says (Content-Disposition), or else by the path of the request's target. Each part of
a multipart body with a file's name is one; of a request that is multipart and has none, nothing is a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ids.protocols.files import File, Files
from ids.protocols.files.names import file_name
from ids.protocols.http.content import boundary_of, file_parts
from ids.protocols.http.message import UPLOADS, Exchange, Message
from ids.protocols.http.ranges import part_of
from ids.types import Direction

_GZIP = b"\x1f\x8b"


def files_of(
    files: Files, slot: int, direction: Direction, message: Message, buffers: Mapping[str, bytes]
) -> Sequence[File]:
    """Return the files in a message with the body that is there; they are open."""
    head, exchange = message.head, message.exchange
    if direction is Direction.TO_CLIENT:
        body = buffers.get("http.response_body", b"")
        if not (body or message.lost):
            return ()
        said = head.headers
        made = response_file(
            files, slot, exchange, body, said.get(b"content-disposition"), said.get(b"content-range"), buffers
        )
        return (made,)
    body = buffers.get("http.request_body", b"") if message.body else b""
    if b"gzip" in head.headers.get(b"content-encoding", b"") and not message.body.startswith(_GZIP):
        body = bytes(message.body)  # it is called coded, and is not
    if head.method not in UPLOADS or not (body or message.lost):
        return ()
    boundary = boundary_of(head.headers.get(b"content-type", b"")) if head.method == b"POST" else None
    if boundary is None:
        return (request_file(files, slot, exchange, body, exchange.path(), buffers),)
    return [request_file(files, slot, exchange, part, name, buffers) for name, part in file_parts(body, boundary)]


def response_file(
    files: Files,
    slot: int,
    exchange: Exchange,
    body: bytes,
    disposition: bytes | None,
    ranged: bytes | None,
    beside: Mapping[str, bytes],
) -> File:
    """Return the file that is the body of a response."""
    name = (file_name(disposition) if disposition else None) or exchange.path()
    file = files.whole(slot, "http", exchange.tx_id, Direction.TO_CLIENT, body, name=name, beside=beside)
    file.reported = False
    if ranged:
        file.start, file.end = part_of(ranged)
    return file


def request_file(
    files: Files, slot: int, exchange: Exchange, body: bytes, name: bytes, beside: Mapping[str, bytes]
) -> File:
    """Return a file in a request. Its event waits for the response, whose status it has."""
    file = files.whole(slot, "http", exchange.tx_id, Direction.TO_SERVER, body, name=name, beside=beside)
    file.reported = False
    return file
