"""When Python looks for garbage in cycles: not while much is made that stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_later() -> Iterator[None]:
    """Look for no garbage meanwhile, and never among what is there then: a million objects are made, and all stay.

    Garbage in cycles that was there before stays as well: ten objects of 400,000. Nested, the outermost counts.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
