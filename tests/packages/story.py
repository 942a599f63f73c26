"""The steps in their order, each timed: the sections of docs/service.md, and between them what they leave out."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.packages import trials
from tests.packages.page import sections
from tests.packages.scene import Scene
from tests.packages.walk import Walk

Trial = Callable[[Scene], None]
STEPS: tuple[str | Trial, ...] = (
    "Install", "Write the settings", "Start", trials.privileges, "Let it drop", "Attack it", "Ask why",
    "It was a false positive", "Watch it", "Upgrade", trials.refused_upgrade, trials.rotate, trials.refused_reload,
    trials.watchdog, trials.second_instance, "Reboot", trials.power_cut, trials.interface_returns, "Remove",
)  # fmt: skip
"""Titles of the walk-through's sections, and trials."""


def title_of(step: str | Trial) -> str:
    """Return what a step is called."""
    return step if isinstance(step, str) else step.__name__.replace("_", " ").capitalize()


def run(scene: Scene) -> dict[str, float]:
    """Do all steps; return the seconds of each. Raises `Failed`."""
    walk, page, times = Walk(scene), sections(), {}
    for step in STEPS:
        begin = time.monotonic()
        if isinstance(step, str):
            getattr(walk, step.lower().replace(" ", "_"))(page[step])
        else:
            step(scene)
        times[title_of(step)] = time.monotonic() - begin
        print(f"  {title_of(step):24} {times[title_of(step)]:6.1f} s", flush=True)
    return times
