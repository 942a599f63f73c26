"""Saves lists and penalties while an engine runs, from a thread: soon after they change, and no more often than it may.

The thread looks at the kernel's lists by itself, through descriptors of its own, so a change by a command is saved like
one of the engine's. Saving a million entries takes about a second of one core; so a save that took t is not repeated
before `SHARE` t.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from pathlib import Path

from ids.counters import Counters
from ids.errors import IdsError
from ids.kernel import AllowList, Blocklist
from ids.respond.policy import BlockPolicy, Penalty
from ids.state import comments, lists, penalties

log = logging.getLogger(__name__)

EVERY_S = 3.0
"""How soon a change is saved: what a power cut may cost."""

SHARE = 20
"""Saving must not become the main work."""

CLOSE_S = 20.0
"""How long an orderly stop waits for the last save."""


def forget(folder: Path) -> None:
    """Forget saved lists and penalties; what the operator took down is not to come back with the next start."""
    for name in (lists.FILE_NAME, penalties.FILE_NAME, comments.FILE_NAME):
        with contextlib.suppress(OSError):
            (folder / name).unlink()


class Keeper:
    """The thread, between `Keeper` and `close`."""

    def __init__(self, pins: Path, folder: Path, counters: Counters) -> None:
        """Start to look; ``folder`` is `ids.state.files.state_folder`."""
        self._pins, self._folder, self._counters = pins, folder, counters
        self._penalties: list[Penalty] | None = None
        self._moves = -1
        self._saved_lists: tuple[int, int] | None = None
        self._failing = ""
        self._failures = self._saves = 0
        self._stop = threading.Event()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="ids-state", daemon=True)
        self._thread.start()

    def tick(self, policy: BlockPolicy) -> None:
        """Take note of penalties that changed, and bring counters up to date; in the engine's thread, now and then.

        While earlier ones wait for the disk, none are copied: there may be 65,536.
        """
        if self._penalties is None:
            self._note(policy)
        failures, self._failures = self._failures, 0
        saves, self._saves = self._saves, 0
        self._counters.add("state.failures", failures)
        self._counters.add("state.saves", saves)

    def close(self, policy: BlockPolicy) -> None:
        """Save what has changed last, as long as the disk takes it, and end. A fork has no thread."""
        if os.getpid() != self._pid:
            return
        self._note(policy)
        self._stop.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.error("%s: the disk hangs; the last changes of the lists are not saved", self._folder)

    def _note(self, policy: BlockPolicy) -> None:
        if policy.moves != self._moves:
            self._moves = policy.moves
            self._penalties = policy.penalties()

    def _run(self) -> None:
        wait_s = EVERY_S
        while True:
            stopping = self._stop.wait(wait_s)
            started = time.monotonic()
            try:
                self._save()
            except (OSError, IdsError) as error:
                self._failed(str(error))
            except Exception as error:  # whatever one save meets, the next change is to be saved
                log.exception("the lists could not be saved: please report this")
                self._failed(repr(error))
            else:
                if self._failing:
                    log.warning("lists and penalties are saved again in %s", self._folder)
                self._failing = ""
            if stopping:
                return
            wait_s = max(EVERY_S, SHARE * (time.monotonic() - started))

    def _save(self) -> None:
        waiting = self._penalties
        if waiting is not None:
            penalties.save(self._folder, waiting)
            self._saves += 1
            if self._penalties is waiting:
                self._penalties = None
        with Blocklist.open(self._pins) as blocks, AllowList.open(self._pins) as allowed:
            state = blocks.changes, allowed.changes
            if self._saved_lists is None and not self._anything(blocks, allowed):
                self._saved_lists = state
            if state == self._saved_lists:
                return
            lists.save(blocks, allowed, self._folder / lists.FILE_NAME)
        self._saved_lists = state  # as it was before: what changed meanwhile is saved once more
        self._saves += 1

    def _anything(self, blocks: Blocklist, allowed: AllowList) -> bool:
        """Return whether there is, or was, anything to save."""
        there = (self._folder / lists.FILE_NAME).exists()
        return there or bool(blocks.changes) or any(entry.label != lists.SETTINGS for entry in allowed.list())

    def _failed(self, why: str) -> None:
        self._failures += 1
        if why != self._failing:
            log.error(
                "lists and penalties cannot be saved in %s, and would not outlive a reboot: %s; see engine.state_dir",
                self._folder, why,
            )  # fmt: skip
        self._failing = why
