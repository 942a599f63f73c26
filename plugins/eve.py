"""Writes events as EVE JSON, one object a line, to a file or to standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import orjson

from ids import hookimpl
from ids.errors import UsageError
from ids.plugin.context import EngineContext


class EveOutput:
    """The file output. Nothing is buffered: what happened is on disk even if the engine is killed the next moment."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._types: frozenset[str] = frozenset()

    @hookimpl
    def ids_start(self, context: EngineContext) -> None:
        """Open the file; a path that cannot be written stops the engine."""
        self._file, self._types = _open(context.config.eve.path), frozenset(context.config.eve.types)

    @hookimpl
    def ids_reload(self, context: EngineContext) -> Callable[[], None]:
        """Open the file anew, so that a rotated log is followed."""
        file, types = _open(context.config.eve.path), frozenset(context.config.eve.types)

        def commit() -> None:
            self.ids_stop()
            self._file, self._types = file, types

        return commit

    @hookimpl
    def ids_event(self, event: dict[str, Any]) -> None:
        """Write the event if its type is wanted."""
        if self._file is None or event["event_type"] not in self._types:
            return
        self._file.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS))

    @hookimpl
    def ids_stop(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.flush()
            if self._file is not sys.stdout.buffer:
                self._file.close()
            self._file = None


def _open(path: str | None) -> IO[bytes] | None:
    """Open the output; raises `UsageError` where it cannot be written."""
    if path is None:
        return None
    if path == "-":
        return sys.stdout.buffer
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return open(path, "ab", buffering=0)
    except OSError as error:
        raise UsageError(f"eve.path {path} cannot be written: {error.strerror}; choose another path") from error


plugin = EveOutput
