"""Three network namespaces in a row, wired and routed.

A private bpffs inside the lab's directory holds the engine's pins: when it is unmounted, every pinned map, program and
link is gone with it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from ids.errors import KernelError
from ids.lab import removal
from ids.lab.interruption import interruptible, signals_held
from ids.lab.namespace import Namespace, run_command
from ids.lab.removal import KEEP_MARK, lab_directory, leftovers, remove, remove_stale

ROLES = ("attacker", "gateway", "server")

BENIGN = "192.0.2.10"
"""The honest client; it lives beside the attackers, so that only its address distinguishes it from them."""
FLOODER = "192.0.2.99"
ATTACKERS = tuple(f"192.0.2.{host}" for host in range(100, 255))
"""Addresses for attacks, each to be used once: the engine blocks what it has seen attacking."""
GATEWAY_OUTSIDE = "192.0.2.1"
GATEWAY_INSIDE = "203.0.113.1"
SERVER = "203.0.113.80"

BENIGN6 = "2001:db8:1::10"
ATTACKERS6 = tuple(f"2001:db8:bad:{net:x}::100" for net in range(1, 17))
"""One in each /64, so that a block of that width meets only one; routed through the honest client's link."""
GATEWAY_OUTSIDE6 = "2001:db8:1::1"
GATEWAY_INSIDE6 = "2001:db8:2::1"
SERVER6 = "2001:db8:2::80"

OUTSIDE, INSIDE = "outside", "inside"
"""The gateway's interfaces; the others each have one, `LINK`."""
LINK = "eth0"

_serial = itertools.count(1)


def new_name() -> str:
    """Name a lab that this process has not made yet: by the name, others find out whether its owner still lives."""
    return f"ids-lab-{os.getpid()}-{next(_serial)}"


