"""Headers of a message or of a part: names, unfolded values, parameters, and words in other encodings."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp
from urllib.parse import unquote_to_bytes

from ids.later import late_pattern
from ids.protocols.charsets import in_utf8

Headers = list[tuple[bytes, bytes]]
"""Names in lower case and values without blanks around them, in their order."""

_FOLD = late_pattern(rb"\r?\n(?=[ \t])")
_PARAMETER = late_pattern(rb";\s*([^\s=;\"]+?)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"?|([^;\"]*))", re.DOTALL)
_ESCAPED = late_pattern(rb"\\(.)", re.DOTALL)
_SECTION = late_pattern(rb"([^*]+)\*(?:(\d{1,3})(\*?))?")
_WORD = late_pattern(rb"=\?([^?\s]{1,40})\?([bBqQ])\?([^?]*)\?=")
_BETWEEN_WORDS = late_pattern(rb"(?<=\?=)\s+(?==\?)")
MAX_PARAMETERS = 64
"""Parameters of a header that are read; those in use have five."""
MAX_WORDS = 256
"""Encoded words of a value that are decoded. Long subjects have ten."""


def read_headers(block: bytes, most: int) -> Headers:
    """Return the headers of a block, the first ``most`` of them; lines that are none are left out."""
    found: Headers = []
    for line in _FOLD.sub(b"", block).split(b"\n")[: 4 * most]:
        name, colon, value = line.partition(b":")
        if colon and len(found) < most:
            found.append((name.strip().lower(), value.strip()))
    return found


def all_of(headers: Headers, name: bytes) -> list[bytes]:
    """Return the values of all headers with a name."""
    return [value for key, value in headers if key == name]


def parameters(value: bytes) -> list[tuple[bytes, bytes]]:
    """Return the parameters of a value such as ``attachment; filename="a"``; names in lower case."""
    found = []
    for match in _PARAMETER.finditer(value):
        quoted = match[2]
        text = _ESCAPED.sub(rb"\1", quoted) if quoted is not None else match[3].strip()
        found.append((match[1].lower(), text))
        if len(found) >= MAX_PARAMETERS:
            break
    return found


def parameter(value: bytes, name: bytes) -> list[bytes]:
    """Return all that a parameter may be taken to be: as sent, in the order of its sections, and decoded.

    RFC 2231: ``name*=utf-8''a%20b`` and ``name*0*=...; name*1=...``; RFC 2047: ``=?utf-8?B?...?=``, which mailers
    understand here as well.
    """
    readings: list[bytes] = []
    sections: dict[int, tuple[bytes, bool]] = {}
    for key, text in parameters(value):
        if key == name:
            readings.append(text)
            continue
        found = _SECTION.fullmatch(key)
        if found is not None and found[1] == name:
            whole = found[2] is None
            sections.setdefault(0 if whole else int(found[2]), (text, whole or found[3] == b"*"))
    if sections:
        ordered = [sections[number] for number in sorted(sections)]
        readings.append(b"".join([text for text, _ in ordered]))
        decoded = b"".join([unquote_to_bytes(text) if encoded else text for text, encoded in ordered])
        charset, quote, rest = decoded.partition(b"'")
        language, further, text = rest.partition(b"'")
        if quote and further and len(charset) <= 40 and len(language) <= 40:
            readings.append(in_utf8(text, charset, "replace"))
        else:
            readings.append(decoded)
    return list(dict.fromkeys([*readings, *(decode_words(text) for text in readings)]))


def decode_words(value: bytes) -> bytes:
    """Return a value with its encoded words decoded to UTF-8 (RFC 2047)."""
    if b"=?" not in value:
        return value
    return _WORD.sub(_word, _BETWEEN_WORDS.sub(b"", value), count=MAX_WORDS)


def _word(match: re.Match[bytes]) -> bytes:
    charset, encoding, text = match.groups()
    try:
        raw = a2b_base64(text + b"==") if encoding in b"bB" else a2b_qp(text, header=True)
    except Error:
        return match[0]
    return in_utf8(raw, charset.partition(b"*")[0], "replace")
