"""`ids.service.priority`: where processors are scarce, what a gateway forwards goes first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ids.service.priority import AUTOGROUP

pytestmark = pytest.mark.skipif(
    not (AUTOGROUP.exists() and AUTOGROUP.read_text()),
    reason="this kernel does not share its time between sessions (CONFIG_SCHED_AUTOGROUP, or cgroups come first)",
)

GIVE_WAY = """
import os, sys
from pathlib import Path
from ids.service.priority import AUTOGROUP, give_way
from ids.service.privileges import ENGINE, keep_only
os.nice(int(sys.argv[2]))
exec(sys.argv[3])
give_way(int(sys.argv[1]))
print(os.getpriority(os.PRIO_PROCESS, 0), AUTOGROUP.read_text().split()[-1])
"""


def shown(niceness: int, *, before: int = 0, session: bool = True, also: str = "") -> tuple[int, int]:
    """Return what a process that gave way has itself, and what its session has; ``also`` is what it does before."""
    command = [sys.executable, "-c", GIVE_WAY, str(niceness), str(before), also]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=session, cwd=root)
    own, group = done.stdout.split()
    return int(own), int(group)


def test_a_service_gives_way_with_its_whole_session() -> None:
    assert shown(5) == (max(5, os.nice(0)), 5)


@pytest.mark.root
def test_orders_that_come_too_fast_for_the_kernel_are_given_again() -> None:
    """It takes them of root as they come, of a service with few capabilities one in a tenth of a second."""
    assert shown(5, also="AUTOGROUP.write_text('1'); keep_only(ENGINE)")[1] == 5


def test_the_session_gives_way_where_the_process_may_not() -> None:
    """As in a unit that was written before there was this setting: it allows no setpriority(2)."""
    refused = "os.setpriority = lambda *_: (_ for _ in ()).throw(PermissionError(1, 'no'))"
    assert shown(5, also=refused)[1] == 5


def test_nothing_changes_where_nothing_is_asked_for() -> None:
    assert shown(0) == (os.nice(0), 0)


@pytest.mark.root
def test_who_is_put_forward_stays_so_where_nothing_is_asked_for() -> None:
    assert shown(0, also="os.setpriority(os.PRIO_PROCESS, 0, -3)") == (-3, 0)


def test_who_waits_longer_already_is_not_put_forward() -> None:
    assert shown(5, before=7)[0] == os.nice(0) + 7
    assert shown(5, also="AUTOGROUP.write_text('15')")[1] == 15


def test_the_session_of_a_terminal_is_left_as_it_is() -> None:
    session = int(AUTOGROUP.read_text().split()[-1])
    assert shown(os.nice(0) + 2, session=False) == (os.nice(0) + 2, session)
