"""Throughput of a gateway with wire-sized packets: nothing attached, an empty XDP program, us, Suricata inline.

Three namespaces in a row, offloads off, so that every frame is at most 1514 bytes, as on a wire; iperf3 through the
middle. All contenders run in turn, round after round, on the same lab.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from ids.errors import KernelError
from ids.kernel.system import syscall
from ids.lab.removal import wait_until
from ids.lab.topology import INSIDE, OUTSIDE, SERVER, Lab
from tests.bench.report import CannotRun, Row, show

ROUNDS = 5
SECONDS = 3
XDP_PASS = struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0)
"""r0 = XDP_PASS; exit (include/uapi/linux/bpf.h)."""

SURICATA_RULE = 'drop http any any -> any any (msg:"one rule"; http.uri; content:"/etc/passwd"; sid:1;)\n'


@contextmanager
def _nothing(lab: Lab) -> Iterator[None]:
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
        str(Path(sys.executable).with_name("ids")), "run", "-i", OUTSIDE, "-i", INSIDE, "--ready-file", str(ready),
        "--set", f"fastpath.pin_dir={lab.pins / 'bench'}", "--set", f"engine.runtime_dir={lab.directory}",
        "--set", "fastpath.on_stop=remove",
    ]  # fmt: skip
    process = lab.spawn(lab.gateway, command, "ids.log")
    if not wait_until(ready.exists, 30):
        raise CannotRun(f"ids run did not get ready: {(lab.directory / 'ids.log').read_text()[-500:]}")
    yield
    if process.poll() is not None:
        raise CannotRun(f"ids run ended: {(lab.directory / 'ids.log').read_text()[-500:]}")
    lab.stop(process)


@contextmanager
def _suricata(lab: Lab) -> Iterator[None]:
    """Run Suricata inline: every forwarded packet goes through NFQUEUE, as its documentation sets up a gateway."""
    (lab.directory / "one.rules").write_text(SURICATA_RULE)
    logs = lab.directory / "suricata"
    logs.mkdir(exist_ok=True)
    rule = ("FORWARD", "-j", "NFQUEUE", "--queue-num", "0", "--queue-bypass")
    lab.gateway.run("iptables", "-A", *rule)
    command = [
        "suricata",
        "-q",
        "0",
        "-S",
        str(lab.directory / "one.rules"),
        "-l",
        str(logs),
        "--pidfile",
        str(logs / "pid"),
    ]
    process = lab.spawn(lab.gateway, command, "suricata.log")
    started = lab.directory / "suricata.log"
    try:
        if not wait_until(lambda: "Engine started" in started.read_text(errors="replace"), 60):
            raise CannotRun(f"suricata did not start: {started.read_text(errors='replace')[-500:]}")
        time.sleep(0.5)
        yield
    finally:
        lab.stop(process)
        started.unlink(missing_ok=True)
        lab.gateway.run("iptables", "-D", *rule)


def _gigabits(lab: Lab) -> float:
    """Return the throughput of one TCP stream through the gateway, in Gb/s."""
    words = ["iperf3", "-c", SERVER, "-t", str(SECONDS), "-J"]
    report = json.loads(lab.attacker.run(*words, timeout_s=SECONDS + 20))
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e9


def main() -> None:
    """Measure all contenders in interleaved rounds."""
    if os.geteuid() != 0 or shutil.which("iperf3") is None:
        raise CannotRun("needs root and iperf3")
    contenders: dict[str, Callable[[Lab], AbstractContextManager[None]]] = {
        "nothing attached": _nothing,
        "empty XDP program": empty_program,
        "ids run, starter rules": engine,
    }
    if shutil.which("suricata") and shutil.which("iptables"):
        contenders["suricata inline, NFQUEUE, one rule"] = _suricata
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    try:
        with Lab() as lab:
            lab.spawn(lab.server, ["iperf3", "-s"], "iperf3.log")
            time.sleep(0.5)
            for _ in range(ROUNDS):
                for name, contender in contenders.items():
                    with contender(lab):
                        rates[name].append(_gigabits(lab))
    except KernelError as error:
        raise CannotRun(str(error)) from error
    empty = statistics.median(rates["empty XDP program"])
    rows = [
        Row(
            name, statistics.median(values), "Gb/s", min(values), max(values),
            ratio=statistics.median(values) / empty, peer="empty program",
        )
        for name, values in rates.items()
    ]  # fmt: skip
    show("Gateway throughput, one TCP stream, 1500-byte MTU", rows, "make bench, or: python -m tests.bench gateway")


if __name__ == "__main__":
    main()
