"""Regular expressions with a bounded cost, to compile and to search, whatever the rule and the traffic.

Hyperscan runs a pattern in time linear in the data. What it cannot express (look-around, back-references) runs on
Chimera, which is Hyperscan as a filter before PCRE. PCRE's limit of steps holds for each place where a match may begin,
so that a search may still take the square of the data: it is made aside, in a child that is ended when it takes too
long (`ids.aside`). Python's ``re`` backtracks without a limit, so it is not used. Most data never comes there: what
Hyperscan finds nothing in, where it takes the pattern for more than it is, PCRE need not see.

Compiling a pattern takes milliseconds, or minutes, and there is no other way to find out than to try it, aside as well.
Where packets wait for it, the trial is short: what takes longer is compiled beside, in a thread, and PCRE searches
until then. Of 3,268 regexes of public rules most take 4 ms, one in a hundred more than 90 ms, and one more than 2 s.
What came of it is kept for the next start (`ids.cache`). Chimera's databases cannot be kept: of those the next start
knows that they compile, and makes them at the first search.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ids.aside import Aside, Declined, TooCostly
from ids.cache import Cache, digest_of
from ids.errors import IdsError
from ids.rules.model.cheaper import cheaper
from ids.rules.model.expressions import SCRIPT
from ids.rules.model.regex_literals import UNKNOWN, Shape, shape_of
from ids.rules.model.scanning import (
    CASELESS,
    COMPILE_BYTES,
    COMPILE_CPU_S,
    COMPILER,
    SIEVE,
    SINGLE,
    START,
    VERSION,
    CostError,
    ScanError,
    Scanner,
    check_backtracking,
    compile_scanner,
    load_scanner,
    serialise,
)

MATCH_LIMIT = 100_000
"""PCRE's steps from one place, about a millisecond. Beyond them the search finds nothing (pcreapi(3), match_limit)."""

SEARCH_CPU_S = 0.1
"""Processor time of one search that backtracks, with the compilation before the first one. It ends no sooner than the
kernel's clock ticks."""

FIRST_CPU_S = 0.05
"""Processor time to compile a pattern at its first search, for which packets wait. One that takes longer is searched as
those that backtrack are, until it is compiled beside."""

MAX_BESIDE = 1000
"""Patterns that wait to be compiled beside; of more, all that is missing is speed."""

COSTLY_S = 20.0
"""Seconds that a load may spend on patterns that turn out to be too costly. Beyond them each has a tenth of the time,
and beyond twice as many a hundredth, which is what others need: so a load ends, however many there are."""

PATTERN_BYTES = 16 << 20
"""Of one pattern in its compiled form."""
PATTERNS_BYTES = 256 << 20
"""Of all patterns of a load."""

SIEVE_CPU_S = 0.05
"""Processor time to compile the sieve of a slow pattern."""
SIEVE_BYTES = 128 << 10
"""Of a sieve in its compiled form; those of public rules have 2 to 25 kB."""

MAX_ENDS = 256
"""Ends of matches that are looked at to find the one that PCRE prefers; beyond them it is asked."""

CACHE_SUFFIX = "regex"

NOT_YET = "it is not compiled yet"
"""Why a pattern is slow for now."""

SEARCHER = Aside(SCRIPT)
"""Where patterns that backtrack are searched; one for each process."""


class PatternError(ValueError):
    """A regular expression cannot be compiled; ``remedy`` says what to do where that is known."""

    def __init__(self, message: str, remedy: str = "") -> None:
        self.remedy = remedy
        super().__init__(message)


class SearchTimeout(Exception):
    """A search that backtracks took longer than it may: whether there is a match is not known."""


