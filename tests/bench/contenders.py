"""What guards the gateway of a lab while it is measured: nothing, an empty XDP program, us, Suricata inline."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

from ids.kernel.system import syscall
from ids.lab.removal import wait_until
from ids.lab.topology import INSIDE, OUTSIDE, Lab
from tests.bench import peer
from tests.bench.process import IDS
from tests.bench.report import CannotRun

XDP_PASS = struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0)
"""r0 = XDP_PASS; exit (include/uapi/linux/bpf.h)."""
START_S = 60.0

Contender: TypeAlias = Callable[[Lab], AbstractContextManager[None]]


@contextmanager
def nothing(lab: Lab) -> Iterator[None]:
    """Leave the gateway as it is."""
    yield


@contextmanager
def empty_program(lab: Lab) -> Iterator[None]:
    """Attach a program that passes everything to both interfaces of the gateway."""
    program = syscall.prog_load("empty", XDP_PASS)
    with ExitStack() as stack:
        stack.callback(os.close, program)
        with lab.gateway.entered():
            for name in (OUTSIDE, INSIDE):
                index = socket.if_nametoindex(name)
                stack.callback(os.close, syscall.link_create(program, index, syscall.XDP_FLAGS_DRV_MODE))
        yield


@contextmanager
def engine(lab: Lab) -> Iterator[None]:
    """Run the engine with the starter rules on both interfaces."""
    ready = lab.directory / "ready"
    command = [
        IDS, "run", "-i", OUTSIDE, "-i", INSIDE, "--ready-file", str(ready),
        "--set", f"fastpath.pin_dir={lab.pins / 'bench'}", "--set", f"engine.runtime_dir={lab.directory}",
        "--set", f"engine.state_dir={lab.directory}",
        "--set", "fastpath.on_stop=remove",
    ]  # fmt: skip
    process = lab.spawn(lab.gateway, command, "ids.log")
    if not wait_until(lambda: ready.exists() or process.poll() is not None, START_S) or process.poll() is not None:
        raise CannotRun(f"ids run did not get ready: {_tail(lab.directory / 'ids.log')}")
    yield
    if process.poll() is not None:
        raise CannotRun(f"ids run ended: {_tail(lab.directory / 'ids.log')}")
    lab.stop(process)


@contextmanager
def suricata(lab: Lab, rules: str = "") -> Iterator[None]:
    """Run Suricata inline: every forwarded packet goes through NFQUEUE, as its documentation sets up a gateway.

    Its files are in the folder ``suricata`` of the lab. What finds no room in its queue passes uninspected.
    """
    peer.require()
    folder = lab.directory / "suricata"
    folder.mkdir(exist_ok=True)
    forward = ("FORWARD", "-j", "NFQUEUE", "--queue-num", "0", "--queue-bypass")
    lab.gateway.run("iptables", "-A", *forward)
    words = [*peer.configure(folder, rules or peer.one_rule("drop")), "-q", "0", "--pidfile", str(folder / "pid")]
    log = lab.directory / "suricata.log"
    log.unlink(missing_ok=True)
    process = lab.spawn(lab.gateway, words, log.name)
    try:
        if not wait_until(lambda: "Engine started" in log.read_text(errors="replace"), START_S):
            raise CannotRun(f"suricata did not start: {_tail(log)}")
        time.sleep(0.5)
        yield
        if process.poll() is not None:
            raise CannotRun(f"suricata ended: {_tail(log)}")
    finally:
        lab.stop(process)
        lab.gateway.run("iptables", "-D", *forward)


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-500:]
