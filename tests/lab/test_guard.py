"""The engine on the gateway: what it has blocked stays blocked without it, and a successor takes over every entry."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP

from ids.lab.actors import LOG4SHELL, connect
from ids.lab.guard import Guard, GuardFailed, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, ATTACKERS6, BENIGN, BENIGN6, GATEWAY_OUTSIDE, INSIDE, LINK, OUTSIDE, SERVER, Lab
from ids.lab.website import start_website
from tests.lab.clients import PATIENCE_S, exploit, is_cut_off, is_served

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]


RULES = {"paths": [str(rules_directory() / "log4shell.yaml")]}
"""All that these tests need: the whole set takes longer to load."""


def started(lab: Lab, **settings: dict[str, Any]) -> Guard:
    guard = Guard(lab, rules=RULES, **settings)
    guard.start()
    return guard


def blocked_by(guard: Guard) -> set[str]:
    """Sources whose block the engine has reported, which it does after the kernel has it."""
    return {
        event["src_ip"]
        for event in guard.events()
        if event["event_type"] == "alert" and "blocked_ts_ns" in event["ids"].get("block", {})
    }


def entries(guard: Guard) -> dict[str, dict[str, Any]]:
    return {entry["network"]: entry for entry in guard.rows("block", "list")}


def alert_of(guard: Guard, source: str) -> dict[str, Any]:
    event = guard.wait_for(lambda event: event["event_type"] == "alert" and event["src_ip"] == source, PATIENCE_S)
    assert event is not None
    alert: dict[str, Any] = event["alert"]
    return alert


class Attackers(threading.Thread):
    """Attack from one source after the other, until somebody stops it or none is left."""

    def __init__(self, lab: Lab, sources: tuple[str, ...]) -> None:
        super().__init__()
        self._lab = lab
        self._left = list(sources)
        self._stop_after: int | None = None
        self.attacked: list[str] = []

    def run(self) -> None:
        """Attack."""
        while self._left and (self._stop_after is None or len(self.attacked) < self._stop_after):
            time.sleep(0.02)
            source = self._left.pop(0)
            exploit(self._lab, source, answer_s=0.02)
            self.attacked.append(source)

    def finish(self, more: int) -> None:
        """Return when so many more have attacked."""
        self._stop_after = len(self.attacked) + more
        self.join()


def test_killed_in_the_middle_of_an_attack_it_leaves_every_block_to_its_successor(site: Lab) -> None:
    guard = started(site)
    guard.command("block", "add", "198.51.100.0/24")
    guard.command("block", "add", "2001:db8:bad::/48")
    attackers = Attackers(site, ATTACKERS[:-1])
    attackers.start()
    assert wait_until(lambda: len(blocked_by(guard)) >= 10, PATIENCE_S)
    guard.kill()
    attackers.finish(5)
    reported = blocked_by(guard)
    assert 10 <= len(reported) < len(attackers.attacked), "the engine was to die in the middle"

    assert all(is_cut_off(site, source) for source in sorted(reported)[:3])
    assert is_served(site, BENIGN)
    orphaned = entries(guard)
    assert {f"{source}/32" for source in reported} | {"198.51.100.0/24", "2001:db8:bad::/48"} <= orphaned.keys()

    guard.start()
    adopted = entries(guard)
    assert adopted.keys() >= orphaned.keys()  # more, when it finds exploits in the rings that nobody had read
    for network, before in orphaned.items():
        after = adopted[network]
        assert {key: after[key] for key in ("mode", "sid")} == {key: before[key] for key in ("mode", "sid")}
        assert after["packets"] >= before["packets"]
    assert is_cut_off(site, sorted(reported)[0])
    late = ATTACKERS[-1]
    exploit(site, late)
    assert alert_of(guard, late)["action"] == "blocked"
    assert is_cut_off(site, late)
    assert is_served(site, BENIGN)


def test_an_attacker_over_ipv6_is_cut_off_too(site: Lab) -> None:
    if not site.ipv6:
        pytest.skip("this kernel has no IPv6")
    guard = started(site)
    assert is_served(site, BENIGN6)
    exploit(site, ATTACKERS6[0])
    assert alert_of(guard, ATTACKERS6[0])["action"] == "blocked"
    assert is_cut_off(site, ATTACKERS6[0])
    assert is_served(site, ATTACKERS6[1])
    assert is_served(site, BENIGN6)


def test_the_gateways_own_services_are_inspected_too(lab: Lab) -> None:
    """Their replies come in nowhere; only the egress program sees them."""
    start_website(lab, lab.gateway)
    guard = started(lab)
    assert is_served(lab, BENIGN, GATEWAY_OUTSIDE)
    exploit(lab, ATTACKERS[0], target=GATEWAY_OUTSIDE)
    assert alert_of(guard, ATTACKERS[0])["action"] == "blocked"


def test_a_connection_that_began_with_a_syn_cookie_is_inspected_too(lab: Lab) -> None:
    """Nobody gets past the rules by having a flood going on."""
    start_website(lab, lab.gateway)
    lab.gateway.set_sysctl("ipv4.tcp_syncookies", "2")
    fastpath = {"mode": "generic", "syn_per_destination_per_s": 0.001, "syn_burst_per_destination": 1}
    guard = started(lab, fastpath=fastpath)  # a veth gives what native XDP sends only to a peer with XDP of its own
    with lab.attacker.socket(socket.AF_INET, socket.SOCK_STREAM) as unanswered:
        unanswered.settimeout(PATIENCE_S)
        assert unanswered.connect_ex((GATEWAY_OUTSIDE, 9)), "nobody listens there, so the token does not come back"
    assert is_served(lab, BENIGN, GATEWAY_OUTSIDE)
    exploit(lab, ATTACKERS[0], target=GATEWAY_OUTSIDE)
    assert alert_of(guard, ATTACKERS[0])["action"] == "blocked", "and its source is proven"
    assert guard.kernel_packets()["drop.syn_cookie"] >= 1


def test_an_exploit_does_not_hide_behind_what_the_server_ignores(site: Lab) -> None:
    """Segments with wrong checksums, more than what is shown of a connection."""
    guard = started(site, fastpath={"depth_tcp_bytes": 4096})
    source = ATTACKERS[0]
    with connect(site.attacker, source, PATIENCE_S) as connection, suppress(OSError):
        port = connection.getsockname()[1]
        junk = IP(src=source, dst=SERVER) / TCP(sport=port, dport=80, seq=1, ack=1, flags="A", chksum=1) / bytes(1000)
        with site.attacker.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for _ in range(20):
                raw.sendto(bytes(junk), (SERVER, 0))
        connection.sendall(LOG4SHELL.encode())
        connection.settimeout(0.5)
        connection.recv(100)
    assert alert_of(guard, source)["action"] == "blocked"


def test_an_interface_that_comes_back_under_its_name_is_guarded_again(site: Lab) -> None:
    """As a tunnel's does when its line was down."""
    old, new = ATTACKERS[:2]
    guard = started(site)
    exploit(site, old)
    assert alert_of(guard, old)["action"] == "blocked"
    site.gateway.run("ip", "link", "delete", OUTSIDE)
    assert wait_until(lambda: guard.command("stats")["attached"] == [INSIDE], PATIENCE_S), (
        "nothing is claimed meanwhile"
    )
    site.gateway.run("ip", "link", "add", "again", "type", "veth", "peer", "name", LINK, "netns", site.attacker.name)
    site.gateway.switch_offloads_off("again")
    site.attacker.switch_offloads_off(LINK)
    site.gateway.run("ip", "link", "set", "again", "name", OUTSIDE)
    site.gateway.run("ip", "address", "add", f"{GATEWAY_OUTSIDE}/24", "dev", OUTSIDE)
    site.gateway.run("ip", "link", "set", OUTSIDE, "up")
    for source in (old, new):
        site.attacker.run("ip", "address", "add", f"{source}/24", "dev", LINK)
    site.attacker.run("ip", "link", "set", LINK, "up")
    site.attacker.run("ip", "route", "add", "default", "via", GATEWAY_OUTSIDE)
    assert wait_until(lambda: guard.command("stats")["attached"] == [INSIDE, OUTSIDE], PATIENCE_S)
    assert is_served(site, new)
    assert is_cut_off(site, old)
    exploit(site, new)
    assert alert_of(guard, new)["action"] == "blocked"
    log = guard.log.read_text()
    assert log.count(f"{OUTSIDE} is no longer guarded") == 1
    assert log.count(f"guarding {OUTSIDE}") == 2


