"""What a file is by its content, in libmagic's words: the same library that ``file`` and Suricata's `magic` ask.

python-magic calls it by ctypes and needs the package libmagic1 of the distribution (`scripts/setup.sh`). Where it is
not there, files are described by nobody: `file.magic` is empty, and this is said once in the log.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def _library() -> Any:
    """Return what describes bytes, or None. Loading takes some milliseconds: the compiled patterns are 7 MB."""
    try:
        import magic

        return magic.Magic()
    except Exception as error:  # no module, no library, no database: each raises something else
        log.warning("libmagic is not usable (%s): files are not described; install libmagic1", error)
        return None


def available() -> bool:
    """Return whether there is a libmagic to ask."""
    return _library() is not None


def describe(content: bytes) -> str | None:
    """Return what these bytes are; None where libmagic is not there, or fails on them."""
    library = _library()
    if library is None:
        return None
    try:
        said: str = library.from_buffer(content)
    except Exception:  # MagicException, and UnicodeDecodeError for what it quotes from the file
        return None
    return said
