"""The memory of alerts and changes, as commands use it: they read it, and write down what is done by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from ids.cli.options import print_message
from ids.config import Config
from ids.errors import UsageError
from ids.store.byhand import Deed, record
from ids.store.database import open_reading, store_path


@contextmanager
def memory(config: Config) -> Iterator[sqlite3.Connection]:
    """Open the memory to read; raises `UsageError` where there is none or it cannot be read."""
    path = store_path(config.engine.state_dir, config.instance)
    with closing(open_reading(path)) as database:
        try:
            yield database
        except sqlite3.Error as error:
            raise UsageError(
                f"{path} cannot be read: {error}; where it is damaged, a running engine moves it aside and begins anew"
            ) from error


def note_deeds(config: Config, deeds: Sequence[Deed]) -> None:
    """Write down what this command has done; where that cannot be, say so, and let the command succeed."""
    if not config.store.enabled or not deeds:
        return
    if trouble := record(store_path(config.engine.state_dir, config.instance), deeds):
        print_message(f"ids: note: it is done, but not written down who did it: {trouble}")
