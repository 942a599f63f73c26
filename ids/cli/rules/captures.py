"""A progress bar over captures, for the verbs that read some."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ids.literal import literal


@contextmanager
def reading(captures: Sequence[Path]) -> Iterator[Callable[[Path, int], None]]:
    """Show how much of captures was read; yields what notes a capture and the bytes read of it."""
    progress = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    sizes = {path: path.stat().st_size for path in captures if path.is_file()}
    read: dict[Path, int] = {}
    with progress:
        task = progress.add_task("loading rules", total=sum(sizes.values()) or None)

        def note(path: Path, position: int) -> None:
            read[path] = position
            progress.update(task, completed=sum(read.values()), description=literal(path.name))

        yield note
