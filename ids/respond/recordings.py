"""The directory of capture files: those that alerts name, written by a thread; the oldest give way to bounds.

The directory is 0700, its files are 0600, and no link is followed. Several workers and engines may share it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from pathlib import Path

from ids.counters import Counters
from ids.events import Event
from ids.respond.folder import Folder
from ids.settings.respond import CapturesSettings

log = logging.getLogger(__name__)

WAITING_BYTES = 32 << 20
"""What may wait for the disk; beyond it a live engine loses recordings, and counts them."""

MAX_AWAITED = 4096
"""Recordings that alerts have named and that are not finished: as many as all workers may have open."""

MAX_OF_RULE = 60
"""Files of one rule in a minute; see `ids.respond.recorder`, which keeps to it where it knows what alerts."""

FLUSH_S = 10.0
"""How long the end of the engine waits for the disk."""

_MINUTE_NS = 60_000_000_000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Recordings:
    """Takes files by name and content."""

    def __init__(self, settings: CapturesSettings, counters: Counters, *, patient: bool) -> None:
        """``patient``: wait for the disk rather than lose files."""
        self.settings = settings
        self._folder, self._files = Path(settings.dir or "."), Folder(settings)
        self._counters = counters
        counters.begin("captures.lost")
        self._patient = patient
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._busy = self._failing = self._closing = False
        self._awaited: OrderedDict[str, None] = OrderedDict()
        """Paths that alerts have named."""
        self._minute = -1
        self._of_rule: Counter[int] = Counter()
        """By sid: recordings named in that minute."""
        self._noted: dict[str, int] = {}
        """Counts of the thread's, on their way to the counters."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        """The settings ask for recordings."""
        return self.settings.dir is not None

    def admit(self, alerts: Iterable[Event]) -> None:
        """Note the recordings that alerts name. Where a rule has enough of them, the alert names none."""
        for event in alerts:
            path = event.get("capture_file")
            if path is None or path in self._awaited:
                continue
            if self._too_many(event):
                del event["capture_file"]
                self._counters.add("captures.not_recorded")
                continue
            self._awaited[path] = None
            if len(self._awaited) > MAX_AWAITED:  # of workers that have died
                self._awaited.popitem(last=False)
                self._counters.add("captures.lost")

    def take(self, finished: Iterable[tuple[str, bytes]]) -> None:
        """Take recordings that have ended; those that no alert has named are forgotten."""
        for path, content in finished:
            if path in self._awaited:
                del self._awaited[path]
                self.put(Path(path).name, content)
            else:
                self._counters.add("captures.not_alerted")

    def _too_many(self, event: Event) -> bool:
        minute = event["ids"]["packet_ts_ns"] // _MINUTE_NS
        if minute != self._minute:
            self._minute = minute
            self._of_rule.clear()
        sid = event["alert"]["signature_id"]
        self._of_rule[sid] += 1
        return self._of_rule[sid] > MAX_OF_RULE

    def put(self, name: str, content: bytes) -> None:
        """Hand over a file. The thread begins with the first one, in the process that has some."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ids-pcap", daemon=True)
                self._thread.start()
            if self._patient:
                self._changed.wait_for(lambda: self._bytes < WAITING_BYTES)
            if self._bytes >= WAITING_BYTES:
                self._counters.add("captures.lost")
            else:
                self._waiting.append((name, content))
                self._bytes += len(content)
                self._changed.notify_all()
            self._count()

    def flush(self) -> None:
        """Wait until all is written, as long as the disk takes it."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._waiting and not self._busy, FLUSH_S):
                log.error("%s: the disk hangs; the last recordings are lost", self._folder)
            self._count()

    def close(self) -> None:
        """End the thread, when it has written all that waits; returns at once, for `flush` has waited before."""
        with self._changed:
            self._closing = True
            self._counters.add("captures.lost", len(self._waiting) + self._busy)
            self._changed.notify_all()
            self._count()

    def _count(self) -> None:
        for name, number in self._noted.items():
            self._counters.add(f"captures.{name}", number)
        self._noted.clear()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                name, content = self._waiting.popleft()
                self._busy = True
            done = self._write(name, content)
            with self._changed:
                self._busy = False
                self._bytes -= len(content)
                for word in done:
                    self._noted[word] = self._noted.get(word, 0) + 1
                self._changed.notify_all()

    def _write(self, name: str, content: bytes) -> list[str]:
        """Write a file, and make room for it; return what to count."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self._folder, _FOLDER)
            try:
                gone = self._files.add(folder, name, content)
            finally:
                os.close(folder)
        except OSError as error:
            if not self._failing:
                log.error("%s cannot be written, recordings are being lost: %s", self._folder, error.strerror)
            self._failing = True
            return ["lost"]
        self._failing = False
        return ["written", *["rotated"] * gone]