@dataclass(slots=True, eq=False)
class Pattern:
    """A regular expression in PCRE's syntax, on bytes, that is known to compile."""

    text: str
    nocase: bool
    slow: str = ""
    """Why Hyperscan alone cannot run it; empty when it can."""
    _scanner: Scanner | None = field(default=None, repr=False)
    """None of a slow one."""
    _placed: bool = True
    """The scanner knows where a match starts."""
    _sieve: Scanner | None = field(default=None, repr=False)
    """Of a slow one: where this finds nothing, neither does PCRE, and is not asked."""
    _inexact: bool = False
    """PCRE takes too long to say where its match ends."""
    _pending: bool = field(default=False, repr=False)
    """It is compiled at the first search."""
    _refusal: PatternError | None = field(default=None, repr=False)
    """Why that failed."""

    @classmethod
    def lazy(cls, text: str, nocase: bool = False) -> Pattern:
        """Return a pattern that is compiled when it is first searched, which raises `PatternError` where it cannot be.

        For rules by the ten thousand, most of which no traffic ever asks for.
        """
        return cls(text, nocase, _pending=True)

    def compiled(self, patterns: Patterns | None = None) -> Pattern:
        """Compile what is not compiled yet, and return it; raises `PatternError`, each time the same."""
        if self._pending:
            cpu_s = COMPILE_CPU_S if patterns else FIRST_CPU_S
            patterns = patterns or _first_searches[-1]
            try:
                self._take(patterns.compile(self.text, self.nocase, empty=True, cpu_s=cpu_s))
            except PatternError as error:
                self._refusal = error
            self._pending = False
            if self.slow == NOT_YET:
                BESIDE.make(self, patterns)
        if self._refusal is not None:
            raise PatternError(str(self._refusal), self._refusal.remedy)
        return self

    def _take(self, ready: Pattern) -> None:
        """Become what was compiled; the scanner comes last, for a search may look at any time."""
        self.slow, self._placed, self._sieve = ready.slow, ready._placed, ready._sieve
        self._scanner = ready._scanner

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it be kept without its compiled form."""
        return _lazy, (self.text, self.nocase)

    def search(self, data: bytes | memoryview) -> tuple[int, int] | None:
        """Return start and end of a match, or None; raises `SearchTimeout`, of a slow one."""
        if self._pending or self._refusal is not None:
            self.compiled()
        if self._scanner is not None:
            return self._scanner.first(data)
        if self._sieve is not None and self._sieve.first(data) is None:
            return None
        return self._exactly(data)

    def leftmost(self, data: bytes | memoryview) -> tuple[tuple[int, int] | None, bool]:
        """Return start and end of the match that PCRE finds: the leftmost, and of these the one that its quantifiers
        and alternatives prefer; and whether PCRE was asked, in the child, which takes some 80 µs.

        Hyperscan reports every end of a match, so the leftmost start is known. PCRE is asked only where matches from
        there end in several places, and it is not clear which one it prefers; where it takes too long the longest is
        returned.
        """
        if self._pending:
            self.compiled()
        scanner = self._scanner
        if scanner is None:
            return self.search(data), True
        shape = self._shape
        if shape.least == shape.most:
            found = scanner.first(data)
            if found is None or found[1] - found[0] == shape.least:
                return found, False
        reports: list[tuple[int, int]] = []

        def report(_id: int, start: int, end: int, *_rest: Any) -> bool:
            reports.append((start, end))
            return len(reports) >= MAX_ENDS

        cut_off = scanner.scan(data, report)
        if not reports:
            return None, False
        first = min(start for start, _ in reports)
        ends = [end for start, end in reports if start == first]
        if self._inexact or (self._placed and not cut_off and (len(ends) == 1 or shape.prefers)):
            return (first, min(ends) if shape.prefers == "shortest" else max(ends)), False
        try:
            return self._exactly(data), True
        except SearchTimeout:
            self._inexact = True
            return (first, max(ends)), True

    @property
    def anchored(self) -> bool:
        """A match starts where the data starts, or nowhere."""
        return self._shape.anchored

    @property
    def looks_back(self) -> bool:
        """Whether there is a match may depend on what is before it."""
        return self._shape.looks_back

    @property
    def _shape(self) -> Shape:
        return shape_of(self.text, self.nocase)

    def _exactly(self, data: bytes | memoryview) -> tuple[int, int] | None:
        data = bytes(data)
        try:
            found: tuple[int, int] | None = SEARCHER.ask(
                "search", _limited(self.text), self.nocase, data, cpu_s=SEARCH_CPU_S, memory_bytes=COMPILE_BYTES
            )
        except (TooCostly, Declined) as error:
            raise SearchTimeout(f"regex {self.text!r} on {len(data)} bytes: {error}") from None
        return found


def check_capture(text: str) -> str:
    """Return why the first group of an expression cannot be taken; empty where it can."""
    groups = shape_of(text).groups
    if groups not in (1, UNKNOWN):
        return f"regex {text!r} has {groups} groups; it must have one"
    try:
        COMPILER.ask("compile_groups", _limited(text), cpu_s=SEARCH_CPU_S, memory_bytes=COMPILE_BYTES)
    except (TooCostly, Declined) as error:
        return f"regex {text!r}: {error}"
    return ""


def search_capture(text: str, data: bytes) -> tuple[int, int] | None:
    """Return where the first group of the first match of an expression is; raises `SearchTimeout`."""
    try:
        found: tuple[int, int] | None = SEARCHER.ask(
            "capture", _limited(text), data, cpu_s=SEARCH_CPU_S, memory_bytes=COMPILE_BYTES
        )
    except (TooCostly, Declined) as error:
        raise SearchTimeout(f"regex {text!r} on {len(data)} bytes: {error}") from None
    return found


def search_groups(pattern: Pattern, data: bytes) -> list[tuple[int, int] | None]:
    """Return where the groups of the first match of a pattern are, as PCRE has it; nothing where it takes too long."""
    expression = _limited(f"(?i){pattern.text}" if pattern.nocase else pattern.text)
    try:
        found: list[tuple[int, int] | None] = SEARCHER.ask(
            "groups", expression, data, cpu_s=SEARCH_CPU_S, memory_bytes=COMPILE_BYTES
        )
    except (TooCostly, Declined):
        return []
    return found


class Patterns:
    """Compiles the patterns of one load, within what a load may cost."""

    def __init__(self, cache: Cache | None = None) -> None:
        """``cache`` keeps what was compiled."""
        self._cache = cache
        self._wasted_s = 0.0
        self._held_bytes = 0

    def compile(
        self, text: str, nocase: bool = False, empty: bool = False, cpu_s: float = COMPILE_CPU_S,
        compiler: Aside | None = None,
    ) -> Pattern:  # fmt: skip
        """Compile a regular expression, or load what is kept of it; raises `PatternError`.

        One that matches the empty text is refused, because it says nothing; with ``empty`` it is left to PCRE. Where
        ``cpu_s`` is less than a load may spend, one that takes longer is returned as `NOT_YET`, and not kept.
        """
        if "\0" in text:
            raise PatternError("a NUL byte stands in it; write \\x00")
        key = digest_of([VERSION, str(MATCH_LIMIT), str(nocase), *(["empty"] if empty else []), text])
        kept = None if self._cache is None else self._cache.get(key)
        pattern = None if kept is None else _load(text, nocase, kept)
        if pattern is None or kept is None:
            pattern = self._compiled(text, nocase, empty, cpu_s, compiler)
            if pattern.slow == NOT_YET:
                return pattern
            if pattern.slow:
                self._give_sieve(pattern, compiler)
            kept = _saved(pattern)
            if self._cache is not None and len(kept) <= PATTERN_BYTES:
                self._cache.put(key, kept)
        self._held_bytes += len(kept)
        if len(kept) > PATTERN_BYTES:
            raise PatternError(f"too costly: its compiled form has {len(kept):,} bytes", self._remedy(text, nocase))
        if self._held_bytes > PATTERNS_BYTES:
            raise PatternError(
                f"too costly: with it the regexes of all rules have {self._held_bytes:,} bytes in compiled form",
                self._remedy(text, nocase),
            )
        return pattern

    def _compiled(self, text: str, nocase: bool, empty: bool, cpu_s: float, compiler: Aside | None) -> Pattern:
        if cpu_s < COMPILE_CPU_S:
            try:
                return first_compiled(text, nocase, cpu_s)
            except CostError:
                return Pattern(text, nocase, NOT_YET)
        hurry = 1 if self._wasted_s < COSTLY_S else 10 if self._wasted_s < 2 * COSTLY_S else 100
        try:
            return compile_within(text, nocase, COMPILE_CPU_S / hurry, empty, compiler)
        except CostError as error:
            self._wasted_s += COMPILE_CPU_S / hurry
            raise PatternError(str(error), self._remedy(text, nocase)) from None

    def _give_sieve(self, pattern: Pattern, compiler: Aside | None) -> None:
        """Give a slow pattern its sieve, where that costs little to make and to keep; without one, PCRE is asked."""
        if self._wasted_s >= COSTLY_S:
            return
        flags = SIEVE | SINGLE | (CASELESS if pattern.nocase else 0)
        try:
            scanner = compile_scanner([pattern.text.encode()], [flags], SIEVE_CPU_S, compiler=compiler)
        except CostError:
            self._wasted_s += SIEVE_CPU_S
        except ScanError:
            pass  # one that matches the empty text, or nothing of which Hyperscan knows
        else:
            if len(scanner.raw) <= SIEVE_BYTES:
                pattern._sieve = scanner

    def _remedy(self, text: str, nocase: bool) -> str:
        """Return a cheaper spelling, one that was tried."""
        found = cheaper(text)
        if found is not None and self._wasted_s < COSTLY_S:
            try:
                compile_within(found[0], nocase, COMPILE_CPU_S / 10)
            except (ScanError, PatternError):
                self._wasted_s += COMPILE_CPU_S / 10
            else:
                before, after = found[1]
                return f"large counts cost most: write {after} for {before}, as a whole {found[0]!r}"
        return "make two conditions of it, or a shorter one with fewer repeats and alternatives"


def _lazy(text: str, nocase: bool) -> Pattern:
    return Pattern.lazy(text, nocase)


_first_searches: list[Patterns] = [Patterns()]
"""Compiles lazy patterns: the last entry, which has the limits of the last load."""


def begin_lazy(cache: Cache | None) -> None:
    """Give lazy patterns, which are compiled at their first search, a new load's limits and cache."""
    _first_searches[-1] = Patterns(cache)


