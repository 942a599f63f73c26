"""Cuts a .rules file into rules, each with its header and its options, and where they stand.

A rule is one line, or several that end in a backslash. Suricata ends an option at each ``;`` without a backslash before
it, within quotes as well; so does this. Files are read as Latin-1: a character is a byte, as a content means it. One
regular expression cuts out each option, so that a rule costs time linear in its length.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from ids.later import late_pattern
from ids.rules.language.suricata.faults import Malformed

MAX_RULE_BYTES = 65_536
"""Of one rule. Suricata takes 8,192 bytes of a line; real ones have at most half of that."""

MAX_OPTIONS = 4_096
"""Of one rule."""

_OPTION = late_pattern(r"\s*([A-Za-z0-9_.\-]+)\s*(?::([^;]*(?:(?<=\\);[^;]*)*))?;")
_BLANK = late_pattern(r"\s*")
_HEADER = late_pattern(r"\s*(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+([^\s(]+)\s*\(")
_PIECE = late_pattern(r"[\[\]]|\s+|[^\[\]\s]+")
_CONTROL = late_pattern(r"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]")
_ESCAPED_END = late_pattern(r"\\[ \t\r]*\Z")

_BYTE_ORDER_MARK = "\xef\xbb\xbf"
"""Of UTF-8, read as Latin-1: some editors begin a file with it."""

SHAPE = "write `action protocol source port -> destination port (options)`"


@dataclass(frozen=True, slots=True)
class RawRule:
    """The text of a rule, and the lines that it was put together from."""

    text: str
    line: int
    """Number of its first line, from 1."""
    joints: tuple[int, ...] = ()
    """Offsets in ``text`` at which its second and further lines begin."""

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column of a character, both from 1."""
        row = bisect_right(self.joints, offset)
        return self.line + row, offset - (self.joints[row - 1] if row else 0) + 1


@dataclass(frozen=True, slots=True)
class Header:
    """The words before the options, and at which offset of the rule each stands."""

    words: tuple[str, ...]
    """Action, protocol, source, port, arrow, destination, port."""
    offsets: tuple[int, ...]
    end: int
    """Offset behind the parenthesis that opens the options."""


Option = tuple[str, str | None, int]
"""Name, value (None: it has none) and offset in the rule."""


def raw_rules(text: str) -> Iterator[RawRule]:
    """Yield the rules of a file; empty lines, comments and rules that are commented out are skipped."""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    pending: list[str] = []
    first, disabled = 0, False
    for number, line in enumerate(text.split("\n"), 1):
        if not pending:
            start = line.lstrip()[:1]
            if disabled or not start or start == "#":
                disabled = (disabled or start == "#") and line.rstrip().endswith("\\")
                continue
            first = number
        if line.rstrip().endswith("\\"):
            pending.append(_ESCAPED_END.sub("", line))
            continue
        if pending:
            yield _joined([*pending, line], first)
            pending = []
        else:
            yield RawRule(line, number)
    if pending:
        yield _joined(pending, first)


def _joined(lines: list[str], first: int) -> RawRule:
    joints, at = [], 0
    for line in lines[:-1]:
        at += len(line)
        joints.append(at)
    return RawRule("".join(lines), first, tuple(joints))


def check_text(text: str) -> None:
    """Raise `Unfinished` where a rule has control characters, or bytes that are no UTF-8."""
    found = _CONTROL.search(text)
    if found is not None:
        raise Unfinished(f"a control character stands in it: {found[0]!r}", found.start(), "write bytes as |0d 0a|")
    if text.isascii():
        return
    try:
        text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unfinished("it is no UTF-8", error.start, "write bytes as |e4|") from None


def header_of(text: str) -> Header:
    """Cut out the words before the options; raises `Malformed`."""
    found = _HEADER.match(text)
    if found is not None and "[" not in text[: found.end()]:
        return Header(found.groups(), tuple(found.start(i) for i in range(1, 8)), found.end())
    return _header_with_lists(text)


def _header_with_lists(text: str) -> Header:
    """Cut a header in which lists may have blanks."""
    body = text.find("(")
    if body < 0:
        raise Malformed("it has no options", SHAPE)
    words: list[str] = []
    offsets: list[int] = []
    depth, blank = 0, True
    for piece in _PIECE.finditer(text, 0, body):
        part = piece[0]
        if part.isspace():
            blank = blank or depth == 0
            continue
        depth += (part == "[") - (part == "]")
        if blank:
            words.append(part)
            offsets.append(piece.start())
            blank = False
        else:
            words[-1] += part
    if len(words) != 7:
        raise Malformed(f"its header has {len(words)} words instead of seven", SHAPE)
    return Header(tuple(words), tuple(offsets), body + 1)


def options_of(text: str, start: int) -> Iterator[Option]:
    """Yield the options from ``start`` to the parenthesis that closes them; raises `Unfinished`."""
    end = text.rfind(")")
    if end < start or text[end + 1 :].strip():
        raise Unfinished("no ) ends the options", len(text.rstrip()), "each rule ends in ;)")
    count = 0
    while True:
        found = _OPTION.match(text, start, end)
        if found is None:
            break
        count += 1
        if count > MAX_OPTIONS:
            raise Unfinished(f"it has more than {MAX_OPTIONS} options", start)
        yield found[1], found[2], found.start(1)
        start = found.end()
    start = _BLANK.match(text, start, end).end()  # type: ignore[union-attr]  # it always matches
    if start < end:
        raise Unfinished("no ; ends the option" if ";" not in text[start:end] else "is no option", start)


class Unfinished(Malformed):
    """The options cannot be cut; ``offset`` is where."""

    def __init__(
        self, message: str, offset: int, remedy: str = "write `name;` or `name:value;`, and \\; in values"
    ) -> None:
        super().__init__(message, remedy)
        self.offset = offset
