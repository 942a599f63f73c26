"""Has feeds updated while the engine runs: by a process of its own, once a minute, where one may be due.

The engine's part is to start it and to read what it said; both take no longer than a look at the clock.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from typing import IO

from ids.config import Config, dump_config

log = logging.getLogger(__name__)

EVERY_S = 60.0
LONGEST_S = 1800.0
"""How long an update may take: a dozen feeds that time out, one behind the other."""
SAID_BYTES = 16_384
"""Of what it said, at most, that goes into the log."""
END_S = 2.0

COMMAND = """
from ids.cli import main
from ids.service.priority import give_way
give_way(10)
main()
"""
"""The program of an update."""


class Feeder:
    """Starts updates, one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._next_s = 0.0
        self._until_s = 0.0

    def poll(self, config: Config, now_s: float) -> None:
        """Look whether an update has ended, or is to begin; ``now_s`` is monotonic."""
        if self._process is not None:
            if self._process.poll() is not None:
                self._report()
            elif now_s > self._until_s:
                log.error("feeds: the update did not end within %g s; it is ended", LONGEST_S)
                self._process.kill()
        elif now_s >= self._next_s and config.feeds and config.engine.update_feeds:
            self._next_s = now_s + EVERY_S
            self._until_s = now_s + LONGEST_S
            try:
                self._start(config)
            except OSError as error:
                log.error("feeds: no update could be started: %s", error)

    def close(self) -> None:
        """End an update; what it has not put into force stays as it was."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._report()

    def _start(self, config: Config) -> None:
        settings = os.memfd_create("ids-feeds")
        try:
            os.write(settings, dump_config(config).encode())
            os.lseek(settings, 0, os.SEEK_SET)
            said = tempfile.TemporaryFile()  # noqa: SIM115  read when the update has ended
            words = ["feeds", "update", "--due", "-c", f"/proc/self/fd/{settings}"]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", COMMAND, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    pass_fds=(settings,),
                    start_new_session=True,
                )
            except OSError:
                said.close()
                raise
            self._said = said
        finally:
            os.close(settings)

    def _report(self) -> None:
        """Write into the log what an update said."""
        assert self._process is not None
        assert self._said is not None
        level = logging.INFO if self._process.returncode == 0 else logging.WARNING
        self._said.seek(0)
        for line in self._said.read(SAID_BYTES).decode("utf-8", "replace").splitlines():
            log.log(level, "feeds: %s", line.removeprefix("ids: "))
        self._said.close()
        self._process = self._said = None
