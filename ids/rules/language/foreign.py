"""Texts in YAML rules that look as another language spells something, and here stand for themselves."""

from __future__ import annotations

from ids.later import late_pattern

_BARS = late_pattern(r"\|(?:[0-9A-Fa-f]{2}[ ]*)+\|")
_ESCAPES = late_pattern(r"\\(?:x[0-9A-Fa-f]{2}|r\\n)")
_UNSEEN = late_pattern("[\u00a0\u00ad\u200b-\u200f\u2018-\u201f\u2028\u2029\u2060\ufeff]")
"""Blanks and marks that nobody sees, and the quotes of word processors."""
_SLASHED = late_pattern(r"(?s)/(?=.*[\\()\[\]+*?^$|]).+/[a-zA-Z]{1,8}")
_FLAGS = frozenset("imsxAEGRUIPHDMCSYBOVW")
"""What may stand behind the slashes of Perl's and Suricata's regular expressions."""
_CONTROL = late_pattern(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def foreign_text(text: str) -> tuple[str, str] | None:
    """Return why a text may not be meant as it stands, and what to write; None where nothing hints at it."""
    if (found := _BARS.search(text)) is not None:
        digits = found[0].strip("|")
        return f"{found[0][:40]!r} is text here, bars and all", f'write bytes as {{hex: "{digits[:40]}"}}'
    if (found := _ESCAPES.search(text)) is not None:
        return f"{found[0]!r} is text here, backslash and all", "in double quotes it is a byte, as in {hex: ...}"
    if (found := _UNSEEN.search(text)) is not None:
        code = f"U+{ord(found[0]):04X}"
        return f"it has {code}, which looks like another character or none", "write it anew, or as {hex: ...} if meant"
    return None


def foreign_regex(text: str) -> tuple[str, str] | None:
    """Return the same of a regular expression."""
    if _SLASHED.fullmatch(text) is not None and _FLAGS.issuperset(text.rpartition("/")[2]):
        inner, flags = text[1:].rpartition("/")[::2]
        said = "".join(flag for flag in flags if flag in "imsx")
        spelled = f"(?{said}){inner}" if said else inner
        return "the slashes around it and the letters behind them are looked for, too", f"write '{spelled[:60]}'"
    if (found := _CONTROL.search(text)) is not None:
        code = f"U+{ord(found[0]):04X}"
        return f"it has the control character {code}: in double quotes, \\b is a backspace", "quote it singly"
    return None
