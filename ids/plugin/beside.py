"""Work that takes long, or waits for a disk, done in a thread while packets go on: what a plugin does in a reload."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ids.errors import IdsError

JOIN_S = 0.005
"""How long packets wait at a time."""

_Made = TypeVar("_Made")


def beside(
    work: Callable[[], _Made],
    go_on: Callable[[], bool],
    name: str,
    *,
    patience_s: float = math.inf,
    undo: Callable[[_Made], object] = lambda made: None,
) -> _Made:
    """Return what ``work`` makes in a thread, while this one calls ``go_on`` again and again.

    Raises what ``work`` raises, and `IdsError` where ``go_on`` returns False, for the engine stops, or after
    ``patience_s``. What ``work`` makes after that is undone by the thread. ``name`` says what is waited for.
    """
    made: list[_Made] = []
    failed: list[BaseException] = []
    lock = threading.Lock()
    waits = True

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            failed.append(error)
            return
        with lock:
            if waits:
                made.append(result)
                return
        undo(result)

    thread = threading.Thread(target=run, name=f"ids-{name}", daemon=True)
    thread.start()
    until_s = time.monotonic() + patience_s
    try:
        while thread.is_alive():
            if not go_on():
                raise IdsError("the engine stops")
            if time.monotonic() > until_s:
                raise IdsError(f"{name} is not ready within {patience_s:g} s: does the disk of its files hang?")
            thread.join(JOIN_S)
    except BaseException:
        with lock:
            waits = False
        for result in made:
            undo(result)
        raise
    if failed:
        raise failed[0]
    return made[0]
