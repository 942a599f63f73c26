"""Keeps alerts and changes in a database for later: `ids alerts`, `ids why` and the console read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ids import hookimpl

if TYPE_CHECKING:
    from ids.events import Events
    from ids.plugin.context import EngineContext
    from ids.store.writer import StoreWriter
    from ids.types import Change


class StoreOutput:
    """The memory of a live engine; a replay has none."""

    def __init__(self) -> None:
        self._writer: StoreWriter | None = None
        self._retired: list[StoreWriter] = []
        """Of settings before a reload, which still write: packets do not wait for them."""

    @hookimpl
    def ids_start(self, context: EngineContext) -> None:
        """Start the writer; it opens the file when there is something to write, and no trouble with it stops us."""
        self._writer = _writer(context)

    @hookimpl
    def ids_reload(self, context: EngineContext) -> Callable[[], None]:
        """Take other bounds, or begin or end with it."""

        def commit() -> None:
            if not context.outputs:
                return
            if self._writer is not None and context.config.store.enabled:
                self._writer.configure(context.config.store)
                return
            if self._writer is not None:
                self._writer.retire()
                self._retired.append(self._writer)
            self._writer = _writer(context)

        return commit

    @hookimpl
    def ids_event_types(self) -> set[str]:
        """Return what is kept."""
        return {"alert"} if self._writer is not None else set()

    @hookimpl
    def ids_events(self, events: Events) -> None:
        """Hand alerts to the writer."""
        if self._retired:
            self._retired = [writer for writer in self._retired if not writer.retired()]
        if self._writer is not None:
            self._writer.put_alerts(events.lines({"alert"}) if "alert" in events.counts else ())

    @hookimpl
    def ids_changes(self, changes: Sequence[Change]) -> None:
        """Hand changes to the writer."""
        if self._writer is not None:
            self._writer.put_changes(changes)

    @hookimpl
    def ids_stop(self) -> None:
        """Write what waits."""
        for writer in (*self._retired, *([self._writer] if self._writer is not None else [])):
            writer.close()
        self._retired.clear()
        self._writer = None


def _writer(context: EngineContext) -> StoreWriter | None:
    config = context.config
    if not (config.store.enabled and context.live and context.outputs):
        return None
    from ids.store.database import store_path  # here: a replay's start need not wait for SQLite
    from ids.store.writer import StoreWriter

    return StoreWriter(store_path(config.engine.state_dir, config.instance), config.store, context.counters)


plugin = StoreOutput
