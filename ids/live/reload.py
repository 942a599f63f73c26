"""What of changed settings a reload can put in force, and what it cannot: that is named, with what would."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from ids.config import Config

RESTART = "restart the engine"
FRESH = "stop the engine, `ids detach`, and start it: that opens the gate, and forgets the lists"

APPLIED = (
    "vars", "rules", "respond", "eve", "syslog", "webhook", "mail", "store", "plugins.options", "engine.bypass",
    "engine.bypass_after_bytes", "engine.bypass_unneeded",
    "engine.stats_interval_s", "engine.uninspected_log_s", "fastpath",
)  # fmt: skip
"""Settings, and sections, that take effect at once. What is in neither table needs a restart."""

RESTARTED = ("fastpath.pin_dir", "fastpath.mode", "fastpath.egress")
"""Exceptions to that."""

PINNED = re.compile(r"fastpath\.(jumbo_frames|ring_\w+_bytes|\w+_entries)")
"""And these: the kernel's tables keep their sizes while they are pinned."""


class Waiting(NamedTuple):
    """A setting that was changed, and is not in force yet."""

    setting: str
    """Its dotted name."""
    now: Any
    """What is in force."""
    wanted: Any
    needs: str
    """What would put it in force."""

    def __str__(self) -> str:
        return f"{self.setting} stays {self.now}, not {self.wanted}: {self.needs}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        answer: dict[str, Any] = json.loads(json.dumps(self._asdict(), default=str))
        return answer


def effective(old: Config, new: Config) -> tuple[Config, list[Waiting]]:
    """Return the settings that a reload from ``old`` to ``new`` leaves in force, and those that wait."""
    waiting = [
        Waiting(name, before, after, FRESH if PINNED.fullmatch(name) else RESTART)
        for name, before, after in _changes(old, new)
        if not applies(name)
    ]
    config = new
    for changed in waiting:
        config = _kept(config, old, changed.setting.split("."))
    return config, waiting


def applies(name: str) -> bool:
    """Return whether a reload puts this setting in force."""
    if name in RESTARTED or PINNED.fullmatch(name):
        return False
    return any(name == of or name.startswith(f"{of}.") for of in APPLIED)


def settings_of(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of every setting."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from settings_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _changes(old: Config, new: Config) -> Iterator[tuple[str, Any, Any]]:
    before = dict(settings_of(old))
    for name, value in settings_of(new):
        if before[name] != value:
            yield name, before[name], value


def _kept(config: Any, old: Any, path: list[str]) -> Any:
    """Return ``config`` with one setting as it is in ``old``."""
    name, *rest = path
    value = getattr(old, name)
    if rest:
        value = _kept(getattr(config, name), value, rest)
    return config.model_copy(update={name: value})
