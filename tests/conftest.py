"""What holds for the whole suite: who may run what."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings

from tests.order import spread

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ids", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("ids")
"""No deadline: how long a test takes says more of what else the machine does than of the code. The same examples each
time, so that what fails is what was changed; ``--hypothesis-profile explore`` looks for others."""


@pytest.fixture(scope="session", autouse=True)
def a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is compiled for this run alone, all processes of it together: the user's cache gets nothing of the
    thousands of rules that tests make up, and no run depends on an earlier one."""
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder))
        yield


@pytest.fixture(scope="session", autouse=True)
def a_compiler_for_all() -> Iterator[None]:
    """Start the children that compile regexes and load scripts once: that takes fifty times as long as what most tests
    ask of them.
    """
    from ids.rules.model.lua import LOADER  # imported late, as below
    from ids.rules.model.scanning import COMPILER

    with pytest.MonkeyPatch.context() as patch:
        for child in (COMPILER, LOADER):
            patch.setattr(child, "lasting", True)
        yield
    COMPILER.close()
    LOADER.close()


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_of_commands() -> Iterator[None]:
    """Undo what a command that was run in this process has set for a process of its own: its niceness; and that what
    was alive at its start is never looked at again for garbage (`ids.engine.settle_memory`). Ten thousand tests later
    that is gigabytes."""
    thresholds, niceness = gc.get_threshold(), os.nice(0)
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    if os.nice(0) > niceness:
        with suppress(OSError):  # who is not root cannot go back
            os.setpriority(os.PRIO_PROCESS, 0, niceness)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files, and skip what this machine does not allow, saying why."""
    items[:] = spread(items, lambda item: str(item.path), _is_early)
    wanting = [item for item in items if item.get_closest_marker("root")]
    reason = _obstacles() if wanting else ""
    for item in wanting:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def _is_early(item: pytest.Item) -> bool:
    """Return whether a test waits, for the network or the kernel, or takes long: its file is not to be the last."""
    return any(item.get_closest_marker(name) for name in ("root", "long"))


def _obstacles() -> str:
    """Say what keeps this machine from running programs in the kernel; nothing where all is well."""
    from ids.doctor import Status  # imported late, so that a fault in the package fails its tests and not all of them
    from ids.doctor.lab import check_lab
    from ids.doctor.machine import Machine

    failed = [check for check in check_lab(Machine()) if check.status is Status.FAIL]
    return "; ".join(f"{check.name}: {check.found} (see `ids doctor --lab`)" for check in failed)
