"""Compiles expressions with Hyperscan, and those that it cannot run with Chimera, which is Hyperscan before PCRE.

The child of `ids.aside` runs it, so it must import nothing of this package.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hyperscan

SCRIPT = Path(__file__)


TRIALS = (bytes(4096), b"x" * 4096, b"~" * 4096, bytes(range(256)) * 8)
"""What a database is tried on, in which most have nothing to find."""


def linear(expressions: Sequence[bytes], flags: Sequence[int]) -> bytes:
    """Return the database of expressions, whose ids are their positions, in the form that can be kept.

    It is tried first. Hyperscan 5.4.12 compiles some, such as ``(ab)+`` with the start of each match, to what reads
    beyond its memory on whatever is longer than 256 bytes: that ends the child, and not whoever would search.
    """
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(expressions=list(expressions), ids=list(range(len(expressions))), flags=list(flags))
    for data in TRIALS:
        with contextlib.suppress(hyperscan.ScanTerminated):
            database.scan(data, match_event_handler=lambda *_: True)
    raw: bytes = hyperscan.dumpb(database)
    return raw


class Backtracking:
    """The expressions that backtrack; each is compiled when it is first asked for."""

    def __init__(self) -> None:
        self._databases: dict[tuple[bytes, bool | None], Any] = {}

    def compile(self, expression: bytes, nocase: bool) -> None:
        """Compile an expression."""
        database = hyperscan.Database(chimera=True, mode=hyperscan.CH_MODE_NOGROUPS)
        database.compile(expressions=[expression], flags=[hyperscan.CH_FLAG_CASELESS if nocase else 0])
        self._databases[expression, nocase] = database

    def search(self, expression: bytes, nocase: bool, data: bytes) -> tuple[int, int] | None:
        """Return start and end of the first match."""
        if (expression, nocase) not in self._databases:
            self.compile(expression, nocase)
        found: list[tuple[int, int]] = []

        def report(_id: int, start: int, end: int, *_rest: Any) -> bool:
            found.append((start, end))
            return True

        with contextlib.suppress(hyperscan.ScanTerminated):
            self._databases[expression, nocase].scan(data, match_event_handler=report)
        return found[0] if found else None

    def compile_groups(self, expression: bytes) -> None:
        """Compile an expression whose groups are asked for."""
        database = hyperscan.Database(chimera=True, mode=hyperscan.CH_MODE_GROUPS)
        database.compile(expressions=[expression], flags=[0])
        self._databases[expression, None] = database

    def groups(self, expression: bytes, data: bytes) -> list[tuple[int, int] | None]:
        """Return start and end of each group in the first match, None of one that took no part; nothing without."""
        if (expression, None) not in self._databases:
            self.compile_groups(expression)
        found: list[tuple[int, int] | None] = []

        def report(_id: int, _start: int, _end: int, _flags: int, groups: Any, *_rest: Any) -> bool:
            found.extend((start, end) if active else None for active, start, end in groups[1:])
            return True

        with contextlib.suppress(hyperscan.ScanTerminated):
            self._databases[expression, None].scan(data, match_event_handler=report)
        return found

    def capture(self, expression: bytes, data: bytes) -> tuple[int, int] | None:
        """Return start and end of the first group in the first match; None without a match, or without the group."""
        return next(iter(self.groups(expression, data)), None)


DECLINED = (hyperscan.error, ValueError)
said = str


def orders() -> dict[str, Callable[..., Any]]:
    """Return what can be ordered (`ids.aside_child`)."""
    backtracking = Backtracking()
    return {
        "linear": linear,
        "compile": backtracking.compile,
        "search": backtracking.search,
        "compile_groups": backtracking.compile_groups,
        "capture": backtracking.capture,
        "groups": backtracking.groups,
    }
