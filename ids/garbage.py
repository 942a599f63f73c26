"""When Python looks for garbage in cycles: not while much is made that stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_later(*, for_good: bool = False) -> Iterator[None]:
    """Look for no garbage meanwhile: a million objects are made, and none of them is.

    ``for_good``: never again among all that is there at the end, which is right at a start alone: what is replaced
    later, by a reload, has to be found then. Nested, the outermost counts.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if for_good:
            gc.freeze()
        gc.enable()