def test_shadow_mode_counts_what_it_would_have_dropped_and_the_allow_list_not_even_that(site: Lab) -> None:
    shadowed, allowed = ATTACKERS[:2]
    guard = started(site, respond={"mode": "shadow", "allow": [f"{allowed}/32"]})
    for source in (shadowed, allowed):
        exploit(site, source)
    assert alert_of(guard, shadowed)["action"] == "allowed"
    assert alert_of(guard, allowed)["action"] == "allowed"
    assert is_served(site, shadowed)
    assert is_served(site, allowed)
    listed = entries(guard)
    assert listed.keys() == {f"{shadowed}/32"}
    assert listed[f"{shadowed}/32"]["mode"] == "shadow"
    assert listed[f"{shadowed}/32"]["packets"] > 0
    counts = guard.kernel_packets()
    assert counts["note.shadow_blocked"] > 0
    assert "drop.blocked" not in counts


def test_an_engine_that_refuses_its_configuration_is_quoted_in_its_own_words(site: Lab) -> None:
    guard = Guard(site, respond={"mood": "enforce"})
    with pytest.raises(GuardFailed, match="unknown key 'mood'"):
        guard.start()


def test_a_stop_during_the_start_leaves_no_gate_behind(site: Lab) -> None:
    """Whenever it comes: a gate without an engine would be nobody's."""
    command = [
        str(Path(sys.executable).with_name("ids")), "run", "-i", OUTSIDE, "--set", "instance=early",
        "--set", f"fastpath.pin_dir={site.pins}", "--set", f"engine.runtime_dir={site.directory}",
        "--set", f"engine.state_dir={site.directory}",
        "--set", "fastpath.on_stop=remove", "--set", f"rules.paths={RULES['paths']}",
    ]  # fmt: skip
    process = site.spawn(site.gateway, command, "early.log")
    log = site.directory / "early.log"
    assert wait_until(lambda: f"guarding {OUTSIDE}" in log.read_text(), PATIENCE_S)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert "stopped" in log.read_text()
    assert not (site.pins / "early").exists()
