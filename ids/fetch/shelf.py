"""The last good version of each feed, and how its updates went: a folder for each in the state directory."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ids.errors import UsageError
from ids.whole import write_whole

GOOD, STATE, LOCK = "good", "state.json", ".lock"

LOOK_S = 0.2
"""How often it is looked whether another update has ended."""


@dataclass(slots=True)
class History:
    """How the updates of one feed went."""

    source: str = ""
    etag: str = ""
    modified: str = ""
    tried_ns: int = 0
    """The latest attempt,"""
    good_ns: int = 0
    """and the latest that went well, also where nothing had changed."""
    changed_ns: int = 0
    """When the version came that is in force."""
    failures: int = 0
    """Since the latest that went well."""
    error: str = ""
    """Why the latest attempt failed; empty: it did not."""
    sha256: str = ""
    networks: int = 0


class Busy(UsageError):
    """Another process updates the feed."""


class Shelf:
    """The folder of one feed."""

    def __init__(self, state_dir: str, instance: str, label: str) -> None:
        self._folder = Path(state_dir) / instance / "feeds" / label

    def history(self) -> History:
        """Return how it went so far; what cannot be read begins anew."""
        try:
            kept = json.loads((self._folder / STATE).read_text())
            history = History()
            for of in fields(History):
                if isinstance(value := kept.get(of.name), type(of.default)):
                    setattr(history, of.name, value)
            return history
        except (OSError, ValueError, TypeError, AttributeError):
            return History()

    def good(self) -> bytes | None:
        """Return the last good version; None where there is none."""
        try:
            return (self._folder / GOOD).read_bytes()
        except OSError:
            return None

    def keep(self, history: History, data: bytes | None = None) -> None:
        """Write how it went, and a new good version; raises `UsageError`."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if data is not None:
                write_whole(self._folder / GOOD, data)
            write_whole(self._folder / STATE, json.dumps(asdict(history), indent=1).encode() + b"\n")
        except OSError as error:
            raise UsageError(f"{self._folder}: {error.strerror or error}") from error

    @contextmanager
    def locked(self, wait_s: float = 0.0) -> Iterator[None]:
        """Hold the feed, so that two updates do not meet; another one is waited for. Raises `Busy`, `UsageError`."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"{self._folder}: {error.strerror or error}") from error
        try:
            _take(lock, time.monotonic() + wait_s)
            yield
        finally:
            os.close(lock)


def _take(lock: int, until_s: float) -> None:
    """Take a lock, waiting until then where another process has it; raises `Busy`."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= until_s:
                raise Busy("another process is updating it") from None
            time.sleep(LOOK_S)
        else:
            return
