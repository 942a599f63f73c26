"""The engine's log: for a journal, lines with their priority, by which `journalctl -p` chooses; else with the time."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

PLAIN = "%(asctime)s %(levelname)s %(message)s"
PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
"""Of sd-daemon(3), which are syslog's."""


class JournalFormatter(logging.Formatter):
    """Begins each line with its priority; the journal has the time, and would take a second line for one without."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        mark = f"<{PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(mark + line for line in super().format(record).split("\n"))


def goes_to_journal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a stream is the one that systemd connected with its journal (systemd.exec(5), JOURNAL_STREAM)."""
    device, colon, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return bool(colon) and (device, inode) == (str(status.st_dev), str(status.st_ino))


def configure() -> None:
    """Send the log to stderr, in the form of whoever reads there."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter() if goes_to_journal(sys.stderr) else logging.Formatter(PLAIN))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
