"""Who sits behind a NAT or a stateful firewall gets through a flood like others: conntrack takes no offence."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ids.errors import KernelError
from ids.kernel import FastPath, FastPathSettings
from ids.kernel.system import syscall
from ids.lab.namespace import Namespace, run_command
from ids.lab.topology import INSIDE, LINK, OUTSIDE, SERVER, Lab
from ids.lab.website import PORT
from tests.bench.contenders import XDP_PASS
from tests.lab.clients import PATIENCE_S

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]
HOME, ROUTER = "10.77.0.2", "10.77.0.1"
NAT = """
table ip home {
  chain out { type nat hook postrouting priority srcnat; oifname "%s" masquerade; }
  chain through { type filter hook forward priority filter; %s }
}
"""
FLOODED = {"syn_per_destination_per_s": 0.001, "syn_burst_per_destination": 1}


@pytest.fixture(params=["", "ct state invalid drop;"], ids=["NAT", "NAT that drops what is invalid"])
def home(site: Lab, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A host behind the attacker's namespace, which is its router now."""
    behind = Namespace(f"{site.name}-home")
    run_command(("ip", "netns", "add", behind.name))
    try:
        run_command(f"ip link add eth0 netns {behind.name} type veth peer name home netns {site.attacker.name}".split())
        behind.run("ip", "-batch", "-", stdin=f"address add {HOME}/24 dev eth0\nlink set eth0 up\n")
        behind.run("ip", "route", "add", "default", "via", ROUTER)
        site.attacker.run("ip", "-batch", "-", stdin=f"address add {ROUTER}/24 dev home\nlink set home up\n")
        behind.switch_offloads_off("eth0")
        site.attacker.switch_offloads_off("home")
        site.attacker.set_sysctl("ipv4.ip_forward", "1")
        try:
            site.attacker.run("nft", "-f", "-", stdin=NAT % (LINK, request.param))
        except KernelError as error:
            pytest.skip(f"needs nftables with NAT: {error}")
        yield behind
    finally:
        run_command(("ip", "netns", "delete", behind.name))


@contextmanager
def flooded(lab: Lab, peer_has_napi: bool = True) -> Iterator[FastPath]:
    """The program on the gateway, where every SYN of an unproven source is beyond the budget."""
    link = None
    if peer_has_napi:
        with lab.attacker.entered():
            index = socket.if_nametoindex(LINK)
            link = syscall.link_create(syscall.prog_load("empty", XDP_PASS), index, syscall.XDP_FLAGS_DRV_MODE)
    with lab.gateway.entered():
        fastpath = FastPath.open(FastPathSettings(pin_dir=lab.pins / "ids", **FLOODED), "flooded")
        for interface in (OUTSIDE, INSIDE):
            fastpath.attach(interface)
    spend(lab.attacker)
    try:
        yield fastpath
    finally:
        with lab.gateway.entered():
            fastpath.close("remove")
        if link is not None:
            os.close(link)


def spend(namespace: Namespace) -> None:
    """Use the budget up, by a SYN to a port where nobody listens."""
    with namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
        attempt.settimeout(PATIENCE_S)
        attempt.connect_ex((SERVER, 9))


def connect(namespace: Namespace) -> None:
    """Fetch a page; raises OSError."""
    with namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect((SERVER, PORT))
        connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
        assert connection.recv(12).startswith(b"HTTP/1.")


def test_the_first_connection_from_behind_a_nat_does_not_hang(site: Lab, home: Namespace) -> None:
    """It hung for 8 s: conntrack remembered the challenge, and took the server's own answer for invalid."""
    with flooded(site) as fastpath:
        connect(home)
        counts = {name: packets for name, (packets, _) in fastpath.stats().items() if packets}
    assert counts["drop.challenge_answer"] == 1, counts
    assert counts["note.syn_admitted"] == 1, counts
    assert counts["drop.syn_challenged"] == 1, counts
    assert "note.syn_repeated" not in counts, "its next SYN came at once, not after a second"


def test_where_the_answers_are_lost_a_syn_passes_when_it_comes_again(site: Lab) -> None:
    """On a veth whose other end has no XDP program, whoever was not proven had been locked out."""
    with flooded(site, peer_has_napi=False) as fastpath:
        for _ in range(2):
            connect(site.attacker)
        counts = {name: packets for name, (packets, _) in fastpath.stats().items() if packets}
    assert counts["note.syn_repeated"] == 1, counts
    assert counts["drop.syn_challenged"] == 1, "the first repetition passed, and then the handshake has proven it"
