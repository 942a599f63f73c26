"""Files that are there whole or not at all: written under another name, then given their own.

Whoever reads meanwhile has the old one or the new one. Threads and processes that write the same file at once do not
meet: each has a name of its own until the end, and the last one wins.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_GROUP_AND_OTHERS = 0o077
_numbers = itertools.count()


@contextmanager
def replacing(
    name: str, folder: int, mode: int = 0o600, *, synced: bool = False, unfinished: str | None = None
) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of ``name``, in a folder that is open, once it is whole. Raises `OSError`.

    Whatever is raised within, what was there stays. ``synced``: the file and its name are there after a power cut,
    too. ``unfinished`` is its name until then: ``.<name>.<process>.<number>``.
    """
    unfinished = unfinished or f".{name}.{os.getpid()}.{next(_numbers)}"
    with suppress(FileNotFoundError):
        os.unlink(unfinished, dir_fd=folder)  # of a process of this number that was killed
    descriptor = os.open(unfinished, _NEW, mode, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode & _GROUP_AND_OTHERS:
                os.fchmod(descriptor, mode)  # whatever the umask
            yield file
            if synced:
                file.flush()
                os.fsync(descriptor)
        os.rename(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished, dir_fd=folder)
        raise
    if synced:
        os.fsync(folder)


@contextmanager
def whole_file(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of what is at a path once it is whole, and stays; see `replacing`."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with replacing(path.name, folder, mode, synced=True) as file:
            yield file
    finally:
        os.close(folder)


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file in place of what is there; its folder is there. Raises `OSError`, and what was there stays."""
    with whole_file(path, mode) as file:
        file.write(data)
