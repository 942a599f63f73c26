"""What the engine gives a plugin when it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ids.config import Config
from ids.counters import Counters
from ids.types import Asked, FlowColumns, FlowPlace

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class EngineContext:
    """Settings and counters for one plugin; handed to ``ids_start`` and ``ids_reload``."""

    config: Config
    """The engine's settings, as they are after the reload in the case of ``ids_reload``."""
    counters: Counters
    """The engine's counters; a plugin adds under its own name, ``plugin.<name>.…``."""
    options: Mapping[str, Any]
    """The plugin's own settings: ``plugins.options.<name>`` of the configuration, checked by nobody else."""
    flows: FlowColumns
    """All flows, in columns."""
    live: bool = False
    """Packets come from interfaces, and do not wait."""
    outputs: bool = True
    """Events come to this process: outputs open their files only then."""
    go_on: Callable[[], bool] | None = None
    """In ``ids_reload`` of a live engine: takes on the packets that have come, and returns False where the engine is to
    stop. To be called several times a second by a plugin that loads for long, in a thread of its own."""
    asked: Asked = field(default_factory=Asked)
    """Where a plugin says which buffers of files it asks for (``asked.say("name", ["file.sha256"])``), for these are
    made only then; in ``ids_reload`` to be said when the reload is in force."""

    def flow_place(self, make: Callable[[], State]) -> FlowPlace[State]:
        """Return a typed place for what the plugin keeps of flows; what it keeps of a flow goes with the flow.

        ``make`` makes what ``place.of(flow)`` returns when it is asked for the first time. Ask once, in ``ids_start``.
        """
        return self.flows.place(make)
