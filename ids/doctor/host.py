"""Checks of the machine itself: interpreter, BCC, headers, kernel, rights, file systems, clock, tools."""

from __future__ import annotations

import resource
from collections.abc import Callable

from ids import paths
from ids.doctor import Check, fail, ok, warn
from ids.doctor.machine import Machine
from ids.errors import IdsError

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
"""The range that the tests cover."""

OLDEST_KERNEL = (5, 18)
"""First with ``bpf_xdp_load_bytes``, by which the program copies a packet's first bytes into the ring."""
TCX_KERNEL = (6, 6)
"""First with TCX links; others get the egress program by a filter of a clsact qdisc."""
FILTER_MODULES = {"sch_ingress": "CONFIG_NET_SCH_INGRESS", "cls_bpf": "CONFIG_NET_CLS_BPF"}
CGROUP_ACCOUNTING_KERNEL = (5, 11)
"""First that charges BPF memory to the cgroup rather than to RLIMIT_MEMLOCK."""
ENOUGH_MEMLOCK_BYTES = 512 << 20
"""Maps and rings at their default sizes take less."""

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
"""Bits of CapEff, include/uapi/linux/capability.h."""

TOOLS = {
    "ip": ("iproute2", "own addresses are not protected from being blocked, and `ids lab` cannot run"),
    "nginx": ("nginx-light", "the lab serves its pages with Python's own web server"),
    "hping3": ("hping3", "the lab's SYN flood is slower"),
    "xdp-filter": ("xdp-tools", "`make bench` has no yardstick"),
    "bpftool": ("bpftool", "maps and programs cannot be looked at from outside"),
}
"""Command: the package that has it, and what goes without it."""


def check_python(machine: Machine) -> Check:
    """The interpreter is of a version that the tests cover."""
    version = machine.python()
    found = ".".join(map(str, version))
    if version[:2] < OLDEST_PYTHON:
        return fail("python", found, "Use Python 3.10 or newer: make setup PYTHON=/path/to/python3")
    if version[:2] > NEWEST_PYTHON:
        return warn("python", f"{found}, newer than what is tested", "If something fails, use Python 3.10-3.13")
    return ok("python", found)


def check_bcc(machine: Machine) -> Check:
    """The module `bcc` is the distribution's, not PyPI's project of the same name, and finds its library."""
    where = machine.module("bcc")
    if where is None:
        return fail(
            "bcc",
            "no module `bcc`",
            "apt-get install python3-bpfcc, then `make setup`; not pip: PyPI's bcc is another project",
        )
    if not (where / "libbcc.py").exists():
        return fail(
            "bcc",
            f"{where} is PyPI's project of that name, which is something else",
            "pip uninstall bcc; apt-get install python3-bpfcc; make setup",
        )
    if not machine.library("libbcc.so.0"):
        return fail("bcc", f"{where} is there, its library libbcc.so.0 is not", "apt-get install --reinstall libbpfcc")
    return ok("bcc", str(where.resolve()))


def check_headers(machine: Machine) -> Check:
    """The UAPI headers and our stand-ins for the kernel's are there."""
    if not machine.exists("/usr/include/linux/bpf.h"):
        return fail("headers", "/usr/include/linux/bpf.h is missing", "apt-get install linux-libc-dev")
    try:
        shim = paths.shim_dir()
    except IdsError as error:
        return fail("headers", str(error), "make setup, or pip install . again")
    return ok("headers", f"/usr/include/linux and {shim}; the kernel's own are not needed")


def check_kernel(machine: Machine) -> Check:
    """The kernel has the helpers that the XDP program calls."""
    release = machine.kernel_release()
    if machine.kernel_version() < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        return fail(
            "kernel", release, f"Boot Linux {oldest} or newer (bpf_xdp_load_bytes); `ids replay` works meanwhile"
        )
    return ok("kernel", release)


def check_egress(machine: Machine) -> Check:
    """The kernel has a place for the egress program, which shows the replies of this host's own services."""
    if machine.kernel_version() >= TCX_KERNEL:
        return ok("egress", "by TCX links")
    modules = [machine.read(f"/lib/modules/{machine.kernel_release()}/modules.{kind}") for kind in ("dep", "builtin")]
    known = "".join(text or "" for text in modules)
    missing = [option for name, option in FILTER_MODULES.items() if known and f"/{name}.ko" not in known]
    if missing:
        return warn(
            "egress",
            f"no TCX links, and no filters either: no {', '.join(missing)}",
            "Boot Linux 6.6 or newer, or a kernel with these; connections to this host itself go uninspected meanwhile",
        )
    return ok("egress", "by filters of a clsact qdisc; TCX links came with Linux 6.6")


