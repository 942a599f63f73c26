"""Write lines to a file from a thread of its own, so that a slow or full disk never holds packets up.

What waits to be written is bounded. Beyond the bound, a replay waits for the disk; a live engine loses events, counts
them and says so in the log. A file that was moved away or deleted is noticed within a second and made anew; one that
was cut off (logrotate's copytruncate) is gone on with at its new end.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from ids.counters import Counters
from ids.errors import UsageError
from ids.events import Lines

log = logging.getLogger(__name__)

WAITING_BYTES = 64 << 20
"""What may wait for the disk: several seconds of all events at the highest rates, and no more memory than the rings."""

CLOSE_S = 10.0
"""How long closing waits for what is still to be written; a disk that hangs must not keep the engine from stopping."""

LOOK_S = 1.0
"""How often it is looked whether the file is still the one of its name: what is written to a deleted one is gone."""


class LineWriter:
    """One file that lines are appended to; ``-`` is stdout."""

    def __init__(
        self,
        path: str,
        name: str,
        counters: Counters,
        *,
        patient: bool,
        shown: Callable[[bytes], bytes] = lambda data: data,
        behind: Iterable[LineWriter] = (),
    ) -> None:
        """Open the file and start the thread; raises `UsageError` where it cannot be written.

        ``patient``: wait for the disk rather than lose lines. Lost ones are counted as ``<name>.lost``. ``shown``:
        makes of lines, in the thread, what is written of them. ``behind``: writers that retire; those of the same file
        are to be done with it before this one writes, as two would tear each other's lines.
        """
        self._fd, self._own = _open(path, name)
        self._path, self._name, self._counters, self._patient = path, name, counters, patient
        self._shown, self._said = shown, False
        place = os.path.realpath(path)
        self._behind: list[threading.Thread] = [one._thread for one in behind if os.path.realpath(one._path) == place]
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = self._waiting_events = 0
        self._changed = threading.Condition()
        self._closing = False
        counters.begin(f"{name}.lost")
        self._lost = 0
        self._reported = 0
        self._failing = False
        self._regular = self._own and stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._end = 0
        """Size of the file when it was written or looked at last."""
        self._looked = 0.0
        self._unopened = ""
        """Why the file could not be made anew when that was last tried."""
        self._pid = os.getpid()
        self._thread: threading.Thread = threading.Thread(target=self._run, name=f"ids-{name}", daemon=True)
        self._thread.start()

    def put(self, lines: list[Lines]) -> None:
        """Hand over lines, whole ones."""
        if not lines:
            return
        data, count = b"".join([part.data for part in lines]), sum(part.events for part in lines)
        with self._changed:
            if self._patient:
                self._changed.wait_for(lambda: self._waiting_bytes < WAITING_BYTES)
            elif self._waiting_bytes >= WAITING_BYTES:
                self._lost += count
                data = b""
            if data:
                self._waiting.append((data, count))
                self._waiting_bytes += len(data)
                self._waiting_events += count
                self._changed.notify_all()
            if self._lost > self._reported:
                self._counters.add(f"{self._name}.lost", self._lost - self._reported)
                self._reported = self._lost

    def close(self) -> None:
        """Write what waits, as long as the disk takes it, and close the file."""
        self.retire()
        if os.getpid() != self._pid:
            return
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.error("%s: the disk hangs; the last events are lost", self._path)
        self._account()

    def retire(self) -> None:
        """Take no more, and write what waits; returns at once. `retired` is to be asked from time to time.

        A fork has no thread, and only closes the file.
        """
        if os.getpid() != self._pid:
            if self._own and not self._closing:
                os.close(self._fd)
            self._closing = True
            return
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def retired(self) -> bool:
        """Return whether the thread of a writer that takes no more has ended; then its counts are complete."""
        if self._thread.is_alive():
            return False
        self._account()
        return True

    def _account(self) -> None:
        """Count what was not written in the end."""
        with self._changed:
            self._lost += self._waiting_events
            self._waiting_events = 0
            self._counters.add(f"{self._name}.lost", self._lost - self._reported)
            self._reported = self._lost

    def _run(self) -> None:
        try:
            self._write_what_comes()
        finally:
            if self._own:
                self._own = False  # a fork from now on has nothing to close
                os.close(self._fd)

    def _write_what_comes(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, LOOK_S if self._regular else None)
                if not self._waiting and self._closing:
                    return
                batch = list(self._waiting)
                self._waiting.clear()
            if self._regular:
                self._look()
            if not batch:
                continue
            while self._behind:
                self._behind.pop().join()
            events = sum(count for _, count in batch)
            data, unreadable = self._made(b"".join(data for data, _ in batch))
            self._write(data, events - unreadable)
            with self._changed:
                self._waiting_bytes -= sum(len(data) for data, _ in batch)
                self._waiting_events -= events
                self._changed.notify_all()

    def _made(self, data: bytes) -> tuple[bytes, int]:
        """Return what is to be written of lines, and how many of them cannot be read: these are lost."""
        try:
            return self._shown(data), 0
        except Exception:
            if not self._said:
                log.exception("%s: an event cannot be read; such are counted in %s.lost", self._name, self._name)
            self._said = True
        made, unreadable = [], 0
        for line in data.splitlines(keepends=True):
            try:
                made.append(self._shown(line))
            except Exception:
                unreadable += 1
        with self._changed:
            self._lost += unreadable
        return b"".join(made), unreadable

    def _write(self, data: bytes, count: int) -> None:
        """Write all of it or, where the disk refuses, nothing of it: no torn line stays behind."""
        before = written = 0
        try:
            before = os.fstat(self._fd).st_size
            if self._unopened and not os.fstat(self._fd).st_nlink:
                raise OSError(errno.ENOENT, f"it was deleted, and cannot be made anew ({self._unopened})")
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            with self._changed:
                self._lost += count
            if written and self._own:
                with contextlib.suppress(OSError):  # a pipe takes nothing back
                    cut_off = os.fstat(self._fd).st_size < before + written  # by somebody else, in between
                    os.ftruncate(self._fd, 0 if cut_off else before)
            if not self._failing:
                log.error("%s cannot be written, events are being lost: %s", self._path, error.strerror)
            self._failing = True
        else:
            if self._failing:
                log.warning("%s can be written again; %d events were lost", self._path, self._lost)
            self._failing = False
        with contextlib.suppress(OSError):  # of a network's file system
            self._end = os.fstat(self._fd).st_size

    def _look(self) -> None:
        """Open the file again where its name has another one, or none; note where it was cut off."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        try:
            mine = os.fstat(self._fd)
        except OSError:  # of a network's file system; writing will say what it is
            return
        if mine.st_size < self._end:
            log.info("%s was cut off, as by a rotation; going on at its end", self._path)
        self._end = mine.st_size
        try:
            named = os.stat(self._path)
        except OSError:
            named = None
        if named is not None and (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino):
            return
        try:
            fresh, _ = _open(self._path, self._name)
        except UsageError as error:
            if self._unopened != str(error):
                log.error("%s was moved or deleted, and cannot be made anew: %s", self._path, error)
            self._unopened = str(error)
            return
        os.dup2(fresh, self._fd, inheritable=False)  # its number stays, for whoever closes it
        os.close(fresh)
        self._unopened = ""
        self._end = os.fstat(self._fd).st_size
        log.info("%s was moved or deleted: events go to a new file of that name", self._path)


def _open(path: str, name: str) -> tuple[int, bool]:
    """Return a descriptor, and whether it is to be closed."""
    if path == "-":
        sys.stdout.flush()
        return sys.stdout.fileno(), False
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # A pipe that nobody reads would have us wait for a reader, with everything else.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
    except OSError as error:
        why = "nobody reads this pipe" if error.errno == errno.ENXIO else error.strerror
        raise UsageError(f"{name}.path {path} cannot be written: {why}; choose another path") from error
    os.set_blocking(fd, True)
    return fd, True
