"""Whether `ids lab` can run here: found out by trying its ingredients, because containers forbid them one by one."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable

from ids.doctor import Check, Status, fail, host, ok
from ids.doctor.machine import Machine
from ids.errors import KernelError
from ids.kernel.system.syscall import prog_load

_XDP_PASS_PROGRAM = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)
"""r0 = XDP_PASS; exit."""

NEEDED = (host.check_bcc, host.check_headers, host.check_kernel, host.check_privileges)
"""Checks of the machine that must hold for the lab."""

UNSHARE_TIMEOUT_S = 10.0

Attempt = Callable[[], None]


def check_lab(machine: Machine, *, load: Attempt | None = None, unshare: Attempt | None = None) -> list[Check]:
    """Return the checks that stand between this machine and `ids lab`: all hold, or the lab cannot run."""
    checks = [check(machine) for check in NEEDED]
    if machine.tool("ip") is None:
        checks.append(fail("ip", "the command is missing", "apt-get install iproute2"))
    else:
        checks.append(ok("ip", "there"))
    if any(check.status is Status.FAIL for check in checks):
        return checks
    checks.append(
        _try("network namespaces", unshare or make_namespaces, "Run on a host or in a container with CAP_SYS_ADMIN")
    )
    checks.append(_try("xdp", load or load_xdp_program, "Run where bpf(2) is allowed: a container needs --privileged"))
    return checks


def _try(name: str, attempt: Attempt, remedy: str) -> Check:
    try:
        attempt()
    except (OSError, KernelError) as error:
        return fail(name, f"refused: {error}", remedy)
    return ok(name, "works")


def load_xdp_program() -> None:
    """Load the smallest XDP program, and let go of it; raises `KernelError` where the kernel refuses."""
    os.close(prog_load("ids_doctor", _XDP_PASS_PROGRAM))


def make_namespaces() -> None:
    """Make a network and a mount namespace for a moment; raises OSError where that is forbidden."""
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--propagation", "unchanged", "true"],
        capture_output=True,
        text=True,
        timeout=UNSHARE_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise OSError(done.stderr.strip() or f"unshare ended with {done.returncode}")
