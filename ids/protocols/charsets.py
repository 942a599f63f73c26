"""Text in the character set that a message names: only sets that mail and the web use are looked up.

A name is the sender's word, and Python's own lookup must not get it: it imports a module for each name and keeps those
that there are not for ever, and among what it finds are codecs that are no character sets and take time that grows with
the square of their input (``punycode``, ``idna``).
"""

from __future__ import annotations

from encodings.aliases import aliases

from ids.later import late_pattern

_NO_CHARSETS = frozenset(
    {"bz2_codec", "hex_codec", "base64_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs", "oem",
     "punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined"}
)  # fmt: skip
_CHARSETS = frozenset({*aliases.values(), "koi8_u", "utf_8_sig", "cp720", "cp737", "cp874", "cp1006"}) - _NO_CHARSETS
_SEPARATORS = late_pattern(r"[^a-z0-9]+")


def in_utf8(raw: bytes, charset: bytes, errors: str = "strict") -> bytes:
    """Return text as UTF-8; as it is where its character set is not known, or, if ``errors`` is strict, not kept to."""
    name = _SEPARATORS.sub("_", charset.decode("ascii", "replace").lower()).strip("_")
    name = aliases.get(name, name)
    if name not in _CHARSETS:
        return raw
    try:
        return raw.decode(name, errors).encode("utf-8", errors)
    except (LookupError, ValueError):  # none of text on this system, or not in it
        return raw
