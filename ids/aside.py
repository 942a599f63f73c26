"""Work that hostile input can make long or large, done in a child that the kernel ends at its limits.

Native code that compiles or backtracks cannot be interrupted, and takes what it takes. So it runs in a process of its
own, under a bound on processor time and on memory for each order. The child (`ids.aside_child`) imports nothing of this
package: it starts within 50 ms, at the first order, and again after one that it did not survive. Wherever this process
is forked, each fork has a child of its own.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ids.errors import IdsError

CHILD = Path(__file__).with_name("aside_child.py")

POLL_S = 0.05
"""How often whoever waits is asked whether to go on."""

START_S = 20.0
"""How long a child may take to start, on a machine that is busy."""

WALL_FACTOR, WALL_S = 10.0, 20.0
"""An order that takes so much longer than its processor time, and what a machine that is busy may add, hangs."""

_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
"""What ends a child by a fault of its code."""


class TooCostly(Exception):
    """An order took more than it may, or ended the child otherwise."""


class Declined(Exception):
    """An order cannot be carried out, with the child's reason."""


class Abandoned(IdsError):
    """Whoever waits for an order does so no more."""


class Aside:
    """A child for orders, one at a time; from one thread at a time."""

    def __init__(self, script: Path, go_on: Callable[[], bool] | None = None) -> None:
        """``script`` has what can be ordered. ``go_on`` is asked while an order takes long; where it returns False, the
        order ends with `Abandoned`."""
        self._script = script
        self.go_on = go_on
        self.lasting = False
        """Whether the child outlives `rest`: a process that loads rules again and again need not start it each time."""
        self._line: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self.starts = 0
        """Children started so far; who keeps something in the child sees by it that it is another."""

    @property
    def runs(self) -> bool:
        """Whether there is a child of this process."""
        return self._process is not None and self._owner == os.getpid()

    def ask(self, order: str, *arguments: Any, cpu_s: float, memory_bytes: int) -> Any:
        """Return the answer to an order; raises `TooCostly`, `Declined`, `Abandoned`, or `IdsError` where no child can
        be had.

        ``memory_bytes`` is what the child may take besides what it has at its start.
        """
        line = self._started()
        try:
            line.send((order, cpu_s, memory_bytes, *arguments))
            limit = WALL_FACTOR * cpu_s + WALL_S
            deadline = time.monotonic() + limit
            while not line.poll(POLL_S):
                if self.go_on is not None and not self.go_on():
                    raise Abandoned(f"{self._script.stem} was given up: the engine stops")
                if time.monotonic() > deadline:
                    raise TooCostly(f"it takes more than {limit:g} s")
            done, answer = line.recv()
        except (EOFError, ConnectionError):
            raise TooCostly(self._why(cpu_s, memory_bytes)) from None
        except BaseException:
            self.close()
            raise
        if not done:
            raise Declined(answer)
        return answer

    def rest(self) -> None:
        """End the child, for no order comes for a while; nothing where it is `lasting`."""
        if not self.lasting:
            self.close()

    def close(self) -> None:
        """End the child, where there is one; the next order starts another."""
        line, process = self._line, self._process
        self._line = self._process = None
        if line is not None:
            line.close()
        if process is None:
            return
        if self._owner == os.getpid():
            process.kill()
            process.wait()
        else:
            process.returncode = 0  # it is the parent's, who waits for it
        atexit.unregister(self.close)

    def _started(self) -> Connection:
        if self._line is not None and self.runs:
            return self._line
        self.close()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", str(CHILD), str(theirs.fileno()), str(self._script)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:
                raise IdsError(f"no process can be started for {self._script.name}: {error.strerror}") from error
            line = Connection(ours.detach())
        self._line, self._owner = line, os.getpid()
        self.starts += 1
        atexit.register(self.close)
        with suppress(EOFError, ConnectionError):
            if line.poll(START_S) and line.recv() == "ready":
                return line
        self.close()
        raise IdsError(f"the process for {self._script.name} does not start; is memory left, or a limit too low?")

    def _why(self, cpu_s: float, memory_bytes: int) -> str:
        """Return what ended the child."""
        process = self._process
        ended = process.wait() if process is not None else 0
        self.close()
        if ended == -signal.SIGPROF:
            return f"it takes more than {cpu_s:g} s"
        if -ended in _CRASHES:
            return f"it crashes ({signal.Signals(-ended).name})"
        return f"it takes more than {memory_bytes >> 20} MiB of memory"
