"""Rules that cost too much to compile, reloaded on a gateway: packets and stops do not wait for them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ids.lab.actors import LOG4SHELL, PAGE, connect, fetch
from ids.lab.guard import Guard, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, Lab
from tests.rules.builders import rule_text

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]


def costly(number: int) -> str:
    """Spell a rule that takes several times as long as the two seconds that it may."""
    regex = rf"(?:[^;{number}]{{0,16384}};){{12}}x"
    return rule_text(f"[payload: {{regex: '{regex}'}}]", 9_000_100 + number)


@pytest.mark.parametrize("workers", [1, 2])
def test_packets_and_a_stop_do_not_wait_for_costly_rules(site: Lab, workers: int, tmp_path: Path) -> None:
    """An exploit is blocked while the new rules are compiled, which takes longer; and then the engine stops at once."""
    own = tmp_path / "own.yaml"
    own.write_text("rules: []")
    paths = [str(rules_directory() / "log4shell.yaml"), str(own)]
    guard = Guard(site, rules={"paths": paths}, engine={"workers": workers})
    guard.start()
    own.write_text("rules:\n" + "".join(map(costly, range(12))))
    began = time.monotonic()
    os.kill(guard.pid, signal.SIGHUP)
    time.sleep(1)
    with suppress(OSError):
        fetch(site.attacker, ATTACKERS[0], LOG4SHELL, timeout_s=0.3)
    assert guard.wait_for(lambda event: event["event_type"] == "alert" and event["src_ip"] == ATTACKERS[0], 5)
    with pytest.raises(TimeoutError):
        connect(site.attacker, ATTACKERS[0], 0.5)
    assert fetch(site.attacker, BENIGN, PAGE).status == 200
    assert "reload refused" not in guard.log_tail(), f"it took {time.monotonic() - began:.1f} s only"
    stopped = time.monotonic()
    assert guard.stop() == 0
    assert time.monotonic() - stopped < 8


def test_a_reload_names_the_costly_rule_and_keeps_the_old_ones(site: Lab, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("rules: []")
    guard = Guard(site, rules={"paths": [str(rules_directory() / "log4shell.yaml"), str(own)]})
    guard.start()
    own.write_text("rules:\n" + costly(1))
    os.kill(guard.pid, signal.SIGHUP)
    assert wait_until(lambda: "reload refused" in guard.log_tail(), 30), guard.log_tail()
    assert f"{own}:5:30: regex" in guard.log_tail()
    assert "too costly to compile: it takes more than 2 s" in guard.log_tail()
    with suppress(OSError):
        fetch(site.attacker, ATTACKERS[0], LOG4SHELL, timeout_s=0.3)
    assert guard.wait_for(lambda event: event["event_type"] == "alert" and event["src_ip"] == ATTACKERS[0], 5)
