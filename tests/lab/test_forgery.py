"""A host off the path forges what it likes: nobody is blocked for it on a real gateway, and who did attack is."""

from __future__ import annotations

import socket

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.packet import Packet

from ids.lab.actors import LOG4SHELL
from ids.lab.guard import Guard, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, SERVER, Lab
from tests.lab.clients import PATIENCE_S, exploit, is_served

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

SILENT = "192.0.2.50"
"""An address outside whose host answers nothing: it could take back nothing that is said in its name."""
EXPLOIT = LOG4SHELL.encode()
RULE = """
rules:
  - title: an exploit in a datagram
    sid: 9000001
    traffic: udp any any -> any any
    match:
      - payload: {contains: "${jndi:"}
    block: {target: src_ip, for: 1h}
"""
PORT = 40000
GUESSES = 150
"""With the rest, fewer than the 256 that a veth's queue holds while a busy machine does not empty it."""


def to_server(source: str, flags: str, seq: int, ack: int, data: bytes = b"") -> Packet:
    return IP(src=source, dst=SERVER) / TCP(sport=PORT, dport=80, flags=flags, seq=seq, ack=ack) / data


def from_server(flags: str, seq: int, data: bytes = b"") -> Packet:
    return IP(src=SERVER, dst=SILENT) / TCP(sport=80, dport=PORT, flags=flags, seq=seq, ack=101) / data


def forged() -> list[Packet]:
    """Everything at once: a handshake forged from both ends, a dialogue, guesses, datagrams, errors, fragments."""
    guesses = [to_server(SILENT, "PA", 101, 14_000_000 * number, EXPLOIT) for number in range(GUESSES)]
    inner = bytes(IP(src=SERVER, dst=SILENT) / TCP(sport=80, dport=PORT))
    return [
        to_server(SILENT, "S", 100, 0),
        from_server("SA", 500),
        to_server(SILENT, "A", 101, 501),
        to_server(SILENT, "PA", 101, 501, EXPLOIT),
        from_server("PA", 501, b"HTTP/1.1 200 OK\r\n\r\n"),
        *guesses,
        *[IP(src=source, dst=SERVER) / UDP(sport=PORT, dport=53) / EXPLOIT for source in (SILENT, BENIGN)],
        IP(src=SILENT, dst=SERVER) / ICMP(type=3, code=1) / inner / EXPLOIT,
        *fragment(IP(src=BENIGN, dst=SERVER, id=7) / UDP(sport=PORT, dport=53) / (EXPLOIT + bytes(600)), 200),
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_forged_traffic_blocks_nobody_and_lifts_nothing(site: Lab, workers: int) -> None:
    rules = site.directory / "rules.yaml"
    rules.write_text((rules_directory() / "log4shell.yaml").read_text() + RULE.removeprefix("\nrules:\n"))
    guard = Guard(site, rules={"paths": [str(rules)]}, engine={"workers": workers})
    guard.start()
    assert is_served(site, BENIGN), "proven within the hour"
    exploit(site, ATTACKERS[0])
    assert wait_until(lambda: len(guard.rows("block", "list")) == 1, PATIENCE_S)
    (before,) = guard.rows("block", "list")
    with site.attacker.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in forged():
            raw.sendto(bytes(packet), (packet.dst, 0))

    def refused() -> set[tuple[str, str]]:
        events = [event for event in guard.events() if event["event_type"] == "alert"]
        return {(event["src_ip"], event["ids"].get("block", {}).get("refused", "")) for event in events}

    assert wait_until(lambda: {(SILENT, "unproven"), (BENIGN, "unproven")} <= refused(), PATIENCE_S), (
        "seen, and not blamed"
    )
    (after,) = guard.rows("block", "list")
    assert after["network"] == before["network"]
    assert abs(after["expires_ns"] - before["expires_ns"]) < 1e9, "as the kernel's clock is read"
    assert is_served(site, BENIGN)
