"""Writes events as EVE JSON, one object a line, to a file or to standard output."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import IO, Any

import orjson

from ids import hookimpl
from ids.errors import UsageError
from ids.plugin.context import EngineContext

log = logging.getLogger(__name__)


class EveOutput:
    """The file output. Nothing is buffered: what happened is on disk even if the engine is killed the next moment."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._types: frozenset[str] = frozenset()
        self._context: EngineContext | None = None

    @hookimpl
    def ids_start(self, context: EngineContext) -> None:
        """Open the file; a path that cannot be written stops the engine."""
        self._context = context
        self._types = frozenset(context.config.eve.types)
        self._open()

    @hookimpl
    def ids_reload(self, context: EngineContext) -> None:
        """Open the file anew, so that a rotated log is followed."""
        previous, self._context = self._file, context
        self._types = frozenset(context.config.eve.types)
        self._open()
        if previous is not None and previous is not sys.stdout.buffer:
            previous.close()

    def _open(self) -> None:
        assert self._context is not None
        path = self._context.config.eve.path
        if path is None:
            self._file = None
        elif path == "-":
            self._file = sys.stdout.buffer
        else:
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                self._file = open(path, "ab", buffering=0)  # noqa: SIM115  closed in ids_stop
            except OSError as error:
                raise UsageError(f"eve.path {path} cannot be written: {error.strerror}; choose another path") from error

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


plugin = EveOutput
