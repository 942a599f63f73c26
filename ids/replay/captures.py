"""Which files a replay means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ids.errors import UsageError

SUFFIXES = (".pcap", ".pcapng", ".cap", ".dmp")
COMPRESSED = ("", ".gz", ".bz2", ".xz", ".zst")
"""What counts as a capture when a folder is given; a file named outright may be called anything."""


def find_captures(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files meant by paths, folders searched through; raises `UsageError` where there is none."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and is_capture_name(p))
            if not inside:
                raise UsageError(
                    f"{path}: no capture in this folder (looked for {', '.join(SUFFIXES)}, also compressed)"
                )
            found += inside
        else:
            found.append(path)
    return found


def is_capture_name(path: Path) -> bool:
    """Return whether a file is named like a capture, compressed or not."""
    return path.name.lower().endswith(tuple(s + c for s in SUFFIXES for c in COMPRESSED))


def plain_size(captures: Iterable[Path]) -> int | None:
    """Return the bytes of captures together; None where one is compressed or is no file, so that it has no size."""
    sizes = [_plain_size(path) for path in captures]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _plain_size(path: Path) -> int | None:
    if not path.is_file() or path.name.lower().endswith(COMPRESSED[1:]):
        return None
    return path.stat().st_size
