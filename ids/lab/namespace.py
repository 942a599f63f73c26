"""One network namespace: sockets, processes and settings in it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ids.errors import KernelError

NETNS_DIR = Path("/run/netns")

_CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
_SIOCETHTOOL = 0x8946  # include/uapi/linux/sockios.h
_OFFLOADS = {
    "tx-checksumming": 0x17,
    "scatter-gather": 0x19,
    "tso": 0x1F,
    "gso": 0x24,
    "gro": 0x2C,
}
"""ETHTOOL_S* commands, include/uapi/linux/ethtool.h. Between veth peers checksums are left out and segments merged;
switched off, the gateway sees packets as a wire has them."""
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace by name; only the network is another, files and mounts stay the caller's."""

    name: str

    @property
    def path(self) -> Path:
        """The file that stands for the namespace."""
        return NETNS_DIR / self.name

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into the namespace: sockets and processes made meanwhile belong to it for good.

        Raises:
            KernelError: the namespace does not exist or may not be entered.
        """
        with open("/proc/thread-self/ns/net", "rb") as home, _opened(self.path) as there:
            _setns(there.fileno(), self.name)
            try:
                yield
            finally:
                _setns(home.fileno(), "the namespace of the caller")

    def socket(self, family: int, kind: int, proto: int = 0) -> socket.socket:
        """Open a socket in the namespace; arguments are those of `socket.socket`."""
        with self.entered():
            return socket.socket(family, kind, proto)

    def run(self, *command: str, stdin: str = "", timeout_s: float = 20.0) -> str:
        """Run a command in the namespace to its end and return what it printed.

        Raises:
            KernelError: it failed; the message has what it said.
        """
        with self.entered():
            return run_command(command, stdin, timeout_s)

    def set_sysctl(self, name: str, value: str) -> None:
        """Write a setting below ``net.``; one that this kernel does not have is left alone."""
        path = Path("/proc/sys/net", *name.split("."))
        with self.entered():
            if path.exists():
                path.write_text(value)

    def switch_offloads_off(self, interface: str) -> None:
        """Make an interface send what a wire would carry: checksums filled in, no merged segments."""
        for name in _OFFLOADS:
            self._switch(interface, name, False)

    def leave_checksums_out(self, interface: str) -> None:
        """Make an interface leave TCP and UDP checksums to its device, as those of containers do."""
        self._switch(interface, "tx-checksumming", True)

    def _switch(self, interface: str, offload: str, on: bool) -> None:
        value = ctypes.create_string_buffer(struct.pack("=II", _OFFLOADS[offload], on))
        request = struct.pack("16sP", interface.encode(), ctypes.addressof(value)).ljust(40, b"\0")
        with self.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            try:
                fcntl.ioctl(control, _SIOCETHTOOL, request)
            except OSError as error:
                state = "lacks" if on else "keeps"
                raise KernelError(f"{interface} of {self.name} {state} {offload}: {error.strerror}") from error


def run_command(command: Sequence[str], stdin: str = "", timeout_s: float = 20.0) -> str:
    """Run a command to its end, in the namespace of the calling thread, and return what it printed.

    Raises:
        KernelError: it is missing, failed or took too long; the message has what it said.
    """
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
    except FileNotFoundError as error:
        raise KernelError(f"the command `{command[0]}` is missing", "install it, or see `ids doctor`") from error
    except subprocess.TimeoutExpired as error:
        raise KernelError(f"`{' '.join(command)}` did not end within {timeout_s:g} s") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split()).rstrip(".")
        raise KernelError(f"`{' '.join(command)}` failed: {said}", "see `ids doctor` for what this machine lacks")
    return done.stdout


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise KernelError(f"there is no namespace {path.name}") from error


def _setns(descriptor: int, name: str) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise KernelError(f"cannot enter {name}: {os.strerror(ctypes.get_errno())}")
