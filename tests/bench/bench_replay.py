"""``ids replay`` beside Suricata on the same captures: seconds, packets, flows and HTTP exchanges a second, memory.

Two captures: many short HTTP connections, recorded from ``ab`` and nginx, and a million packets of all kinds. Both
engines write alert, flow and http events, and look for the same: one rule, or the starter rules (the peer has them
translated; where ours runs its YARA rules too, which have no counterpart, the name says so). Contenders take turns,
round after round. From each time, the median time of the same command on a capture of one packet is taken off: what is
left is the work, and that is what is compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import peer
from tests.bench.captures import first_packet, http_capture, mixed_capture
from tests.bench.process import IDS, Run, median, run_measured
from tests.bench.report import CannotRun, Row, show

ROUNDS = 3
PLAIN = "suricata single, one rule"
PARALLEL = "suricata autofp, one rule"
STARTER = "suricata single, starter rules"


@dataclass(slots=True)
class Contender:
    """A command that reads a capture, and how it fared."""

    name: str
    command: list[str]
    """Without the capture, which comes last."""
    folder: Path
    against: str = ""
    """The contender that its ratio is to."""
    starts: list[Run] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    stages: list[dict[str, int]] = field(default_factory=list)
    """Microseconds by stage (`time_us` of the counters), of ours."""

    def measure(self, capture: Path, one: Path) -> None:
        """Run once on a capture of one packet, and once on the whole."""
        self.starts.append(self._run(one))
        self.runs.append(self._run(capture))
        self.events = peer.count_events(self.folder / "eve.json")
        if self.command[0] == IDS:
            self.stages.append(json.loads(self.runs[-1].stdout)["counters"]["time_us"])

    @property
    def work_s(self) -> float:
        """Median seconds, the start taken off."""
        return max(median(self.runs) - median(self.starts), 1e-3)

    @property
    def work_cpu_s(self) -> float:
        """Median seconds of all cores, the start taken off: less disturbed by what else the machine does."""
        whole, start = (statistics.median(run.cpu_s for run in runs) for runs in (self.runs, self.starts))
        return max(whole - start, 1e-3)

    def _run(self, capture: Path) -> Run:
        (self.folder / "eve.json").unlink(missing_ok=True)
        return run_measured([*self.command, str(capture)], self.folder)


def main(arguments: Sequence[str] = ()) -> None:
    """Time all contenders on both captures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench replay")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("http", "mixed"), help="one of the two captures")
    options = parser.parse_args(list(arguments))
    for name, make in (("http", http_capture), ("mixed", mixed_capture)):
        if options.only in (None, name):
            _compare(make(), options.rounds)


def _compare(capture: Path, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contenders = _contenders(folder)
        one = first_packet(capture, folder)
        for number in range(1, rounds + 1):
            for contender in contenders:
                contender.measure(capture, one)
                done = contender.runs[-1].seconds
                print(f"round {number} of {rounds}: {contender.name}: {done:.2f} s", flush=True)
    packets = _packets(capture)
    by_name = {contender.name: contender for contender in contenders}
    rows = [_row(contender, by_name.get(contender.against), packets) for contender in contenders]
    show(f"Replay of {capture.name}, {packets:,} packets", rows, "make bench, or: python -m tests.bench replay")


def _contenders(folder: Path) -> list[Contender]:
    rule = folder / "one.yaml"
    peer.our_rule(folder)
    one, yaml_only, fast_off = ["-S", str(rule)], ["--set", "rules.exclude=['*.yar']"], ["--fast-path", "off"]
    found = [
        Contender("ids, one rule, fast path off", [*one, *fast_off], folder, PLAIN),
        Contender("ids, one rule, as it comes", one, folder, PLAIN),
        Contender("ids, starter rules without YARA, fast path off", [*yaml_only, *fast_off], folder, STARTER),
        Contender("ids, starter rules and YARA, fast path off", fast_off, folder, STARTER),
        Contender("ids, starter rules and YARA, as it comes", [], folder, STARTER),
    ]
    if "--workers" in subprocess.run([IDS, "replay", "--help"], capture_output=True, text=True, check=True).stdout:
        words = [*one, *fast_off, "--workers", "2"]
        found.append(Contender("ids, 2 workers, one rule, fast path off", words, folder, PARALLEL))
    else:
        print("ids replay has no --workers: that row is left out")
    for contender in found:
        events = ["--eve", str(folder / "eve.json"), "--set", "eve.types=[alert, flow, http]"]
        contender.command = [IDS, "replay", "-o", "json", *events, *contender.command]
    try:
        peer.require()
    except CannotRun as reason:
        print(f"without a peer: {reason}")
        return found
    for name, mode, rules in (
        (PLAIN, "single", peer.one_rule()),
        (PARALLEL, "autofp", peer.one_rule()),
        (STARTER, "single", peer.starter_rules()),
    ):
        own = folder / name.replace(" ", "-")
        own.mkdir()
        found.append(Contender(name, [*peer.configure(own, rules), "--runmode", mode, "-r"], own))
    return found


def _row(contender: Contender, against: Contender | None, packets: int) -> Row:
    whole, work = median(contender.runs), contender.work_s
    seconds = [run.seconds - median(contender.starts) for run in contender.runs]
    events, peak = contender.events, statistics.median(run.peak_mib for run in contender.runs)
    rates = f"{events['flow'] / work:,.0f} flows/s, {events['http'] / work:,.0f} HTTP/s"
    seen = (
        f"saw {events['flow']:,} flows ({events['tcp flow']:,} TCP), {events['http']:,} HTTP, {events['alert']} alerts"
    )
    cpu = f"{contender.work_cpu_s:.2f} s CPU without it"
    if against:
        cpu += f", {contender.work_cpu_s / against.work_cpu_s:.1f} times the peer's"
    return Row(
        contender.name,
        packets / work,
        "packets/s",
        packets / max(*seconds, 1e-3),
        packets / max(min(seconds), 1e-3),
        ratio=against.work_s / work if against else None,
        peer=against.name if against else "",
        note=f"{rates}; {whole:.2f} s whole, {median(contender.starts):.2f} s start, {cpu}; "
        f"peak {peak:.0f} MiB; {seen}{_stages(contender, packets)}",
    )


def _stages(contender: Contender, packets: int) -> str:
    """Say what each of our stages costs, by our own counters: processor time of the median run."""
    if not contender.stages:
        return ""
    events = contender.events
    per = {
        "decode": ("packet", packets),
        "flow": ("packet", packets),
        "protocols": ("HTTP exchange", events["http"]),
        "detect": ("flow", events["flow"]),
        "events": ("event", events["flow"] + events["http"] + events["alert"]),
    }
    costs = {name: statistics.median(times[name] for times in contender.stages) for name in per}
    shares = [f"{name} {costs[name] / max(count, 1):.2f} µs/{what}" for name, (what, count) in per.items()]
    total = sum(costs.values())
    return f"; {', '.join(shares)}; all {total / packets:.2f} µs/packet, {total / max(events['flow'], 1):.1f} µs/flow"


def _packets(capture: Path) -> int:
    """Return how many packets a pcap file has."""
    count, offset, data = 0, 24, capture.read_bytes()
    while offset < len(data):
        offset += 16 + int.from_bytes(data[offset + 8 : offset + 12], "little")
        count += 1
    return count


if __name__ == "__main__":
    main()
