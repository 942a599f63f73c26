"""What the lab shows, step by step: each is done for real, checked, and shown as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, TypeAlias

from ids.errors import IdsError, KernelError
from ids.lab.actors import LOG4SHELL, PAGE, connect, fetch, sent_packets, syn_flood
from ids.lab.guard import Guard
from ids.lab.latency import PROBE_S, Quantiles, attack, map_write_ms
from ids.lab.topology import ATTACKERS, BENIGN, FLOODER, SERVER, Lab
from ids.lab.website import start_website
from ids.literal import excerpt

ALERT_S = 10.0
"""How long the story waits for an alert before it says that there is none."""
CUT_OFF_S = 1.5
"""How long a blocked source tries to connect: its first SYN, and the repetition after one second."""
FLOOD_CONNECTIONS = 20
FLOOD_S = 3.0
FLOOD_CONNECT_S = 5.0
"""Patience of a client during the flood: a SYN lost in a full queue is sent again after one second, and after three."""
MAX_ATTACKS = len(ATTACKERS) - 1
"""Each timed attack needs an address that has not attacked before."""

Seen: TypeAlias = tuple[list[str], dict[str, Any]]
"""What a step saw: lines for people, figures for programs."""


class StepFailed(IdsError):
    """Something that the lab was to show did not happen."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the lab showed, or failed to show."""

    step: str
    """Its name, for programs."""
    title: str
    ok: bool
    detail: list[str]
    """What was seen, for people, a line each."""
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """Everything that a lab showed; `to_json` is what ``ids lab -o json`` prints."""

    steps: list[Step] = field(default_factory=list)
    latency_ms: Quantiles | None = None
    """From the exploit to the first dropped packet of its sender; see `ids.lab.latency`."""
    map_write_ms: Quantiles | None = None
    """From the exploit's packet in the driver to the block in the kernel's map."""
    kernel: dict[str, int] = field(default_factory=dict)
    """Packets by reason, as the XDP program counted them."""
    log: str | None = None
    """The end of the engine's log, when a step failed."""

    @property
    def ok(self) -> bool:
        """Every step held."""
        return all(step.ok for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {"ok": self.ok, **asdict(self)}


class Story:
    """The story of one lab. ``on_start`` hears a step's title before it happens, ``on_step`` what became of it."""

    def __init__(self, lab: Lab, on_start: Callable[[str], Any], on_step: Callable[[Step], Any]) -> None:
        self.guard = Guard(lab)
        self.report = Report()
        self._lab = lab
        self._on_start = on_start
        self._on_step = on_step
        self._attacker = ATTACKERS[0]

    def run(self, attacks: int) -> Report:
        """Go through all steps, timing up to `MAX_ATTACKS` attacks; the first that fails is the last.

        Raises `ids.errors.KernelError` where the kernel side refuses: then there is no story, but no fault either.
        """
        steps: list[tuple[str, str, Callable[[], Seen]]] = [
            ("stage", "A web server, and a gateway that guards it", self._set_stage),
            ("served", "An honest client asks for a page", self._serve),
            ("alerted", "An attacker tries an exploit", self._alert),
            ("blocked", "Its address is blocked in the kernel", self._block),
            ("cut_off", "Its next connection is dead; the honest client's is not", self._cut_off),
            ("flood_held", "A SYN flood meets the budget of its source", self._flood),
        ]
        if attacks:
            steps.append(("latency", f"{attacks} more attackers, timed", partial(self._measure, attacks)))
        steps.append(("counters", "What the kernel counted", self._count))
        for name, title, act in steps:
            if not self._show(name, title, act):
                self.report.log = self.guard.log_tail()
                break
        return self.report

    def _show(self, name: str, title: str, act: Callable[[], Seen]) -> bool:
        self._on_start(title)
        try:
            detail, figures = act()
            step = Step(name, title, True, detail, figures)
        except KernelError:
            raise
        except (IdsError, OSError) as error:
            step = Step(name, title, False, str(error).splitlines())
        self.report.steps.append(step)
        self._on_step(step)
        return step.ok

    def _set_stage(self) -> Seen:
        website = start_website(self._lab)
        start = time.monotonic()
        self.guard.start()
        seconds = time.monotonic() - start
        modes = self.guard.xdp_modes()
        return [
            f"{website.software} serves {SERVER}; `ids run` guards the way there, ready after {seconds:.1f} s",
            f"XDP: {', '.join(f'{mode} on {interface}' for interface, mode in modes.items())}",
            f"namespaces: {self._lab.attacker.name}, {self._lab.gateway.name}, {self._lab.server.name}",
        ], {"server": website.software, "xdp": modes, "ready_s": round(seconds, 3)}

    def _serve(self) -> Seen:
        answer = fetch(self._lab.attacker, BENIGN, PAGE)
        if answer.status != 200:
            raise StepFailed(f"the page came with status {answer.status}, not 200")
        line = (
            f"{BENIGN} gets http://{SERVER}{PAGE.target}: status 200, {answer.length} bytes in {answer.took_ms:.1f} ms"
        )
        return [line], {"status": answer.status, "took_ms": round(answer.took_ms, 3)}

    def _alert(self) -> Seen:
        header = f"User-Agent: {LOG4SHELL.headers['User-Agent']}"
        with suppress(OSError):  # the answer may be lost already: the block is that fast
            fetch(self._lab.attacker, self._attacker, LOG4SHELL, timeout_s=1.0)
        event = self.guard.wait_for(self._is_alert, ALERT_S)
        if event is None:
            raise StepFailed(f"no alert within {ALERT_S:g} s of {self._attacker}'s request with {header}")
        alert, evidence = event["alert"], event["ids"]["evidence"]
        lines = [
            f"{self._attacker} sends {LOG4SHELL.name}: {header}",
            f"alert: {alert['signature']} (sid {alert['signature_id']}, severity {alert['severity']})",
            *(f"evidence: {item['buffer']} at {item['offset']}: {excerpt(item['excerpt'])}" for item in evidence[:1]),
        ]
        return lines, {"sid": alert["signature_id"], "signature": alert["signature"], "evidence": evidence}

    def _is_alert(self, event: dict[str, Any]) -> bool:
        return bool(event["event_type"] == "alert" and event.get("src_ip") == self._attacker)

    def _block(self) -> Seen:
        entry = self._entry(self._attacker)
        if entry is None:
            raise StepFailed(f"the kernel's blocklist has no entry for {self._attacker}")
        left_s = (entry["expires_ns"] - time.time_ns()) / 1e9
        line = (
            f"`ids block list`: {entry['network']}, {entry['mode']}, by rule {entry['sid']}, for another {left_s:.0f} s"
        )
        return [line], {"entry": entry}

    def _entry(self, address: str) -> dict[str, Any] | None:
        """Read the entry of an address from the kernel's map, as an operator would."""
        entries = self.guard.rows("block", "list")
        return next((entry for entry in entries if entry["network"].split("/")[0] == address), None)

    def _cut_off(self) -> Seen:
        try:
            connect(self._lab.attacker, self._attacker, CUT_OFF_S).close()
        except TimeoutError:
            pass
        else:
            raise StepFailed(f"{self._attacker} can still connect, though it is blocked")
        answer = fetch(self._lab.attacker, BENIGN, PAGE)
        packets = (self._entry(self._attacker) or {}).get("packets", 0)
        if not packets:
            raise StepFailed(f"{self._attacker} cannot connect, but not because of the block: it dropped no packet")
        return [
            f"{self._attacker} gets no answer within {CUT_OFF_S:g} s: {packets} of its packets died in XDP so far",
            f"{BENIGN} gets its page: status {answer.status} in {answer.took_ms:.1f} ms",
        ], {"dropped_packets": packets, "benign_status": answer.status}

    def _flood(self) -> Seen:
        before, sent = self.guard.kernel_packets(), sent_packets(self._lab.attacker)
        start = time.monotonic()
        with syn_flood(self._lab) as software:
            waits = self._connect_steadily(FLOOD_CONNECTIONS, FLOOD_S)
            sent = sent_packets(self._lab.attacker) - sent
            seconds = time.monotonic() - start
        dropped = self.guard.kernel_packets().get("drop.syn_source", 0) - before.get("drop.syn_source", 0)
        if len(waits) < FLOOD_CONNECTIONS:
            raise StepFailed(f"only {len(waits)} of {FLOOD_CONNECTIONS} honest connections succeeded during the flood")
        if not dropped:
            raise StepFailed(f"{FLOODER} sent {sent} packets and its SYN budget refused none")
        took = Quantiles.of(waits)
        return [
            f"{FLOODER} sends {sent:,} packets in {seconds:.1f} s ({software}): {dropped:,} die in XDP, over budget",
            f"{BENIGN} meanwhile gets {len(waits)} pages of {FLOOD_CONNECTIONS},"
            f" median {took.median:.1f} ms, slowest {took.max:.1f} ms",
        ], {
            "sent": sent,
            "dropped": dropped,
            "seconds": round(seconds, 3),
            "served": len(waits),
            "took_ms": asdict(took),
        }

    def _connect_steadily(self, times: int, seconds: float) -> list[float]:
        """Fetch a page again and again, evenly over some time; return how long the successful ones took, in ms."""
        waits = []
        for _ in range(times):
            time.sleep(seconds / times)
            with suppress(OSError):  # a failure shows in the number of successes
                waits.append(fetch(self._lab.attacker, BENIGN, PAGE, FLOOD_CONNECT_S).took_ms)
        return waits

    def _measure(self, attacks: int) -> Seen:
        drops, writes = [], []
        for source in ATTACKERS[1 : 1 + attacks]:
            drops.append(attack(self._lab, source, LOG4SHELL).first_drop_ms)
            writes.append(map_write_ms(self.guard, source))
        drop, write = Quantiles.of(drops), Quantiles.of(writes)
        self.report.latency_ms, self.report.map_write_ms = drop, write
        return [
            f"exploit to first dropped packet: median {drop.median:.1f} ms, p99 {drop.p99:.1f} ms"
            f" (probes every {PROBE_S * 1e3:g} ms)",
            f"exploit in the driver to block in the map: median {write.median:.1f} ms, p99 {write.p99:.1f} ms",
        ], {"first_drop_ms": drops, "map_write_ms": writes}

    def _count(self) -> Seen:
        self.report.kernel = counts = self.guard.kernel_packets()
        shown = sorted((name for name in counts if name.startswith("drop.")), key=lambda name: -counts[name])
        shown += sorted(name for name in counts if name.startswith("pass."))
        if not any(name.startswith("drop.") for name in shown):
            raise StepFailed("the kernel counted no dropped packet")
        width = max(len(name) for name in shown)
        return [f"{name:<{width}}  {counts[name]:>10,} packets" for name in shown], {}
