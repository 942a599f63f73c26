"""Kill -9 and restart, again and again, under load, with a changing blocklist: is anything lost, or let through?

While a blocked source never stops sending, and honest clients fetch pages, `ids run` is killed at a random moment and
started again. In between the blocklist is changed as ``ids block`` changes it, also while no engine runs. After each
start the kernel's entries are compared with what they should be; every packet of the blocked source that reaches the
server is a gap.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import threading
import time
from ipaddress import IPv4Network, IPv6Network
from itertools import count

from ids.errors import KernelError
from ids.kernel import Block, Blocklist
from ids.lab.actors import PAGE, fetch
from ids.lab.guard import Guard
from ids.lab.topology import ATTACKERS, BENIGN, SERVER, Lab
from ids.lab.website import start_website
from ids.types import IPNetwork
from tests.bench.report import CannotRun, Row, show

RESTARTS = int(os.environ.get("IDS_RESTARTS", "200"))
CHANGES = 50
"""Entries added between two kills, and about as many deleted."""
SEED = 2026
VICTIM = ATTACKERS[0]
PORT = 9
SEND_EVERY_S = 0.0005

RULES = """
rules:
  - {title: never matches, id: 0b1c5a52-3df1-4ea5-9f3b-5b1f7c1a9e01, sid: 9000001, level: low, description: none,
     traffic: tcp any any -> any 1, match: [{payload: {contains: never-seen-on-this-wire}}]}
"""
"""One rule, so that a start takes a second: it is the gate that is tried here."""


class Load:
    """Threads that send while the engine comes and goes."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stop = threading.Event()
        self.sent = self.arrived = self.pages = self.failed = 0
        self._sender = lab.attacker.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sender.bind((VICTIM, 0))
        self._receiver = lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.bind((SERVER, PORT))
        self._receiver.settimeout(0.1)
        self._threads = [threading.Thread(target=work) for work in (self._attack, self._watch, self._browse)]

    def start(self) -> None:
        """Begin; the source has to be blocked by now."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._sender.close()
        self._receiver.close()

    def _attack(self) -> None:
        while not self._stop.wait(SEND_EVERY_S):
            self._sender.sendto(b"x", (SERVER, PORT))
            self.sent += 1

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._receiver.recv(64)
                self.arrived += 1
            except TimeoutError:
                continue

    def _browse(self) -> None:
        while not self._stop.wait(0.02):
            try:
                self.pages += fetch(self._lab.attacker, BENIGN, PAGE).status == 200
            except OSError:
                self.failed += 1


def _network(number: int) -> IPNetwork:
    """Return the n-th network: addresses and prefixes of both families in turn, no two the same."""
    kind, serial = number % 4, number // 4
    if kind == 0:
        return IPv4Network((0xC6120000 + serial, 32))
    if kind == 1:
        return IPv4Network((0xC6130000 + serial % 256 * 256, 24)) if serial < 256 else IPv4Network((serial << 8, 24))
    if kind == 2:
        return IPv6Network((0x20010DB8 << 96 | serial, 128))
    return IPv6Network((0x20010DB8 << 96 | serial << 64, 64))


def main() -> None:
    """Run the restarts and print what was lost."""
    if os.geteuid() != 0:
        raise CannotRun("needs root")
    random.seed(SEED)
    lost = left = 0
    starts: list[float] = []
    serial = count(1)
    try:
        with Lab() as lab:
            start_website(lab)
            (lab.directory / "none.yaml").write_text(RULES)
            guard = Guard(lab, rules={"paths": [str(lab.directory / "none.yaml")]})
            guard.start()
            pins = lab.pins / "ids" / lab.name
            expected: set[IPNetwork] = {IPv4Network(VICTIM)}
            with Blocklist.open(pins) as blocklist:
                blocklist.add(Block(network, label="operator") for network in expected)
                load = Load(lab)
                load.start()
                try:
                    for _ in range(RESTARTS):
                        _change(blocklist, expected, serial)
                        time.sleep(random.random() * 0.3)
                        guard.kill()
                        _change(blocklist, expected, serial)
                        started = time.monotonic()
                        guard.start()
                        starts.append(time.monotonic() - started)
                        found = {block.network for block in blocklist.list()}
                        lost += len(expected - found)
                        left += len(found - expected)
                finally:
                    load.stop()
                drops = guard.kernel_packets().get("drop.blocked", 0)
    except KernelError as error:
        raise CannotRun(str(error)) from error
    rows = [
        Row("entries lost", lost, "entries", note=f"after {RESTARTS} restarts, {len(expected):,} entries at the end"),
        Row("entries left over", left, "entries"),
        Row("packets of the blocked source that came through", load.arrived, "packets", note=f"of {load.sent:,} sent"),
        Row("packets of it dropped in XDP", drops, "packets"),
        Row("pages that honest clients failed to get", load.failed, "pages", note=f"of {load.pages + load.failed:,}"),
        Row("start of the engine", statistics.median(starts), "s", min(starts), max(starts)),
    ]
    show("Kill -9 and restart", rows, "python -m tests.bench restart")


def _change(blocklist: Blocklist, expected: set[IPNetwork], serial: count[int]) -> None:
    """Add and delete some entries, here and in what is expected."""
    fresh = [_network(next(serial)) for _ in range(CHANGES)]
    blocklist.add(Block(network, label="operator") for network in fresh)
    expected.update(fresh)
    for network in random.sample(sorted(expected, key=str), min(len(expected), CHANGES - 5)):
        if network != IPv4Network(VICTIM):
            blocklist.delete(network)
            expected.discard(network)


if __name__ == "__main__":
    main()
