"""What holds for the whole suite: who may run what."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ids", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ids")  # how long a test takes says more of what else the machine does than of the code


@pytest.fixture(scope="module", autouse=True)
def garbage_is_found() -> Iterator[None]:
    """Undo what a command that was run in this process has set for a process of its own: what was alive at its start
    is never looked at again for garbage (`ids.engine.settle_memory`). Ten thousand tests later that is gigabytes."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine does not allow, saying why."""
    wanting = [item for item in items if item.get_closest_marker("root")]
    reason = _obstacles() if wanting else ""
    for item in wanting:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def _obstacles() -> str:
    """Say what keeps this machine from running programs in the kernel; nothing where all is well."""
    from ids.doctor import Status  # imported late, so that a fault in the package fails its tests and not all of them
    from ids.doctor.lab import check_lab
    from ids.doctor.machine import Machine

    failed = [check for check in check_lab(Machine()) if check.status is Status.FAIL]
    return "; ".join(f"{check.name}: {check.found} (see `ids doctor --lab`)" for check in failed)
