"""Files of the state: where they lie, changed by one at a time, and a damaged one moved out of the way."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ids.whole import write_whole

log = logging.getLogger(__name__)


def state_folder(state_dir: str, instance: str) -> Path:
    """Return where the engine of this name keeps what outlives it."""
    return Path(state_dir) / instance


def exposed(folder: Path) -> str:
    """Return who else may write the state, and the remedy; empty where nobody may, or there is none yet.

    Whoever can has the allow-list and the blocks of the next start in hand.
    """
    try:
        found = folder.stat()
    except OSError:
        return ""
    if found.st_uid not in (0, os.geteuid()):
        who = f"belongs to another user (uid {found.st_uid})"
    elif found.st_mode & 0o022:
        who = "may be written by others"
    else:
        return ""
    return f"{folder} {who}: whom the next start allows is theirs to say. chown root {folder}; chmod 700 {folder}"


def write_state(path: Path, data: bytes) -> None:
    """Write a file in place of what is there, for its owner alone, as its folder is; raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, data)


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
