"""Rules that cost too much to compile, reloaded on a gateway: packets and stops do not wait for them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from ids.lab.guard import Guard, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, Lab
from ids.rules.model.expressions import SCRIPT
from tests.lab.clients import PATIENCE_S, exploit, is_cut_off, is_served
from tests.lab.test_guard import alert_of
from tests.rules.builders import rule_text

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]


def costly(number: int) -> str:
    """Spell a rule that takes several times as long as the two seconds that it may."""
    regex = rf"(?:[^;{number}]{{0,16384}};){{12}}x"
    return rule_text(f"[payload: {{regex: '{regex}'}}]", 9_000_100 + number)


def compiles(pid: int) -> bool:
    """Return whether a process, or one that it has started, has a child that compiles regexes."""
    with suppress(FileNotFoundError, ProcessLookupError):
        if str(SCRIPT).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return True
        started = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        return any(compiles(int(child)) for children in started for child in children)
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_packets_and_a_stop_do_not_wait_for_costly_rules(site: Lab, workers: int, tmp_path: Path) -> None:
    """An exploit is blocked while the new rules are compiled, which takes longer; and then the engine stops at once."""
    own = tmp_path / "own.yaml"
    own.write_text("rules: []")
    paths = [str(rules_directory() / "log4shell.yaml"), str(own)]
    guard = Guard(site, rules={"paths": paths}, engine={"workers": workers})
    guard.start()
    own.write_text("rules:\n" + "".join(map(costly, range(12))))
    os.kill(guard.pid, signal.SIGHUP)
    assert wait_until(lambda: compiles(guard.pid), PATIENCE_S)
    exploit(site, ATTACKERS[0])
    assert alert_of(guard, ATTACKERS[0])["action"] == "blocked"
    assert is_cut_off(site, ATTACKERS[0])
    assert is_served(site, BENIGN)
    assert "reload refused" not in guard.log_tail(), "the new rules were compiled too soon"
    assert guard.stop() == 0
    assert "too costly" not in guard.log.read_text(), "it did not wait for the end of it"


def test_a_reload_names_the_costly_rule_and_keeps_the_old_ones(site: Lab, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("rules: []")
    guard = Guard(site, rules={"paths": [str(rules_directory() / "log4shell.yaml"), str(own)]})
    guard.start()
    own.write_text("rules:\n" + costly(1))
    os.kill(guard.pid, signal.SIGHUP)
    assert wait_until(lambda: "reload refused" in guard.log_tail(), 2 * PATIENCE_S), guard.log_tail()
    assert f"{own}:5:30: regex" in guard.log_tail()
    assert "too costly to compile: it takes more than 2 s" in guard.log_tail()
    exploit(site, ATTACKERS[0])
    assert alert_of(guard, ATTACKERS[0])["action"] == "blocked"
