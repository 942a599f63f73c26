"""A gateway with everything on, traffic through it, and faults that happen to it meanwhile.

Datagrams with numbers come from an innocent source and from blocked ones: by hand, by a feed, by a rule. Each that is
lost of the first, or arrives of the others, is known.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

from ids.config import load_config
from ids.lab.actors import LOG4SHELL, PAGE, fetch
from ids.lab.guard import Guard, GuardFailed
from ids.lab.latency import NotBlocked, attack
from ids.lab.namespace import run_command
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, FLOODER, SERVER, Lab
from ids.lab.website import start_website
from ids.snapshot import take_snapshot
from tests.bench import stepped_clock
from tests.bench.process import IDS
from tests.packages import traffic

ROOT = Path(__file__).resolve().parents[2]
BY_HAND, BY_FEED, BY_RULE = ATTACKERS[:3]
BLOCKED = (BY_HAND, BY_FEED, BY_RULE)
INNOCENT = FLOODER
"""Has its name from another play; here it only sends datagrams, and `BENIGN` fetches pages beside it."""
SYSLOG_PORT, WEBHOOK_PORT = 9601, 9602
DISK_BYTES = 24 << 20
PATIENCE_S = 60.0
TYPES, BUFFER_BYTES = ("alert", "flow", "http"), 4096
"""The smallest of queues, and much to say: a receiver that stalls has it full within a second."""
TOLD = ("lost", "refused", "retries", "renamed", "interfaces_lost", "ring_full", "faults", "failures", "missing")
"""Ends of the counters that say of a fault."""


@dataclass
class Seen:
    """What a fault did."""

    lost: int = 0
    """Datagrams of the innocent that did not arrive."""
    sent: int = 0
    passed: int = 0
    """Datagrams of the blocked that did."""
    pages_failed: int = 0
    pages: int = 0
    block_ms: float | None = None
    """From an exploit during the fault to the first dropped packet of its sender; None: it was not blocked."""
    said: list[str] = field(default_factory=list)
    """What changed in the counters of `ids stats` that tell of losses."""


class Site:
    """One lab with its engine, its receivers and its console; `opened` makes it."""

    def __init__(self, lab: Lab, disk: Path, rules: Mapping[str, Any] | None = None) -> None:
        self.lab, self.disk = lab, disk
        self.feed = lab.directory / "feed.txt"
        self.feed.write_text(f"{BY_FEED}\n198.51.100.66\n")
        self.place, self.token = lab.directory / "console.sock", lab.directory / "token"
        self.guard = Guard(
            lab, rules=dict(rules or {}),
            engine={"state_dir": str(disk / "state"), "stats_interval_s": 1}, eve={"path": str(disk / "eve.json")},
            syslog={"address": f"tcp://127.0.0.1:{SYSLOG_PORT}", **_output()},
            webhook={"url": f"http://127.0.0.1:{WEBHOOK_PORT}/", "batch_timeout_s": 0, **_output()},
            console={"listen": f"unix:{self.place}", "token_file": str(self.token)},
        )  # fmt: skip
        feeds = f"feeds: [{{label: theirs, file: {self.feed}, every: 1d}}]\n"
        self.guard.config.write_text(self.guard.config.read_text() + feeds)
        self._unused = iter(ATTACKERS[len(BLOCKED) :])
        sink = [sys.executable, "-m", "tests.bench.sink", str(SYSLOG_PORT), str(WEBHOOK_PORT)]
        self.sink = lab.spawn(lab.gateway, sink, "sink.log")
        self.console = lab.spawn(lab.gateway, [IDS, "console", "-c", str(self.guard.config)], "console.log")
        self.guard.start()
        self.guard.command("block", "add", BY_HAND)
        self._wait(lambda: self.place.exists() and self.token.exists(), "the console did not start")
        self._wait(lambda: "theirs: updated" in self.guard.log.read_text(), "the feed is not in force")
        attack(lab, BY_RULE, LOG4SHELL)

    def client(self, module: str, *words: str | float | Path) -> Popen[bytes]:
        """Start a program of the benchmarks on the gateway."""
        command = [sys.executable, "-m", f"tests.bench.{module}", *map(str, words)]
        return self.lab.spawn(self.lab.gateway, command, f"{module}.log")

    def exploit(self) -> float | None:
        """Send an exploit from a fresh address; return after how many ms its sender's packets were dropped.

        None where they were not, within `ids.lab.latency.LIMIT_S`.
        """
        with suppress(NotBlocked):
            return attack(self.lab, next(self._unused), LOG4SHELL).first_drop_ms
        return None

    def watch(self, fault: Callable[[Site, Seen], AbstractContextManager[None]]) -> Seen:
        """Let traffic flow, have a fault happen, attack during it, and count."""
        seen, before = Seen(), self.counters()
        with self._traffic(seen), self._pages(seen):
            time.sleep(0.3)
            with fault(self, seen):
                seen.block_ms = self.exploit()
            time.sleep(0.3)
        after = self.counters()
        for name, value in after.items():
            if name.rpartition(".")[2].endswith(TOLD) and value > before.get(name, 0):
                seen.said.append(f"{name} {value - before.get(name, 0)}")
        return seen

    def counters(self) -> dict[str, int]:
        """Return the counters that `ids stats` shows, flat; those of the kernel in packets."""
        seen = take_snapshot(load_config(self.guard.config), PATIENCE_S).counters
        return {name.removesuffix(".packets"): value for name, value in seen.items() if not name.endswith(".bytes")}

    def _wait(self, condition: Callable[[], bool], complaint: str) -> None:
        if not wait_until(condition, PATIENCE_S, 0.05):
            raise GuardFailed(f"{complaint}; the end of the engine's log:\n{self.guard.log_tail()}")

    @contextmanager
    def _traffic(self, seen: Seen) -> Iterator[None]:
        until = self.lab.directory / "until"
        until.unlink(missing_ok=True)
        outputs = [self.lab.directory / f"{verb}.log" for verb in ("receive", "send")]
        for output in outputs:
            output.unlink(missing_ok=True)
        words = [sys.executable, traffic.__file__]
        receiver = self.lab.spawn(self.lab.server, [*words, "receive", SERVER, str(until)], outputs[0])
        self._wait(lambda: "ready" in outputs[0].read_text(), "no receiver")
        send = [*words, "send", SERVER, str(until), INNOCENT, *BLOCKED]
        sender = self.lab.spawn(self.lab.attacker, send, outputs[1])
        try:
            yield
        finally:
            until.touch()
            for process in (sender, receiver):
                process.wait(PATIENCE_S)
        arrived, sent = (json.loads(output.read_text().splitlines()[-1]) for output in outputs)
        seen.sent = sent[INNOCENT]
        seen.lost = sent[INNOCENT] - arrived.get(INNOCENT, 0)
        seen.passed = sum(arrived.get(source, 0) for source in BLOCKED)

    @contextmanager
    def _pages(self, seen: Seen) -> Iterator[None]:
        done = threading.Event()

        def browse() -> None:
            while not done.wait(0.02):
                seen.pages += 1
                try:
                    seen.pages_failed += fetch(self.lab.attacker, BENIGN, PAGE).status != 200
                except OSError:
                    seen.pages_failed += 1

        thread = threading.Thread(target=browse)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


@contextmanager
def opened(rules: Mapping[str, Any] | None = None) -> Iterator[Site]:
    """Make a site, with a small disk of its own and a clock that can be set."""
    with Lab() as lab, ExitStack() as stack:
        disk = lab.directory / "disk"
        disk.mkdir()
        run_command(("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)))
        stack.callback(run_command, ("umount", "--lazy", str(disk)))
        stack.enter_context(_environment(stepped_clock.prepare(lab.directory)))
        start_website(lab)
        yield Site(lab, disk, rules)


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    """Add to the environment of all that is started meanwhile; to the path of Python modules this tree too."""
    former = {name: os.environ.get(name) for name in added}
    os.environ.update(added, PYTHONPATH=f"{added['PYTHONPATH']}:{ROOT}")
    try:
        yield
    finally:
        for name, value in former.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _output() -> dict[str, Any]:
    return {"types": list(TYPES), "buffer_bytes": BUFFER_BYTES}
