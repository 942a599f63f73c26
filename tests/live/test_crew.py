"""Live workers that do not come to life: the start is refused, and no process stays behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pathlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from ids import hookimpl, workers
from ids.config import Config
from ids.counters import Counters
from ids.engine import Engine
from ids.errors import IdsError, KernelError, UsageError
from ids.live.crew import Workers, make_crew
from ids.live.opening import _claim
from ids.plugin.host import PluginHost
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


class Quiet(Path):
    """A fast path on whose rings nothing comes."""

    class Rings:
        """Empty."""

        def poll(self, timeout_s: float) -> None:
            """Wait."""
            time.sleep(min(timeout_s, 0.02))

    def __init__(self) -> None:
        super().__init__(refuse)

    def reader(self, worker: int) -> Any:
        """Open the rings of a worker."""
        return self.Rings()


@pytest.fixture
def crew(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setattr("ids.live.crew.TICK_S", 0.05)
    monkeypatch.setattr("ids.live.crew.RESTART_S", 0.0)
    crew = make_crew(engine, Quiet(), 2)  # type: ignore[arg-type]
    assert isinstance(crew, Workers)
    yield crew
    crew.drain()
    assert multiprocessing.active_children() == []


def hang_one() -> int:
    """Stop a worker; return its process id."""
    pid = multiprocessing.active_children()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_a_worker_that_hangs_is_started_again(
    crew: Workers, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ids.live.crew.SILENT_S", 5.0)
    crew.work(0.1)
    hung = hang_one()
    deadline = time.monotonic() + 120
    while not engine.counters["engine.workers_restarted"] and time.monotonic() < deadline:
        crew.work(0.1)
    crew.work(0.1)
    assert "has ended: it has been silent for 5 s" in caplog.text
    assert hung not in {child.pid for child in multiprocessing.active_children()}
    assert len(multiprocessing.active_children()) == 2
    assert engine.counters["engine.workers_restarted"] == 1


def test_a_reload_does_not_wait_for_a_worker_that_hangs_and_goes_on_meanwhile(
    crew: Workers, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ids.live.crew.ANSWER_S", 5.0)
    hung, beats = hang_one(), 0

    def go_on() -> bool:
        nonlocal beats
        beats += 1
        return True

    assert crew.reload(engine.config, go_on) == []
    assert beats > 2
    crew.work(0.1)
    assert hung not in {child.pid for child in multiprocessing.active_children()}
    assert crew.reload(engine.config, go_on) == []


def test_a_reload_names_what_fails_in_a_worker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded is put in force in each process; by the answer of the reload all have done that."""
    monkeypatch.setattr("ids.live.crew.TICK_S", 0.05)
    decides = os.getpid()

    def commit() -> None:
        if os.getpid() != decides:
            raise MemoryError("none is left")

    class Greedy:
        """A plugin that has no room in a worker."""

        @hookimpl
        def ids_reload(self) -> Callable[[], None]:
            return commit

    host = PluginHost(Counters())
    host.register("greedy", Greedy())
    config = Config.model_validate({"rules": {"paths": []}})
    engine = Engine(config, ReplayGate(), live=True, plugins=host)
    crew = make_crew(engine, Quiet(), 2)  # type: ignore[arg-type]
    try:
        assert crew.reload(config, lambda: True) == []
        named = sorted(map(str, engine.unfinished))
    finally:
        crew.drain()
    assert [name.partition(" in force")[0] for name in named] == [
        f"worker {number}: plugin greedy failed to put" for number in (0, 1)
    ]


def test_a_reload_gives_way_to_a_stop(crew: Workers, engine: Engine) -> None:
    hang_one()
    assert [str(error) for error in crew.reload(engine.config, lambda: False)] == ["the engine stops"]
    for child in multiprocessing.active_children():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGCONT)


def test_two_engines_do_not_work_with_the_same_pins() -> None:
    pins = pathlib.Path(f"/sys/fs/bpf/a-test-{os.getpid()}")
    with (
        contextlib.closing(_claim(pins)),
        pytest.raises(UsageError, match=f"another engine works with {pins}"),
    ):
        _claim(pins)
    _claim(pins).close()
