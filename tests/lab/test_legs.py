"""A gateway with one guarded leg reports blocks that do not bite, and says so."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from ids.control import socket_path
from ids.doctor import Status
from ids.doctor.engine import check_engine
from ids.lab.actors import LOG4SHELL, PAGE, fetch
from ids.lab.guard import Guard, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, INSIDE, OUTSIDE, Lab

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

RULES = {"paths": [str(rules_directory() / "log4shell.yaml")]}
SOURCE = ATTACKERS[0]


def attacked(site: Lab, *legs: str) -> Guard:
    """Return an engine on these interfaces whose attacker was reported as blocked."""
    guard = Guard(site, interfaces=list(legs), rules=RULES)
    guard.start()
    with suppress(OSError):
        fetch(site.attacker, SOURCE, LOG4SHELL, timeout_s=0.5)
    alert = guard.wait_for(lambda event: event["event_type"] == "alert" and event["src_ip"] == SOURCE, 10)
    assert alert is not None
    assert alert["alert"]["action"] == "blocked"
    return guard


def go_on(site: Lab, guard: Guard) -> bool:
    """Have the attacker go on; return whether that is in the log within a while."""

    def said() -> bool:
        with suppress(OSError):
            fetch(site.attacker, SOURCE, PAGE, timeout_s=0.2)
        return "BLOCKED sources go on" in guard.log.read_text()

    return wait_until(said, 30, 0.2)


def doctor(site: Lab) -> list[tuple[str, Status]]:
    """Return what `ids doctor` finds of the engine, and of nothing else of this machine."""
    return [(check.name, check.status) for check in check_engine(socket_path(str(site.directory / "run"), site.name))]


def test_with_the_inside_leg_alone_the_log_and_the_commands_say_that_blocks_do_not_bite(site: Lab) -> None:
    guard = attacked(site, INSIDE)
    assert go_on(site, guard)
    (line,) = [line for line in guard.log.read_text().splitlines() if "BLOCKED sources go on" in line][:1]
    assert SOURCE in line
    assert f"the way to it is {OUTSIDE}" in line
    assert f"guarded: {INSIDE}." in line
    counted = guard.command("stats")["engine"]["ids"]["respond"]["not_biting"]
    assert counted["blocks"] >= 1
    assert counted["packets"] >= 1
    assert doctor(site) == [("engine", Status.OK), ("blocks bite", Status.WARN)]


def test_with_both_legs_nothing_is_said(site: Lab) -> None:
    guard = attacked(site, OUTSIDE, INSIDE)
    until = time.monotonic() + 8
    while time.monotonic() < until:
        with suppress(OSError):
            fetch(site.attacker, SOURCE, PAGE, timeout_s=0.2)
    assert "BLOCKED sources go on" not in guard.log.read_text()
    assert doctor(site) == [("engine", Status.OK), ("blocks bite", Status.OK)]
