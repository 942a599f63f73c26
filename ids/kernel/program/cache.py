"""Compiled programs, kept for the next start: BCC needs a second for what the kernel then loads in milliseconds.

What a program is made from is known in two steps. The key has what is known beforehand: our sources by content, the
defines, this module's way of compiling, the machine and its kernel, and the variables that BCC and clang read. A kept
program lists the rest, which the compiler has found by itself (`compile`): the system's headers, the shared
libraries of BCC and LLVM, and BCC's Python modules. Each has to be what it was, by its size and the time of its last
change (ctime: that of modification is set by whoever unpacks a package).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ids.cache import Cache, cache_home, digest_of
from ids.kernel.program import compile as compiler

_FORMAT = "1"
_VARIABLES = ("ARCH", "CPATH", "C_INCLUDE_PATH")


class ProgramCache:
    """The compiler's results of one source file with one set of defines."""

    def __init__(self, source: Path, defines: tuple[str, ...]) -> None:
        """Read the sources. Where one cannot be read nothing is kept, and the compiler will say which."""
        self._cache = Cache(cache_home(), "bpf")
        try:
            self._key = digest_of(_known_beforehand(source, defines))
        except OSError:
            self._cache, self._key = Cache(None, "bpf"), ""

    def get(self) -> dict[str, Any] | None:
        """Return what `ids.kernel.program.compile.compile_source` would; None where that has to be asked."""
        raw = self._cache.get(self._key)
        if raw is None:
            return None
        result: dict[str, Any] = json.loads(raw)
        return result if all(_unchanged(*file) for file in result["read"]) else None

    def put(self, result: dict[str, Any]) -> None:
        """Keep what the compiler made, if it said what it has read."""
        if result["read"]:
            self._cache.put(self._key, json.dumps(result).encode())


def _known_beforehand(source: Path, defines: tuple[str, ...]) -> Iterator[bytes | str]:
    yield _FORMAT
    yield Path(compiler.__file__).read_bytes()
    yield from os.uname()[2:5]  # release, version, machine
    yield from (f"{name}={value}" for name, value in sorted(os.environ.items()) if _is_read_by_compiler(name))
    yield from (source.name, *defines)
    folder = source.parent
    for path in sorted([*folder.glob("*.[ch]"), *(folder / "shim").rglob("*.h")]):
        yield str(path.relative_to(folder))
        yield path.read_bytes()


def _is_read_by_compiler(variable: str) -> bool:
    return variable in _VARIABLES or variable.startswith("BCC_")


def _unchanged(path: str, size: int, ctime_ns: int) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_size, status.st_ctime_ns) == (size, ctime_ns)
