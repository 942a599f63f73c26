"""``content``, ``pcre``, and what modifies and surrounds them."""

from __future__ import annotations

import re
from functools import lru_cache

from ids.later import late_pattern
from ids.rules.language.suricata.draft import Draft, Piece
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import commas, intervals, name, number, quoted, refuse_value, required, unquoted
from ids.rules.model.chain import DataAt, Expression, Length, Value
from ids.rules.model.patterns import Pattern
from ids.rules.model.regex_literals import UNKNOWN, shape_of
from ids.types.state import TextChange

MAX_CONTENT_BYTES = 65_535
MAX_LENGTH = 0xFFFFFFFF
MAX_DISTANCE = 1 << 20
"""Of ``distance`` and ``within``, either way, as Suricata has it."""

_TOKEN = late_pattern(r'\|([0-9A-Fa-f\s]*)\||\\([\\";:])|([^|\\"]+)', re.DOTALL)
_PCRE = late_pattern(r"\s*/(.*)/([A-Za-z]*)\s*", re.DOTALL)
_PCRE_CAPTURE = late_pattern(r"(\s*/.*/[A-Za-z]*)\s*,(.*)", re.DOTALL)
_CAPTURE = late_pattern(r"(flow|pkt):([A-Za-z0-9_.-]{1,64})")
_NAMED_GROUP = late_pattern(r"\(\?P?<(flow|pkt)_([A-Za-z0-9_]{1,58})>")
"""An older way to say the same: the name of a group says whose the text is kept as."""
_BRACKETS = late_pattern(
    r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\[[:.=][a-z^]*[:.=]\]|\\.|[^\]\\])*\]|\(\?#[^)]*\)|[()\[]", re.DOTALL
)
_HIGH = late_pattern(r"[\x80-\xff]")

PCRE_BUFFERS = {
    "U": "http.uri", "I": "http.uri.raw", "P": "http.request_body", "Q": "file.data", "H": "http.header",
    "D": "http.header.raw", "M": "http.method", "C": "http.cookie", "S": "http.stat_code", "Y": "http.stat_msg",
    "V": "http.user_agent", "W": "http.host", "Z": "http.host.raw",
}  # fmt: skip
"""Suricata's own flags of ``pcre`` that name a buffer."""

_INLINE = "smx"
_WITHOUT_EFFECT = "BGOE"
"""``B``: buffers are raw here. ``G``, ``E``: see `_expression`. ``O``: the limit of steps is the engine's."""


def content(draft: Draft, value: str | None) -> None:
    """``content:"GET |0d 0a|"``: bytes stand in the buffer."""
    _piece(draft, value, None)


def uricontent(draft: Draft, value: str | None) -> None:
    """``uricontent:"/a"``: bytes stand in the normalised URI."""
    if draft.sticky is not None:
        raise Malformed(f"it stands behind the sticky buffer {draft.sticky}", "put pkt_data; before it")
    _piece(draft, value, "http.uri")


def _piece(draft: Draft, value: str | None, buffer: str | None) -> None:
    negated, text = quoted(value)
    part = draft.here() if buffer is None else draft.part(buffer)
    piece = Piece(literal_bytes(text), negated, part)
    part.steps.append(piece)
    draft.last = draft.latest = piece


def literal_bytes(text: str) -> bytes:
    """Return the bytes that a content spells; raises `Malformed`."""
    if "|" not in text and "\\" not in text and '"' not in text:
        value = text.encode("latin-1", "replace")
    else:
        value = _spelled(text)
    if not value:
        raise Malformed("the content is empty")
    if len(value) > MAX_CONTENT_BYTES:
        raise Malformed(f"the content is longer than {MAX_CONTENT_BYTES:,} bytes")
    return value


def _spelled(text: str) -> bytes:
    parts: list[bytes] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise Malformed(
                f"the content cannot be read from {text[at : at + 20]!r} on",
                'write bytes as |41 42|, and \\" \\\\ \\; \\: for these characters',
            )
        digits, escaped, plain = found.groups()
        if digits is not None:
            digits = "".join(digits.split())
            if len(digits) % 2 or not digits:
                raise Malformed(f"|{found[1]}| has no two digits for each byte")
            parts.append(bytes.fromhex(digits))
        else:
            parts.append((escaped or plain).encode("latin-1", "replace"))
        at = found.end()
    return b"".join(parts)


def nocase(draft: Draft, value: str | None) -> None:
    """``nocase``: ASCII letters of either case."""
    refuse_value(value)
    piece = draft.content()
    if piece.nocase:
        raise Malformed("the content has nocase twice", "keep one of the two")
    piece.nocase = True


def rawbytes(draft: Draft, value: str | None) -> None:
    """``rawbytes``: without effect in Suricata as well."""
    refuse_value(value)
    draft.content()


def _bound(draft: Draft, value: str | None, least: int = 0, most: int = 65_535) -> Value:
    """Read an offset or a length: a number, or a variable that the rule has set before."""
    text = unquoted(required(value))
    if text[:1].isdigit() or text[:1] in "+-":
        return number(text, least, most)
    text = name(text)
    if text not in draft.variables:
        raise Malformed(f"nothing before it sets {text}", "set it by byte_extract or byte_math")
    return text


