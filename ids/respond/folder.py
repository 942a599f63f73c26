"""The capture files of a directory: their names in order and their sizes, and what gives way to a new one.

The directory is read once, and again where somebody else has changed it, for several engines may share it. (The
kernel's clock of files ticks some hundred times a second: a change by others within one tick is seen with the next.)
"""

from __future__ import annotations

import os
import time
from bisect import insort
from contextlib import suppress

from ids.later import late_pattern
from ids.settings.respond import CapturesSettings
from ids.whole import replacing

LEFTOVER_S = 3600.0
"""Unfinished files of other processes that are there are left for so long."""

_NAME = late_pattern(r"\d{19}-\d{1,10}-\d{1,16}\.pcap")
_PART = late_pattern(rf"\.{_NAME.pattern}\.(\d{{1,10}})(?:\.\d{{1,20}})?")
"""See `ids.whole.replacing`."""


class Folder:
    """Keeps count of one directory. Its file descriptor is given each time: the name may come to mean another one."""

    def __init__(self, settings: CapturesSettings) -> None:
        self._settings = settings
        self._names: list[str] = []
        """In order; the oldest come first."""
        self._sizes: dict[str, int] = {}
        self._total = 0
        self._seen: tuple[int, int, int] | None = None
        """Device, inode and time of change of the directory, as they were when this last knew all that is in it."""

    def add(self, folder: int, name: str, content: bytes) -> int:
        """Write a file, and remove the oldest until it is within the bounds; return how many. Raises `OSError`."""
        if self._seen is None or _state(folder) != self._seen:
            self._read(folder)
        self._seen = None  # nothing is sure until the end of this
        self._forget(name)  # a replay writes those of an earlier one again
        gone = self._make_room(folder, len(content))
        with replacing(name, folder) as file:
            file.write(content)
        insort(self._names, name)
        self._sizes[name] = len(content)
        self._total += len(content)
        self._seen = _state(folder)
        return gone

    def _make_room(self, folder: int, size: int) -> int:
        """Remove the oldest files until one of so many bytes fits beside the others; return how many.

        What cannot be removed stays, and the next oldest give way. Raises `OSError` where it does not fit even so.
        """
        stuck: list[str] = []
        gone = place = 0
        error: OSError | None = None
        while place < len(self._names) and not self._fits(size):
            name = self._names[place]
            place += 1
            try:
                os.unlink(name, dir_fd=folder)
                gone += 1
            except FileNotFoundError:
                pass
            except OSError as failure:
                stuck.append(name)
                error = failure
                continue
            self._total -= self._sizes.pop(name)
        self._names[:place] = stuck
        if error is not None and not self._fits(size):
            raise error
        return gone

    def _fits(self, size: int) -> bool:
        settings = self._settings
        return len(self._sizes) < settings.files and self._total + size <= settings.total_bytes

    def _forget(self, name: str) -> None:
        if name in self._sizes:
            self._total -= self._sizes.pop(name)
            self._names.remove(name)

    def _read(self, folder: int) -> None:
        """Find out what is there; remove what processes that have crashed left unfinished."""
        self._sizes.clear()
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    if _NAME.fullmatch(entry.name):
                        self._sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
                    elif (part := _PART.fullmatch(entry.name)) and _left(int(part[1]), entry):
                        os.unlink(entry.name, dir_fd=folder)
        self._names, self._total = sorted(self._sizes), sum(self._sizes.values())


def _left(process: int, part: os.DirEntry[str]) -> bool:
    """Return whether nobody writes this file any more: this process reads the directory when it writes none itself."""
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # it is there, of another user
        pass
    return time.time() - part.stat(follow_symlinks=False).st_mtime > LEFTOVER_S


def _state(folder: int) -> tuple[int, int, int]:
    found = os.fstat(folder)
    return found.st_dev, found.st_ino, found.st_mtime_ns
