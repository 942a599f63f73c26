"""How a buffer spells what stands in it: contents on it are brought into that spelling, or refused where they cannot
stand there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ids.rules.language.suricata.faults import Malformed


@dataclass(frozen=True, slots=True)
class Spelling:
    """What a buffer looks like."""

    form: re.Pattern[bytes]
    """What a content on it must be."""
    says: str
    """The same in words."""
    change: Callable[[bytes], bytes] = bytes


_DIGITS = "32 hexadecimal digits"
_MD5 = re.compile(rb"[0-9a-fA-F]{32}")
_JA3 = Spelling(re.compile(rb".{32}", re.DOTALL), _DIGITS, bytes.lower)
_NOT_BLANK = Spelling(re.compile(rb"(?![ \t]).*(?<![ \t])", re.DOTALL), "without blanks around it")
_OF_BUFFERS = {
    "ja3.hash": _JA3,
    "ja3s.hash": _JA3,
    "ssh.hassh": Spelling(_MD5, _DIGITS, bytes.lower),
    "ssh.hassh.server": Spelling(_MD5, _DIGITS, bytes.lower),
    "quic.cyu.hash": Spelling(_MD5, _DIGITS),
    "tls.cert_fingerprint": Spelling(
        re.compile(rb"(?=.{59}\Z).*:.*", re.DOTALL), "20 bytes in hexadecimal, with colons between them", bytes.lower
    ),
    "tls.cert_serial": Spelling(
        re.compile(rb".{1,2}|.*:.*", re.DOTALL), "bytes in hexadecimal, with colons between them", bytes.upper
    ),
    "http.method": _NOT_BLANK,
}
_LOWER_CASE = "http.host"
"""The buffer of which letters of either case are asked in vain."""


def spelled(buffer: str, value: bytes, nocase: bool) -> bytes:
    """Return a content as its buffer spells it; raises `Malformed` where it cannot stand there.

    Behind a transform, a buffer spells nothing.
    """
    if buffer == _LOWER_CASE and (nocase or value != value.lower()):
        raise Malformed("a host is in lower case, whatever was sent", "write it so, without nocase")
    spelling = _OF_BUFFERS.get(buffer)
    if spelling is None:
        return value
    if spelling.form.fullmatch(value) is None:
        raise Malformed(f"{value[:40]!r} is not what {buffer} holds", f"it is {spelling.says}")
    return spelling.change(value)