def depth(draft: Draft, value: str | None) -> None:
    """``depth:10``: it ends within so many bytes from its offset on."""
    piece = draft.content()
    _alone(piece.depth, piece.at_start, "depth")
    _of_one_kind(piece.distance, piece.within)
    piece.depth = _bound(draft, value)
    if isinstance(piece.depth, int) and piece.depth < len(piece.value):
        raise Malformed(f"within {piece.depth} bytes there is no room for {len(piece.value)}")


def offset(draft: Draft, value: str | None) -> None:
    """``offset:10``: it begins so many bytes behind the buffer's start, or later."""
    piece = draft.content()
    _alone(piece.offset, piece.at_start, "offset")
    _of_one_kind(piece.distance, piece.within)
    piece.offset = _bound(draft, value)


def distance(draft: Draft, value: str | None) -> None:
    """``distance:10``: it begins so many bytes behind the test before it, or later."""
    piece = draft.content()
    _alone(piece.distance, piece.at_start, "distance")
    _of_one_kind(piece.offset, piece.depth)
    piece.distance = _bound(draft, value, -MAX_DISTANCE, MAX_DISTANCE)


def within(draft: Draft, value: str | None) -> None:
    """``within:10``: it ends within so many bytes behind the test before it."""
    piece = draft.content()
    _alone(piece.within, piece.at_start, "within")
    _of_one_kind(piece.offset, piece.depth)
    piece.within = _bound(draft, value, -MAX_DISTANCE, MAX_DISTANCE)
    if isinstance(piece.within, int) and piece.within < len(piece.value):
        raise Malformed(f"within {piece.within} bytes there is no room for {len(piece.value)}")


def _alone(given: Value | None, at_start: bool, option: str) -> None:
    if given is not None:
        raise Malformed(f"the content has two of {option}", "keep one of the two")
    if at_start:
        raise Malformed(f"startswith and {option} do not go together")


def _of_one_kind(*others: Value | None) -> None:
    if others != (None, None):
        raise Malformed("offset and depth do not go together with distance and within")


def startswith(draft: Draft, value: str | None) -> None:
    """``startswith``: it stands at the buffer's start."""
    refuse_value(value)
    piece = draft.content()
    if (piece.offset, piece.depth, piece.distance, piece.within) != (None,) * 4:
        raise Malformed("startswith goes without offset, depth, distance and within")
    piece.at_start = True


def endswith(draft: Draft, value: str | None) -> None:
    """``endswith``: it stands at the buffer's end."""
    refuse_value(value)
    draft.content().at_end = True


def fast_pattern(draft: Draft, value: str | None) -> None:
    """``fast_pattern``: look for this content first; ``only``: it does not matter where it stands."""
    piece = draft.content()
    if not piece.only:
        draft.once("fast_pattern")
    piece.preferred = True
    if value is None or not value.strip():
        return
    words = commas(value)
    if words == ["only"]:
        if piece.negated:
            raise Malformed("a negated content cannot be looked for alone")
        piece.only = True
        return
    if len(words) != 2:
        raise Malformed(f"{value.strip()[:40]!r} is no part of a content", "write only, or offset,length")
    first, length = (number(word, 0, 65_535) for word in words)
    if not length or first + length > len(piece.value):
        raise Malformed(f"the content has no {length} bytes from {first} on")


def isdataat(draft: Draft, value: str | None) -> None:
    """``isdataat:10,relative``: there are so many bytes, from the buffer's start or behind the test before it.

    ``isdataat:!1,relative`` right behind a content is ``endswith`` (detect-isdataat.c).
    """
    words = commas(unquoted(required(value)))
    first = words[0]
    negated = first.startswith("!")
    relative = "relative" in words[1:]
    for word in words[1:]:
        if word not in ("relative", "rawbytes"):
            raise Malformed(f"unknown word {word[:40]!r}", "known are relative and rawbytes")
    count = _bound(draft, first[1:] if negated else first)
    before = draft.latest
    if (count, negated, relative) == (1, True, True) and isinstance(before, Piece) and not draft.fresh:
        before.at_end = True
        return
    draft.add(DataAt(count, negated, relative), near=relative)


def bsize(draft: Draft, value: str | None) -> None:
    """``bsize:>10``: the size of the sticky buffer."""
    if draft.sticky is None:
        raise Malformed("bsize is about a sticky buffer", "name one before it, such as http.uri;")
    (found,), negated = intervals(required(value), MAX_LENGTH)
    draft.add(_length(found, negated))


def urilen(draft: Draft, value: str | None) -> None:
    """``urilen:5<>10,raw``: the size of the URI, normalised or raw."""
    words = commas(unquoted(required(value)))
    if len(words) > 2 or words[1:] not in ([], ["norm"], ["raw"]):
        raise Malformed(f"unknown word {words[-1][:40]!r}", "known are norm and raw")
    (found,), negated = intervals(words[0], 65_535)
    draft.part("http.uri.raw" if words[1:] == ["raw"] else "http.uri").steps.append(_length(found, negated, 65_535))


