"""What is wrong with the form of an X.509 certificate, by the names of Suricata's events.

`ids.protocols.tls.certificate` reads what a certificate says, as far as it can; this names the first thing that a
strict reader of DER stops at (RFC 5280 section 4.1). What a name holds is nobody's matter here.
"""

from __future__ import annotations

from ids.protocols.tls.certificate import read_time

_SEQUENCE, _INTEGER, _BITS, _OCTETS, _OID = 0x30, 0x02, 0x03, 0x04, 0x06
_VERSION, _ISSUER_ID, _SUBJECT_ID, _EXTENSIONS = 0xA0, 0x81, 0x82, 0xA3
_CONSTRUCTED = 0x20
"""Set in the tag of an element that is made of others."""
_TIMES = (0x17, 0x18)
_MOST_DIGITS = 4
"""Bytes of a version number."""
MAX_EXTENSIONS = 256
"""Extensions that are looked at. Certificates in use have a dozen."""
CERTIFICATE, LENGTH, DER = b"tls.invalid_certificate", b"tls.certificate_invalid_length", b"tls.certificate_invalid_der"
VERSION, SERIAL = b"tls.certificate_invalid_version", b"tls.certificate_invalid_serial"
ALGORITHM = b"tls.certificate_invalid_algorithmidentifier"
DATE, EXTENSIONS = b"tls.certificate_invalid_date", b"tls.certificate_invalid_extensions"
FAULTS = (CERTIFICATE, LENGTH, DER, VERSION, SERIAL, ALGORITHM, DATE, EXTENSIONS)
"""All names there are."""


class _Fault(Exception):
    """Something is wrong; its name is the first argument."""


class _Reader:
    """Reads elements of DER, one behind the other."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data = data
        self.at = at
        self.end = end

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self.at >= self.end

    def tag(self) -> int:
        """Return the tag of the next element; -1 where there is none."""
        return -1 if self.done else self.data[self.at]

    def take(self, wanted: int | None = None, *, fault: bytes = DER, cut: bytes = LENGTH) -> _Reader:
        """Return what the next element holds. Raises `_Fault` with ``fault`` where it has another tag than wanted, with
        ``cut`` where it is not all there.
        """
        if self.done:
            raise _Fault(cut)
        tag = self.data[self.at]
        if tag & 0x1F == 0x1F:
            raise _Fault(fault)
        if self.at + 2 > self.end:
            raise _Fault(LENGTH)
        size, at = self.data[self.at + 1], self.at + 2
        if size == 0x80:
            raise _Fault(DER)
        if size > 0x80:
            digits = size & 0x7F
            if digits > _MOST_DIGITS:
                raise _Fault(CERTIFICATE)
            if at + digits > self.end:
                raise _Fault(LENGTH)
            size, at = int.from_bytes(self.data[at : at + digits], "big"), at + digits
        if at + size > self.end:
            raise _Fault(cut)
        if wanted is not None and tag != wanted:
            raise _Fault(fault)
        self.at = at + size
        return _Reader(self.data, at, self.at)


def fault_of(der: bytes) -> bytes:
    """Return what is wrong with a certificate; nothing where its form is right."""
    if not der:
        return LENGTH
    try:
        _certificate(_Reader(der, 0, len(der)))
    except _Fault as fault:
        name: bytes = fault.args[0]
        return name
    return b""


def _certificate(reader: _Reader) -> None:
    whole = reader.take(_SEQUENCE, cut=CERTIFICATE)
    _to_be_signed(whole.take(_SEQUENCE, cut=CERTIFICATE if not whole.done else LENGTH))
    _algorithm(whole.take(_SEQUENCE))
    whole.take(_BITS, fault=CERTIFICATE, cut=CERTIFICATE)


def _to_be_signed(reader: _Reader) -> None:
    if reader.tag() == _VERSION:
        version = reader.take()
        number = version.take(_INTEGER, fault=VERSION, cut=VERSION)
        if not 0 < number.end - number.at <= _MOST_DIGITS:
            raise _Fault(VERSION)
    reader.take(_INTEGER, fault=SERIAL)
    _algorithm(reader.take(_SEQUENCE))
    reader.take(_SEQUENCE)  # the issuer
    _validity(reader.take(_SEQUENCE))
    reader.take(_SEQUENCE)  # the subject
    key = reader.take(_SEQUENCE)
    _algorithm(key.take(_SEQUENCE))
    key.take(_BITS, fault=CERTIFICATE, cut=CERTIFICATE)
    for optional in (_ISSUER_ID, _SUBJECT_ID):
        if reader.tag() == optional:
            reader.take()
    if not reader.done:
        _extensions(reader.take(_EXTENSIONS, fault=EXTENSIONS).take(_SEQUENCE))


def _algorithm(reader: _Reader) -> None:
    """Read which algorithm it is, and what it is given, if anything. Any element without others in it may name it."""
    constructed = reader.tag() & _CONSTRUCTED and not reader.done
    try:
        reader.take()
    except _Fault as fault:
        raise _Fault(ALGORITHM if fault.args[0] == DER else fault.args[0]) from None
    if constructed:
        raise _Fault(ALGORITHM)
    if not reader.done:
        reader.take()


def _validity(reader: _Reader) -> None:
    for _ in range(2):
        tag = reader.tag()
        time = reader.take(fault=DATE, cut=DATE)
        if tag not in _TIMES or read_time(tag, time.data[time.at : time.end]) is None:
            raise _Fault(DATE)


def _extensions(reader: _Reader) -> None:
    for _ in range(MAX_EXTENSIONS):
        if reader.done:
            return
        extension = reader.take(_SEQUENCE, fault=CERTIFICATE, cut=CERTIFICATE)
        extension.take(_OID, fault=CERTIFICATE, cut=CERTIFICATE)
        if extension.tag() == 0x01:
            extension.take(cut=CERTIFICATE)
        extension.take(_OCTETS, fault=CERTIFICATE, cut=CERTIFICATE)
