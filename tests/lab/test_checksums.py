"""What checksums reveal of a sender: whatever comes first, every exploit that the server takes in is found."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
from scapy.layers.inet import IP, TCP, UDP

from ids.control import request, socket_path
from ids.lab.actors import LOG4SHELL, connect
from ids.lab.guard import Guard
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, ATTACKERS6, BENIGN, LINK, SERVER, Lab
from tests.decode.frames import left_to_device
from tests.lab.clients import PATIENCE_S, exploit
from tests.lab.test_guard import alert_of, started

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

FLOOD = 1200
"""More packets than a capture is judged by."""
BURST = 100
"""Sent without a pause: a veth's queue holds 256, and a busy machine empties it late. What it loses is made up for."""
WRONG = 0x1234
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21  # include/uapi/linux/tcp.h
RECEIVED, SENT = 1, 2


def flood(lab: Lab, guard: Guard, checksum: int | None) -> None:
    """Send datagrams, each a flow of its own, until the engine has decoded as many as are wanted."""
    wrong = partial(decoded, guard, "anomaly", "bad_l4_checksum")
    arrived: Callable[[], int] = wrong if checksum is not None else partial(decoded, guard, "packets")
    with lab.attacker.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        packet = bytes(IP(src=BENIGN, dst=SERVER) / UDP(sport=9, dport=1000, chksum=checksum) / b"data")
        total = struct.unpack("!H", packet[26:28])[0]
        sent, deadline = 0, time.monotonic() + 2 * PATIENCE_S
        while (before := arrived()) < FLOOD:
            assert time.monotonic() < deadline, f"{before} of {sent}"
            for _ in range(BURST):  # what the port adds, the checksum loses
                changed = total if checksum is not None else (total - sent - 1) % 0xFFFF + 1
                ports = struct.pack("!H", 1000 + sent) + packet[24:26]
                raw.sendto(packet[:22] + ports + struct.pack("!H", changed) + b"data", (SERVER, 0))
                sent += 1
            wait_until(lambda all_of_it=before + BURST: arrived() >= all_of_it, 2)  # type: ignore[misc]
    assert wrong() == 0 if checksum is None else FLOOD <= wrong() <= sent


def decoded(guard: Guard, *path: str) -> int:
    lab = guard.log.parent
    counts = request(socket_path(str(lab / "run"), lab.name), "stats", PATIENCE_S)["ids"].get("decode", {})
    for name in path:
        counts = counts.get(name, {})
    return counts or 0


@pytest.mark.parametrize("checksum", [None, WRONG])
def test_a_flood_hides_no_sender_who_leaves_checksums_out(site: Lab, checksum: int | None) -> None:
    guard = started(site)
    flood(site, guard, checksum)
    site.attacker.leave_checksums_out(LINK)
    for source in (ATTACKERS[0], ATTACKERS6[0]) if site.ipv6 else ATTACKERS[:1]:
        exploit(site, source)
        assert alert_of(guard, source)["action"] == "blocked"


def test_a_server_who_leaves_checksums_out_is_heard_too(site: Lab) -> None:
    for namespace in (site.attacker, site.server):
        namespace.leave_checksums_out(LINK)
    guard = started(site)
    exploit(site, ATTACKERS[0])
    assert alert_of(guard, ATTACKERS[0])["action"] == "blocked"
    assert decoded(guard, "offload", "senders") == 2
    assert decoded(guard, "anomaly", "partial_l4_checksum") == 0


@pytest.mark.parametrize("kind", ["wrong", "left out"])
def test_an_exploit_does_not_hide_behind_bytes_that_the_server_ignores(site: Lab, kind: str) -> None:
    """The first ones for its place in the stream: the engine must not believe them, whatever was sent before."""
    guard = started(site)
    flood(site, guard, WRONG)
    source, data = ATTACKERS[0], LOG4SHELL.encode()
    with connect(site.attacker, source, PATIENCE_S) as connection:
        seq, ack = sequence_numbers(connection)
        header = TCP(sport=connection.getsockname()[1], dport=80, seq=seq, ack=ack, flags="PA", chksum=WRONG)
        junk = IP(src=source, dst=SERVER) / header / (b"x" * len(data))
        with site.attacker.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(left_to_device(junk) if kind == "left out" else bytes(junk), (SERVER, 0))
        with suppress(OSError):
            connection.sendall(data)
            connection.settimeout(0.5)
            connection.recv(100)
    assert alert_of(guard, source)["action"] == "blocked"
    assert decoded(guard, "anomaly", "partial_l4_checksum") == (kind == "left out")


def sequence_numbers(connection: socket.socket) -> tuple[int, int]:
    """Return the next sequence number of each direction, sent and received (tcp(7), TCP_REPAIR)."""
    connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    numbers = []
    for queue in (SENT, RECEIVED):
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        numbers.append(connection.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) & 0xFFFFFFFF)
    connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, -1)  # off, without a probe
    return numbers[0], numbers[1]
