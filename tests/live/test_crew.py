"""Live workers that do not come to life: the start is refused, and no process stays behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from ids import workers
from ids.config import Config
from ids.engine import Engine
from ids.errors import IdsError, KernelError
from ids.live.crew import make_crew
from ids.replay import ReplayGate
from ids.replay.crew import Crew


class Path:
    """A fast path whose rings come to nothing in the second worker."""

    worker_seed = 7

    def __init__(self, fail: Callable[[], NoReturn]) -> None:
        self._fail = fail

    def reader(self, worker: int) -> Any:
        """Open the rings of a worker."""
        if worker == 1:
            self._fail()
        return None


def refuse() -> NoReturn:
    raise KernelError("the ring is another's", "stop the other engine")


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.fixture
def engine() -> Engine:
    return Engine(Config.model_validate({"rules": {"paths": []}}), ReplayGate(), live=True)


@pytest.mark.parametrize(
    ("fail", "error", "words"),
    [
        (refuse, KernelError, "the ring is another's. stop the other engine"),
        (die, IdsError, "a worker died at its start"),
    ],
)
def test_a_worker_that_cannot_start_refuses_the_start(
    engine: Engine, fail: Callable[[], NoReturn], error: type[IdsError], words: str
) -> None:
    with pytest.raises(error, match=words):
        make_crew(engine, Path(fail), 3)  # type: ignore[arg-type]
    assert multiprocessing.active_children() == []


def test_where_no_more_processes_are_to_be_had_none_stays(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[workers.Worker] = []

    class Worker(workers.Worker):
        """The third cannot be forked."""

        def __init__(self, *arguments: Any) -> None:
            if len(made) == 2:
                raise BlockingIOError("no more processes")
            made.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(workers, "Worker", Worker)
    for start in (lambda: make_crew(engine, Path(refuse), 3), lambda: Crew(engine, [], 3)):  # type: ignore[arg-type]
        made.clear()
        with pytest.raises(BlockingIOError):
            start()
        assert len(made) == 2
        assert multiprocessing.active_children() == []
