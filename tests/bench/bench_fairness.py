"""Somebody else's exploits, an honest client that is busy, and the operator's questions, while one source floods.

The floods are modest, from one address, and under every default budget (`tests.bench.flood_client`): 150 connections
a second of 15 KB in segments of 100 bytes; 7.5 Mbit/s of requests of five bytes; and pages, as many as `ab` gets over
four connections. Each second somebody else sends an exploit, from an address of its own. What share of these is
blocked within `WITHIN_S`, and how long after the exploit was sent does the kernel have the block? Meanwhile an honest
client fetches pages at a steady rate, and an operator asks the control socket for figures, four times a second.

The engine has a processor to itself where there are two: clients, flood and server stand for other machines. The
honest client's rate is compared with that under the same flood through a gateway whose interfaces have an empty XDP
program.
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
from tests.bench.contenders import empty_program
from tests.bench.flood_client import FLOODS
from tests.bench.report import CannotRun, Row, show

SECONDS = 20.0
WARM_S = 2.0
"""A flood is under way when the exploits begin."""
CASES = ("none", *FLOODS, "pages")
EVERY_S = 1.0
WITHIN_S = 1.0
PAGE_URL = f"http://{SERVER}/index.html"
ASK_EVERY_S = 0.25
ASK_LIMIT_S = 30.0
CLIENT_PER_S = 2000.0
"""Requests of the honest client: what it gets then depends on the gateway, not on how fast this machine is."""


@dataclass(slots=True)
class Outcome:
    """What came of one flood."""

    exploits: int = 0
    delays_ms: list[float] = field(default_factory=list)
    """From the exploit to its block, of those that were blocked within `WITHIN_S`."""
    late: int = 0
    """Blocked later than that."""
    client_per_s: float = 0.0
    client_ms: float = 0.0
    answers_s: list[float] = field(default_factory=list)
    """What the control socket took to answer; `ASK_LIMIT_S` where it did not."""
    flood: str = ""
    reasons: str = ""


def main(arguments: Sequence[str] = ()) -> None:
    """Measure each flood without us and with us."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench fairness")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each case")
    parser.add_argument("--flood", choices=CASES, action="append", help="default: all")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(list(arguments))
    if os.geteuid() != 0:
        raise CannotRun("needs root")
    if shutil.which("ab") is None:
        raise CannotRun("ab is not installed: scripts/bench-setup.sh")
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    floods = options.flood or CASES
    rows = []
    try:
        with Lab() as lab, _on(_others()):
            start_website(lab)
            with empty_program(lab):
                empty = {flood: _case(lab, None, flood, options.seconds) for flood in floods}
            for flood in floods:
                guard = Guard(lab, engine={"workers": options.workers})
                with _on(_engines()):
                    guard.start()
                rows += _rows(flood, _case(lab, guard, flood, options.seconds), empty[flood])
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
    outcome = Outcome()
    running: list[subprocess.Popen[bytes]] = []
    if flood != "none":
        running.append(_spawn(lab, _flooding(flood, seconds + WARM_S), "flood.log"))
    time.sleep(WARM_S)
    client = ["--source", BENIGN, "--target", SERVER, "--rate", str(CLIENT_PER_S), "--seconds", str(seconds)]
    running.append(_spawn(lab, [sys.executable, "-m", "tests.bench.busy_client", *client], "client.json"))
    end = time.monotonic() + seconds
    asker = threading.Thread(target=_ask, args=(lab, outcome, end))
    if guard is not None:
        asker.start()
    sent = {}
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
    served = _last_line(lab, "client.json")
    outcome.client_per_s, outcome.client_ms = served["answered_per_s"], served["median_ms"]
    outcome.flood = _describe(lab, flood)
    return outcome


def _describe(lab: Lab, flood: str) -> str:
    if flood == "none":
        return "nobody floods"
    if flood == "pages":
        return "".join(re.findall(r"Requests per second:\s+[\d.]+", (lab.directory / "flood.log").read_text()))
    said = _last_line(lab, "flood.log")
    megabits = said["bytes"] * 8 / said["seconds"] / 1e6
    return f"{said['opened'] / said['seconds']:.0f} connections/s, {megabits:.1f} Mbit/s"


def _flooding(flood: str, seconds: float) -> list[str]:
    if flood == "pages":
        return ["ab", "-q", "-k", "-c", "4", "-t", str(int(seconds)), "-n", "100000000", "-B", FLOODER, PAGE_URL]
    command = [sys.executable, "-m", "tests.bench.flood_client", "--kind", flood, "--source", FLOODER]
    return [*command, "--target", SERVER, "--rate", str(FLOODS[flood]), "--seconds", str(seconds)]


def _last_line(lab: Lab, log: str) -> dict[str, float]:
    text = (lab.directory / log).read_text()
    try:
        said: dict[str, float] = json.loads(text.splitlines()[-1])
    except (IndexError, ValueError):
        raise CannotRun(f"{log}: {text[-300:]}") from None
    return said


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
    try:
        stats = guard.command("stats")
    except subprocess.TimeoutExpired:
        outcome.reasons = "`ids stats` does not answer"
        return
    kernel = {name: counts["packets"] for name, counts in stats["kernel"].items()}
    engine = ((stats["engine"] or {}).get("ids", {})).get("engine", {}).get("uninspected", {})
    wanted = [(name, count) for name, count in sorted(kernel.items()) if name.startswith(("pass.", "note.flow_cut"))]
    wanted += [(f"engine.uninspected.{name}", count) for name, count in sorted(engine.items())]
    outcome.reasons = ", ".join(f"{name} {count}" for name, count in wanted)


def _rows(flood: str, outcome: Outcome, empty: Outcome) -> list[Row]:
    name = f"flood of {flood}" if flood != "none" else "no flood"
    found, tried, delays = len(outcome.delays_ms), max(outcome.exploits, 1), outcome.delays_ms
    note = f"{found} of {outcome.exploits}; {outcome.late} later; {outcome.flood}; {outcome.reasons}"
    rows = [Row(f"{name}: others' exploits blocked within {WITHIN_S:g} s", 100 * found / tried, "%", note=note)]
    if delays:
        rows.append(Row(f"{name}: exploit to block", statistics.median(delays), "ms", min(delays), max(delays)))
    rows.append(
        Row(
            f"{name}: the honest client", outcome.client_per_s, "requests/s",
            ratio=outcome.client_per_s / empty.client_per_s, peer="with an empty program",
            note=f"median {outcome.client_ms:.2f} ms; {empty.client_per_s:,.0f}/s and {empty.client_ms:.2f} ms there",
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
