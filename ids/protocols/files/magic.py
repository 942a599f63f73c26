"""What a file is by its content, in libmagic's words: the same library that ``file`` and Suricata's `magic` ask.

python-magic calls it by ctypes and needs the package libmagic1 of the distribution (`scripts/setup.sh`). Where it is
not there, files are described by nobody: `file.magic` is empty, and this is said once in the log.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from ids.later import late_pattern

MAGIC_BYTES = 128 * 1024
"""Of a file that are shown to libmagic: more than it needs for nearly all types. Its regular expressions take up to 2
microseconds a byte of what was written for that, and some nanoseconds of what files are like."""
WHITE_BYTES = 512
"""Of white space in one run that are shown: the same regular expressions take its square, and 128 KiB of line feeds,
which are 150 bytes in a compressed body, took a quarter of a second."""
_LONG_WHITE = late_pattern(rb"(?<!\s)(\s{%d})\s+" % WHITE_BYTES)

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def libmagic() -> Any:
    """Return what describes bytes, or None. Loading takes some milliseconds: the compiled patterns are 7 MB."""
    try:
        import magic

        return magic.Magic()
    except Exception as error:  # no module, no library, no database: each raises something else
        log.warning("libmagic is not usable (%s): files are not described; install libmagic1", error)
        return None


def available() -> bool:
    """Return whether there is a libmagic to ask."""
    return libmagic() is not None


def describe(content: bytes) -> str | None:
    """Return what these bytes are; None where libmagic is not there, or fails on them."""
    library = libmagic()
    if library is None:
        return None
    try:
        said: str = library.from_buffer(_LONG_WHITE.sub(rb"\1", content[:MAGIC_BYTES]))
    except Exception:  # MagicException, and UnicodeDecodeError for what it quotes from the file
        return None
    return said
