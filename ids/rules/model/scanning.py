"""Databases of patterns: compiled, cached on disk, and scanned. With `expressions`, the one importer of Hyperscan.

Compiling can take minutes and gigabytes, whatever the size of a pattern. So it is done aside, in a child with limits.

Python's binding wants a scratch space per database, reports by callback, and signals a scan ended by the callback as an
exception; all of that stays here. (Its ``literal=True`` mode takes a literal's length up to the first NUL byte, so
literals are compiled as expressions with every byte escaped.)
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hyperscan

from ids.aside import Aside, Declined, TooCostly
from ids.cache import Cache, digest_of
from ids.rules.model.expressions import SCRIPT

CACHE_FORMAT = "4"
"""Part of every cache key; raise it when the meaning of what is cached changes."""

VERSION = f"{CACHE_FORMAT} {hyperscan.__version__}"  # type: ignore[attr-defined]  # its stub leaves that out
"""What every cache key begins with."""

CASELESS: int = hyperscan.HS_FLAG_CASELESS
SINGLE: int = hyperscan.HS_FLAG_SINGLEMATCH
START: int = hyperscan.HS_FLAG_SOM_LEFTMOST
SIEVE: int = hyperscan.HS_FLAG_PREFILTER
"""Finds all that the expression matches, and more: so it can be compiled where the expression cannot."""

COMPILE_CPU_S = 2.0
"""Processor time to compile one pattern: a hundred times what a long one takes."""
COMPILE_BYTES = 512 << 20
"""Memory for the same."""

LITERALS_CPU_S = 600.0
"""Processor time to compile the literals of all rules; ten thousand take some seconds, and time linear in them."""
LITERALS_BYTES = 8 << 30

COMPILER = Aside(SCRIPT)
"""Where patterns are compiled. Whoever has loaded what there is lets it rest."""


class ScanError(ValueError):
    """A pattern cannot be compiled."""


class CostError(ScanError):
    """A pattern costs too much to compile."""


class Scanner:
    """One block-mode database. Not for two threads at a time: the scratch space is shared."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.raw = b""
        """What it was loaded from, as long as that is to be kept."""

    def scan(self, data: bytes | memoryview, report: Callable[..., bool | None]) -> bool:
        """Call ``report(id, start, end, flags, context)`` for each match until it returns True; return if it did."""
        try:
            self._database.scan(data, match_event_handler=report)
        except hyperscan.ScanTerminated:
            return True
        return False

    def first(self, data: bytes | memoryview) -> tuple[int, int] | None:
        """Return start and end of the match that ends first, or None."""
        found: list[tuple[int, int]] = []

        def report(_id: int, start: int, end: int, *_rest: Any) -> bool:
            found.append((start, end))
            return True

        self.scan(data, report)
        return found[0] if found else None


_ESCAPES = tuple(b"\\x%02x" % byte for byte in range(256))


def escape(literal: bytes) -> bytes:
    """Spell a literal as an expression that matches exactly it."""
    return b"".join(map(_ESCAPES.__getitem__, literal))


def compile_scanner(
    expressions: Sequence[bytes],
    flags: Sequence[int],
    cpu_s: float = COMPILE_CPU_S,
    memory_bytes: int | None = None,
    compiler: Aside | None = None,
) -> Scanner:
    """Compile expressions, whose ids are their positions, for one pass in linear time; raises `ScanError`."""
    memory_bytes = memory_bytes or COMPILE_BYTES
    raw = _asked("linear", list(expressions), list(flags), cpu_s=cpu_s, memory_bytes=memory_bytes, compiler=compiler)
    scanner = load_scanner(raw)
    if scanner is None:
        raise ScanError("the compiled form cannot be loaded")
    scanner.raw = raw
    return scanner


def check_backtracking(
    expression: bytes, nocase: bool, cpu_s: float = COMPILE_CPU_S, compiler: Aside | None = None
) -> None:
    """Raise `ScanError` where an expression does not compile for Chimera: Hyperscan as a filter before PCRE."""
    _asked("compile", expression, nocase, cpu_s=cpu_s, memory_bytes=COMPILE_BYTES, compiler=compiler)


def _asked(order: str, *arguments: Any, cpu_s: float, memory_bytes: int, compiler: Aside | None = None) -> Any:
    try:
        return (compiler or COMPILER).ask(order, *arguments, cpu_s=cpu_s, memory_bytes=memory_bytes)
    except TooCostly as error:
        raise CostError(f"too costly to compile: {error}") from None
    except Declined as error:
        if "allocate memory" in str(error):
            raise CostError(f"too costly to compile: it takes more than {memory_bytes >> 20} MiB of memory") from None
        raise ScanError(str(error)) from None


_MARSHAL = 2
"""The last format of marshal that says equal things in equal bytes, however they came about."""


def cached_scanner(expressions: Sequence[bytes], flags: Sequence[int], directory: Path | None) -> Scanner:
    """Like `compile_scanner`, but keep the compiled form in ``directory`` (see `ids.cache`) for the next start."""
    cache = Cache(directory, "hs")
    what = marshal.dumps((list(expressions), list(flags)), _MARSHAL)
    key = digest_of((VERSION, what))
    kept = cache.get(key)
    scanner = load_scanner(kept) if kept is not None else None
    if scanner is None:
        scanner = compile_scanner(expressions, flags, LITERALS_CPU_S, LITERALS_BYTES)
        cache.put(key, serialise(scanner))
    return scanner


def serialise(scanner: Scanner) -> bytes:
    """Return what `load_scanner` makes a scanner of again; at most once. Chimera's databases have no such form."""
    raw, scanner.raw = scanner.raw, b""
    return raw


def load_scanner(raw: bytes) -> Scanner | None:
    """Return the scanner that was serialised, on this kind of processor by this version; else None."""
    try:
        database = hyperscan.loadb(raw, mode=hyperscan.HS_MODE_BLOCK)  # refuses another version's or CPU's database
        database.scratch = hyperscan.Scratch(database)
    except hyperscan.error:
        return None
    return Scanner(database)
