"""What outputs have in common: they open with the engine, anew with a reload, and close with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ids.events import Lines
from ids.plugin.beside import beside
from ids.plugin.hookspec import hookimpl
from ids.plugin.outlet import Outlet

if TYPE_CHECKING:
    from ids.events import Events
    from ids.plugin.context import EngineContext


PREPARE_S = 10.0
"""How long a reload waits for the files of an output: keys, passwords, certificates, and the one that is written."""


class Sink(Protocol):
    """Takes events: an `ids.plugin.outlet.Outlet`, or an `ids.plugin.writer.LineWriter`."""

    def put(self, lines: list[Lines]) -> None:
        """Take events, at once."""

    def retire(self) -> None:
        """Take no more, and deliver what waits."""

    def retired(self) -> bool:
        """Return whether all that waited has been delivered, or given up."""

    def close(self) -> None:
        """Deliver what waits, as long as that takes some seconds, and end."""


class Prepared(NamedTuple):
    """An output as the settings say, that is not in force yet, and may never be: another plugin may refuse them."""

    open: Callable[[], Sink]
    types: frozenset[str]
    """Of events that it reads."""
    discard: Callable[[], None] = lambda: None
    """Forgets it, where it never comes into force."""


def _forget(prepared: Prepared | None) -> None:
    if prepared is not None:
        prepared.discard()


class Output:
    """A plugin whose events go into one `Sink`. A subclass says how that is made."""

    name: str
    """Of its group of settings."""

    def __init__(self) -> None:
        self._sink: Sink | None = None
        self._prepared: Prepared | None = None
        self._retired: list[Sink] = []
        """Of settings before a reload, which still deliver: packets do not wait for them."""
        self._types: frozenset[str] = frozenset()

    def prepare(self, context: EngineContext) -> Prepared | None:
        """Check the settings, and return what opens the output; None: it is off.

        Raises `IdsError` for settings that cannot be. What it returns is opened when they are in force. In a reload
        it is called in a thread, for files of others are read and opened here: packets do not wait for a disk.
        """
        raise NotImplementedError

    @hookimpl
    def ids_start(self, context: EngineContext) -> None:
        """Open the output."""
        self._prepare(context)
        self._open()

    @hookimpl
    def ids_reload(self, context: EngineContext) -> Callable[[], None]:
        """Open the output as the new settings say, once they are in force; the old one ends by itself."""
        self._prepare(context)

        def commit() -> None:
            before = self._sink
            self._open()
            if before is None:
                return
            if isinstance(before, Outlet) and isinstance(self._sink, Outlet):
                self._sink.follow(before)
            before.retire()
            if not before.retired():
                self._retired.append(before)

        return commit

    @hookimpl
    def ids_event_types(self) -> set[str]:
        """Return the types that the settings name; none where the output is off."""
        return set(self._types)

    @hookimpl
    def ids_events(self, events: Events) -> None:
        """Hand the wanted events over."""
        if self._retired:
            self._retired = [sink for sink in self._retired if not sink.retired()]
        if self._sink is not None:
            self._sink.put(events.lines(self._types))

    @hookimpl
    def ids_stop(self) -> None:
        """Close the output."""
        self._discard()
        for sink in (*self._retired, *([self._sink] if self._sink is not None else [])):
            sink.close()
        self._retired.clear()
        self._sink = None

    def _prepare(self, context: EngineContext) -> None:
        self._discard()
        if not context.outputs:
            return
        if context.go_on is None:
            self._prepared = self.prepare(context)
            return
        self._prepared = beside(
            lambda: self.prepare(context), context.go_on, f"output {self.name}", patience_s=PREPARE_S, undo=_forget
        )

    def _open(self) -> None:
        prepared, self._prepared = self._prepared, None
        self._types = frozenset() if prepared is None else prepared.types
        self._sink = None if prepared is None else prepared.open()

    def _discard(self) -> None:
        _forget(self._prepared)
        self._prepared = None
