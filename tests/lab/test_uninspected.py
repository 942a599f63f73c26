"""A gateway that cannot keep up, or missed the beginning, says so: in its log, and in `ids stats`."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress

import pytest

from ids.lab.actors import LOG4SHELL, connect
from ids.lab.guard import Guard, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, SERVER, Lab
from tests.lab.clients import PATIENCE_S
from tests.lab.test_workers import workers_of

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

RULES = {"paths": [str(rules_directory() / "log4shell.yaml")]}
NOISY = ATTACKERS[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_ring_that_was_full_is_in_the_log_with_who_filled_it(lab: Lab, workers: int) -> None:
    guard = Guard(
        lab, rules=RULES, engine={"workers": workers, "uninspected_log_s": 1},
        fastpath={"ring_small_bytes": 1 << 16, "ring_large_bytes": 1 << 16},
    )  # fmt: skip
    guard.start()
    assert "UNINSPECTED" not in guard.log.read_text()
    with lab.attacker.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((NOISY, 0))
        processes = [guard.pid, *workers_of(guard)] if workers > 1 else [guard.pid]
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        for _ in range(1500):
            client.sendto(b"x" * 50, (SERVER, 9))
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
    assert wait_until(lambda: "UNINSPECTED traffic passed" in guard.log.read_text(), PATIENCE_S)
    (line,) = [line for line in guard.log.read_text().splitlines() if "UNINSPECTED" in line][:1]
    assert "engine.workers" in line
    assert NOISY in line
    answer = guard.command("stats")
    rows = [row for row in answer["uninspected"] if row["reason"] in ("ring_full", "thinned", "unfair")]
    assert sum(row["packets"] for row in rows) > 100
    assert sum(row["bytes"] for row in rows) > 100 * 50
    assert all("engine.workers" in row["remedy"] for row in rows)
    assert wait_until(lambda: "lag_highest_ms" in guard.command("stats")["engine"]["ids"]["engine"], PATIENCE_S), (
        "the workers report how far behind they are"
    )


def test_connections_that_were_open_before_the_start_are_named(site: Lab) -> None:
    guard = Guard(site, rules=RULES, engine={"uninspected_log_s": 1})
    with connect(site.attacker, BENIGN, PATIENCE_S) as connection, suppress(OSError):
        guard.start()
        connection.sendall(LOG4SHELL.encode())
        assert wait_until(
            lambda: "the beginning of their connections was not seen" in guard.log.read_text(), PATIENCE_S
        )
    (line,) = [line for line in guard.log.read_text().splitlines() if "UNINSPECTED" in line][:1]
    assert "stream.midstream: true" in line
    assert BENIGN in line
