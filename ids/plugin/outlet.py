"""The thread of an output that waits for somebody else: a bounded queue, growing pauses, losses counted.

Each output has one of its own, so one that stalls does so alone: neither packets nor other outputs wait for it.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import orjson

from ids.counters import Counters
from ids.events import Lines
from ids.plugin.delivery import Deliver, Refused, Settled
from ids.privacy import Privacy

log = logging.getLogger(__name__)

CLOSE_S = 5.0
"""How long closing waits for what is still to be delivered."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
"""Between two attempts: twice as long each time, and up to a half more by chance, for receivers come back together."""


class _Answer(NamedTuple):
    """What a receiver says of a delivery."""

    settled: Settled
    why: str = ""
    """Why it refuses; empty: it does not."""
    of_content: bool = False
    ours: bool = False
    """It was not asked: the lines could not be made what it takes."""


class Outlet:
    """Takes events, and has them delivered in batches."""

    def __init__(
        self,
        name: str,
        counters: Counters,
        deliver: Deliver,
        *,
        privacy: Privacy,
        severity: int = 255,
        buffer_bytes: int,
        batch_events: int = 100,
        batch_wait_s: float = 0.0,
        patient: bool = False,
        close: Callable[[], Settled | None] = lambda: None,
        every_s: float | None = None,
    ) -> None:
        """Start the thread.

        ``severity``: alerts no less severe than this are passed on (1 is the most severe). ``batch_wait_s``: how long
        the first event of a batch waits for others. ``patient``: a replay waits for room, as long as the receiver
        takes something. ``close`` is called by the thread in its end. ``every_s``: ``deliver`` is called so often also
        without events, with none. Counts ``<name>.delivered``, ``lost`` (no room, unreadable, or not delivered at the
        end), ``refused``, ``too_long`` and ``retries``.
        """
        self._name, self._counters, self._deliver = name, counters, deliver
        self._privacy, self._severity = privacy, severity
        self._limit, self._batch, self._wait_s = buffer_bytes, batch_events, batch_wait_s
        self._patient, self._close, self._every_s = patient, close, every_s
        self._waiting: deque[Lines] = deque()
        self._bytes = 0
        self._events = 0
        """Of which nothing has become yet."""
        counters.begin(f"{name}.lost")
        self._noted: dict[str, int] = {}
        """Counts on their way to the counters, which are the engine's thread's."""
        self._changed = threading.Condition()
        self._closing = self._failing = False
        self._losing = False
        """There was no room, and what waits has not all been delivered since: the log says so once."""
        self._said: set[str] = set()
        """Counters whose first event the log has reported."""
        self._takes_some = True
        """Of the latest batch that was refused for its content the receiver took a part."""
        self._behind: Outlet | None = None
        """What that leaves undelivered comes before all that is handed over to this one."""
        self._became = 0
        """Events of the latest batches of which something has become."""
        self._followed = False
        """Another outlet is to take what this one leaves."""
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name=f"ids-{name}", daemon=True)
        self._thread.start()

    def put(self, lines: Collection[Lines]) -> None:
        """Hand over events. Never waits, but for a replay."""
        with self._changed:
            for part in lines:
                size = len(part.data)
                if self._patient:
                    self._changed.wait_for(lambda size=size: self._fits(size) or self._failing)  # type: ignore[misc]
                self._losing = self._losing and bool(self._bytes)
                if not self._fits(size):
                    self._lose(part.events)
                    continue
                self._waiting.append(part)
                self._bytes += len(part.data)
                self._events += part.events
            self._changed.notify_all()
            self._count()

    def close(self) -> None:
        """Deliver what waits, as long as the receiver takes it. A fork has no thread: it does nothing."""
        if os.getpid() != self._pid:
            return
        self.retire()
        self._thread.join(CLOSE_S)
        self._account()

    def follow(self, before: Outlet) -> None:
        """Deliver what another outlet, which retires, has not begun to deliver when it ends, as far as there is room.

        One that keeps what it was given (``every_s``) leaves nothing.
        """
        if before._every_s is not None:
            return
        with before._changed:
            before._followed = True
        with self._changed:
            self._behind = before
            self._changed.notify_all()

    def retire(self) -> None:
        """Take no more, and deliver what waits; returns at once. `retired` is to be asked from time to time."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def retired(self) -> bool:
        """Return whether the thread of an outlet that takes no more has ended; then its counts are complete."""
        if self._thread.is_alive() or self._followed:
            return False
        self._account()
        return True

    def _account(self) -> None:
        """Count what was not delivered in the end."""
        with self._changed:
            if self._events:
                log.error("%s: %d events were not delivered in the end", self._name, self._events)
                self._note("lost", self._events)
                self._events = 0
            self._waiting.clear()
            self._followed = False
            self._count()

    def _fits(self, size: int) -> bool:
        return not self._bytes or self._bytes + size <= self._limit

    def _lose(self, events: int) -> None:
        self._note("lost", events)
        if not self._losing:
            name = self._name
            log.error(
                "%s: no room for what waits (buffer_bytes), events are being lost and counted in %s.lost", name, name
            )
        self._losing = True

    def _note(self, name: str, number: int) -> None:
        if number:
            self._noted[name] = self._noted.get(name, 0) + number

    def _count(self) -> None:
        for name, number in self._noted.items():
            self._counters.add(f"{self._name}.{name}", number)
        self._noted.clear()

    def _run(self) -> None:
        try:
            while (parts := self._next()) is not None and self._pass_on(parts):
                pass
        finally:
            try:
                self._settle(self._close() or Settled())
            except Exception as error:
                log.warning("%s: %s", self._name, error)

    def _next(self) -> list[Lines] | None:
        """Wait for events; return a batch of them, of none where it is time, and None at the end."""
        with self._changed:
            timely = self._changed.wait_for(self._due, self._every_s)
            before, self._behind = self._behind, None
        if before is not None:
            self._take_over(before)
            return self._next()
        with self._changed:
            if self._waiting and self._wait_s and not self._closing:
                self._changed.wait_for(lambda: self._events >= self._batch or self._closing, self._wait_s)
            if not self._waiting:
                return None if timely else []
            parts, events = [], 0
            while self._waiting and events < self._batch:
                parts.append(self._waiting.popleft())
                events += parts[-1].events
            return parts

    def _due(self) -> bool:
        return bool(self._waiting) or self._closing or self._behind is not None

    def _take_over(self, before: Outlet) -> None:
        """Take what another outlet has left, once it has ended; the newest of it are lost where there is no room."""
        before._thread.join()
        with before._changed:
            parts = list(before._waiting)
            before._waiting.clear()
            before._bytes = 0
            before._events -= sum(part.events for part in parts)
            before._followed = False
        taken: list[Lines] = []
        with self._changed:
            for part in parts:
                if self._fits(len(part.data)):
                    taken.append(part)
                    self._bytes += len(part.data)
                    self._events += part.events
                else:
                    self._lose(part.events)
            self._waiting.extendleft(reversed(taken))

    def _pass_on(self, parts: list[Lines]) -> bool:
        """Deliver a batch; return false where the engine ends before all of it is delivered or refused."""
        lines = [line for part in parts for line in self._shown(part)]
        batches = [lines[at : at + self._batch] for at in range(0, len(lines), self._batch)]
        self._became = 0
        whole = all(self._persist(batch) for batch in (batches if parts else [[]]))
        with self._changed:
            if whole or not self._followed or self._became:
                self._bytes -= sum(len(part.data) for part in parts)
            else:  # nothing has become of them: another outlet takes them
                self._waiting.extendleft(reversed(parts))
                self._events += sum(part.events for part in parts) - len(lines)
            self._changed.notify_all()
        return whole or not parts

    def _shown(self, part: Lines) -> list[bytes]:
        """Return the lines of a part that are wanted, as they are to be shown; one that cannot be read is lost."""
        shown, lost = [], 0
        for line in part.data.splitlines():
            try:
                if part.event_type == "alert" and self._severity < 255 and _severity(line) > self._severity:
                    continue
                if made := self._privacy.lines(line).rstrip(b"\n"):
                    shown.append(made)
            except Exception:
                self._report_once("lost", "an event cannot be read")
                lost += 1
        with self._changed:
            self._note("lost", lost)
            self._events -= part.events - len(shown)
        return shown

    def _persist(self, batch: Sequence[bytes]) -> bool:
        """Deliver lines, as often as it takes; return false where the engine ends before.

        Traffic says what is in events, so one that a receiver refuses for that must not cost those beside it.
        """
        waiting, took = [batch], False
        while waiting:
            lines = waiting.pop()
            answer = self._deliver_or_wait(lines)
            if answer is None:
                return False
            if answer.of_content and len(lines) > 1 and (self._takes_some or answer.ours):
                half = len(lines) // 2
                waiting += [lines[half:], lines[:half]]
                continue
            took |= not answer.why or answer.ours
            self._settle(answer.settled)
        self._takes_some = took or (self._takes_some and len(batch) < 2)  # else it refuses whatever comes
        return True

    def _deliver_or_wait(self, lines: Sequence[bytes]) -> _Answer | None:
        """Deliver lines, as often as it takes; return what the receiver says. None: the engine ends."""
        pause, none = FIRST_PAUSE_S, Settled(refused=len(lines))
        while True:
            try:
                settled = self._deliver(lines)
            except Refused as error:
                self._report(error, "refuses events")
                return _Answer(none, str(error) or "refused", error.of_content)
            except OSError as error:
                self._report(error, "is not reached, events wait")
            except Exception as error:
                if len(lines) < 2:
                    self._report_once("refused", "an event cannot be delivered")
                return _Answer(none, repr(error), of_content=True, ours=True)
            else:
                if self._failing and lines:
                    log.warning("%s is reached again", self._name)
                    self._failing = False
                return _Answer(Settled(len(lines)) if settled is None else settled)
            with self._changed:
                self._note("retries", 1)
                self._changed.notify_all()
                if self._changed.wait_for(lambda: self._closing, pause * (1 + random.random() / 2)):
                    return None
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _settle(self, settled: Settled) -> None:
        """Count what has become of events."""
        with self._changed:
            for name, number in settled._asdict().items():
                self._note(name, number)
            self._events -= sum(settled)
            self._became += sum(settled)
        if settled.too_long:
            self._report_once("too_long", "an event is too long for a datagram")

    def _report(self, error: Exception, what: str) -> None:
        if not self._failing:
            log.error("%s %s: %s", self._name, what, error)
        self._failing = True

    def _report_once(self, name: str, what: str) -> None:
        """Log the first of the events that are counted so; within a handler, with its exception."""
        if name not in self._said:
            within = sys.exc_info()[0] is not None
            log.error("%s: %s; such are counted in %s.%s", self._name, what, self._name, name, exc_info=within)
        self._said.add(name)


def _severity(line: bytes) -> int:
    """Return the severity of an alert; the worst where it says none, so that nobody misses it."""
    severity = (orjson.loads(line).get("alert") or {}).get("severity")
    return severity if isinstance(severity, int) else 0
