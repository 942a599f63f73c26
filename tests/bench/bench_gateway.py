"""Throughput of a gateway with wire-sized packets: nothing attached, an empty XDP program, us, Suricata inline.

Three namespaces in a row, offloads off, so that every frame is at most 1514 bytes, as on a wire; iperf3 through the
middle. All contenders run in turn, round after round, on the same lab.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import time

from ids.errors import KernelError
from ids.lab.topology import SERVER, Lab
from tests.bench.contenders import Contender, empty_program, engine, nothing, suricata
from tests.bench.report import CannotRun, Row, show

ROUNDS = 5
SECONDS = 3


def _gigabits(lab: Lab) -> float:
    """Return the throughput of one TCP stream through the gateway, in Gb/s."""
    words = ["iperf3", "-c", SERVER, "-t", str(SECONDS), "-J"]
    report = json.loads(lab.attacker.run(*words, timeout_s=SECONDS + 20))
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e9


def main() -> None:
    """Measure all contenders in interleaved rounds."""
    if os.geteuid() != 0 or shutil.which("iperf3") is None:
        raise CannotRun("needs root and iperf3")
    contenders: dict[str, Contender] = {
        "nothing attached": nothing,
        "empty XDP program": empty_program,
        "ids run, starter rules": engine,
    }
    if shutil.which("suricata") and shutil.which("iptables"):
        contenders["suricata inline, NFQUEUE, one rule"] = suricata
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
