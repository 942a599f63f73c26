"""The buffers of one DNS message, made when something asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ids.protocols.dns.message import QR, Message, Record
from ids.protocols.dns.names import Malformed
from ids.protocols.dns.records import CNAME, MX, NS, PTR, SOA

_NONE: tuple[bytes, ...] = ()


class Buffers(Mapping[str, bytes]):
    """The first instance of each buffer; `further` has the others."""

    __slots__ = ("_made", "asks", "further", "message")

    def __init__(self, message: Message, asks: bool) -> None:
        """Take a message; it ``asks`` where a client sent it, whatever its header says: that may be forged."""
        self.message = message
        self.asks = asks
        self.further = Further(self)
        self._made: dict[str, tuple[bytes, ...]] = {}

    def instances(self, name: str) -> tuple[bytes, ...]:
        """Return all instances of a buffer."""
        found = self._made.get(name)
        if found is None:
            make = BUFFERS.get(name)
            found = self._made[name] = make(self) if make is not None else _NONE
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """Return the first instance of a buffer, or ``default``."""
        found = self.instances(name)
        return found[0] if found else default

    def __getitem__(self, name: str) -> bytes:
        found = self.instances(name)
        if not found:
            raise KeyError(name)
        return found[0]

    def __iter__(self) -> Iterator[str]:
        return (name for name in BUFFERS if self.instances(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Further(Mapping[str, tuple[bytes, ...]]):
    """Of buffers with several instances: all but the first one."""

    __slots__ = ("_buffers",)

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers

    def get(self, name: str, default: Any = None) -> Any:
        """Return the further instances of a buffer, or ``default``."""
        return self._buffers.instances(name)[1:] or default

    def __getitem__(self, name: str) -> tuple[bytes, ...]:
        found = self._buffers.instances(name)[1:]
        if not found:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in BUFFERS if self._buffers.instances(name)[1:])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _asked(buffers: Buffers) -> tuple[bytes, ...]:
    return _questions(buffers) if buffers.asks else _NONE


def _questions(buffers: Buffers) -> tuple[bytes, ...]:
    return tuple([asked.name for asked in buffers.message.questions])


def _types(buffers: Buffers) -> tuple[bytes, ...]:
    return tuple([b"%d" % asked.rrtype for asked in buffers.message.questions])


def _opcode(buffers: Buffers) -> tuple[bytes, ...]:
    return (b"%d" % buffers.message.opcode,)


def _rcode(buffers: Buffers) -> tuple[bytes, ...]:
    return (b"%d" % buffers.message.rcode,) if buffers.message.flags & QR else _NONE


def _names_of(section: int) -> Callable[[Buffers], tuple[bytes, ...]]:
    return lambda buffers: tuple([record.name for record in buffers.message.sections[section]])


def _response(buffers: Buffers) -> tuple[bytes, ...]:
    """Return the names of an answer, and those to which its records point."""
    if not buffers.message.flags & QR:
        return _NONE
    found = [asked.name for asked in buffers.message.questions]
    for section in buffers.message.sections:
        for record in section:
            found.append(record.name)
            target = _target(buffers.message, record)
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

BUFFERS: dict[str, Callable[[Buffers], tuple[bytes, ...]]] = {
    "dns.query": _asked,
    "dns.queries.rrname": _questions,
    "dns.answer.name": _names_of(0),
    "dns.answers.rrname": _names_of(0),
    "dns.authorities.rrname": _names_of(1),
    "dns.additionals.rrname": _names_of(2),
    "dns.response.rrname": _response,
    "dns.opcode": _opcode,
    "dns.rcode": _rcode,
    "dns.rrtype": _types,
}
"""By name: what makes its instances."""
