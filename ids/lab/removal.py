"""How labs are found, and how they go away: by their names, whoever made them and however that one ended.

A lab is known by its name, ``ids-lab-<pid>-<n>``, alone: its namespaces, its directory and its mount are all found from
it, so that what an owner left that was killed can be tidied up by the next one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ids.lab.namespace import NETNS_DIR, run_command

KEEP_MARK = "keep"
"""A file of this name in a lab's directory keeps `remove_stale` away from it."""
GRACE_S = 5.0
"""How long a process may take to end when asked, before it is killed."""

_NAME = re.compile(r"ids-lab-(?P<pid>\d+)-\d+")


def remove(name: str) -> None:
    """Take away everything of a lab; of one that does not exist, nothing, without complaint."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no lab's name")
    with _one_at_a_time():
        _end(_processes_of(name))
        directory = lab_directory(name)
        pins = directory / "bpf"
        if os.path.ismount(pins):
            run_command(("umount", "--lazy", str(pins)))
        for namespace in _namespaces_of(name):
            run_command(("ip", "netns", "delete", namespace))
        if directory.is_dir() and not directory.is_symlink():
            shutil.rmtree(directory)


def remove_stale() -> list[str]:
    """Remove the labs whose owners are gone, except kept ones; return their names."""
    gone = []
    for name in labs():
        match = _NAME.fullmatch(name)
        owner_lives = match is not None and Path("/proc", match["pid"]).exists()
        if not owner_lives and not (lab_directory(name) / KEEP_MARK).exists():
            remove(name)
            gone.append(name)
    return gone


def labs() -> list[str]:
    """Name all labs of which anything exists."""
    found = set()
    for parent in (NETNS_DIR, Path(tempfile.gettempdir())):
        for path in parent.glob("ids-lab-*"):
            match = _NAME.match(path.name)
            if match is not None:
                found.add(match[0])
    return sorted(found)


def leftovers(name: str) -> list[str]:
    """Name the namespaces, processes, pins and files of a lab that exist right now."""
    directory = lab_directory(name)
    found = [f"namespace {namespace}" for namespace in _namespaces_of(name)]
    found += [f"process {pid}" for pid in _processes_of(name)]
    found += [f"bpffs {directory / 'bpf'}"] if os.path.ismount(directory / "bpf") else []
    found += [f"directory {directory}"] if directory.exists() else []
    return found


def wait_until(condition: Callable[[], bool], timeout_s: float, interval_s: float = 0.01) -> bool:
    """Ask again and again until ``condition`` holds (True) or the time is over (False)."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True


def lab_directory(name: str) -> Path:
    """Return where the private files of a lab are, or would be."""
    return Path(tempfile.gettempdir()) / name


def _namespaces_of(name: str) -> list[str]:
    return sorted(path.name for path in NETNS_DIR.glob(f"{name}-*"))


def _processes_of(name: str) -> list[int]:
    """Process ids in the namespaces of a lab: they were started there by the lab, or by whoever entered it."""
    pids: set[int] = set()
    for namespace in _namespaces_of(name):
        pids.update(int(pid) for pid in run_command(("ip", "netns", "pids", namespace)).split())
    return sorted(pids - {os.getpid()})


def _end(pids: Sequence[int]) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            if _lives(pid):
                os.kill(pid, signum)
        if wait_until(lambda: not any(_lives(pid) for pid in pids), GRACE_S):
            return


def _lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep others from removing at the same time: two new labs may find the same stale one."""
    directory = os.open(tempfile.gettempdir(), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)
