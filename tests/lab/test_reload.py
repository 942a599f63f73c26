"""`ids reload` on a gateway: what is reloaded holds from the next packet on, and what is not is named."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ids.config import Config
from ids.lab.guard import Guard, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, OUTSIDE, SERVER, Lab
from tests.lab.clients import PATIENCE_S, exploit, is_cut_off, is_served

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

RULES = {"paths": [str(rules_directory() / "log4shell.yaml")]}
CUSTOMER, OTHER, THIRD, FOURTH = ATTACKERS[:4]


def change(guard: Guard, **sections: dict[str, Any]) -> Any:
    """Write settings over those of the running engine, and have it reload; return its answer."""
    document = yaml.safe_load(guard.config.read_text())
    for section, values in sections.items():
        document[section] = {**document.get(section, {}), **values}
    guard.config.write_text(yaml.safe_dump(document, sort_keys=False))
    return guard.command("reload")


def alert_of(guard: Guard, source: str) -> dict[str, Any]:
    event = guard.wait_for(lambda event: event["event_type"] == "alert" and event["src_ip"] == source, PATIENCE_S)
    assert event is not None
    return event


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[socket.socket]:
    """Listen where an engine would reach systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield receiver


def heard(systemd: socket.socket, wanted: str) -> str:
    """Wait for a message that begins with a word; skip others, for the queue is short."""
    systemd.settimeout(PATIENCE_S)
    while not (message := systemd.recv(4096).decode()).startswith(wanted):
        pass
    return message


def test_a_supervisor_is_shown_readiness_life_a_reload_and_the_end(site: Lab, systemd: socket.socket) -> None:
    engine = {"wait_interfaces": True, "drop_privileges": True, "workers": 2}
    guard = Guard(site, rules=RULES, interfaces=[OUTSIDE, "late0"], engine=engine)
    guard.start()
    assert f"STATUS=guarding {OUTSIDE}; waiting for late0" in heard(systemd, "READY=1")
    heard(systemd, "WATCHDOG=1")
    assert os.getpriority(os.PRIO_PROCESS, guard.pid) == Config().engine.niceness, "forwarding goes first"
    reloading = threading.Thread(target=guard.command, args=("reload",))
    reloading.start()
    assert "MONOTONIC_USEC=" in heard(systemd, "RELOADING=1")
    heard(systemd, "READY=1")
    reloading.join()
    guard.stop()
    heard(systemd, "STOPPING=1")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_applies_the_allow_list_the_mode_the_limits_and_the_outputs(site: Lab, workers: int) -> None:
    guard = Guard(site, rules=RULES, engine={"workers": workers}, eve={"types": ["alert"]})
    guard.start()
    guard.command("allow", "add", "198.51.100.0/24")
    exploit(site, CUSTOMER)
    assert alert_of(guard, CUSTOMER)["alert"]["action"] == "blocked"
    assert is_cut_off(site, CUSTOMER)

    assert change(guard, respond={"allow": [f"{CUSTOMER}/32"]}) == {"reloaded": True}
    assert is_served(site, CUSTOMER), "at once"
    assert change(guard, respond={"allow": [f"{OTHER}/32"]}) == {"reloaded": True}
    assert is_cut_off(site, CUSTOMER), "off the list again"
    assert {entry["network"] for entry in guard.rows("allow", "list")} == {f"{OTHER}/32", "198.51.100.0/24"}
    exploit(site, OTHER)
    assert alert_of(guard, OTHER)["ids"]["block"]["refused"] == "allowed"

    assert change(guard, respond={"mode": "shadow"}, eve={"types": ["alert", "http"]}) == {"reloaded": True}
    exploit(site, THIRD)
    assert alert_of(guard, THIRD)["ids"]["block"]["mode"] == "shadow"
    assert is_served(site, THIRD)
    assert guard.wait_for(lambda event: event["event_type"] == "http", PATIENCE_S), (
        "an output that nobody wanted before"
    )

    limits = {"udp_per_source_per_s": 0.001, "udp_burst_per_source": 1}
    assert change(guard, respond={"mode": "enforce"}, fastpath=limits) == {"reloaded": True}
    with site.attacker.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((FOURTH, 0))
        for _ in range(3):
            client.sendto(b"anybody there?", (SERVER, 53))
    assert wait_until(lambda: guard.kernel_packets().get("drop.udp_source", 0) >= 2, PATIENCE_S)


def test_a_reload_names_what_it_cannot_apply(site: Lab) -> None:
    guard = Guard(site, rules=RULES)
    guard.start()
    answer = change(guard, respond={"mode": "shadow"}, engine={"workers": 2}, fastpath={"flows_entries": 4096})
    assert answer["reloaded"]
    needs = {waiting["setting"]: waiting["needs"] for waiting in answer["waiting"]}
    assert needs.keys() == {"engine.workers", "fastpath.flows_entries"}
    assert "restart" in needs["engine.workers"]
    assert "ids detach" in needs["fastpath.flows_entries"]
    assert "not in force yet: engine.workers stays 1, not 2" in guard.log.read_text()
    exploit(site, CUSTOMER)
    assert alert_of(guard, CUSTOMER)["ids"]["block"]["mode"] == "shadow", "the rest is in force"


def test_what_left_the_allow_list_while_no_engine_ran_is_no_longer_allowed(site: Lab) -> None:
    guard = Guard(site, rules=RULES, respond={"allow": [f"{CUSTOMER}/32"]})
    guard.start()
    assert guard.stop() == 0
    document = yaml.safe_load(guard.config.read_text())
    document["respond"]["allow"] = []
    guard.config.write_text(yaml.safe_dump(document))
    guard.start()
    assert guard.rows("allow", "list") == []
    exploit(site, CUSTOMER)
    assert wait_until(lambda: is_cut_off(site, CUSTOMER), PATIENCE_S)
