"""Writes alerts and changes into the database from a thread of its own, so that a disk never holds packets up.

What waits is bounded, and stays while the disk refuses; beyond the bound it is lost and counted. A database that is
damaged is moved aside, and a new one begun: the memory is a convenience, the engine goes on in any case.

Counters: ``store.lost``, rows that found no room; ``store.skipped``, alerts above ``store.alerts_per_s``;
``store.written``; ``store.deleted``, by the bounds; ``store.failures``, writes that were refused; ``store.set_aside``.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ids.counters import Counters
from ids.errors import IdsError
from ids.events import Lines
from ids.settings.store import StoreSettings
from ids.store.admission import Admission
from ids.store.database import Bounds, open_writing
from ids.store.rows import Row, alert_row, change_row, insertion
from ids.types import Change

log = logging.getLogger(__name__)

WAITING_BYTES = 16 << 20
"""What may wait for the disk: more than half a minute of alerts at the highest rate that is kept."""

CHANGE_BYTES = 1024
"""What a change is taken to need."""

BATCH_BYTES = 1 << 20
"""About as much is written in one transaction: some hundred milliseconds, for which a command's write may wait."""

RETRY_S = 1.0
"""How long a refused write waits for the next try."""

CLOSE_S = 5.0
"""How long closing waits for what is still to be written."""


@dataclass(slots=True)
class _Part:
    """What was handed over at once: lines of alerts, of which the first ``rows`` are kept, or changes."""

    rows: int
    size: int
    lines: bytes = b""
    changes: Sequence[Change] = ()
    now_ns: int = 0