@dataclass(slots=True)
class Lab:
    """Attacker, gateway and server, wired up and routed while the context lasts; nothing is left after it.

    Leaving the context ends every process started with `spawn` (and whatever else still lives in the namespaces),
    unless ``keep`` is set. Meanwhile a signal that asks for the end raises `ids.lab.interruption.Interrupted`. Raises
    `ids.errors.KernelError` on entering where the kernel or the rights are missing.
    """

    keep: bool = False
    name: str = field(default_factory=new_name)
    ipv6: bool = field(default=False, init=False)
    """IPv6 works too; False where the kernel has none."""
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False)
    _signals: ExitStack = field(default_factory=ExitStack, init=False)

    @property
    def attacker(self) -> Namespace:
        """Where clients live, honest and other."""
        return Namespace(f"{self.name}-attacker")

    @property
    def gateway(self) -> Namespace:
        """What forwards between the two sides: the engine's place."""
        return Namespace(f"{self.name}-gateway")

    @property
    def server(self) -> Namespace:
        """Where the protected web server lives."""
        return Namespace(f"{self.name}-server")

    @property
    def directory(self) -> Path:
        """Private files of this lab; removed with it."""
        return lab_directory(self.name)

    @property
    def pins(self) -> Path:
        """A bpffs of this lab's own."""
        return self.directory / "bpf"

    def __enter__(self) -> Lab:
        require_root()
        with ExitStack() as undo:
            undo.enter_context(interruptible())
            with ExitStack() as built:
                built.callback(self.close)
                remove_stale()
                self._build()
                built.pop_all()
            self._signals = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._signals:
            if self.keep and error is None:
                (self.directory / KEEP_MARK).touch()
            else:
                self.close()

    def spawn(self, namespace: Namespace, command: Sequence[str], output: str | Path) -> subprocess.Popen[bytes]:
        """Start a process in a namespace; it ends with the lab, even when the lab's owner is killed.

        ``output`` is the file in the lab's directory to which it writes both its outputs.
        """
        guard = () if self.keep else ("setpriv", "--pdeathsig", "KILL", "--")
        with namespace.entered(), open(self.directory / output, "ab") as log:
            process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,  # a Ctrl-C of the terminal is for the lab, which then ends its own
            )
        self._processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes], signum: int = signal.SIGTERM) -> int:
        """End a process of `spawn` and return its exit status; it is killed if it will not go."""
        if process.poll() is None:
            process.send_signal(signum)
            try:
                process.wait(removal.GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if process in self._processes:
            self._processes.remove(process)
        return process.wait()

    def close(self) -> None:
        """End the processes and remove the lab; signals wait until that is done."""
        with signals_held():
            for process in reversed(self._processes.copy()):
                self.stop(process)
            remove(self.name)

    def leftovers(self) -> list[str]:
        """Name whatever exists of this lab right now; empty after `close`."""
        return leftovers(self.name)

    def _build(self) -> None:
        self.directory.mkdir(mode=0o700)
        self.pins.mkdir()
        run_command(("mount", "-t", "bpf", "bpf", str(self.pins)))
        for role in ROLES:
            run_command(("ip", "netns", "add", f"{self.name}-{role}"))
        self.ipv6 = Path("/proc/sys/net/ipv6").exists()
        for namespace in (self.attacker, self.gateway, self.server):
            namespace.set_sysctl("ipv6.conf.all.disable_ipv6", "0")
            namespace.set_sysctl("ipv6.conf.default.accept_dad", "0")  # addresses work at once
        _wire(self.attacker, self.gateway, OUTSIDE)
        _wire(self.server, self.gateway, INSIDE)
        self._address()
        for setting in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self.gateway.set_sysctl(setting, "1")

    def _address(self) -> None:
        v4 = [f"{address}/24" for address in (BENIGN, FLOODER, *ATTACKERS)]
        v6 = [f"{BENIGN6}/64", *(f"{address}/128" for address in ATTACKERS6)] if self.ipv6 else []
        self.attacker.run(*_IP_BATCH, stdin=_script(LINK, [*v4, *v6], GATEWAY_OUTSIDE, GATEWAY_OUTSIDE6, self.ipv6))
        own = [f"{SERVER}/24", *([f"{SERVER6}/64"] if self.ipv6 else [])]
        self.server.run(*_IP_BATCH, stdin=_script(LINK, own, GATEWAY_INSIDE, GATEWAY_INSIDE6, self.ipv6))
        for interface, address, address6 in (
            (OUTSIDE, GATEWAY_OUTSIDE, GATEWAY_OUTSIDE6),
            (INSIDE, GATEWAY_INSIDE, GATEWAY_INSIDE6),
        ):
            own = [f"{address}/24", *([f"{address6}/64"] if self.ipv6 else [])]
            self.gateway.run(*_IP_BATCH, stdin=_script(interface, own))
        if self.ipv6:
            self.gateway.run("ip", "route", "add", "2001:db8:bad::/48", "via", BENIGN6)


_IP_BATCH = ("ip", "-batch", "-")


def require_root() -> None:
    """Refuse to go on without the rights and the command that a lab needs; raises `ids.errors.KernelError`."""
    if os.geteuid() != 0:
        raise KernelError("network namespaces need root", "run it with sudo, or see `ids replay`, which needs nothing")
    if shutil.which("ip") is None:
        raise KernelError("the command `ip` is missing", "install iproute2")


def _wire(end: Namespace, gateway: Namespace, interface: str) -> None:
    """Connect a namespace's only interface to one of the gateway's."""
    command = f"ip link add {LINK} netns {end.name} type veth peer name {interface} netns {gateway.name}"
    run_command(command.split())
    for namespace, name in ((end, LINK), (gateway, interface)):
        namespace.switch_offloads_off(name)


def _script(interface: str, addresses: Sequence[str], via: str = "", via6: str = "", ipv6: bool = False) -> str:
    """Return the lines for ``ip -batch``: addresses, links up, default routes."""
    lines = [f"address add {address} dev {interface}" for address in addresses]
    lines += ["link set lo up", f"link set {interface} up"]
    lines += [f"route add default via {via}"] if via else []
    lines += [f"route add default via {via6}"] if via6 and ipv6 else []
    return "\n".join(lines) + "\n"
