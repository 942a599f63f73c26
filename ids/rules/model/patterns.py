"""Regular expressions with a bounded cost, whatever the traffic.

Hyperscan runs a pattern in time linear in the data. What it cannot express (look-around, back-references) runs on
Chimera, which is Hyperscan as a filter before PCRE, under a match limit, so that it is slower but ends. Python's ``re``
backtracks without a limit: a sender could stop the engine with one packet, so it is not used.

Compiling a pattern takes milliseconds, and Python's binding has no other way to find out whether it can be compiled. So
what came of it is kept for the next start (`ids.cache`). Chimera's databases cannot be kept: of those the next start
knows that they compile, and makes them at the first search.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from ids.cache import Cache, digest_of
from ids.rules.model.scanning import (
    CASELESS,
    SINGLE,
    START,
    VERSION,
    ScanError,
    Scanner,
    compile_backtracking,
    compile_scanner,
    load_scanner,
    serialise,
)

MATCH_LIMIT = 100_000
"""PCRE's steps for one search, about a millisecond. Beyond them the search finds nothing (pcreapi(3), match_limit)."""

CACHE_SUFFIX = "regex"


class PatternError(ValueError):
    """A regular expression cannot be compiled."""


@dataclass(slots=True, eq=False)
class Pattern:
    """A regular expression in PCRE's syntax, on bytes, that is known to compile."""

    text: str
    nocase: bool
    slow: str = ""
    """Why Hyperscan alone cannot run it; empty when it can."""
    _scanner: Scanner | None = field(default=None, repr=False)
    """None until the first search, of a slow one that was compiled at an earlier start."""

    def search(self, data: bytes) -> tuple[int, int] | None:
        """Return start and end of a match, or None."""
        if self._scanner is None:
            self._scanner = _backtracking(self.text, self.nocase)
        return self._scanner.first(data)


def compile_pattern(text: str, nocase: bool = False, cache: Cache | None = None) -> Pattern:
    """Compile a regular expression, or load what ``cache`` keeps of it; raises `PatternError`."""
    if "\0" in text:
        raise PatternError("a NUL byte stands in it; write \\x00")
    if cache is None:
        return _compile(text, nocase)
    key = digest_of([VERSION, str(MATCH_LIMIT), str(nocase), text])
    kept = cache.get(key)
    pattern = None if kept is None else _load(text, nocase, kept)
    if pattern is None:
        pattern = _compile(text, nocase)
        cache.put(key, _saved(pattern))
    return pattern


def _saved(pattern: Pattern) -> bytes:
    """Return what is kept of a pattern: why it is slow, as JSON, on a line; then the database of one that is not."""
    database = b"" if pattern.slow or pattern._scanner is None else serialise(pattern._scanner)
    return json.dumps(pattern.slow).encode() + b"\n" + database


def _load(text: str, nocase: bool, kept: bytes) -> Pattern | None:
    head, _, database = kept.partition(b"\n")
    slow: str = json.loads(head)
    if slow:
        return Pattern(text, nocase, slow)
    scanner = load_scanner(database)
    return None if scanner is None else Pattern(text, nocase, "", scanner)


def _compile(text: str, nocase: bool) -> Pattern:
    expression, flags = text.encode(), CASELESS if nocase else 0
    try:
        return Pattern(text, nocase, "", compile_scanner([expression], [flags | START]))
    except ScanError as error:
        refusal = str(error)
    if "matches empty buffer" in refusal:
        raise PatternError("it matches the empty text, so it always holds; ask for at least one byte")
    try:  # a large pattern may be too much with the start of each match, and fit without
        return Pattern(text, nocase, "", compile_scanner([expression], [flags | SINGLE]))
    except ScanError:
        pass
    try:
        return Pattern(text, nocase, refusal, _backtracking(text, nocase))
    except ScanError:
        raise PatternError(refusal) from None


def _backtracking(text: str, nocase: bool) -> Scanner:
    return compile_backtracking(f"(*LIMIT_MATCH={MATCH_LIMIT})".encode() + text.encode(), nocase)