class StoreWriter:
    """The thread and what waits for it. `put_alerts` and `put_changes` return at once."""

    def __init__(self, path: Path, settings: StoreSettings, counters: Counters) -> None:
        """Start the thread; the file is opened with the first row, and never in vain: see `_try`."""
        self._path, self._counters = path, counters
        self._waiting: deque[_Part] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._given_up = 0
        """Rows that wait still, but were counted as lost, for the end did not wait for them."""
        self._counted: Counter[str] = Counter()
        counters.begin("store.lost")
        self._database: sqlite3.Connection | None = None
        self._inode = 0
        self._failing = self._overfull = ""
        self._pid = os.getpid()
        self._admission = Admission(settings.alerts_per_s)
        self.configure(settings)
        self._thread = threading.Thread(target=self._run, name="ids-store", daemon=True)
        self._thread.start()

    def configure(self, settings: StoreSettings) -> None:
        """Take other bounds."""
        self._admission.per_s = settings.alerts_per_s
        self._bounds = Bounds(settings.max_bytes, settings.max_age_days)

    def put_alerts(self, lines: Sequence[Lines]) -> None:
        """Hand over alerts as lines of JSON; also the moment at which counters are brought up to date."""
        for part in lines:
            keep, data = self._admission.admitted(part)
            self._count("store.skipped", part.events - keep)
            if keep:
                self._put(_Part(keep, len(data), data, now_ns=time.time_ns()))
        self._publish()

    def put_changes(self, changes: Sequence[Change]) -> None:
        """Hand over changes."""
        if changes:
            self._put(_Part(len(changes), len(changes) * CHANGE_BYTES, changes=list(changes)))
        self._publish()

    def close(self) -> None:
        """Write what waits, as long as the disk takes it. A fork has no thread, and leaves the file alone."""
        if os.getpid() != self._pid:
            return
        self.retire()
        self._thread.join(CLOSE_S)
        self._account()

    def retire(self) -> None:
        """Take no more, and write what waits; returns at once. `retired` is to be asked from time to time."""
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
            lost = sum(part.rows for part in self._waiting) - self._given_up
            self._given_up += lost
            self._counted["store.lost"] += lost
        if lost:
            log.error("%s: the last %d alerts and changes are lost", self._path, lost)
        self._publish()

    def _put(self, part: _Part) -> None:
        with self._changed:
            if self._waiting_bytes + part.size > WAITING_BYTES:
                self._counted["store.lost"] += part.rows
                return
            self._waiting.append(part)
            self._waiting_bytes += part.size
            self._changed.notify_all()

    def _count(self, name: str, amount: int) -> None:
        if amount:
            with self._changed:
                self._counted[name] += amount

    def _publish(self) -> None:
        """Add to the engine's counters, in its own thread, what has happened since."""
        with self._changed:
            counted, self._counted = self._counted, Counter()
        for name, amount in counted.items():
            self._counters.add(name, amount)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                batch = self._next_batch()
            if not batch:
                break
            if self._settled(batch):
                with self._changed:
                    for part in batch:
                        self._waiting.popleft()
                        self._waiting_bytes -= part.size
                continue
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, RETRY_S):
                    break
        self._drop_database()

    def _next_batch(self) -> list[_Part]:
        """Return the oldest parts, at least one where there is any; they wait on until they are written."""
        batch, size = [], 0
        for part in self._waiting:
            batch.append(part)
            size += part.size
            if size >= BATCH_BYTES:
                break
        return batch

    def _settled(self, batch: Sequence[_Part]) -> bool:
        """Write a batch, or lose it where it is one that cannot be written; return false where it is to wait."""
        try:
            return self._try(batch)
        except Exception:  # what one batch has in it must not cost all that come behind it
            log.exception("alerts or changes could not be made rows, and are lost: please report this")
            self._drop_database()
            self._count("store.lost", sum(part.rows for part in batch))
            return True

    def _try(self, batch: Sequence[_Part]) -> bool:
        """Write a batch, all of it or nothing; return whether that was done."""
        alerts, changes, odd = _rows(batch)
        try:
            database = self._opened()
            database.execute("BEGIN IMMEDIATE")
            database.executemany(insertion("alerts"), alerts)
            database.executemany(insertion("changes"), changes)
            database.execute("COMMIT")
        except (sqlite3.Error, OSError, IdsError) as error:
            begun_anew = self._refused(error)
            return begun_anew and self._try(batch)
        if self._failing:
            log.warning("%s is written again", self._path)
            self._failing = ""
        self._count("store.written", len(alerts) + len(changes))
        self._count("store.lost", odd)
        self._keep_bounds(database)
        return True

    def _keep_bounds(self, database: sqlite3.Connection) -> None:
        """Delete what is too much; where that is refused, the next batch tries anew, and the rows are written still."""
        try:
            self._count("store.deleted", self._bounds.keep(database))
            self._overfull = ""
        except Exception as error:
            if not self._dropped(error) and self._overfull != str(error):
                self._overfull = str(error)
                log.error("%s cannot be kept within its bounds (store.max_bytes, store.max_age_days): %s",
                          self._path, error)  # fmt: skip

    def _opened(self) -> sqlite3.Connection:
        """Return the database; opened anew where somebody has moved or deleted the file."""
        if self._database is not None and _inode(self._path) != self._inode:
            self._drop_database()
        if self._database is None:
            self._database = open_writing(self._path)
            self._inode = _inode(self._path)
        return self._database

    def _drop_database(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _refused(self, error: Exception) -> bool:
        """Report a write that was refused; return whether to try again at once, for a damaged file has gone."""
        if self._dropped(error):
            return True
        why = str(error)
        if why != self._failing:
            log.error(
                "%s cannot be written, alerts and changes are kept in memory for a while, then lost: %s. Make room, or"
                " see to it that this user may write there; see also engine.state_dir",
                self._path, why,
            )  # fmt: skip
        self._failing = why
        return False

    def _dropped(self, error: Exception) -> bool:
        """Close the database after a failure; return whether its file was damaged and has gone."""
        self._count("store.failures", 1)
        self._drop_database()
        # Its subclasses blame the disk, or a lock; it itself blames what is in the file.
        return type(error) is sqlite3.DatabaseError and self._set_aside(error)

    def _set_aside(self, error: Exception) -> bool:
        """Move a damaged file out of the way; return whether that could be done."""
        aside = self._path.with_name(f"{self._path.name}.bad")
        try:
            self._path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError:
            return False
        self._count("store.set_aside", 1)
        log.error(
            "%s is damaged (%s) and was moved to %s; a new one is begun. `sqlite3 %s .recover` may get rows back",
            self._path, error, aside, aside,
        )  # fmt: skip
        return True


def _rows(batch: Sequence[_Part]) -> tuple[list[Row], list[Row], int]:
    """Return the rows of alerts and of changes, and how many alerts could not be made rows."""
    alerts: list[Row] = []
    changes: list[Row] = []
    odd = 0
    for part in batch:
        for line in part.lines.split(b"\n", part.rows)[: part.rows] if part.lines else ():
            try:
                alerts.append(alert_row(line, part.now_ns))
            except (ValueError, KeyError, TypeError, AttributeError):
                odd += 1
        changes += [change_row(change) for change in part.changes]
    return alerts, changes, odd


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
