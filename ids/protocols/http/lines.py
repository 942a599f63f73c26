"""The lines of a head as Suricata takes them apart: for what is odd about them, not for what they say (`head`)."""

from __future__ import annotations

from typing import NamedTuple

from ids.later import late_pattern
from ids.protocols.http.head import ANY_LINE_END

_TOKEN = late_pattern(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FOLDS = (b" ", b"\t", b"\0")
"""What a line begins with that goes on with the one before it."""


class Lines(NamedTuple):
    """What was found in the lines of a head."""

    values: dict[bytes, list[bytes]]
    """By name in lower case, those of folded lines whole."""
    colonless: bool
    """A line has no colon;"""
    misnamed: bool
    """what stands before one is no name;"""
    misfolded: bool
    """a line goes on with nothing, or of an answer with another header than its own."""


def lines_of(raw: bytes, asks: bool, modern: bool) -> Lines:
    """Take the header lines of a request (``asks``) or an answer apart; ``modern``: one of HTTP/1.1."""
    unfolded, misfolded = _unfolded(raw, asks, modern)
    values: dict[bytes, list[bytes]] = {}
    colonless = misnamed = False
    for line in unfolded:
        name, colon, value = line.partition(b":")
        if asks and b"\0" in name:  # what is behind it, the colon too, is not read
            colon = b""
        if not colon:
            colonless = True
            continue
        values.setdefault(name.strip().lower(), []).append(value.strip(b" \t\r\n"))
        misnamed |= _TOKEN.fullmatch(name) is None
    return Lines(values, colonless, misnamed, misfolded)


def _unfolded(raw: bytes, asks: bool, modern: bool) -> tuple[list[bytes], bool]:
    """Return whole lines, and whether one is folded that should not be.

    A folded line of an answer that has a colon is a header of its own where the one before it has one as well.
    """
    whole: list[list[bytes]] = []
    misfolded = False
    for line in raw.split(b"\n") if asks else ANY_LINE_END.split(raw):
        line = line.strip(b"\r")
        if not line:
            continue
        if line[:1] not in _FOLDS:
            whole.append([line])
            continue
        its_own = not asks and modern and b":" in line and whole and any(b":" in part for part in whole[-1])
        if its_own or not whole:
            misfolded = True
            whole.append([line[1:]])
        else:
            whole[-1].append(line.strip(b" \t"))
    return [b" ".join(parts) for parts in whole], misfolded
