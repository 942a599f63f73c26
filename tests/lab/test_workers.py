"""`ids run --workers`: several processes inspect, one decides; none is missed, and none stays behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ids.lab.actors import LOG4SHELL, Request, connect
from ids.lab.guard import Guard, GuardFailed, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, Lab
from tests.lab.clients import PATIENCE_S, exploit, is_cut_off, is_served

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

WORKERS = 2
ROUND = 12
"""Sources of one attack: with the chance of one in 4096, one worker alone gets all of them."""
OTHER = Request("another exploit", "/index.html", {"X-Other": "an-exploit-of-another-kind"})
RULE = """
rules:
  - title: an exploit of another kind
    sid: 9000001
    traffic: tcp any any -> any 80
    match:
      - payload: {contains: an-exploit-of-another-kind}
    block: {target: src_ip, for: 1h}
"""


class Sources:
    """Attackers' addresses, each used once."""

    def __init__(self) -> None:
        self._left = list(ATTACKERS)

    def some(self, count: int = ROUND) -> list[str]:
        taken, self._left = self._left[:count], self._left[count:]
        return taken


@pytest.fixture
def sources() -> Sources:
    return Sources()


@pytest.fixture
def rules(lab: Lab) -> Path:
    """The file of rules that the engine has."""
    path = lab.directory / "rules.yaml"
    path.write_text((rules_directory() / "log4shell.yaml").read_text())
    return path


@pytest.fixture
def guard(site: Lab, rules: Path) -> Guard:
    started = Guard(site, rules={"paths": [str(rules)]}, engine={"workers": WORKERS})
    started.start()
    return started


def workers_of(guard: Guard) -> list[int]:
    """Return the engine's workers, once nothing else of it runs: a program that it starts, such as ``ip``, is a fork of
    the engine too for the moment before it is that program."""
    found: list[int] = []

    def settled() -> bool:
        found[:] = forks_of(guard)
        return len(found) == WORKERS

    assert wait_until(settled, PATIENCE_S), f"forks of the engine: {found}"
    return found


def forks_of(guard: Guard) -> list[int]:
    """Return the engine's children that run the engine's own program."""
    children = Path(f"/proc/{guard.pid}/task/{guard.pid}/children").read_text().split()
    own = command_of(guard.pid)
    return [int(pid) for pid in children if command_of(int(pid)) == own]


def command_of(pid: int) -> bytes:
    """Return a process's command line; empty where it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def open_files(pid: int) -> list[Path]:
    return [fd for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.exists()]


def attack(lab: Lab, sources: list[str], request: Request = LOG4SHELL) -> None:
    for source in sources:
        exploit(lab, source, request)


def alerted(guard: Guard) -> dict[str, dict[str, Any]]:
    return {event["src_ip"]: event["alert"] for event in guard.events() if event["event_type"] == "alert"}


def all_alerted(guard: Guard, sources: list[str]) -> bool:
    return wait_until(lambda: set(sources) <= alerted(guard).keys(), PATIENCE_S)


def engine_counters(guard: Guard) -> dict[str, Any]:
    counters: dict[str, Any] = guard.command("stats")["engine"]["ids"]
    return counters


def restarted(guard: Guard) -> int:
    return int(engine_counters(guard).get("engine", {}).get("workers_restarted", 0))


def test_exploits_are_found_and_blocked_whoever_inspects_them(site: Lab, guard: Guard, sources: Sources) -> None:
    workers_of(guard)
    attackers = sources.some()
    attack(site, attackers)
    assert all_alerted(guard, attackers)
    assert {alert["action"] for alert in alerted(guard).values()} == {"blocked"}
    assert all(is_cut_off(site, source) for source in attackers[:3])
    assert is_served(site, BENIGN)
    assert wait_until(lambda: engine_counters(guard).get("flow", {}).get("total", 0) >= ROUND, PATIENCE_S)
    assert restarted(guard) == 0


def test_new_rules_reach_every_worker_and_bad_ones_none(site: Lab, guard: Guard, rules: Path, sources: Sources) -> None:
    before = workers_of(guard)
    rules.write_text(RULE)
    assert guard.command("reload") == {"reloaded": True}
    first = sources.some()
    attack(site, first, OTHER)
    assert all_alerted(guard, first)

    rules.write_text(RULE.replace("match:", "macth:"))
    with pytest.raises(GuardFailed, match=r"rules\.yaml:6:5: unknown key 'macth'"):
        guard.command("reload")
    second = sources.some()
    attack(site, second, OTHER)
    assert all_alerted(guard, second), "the rules from before are in force"
    assert workers_of(guard) == before, "nobody died of it"
    assert not any(guard.eve.samefile(fd) for pid in before for fd in open_files(pid)), "one process writes events"

    rules.write_text(RULE)
    assert guard.command("reload") == {"reloaded": True}


@pytest.mark.parametrize("number", range(WORKERS))
def test_a_worker_that_is_killed_is_started_again(
    site: Lab, guard: Guard, rules: Path, sources: Sources, number: int
) -> None:
    before = workers_of(guard)
    os.kill(before[number], signal.SIGKILL)
    assert wait_until(lambda: len(set(forks_of(guard)) - set(before)) == 1, PATIENCE_S)
    assert set(workers_of(guard)) & set(before) == {before[1 - number]}
    ended = f"worker {number} has ended: it was killed. It is started again"
    assert wait_until(lambda: ended in guard.log.read_text(), PATIENCE_S)
    assert wait_until(lambda: restarted(guard) == 1, PATIENCE_S)

    def detects(request: Request) -> Callable[[], bool]:
        def round_of_all() -> bool:
            attackers = sources.some(8)
            assert attackers, "none was detected in all these rounds"
            attack(site, attackers, request)
            return wait_until(lambda: set(attackers) <= alerted(guard).keys(), 8)

        return round_of_all

    assert wait_until(detects(LOG4SHELL), PATIENCE_S), "the new one inspects as soon as its rings are open"
    rules.write_text(RULE)
    assert guard.command("reload") == {"reloaded": True}, "and hears of new rules"
    assert wait_until(detects(OTHER), PATIENCE_S)
    assert restarted(guard) == 1
    assert is_served(site, BENIGN)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_stopped_it_tells_of_all_flows_and_leaves_no_process(site: Lab, guard: Guard) -> None:
    processes = [guard.pid, *workers_of(guard)]
    with connect(site.attacker, BENIGN, PATIENCE_S) as connection:
        connection.sendall(b"GET /index.html HTTP/1.1\r\n")
        port = connection.getsockname()[1]
        assert guard.stop() == 0
    assert not any(alive(pid) for pid in processes)
    flows = [event for event in guard.events() if event["event_type"] == "flow" and event.get("src_port") == port]
    assert [flow["flow"]["reason"] for flow in flows] == ["shutdown"]
    assert "Traceback" not in guard.log.read_text()


def test_killed_it_takes_its_workers_along(site: Lab, guard: Guard) -> None:
    workers = workers_of(guard)
    guard.kill()
    assert wait_until(lambda: not any(alive(pid) for pid in workers), PATIENCE_S)
