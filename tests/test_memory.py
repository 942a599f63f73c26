"""Memory that nobody needs any more goes back to the system; what is needed stays as it is."""

from __future__ import annotations

import gc
import mmap
import pickle
import platform
import subprocess
import sys
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids import memory
from ids.memory import TRIM_S, Trimmer, empty, passing, trim
from ids.respond.community_id import community_id
from ids.respond.events import second
from ids.types.addresses import address_text
from tests.factory import make_flow


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_what_a_crowd_took_is_given_back() -> None:
    column = np.ones((1 << 20, 2), np.int64)
    unused = np.ones(len(column), np.bool_)
    unused[[3, 500_000]] = False
    trim()
    before = resident_pages()
    empty([column], unused)
    trim()  # what looking for it took
    assert before - resident_pages() > 0.5 * column.nbytes / mmap.PAGESIZE
    assert (column[~unused] == 1).all()


@given(st.integers(1, 3000), st.sampled_from([np.uint8, np.uint16, np.int64]), st.integers(1, 3), st.data())
def test_rows_in_use_keep_what_they_hold_and_the_others_hold_it_or_zero(
    rows: int, kind: type, width: int, data: st.DataObject
) -> None:
    used = data.draw(st.sets(st.integers(0, rows - 1), max_size=3))
    unused = np.ones(rows, np.bool_)
    unused[list(used)] = False
    column: np.ndarray[Any, Any] = np.full((rows, width), 7, kind)
    empty([column], unused)
    assert (column[~unused] == 7).all()
    assert np.isin(column, (0, 7)).all()


def test_a_view_of_others_memory_is_left_alone() -> None:
    whole = np.ones((1 << 16, 2), np.int64)
    empty([whole[:, 0]], np.ones(len(whole), np.bool_))
    empty([whole[::2]], np.ones(len(whole) // 2, np.bool_))
    assert (whole == 1).all()


def test_the_allocator_is_asked_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(memory, "trim", lambda: asked.append(True))
    trimmer = Trimmer(0.0)
    seen = []
    for now_s in (0.0, TRIM_S - 1, TRIM_S, TRIM_S + 1, 2 * TRIM_S + 1):
        trimmer.tick(now_s)
        seen.append(len(asked))
    assert seen == [0, 0, 1, 1, 2]


def test_trimming_leaves_everything_as_it_is() -> None:
    kept = [bytes([number % 256]) * number for number in range(2000)]
    memory.trim()
    assert all(text == bytes([number % 256]) * number for number, text in enumerate(kept))


def test_caches_of_what_traffic_brings_are_emptied() -> None:
    @passing
    @lru_cache(maxsize=4)
    def brought(number: int) -> list[int]:
        return [number]

    @lru_cache(maxsize=4)
    def known(number: int) -> list[int]:
        return [number]

    one, two = brought(1), known(1)
    assert brought(1) is one
    trim()
    assert brought(1) == one
    assert brought(1) is not one
    assert known(1) is two


@pytest.mark.parametrize("cache", [address_text, community_id, second])
def test_what_is_spelt_of_senders_is_a_passing_cache(cache: Any) -> None:
    spelt = {address_text: ((0, 1),), community_id: ((0, 1), (0, 2), 3, 4, 6), second: (7,)}
    cache(*spelt[cache])
    assert cache.cache_info().currsize
    trim()
    assert not cache.cache_info().currsize


HEAPS = """
import sys, threading
from ids.memory import one_heap
if sys.argv[1] == "one":
    one_heap()
barrier = threading.Barrier(4)
def work():
    kept = [bytearray(1000) for _ in range(100)]
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
lines = [line.split() for line in open("/proc/self/maps")]
reserved = [line[0].split("-") for line in lines if line[1] == "---p" and len(line) == 5]
print(sum(int(end, 16) - int(begin, 16) > 60 << 20 for begin, end in reserved))
"""


def test_threads_allocate_in_one_heap() -> None:
    """What a heap of a thread's own reserves shows in the process's map."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc has heaps of threads")
    reserved = {
        how: int(subprocess.run([sys.executable, "-c", HEAPS, how], capture_output=True, check=True).stdout)
        for how in ("one", "many")
    }
    assert reserved["one"] == 0 < reserved["many"]


def test_what_lives_in_cycles_alone_is_freed() -> None:
    class Node:
        other: Node

    one, two = Node(), Node()
    one.other, two.other = two, one
    kept = weakref.ref(one)
    del one, two
    trim()
    assert kept() is None


def test_a_flow_from_another_process_waits_for_no_collector() -> None:
    """Each has kilobytes of columns, and the collector goes by numbers of objects."""
    gc.collect()
    gc.disable()
    try:
        columns = weakref.ref(pickle.loads(pickle.dumps(make_flow())).columns)
        assert columns() is None
    finally:
        gc.enable()
