"""The one importer of Hyperscan: databases of patterns, compiled, cached on disk, and scanned.

Python's binding wants a scratch space per database, reports by callback, and signals a scan ended by the callback as an
exception; all of that stays here. (Its ``literal=True`` mode takes a literal's length up to the first NUL byte, so
literals are compiled as expressions with every byte escaped.)
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import hyperscan

CACHE_FORMAT = "1"
"""Part of every cache key; raise it when the meaning of a cached database changes."""

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
        """Call ``report(id, start, end, flags, context)`` for each match until it returns True; tell whether it did."""
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
    """Like `compile_scanner`, but keep the compiled form in ``directory`` under a hash of what went in.

    The file begins with a hash of its own content, so that a torn or corrupt file is compiled anew instead of being
    handed to native code. It is written under another name and renamed. A directory that cannot be written is no
    error: then nothing is kept.
    """
    if directory is None:
        return compile_scanner(expressions, flags)
    path = directory / f"{_cache_key(expressions, flags)}.hs"
    with contextlib.suppress(OSError, hyperscan.error):
        if (scanner := _load(path)) is not None:
            return scanner
    scanner = compile_scanner(expressions, flags)
    with contextlib.suppress(OSError):
        _store(path, hyperscan.dumpb(scanner._database))
    return scanner


def _cache_key(expressions: Sequence[bytes], flags: Sequence[int]) -> str:
    key = hashlib.sha256(f"{CACHE_FORMAT} {metadata.version('hyperscan')}".encode())
    for expression, flag in zip(expressions, flags, strict=True):
        key.update(b"%d %d " % (flag, len(expression)) + expression)
    return key.hexdigest()


def _load(path: Path) -> Scanner | None:
    raw = path.read_bytes()
    digest, body = raw[:32], raw[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    database = hyperscan.loadb(body, mode=hyperscan.HS_MODE_BLOCK)  # refuses another version's or CPU's database
    database.scratch = hyperscan.Scratch(database)
    return Scanner(database)


def _store(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(body).digest() + body)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
