"""Undo transfer encodings of parts, a piece at a time, as tolerantly as mailers do."""

from __future__ import annotations

from binascii import Error, a2b_base64, a2b_qp, a2b_uu
from collections.abc import Callable

from ids.later import late_pattern

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NO_BASE64 = bytes(set(range(256)) - set(_BASE64))
_IN_LINES = _BASE64 + b" \t\n\r\f\v"
_MAX_ENDS = 64
"""Places in one piece where base64 may end and go on; where there are more, they are passed over."""
_SOFT_END = late_pattern(rb"=[ \t]{1,60}(?=\r?\n)")
"""A line goes on behind it: what transport has put at its end does not count (RFC 2045 section 6.7)."""
_STRAY = late_pattern(rb"=(?![0-9A-Fa-f]{2}|\r?\n)")
"""Stands for itself."""
_UNFINISHED = late_pattern(rb"=(?:[ \t]{0,60}\r?|[0-9A-Fa-f])\Z")
_MAX_UNFINISHED = 62


class Raw:
    """No encoding."""

    odd = False
    """Something in it was not as the encoding says,"""
    oddity = b"mime_malformed_msg"
    """and what that is called, by Suricata's names."""

    def decode(self, data: bytes) -> bytes:
        """Return what these bytes are."""
        return data

    def end(self) -> bytes:
        """Return what is left."""
        return b""


class Base64(Raw):
    """RFC 2045 section 6.8; whatever is none of its letters is passed over."""

    oddity = b"mime_invalid_base64"

    def __init__(self) -> None:
        self._rest = b""

    def decode(self, data: bytes) -> bytes:
        """Return what these bytes are."""
        if not self.odd and data.translate(None, _IN_LINES):
            self.odd = True
        letters = self._rest + data.translate(None, _NO_BASE64)
        if b"=" in letters:
            if letters.count(b"=") > _MAX_ENDS:
                letters = letters.replace(b"=", b"")
            *ended, letters = letters.split(b"=")
            out = b"".join([_unbase64(one) for one in ended])
        else:
            out = b""
        whole = len(letters) // 4 * 4
        self._rest = letters[whole:]
        return out + a2b_base64(letters[:whole])

    def end(self) -> bytes:
        """Return what is left."""
        rest, self._rest = self._rest, b""
        self.odd = self.odd or len(rest) == 1
        return _unbase64(rest)


def _unbase64(letters: bytes) -> bytes:
    """Return what letters of base64 without their padding are; a last one that says nothing is passed over."""
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    try:
        return a2b_base64(letters + b"=" * (-len(letters) % 4))
    except Error:  # pragma: no cover - there is nothing left that it could refuse
        return b""


class QuotedPrintable(Raw):
    """RFC 2045 section 6.7."""

    oddity = b"mime_invalid_qp"

    def __init__(self) -> None:
        self._rest = b""

    def decode(self, data: bytes) -> bytes:
        """Return what these bytes are."""
        data = self._rest + data
        unfinished = _UNFINISHED.search(data, max(len(data) - _MAX_UNFINISHED, 0))
        cut = unfinished.start() if unfinished is not None else len(data)
        self._rest = data[cut:]
        data, stray = _STRAY.subn(b"=3D", _SOFT_END.sub(b"=", data[:cut]))
        self.odd = self.odd or stray > 0
        return a2b_qp(data)

    def end(self) -> bytes:
        """Return what is left."""
        rest, self._rest = self._rest, b""
        return a2b_qp(rest)


class Uuencoded(Raw):
    """What ``uuencode`` makes: lines between ``begin`` and ``end``."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = self._ended = False
        self.name = b""

    def decode(self, data: bytes) -> bytes:
        """Return what these bytes are."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_UU:
            self._rest = self._rest[:_LONGEST_UU]
            self.odd = True
        return b"".join([self._line(line.rstrip(b"\r")) for line in lines])

    def end(self) -> bytes:
        """Return what is left."""
        rest, self._rest = self._rest, b""
        return self._line(rest)

    def _line(self, line: bytes) -> bytes:
        if not self._begun:
            found = UU_BEGIN.match(line)
            if found is not None:
                self._begun, self.name = True, found[1].strip()
            return b""
        if self._ended or line == b"end":
            self._ended = True
            return b""
        try:
            return a2b_uu(line[:_LONGEST_UU])
        except Error:
            self.odd = True
            try:  # the length of a line of some encoders counts what is not there
                return a2b_uu(line[: 1 + ((line[0] - 32 & 63) * 4 + 5) // 3]) if line else b""
            except Error:
                return b""


UU_BEGIN = late_pattern(rb"begin(?:-base64)?[ \t]+[0-7]{3,4}[ \t]+([^\r\n]{1,255})")
_LONGEST_UU = 512
"""Bytes of a line that are read; encoders make 61."""

_DECODERS: dict[bytes, Callable[[], Raw]] = {
    b"base64": Base64, b"quoted-printable": QuotedPrintable, b"x-uuencode": Uuencoded, b"uuencode": Uuencoded,
    b"x-uue": Uuencoded, b"uue": Uuencoded,
}  # fmt: skip


def decoder(encoding: bytes) -> Raw:
    """Return what undoes a transfer encoding; for one that is not known, and for none, the bytes stay as they are."""
    return _DECODERS.get(encoding.partition(b";")[0].strip(b" \t\"'").lower(), Raw)()
