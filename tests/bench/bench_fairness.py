"""Somebody else's exploits, an honest client that is busy, and the operator's questions, while one source floods.

The floods (`tests.bench.flood_client`) are modest, from one address, and under every default budget: 150 connections a
second of 15 KB in segments of 100 bytes; and 7.5 Mbit/s of requests of five bytes. Each second somebody else sends an
exploit, from an address of its own. What share of these is blocked within `WITHIN_S`, and how long after the exploit's
last byte the kernel has the block? Meanwhile a keep-alive client (`ab`) fetches pages as fast as it can, and a second
one asks the control socket for its figures, four times a second.

The engine has a processor to itself where there are two: the client, the flood and the server stand for other machines.
The client's rate is compared with that under the same flood through a gateway without us.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ids.control import request, socket_path
from ids.errors import IdsError, KernelError
from ids.lab.actors import LOG4SHELL, connect
from ids.lab.guard import Guard
from ids.lab.topology import ATTACKERS, BENIGN, FLOODER, SERVER, Lab
from ids.lab.website import start_website
from tests.bench.report import CannotRun, Row, show

SECONDS = 20.0
WARM_S = 2.0
"""A flood is under way when the exploits begin."""
FLOODS = {"segments": 150.0, "requests": 65.0}
"""Connections a second; 65 of 14.4 KB are 7.5 Mbit/s."""
EVERY_S = 1.0
WITHIN_S = 1.0
ASK_EVERY_S = 0.25
ASK_LIMIT_S = 30.0
CONCURRENCY = 4
"""Connections of the busy client; one that waits for each answer would measure delays alone."""


@dataclass(slots=True)
class Outcome:
    """What came of one flood."""

    exploits: int = 0
    delays_ms: list[float] = field(default_factory=list)
    """From the exploit to its block, of those that were blocked within `WITHIN_S`."""
    late: int = 0
    """Blocked later than that."""
    client_per_s: float = 0.0
    answers_s: list[float] = field(default_factory=list)
    """What the control socket took to answer; `ASK_LIMIT_S` where it did not."""
    flood: str = ""
    reasons: str = ""


def main(arguments: Sequence[str] = ()) -> None:
    """Measure each flood without us and with us."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench fairness")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each case")
    parser.add_argument("--flood", choices=(*FLOODS, "none"), action="append", help="default: all and none")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(list(arguments))
    if os.geteuid() != 0:
        raise CannotRun("needs root")
    if shutil.which("ab") is None:
        raise CannotRun("ab is not installed: scripts/bench-setup.sh")
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    floods = options.flood or ["none", *FLOODS]
    rows = []
    try:
        with Lab() as lab, _on(_others()):
            start_website(lab)
            without = {flood: _case(lab, None, flood, options.seconds) for flood in floods}
            for flood in floods:
                guard = Guard(lab, engine={"workers": options.workers})
                with _on(_engines()):
                    guard.start()
                rows += _rows(flood, _case(lab, guard, flood, options.seconds), without[flood])
                print(guard.log_tail())
                guard.stop()
                guard.command("detach")
                guard.eve.unlink(missing_ok=True)
    except KernelError as error:
        raise CannotRun(str(error)) from error
    show("Fairness under one source's flood", rows, "make bench, or: python -m tests.bench fairness")


def _engines() -> set[int]:
    """Return the engine's processors."""
    return set(sorted(os.sched_getaffinity(0))[-1:]) if os.cpu_count() != 1 else os.sched_getaffinity(0)


def _others() -> set[int]:
    return os.sched_getaffinity(0) - _engines() or os.sched_getaffinity(0)


