"""One look at an instance from outside: what the kernel has counted, how full its rings are, what its engine answers.

The kernel answers always; an engine that hangs, or is not there, costs its part alone. For `ids top`, the console and
its metrics, which all show the same numbers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from ids.config import Config
from ids.control import request, socket_path
from ids.errors import IdsError, KernelError, NotRunning
from ids.kernel.instance import guarded_interfaces, instance_dir
from ids.kernel.maps.counts import pinned_counts, pinned_heartbeat_age_s, pinned_shadow
from ids.kernel.rings.fill import RingFill, pinned_fill
from ids.respond.uninspected import flat

ANSWER_S = 0.6
"""How long the engine may take to answer: whoever scrapes is to have the kernel's counters within a second."""

FRESH_S = 0.5
"""How long a look is good for: however many ask, the engine answers twice a second at most."""


_Seen = TypeVar("_Seen")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was seen at one moment."""

    taken_ns: int
    """UNIX time."""
    kernel: dict[str, tuple[int, int]] | None = None
    """(packets, bytes) of each of the kernel's counters; None: there is no fast path, or we may not read it."""
    interfaces: tuple[str, ...] = ()
    """Those that have the program."""
    shadow: bool = False
    heartbeat_age_s: float | None = None
    """Since the engine last showed the kernel that it lives; None: no engine ever did."""
    rings: tuple[RingFill, ...] = ()
    engine: dict[str, Any] | None = None
    """The answer to `stats`; None: there was none."""
    problem: str = ""
    """Why there is no answer, or nothing of the kernel's."""
    counters: dict[str, int] = field(default_factory=dict)
    """All counters by their dotted names: the engine's, and those of the kernel as they are now."""

    @property
    def up(self) -> bool:
        """Whether the engine answered."""
        return self.engine is not None


def take_snapshot(config: Config, answer_s: float = ANSWER_S) -> Snapshot:
    """Look at the instance that the settings name. Never raises for what is not there or does not answer."""
    pins = instance_dir(config.fastpath, config.instance)
    problems: list[str] = []
    found: dict[str, Any] = {}
    try:
        found = kernel_side(pins)
    except (KernelError, OSError) as error:
        problems.append(str(error))
    engine: dict[str, Any] | None = None
    try:
        engine = request(socket_path(config.engine.runtime_dir, config.instance), "stats", answer_s)
        if not isinstance(engine.get("ids"), dict):
            problems.append(f"the engine answered with no counters: {engine.get('error', '?')}")
            engine = None
    except NotRunning:
        problems.append("no engine is running: the gate works alone" if found.get("interfaces") else "nothing runs")
    except (IdsError, OSError) as error:
        problems.append(str(error))
    counters = {} if engine is None else flat(engine["ids"])
    for name, (packets, size) in (found.get("kernel") or {}).items():
        counters[f"kernel.{name}.packets"], counters[f"kernel.{name}.bytes"] = packets, size
    return Snapshot(time.time_ns(), **found, engine=engine, problem="; ".join(problems), counters=counters)


def kernel_side(pins: Path) -> dict[str, Any]:
    """Return what the kernel knows without an engine, by fields of `Snapshot`; raises `KernelError` or `OSError`."""
    return {
        "kernel": pinned_counts(pins),
        "interfaces": tuple(guarded_interfaces(pins)),
        "shadow": pinned_shadow(pins),
        "heartbeat_age_s": pinned_heartbeat_age_s(pins),
        "rings": tuple(pinned_fill(pins)),
    }


class Watcher(Generic[_Seen]):
    """Takes a look for many who ask at once: one serves all who come while it is fresh."""

    def __init__(self, take: Callable[[], _Seen], fresh_s: float = FRESH_S) -> None:
        self._take = take
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._latest: list[_Seen] = []
        self._taken_s = 0.0

    def look(self) -> _Seen:
        """Return a look that is no older than ``fresh_s``; whoever comes while one is taken waits for it."""
        with self._lock:
            if not self._latest or time.monotonic() - self._taken_s > self._fresh_s:
                self._latest = [self._take()]
                self._taken_s = time.monotonic()
            return self._latest[0]
