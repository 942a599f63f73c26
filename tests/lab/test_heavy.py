"""A flood from one address and a heavy client from another, at once: the flood runs dry, the client does not notice."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from ids.kernel import FastPath, FastPathSettings
from ids.kernel.system import syscall
from ids.lab.topology import BENIGN, FLOODER, INSIDE, LINK, OUTSIDE, SERVER, Lab
from tests.bench.contenders import XDP_PASS
from tests.shared import ROOT

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]
PORT = 8080
SECONDS = 3.0
CONNECTIONS, FLOODED = 10_000, 10_000
"""So many at least, however long a slow machine takes for them. A budget lets a burst of 4096 pass, and 200 a second:
beyond the burst, one connection in 200 would have to send its SYN again."""
LIMIT_S = 120.0
REPEATED_S = 0.9
"""Linux repeats a SYN after a second: a connection that took as long lost its first one."""
LOST_IN_THE_QUEUE = 0.002
"""A veth's queue holds 256 packets: beside a flood it now and then loses a SYN. A budget takes nearly all."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@contextmanager
def guarded(lab: Lab) -> Iterator[FastPath]:
    """The program on both sides of the gateway, with its defaults; and NAPI on the attacker's, as real devices have."""
    with lab.attacker.entered():
        link = syscall.link_create(
            syscall.prog_load("empty", XDP_PASS), socket.if_nametoindex(LINK), syscall.XDP_FLAGS_DRV_MODE
        )
    with lab.gateway.entered():
        fastpath = FastPath.open(FastPathSettings(pin_dir=lab.pins / "ids"), "heavy")
        for interface in (OUTSIDE, INSIDE):
            fastpath.attach(interface)
    try:
        yield fastpath
    finally:
        with lab.gateway.entered():
            fastpath.close("remove")
        os.close(link)


@contextmanager
def server(lab: Lab) -> Iterator[None]:
    """Accept and close."""
    listener = lab.server.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((SERVER, PORT))
    listener.listen(4096)

    def accept() -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


@dataclass
class Client:
    """Opens connections as fast as one thread can."""

    took_s: list[float] = field(default_factory=list)
    failed: int = 0

    def run(self, lab: Lab, seconds: float) -> None:
        """Connect and reset, over and over."""
        with lab.attacker.entered():
            end = time.monotonic() + seconds
            while (begun := time.monotonic()) < end:
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                    connection.settimeout(20.0)  # for four SYNs
                    connection.bind((BENIGN, 0))
                    try:
                        connection.connect((SERVER, PORT))
                    except OSError:
                        self.failed += 1
                    else:
                        self.took_s.append(time.monotonic() - begun)


def test_a_flood_runs_dry_and_a_heavy_client_beside_it_does_not(lab: Lab) -> None:
    """14,000 connections a second of a proxy had become 204; the budget of its address was 200 SYNs a second."""
    client = Client()
    with guarded(lab) as fastpath, server(lab):
        client.run(lab, 0.5)
        calm = len(client.took_s)
        command = [sys.executable, str(ROOT / "ids/lab/flood.py"), FLOODER, SERVER, str(PORT)]
        begun = time.monotonic()
        flood = lab.spawn(lab.attacker, command, "flood.log")
        while True:
            client.run(lab, SECONDS)
            took_s = time.monotonic() - begun
            enough = len(client.took_s) - calm > CONNECTIONS and fastpath.stats()["drop.syn_source"][0] > FLOODED
            if enough or took_s > LIMIT_S:
                break
        lab.stop(flood)
        flooded_s = time.monotonic() - begun
        counts = {name: packets for name, (packets, _) in fastpath.stats().items() if packets}
    assert client.failed == 0
    slow = [took for took in client.took_s if took > REPEATED_S]
    assert len(slow) <= LOST_IN_THE_QUEUE * len(client.took_s), "connections that had to send their SYN again"
    assert counts["drop.syn_source"] > FLOODED, "a flood was under way"
    assert len(client.took_s) - calm > CONNECTIONS, "or its budget would not have run dry"
    passed = counts["note.flow_new"] - len(client.took_s)
    assert passed < 4096 + 200 * (flooded_s + 1), "and of the flood no more than its budget"
    assert counts["note.syn_answered"] >= 0.99 * len(client.took_s)