@contextmanager
def _on(processors: set[int]) -> Iterator[None]:
    """Run this thread, and what it starts, on these processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _case(lab: Lab, guard: Guard | None, flood: str, seconds: float) -> Outcome:
    """Flood, attack, browse and ask for some seconds."""
    outcome, running = Outcome(), []
    if flood != "none":
        command = [sys.executable, "-m", "tests.bench.flood_client", "--kind", flood, "--source", FLOODER]
        command += ["--target", SERVER, "--rate", str(FLOODS[flood]), "--seconds", str(seconds + WARM_S)]
        running.append(_spawn(lab, command, "flood.json"))
    time.sleep(WARM_S)
    command = ["ab", "-q", "-k", "-c", str(CONCURRENCY), "-t", str(int(seconds)), "-n", "100000000", "-B", BENIGN]
    running.append(_spawn(lab, [*command, f"http://{SERVER}/index.html"], "ab.log"))
    end, sent = time.monotonic() + seconds, {}
    asker = threading.Thread(target=_ask, args=(lab, outcome, end))
    if guard is not None:
        asker.start()
    for source in ATTACKERS:
        if time.monotonic() > end - WITHIN_S:
            break
        sent[source] = _attack(lab, source)
        time.sleep(EVERY_S)
    for process in running:
        process.wait(seconds + 30)
    if guard is not None:
        time.sleep(WITHIN_S)
        asker.join()
        _judge(outcome, guard, sent)
    outcome.client_per_s = _client_rate((lab.directory / "ab.log").read_text())
    if flood != "none":
        outcome.flood = _describe(json.loads((lab.directory / "flood.json").read_text().splitlines()[-1]))
    return outcome


def _spawn(lab: Lab, command: Sequence[str], log: str) -> subprocess.Popen[bytes]:
    (lab.directory / log).unlink(missing_ok=True)
    return lab.spawn(lab.attacker, command, log)


def _attack(lab: Lab, source: str) -> int:
    """Send the exploit; return when, in ns since the epoch."""
    sent_ns = time.time_ns()
    with suppress(OSError), connect(lab.attacker, source) as connection:
        sent_ns = time.time_ns()
        connection.sendall(LOG4SHELL.encode())
        connection.settimeout(0.1)
        connection.recv(1)
    return sent_ns


def _ask(lab: Lab, outcome: Outcome, end: float) -> None:
    """Ask for figures until the end, and note how long each answer took."""
    path = socket_path(str(lab.directory / "run"), lab.name)
    while (asked := time.monotonic()) < end:
        try:
            request(path, "stats", ASK_LIMIT_S)
            outcome.answers_s.append(time.monotonic() - asked)
        except IdsError:
            outcome.answers_s.append(ASK_LIMIT_S)
        time.sleep(ASK_EVERY_S)


def _judge(outcome: Outcome, guard: Guard, sent: dict[str, int]) -> None:
    """Compare when exploits were sent with when their sources were blocked, and note what was not inspected."""
    outcome.exploits = len(sent)
    blocked: dict[str, int] = {}
    with guard.eve.open(errors="replace") as lines:
        for line in lines:
            if '"event_type":"alert"' in line and line.endswith("\n"):
                event = json.loads(line)
                written = event["ids"].get("block", {}).get("blocked_ts_ns")
                if written is not None:
                    blocked.setdefault(event["src_ip"], written)
    for source, sent_ns in sent.items():
        delay_ms = (blocked.get(source, 1 << 63) - sent_ns) / 1e6
        if delay_ms <= WITHIN_S * 1e3:
            outcome.delays_ms.append(delay_ms)
        else:
            outcome.late += source in blocked
    stats = guard.command("stats")
    kernel = {name: counts["packets"] for name, counts in stats["kernel"].items()}
    engine = ((stats["engine"] or {}).get("ids", {})).get("engine", {}).get("uninspected", {})
    wanted = [(name, count) for name, count in sorted(kernel.items()) if name.startswith(("pass.", "note.flow_cut"))]
    wanted += [(f"engine.uninspected.{name}", count) for name, count in sorted(engine.items())]
    outcome.reasons = ", ".join(f"{name} {count}" for name, count in wanted)


def _client_rate(text: str) -> float:
    found = re.search(r"Requests per second:\s+([\d.]+)", text)
    if found is None:
        raise CannotRun(f"ab failed: {text[-300:]}")
    return float(found[1])


def _describe(said: dict[str, float]) -> str:
    megabits = said["bytes"] * 8 / said["seconds"] / 1e6
    return f"{said['opened'] / said['seconds']:.0f} connections/s, {megabits:.1f} Mbit/s, {said['failed']} failed"


def _rows(flood: str, outcome: Outcome, without: Outcome) -> list[Row]:
    name = f"flood of {flood}" if flood != "none" else "no flood"
    found, tried, delays = len(outcome.delays_ms), max(outcome.exploits, 1), outcome.delays_ms
    note = f"{found} of {outcome.exploits}; {outcome.late} later; {outcome.flood}; {outcome.reasons}"
    rows = [Row(f"{name}: others' exploits blocked within {WITHIN_S:g} s", 100 * found / tried, "%", note=note)]
    if delays:
        rows.append(Row(f"{name}: exploit to block", statistics.median(delays), "ms", min(delays), max(delays)))
    rows.append(
        Row(
            f"{name}: the busy client", outcome.client_per_s, "requests/s",
            ratio=outcome.client_per_s / without.client_per_s, peer="without us",
        )
    )  # fmt: skip
    if outcome.answers_s:
        answers = outcome.answers_s
        rows.append(
            Row(
                f"{name}: longest answer of the control socket", max(answers), "s", min(answers), max(answers),
                note=f"{len(answers)} answers, median {statistics.median(answers) * 1e3:.0f} ms",
            )
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
