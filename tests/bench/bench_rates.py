"""How many new connections a second are fully inspected on a gateway: ``ids run`` beside Suricata inline.

Three labs stand side by side, each with a gateway of its own: ours, Suricata's, and one with an empty XDP program. Only
one is under load at a time, in turn, at rates that rise until both have had enough, and then close in on what is held.
A connection is one HTTP request of some hundred bytes; its sources have proven their addresses before
(`fastpath.syn_per_destination_per_s`). A rate is held where, of the connections that were served, at least `SHARE` were
reported as HTTP events within `SETTLE_S` of the end.

The highest rate held is offered for longer, and exploits come in between: it counts where it is held then too. Of them:
what share is held off, and how long until their source is dropped (see `ids.lab.latency`). Beyond that rate: what the
gateway still lets through, and what went uninspected, by reason. Both have the starter rules (the peer without YARA),
write alert, flow and http events, and let pass what they cannot take in.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ids.errors import KernelError
from ids.lab.actors import LOG4SHELL, PAGE, fetch
from ids.lab.guard import Guard
from ids.lab.latency import NotBlocked, attack
from ids.lab.topology import ATTACKERS, BENIGN, LINK, SERVER, Lab
from ids.lab.website import start_website
from tests.bench import peer
from tests.bench.contenders import empty_program, suricata
from tests.bench.report import CannotRun, Row, show

RATES = (250, 500, 1000, 2000, 4000, 8000, 16_000)
HALVINGS = 3
"""Of the way between the highest rate that was held and the lowest that was not."""
SHARE = 0.99
SETTLE_S = 0.5
"""Much less than a step takes: what waits in a ring or a queue at its end was not taken in at that rate."""
CLOSED_S = 1
"""How long our engine keeps a closed flow; by default a minute, and then its event would be work of a later step."""
IDLE_S = 2.0
"""An engine that has written nothing for this long has nothing left to do."""
DRAIN_S = 15.0
SECONDS = 6.0
ATTACKS = 100
"""Sources of exploits; each is used once."""
ATTACK_SECONDS = 12.0
ATTACK_EVERY_S = 0.1
CONFIRMATIONS = 6
LOWER = 0.85
"""A rate that was held for some seconds, but not for `ATTACK_SECONDS`, is lowered by this, so many times at most."""
LATE_S = 0.5
"""A probe that takes longer than this was dropped; an inline queue that is full delays packets by some 100 ms."""
OVERLOADS = (1.5, 2.0)
FLAT_OUT = 32_000.0
"""More connections a second than two cores make, client and server included."""
SOURCES = "198.18.0.0/24"
OFFERED_SHARE = 0.95
"""A client that opens fewer than these of the connections that are due has reached the machine's own limit."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of some seconds of connections."""

    rate: float
    """Wanted, a second."""
    started: int
    completed: int
    opened_s: float
    """From the first to the last that was opened."""
    median_ms: float
    events: int
    """HTTP events within `SETTLE_S` of the end."""
    reasons: dict[str, int]
    """What the guard counted meanwhile, that it may not have inspected."""

    @property
    def offered(self) -> float:
        """Connections opened a second."""
        return self.started / self.opened_s

    @property
    def inspected(self) -> float:
        """Share of the served connections that were reported."""
        return self.events / self.completed if self.completed else 0.0

    @property
    def held(self) -> bool:
        """Whether nearly all was served and inspected."""
        return self.inspected >= SHARE and self.completed >= SHARE * self.started

    @property
    def reached(self) -> bool:
        """Whether the client could offer the rate at all."""
        return self.offered >= OFFERED_SHARE * self.rate

    def __str__(self) -> str:
        reasons = "".join(f", {name} {count:,}" for name, count in sorted(self.reasons.items()))
        return (
            f"{self.offered:,.0f}/s offered, {self.completed:,} of {self.started:,} served "
            f"(median {self.median_ms:.1f} ms), {100 * self.inspected:.1f} % of them inspected{reasons}"
        )