def _length(found: tuple[int, int], negated: bool, most: int = MAX_LENGTH) -> Length:
    return Length(found[0], None if found[1] == most else found[1], negated)


def pcre(draft: Draft, value: str | None) -> None:
    """``pcre:"/a[0-9]+b/Ri"``: a regular expression matches in the buffer, or in the one that a flag names."""
    negated, text = _regex_of(value)
    found, words = _PCRE.fullmatch(text), ""
    if found is None and (listed := _PCRE_CAPTURE.fullmatch(text)) is not None:
        found, words = _PCRE.fullmatch(listed[1]), listed[2]
    if found is None:
        raise Malformed("it is no /regex/ with flags", 'write pcre:"/regex/flags"')
    flags = found[2]
    named = {flag for flag in flags if flag in PCRE_BUFFERS}
    unknown = [flag for flag in flags if flag not in "iARsmx" + _WITHOUT_EFFECT and flag not in PCRE_BUFFERS]
    if unknown:
        raise Malformed(f"unknown flag {unknown[0]!r}", "flags are i s m x A E G, R B O and letters of buffers")
    if len(named) > 1:
        raise Malformed(f"flags {' and '.join(sorted(named))} name two buffers", "keep one of the two")
    buffer = PCRE_BUFFERS[named.pop()] if named else None
    if buffer is not None and draft.sticky is not None and draft.sticky != buffer:
        raise Malformed(f"its flag names a buffer behind the sticky buffer {draft.sticky}", "put pkt_data; before it")
    part = draft.here() if buffer is None or draft.sticky is not None else draft.part(buffer)
    if "R" in flags and not part.steps and draft.sticky is None:
        raise Malformed("flag R asks for a test before it on the same buffer", "leave the flag out")
    captures = _captures(found[1], words)
    part.steps.append(Expression(_expression(found[1], flags, bool(captures)), negated, "R" in flags, captures))
    draft.state_changes += [TextChange(scope, name) for scope, name in captures]
    draft.latest = part


def _regex_of(value: str | None) -> tuple[bool, str]:
    """Return whether a ``!`` stands before a regex, and the regex; the quotes around it may be missing."""
    text = required(value)
    bare = text.removeprefix("!").lstrip()
    return (text != bare, bare) if bare.startswith("/") and '"' not in bare else quoted(value)


def _captures(text: str, words: str) -> tuple[tuple[str, str], ...]:
    """Read which groups of a regex are kept, and as what: from the list behind it, or from their own names."""
    if words:
        named = [_CAPTURE.fullmatch(word) for word in commas(words)]
        captures = tuple((one[1], one[2]) for one in named if one is not None)
        if len(captures) < len(named):
            raise Malformed(f"{words.strip()[:40]!r} are no names to keep groups as", "write flow:name or pkt:name")
        groups = shape_of(text).groups
        if groups not in (UNKNOWN, len(captures)) and groups < len(captures):
            raise Malformed(f"it names {len(captures)} groups, and the regex has {groups}")
        return captures
    named_groups = _NAMED_GROUP.findall(text)
    if named_groups and len(named_groups) < shape_of(text).groups:
        raise Unsupported("pcre capture", "some groups are kept by their names, and others not", "list them: flow:name")
    return tuple((scope, name) for scope, name in named_groups)


@lru_cache(maxsize=4096)
def _expression(text: str, flags: str, captures: bool) -> Pattern:
    """Return the pattern, not compiled yet; only its brackets are checked here. Raises `Malformed`.

    ``G`` asks for the shortest match, which matters only to what groups capture; ``E`` makes ``$`` the very end.
    """
    if not text:
        raise Malformed("the regex is empty")
    if "\0" in text:
        raise Malformed("a NUL byte stands in it", "write \\x00")
    check_brackets(text, "x" in flags)
    text = _HIGH.sub(lambda high: f"\\x{ord(high[0]):02x}", text)
    if "E" in flags and text.endswith("$") and not text.endswith("\\$"):
        text = text[:-1] + "\\z"
    inline = "".join(flag for flag in _INLINE if flag in flags) + ("U" if captures and "G" in flags else "")
    if "A" in flags:
        text = f"\\A(?:{text}\n)" if "x" in flags else f"\\A(?:{text})"
    return Pattern.lazy(f"(?{inline}){text}" if inline else text, "i" in flags)


def check_brackets(text: str, extended: bool = False) -> None:
    """Raise `Malformed` where brackets do not close: what can be seen of a regex without compiling it."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        piece = found[0]
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
            if depth < 0 and not extended:
                raise Malformed("the regex closes a group that it does not open")
        elif piece == "[":
            raise Malformed("the regex does not close a class")
    if depth > 0 and not extended:
        raise Malformed("the regex does not close a group")
    if (len(text) - len(text.rstrip("\\"))) % 2:
        raise Malformed("a backslash ends the regex")
