"""One message of Kerberos 5 (RFC 4120 section 5): a request for a ticket, the answer to one, or an error."""

from __future__ import annotations

from dataclasses import dataclass, field

from ids.protocols import der
from ids.protocols.der import Element, Malformed
from ids.protocols.krb5.names import AP_REPLY, AP_REQUEST, AS_REPLY, AS_REQUEST, ERROR, TGS_REPLY, TGS_REQUEST

_APPLICATION = 0x60
"""Class and form of the tags of messages; their number is the type."""
VERSION = 5
REQUESTS, REPLIES = (AS_REQUEST, TGS_REQUEST), (AS_REPLY, TGS_REPLY)
KINDS = frozenset((*REQUESTS, *REPLIES, AP_REQUEST, AP_REPLY, ERROR))
MAX_ENCRYPTIONS = 64
"""Kinds of encryption of one request that are read. Clients offer six."""


@dataclass(slots=True)
class Message:
    """What a message says."""

    kind: int
    cname: tuple[bytes, ...] | None = None
    """Parts of the name of the client."""
    realm: bytes | None = None
    sname: tuple[bytes, ...] | None = None
    """Parts of the name of the service."""
    encryption: int | None = None
    """Of the part of an answer that is for the client."""
    ticket_encryption: int | None = None
    error: int | None = None
    offered: tuple[int, ...] = ()
    """Kinds of encryption that a client offers."""
    failed: int | None = None
    """Of an error: type of the request that went before it; None: not seen."""
    malformed: bool = field(default=False, compare=False)
    """A part of it cannot be read."""


def kind_of(data: bytes) -> int | None:
    """Return the type of a message by its first bytes; None where it is none of Kerberos."""
    if len(data) < 11 or data[0] & 0xE0 != _APPLICATION or data[0] & 0x1F not in KINDS:
        return None
    try:
        body = der.element(data, 0, max(len(data), der.size_of(data, 0)))
        inside = der.element(data, body.start, body.end)
        at = inside.start
    except Malformed:
        return None
    pvno = data[at : at + 5]
    fits = inside.tag == der.SEQUENCE and pvno[:1] in (b"\xa0", b"\xa1") and pvno[1:] == bytes((3, 2, 1, VERSION))
    return data[0] & 0x1F if fits else None


def read(data: bytes, kind: int) -> Message:
    """Return what a message says, as far as it can be read."""
    message = Message(kind)
    try:
        outer = der.element(data, 0, len(data))
        said = der.by_tag(data, der.only(data, outer, der.SEQUENCE))
        if kind in REQUESTS:
            _request(message, data, said)
        elif kind in REPLIES:
            _reply(message, data, said)
        elif kind == ERROR:
            _error(message, data, said)
    except (Malformed, KeyError):
        message.malformed = True
    return message


def _request(message: Message, data: bytes, said: dict[int, Element]) -> None:
    body = der.by_tag(data, der.only(data, said[0xA4], der.SEQUENCE))
    message.realm = _text(data, body[0xA2])
    if 0xA1 in body:
        message.cname = _name(data, body[0xA1])
    if 0xA3 in body:
        message.sname = _name(data, body[0xA3])
    kinds = der.children(data, der.only(data, body[0xA8], der.SEQUENCE))
    message.offered = tuple([der.integer(data, one) for one in kinds])[:MAX_ENCRYPTIONS]


def _reply(message: Message, data: bytes, said: dict[int, Element]) -> None:
    message.realm, message.cname = _text(data, said[0xA3]), _name(data, said[0xA4])
    message.encryption = _encryption(data, said[0xA6])
    ticket = der.only(data, der.only(data, said[0xA5]), der.SEQUENCE)
    parts = der.by_tag(data, ticket)
    message.sname = _name(data, parts[0xA2])
    message.ticket_encryption = _encryption(data, parts[0xA3])


def _error(message: Message, data: bytes, said: dict[int, Element]) -> None:
    message.error = der.integer(data, der.only(data, said[0xA6]))
    if 0xA7 in said:
        message.realm = _text(data, said[0xA7])
    if 0xA8 in said:
        message.cname = _name(data, said[0xA8])
    message.sname = _name(data, said[0xAA])


def _encryption(data: bytes, of: Element) -> int:
    parts = der.by_tag(data, der.only(data, of, der.SEQUENCE))
    return der.integer(data, der.only(data, parts[0xA0]))


def _text(data: bytes, of: Element) -> bytes:
    one = der.only(data, of)
    return data[one.start : one.end]


def _name(data: bytes, of: Element) -> tuple[bytes, ...]:
    """Return the parts of a name."""
    said = der.by_tag(data, der.only(data, of, der.SEQUENCE))
    parts = der.children(data, der.only(data, said[0xA1], der.SEQUENCE))
    return tuple([data[one.start : one.end] for one in parts])
