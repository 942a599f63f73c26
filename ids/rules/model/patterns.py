"""Regular expressions with a bounded cost, whatever the traffic.

Hyperscan runs a pattern in time linear in the data. What it cannot express (look-around, back-references) runs on
Chimera, which is Hyperscan as a filter before PCRE, under a match limit, so that it is slower but ends. Python's ``re``
backtracks without a limit: a sender could stop the engine with one packet, so it is not used.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ids.rules.model.scanning import CASELESS, SINGLE, START, ScanError, Scanner, compile_backtracking, compile_scanner

MATCH_LIMIT = 100_000
"""PCRE's steps for one search, about a millisecond. Beyond them the search finds nothing (pcreapi(3), match_limit)."""


class PatternError(ValueError):
    """A regular expression cannot be compiled."""


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """A compiled regular expression in PCRE's syntax, on bytes."""

    text: str
    nocase: bool
    scanner: Scanner = field(repr=False)
    slow: str = ""
    """Why Hyperscan alone cannot run it; empty when it can."""

    def search(self, data: bytes) -> tuple[int, int] | None:
        """Return start and end of a match, or None."""
        return self.scanner.first(data)


def compile_pattern(text: str, nocase: bool = False) -> Pattern:
    """Compile a regular expression; raises `PatternError`."""
    expression = text.encode()
    flags = CASELESS if nocase else 0
    if b"\0" in expression:
        raise PatternError("a NUL byte stands in it; write \\x00")
    try:
        return Pattern(text, nocase, compile_scanner([expression], [flags | START]))
    except ScanError as error:
        refusal = str(error)
    if "matches empty buffer" in refusal:
        raise PatternError("it matches the empty text, so it always holds; ask for at least one byte")
    try:  # a large pattern may be too much with the start of each match, and fit without
        return Pattern(text, nocase, compile_scanner([expression], [flags | SINGLE]))
    except ScanError:
        pass_limit = f"(*LIMIT_MATCH={MATCH_LIMIT})".encode()
    try:
        return Pattern(text, nocase, compile_backtracking(pass_limit + expression, nocase), slow=refusal)
    except ScanError:
        raise PatternError(refusal) from None
