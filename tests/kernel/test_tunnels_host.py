"""Tunnels as Linux makes them: a host that is blocked does not get through one, and everybody else does."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.kernel import Block, FastPath
from tests.kernel.conftest import settings
from tests.kernel.gate import PATIENCE_S, SILENCE_S, TUNNEL_PORTS
from tests.kernel.test_lifecycle import Veth, inside

pytestmark = [pytest.mark.root, pytest.mark.xdp]

KINDS = {
    "vxlan": "vxlan id 42 dstport 4789",
    "vxlan on Linux' own port": "vxlan id 42 dstport 8472",
    "geneve": "geneve id 42",
    "gre": "gre",
    "gre with options": "gre key 7 csum seq",
    "a frame in gre": "gretap",
    "erspan": "erspan seq key 1 erspan_ver 1 erspan 1",
    "erspan 3": "erspan seq key 1 erspan_ver 2 erspan_dir ingress erspan_hwid 1",
    "ipip": "ipip",
    "6in4": "sit",
}
HOST4, HOST6 = "10.9.0.2", "fd00:9::2"


def _ip(namespace: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["ip", "-n", namespace, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def tunnel(veth: Veth, request: pytest.FixtureRequest) -> Veth:
    """A tunnel between the two namespaces of ``veth``: .1 and .2 of its own networks, on the guarded side .1."""
    guarded, _, other = veth
    for namespace, mine, theirs in ((guarded, "1", "2"), (other, "2", "1")):
        ends = ["remote", f"192.0.2.{theirs}"]
        if not request.param.startswith("geneve"):
            ends += ["local", f"192.0.2.{mine}"]
        made = _ip(namespace, "link", "add", "tun0", "type", *request.param.split(), *ends)
        if made.returncode:
            pytest.skip(f"this kernel makes no such tunnel: {made.stderr.strip()}")
        _ip(namespace, "addr", "add", f"10.9.0.{mine}/24", "dev", "tun0")
        _ip(namespace, "addr", "add", f"fd00:9::{mine}/64", "dev", "tun0", "nodad")
        assert not _ip(namespace, "link", "set", "tun0", "up").returncode
    return veth


@pytest.fixture
def fastpath(bpffs: Path, tunnel: Veth) -> Iterator[FastPath]:
    opened = FastPath.open(settings(bpffs), "tunnelled")
    opened.look_into(TUNNEL_PORTS)
    with inside(tunnel[0]):
        opened.attach("wire0")
    yield opened
    with inside(tunnel[0]):
        opened.close("remove")


def reaches(tunnel: Veth, address: str, patience_s: float = PATIENCE_S / 3) -> bool:
    """Return whether a datagram of the other side comes in at an address of the guarded one."""
    guarded, _, other = tunnel
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(guarded):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
    with inside(other):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((address, 7777))
        receiver.settimeout(patience_s)
        sender.sendto(b"hello", (address, 7777))
        try:
            return receiver.recv(100) == b"hello"
        except TimeoutError:
            return False


def test_a_blocked_host_does_not_get_through_a_tunnel(
    tunnel: Veth, fastpath: FastPath, request: pytest.FixtureRequest
) -> None:
    six = "6in4" in request.node.name
    peer, host = ("fd00:9::1", HOST6) if six else ("10.9.0.1", HOST4)
    network = ipaddress.ip_network(host)
    assert any(reaches(tunnel, peer) for _ in range(3)), "the tunnel works"
    fastpath.blocks.add([Block(network)])
    assert not reaches(tunnel, peer, SILENCE_S)
    stats = fastpath.stats()
    assert stats["drop.blocked"][0] == stats["note.blocked_in_tunnel"][0] >= 1
    assert reaches(tunnel, "192.0.2.1"), "the tunnel's end is not blocked"
    fastpath.blocks.delete(network)
    assert reaches(tunnel, peer)
