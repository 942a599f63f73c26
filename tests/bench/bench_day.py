"""Memory over a day of a gateway, put into an hour: mixed traffic, attacks, reloads, feeds, rotations, an overload.

What a day brings is sent within ``--minutes``, through the lab, to an engine with its default settings (blocks and the
pause between two updates of a feed last as much less). In the middle somebody sends as much as he can of what wants to
be remembered. The resident memory of every process is looked at once a second. *Flat* is memory whose line, without the
warm-up and the overload, grows by less than a twentieth and 4 MiB in that time; *returned* is what ends, by the same
margin, where it was before the overload.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from subprocess import Popen
from typing import Any

from ids.errors import KernelError
from ids.lab.actors import LOG4SHELL, connect
from ids.lab.guard import Guard
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, LINK, SERVER, Lab
from ids.lab.website import start_website
from ids.store.database import open_reading, store_path
from ids.store.queries import total
from tests.bench import hostile
from tests.bench.captures import mixed_capture
from tests.bench.process import IDS, processes, resident_mib_of
from tests.bench.report import CannotRun, Row, show
from tests.bench.resident import Course, Sampler, course

MINUTES = 60.0
DAY_MINUTES = 24 * 60
PACKETS_PER_S, CONNECTIONS_PER_S = 2000.0, 80.0
"""Of the mixed capture, and of an honest client that fetches pages: in an hour seven million and 288,000."""
RELOADS, ROTATIONS, ATTACKS, PAGES, SCRAPES = 24, 24, 480, 1440, 5760
"""Of a day: a page of the console a minute, a scrape every 15 s."""
FEED_ENTRIES, FEED_CHANGES = 10_000, 200
OVERLOAD = 0.05
"""The part of the time that the overload lasts."""
HOSTILE_PACKETS = 100_000
ROOT = str(Path(__file__).resolve().parents[2])
SAMPLES = Path(ROOT, "build", "day.json")
"""All samples of the latest run, renewed once a minute: for whoever wants to draw them."""


@dataclass
class Chore:
    """Something that happens so many times in a day."""

    times: int
    act: Callable[[], None]
    done: int = 0
    failed: list[str] = field(default_factory=list)

    def catch_up(self, part: float) -> None:
        """Do it once if it is due, when this part of the day is over."""
        if self.done + len(self.failed) < int(self.times * part):
            try:
                self.act()
                self.done += 1
            except Exception as error:  # counted, and shown at the end
                self.failed.append(f"{type(error).__name__}: {error}"[:300])


class Day:
    """One engine, its console, and all that a day brings."""

    def __init__(self, lab: Lab, minutes: float, workers: int) -> None:
        self.lab, self.seconds = lab, 60 * minutes
        self.feed = lab.directory / "feed.txt"
        self._change_feed()
        scale = minutes / DAY_MINUTES
        self.guard = Guard(
            lab, engine={"workers": workers}, respond={"default_ttl_s": max(1, round(3600 * scale)), "allow": [BENIGN]},
            console={"listen": f"unix:{lab.directory}/console.sock"},
        )  # fmt: skip
        every = max(60, round(3600 * scale))
        feeds = f"feeds: [{{label: theirs, file: {self.feed}, every: {every}}}]\n"
        self.guard.config.write_text(self.guard.config.read_text() + feeds)
        self.chores = {
            "reloads": Chore(RELOADS, lambda: self.guard.command("reload")),
            "feed changes": Chore(24, self._change_feed),
            "rotations": Chore(ROTATIONS, self._rotate),
            "attacks": Chore(ATTACKS, self._attack),
        }
        self.rotated_bytes = 0
        self.attacked_in_vain = 0
        self.overload = (0.0, 0.0)
        self._clients: dict[str, Popen[bytes]] = {}
        self._console: Popen[bytes] | None = None

    def run(self) -> Sampler:
        """Go through the day; return the memory of each process over it."""
        self.guard.start()
        self._console = self.lab.spawn(self.lab.gateway, [IDS, "console", "-c", str(self.guard.config)], "console.log")
        token = Path(self.guard_run("default.token"))
        place = self.lab.directory / "console.sock"
        if not wait_until(lambda: token.exists() and place.exists(), 60):
            raise CannotRun(f"the console did not start: {(self.lab.directory / 'console.log').read_text()[-300:]}")
        self._begin_traffic(token, place)
        captures = self._hostile_captures()
        with Sampler(self._memory) as sampler:
            at = minute = 0.0
            while at < self.seconds:
                if not self.overload[0] and at >= self.seconds / 2:
                    self._begin_overload(captures)
                    self.overload = (at, at + OVERLOAD * self.seconds)
                for chore in self.chores.values():
                    chore.catch_up(at / self.seconds)
                if at // 60 > minute:
                    minute = at // 60
                    print(f"minute {minute:.0f}: {sampler.latest()} MiB", flush=True)
                    SAMPLES.write_text(json.dumps({"overload": self.overload, "samples": sampler.samples}))
                time.sleep(0.2)
                at = time.monotonic() - sampler.began
        for process in self._clients.values():
            process.wait(30)
        return sampler

    def guard_run(self, name: str) -> str:
        """Return the path of a file in the engine's runtime directory."""
        return str(self.lab.directory / "run" / name.replace("default", self.lab.name))

    def printed(self, client: str) -> str:
        """Return the last line that a client printed."""
        text = (self.lab.directory / f"{client}.log").read_text().strip()
        return text.splitlines()[-1] if text else "nothing"

    def _begin_traffic(self, token: Path, place: Path) -> None:
        console = ["console_client", "--token-file", str(token), "--seconds", str(self.seconds)]
        pages = ["/", "/alerts", "/blocks", "/rules", "/search?q=192.0.2.100", "/api/now"]
        visits = [str(self.seconds / PAGES), str(place), *pages]
        scrapes = [str(self.seconds / SCRAPES), str(place), "/metrics"]
        self._client("mix", self.lab.attacker, self._wire(mixed_capture(), rate=PACKETS_PER_S, seconds=self.seconds))
        self._client("pages", self.lab.gateway, [*console, "--every", *visits])
        self._client("scrapes", self.lab.gateway, [*console, "--every", *scrapes])
        words = ["load_client", "--target", SERVER, "--sources", f"{BENIGN}/32", "--rate", str(CONNECTIONS_PER_S)]
        self._client("honest", self.lab.attacker, [*words, "--seconds", str(self.seconds)])

    def _client(self, name: str, namespace: Any, words: Sequence[str]) -> None:
        command = [sys.executable, "-m", f"tests.bench.{words[0]}", *words[1:]]
        self._clients[name] = self.lab.spawn(namespace, command, f"{name}.log")

    def _wire(self, *captures: Path, rate: float, seconds: float) -> list[str]:
        options = ["--interface", LINK, "--rate", str(rate), "--seconds", str(seconds)]
        return ["wire_client", *options, *map(str, captures)]

    def _hostile_captures(self) -> list[Path]:
        made = []
        for number, make in enumerate(hostile.SHAPES.values()):
            made.append(self.lab.directory / f"hostile-{number}.pcap")
            hostile.write(made[-1], make, HOSTILE_PACKETS)
        return made

    def _begin_overload(self, captures: list[Path]) -> None:
        self._client("overload", self.lab.attacker, self._wire(*captures, rate=0.0, seconds=OVERLOAD * self.seconds))

    def _change_feed(self) -> None:
        kept = self.feed.read_text().split()[FEED_CHANGES:] if self.feed.exists() else []
        fresh = [str(IPv4Address(0xC6120000 + random.getrandbits(17))) for _ in range(FEED_ENTRIES - len(kept))]
        part = self.feed.with_suffix(".part")
        part.write_text("\n".join([*kept, *fresh]) + "\n")
        part.replace(self.feed)

    def _rotate(self) -> None:
        """Move the events away as logrotate does, and delete what was moved before."""
        moved = self.guard.eve.with_suffix(".json.1")
        self.guard.eve.rename(moved)
        self.rotated_bytes += moved.stat().st_size

    def _attack(self) -> None:
        """Send an exploit from one address after the other; who comes back is blocked for longer, or still blocked."""
        source = ATTACKERS[self.chores["attacks"].done % len(ATTACKERS)]
        try:
            with connect(self.lab.attacker, source, 0.5) as connection:
                connection.sendall(LOG4SHELL.encode())
                connection.settimeout(0.05)
                with suppress(OSError):
                    connection.recv(1 << 16)
        except OSError:
            self.attacked_in_vain += 1

    def _memory(self) -> Mapping[str, float]:
        """Return the MiB of the engine, its workers, its helpers together, and the console."""
        roles = {"engine": 0.0, "helpers": 0.0}
        own = Path(f"/proc/{self.guard.pid}/cmdline").read_bytes()
        for pid in processes(self.guard.pid):
            with suppress(OSError):
                fork = Path(f"/proc/{pid}/cmdline").read_bytes() == own
                role = "engine" if pid == self.guard.pid else f"worker {pid}" if fork else "helpers"
                roles[role] = roles.get(role, 0.0) + resident_mib_of(pid)
        if self._console is not None:
            roles["console"] = resident_mib_of(self._console.pid)
        return roles


