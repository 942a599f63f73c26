"""Names of files as messages carry them: plain, quoted, percent-encoded (RFC 5987), in pieces (RFC 2231), as encoded
words (RFC 2047). What they come to is UTF-8 where the charset is known; what cannot be decoded stays as it is.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote_to_bytes

from ids.later import late_pattern
from ids.protocols.charsets import in_utf8

MAX_PIECES = 64
"""Pieces of one name (``filename*0=``); what is behind them is left out."""

_PARAMETER = late_pattern(
    rb"(?i)(?<![\w*!#$%&'+.^`|~-])(?:file)?name(?:\*(\d{1,4}))?(\*?)[ \t]*=[ \t]*"
    rb"(?:\"((?:[^\"\\]|\\.)*)(?:\"|$)|([^\s;\"][^\s;]*))",
    re.DOTALL,
)
_FILENAME = late_pattern(_PARAMETER.pattern.replace(b"(?:file)?name", b"filename"), re.DOTALL)
_WORD = late_pattern(rb"=\?([\w.:+*-]{1,40})\?([BbQq])\?([^?\s]{0,1024})\?=(?:[ \t\r\n]+(?==\?))?")
_EXTENDED = late_pattern(rb"([\w.:+-]{0,40})'[^']{0,40}'(.*)", re.DOTALL)
_HEX = late_pattern(rb"=([0-9A-Fa-f]{2})")


def file_name(disposition: bytes, *, also_name: bool = False) -> bytes:
    """Return the file's name in a Content-Disposition value; empty where it has none.

    ``also_name``: take ``name=`` as well, as in a Content-Type. Of a plain name and one in pieces or percent-encoded,
    the first counts.
    """
    pieces: dict[int, bytes] = {}
    charset = b""
    for found in (_PARAMETER if also_name else _FILENAME).finditer(disposition):
        number, starred, quoted, token = found.groups()
        value = quoted if quoted is not None else token
        if number is None:
            if pieces:
                continue
            return _extended(value)[0] if starred else encoded_words(value)
        if len(pieces) >= MAX_PIECES:
            break
        if starred and not pieces:
            value, charset = _extended(value, keep=True)
        elif starred:
            value = unquote_to_bytes(value)
        pieces.setdefault(int(number), value)
    return in_utf8(b"".join(pieces[number] for number in sorted(pieces)), charset)


def encoded_words(value: bytes) -> bytes:
    """Return a value with its encoded words decoded; one without any is as it was."""
    return _WORD.sub(_decoded, value) if b"=?" in value else value


def _decoded(word: re.Match[bytes]) -> bytes:
    charset, coding, text = word.groups()
    try:
        if coding in b"Bb":
            raw = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        else:
            raw = _HEX.sub(lambda digits: bytes.fromhex(digits[1].decode()), text.replace(b"_", b" "))
    except ValueError:
        return word[0]
    return in_utf8(raw, charset.partition(b"*")[0])


def _extended(value: bytes, *, keep: bool = False) -> tuple[bytes, bytes]:
    """Return a percent-encoded value (``UTF-8''na%C3%AFve``) and its charset; ``keep``: in this charset."""
    found = _EXTENDED.fullmatch(value)
    charset, text = found.groups() if found is not None else (b"", value)
    raw = unquote_to_bytes(text)
    return (raw if keep else in_utf8(raw, charset)), charset
