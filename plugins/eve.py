"""Writes events as EVE JSON, one object a line, to a file or to standard output."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ids import hookimpl
from ids.plugin.writer import LineWriter

if TYPE_CHECKING:
    from ids.events import Events
    from ids.plugin.context import EngineContext


class EveOutput:
    """The file output."""

    def __init__(self) -> None:
        self._writer: LineWriter | None = None
        self._next: LineWriter | None = None
        """Opened for a reload that is not in force, and may never be: another plugin may refuse it."""
        self._types: frozenset[str] = frozenset()

    @hookimpl
    def ids_start(self, context: EngineContext) -> None:
        """Open the file; a path that cannot be written stops the engine."""
        self._writer, self._types = _open(context), frozenset(context.config.eve.types)

    @hookimpl
    def ids_reload(self, context: EngineContext) -> Callable[[], None]:
        """Open the file again, so that a rotated log is followed."""
        self._drop_next()
        self._next, types = _open(context), frozenset(context.config.eve.types)

        def commit() -> None:
            writer, self._next = self._next, None
            self.ids_stop()
            self._writer, self._types = writer, types

        return commit

    @hookimpl
    def ids_event_types(self) -> set[str]:
        """Return the types that the settings name; none without a file."""
        return set(self._types) if self._writer is not None else set()

    @hookimpl
    def ids_events(self, events: Events) -> None:
        """Hand the wanted events to the writer."""
        if self._writer is not None:
            self._writer.put(events.lines(self._types))

    @hookimpl
    def ids_stop(self) -> None:
        """Close the file."""
        self._drop_next()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _drop_next(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None


def _open(context: EngineContext) -> LineWriter | None:
    """Open the output; raises `UsageError` where it cannot be written."""
    path = context.config.eve.path
    if path is None or not context.outputs:
        return None
    return LineWriter(path, "eve", context.counters, patient=not context.live)


plugin = EveOutput
