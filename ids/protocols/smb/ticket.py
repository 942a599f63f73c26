"""For whom a Kerberos ticket in a session setup is (RFC 4120 section 5.5.1, RFC 4121): its realm and its service."""

from __future__ import annotations

from typing import NamedTuple

from ids.protocols import der
from ids.protocols.der import Malformed

_REQUEST = bytes.fromhex("06092a864886f712010202" + "0100")
"""The mechanism Kerberos 5 and the mark of a request, before it."""
_AP_REQUEST, _TICKET = 0x6E, 0x61
_OF_TICKET, _REALM, _SERVICE, _NAMES = 0xA3, 0xA1, 0xA2, 0xA1


class Ticket(NamedTuple):
    """For whom a ticket is."""

    realm: bytes
    names: tuple[bytes, ...]
    """Parts of the name of the service."""


def ticket(token: bytes) -> Ticket | None:
    """Return for whom the ticket in a token is; None where there is none that can be read."""
    at = token.find(_REQUEST)
    if at < 0:
        return None
    try:
        request = der.element(token, at + len(_REQUEST), len(token))
        if request.tag != _AP_REQUEST:
            return None
        parts = der.by_tag(token, der.only(token, request, der.SEQUENCE))
        return read_ticket(token, der.only(token, parts[_OF_TICKET], _TICKET))
    except (Malformed, KeyError):
        return None


def read_ticket(data: bytes, of: der.Element) -> Ticket:
    """Return for whom a ticket is. Raise `Malformed` or `KeyError`."""
    said = der.by_tag(data, der.only(data, of, der.SEQUENCE))
    realm = der.only(data, said[_REALM])
    return Ticket(data[realm.start : realm.end], principal(data, said[_SERVICE])[1])


def principal(data: bytes, of: der.Element) -> tuple[int, tuple[bytes, ...]]:
    """Return type and parts of a name. Raise `Malformed` or `KeyError`."""
    said = der.by_tag(data, der.only(data, of, der.SEQUENCE))
    names = der.only(data, said[_NAMES], der.SEQUENCE)
    kind = der.integer(data, der.only(data, said[0xA0]))
    return kind, tuple([data[one.start : one.end] for one in der.children(data, names)])
