"""Shares the tests of rules out over processes, each with engines of its own.

A test says nothing of the next, so it does not matter who runs it. A few tests with all their evasions are one order;
what is made of a test, its packets, never leaves its process.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from ids.authoring.proving import OnProgress, Proof, Verdict, Ways, prove, says_it_otherwise
from ids.config import Config
from ids.errors import IdsError

EVASIONS = 240
"""Captures of a test with evasions, about: what makes orders alike in length."""

ORDER = 1000
"""Captures of an order, about: five seconds, of which the engine's start is a twentieth."""

LOOK_S = 0.2
"""How often progress is looked at."""

_Row = tuple[Any, ...]
"""A verdict without its proof, which the parent has: its place comes first."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What every process has from its parent."""

    proofs: Sequence[Proof]
    config: Config
    ways: Ways
    through: Any
    """Tests that are through, by order; in memory that all share."""


_work: _Work | None = None
"""Set in the processes alone."""


def prove_shared(
    proofs: Sequence[Proof], config: Config, ways: Ways, workers: int, on_progress: OnProgress | None = None
) -> Iterator[Verdict]:
    """Run tests as `prove` does, in ``workers`` processes; the verdicts come in the order of the tests.

    ``on_progress`` is called several times a second. Raises what `prove` does, and `IdsError` where a process ends.
    """
    orders = list(_orders(proofs, ways))
    if workers < 2 or len(orders) < 2:
        yield from prove(proofs, config, ways, on_progress)
        return
    context = multiprocessing.get_context("fork")
    through = context.RawArray("I", len(orders))
    work = _Work(proofs, config, ways, through)
    with ProcessPoolExecutor(min(workers, len(orders)), context, _begin, (work,)) as pool:
        with warnings.catch_warnings():
            # Python warns of a fork beside threads. All that a child takes of its parent is what is in `_Work`.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            pending = [pool.submit(_carry_out, number, order) for number, order in enumerate(orders)]
        try:
            for future in pending:
                while not future.done():
                    wait([future], LOOK_S, FIRST_COMPLETED)
                    if on_progress is not None:
                        on_progress(sum(through))
                yield from (Verdict(proofs[place], *row) for place, *row in future.result())
        except BrokenProcessPool:
            raise IdsError("a process that ran tests has ended; is memory left? --workers 1 takes less") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _orders(proofs: Sequence[Proof], ways: Ways) -> Iterator[range]:
    """Yield runs of tests that take about as long as each other."""
    start = size = 0
    for place, proof in enumerate(proofs):
        size += 1
        if says_it_otherwise(proof, ways.families):
            size += EVASIONS if ways.sample is None else ways.sample
        if size >= ORDER:
            yield range(start, place + 1)
            start, size = place + 1, 0
    if size:
        yield range(start, len(proofs))


def _begin(work: _Work) -> None:
    global _work
    _work = work


def _carry_out(number: int, order: range) -> list[_Row]:
    work = _work
    assert work is not None
    places = {id(work.proofs[place]): place for place in order}

    def note(through: int) -> None:
        work.through[number] = through

    return [
        (
            places[id(verdict.proof)], verdict.expected, verdict.got, verdict.held, verdict.seconds, verdict.evasion,
            verdict.note, verdict.skipped,
        )
        for verdict in prove([work.proofs[place] for place in order], work.config, work.ways, note)
    ]  # fmt: skip


def every(seconds: float, then: Callable[[int], None]) -> OnProgress:
    """Return what calls ``then`` with the progress, at most so often; for a log, where nothing is drawn over."""
    last = time.monotonic()

    def note(through: int) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            then(through)

    return note
