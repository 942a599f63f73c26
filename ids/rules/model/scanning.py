"""The one importer of Hyperscan: databases of patterns, compiled, cached on disk, and scanned.

Python's binding wants a scratch space per database, reports by callback, and signals a scan ended by the callback as an
exception; all of that stays here. (Its ``literal=True`` mode takes a literal's length up to the first NUL byte, so
literals are compiled as expressions with every byte escaped.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hyperscan

from ids.cache import Cache, digest_of

CACHE_FORMAT = "2"
"""Part of every cache key; raise it when the meaning of what is cached changes."""

VERSION = f"{CACHE_FORMAT} {hyperscan.__version__}"  # type: ignore[attr-defined]  # its stub leaves that out
"""What every cache key begins with."""

CASELESS: int = hyperscan.HS_FLAG_CASELESS
SINGLE: int = hyperscan.HS_FLAG_SINGLEMATCH
START: int = hyperscan.HS_FLAG_SOM_LEFTMOST
ALLOW_EMPTY: int = hyperscan.HS_FLAG_ALLOWEMPTY


class ScanError(ValueError):
    """A pattern cannot be compiled."""


class Scanner:
    """One block-mode database. Not for two threads at a time: the scratch space is shared."""

    def __init__(self, database: Any) -> None:
        self._database = database

    def scan(self, data: bytes, report: Callable[..., bool | None]) -> bool:
        """Call ``report(id, start, end, flags, context)`` for each match until it returns True; return if it did."""
        try:
            self._database.scan(data, match_event_handler=report)
        except hyperscan.ScanTerminated:
            return True
        return False

    def first(self, data: bytes) -> tuple[int, int] | None:
        """Return start and end of the match that ends first, or None."""
        found: list[tuple[int, int]] = []

        def report(_id: int, start: int, end: int, *_rest: Any) -> bool:
            found.append((start, end))
            return True

        self.scan(data, report)
        return found[0] if found else None


def escape(literal: bytes) -> bytes:
    """Spell a literal as an expression that matches exactly it."""
    return b"".join(b"\\x%02x" % byte for byte in literal)


def compile_scanner(expressions: Sequence[bytes], flags: Sequence[int]) -> Scanner:
    """Compile expressions, whose ids are their positions, for one pass in linear time; raises `ScanError`."""
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(expressions=list(expressions), ids=list(range(len(expressions))), flags=list(flags))
    except hyperscan.error as error:
        raise ScanError(str(error)) from error
    return Scanner(database)


def compile_backtracking(expression: bytes, nocase: bool) -> Scanner:
    """Compile one expression for Chimera: Hyperscan as the filter, PCRE for the rest; raises `ScanError`."""
    database = hyperscan.Database(chimera=True, mode=hyperscan.CH_MODE_NOGROUPS)
    try:
        database.compile(expressions=[expression], flags=[hyperscan.CH_FLAG_CASELESS if nocase else 0])
    except hyperscan.error as error:
        raise ScanError(str(error)) from error
    return Scanner(database)


def cached_scanner(expressions: Sequence[bytes], flags: Sequence[int], directory: Path | None) -> Scanner:
    """Like `compile_scanner`, but keep the compiled form in ``directory`` (see `ids.cache`) for the next start."""
    cache = Cache(directory, "hs")
    key = digest_of(_parts(expressions, flags))
    kept = cache.get(key)
    scanner = load_scanner(kept) if kept is not None else None
    if scanner is None:
        scanner = compile_scanner(expressions, flags)
        cache.put(key, serialise(scanner))
    return scanner


def _parts(expressions: Sequence[bytes], flags: Sequence[int]) -> Iterator[bytes | str]:
    yield VERSION
    for expression, flag in zip(expressions, flags, strict=True):
        yield from (str(flag), expression)


def serialise(scanner: Scanner) -> bytes:
    """Return what `load_scanner` makes a scanner of again. Chimera's databases have no such form."""
    raw: bytes = hyperscan.dumpb(scanner._database)
    return raw


def load_scanner(raw: bytes) -> Scanner | None:
    """Return the scanner that was serialised, on this kind of processor by this version; else None."""
    try:
        database = hyperscan.loadb(raw, mode=hyperscan.HS_MODE_BLOCK)  # refuses another version's or CPU's database
        database.scratch = hyperscan.Scratch(database)
    except hyperscan.error:
        return None
    return Scanner(database)
