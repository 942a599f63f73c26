"""Files that are there whole or not at all: written aside, synced, then given their name."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)


def state_folder(state_dir: str, instance: str) -> Path:
    """Return where the engine of this name keeps what outlives it."""
    return Path(state_dir) / instance


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file in place of what is there (its folder 0700); raises `OSError`, and what was there stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.unlink(missing_ok=True)  # of a process of this number that was killed
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the name, too, is to be there after a power cut
    finally:
        os.close(folder)


def set_aside(path: Path, why: str) -> None:
    """Move a damaged file out of the way, and say so in the log; what it held is forgotten, all else goes on."""
    aside = path.with_name(f"{path.name}.bad")
    try:
        path.replace(aside)
    except OSError as error:
        log.error("%s is damaged (%s), and cannot be moved away: %s; it is not used", path, why, error.strerror)
        return
    log.error("%s is damaged (%s) and was moved to %s; what it held is not in force", path, why, aside)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of those who change files here: read, change and write belong together."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
