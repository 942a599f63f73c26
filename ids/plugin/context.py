"""What the engine gives a plugin when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ids.counters import Counters

if TYPE_CHECKING:
    from ids.config import Config


@dataclass(frozen=True, slots=True)
class EngineContext:
    """Settings and counters for one plugin; handed to ``ids_start`` and ``ids_reload``."""

    config: Config
    """The engine's settings, as they are after the reload in the case of ``ids_reload``."""
    counters: Counters
    """The engine's counters; a plugin adds under its own name, ``plugin.<name>.…``."""
    options: Mapping[str, Any]
    """The plugin's own settings: ``plugins.options.<name>`` of the configuration, checked by nobody else."""
