"""What outputs with an `Outlet` have in common: they open with the engine, anew with a reload, and close with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ids.plugin.hookspec import hookimpl
from ids.plugin.outlet import Outlet

if TYPE_CHECKING:
    from ids.events import Events
    from ids.plugin.context import EngineContext


class Output:
    """A plugin whose events go through one `Outlet`. A subclass says how that is made."""

    def __init__(self) -> None:
        self._outlet: Outlet | None = None
        self._retired: list[Outlet] = []
        """Of settings before a reload, which still deliver: packets do not wait for them."""
        self._types: frozenset[str] = frozenset()

    def prepare(self, context: EngineContext) -> tuple[Callable[[], Outlet], frozenset[str]] | None:
        """Check the settings, and return what opens the output, and the event types that it reads; None: it is off.

        Raises `IdsError` for settings that cannot be. What it returns is called when they are in force.
        """
        raise NotImplementedError

    @hookimpl
    def ids_start(self, context: EngineContext) -> None:
        """Open the output."""
        self._open(self.prepare(context) if context.outputs else None)

    @hookimpl
    def ids_reload(self, context: EngineContext) -> Callable[[], None]:
        """Open the output as the new settings say, once they are in force; the old one ends by itself."""
        prepared = self.prepare(context) if context.outputs else None

        def commit() -> None:
            if self._outlet is not None:
                self._outlet.retire()
                self._retired.append(self._outlet)
            self._open(prepared)

        return commit

    @hookimpl
    def ids_event_types(self) -> set[str]:
        """Return the types that the settings name; none where the output is off."""
        return set(self._types)

    @hookimpl
    def ids_events(self, events: Events) -> None:
        """Hand the wanted events over."""
        if self._retired:
            self._retired = [outlet for outlet in self._retired if not outlet.retired()]
        if self._outlet is not None:
            self._outlet.put(events.lines(self._types))

    @hookimpl
    def ids_stop(self) -> None:
        """Close the output."""
        for outlet in self._retired:
            outlet.close()
        self._retired.clear()
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None

    def _open(self, prepared: tuple[Callable[[], Outlet], frozenset[str]] | None) -> None:
        self._types = frozenset() if prepared is None else prepared[1]
        self._outlet = None if prepared is None else prepared[0]()
