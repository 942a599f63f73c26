"""Whether `ids lab` can run here: found out by trying its ingredients, because containers forbid them one by one."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Callable

from ids.doctor import Check, Status, fail, host, ok
from ids.doctor.machine import Machine

_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
"""bpf(2) by architecture: the kernel's syscall tables."""
_BPF_PROG_LOAD, _BPF_PROG_TYPE_XDP = 5, 6  # include/uapi/linux/bpf.h
_XDP_PASS_PROGRAM = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)
"""r0 = XDP_PASS; exit."""

NEEDED = (host.check_bcc, host.check_headers, host.check_kernel, host.check_privileges)
"""Checks of the machine that must hold for the lab."""

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
    except OSError as error:
        return fail(name, f"refused: {error.strerror or error}", remedy)
    return ok(name, "works")


def load_xdp_program() -> None:
    """Load the smallest XDP program, and let go of it; raises OSError where the kernel refuses."""
    number = _SYS_BPF.get(platform.machine())
    if number is None:
        raise OSError(0, f"bpf(2) has no known number on {platform.machine()}")
    instructions = ctypes.create_string_buffer(_XDP_PASS_PROGRAM)
    licence = ctypes.create_string_buffer(b"GPL")
    # union bpf_attr for BPF_PROG_LOAD: prog_type, insn_cnt, insns, license; the rest zero.
    fields = struct.pack("=IIQQ", _BPF_PROG_TYPE_XDP, 2, ctypes.addressof(instructions), ctypes.addressof(licence))
    attributes = ctypes.create_string_buffer(fields, 128)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(number, _BPF_PROG_LOAD, attributes, len(attributes))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.close(descriptor)


def make_namespaces() -> None:
    """Make a network and a mount namespace in a child that ends at once; raises OSError where that is forbidden."""
    clone_newns, clone_newnet = 0x00020000, 0x40000000  # include/uapi/linux/sched.h
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        os._exit(0 if libc.unshare(clone_newns | clone_newnet) == 0 else ctypes.get_errno() or 1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise OSError(code, os.strerror(code))
