"""A machine made of a folder and a few facts: what the checks see of it is what a test wrote down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ids.doctor.machine import Machine
from ids.errors import KernelError

ALL_CAPABILITIES = "CapEff:\t000001ffffffffff\n"
VETH: dict[str, Any] = {
    "ifname": "inside",
    "flags": ["UP", "LOWER_UP"],
    "mtu": 1500,
    "link_type": "ether",
    "num_rx_queues": 2,
    "linkinfo": {"info_kind": "veth"},
    "link": "peer",
}
PEER: dict[str, Any] = VETH | {
    "ifname": "peer",
    "flags": [],
    "link": "inside",
    "xdp": {"mode": 1, "attached": [{"mode": 1, "prog": {"id": 9, "name": "pass"}}]},
}
LOOPBACK: dict[str, Any] = {"ifname": "lo", "flags": ["UP", "LOWER_UP"], "mtu": 65536, "link_type": "loopback"}


@dataclass(frozen=True)
class FakeMachine(Machine):
    """Everything in order, unless a test says otherwise."""

    version: tuple[int, int, int] = (3, 11, 2)
    release: str = "6.1.0-18-amd64"
    bcc: Path | None = None
    has_library: bool = True
    tools: frozenset[str] = frozenset({"ip", "nginx", "hping3", "xdp-filter", "bpftool"})
    synchronised: bool = True
    interfaces: list[dict[str, Any]] = field(default_factory=lambda: [LOOPBACK, VETH, PEER])
    features: list[str] | None = field(default_factory=list)
    ip_works: bool = True

    def python(self) -> tuple[int, int, int]:
        return self.version

    def kernel_release(self) -> str:
        return self.release

    def module(self, name: str) -> Path | None:
        return self.bcc

    def library(self, name: str) -> bool:
        return self.has_library

    def tool(self, name: str) -> str | None:
        return f"/usr/bin/{name}" if name in self.tools else None

    def clock_synchronised(self) -> bool:
        return self.synchronised

    def links(self) -> list[dict[str, Any]]:
        if not self.ip_works:
            raise KernelError("the command `ip` is missing", "Install iproute2")
        return self.interfaces

    def offloads(self, interface: str) -> list[str] | None:
        return self.features


def write(root: Path, path: str, text: str = "") -> None:
    """Put a file into the folder that plays the machine."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def healthy(root: Path, **facts: Any) -> FakeMachine:
    """Return a machine that passes every check."""
    write(root, "/usr/include/linux/bpf.h")
    write(root, "/sys/kernel/btf/vmlinux")
    write(root, "/proc/self/status", ALL_CAPABILITIES)
    write(root, "/proc/self/mountinfo", "42 23 0:39 / /sys/fs/bpf rw,relatime - bpf bpffs rw\n")
    write(root, "/proc/sys/net/core/bpf_jit_enable", "1\n")
    write(root, "/usr/lib/python3/dist-packages/bcc/libbcc.py")
    facts.setdefault("bcc", root / "usr/lib/python3/dist-packages/bcc")
    return FakeMachine(root=root, **facts)
