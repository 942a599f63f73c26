"""The file system on which BPF objects stay when their program ends."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ids.errors import KernelError

log = logging.getLogger(__name__)

_BPF_FS_MAGIC = 0xCAFE4A11
_STATFS_BYTES = 256
_FLOCK = "hhqqi4x"
"""struct flock: type, whence, start, length, owner (fcntl(2))."""
TURN_S = 30.0
"""How long who changes a list as a whole waits for others who do: a million entries take seconds."""
_libc = ctypes.CDLL(None, use_errno=True)


def is_bpffs(path: Path) -> bool:
    """Return whether ``path``, or its nearest parent that exists, lies on a bpffs (statfs(2), BPF_FS_MAGIC)."""
    while not path.exists() and path != path.parent:
        path = path.parent
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.statfs(os.fsencode(path), buffer):
        return False
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF == _BPF_FS_MAGIC


def mount_bpffs(path: Path) -> None:
    """Mount a bpffs at ``path``, making the folder where it can be made; raises `KernelError`."""
    path.mkdir(parents=True, exist_ok=True)
    if _libc.mount(b"bpf", os.fsencode(path), b"bpf", 0, None):
        number = ctypes.get_errno()
        raise KernelError(
            f"cannot mount a bpffs at {path}: {os.strerror(number)}", f"Run as root: mount -t bpf bpf {path}"
        )


def prepare_pin_dir(pin_dir: Path) -> None:
    """Make the folder for the pins; raises `KernelError` where that is not on a bpffs.

    ``ip netns exec`` hides what is mounted under /sys: inside of it a bpffs elsewhere is needed, such as /run/ids/bpf.
    """
    if not is_bpffs(pin_dir):
        raise KernelError(
            f"{pin_dir} is not on a bpffs, so nothing pinned there would outlive the engine",
            "Mount one (mount -t bpf bpf /sys/fs/bpf), or set `pin_dir` to a folder on one",
        )
    try:
        pin_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KernelError(f"cannot make {pin_dir}: {error.strerror}", "Run as root") from None


@contextmanager
def locked(pin_dir: Path) -> Iterator[None]:
    """Hold the lock that all who change the lists of one instance share; processes wait for each other."""
    descriptor = os.open(pin_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def in_turn(pin_dir: Path) -> Iterator[None]:
    """Wait for whoever else changes lists as a whole, and hold them up: each compares what it found with what it wants.

    The lock is the folder of all instances, for `locked` has that of one, and is not to be waited for so long. Somebody
    may have stopped the process that has it, so after `TURN_S` it goes without.
    """
    descriptor = os.open(pin_dir.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        until = time.monotonic() + TURN_S
        while not (mine := _taken(descriptor)) and time.monotonic() < until:
            time.sleep(0.02)
        if not mine:
            log.warning(
                "another change of a whole list under %s has not ended within %g s: this one goes on beside it, and"
                " either may undo what the other writes; look for an `ids` that was stopped, and import anew",
                pin_dir.parent, TURN_S,
            )  # fmt: skip
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def at_work(pin_dir: Path) -> Iterator[None]:
    """Show while it lasts that the lists of an instance are being changed; nobody waits, and a death ends it too."""
    descriptor = os.open(pin_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))
        yield
    finally:
        os.close(descriptor)


def is_at_work(pin_dir: Path) -> bool:
    """Return whether anybody, in any process, is `at_work` on the lists of an instance."""
    descriptor = os.open(pin_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        held: int = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0]
    finally:
        os.close(descriptor)
    return held != fcntl.F_UNLCK