@dataclass(slots=True)
class Side:
    """A lab, who guards its gateway, and what it has reached."""

    name: str
    lab: Lab
    eve: Path | None = None
    guard: Guard | None = None
    best: Load | None = None
    too_much: float = math.inf
    """The lowest rate that was not held."""
    _read: int = field(default=0, init=False)
    _seen: int = field(default=0, init=False)
    _attacks: int = field(default=0, init=False)

    def load(self, rate: float, seconds: float, meanwhile: list[float | None] | None = None) -> Load:
        """Open connections at a rate and see what becomes of them; ``meanwhile`` takes the times of exploits."""
        log = self.lab.directory / "client.json"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.bench.load_client", "--target", SERVER, "--sources", SOURCES]
        before, events = self._counts(), self.http_events()
        client = self.lab.spawn(self.lab.attacker, [*command, "--rate", str(rate), "--seconds", str(seconds)], log.name)
        until = time.monotonic() + seconds
        while meanwhile is not None and time.monotonic() < until:
            meanwhile.append(self._attack())
            time.sleep(ATTACK_EVERY_S)
        if client.wait(seconds * 5 + 30):
            raise CannotRun(f"the client ended: {log.read_text()[-300:]}")
        said: dict[str, Any] = json.loads(log.read_text())
        time.sleep(SETTLE_S)
        events = self.http_events() - events
        self._drain()
        after = self._counts()
        reasons = {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
        return Load(
            rate, said["started"], said["completed"], said["opened_s"], said["median_ms"] or 0.0, events, reasons
        )

    def http_events(self) -> int:
        """Return how many HTTP events were written so far."""
        if self.eve is not None and self.eve.exists():
            with self.eve.open("rb") as file:
                file.seek(self._read)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read += len(whole)
            self._seen += whole.count(b'"event_type":"http"')
        return self._seen

    def _attack(self) -> float | None:
        """Attack from an address of its own; return the ms until its first packet was dropped, None if none was."""
        source = ATTACKERS[self._attacks % ATTACKS]
        self._attacks += 1
        with suppress(NotBlocked, OSError):
            return attack(self.lab, source, LOG4SHELL, LATE_S).first_drop_ms
        return None

    def _drain(self) -> None:
        """Wait until the guard has caught up, so that one load leaves nothing for the next."""
        deadline, quiet, read = time.monotonic() + DRAIN_S, time.monotonic(), self._read
        while self.eve is not None and time.monotonic() < min(deadline, quiet + IDLE_S):
            time.sleep(0.1)
            self.http_events()
            if self._read != read:
                read, quiet = self._read, time.monotonic()

    def _counts(self) -> dict[str, int]:
        """Return what was counted so far of what may have gone uninspected, and of what was dropped."""
        if self.guard is not None:
            return _our_counts(self.guard.command("stats"))
        return _queue_counts(self.lab) if self.eve is not None else {}


def main(arguments: Sequence[str] = ()) -> None:
    """Find the rates, then what happens at and beyond them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench rates")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each step")
    options = parser.parse_args(list(arguments))
    if os.geteuid() != 0:
        raise CannotRun("needs root")
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    try:
        with ExitStack() as stack:
            ours, theirs, empty = _sides(stack)
            contenders = [side for side in (ours, theirs) if side is not None]
            _find_rates(contenders, options.seconds)
            attacked = [row for side in contenders for row in _attack_rows(side)]
            rows = [*(_rate_row(side, theirs) for side in contenders), *attacked]
            rows += _overload_rows([empty, *contenders], ours, options.seconds)
    except KernelError as error:
        raise CannotRun(str(error)) from error
    show("New HTTP connections through a gateway", rows, "make bench, or: python -m tests.bench rates")


def _sides(stack: ExitStack) -> tuple[Side, Side | None, Side]:
    """Build the labs with their guards, and let every source prove its address."""

    def build() -> Lab:
        lab = stack.enter_context(Lab())
        hosts = ipaddress.ip_network(SOURCES).hosts()
        lab.attacker.run("ip", "-batch", "-", stdin="".join(f"address add {host}/32 dev {LINK}\n" for host in hosts))
        lab.gateway.run("ip", "route", "add", SOURCES, "via", BENIGN)
        start_website(lab)
        return lab

    def enter(guard: AbstractContextManager[None]) -> None:
        stack.enter_context(guard)

    lab = build()
    guard = Guard(lab, eve={"types": ["alert", "flow", "http"]}, flow={"tcp_closed_timeout_s": CLOSED_S})
    guard.start()
    ours = Side("ids run", lab, guard.eve, guard)
    theirs = None
    try:
        peer.require()
        lab = build()
        enter(suricata(lab, peer.starter_rules(inline=True)))
        theirs = Side("suricata inline", lab, lab.directory / "suricata" / "eve.json")
    except CannotRun as reason:
        print(f"without a peer: {reason}")
    lab = build()
    enter(empty_program(lab))
    empty = Side("empty XDP program", lab)
    for side in (ours, theirs, empty):
        if side is not None:
            side.load(100, 254 / 100)
            for source in ATTACKERS[:ATTACKS]:
                fetch(side.lab.attacker, source, PAGE)
    return ours, theirs, empty


def _find_rates(sides: Sequence[Side], seconds: float) -> None:
    """Raise the rate until none holds it, then halve the way between what each has held and what it has not."""
    for rate in RATES:
        for side in sides:
            if side.too_much == math.inf:
                _try(side, rate, seconds)
    for _ in range(HALVINGS):
        for side in sides:
            if side.best is not None and side.too_much < math.inf:
                _try(side, round((side.best.rate + side.too_much) / 2), seconds)


def _try(side: Side, rate: float, seconds: float) -> None:
    load = side.load(rate, seconds)
    if not (load.held and load.reached):
        load = side.load(rate, seconds)  # once more: a busy machine is no limit of the engine
    print(f"{rate:>6,}/s  {side.name}: {load}", flush=True)
    if load.held and load.reached:
        side.best = load
    else:
        side.too_much = rate


def _rate_row(side: Side, peer_side: Side | None) -> Row:
    best, peer_best = side.best, peer_side.best if peer_side else None
    ratio = best.offered / peer_best.offered if best and peer_best and side is not peer_side else None
    note = "none of the rates was held" if best is None else f"{'' if best.held else 'not held: '}{best}"
    return Row(
        f"{side.name}: highest rate inspected", best.offered if best else 0, "connections/s", ratio=ratio,
        peer="suricata" if ratio else "", note=note,
    )  # fmt: skip


def _attack_rows(side: Side) -> list[Row]:
    """Offer the highest rate for longer, with exploits in between; lower it until it is held."""
    if side.best is None:
        return []
    rate = side.best.rate
    for _ in range(CONFIRMATIONS):
        times: list[float | None] = []
        load = side.best = side.load(rate, ATTACK_SECONDS, times)
        found = [each for each in times if each is not None]
        held_off = f"{len(found)} of {len(times)} exploits held off"
        print(f"{rate:>6,.0f}/s  {side.name}, {held_off}: {load}", flush=True)
        if load.held:
            break
        rate = round(rate * LOWER)
    name, share = f"{side.name}: exploits whose source was dropped", 100 * len(found) / max(len(times), 1)
    rows = [Row(name, share, "%", note=f"{len(found)} of {len(times)}")]
    if found:
        name = f"{side.name}: exploit to first dropped packet"
        rows.append(Row(name, statistics.median(found), "ms", min(found), max(found)))
    return rows


def _overload_rows(sides: Sequence[Side], ours: Side, seconds: float) -> list[Row]:
    """Offer more than our own highest rate to each, and then more than the machine can make."""
    rows = []
    base = ours.best.rate if ours.best else RATES[0]
    wanted = {f"at {factor:g} times our rate": base * factor for factor in OVERLOADS}
    for what, rate in {**wanted, "flat out": FLAT_OUT}.items():
        empty = 0.0
        for side in sides:
            load = side.load(rate, seconds)
            print(f"{rate:>6,.0f}/s  {side.name}: {load}", flush=True)
            served = load.completed / load.opened_s
            empty = empty or served
            rows.append(
                Row(
                    f"{side.name}: served {what}", served, "connections/s", ratio=served / empty,
                    peer="empty program", note=str(load),
                )
            )  # fmt: skip
    return rows


def _our_counts(stats: dict[str, Any]) -> dict[str, int]:
    """Pick what counts packets and flows that were dropped, or passed without being inspected whole."""
    kernel = {
        name: counts["packets"]
        for name, counts in stats["kernel"].items()
        if name.startswith(("note.flow_cut.", "drop.")) or name in ("pass.ring_full", "pass.thinned")
    }
    engine = stats["engine"]["ids"] if stats["engine"] else {}
    uninspected = engine.get("engine", {}).get("uninspected", {})
    return {**kernel, **{f"engine.uninspected.{name}": count for name, count in uninspected.items()}}


def _queue_counts(lab: Lab) -> dict[str, int]:
    """Return what the kernel dropped of the queue to Suricata (include/uapi/linux/netfilter/nfnetlink_queue.h)."""
    with lab.gateway.entered():
        fields = Path("/proc/thread-self/net/netfilter/nfnetlink_queue").read_text().split()
    return {"queue_dropped": int(fields[5]), "user_dropped": int(fields[6])} if len(fields) > 6 else {}


if __name__ == "__main__":
    main()