def compile_pattern(text: str, nocase: bool = False, cache: Cache | None = None) -> Pattern:
    """Compile one regular expression as `Patterns` does."""
    return Patterns(cache).compile(text, nocase)


def _saved(pattern: Pattern) -> bytes:
    """Return what is kept of a pattern: why it is slow, and whether its matches have a start, as JSON, on a line; then
    its database, which of a slow one is that of its sieve.
    """
    scanner = pattern._sieve if pattern.slow else pattern._scanner
    database = b"" if scanner is None else serialise(scanner)
    return json.dumps([pattern.slow, pattern._placed]).encode() + b"\n" + database


def _load(text: str, nocase: bool, kept: bytes) -> Pattern | None:
    head, _, database = kept.partition(b"\n")
    slow, placed = json.loads(head)
    scanner = load_scanner(database) if database else None
    if scanner is None and (database or not slow):
        return None
    return Pattern(text, nocase, slow, _sieve=scanner) if slow else Pattern(text, nocase, "", scanner, placed)


class _Beside:
    """Compiles patterns in a thread, with a child of its own, while they are searched by PCRE."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)  # the thread is the parent's

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Pattern, Patterns]] = deque()
        self._thread: threading.Thread | None = None

    def make(self, pattern: Pattern, patterns: Patterns) -> None:
        """Have a pattern compiled; what it cannot be compiled to stays as it is."""
        with self._lock:
            if len(self._waiting) >= MAX_BESIDE:
                return
            self._waiting.append((pattern, patterns))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ids-regexes", daemon=True)
                self._thread.start()

    def join(self) -> None:
        """Wait until nothing waits."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        compiler = Aside(SCRIPT)
        try:
            while True:
                with self._lock:
                    if not self._waiting:
                        self._thread = None
                        return
                    pattern, patterns = self._waiting.popleft()
                with contextlib.suppress(IdsError, PatternError):
                    pattern._take(patterns.compile(pattern.text, pattern.nocase, empty=True, compiler=compiler))
        finally:
            compiler.close()


