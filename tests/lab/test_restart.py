"""A stop and a start let nobody in who is blocked; to take the gate off is what one asks for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ids.kernel.instance import remove_pins
from ids.lab.guard import Guard, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, SERVER, Lab
from ids.state.lists import load
from tests.lab.clients import PATIENCE_S

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

RULES = {"paths": [str(rules_directory() / "log4shell.yaml")]}
BLOCKED = ATTACKERS[0]
PORT = 5353


class Heard:
    """What the server got, by source."""

    def __init__(self) -> None:
        self.packets: dict[str, int] = {}

    def of(self, source: str) -> int:
        return self.packets.get(source, 0)


@contextmanager
def talking(lab: Lab, *sources: str) -> Iterator[Heard]:
    """Have each source send a datagram every 2 ms, all the while."""
    heard, stop = Heard(), threading.Event()
    server = lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((SERVER, PORT))
    server.settimeout(0.1)
    clients = [lab.attacker.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in sources]
    for client, source in zip(clients, sources, strict=True):
        client.bind((source, 0))

    def speak() -> None:
        while not stop.wait(0.002):
            for client in clients:
                client.sendto(b"anybody there?", (SERVER, PORT))

    def listen() -> None:
        while not stop.is_set():
            try:
                _, (source, _) = server.recvfrom(100)
            except TimeoutError:
                continue
            heard.packets[source] = heard.of(source) + 1

    threads = [threading.Thread(target=act) for act in (speak, listen)]
    for thread in threads:
        thread.start()
    try:
        yield heard
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for end in (server, *clients):
            end.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_and_a_start_let_no_packet_of_a_blocked_source_in(lab: Lab, workers: int) -> None:
    guard = Guard(lab, rules=RULES, engine={"workers": workers})
    guard.start()
    guard.command("block", "add", BLOCKED)
    with talking(lab, BLOCKED, BENIGN) as heard:
        assert wait_until(lambda: heard.of(BENIGN) > 100, PATIENCE_S)
        assert guard.stop() == 0
        stopped_at = heard.of(BENIGN)
        assert wait_until(lambda: heard.of(BENIGN) > stopped_at + 100, PATIENCE_S), "the others go on"
        guard.start()
        started_at = heard.of(BENIGN)
        assert wait_until(lambda: heard.of(BENIGN) > started_at + 100, PATIENCE_S)
        assert heard.of(BLOCKED) == 0
        assert "the gate stays on inside, outside; `ids detach` takes it off" in guard.log.read_text()
        assert guard.stop() == 0
        guard.command("detach")
        assert wait_until(lambda: heard.of(BLOCKED) > 10, PATIENCE_S), "it was asked for"


def test_budgets_hold_on_while_no_engine_runs(lab: Lab) -> None:
    guard = Guard(lab, rules=RULES, fastpath={"udp_per_source_per_s": 0.01, "udp_burst_per_source": 1})
    guard.start()
    assert guard.stop() == 0
    with talking(lab, BENIGN) as heard:
        assert not wait_until(lambda: heard.of(BENIGN) > 5, 2), "a thousand were sent"


def test_a_reboot_lets_nobody_in_who_is_blocked(lab: Lab) -> None:
    """The engine dies and all that was in the kernel is gone: lists come back before the interfaces are guarded."""
    guard = Guard(lab, rules=RULES)
    guard.start()
    guard.command("block", "add", BLOCKED, "--for", "1h", "--comment", "ticket 12")
    guard.command("allow", "add", "198.51.100.254")
    saved = lab.directory / "state" / lab.name / "lists"
    assert wait_until(lambda: _saved(saved) == (1, 1), PATIENCE_S)
    guard.kill()
    with lab.gateway.entered():
        remove_pins(lab.pins / "ids" / lab.name)
    with talking(lab, BLOCKED, BENIGN) as heard:
        assert wait_until(lambda: heard.of(BLOCKED) > 10, PATIENCE_S), "nothing blocks it now"
        guard.start()
        before, others = heard.of(BLOCKED), heard.of(BENIGN)
        assert wait_until(lambda: heard.of(BENIGN) > others + 100, PATIENCE_S)
        assert heard.of(BLOCKED) <= before + 2, "but for what was on its way"
    log = guard.log.read_text()
    assert log.index("the saved lists are in force again: 1 claims, 1 allowed") < log.rindex("guarding outside")
    answer = guard.command("why", BLOCKED)
    (entry,) = answer["blocks"]
    assert entry["comment"] == "ticket 12"
    assert entry["packets"] > 0
    by_hand = [row for row in answer["history"] if row["user"]]
    assert [row["kind"] for row in by_hand] == ["block"]
    assert "block add" in by_hand[0]["command"]
    assert guard.stop() == 0


def _saved(path: Path) -> tuple[int, int]:
    loaded = load(path)
    return (len(loaded.claims), len(loaded.allowed)) if loaded is not None else (0, 0)
