"""The engine on the gateway: what it has blocked stays blocked without it, and a successor takes over every entry."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ids.errors import KernelError
from ids.lab.actors import LOG4SHELL, PAGE, connect, fetch
from ids.lab.guard import Guard, GuardFailed
from ids.lab.topology import ATTACKERS, BENIGN, Lab

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]


@pytest.fixture
def guard(site: Lab) -> Guard:
    guard = Guard(site)
    try:
        guard.start()
    except KernelError as error:
        pytest.skip(f"no XDP here: {error}")
    return guard


def blocked_by(guard: Guard) -> set[str]:
    """Sources whose block the engine has reported, which it does after the kernel has it."""
    return {
        event["src_ip"]
        for event in guard.events()
        if event["event_type"] == "alert" and "blocked_ts_ns" in event["ids"].get("block", {})
    }


def entries(guard: Guard) -> dict[str, dict[str, Any]]:
    return {entry["network"]: entry for entry in guard.command("block", "list")}


def is_cut_off(lab: Lab, source: str) -> bool:
    try:
        connect(lab.attacker, source, 0.5).close()
    except TimeoutError:
        return True
    return False


def attack_from(lab: Lab, sources: tuple[str, ...]) -> threading.Thread:
    def act() -> None:
        for source in sources:
            try:
                fetch(lab.attacker, source, LOG4SHELL, timeout_s=0.02)
            except OSError:
                continue  # cut off while it waited for the answer

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_killed_in_the_middle_of_an_attack_it_leaves_every_block_to_its_successor(site: Lab, guard: Guard) -> None:
    guard.command("block", "add", "198.51.100.0/24")
    guard.command("block", "add", "2001:db8:bad::/48")
    attackers = attack_from(site, ATTACKERS[:60])
    assert guard.wait_for(lambda _: len(blocked_by(guard)) >= 10, 30) is not None
    guard.kill()
    attackers.join()
    reported = blocked_by(guard)
    assert 10 <= len(reported) < 60, "the engine was to die in the middle"

    assert all(is_cut_off(site, source) for source in sorted(reported)[:3])
    assert fetch(site.attacker, BENIGN, PAGE).status == 200
    orphaned = entries(guard)
    assert {f"{source}/32" for source in reported} | {"198.51.100.0/24", "2001:db8:bad::/48"} <= orphaned.keys()

    guard.start()
    adopted = entries(guard)
    assert adopted.keys() == orphaned.keys()
    for network, before in orphaned.items():
        after = adopted[network]
        assert {key: after[key] for key in ("mode", "sid")} == {key: before[key] for key in ("mode", "sid")}
        assert after["packets"] >= before["packets"]
    assert is_cut_off(site, sorted(reported)[0])
    late = ATTACKERS[100]
    attack_from(site, (late,)).join()
    assert guard.wait_for(lambda event: event["event_type"] == "alert" and event["src_ip"] == late, 10) is not None
    assert is_cut_off(site, late)
    assert fetch(site.attacker, BENIGN, PAGE).status == 200


def test_an_engine_that_refuses_its_configuration_is_told_with_its_own_words(site: Lab) -> None:
    guard = Guard(site, respond={"mood": "enforce"})
    with pytest.raises(GuardFailed, match="unknown key 'mood'"):
        guard.start()
