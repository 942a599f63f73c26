"""Capabilities that are given up are gone, for what is started too; in children of this process: it keeps its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress

import pytest

from ids.service.privileges import ENGINE, NUMBERS, WORKER, held, keep_only

ALL = sum(1 << bit for bit in NUMBERS.values())


def in_a_child(body: Callable[[], int]) -> int:
    """Return what ``body`` returns in a fork; its low byte."""
    child = os.fork()
    if not child:
        code = 255
        with suppress(BaseException):
            code = body()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def status(field: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith(field))


def test_what_is_held_is_what_the_kernel_says() -> None:
    assert held() == status("CapEff:")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or held() & ALL != ALL, reason="needs root's capabilities")
@pytest.mark.parametrize("names", [ENGINE, WORKER])
def test_only_what_is_named_is_left(names: tuple[str, ...]) -> None:
    wanted = sum(1 << NUMBERS[name] for name in names)

    def body() -> int:
        keep_only(names)
        left = {status(field) for field in ("CapEff:", "CapPrm:")}
        return left != {wanted} or status("CapInh:") or status("CapAmb:") or status("NoNewPrivs:") != 1

    assert in_a_child(body) == 0


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_program_of_root_gets_nothing_back() -> None:
    def body() -> int:
        keep_only(WORKER)
        shown = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
        return int(next(line.split()[1] for line in shown.splitlines() if line.startswith("CapEff:")), 16) != 0

    assert in_a_child(body) == 0


def test_what_is_not_held_is_not_gained() -> None:
    def body() -> int:
        keep_only(WORKER)
        keep_only(ENGINE)
        return held() != 0

    assert in_a_child(body) == 0
