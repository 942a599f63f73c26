"""The lab connects what it says, shows the gateway real packets, and goes away completely, whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.errors import KernelError
from ids.lab import removal, topology
from ids.lab.actors import PAGE, fetch
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, BENIGN6, INSIDE, OUTSIDE, SERVER, Lab
from tests.lab.clients import PATIENCE_S, is_served

pytestmark = [pytest.mark.root, pytest.mark.lab]

ROOT = Path(__file__).parents[2]
ETH_P_ALL = 0x0003

OWNER = """
    import sys, time
    from ids.lab.topology import Lab

    with Lab() as lab:
        process = lab.spawn(lab.server, ["sleep", "600"], "sleep.log")
        print(lab.name, process.pid, flush=True)
        time.sleep(240)
"""
"""A program that owns a lab and waits to be ended in some rude way."""


@pytest.fixture
def owner(can_build_labs: None) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        yield process
        process.kill()
    removal.remove_stale()


def announced(owner: subprocess.Popen[str]) -> tuple[str, int]:
    assert owner.stdout is not None
    name, pid = owner.stdout.readline().split()
    assert removal.leftovers(name)
    return name, int(pid)


@pytest.mark.parametrize("source", [BENIGN, ATTACKERS[0], ATTACKERS[-1], BENIGN6])
def test_every_client_reaches_the_server_through_the_gateway(site: Lab, source: str) -> None:
    if ":" in source and not site.ipv6:
        pytest.skip("this kernel has no IPv6")
    assert is_served(site, source)


def test_the_gateway_is_the_only_way(site: Lab) -> None:
    site.gateway.set_sysctl("ipv4.ip_forward", "0")
    with pytest.raises(OSError):  # noqa: PT011 - unreachable or timed out, as the kernel likes
        fetch(site.attacker, BENIGN, PAGE, timeout_s=0.5)


def test_the_gateway_sees_packets_as_a_wire_has_them(site: Lab) -> None:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    with site.gateway.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as tap:
        tap.settimeout(0.5)
        assert is_served(site, BENIGN)
        seen = []
        try:
            while True:
                frame, (interface, *_) = tap.recvfrom(65536)
                seen.append((interface, frame))
        except TimeoutError:
            pass
    assert {interface for interface, _ in seen} >= {OUTSIDE, INSIDE}
    segments = [packet for _, frame in seen if TCP in (packet := Ether(frame))]
    assert segments
    for packet in segments:
        assert len(packet) <= 1514
        rebuilt = IP(bytes(packet[IP]))
        del rebuilt[TCP].chksum
        assert IP(bytes(rebuilt))[TCP].chksum == packet[TCP].chksum


def test_sockets_belong_to_the_namespace_and_the_thread_returns(lab: Lab) -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    with lab.server.socket(socket.AF_INET, socket.SOCK_STREAM) as inside:
        inside.bind((SERVER, 0))
    assert os.readlink("/proc/thread-self/ns/net") == before
    with pytest.raises(FileNotFoundError), lab.server.entered():
        os.readlink("/proc/thread-self/no-such-file")
    assert os.readlink("/proc/thread-self/ns/net") == before


def test_two_labs_live_side_by_side(lab: Lab) -> None:
    with Lab() as other:
        assert other.name != lab.name
        assert set(removal.labs()) >= {lab.name, other.name}
    assert lab.leftovers() != []


def test_a_process_that_will_not_go_is_killed(can_build_labs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "GRACE_S", 0.2)
    with Lab() as lab:
        stubborn = lab.spawn(lab.server, ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"], "sh.log")
        assert wait_until(lambda: (lab.directory / "sh.log").read_text() == "up\n", PATIENCE_S)
    assert stubborn.returncode == -signal.SIGKILL
    assert lab.leftovers() == []


@pytest.mark.parametrize("broken", ["_wire", "run_command"])
def test_a_lab_that_cannot_be_finished_is_taken_away(
    can_build_labs: None, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    real, calls = getattr(topology, broken), []

    def fail_once(*arguments: object, **named: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise KernelError("no more of this")
        return real(*arguments, **named)

    monkeypatch.setattr(topology, broken, fail_once)
    lab = Lab()
    with pytest.raises(KernelError, match="no more of this"), lab:
        pytest.fail("the lab pretends to be complete")
    assert lab.leftovers() == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_owner_leaves_nothing(owner: subprocess.Popen[str], signum: signal.Signals) -> None:
    name, pid = announced(owner)
    owner.send_signal(signum)
    owner.wait(PATIENCE_S)
    assert removal.leftovers(name) == []
    assert not Path("/proc", str(pid)).exists()


def test_a_killed_owner_takes_its_processes_along_and_the_next_lab_removes_the_rest(
    owner: subprocess.Popen[str],
) -> None:
    name, pid = announced(owner)
    owner.kill()
    owner.wait(PATIENCE_S)
    assert wait_until(lambda: not Path("/proc", str(pid)).exists(), PATIENCE_S)
    with Lab():
        assert removal.leftovers(name) == []


def test_a_lab_in_use_is_not_taken_for_a_stale_one(owner: subprocess.Popen[str]) -> None:
    name, _ = announced(owner)
    try:
        removal.remove_stale()
        assert removal.leftovers(name) != []
    finally:
        owner.send_signal(signal.SIGINT)
        owner.wait(PATIENCE_S)


def test_a_kept_lab_stays_until_it_is_removed_by_name(can_build_labs: None) -> None:
    with Lab(keep=True) as lab:
        process = lab.spawn(lab.server, ["sleep", "600"], "sleep.log")
    try:
        assert process.poll() is None
        assert f"process {process.pid}" in lab.leftovers()
    finally:
        removal.remove(lab.name)
    assert lab.leftovers() == []
    assert process.wait(PATIENCE_S) == -signal.SIGTERM


@pytest.mark.parametrize("name", ["", "ids-lab-1", "ids-lab-1-1/../x", "default", "ids-lab-x-1"])
def test_only_labs_can_be_removed(name: str) -> None:
    with pytest.raises(ValueError, match="no lab's name"):
        removal.remove(name)


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(KernelError, match="need root") as refused, Lab():
        pytest.fail("there was no refusal")
    assert refused.value.exit_code == 3
