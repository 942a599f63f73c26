"""Worker processes: what they send arrives, what ends them is named, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection

import pytest

from ids.errors import Location, RuleError, RulesRefused
from ids.events import Events
from ids.flow.share import Share
from ids.inspection import Findings
from ids.workers import MAX_WORKERS, Body, Report, Worker, report, worker_count
from tests.factory import make_match

Start = Callable[[Body], Worker]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start workers, the second of three each; end them with the test."""
    with ExitStack() as stack:

        def started(body: Body) -> Worker:
            worker = Worker(Share(1, 3), body)
            stack.callback(worker.end, 0.0)
            return worker

        yield started


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be collected does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_findings_arrive_as_they_were_sent(start: Start) -> None:
    event = {"event_type": "flow", "n": 1}

    def body(share: Share, line: Connection) -> None:
        found = Findings(matches=[make_match()], flows=Events([event]), ended=[7])
        report(line, Report(found, answer=share, counters={"flow.total": 3}))

    worker = start(body)
    got = worker.receive()
    assert got.found is not None
    (match,), expected = got.found.matches, make_match()
    assert (match.signature, match.evidence, match.number) == (expected.signature, expected.evidence, expected.number)
    assert (match.flow.src_ip, match.flow.dport) == (expected.flow.src_ip, expected.flow.dport)
    assert (list(got.found.flows), got.found.ended, got.answer) == ([event], [7], Share(1, 3))
    assert worker.counters == {"flow.total": 3}
    with pytest.raises(EOFError):
        worker.receive()


def test_a_worker_hears_what_it_is_sent(start: Start) -> None:
    def body(share: Share, line: Connection) -> None:
        report(line, Report(answer=line.recv()))

    worker = start(body)
    worker.send(("prepare", 7))
    assert worker.receive().answer == ("prepare", 7)
    assert soon(lambda: not worker.alive)
    worker.send(("stop",))  # to one that is gone: nothing


def test_what_ends_a_worker_is_named(start: Start) -> None:
    def body(share: Share, line: Connection) -> None:
        raise ValueError("a fault of ours")

    with pytest.raises(RuntimeError, match=r"(?s)worker 1: ValueError\('a fault of ours'\).*Traceback"):
        start(body).receive()


def test_an_error_for_the_user_comes_as_it_is(start: Start) -> None:
    refused = RulesRefused([RuleError("no sid", Location("r.yaml", 3, 1), "add one")])

    def body(share: Share, line: Connection) -> None:
        raise refused

    with pytest.raises(RulesRefused) as caught:
        start(body).receive()
    assert str(caught.value) == str(refused) == "r.yaml:3:1: no sid (add one)"


def idle(share: Share, line: Connection) -> None:
    report(line, Report(answer="ready"))
    time.sleep(240)


def test_a_killed_worker_is_noticed(start: Start) -> None:
    worker = start(idle)
    assert worker.receive().answer == "ready"
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(EOFError):
        worker.receive()


def test_a_worker_is_deaf_to_the_signals_of_the_terminal(start: Start) -> None:
    """Who stops the engine stops the workers by it, after they have inspected what they have."""
    worker = start(idle)
    worker.receive()
    assert worker.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(worker.pid, number)
    time.sleep(0.1)
    assert worker.alive


def test_the_patience_with_a_worker_ends(start: Start) -> None:
    worker = start(idle)
    worker.receive()
    started = time.monotonic()
    worker.end(0.1)
    assert time.monotonic() - started < 60
    assert worker.pid is not None
    assert not alive(worker.pid)


def test_workers_end_when_nobody_listens_any_more(start: Start) -> None:
    """Each by itself: none holds the line of another open, nor its own."""

    def body(share: Share, line: Connection) -> None:
        while True:
            report(line, Report(answer=bytes(4096)))

    first, second, third = start(body), start(body), start(body)
    for worker in (second, first, third):
        worker.line.close()
        assert soon(lambda worker=worker: not worker.alive)  # type: ignore[misc]


def test_a_worker_does_not_outlive_its_parent() -> None:
    program = """
        import time
        from ids.flow.share import Share
        from ids.workers import Worker, report, Report
        def body(share, line):
            report(line, Report(answer="ready"))
            time.sleep(240)
        workers = [Worker(Share(number, 2), body) for number in range(2)]
        for worker in workers:
            worker.receive()
        print(*[worker.pid for worker in workers], flush=True)
        time.sleep(240)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    assert soon(lambda: not any(map(alive, pids)))


def test_the_number_of_workers() -> None:
    assert worker_count(3) == 3
    assert worker_count("auto") == min(len(os.sched_getaffinity(0)), MAX_WORKERS)