def check_btf(machine: Machine) -> Check:
    """The kernel describes its types."""
    if not machine.exists("/sys/kernel/btf/vmlinux"):
        return warn(
            "btf",
            "/sys/kernel/btf/vmlinux is missing",
            "A kernel with CONFIG_DEBUG_INFO_BTF lets bpftool show maps readably",
        )
    return ok("btf", "/sys/kernel/btf/vmlinux")


def effective_capabilities(machine: Machine) -> set[str]:
    """Return those of `CAPABILITIES` that this process has."""
    bits = 0
    for line in (machine.read("/proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
    return {name for name, bit in CAPABILITIES.items() if bits >> bit & 1}


def check_privileges(machine: Machine) -> Check:
    """This process may load programs, attach them and read the rings; CAP_SYS_ADMIN stands for the newer two."""
    have = effective_capabilities(machine)
    implied = have | ({"CAP_BPF", "CAP_PERFMON"} if "CAP_SYS_ADMIN" in have else set())
    lacking = sorted({"CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON"} - implied)
    if lacking:
        return fail(
            "privileges",
            f"lacking {', '.join(lacking)}",
            "Run as root: sudo .venv/bin/ids ...; `ids replay` needs none",
        )
    if "CAP_SYS_ADMIN" not in have:
        return warn(
            "privileges", f"{', '.join(sorted(have))}; no CAP_SYS_ADMIN", "Only `ids lab` needs it: run that as root"
        )
    return ok("privileges", ", ".join(sorted(have)))


def check_bpffs(machine: Machine) -> Check:
    """A bpffs is mounted where maps and links are pinned, so that blocks outlive the engine."""
    for line in (machine.read("/proc/self/mountinfo") or "").splitlines():
        fields, _, kind = line.partition(" - ")
        words = fields.split()
        if len(words) > 4 and words[4] == "/sys/fs/bpf" and kind.startswith("bpf "):
            return ok("bpffs", "mounted on /sys/fs/bpf")
    return fail("bpffs", "not mounted on /sys/fs/bpf", "mount -t bpf bpffs /sys/fs/bpf")


def check_jit(machine: Machine) -> Check:
    """Programs are compiled to machine code, not interpreted."""
    text = machine.read("/proc/sys/net/core/bpf_jit_enable")
    if text is None:
        return ok("jit", "not readable here (another network namespace, or no right to read it)")
    if text.strip() == "0":
        return warn("jit", "off: every packet is interpreted, many times slower", "sysctl -w net.core.bpf_jit_enable=1")
    return ok("jit", "on")


def check_memlock(machine: Machine, limit: Callable[[], int] | None = None) -> Check:
    """Maps may be as large as they are; ``limit`` returns RLIMIT_MEMLOCK in bytes, -1 for none."""
    if machine.kernel_version() >= CGROUP_ACCOUNTING_KERNEL:
        return ok("memlock", "of no concern: this kernel charges BPF memory to the cgroup")
    soft = (limit or (lambda: resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]))()
    if soft != resource.RLIM_INFINITY and soft < ENOUGH_MEMLOCK_BYTES:
        return warn("memlock", f"{soft} bytes, less than the maps may take", "ulimit -l unlimited")
    return ok("memlock", "unlimited" if soft == resource.RLIM_INFINITY else f"{soft} bytes")


def check_clock(machine: Machine) -> Check:
    """The clock is kept in step, so that events can be put beside those of others."""
    if machine.clock_synchronised():
        return ok("clock", "synchronised")
    return warn(
        "clock",
        "not synchronised: times in events may be off",
        "Run chrony or systemd-timesyncd (in a container: the host's matter)",
    )


def check_tools(machine: Machine) -> Check:
    """Commands that parts of the engine or the lab use are there."""
    missing = {tool: reason for tool, reason in TOOLS.items() if machine.tool(tool) is None}
    if not missing:
        return ok("tools", ", ".join(TOOLS))
    found = "; ".join(f"no {tool}: {without}" for tool, (_, without) in missing.items())
    return warn("tools", found, "apt-get install " + " ".join(package for package, _ in missing.values()))


CHECKS: tuple[Callable[[Machine], Check], ...] = (
    check_python,
    check_bcc,
    check_headers,
    check_kernel,
    check_egress,
    check_btf,
    check_privileges,
    check_bpffs,
    check_jit,
    check_memlock,
    check_clock,
    check_tools,
)


def check_host(machine: Machine) -> list[Check]:
    """Run all checks of the machine, in the order in which one would mend things."""
    return [check(machine) for check in CHECKS]
