"""An engine that hangs: commands say so, and show what the kernel knows without it."""

from __future__ import annotations

import os
import re
import signal

import pytest

from ids import control
from ids.config import load_config
from ids.lab.actors import PAGE, fetch
from ids.lab.guard import Guard, GuardFailed, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import BENIGN, Lab
from ids.metrics import Metrics
from ids.snapshot import take_snapshot
from tests.lab.clients import PATIENCE_S

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

RULES = {"paths": [str(rules_directory() / "log4shell.yaml")]}


def test_a_hung_engine_is_named_and_the_kernels_counters_are_shown(site: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(site, rules=RULES)
    guard.start()
    assert fetch(site.attacker, BENIGN, PAGE).status == 200
    assert "problem" not in guard.command("stats")
    assert wait_until(lambda: take_snapshot(load_config(guard.config)).heartbeat_age_s is not None, PATIENCE_S)
    os.kill(guard.pid, signal.SIGSTOP)
    try:
        with pytest.raises(GuardFailed, match=r"(?s)pass\.shown.*has not answered within 3 s.*sign of life"):
            guard.command("stats")
        monkeypatch.setattr(control, "ANSWER_S", 0.2)  # once is enough to wait as long as a user does
        with pytest.raises(GuardFailed, match=r"has not answered within 0\.2 s"):
            guard.command("reload")
        seen = take_snapshot(load_config(guard.config))
        assert not seen.up
        assert "has not answered" in seen.problem
        scraped = Metrics(lambda: seen).scraped()[0].decode()
        assert "ids_engine_up 0.0" in scraped
        assert re.search(r'ids_verdict_packets_total\{reason="shown",verdict="pass"\} [1-9]', scraped)
        shown = guard.command("top", "--count", "1")
        assert (shown["answers"], shown["kernel"]["pass.shown"]["packets"] > 0) == (False, True)
        assert shown["sources"]
    finally:
        os.kill(guard.pid, signal.SIGCONT)
    monkeypatch.setattr(control, "ANSWER_S", PATIENCE_S)
    assert guard.command("stats")["engine"] is not None
