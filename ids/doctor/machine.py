"""The one window through which the checks look at the machine."""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import json
import os
import platform
import re
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ids.errors import KernelError

IP_TIMEOUT_S = 5.0

_SIOCETHTOOL = 0x8946  # include/uapi/linux/sockios.h
_ETHTOOL_GFLAGS = 0x25  # this and the next: include/uapi/linux/ethtool.h
_LRO_FLAG = 1 << 15
_FEATURES = {"TSO": 0x1E, "GSO": 0x23, "GRO": 0x2B}  # ETHTOOL_GTSO, ETHTOOL_GGSO, ETHTOOL_GGRO
_IFNAMSIZ = 16

_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""
_TIMEX_BYTES = 512
"""More than any architecture's struct timex (208 bytes on x86-64); only the return value is read."""


@dataclass(frozen=True)
class Machine:
    """This machine, or in tests a folder that looks like one."""

    root: Path = Path("/")

    def read(self, path: str) -> str | None:
        """Return the text of a file of the machine, or None where it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(errors="replace")
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """Return whether a file or directory of the machine exists."""
        return (self.root / path.lstrip("/")).exists()

    def python(self) -> tuple[int, int, int]:
        """Return the version of the running interpreter."""
        return sys.version_info[:3]

    def kernel_release(self) -> str:
        """Return the kernel's release, such as ``6.1.0-18-amd64``."""
        return platform.release()

    def kernel_version(self) -> tuple[int, int]:
        """Return the first two numbers of the kernel's release; (0, 0) where it has none."""
        match = re.match(r"(\d+)\.(\d+)", self.kernel_release())
        return (int(match[1]), int(match[2])) if match else (0, 0)

    def module(self, name: str) -> Path | None:
        """Return where a Python package lies, without importing it."""
        spec = importlib.util.find_spec(name)
        return Path(spec.origin).parent if spec is not None and spec.origin else None

    def library(self, name: str) -> bool:
        """Return whether the dynamic linker finds a shared library."""
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
        return True

    def tool(self, name: str) -> str | None:
        """Return the path of a command; system directories count even where the user's PATH lacks them."""
        return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin")

    def clock_synchronised(self) -> bool:
        """Return whether the kernel believes its clock to be kept by NTP or the like."""
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
        return bool(state != _TIME_ERROR)

    def links(self) -> list[dict[str, Any]]:
        """Return all interfaces as ``ip -json -details link show`` has them; raises `KernelError` without ``ip``."""
        ip = self.tool("ip")
        if ip is None:
            raise KernelError("the command `ip` is missing", "Install iproute2")
        try:
            done = subprocess.run(
                [ip, "-json", "-details", "link", "show"], capture_output=True, timeout=IP_TIMEOUT_S, check=True
            )
            links: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise KernelError(
                f"`ip -json link show` failed: {error}", "Install a newer iproute2 (4.13 or later)"
            ) from error
        return links

    def offloads(self, interface: str) -> list[str] | None:
        """Return which of GRO, GSO, LRO and TSO are on at an interface; None where the driver does not say."""
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                found = [name for name, command in _FEATURES.items() if _ethtool_value(control, interface, command)]
                if _ethtool_value(control, interface, _ETHTOOL_GFLAGS) & _LRO_FLAG:
                    found.append("LRO")
        except OSError:
            return None
        return sorted(found)


def _ethtool_value(control: socket.socket, interface: str, command: int) -> int:
    """Ask the driver for one number: struct ifreq points to struct ethtool_value (cmd, data)."""
    value = ctypes.create_string_buffer(struct.pack("=II", command, 0), 8)
    request = struct.pack(f"{_IFNAMSIZ}sP", interface.encode(), ctypes.addressof(value))
    fcntl.ioctl(control, _SIOCETHTOOL, request.ljust(64, b"\0"))
    answer: int = struct.unpack_from("=I", value.raw, 4)[0]
    return answer
