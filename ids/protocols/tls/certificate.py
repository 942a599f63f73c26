"""What rules and EVE say of an X.509 certificate (RFC 5280): a short reader of DER, and no verifier.

The libraries that read certificates are made to refuse: `cryptography` 50 raises for an asterisk in a PrintableString,
for Latin-1 in a T61String, for a time without seconds, when only the issuer is asked for. Malware does not, and
those are the certificates that rules are written for. It also takes a tenth of a second to import, and no less time for
a certificate than this.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha1

from ids.later import late_pattern

MAX_ATTRIBUTES = 64
"""Attributes of a name that are spelt. Certificates in use have ten."""
MAX_NAMES = 256
"""Subject alternative names that are read. Those of large hosters have a hundred."""

_SEQUENCE, _SET, _INTEGER, _OID, _BOOLEAN = 0x30, 0x31, 0x02, 0x06, 0x01
_VERSION, _EXTENSIONS = 0xA0, 0xA3
"""Tags of the optional parts of a certificate."""
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")
_EMAIL, _DNS_NAME, _URI, _ADDRESS = 0x81, 0x82, 0x86, 0x87
_BMP_STRING = 0x1E
_STRINGS = frozenset({0x0C, 0x12, 0x13, 0x14, 0x15, 0x16, 0x19, 0x1A, 0x1B, 0x07})
"""Tags of the types whose bytes are text."""
_REST_OF_TIME = rb"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:[.,]\d+)?(?:Z|([+-])(\d\d)(\d\d))?"
_TIMES = {
    _UTC_TIME: late_pattern(rb"(\d\d)" + _REST_OF_TIME),
    _GENERALIZED_TIME: late_pattern(rb"(\d{4})" + _REST_OF_TIME),
}

_ATTRIBUTES = {
    "550400": "objectClass", "550401": "aliasedEntryName", "550402": "knowledgeInformation", "550403": "CN",
    "550404": "surname", "550405": "serialNumber", "550406": "C", "550407": "L", "550408": "ST",
    "550409": "streetAddress", "55040a": "O", "55040b": "OU", "55040c": "title", "55040d": "description",
    "55040e": "searchGuide", "55040f": "businessCategory", "550410": "postalAddress", "550411": "postalCode",
    "550429": "name", "55042a": "givenName", "55042b": "initials", "55042c": "generationQualifier",
    "55042d": "uniqueIdentifier", "55042e": "dnQualifier", "2a864886f70d010901": "Email",
    "2a864886f70d010902": "unstructuredName", "2a864886f70d010907": "challengePassword",
    "2a864886f70d01090e": "extensionRequest", "0992268993f22c640101": "uid", "0992268993f22c640119": "DC",
    "2b0601040182373c020101": "msJurisdictionLocality", "2b0601040182373c020102": "msJurisdictionStateOrProvince",
    "2b0601040182373c020103": "msJurisdictionCountry", "551d0e": "subjectKeyIdentifier", "551d0f": "keyUsage",
    "551d11": "subjectAltName", "551d12": "issuerAltName", "551d13": "basicConstraints",
    "551d20": "certificatePolicies", "551d25": "extendedKeyUsage",
}  # fmt: skip
"""What Suricata calls the attributes of names, by their identifiers as encoded; others are spelt as numbers."""


class Malformed(ValueError):
    """What is no certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says."""

    subject: bytes
    issuer: bytes
    serial: bytes
    """Hexadecimal, upper case, with colons."""
    not_before: str | None
    """As EVE spells it; None where it is no time."""
    not_after: str | None
    names: tuple[bytes, ...]
    """Subject alternative names."""


def fingerprint(der: bytes) -> bytes:
    """Return the SHA-1 of a certificate, hexadecimal with colons."""
    return sha1(der, usedforsecurity=False).digest().hex(":").encode()


def read_certificate(der: bytes) -> Certificate:
    """Return what a certificate says. Raise `Malformed` where it cannot be read up to its subject."""
    at, end = _inside(der, 0, len(der), _SEQUENCE)
    at, end = _inside(der, at, end, _SEQUENCE)
    tag, start, after = _element(der, at, end)
    if tag == _VERSION:
        tag, start, after = _element(der, after, end)
    if tag != _INTEGER:
        raise Malformed("no serial number")
    serial = der[start:after].hex(":").upper().encode()
    _, _, at = _element(der, after, end)  # the algorithm of the signature
    issuer, at = _name(der, at, end)
    _, start, at = _element(der, at, end)
    not_before, not_after = _validity(der, start, at)
    subject, at = _name(der, at, end)
    try:
        names = _alternative_names(der, at, end)
    except Malformed:
        names = ()
    return Certificate(subject, issuer, serial, not_before, not_after, names)


def _element(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return tag, start and end of the content of an element of DER. Raise `Malformed`."""
    if at + 2 > end:
        raise Malformed("an element runs over the end")
    tag, size = data[at], data[at + 1]
    at += 2
    if tag & 0x1F == 0x1F:
        raise Malformed("a long tag")
    if size > 0x7F:
        digits = size & 0x7F
        if not 0 < digits <= 4 or at + digits > end:
            raise Malformed("an odd length")
        size = int.from_bytes(data[at : at + digits], "big")
        at += digits
    if at + size > end:
        raise Malformed("an element runs over the end")
    return tag, at, at + size


