"""A signal that asks for the end is raised once, when that does no harm, and the handlers of before come back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from ids.lab.interruption import SIGNALS, Interrupted, interruptible, signals_held


@pytest.fixture(autouse=True)
def _nobody_else() -> Iterator[None]:
    """Have the handlers that a process begins with: another test's lab may be open in this one."""
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    for signum in SIGNALS:
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", SIGNALS)
def test_the_first_signal_is_raised_and_further_ones_are_not(signum: signal.Signals) -> None:
    cleaned = []

    def own() -> None:
        with interruptible():
            try:
                signal.raise_signal(signum)
            finally:
                signal.raise_signal(signal.SIGTERM)
                cleaned.append("up")

    with pytest.raises(Interrupted, match=signum.name) as interrupted:
        own()
    assert cleaned == ["up"]
    assert interrupted.value.exit_code == 128 + signum


def test_a_signal_waits_while_held_whichever_thread_the_kernel_chose() -> None:
    done = []
    idle = threading.Event()
    threading.Thread(target=idle.wait, daemon=True).start()

    def own() -> None:
        with interruptible():
            with signals_held(), signals_held():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("all of it")
            done.append("too much")

    with pytest.raises(Interrupted):
        own()
    idle.set()
    assert done == ["all of it"]


def test_handlers_are_those_of_before_afterwards_and_nesting_changes_nothing() -> None:
    before = [signal.getsignal(signum) for signum in SIGNALS]
    with interruptible():
        outer = [signal.getsignal(signum) for signum in SIGNALS]
        with interruptible():
            pass
        assert [signal.getsignal(signum) for signum in SIGNALS] == outer
    assert [signal.getsignal(signum) for signum in SIGNALS] == before


def test_another_thread_leaves_the_handlers_alone() -> None:
    seen = []

    def work() -> None:
        with interruptible(), signals_held():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