BESIDE = _Beside()


def first_compiled(text: str, nocase: bool, cpu_s: float) -> Pattern:
    """Compile in little time; raises `CostError` for what takes longer, `PatternError` for what can never be."""
    try:
        scanner = compile_scanner([text.encode()], [(CASELESS if nocase else 0) | START], cpu_s)
    except CostError:
        raise
    except ScanError:
        return compile_within(text, nocase, cpu_s, empty=True)
    return Pattern(text, nocase, "", scanner)


def compile_within(
    text: str, nocase: bool, cpu_s: float, empty: bool = False, compiler: Aside | None = None
) -> Pattern:
    """Compile, each way within some seconds; raises `PatternError`, and `CostError` where that is not enough."""
    expression, flags = text.encode(), CASELESS if nocase else 0
    try:
        return Pattern(text, nocase, "", compile_scanner([expression], [flags | START], cpu_s, compiler=compiler))
    except ScanError as error:
        refusal = str(error)
    if "matches empty buffer" in refusal and not empty:
        raise PatternError("it matches the empty text, so it always holds; ask for at least one byte")
    try:  # a large pattern may be too much with the start of each match, and fit without
        scanner = compile_scanner([expression], [flags | SINGLE], cpu_s, compiler=compiler)
        return Pattern(text, nocase, "", scanner, False)
    except CostError:
        raise
    except ScanError:
        pass  # it is one that only backtracking can do, or wrong: PCRE says which
    try:
        check_backtracking(_limited(text), nocase, min(cpu_s, SEARCH_CPU_S / 2), compiler)
    except CostError:
        raise
    except ScanError:
        raise PatternError(refusal) from None
    return Pattern(text, nocase, refusal)


def _limited(text: str) -> bytes:
    return f"(*LIMIT_MATCH={MATCH_LIMIT})".encode() + text.encode()