def main(arguments: Sequence[str] = ()) -> None:
    """Go through one day, and show what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench day")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that the day takes")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(list(arguments))
    if os.geteuid() != 0:
        raise CannotRun("needs root")
    os.environ["PYTHONPATH"] = ROOT
    try:
        with Lab() as lab:
            start_website(lab)
            day = Day(lab, options.minutes, options.workers)
            sampler = day.run()
            rows = [*_memory_rows(day, sampler), *_happened(day)]
    except KernelError as error:
        raise CannotRun(str(error)) from error
    show(f"A day in {options.minutes:g} minutes", rows, "python -m tests.bench day")


def _memory_rows(day: Day, sampler: Sampler) -> list[Row]:
    rows = []
    for role, (seconds, mib) in sorted(sampler.samples.items()):
        if role == "helpers":  # updates of feeds and the like, which come and go
            rows.append(Row("helpers together, at most", max(mib), "MiB"))
        elif len(seconds) > len(sampler.samples["engine"][0]) / 2:  # a fork for a moment is no worker
            rows.append(_memory_row(role, course(seconds, mib, day.overload, day.seconds), day.seconds / 3600))
    return rows


def _memory_row(role: str, seen: Course, hours: float) -> Row:
    said = f"{'flat' if seen.is_flat(hours) else 'GROWS'}, {seen.slope:+.2f} MiB/h of the run"
    said += f"; {seen.end:.1f} MiB at the end: {'returned' if seen.returned else f'{seen.part_returned:.0%} returned'}"
    return Row(f"{role}, before the overload", seen.before, "MiB", seen.before, seen.peak, note=said)


def _happened(day: Day) -> list[Row]:
    """Return what the day had in it."""
    stats = day.guard.command("stats")
    ids = stats["engine"]["ids"]
    memory = open_reading(store_path(str(day.lab.directory / "state"), day.lab.name))
    rows = [
        Row("packets of the mix", float(day.printed("mix").split()[0]), "packets"),
        Row("packets of the overload", float(day.printed("overload").split()[0]), "packets"),
        Row("flows", ids["flow"]["total"], "flows", note=f"{ids['flow'].get('active', 0):,} at the end"),
        Row("alerts", ids["detect"]["alerts"], "alerts", note=f"{total(memory):,} rows in the store"),
        Row("inspection behind the wire, at worst", ids["engine"]["lag_highest_ms"] / 1e3, "s"),
        Row(
            "packets beyond a source's share of the time",
            ids["engine"].get("uninspected", {}).get("share", 0),
            "packets",
        ),
        Row("sources with penalties", len(day.guard.rows("penalties", "list")), "sources"),
        Row("events rotated away", day.rotated_bytes / 2**20, "MiB"),
        Row("pages that an honest client missed", _missed(day), "pages", note=day.printed("honest")),
        Row("console, pages", sum(json.loads(day.printed("pages")).values()), "requests", note=day.printed("pages")),
        Row("console, scrapes", sum(json.loads(day.printed("scrapes")).values()), "", note=day.printed("scrapes")),
    ]
    memory.close()
    for name, chore in day.chores.items():
        note = f"{len(chore.failed)} failed: {chore.failed[0]}" if chore.failed else ""
        note += f"{day.attacked_in_vain} while still blocked" if name == "attacks" else ""
        rows.append(Row(name, chore.done, "times", note=note))
    return rows


def _missed(day: Day) -> float:
    tally = json.loads(day.printed("honest"))
    return float(tally["failed"] + tally["skipped"])


if __name__ == "__main__":
    main()