def _inside(data: bytes, at: int, end: int, wanted: int) -> tuple[int, int]:
    """Return start and end of the content of an element with this tag. Raise `Malformed`."""
    tag, start, after = _element(data, at, end)
    if tag != wanted:
        raise Malformed("an element of another type")
    return start, after


def _name(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Return a distinguished name as Suricata spells it, and where it ends."""
    at, after = _inside(data, at, end, _SEQUENCE)
    parts: list[bytes] = []
    while at < after and len(parts) < MAX_ATTRIBUTES:
        start, at = _inside(data, at, after, _SET)
        together: list[bytes] = []
        while start < at and len(together) < MAX_ATTRIBUTES:
            one, start = _inside(data, start, at, _SEQUENCE)
            together.append(_attribute(data, one, start))
        parts.append(b" + ".join(together))
    return b", ".join(parts), after


def _attribute(data: bytes, at: int, end: int) -> bytes:
    start, after = _inside(data, at, end, _OID)
    kind = data[start:after]
    tag, start, after = _element(data, after, end)
    value = data[start:after]
    if tag == _BMP_STRING:
        value = value.decode("utf-16-be", "replace").encode()
    elif tag not in _STRINGS:
        value = value.hex().upper().encode()
    return (_ATTRIBUTES.get(kind.hex()) or f"OID({_dotted(kind)})").encode() + b"=" + value


def _dotted(oid: bytes) -> str:
    """Return an object identifier as numbers with dots."""
    numbers, value = [], 0
    for byte in oid[:64]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        return ""
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _validity(data: bytes, at: int, end: int) -> tuple[str | None, str | None]:
    times: list[str | None] = []
    for _ in range(2):
        tag, start, at = _element(data, at, end)
        times.append(read_time(tag, data[start:at]))
    return times[0], times[1]


def read_time(tag: int, value: bytes) -> str | None:
    """Return a time as EVE spells it."""
    pattern = _TIMES.get(tag)
    found = pattern.fullmatch(value) if pattern is not None else None
    if found is None:
        return None
    *date, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = (int(part or 0) for part in date)
    if tag == _UTC_TIME:
        year += 2000 if year < 50 else 1900
    try:
        at = datetime(year, month, day, hour, minute, second)
        if sign:
            ahead = timedelta(hours=int(hours), minutes=int(minutes))
            at += ahead if sign == b"-" else -ahead
    except (ValueError, OverflowError):
        return None
    return at.isoformat()


def _alternative_names(data: bytes, at: int, end: int) -> tuple[bytes, ...]:
    """Return the names of the extension for them; ``at`` is behind the subject."""
    while at < end:
        tag, start, at = _element(data, at, end)
        if tag != _EXTENSIONS:
            continue
        start, stop = _inside(data, start, at, _SEQUENCE)
        while start < stop:
            one, start = _inside(data, start, stop, _SEQUENCE)
            begin, one = _inside(data, one, start, _OID)
            if data[begin:one] != _ALTERNATIVE_NAMES:
                continue
            tag, begin, one = _element(data, one, start)
            if tag == _BOOLEAN:
                tag, begin, one = _element(data, one, start)
            return _general_names(data, *_inside(data, begin, one, _SEQUENCE))
    return ()


def _general_names(data: bytes, at: int, end: int) -> tuple[bytes, ...]:
    found: list[bytes] = []
    while at < end and len(found) < MAX_NAMES:
        tag, start, at = _element(data, at, end)
        value = data[start:at]
        if tag in (_EMAIL, _DNS_NAME, _URI):
            found.append(value)
        elif tag == _ADDRESS:
            found.append(".".join(map(str, value)).encode() if len(value) == 4 else value.hex(":", 2).encode())
    return tuple(found)
