"""What rules test of one DNS message."""

from __future__ import annotations

from collections.abc import Callable

from ids.protocols.dns.message import QR, Message, Record, Z
from ids.protocols.dns.names import Malformed
from ids.protocols.dns.records import CNAME, MX, NS, PTR, SOA
from ids.protocols.made import Makers
from ids.protocols.protocol import ODDITY

LAST_OPCODE = 6
"""The highest operation code that there is: DSO, of RFC 8490."""
UNREADABLE = b"dns.malformed_data"
"""What is said of a message that cannot be read."""
_NONE: tuple[bytes, ...] = ()


def _questions(message: Message) -> tuple[bytes, ...]:
    return tuple([asked.name for asked in message.questions])


def _types(message: Message) -> tuple[bytes, ...]:
    return tuple([b"%d" % asked.rrtype for asked in message.questions])


def _opcode(message: Message) -> tuple[bytes, ...]:
    return (b"%d" % message.opcode,)


def _rcode(message: Message) -> tuple[bytes, ...]:
    return (b"%d" % message.rcode,) if message.flags & QR else _NONE


def _odd(message: Message) -> tuple[bytes, ...]:
    """Return what is odd about a message; its records are read for that."""
    _ = message.sections
    found = sorted(message.names.odd)
    if message.malformed:
        found.append(UNREADABLE)
    if message.flags & Z:
        found.append(b"dns.z_flag_set")
    if message.opcode > LAST_OPCODE:
        found.append(b"dns.invalid_opcode")
    return tuple(found)


def _odd_query(message: Message) -> tuple[bytes, ...]:
    return (*_odd(message), b"dns.not_a_request") if message.flags & QR else _odd(message)


def _odd_answer(message: Message) -> tuple[bytes, ...]:
    return _odd(message) if message.flags & QR else (*_odd(message), b"dns.not_a_response")


def _names_of(section: int) -> Callable[[Message], tuple[bytes, ...]]:
    return lambda message: tuple([record.name for record in message.sections[section]])


def _all_names(message: Message) -> tuple[bytes, ...]:
    """Return the names of a message, and those to which its records point."""
    found = [asked.name for asked in message.questions]
    for section in message.sections:
        for record in section:
            found.append(record.name)
            target = _target(message, record)
            if target is not None:
                found.append(target)
    return tuple(found)


def _target(message: Message, record: Record) -> bytes | None:
    skipped = _BEFORE_TARGET.get(record.rrtype)
    if skipped is None:
        return None
    try:
        return message.names.read(record.start + skipped)[0]
    except Malformed:
        return None


_BEFORE_TARGET = {CNAME: 0, NS: 0, PTR: 0, SOA: 0, MX: 2}
"""By type of record: bytes of its data before a name."""

_OF_BOTH: Makers[Message] = {
    "dns.queries.rrname": _questions,
    "dns.answers.rrname": _names_of(0),
    "dns.authorities.rrname": _names_of(1),
    "dns.additionals.rrname": _names_of(2),
    "dns.opcode": _opcode,
    "dns.rcode": _rcode,
    "dns.rrtype": _types,
}
OF_CLIENT: Makers[Message] = {"dns.query": _questions, ODDITY: _odd_query, **_OF_BOTH}
"""Of what a client sends, whatever its header says: that may be forged."""
OF_SERVER: Makers[Message] = {
    "dns.answer.name": _names_of(0),
    "dns.response.rrname": _all_names,
    ODDITY: _odd_answer,
    **_OF_BOTH,
}
