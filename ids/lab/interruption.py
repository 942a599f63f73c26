"""Signals that ask a lab's owner to end: raised as an exception once, at a moment when that does no harm.

SIGTERM's own way of ending a process runs no ``finally``: namespaces and their interfaces would stay. So whoever makes
some is `interruptible` meanwhile: the first signal becomes `Interrupted` in the main thread, and what was made goes on
its way up. Further signals are ignored, so that none disturbs the clean-up.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end; what was made is removed on its way up.

    Not caught, it ends a program as Ctrl-C does.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signal.Signals(signum).name)

    @property
    def exit_code(self) -> int:
        """What a shell makes of a process that a signal ended."""
        return 128 + self.signum


class _State:
    """Of the one process: how many hold signals, and the signal that waits or was raised."""

    held = 0
    waiting: int | None = None
    raised = False


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` for the first of `SIGNALS` while the context lasts; inside another such context, do nothing.

    Only the main thread may set handlers; in another one this does nothing either.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(SIGNALS[0]) is _interrupt:
        yield
        return
    before = {signum: signal.signal(signum, _interrupt) for signum in SIGNALS}
    _State.raised, _State.waiting = False, None
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let the signals wait: half a clean-up is worse than a late end. One that came is raised on leaving."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are raised in the main thread alone
        return
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1
        if not _State.held and _State.waiting is not None:
            signum, _State.waiting = _State.waiting, None
            _raise(signum)


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    if _State.raised:
        return
    if _State.held:
        _State.waiting = signum
    else:
        _raise(signum)


def _raise(signum: int) -> None:
    _State.raised = True
    raise Interrupted(signum)
