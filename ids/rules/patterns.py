"""Regular expressions with a bounded cost, whatever the traffic.

Hyperscan runs a pattern in time linear in the data. What it cannot express (look-around, back-references) runs on
Chimera, which is Hyperscan as a filter before PCRE, under a match limit, so that it is slower but ends. Python's ``re``
backtracks without a limit: a sender could stop the engine with one packet, so it is not used.

Compiling a pattern takes milliseconds, and Python's binding has no other way to find out whether it can be compiled. So
what came of it is kept for the next start (`ids.cache`): that start checks a pattern by reading a file, and makes the
scanner at the first search. Most patterns are never searched for, because their rule's literal does not occur.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from ids.cache import Cache, digest_of
from ids.rules.scanning import (
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
    _flags: int = 0
    """With which flags Hyperscan takes it."""
    _kept: bytes = field(default=b"", repr=False)
    """The serialised database, until it is loaded."""
    _scanner: Scanner | None = field(default=None, repr=False)

    def search(self, data: bytes) -> tuple[int, int] | None:
        """Return start and end of a match, or None. The first search makes the scanner."""
        if self._scanner is None:
            self._scanner = self._made()
        return self._scanner.first(data)

    def _made(self) -> Scanner:
        scanner = load_scanner(self._kept) if self._kept else None
        self._kept = b""
        if scanner is None:  # a database of another processor, or Chimera's, which cannot be kept
            scanner = _backtracking(self.text, self.nocase) if self.slow else _linear(self.text, self._flags)
        return scanner


def compile_pattern(text: str, nocase: bool = False, cache: Cache | None = None) -> Pattern:
    """Check a regular expression, with the help of ``cache`` where it was checked before; raises `PatternError`."""
    if "\0" in text:
        raise PatternError("a NUL byte stands in it; write \\x00")
    key = "" if cache is None else digest_of([VERSION, str(MATCH_LIMIT), str(nocase), text])
    kept = None if cache is None else cache.get(key)
    if kept is not None:
        head, _, database = kept.partition(b"\n")
        slow, flags = json.loads(head)
        return Pattern(text, nocase, slow, flags, database)
    pattern = _compile(text, nocase)
    if cache is not None and pattern._scanner is not None:
        database = b"" if pattern.slow else serialise(pattern._scanner)
        cache.put(key, json.dumps([pattern.slow, pattern._flags]).encode() + b"\n" + database)
    return pattern


def _compile(text: str, nocase: bool) -> Pattern:
    flags = (CASELESS if nocase else 0) | START
    try:
        return Pattern(text, nocase, "", flags, _scanner=_linear(text, flags))
    except ScanError as error:
        refusal = str(error)
    if "matches empty buffer" in refusal:
        raise PatternError("it matches the empty text, so it always holds; ask for at least one byte")
    flags = flags & ~START | SINGLE
    try:  # a large pattern may be too much with the start of each match, and fit without
        return Pattern(text, nocase, "", flags, _scanner=_linear(text, flags))
    except ScanError:
        pass
    try:
        return Pattern(text, nocase, refusal, _scanner=_backtracking(text, nocase))
    except ScanError:
        raise PatternError(refusal) from None


def _linear(text: str, flags: int) -> Scanner:
    return compile_scanner([text.encode()], [flags])


def _backtracking(text: str, nocase: bool) -> Scanner:
    return compile_backtracking(f"(*LIMIT_MATCH={MATCH_LIMIT})".encode() + text.encode(), nocase)
