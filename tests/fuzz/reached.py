"""Which lines of a parser inputs reach: a short run under Python's tracing, which also finds inputs worth more runs."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any


class Reached:
    """Lines of some files that were run."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = {str(path) for path in files}
        self.lines: set[tuple[str, int]] = set()

    def run(self, call: Callable[[], Any]) -> bool:
        """Call something; return whether it reached lines that nothing did before."""
        before = len(self.lines)
        sys.settrace(self._enter)
        try:
            call()
        finally:
            sys.settrace(None)
        return len(self.lines) > before

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    @property
    def share(self) -> float:
        """The share of the lines within functions that were run."""
        all_lines = {(path, line) for path in self._files for line in _lines_of(path)}
        return len(self.lines & all_lines) / max(len(all_lines), 1)

    def missing(self) -> list[str]:
        """Return the lines that were not, as ``file:line``."""
        all_lines = {(path, line) for path in self._files for line in _lines_of(path)}
        return [f"{path}:{line}" for path, line in sorted(all_lines - self.lines)]


def _lines_of(path: str) -> set[int]:
    """Return the lines of a file that run when its functions do."""
    found: set[int] = set()
    rest = [(compile(Path(path).read_text(), path, "exec"), False)]
    while rest:
        code, called = rest.pop()
        if called:
            found.update(line for _, line in dis.findlinestarts(code) if line and line != code.co_firstlineno)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                is_class = "__qualname__" in constant.co_names and "__module__" in constant.co_names
                rest.append((constant, not is_class))
    return found
