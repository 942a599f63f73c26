"""A legitimate client under a SYN flood at the highest rate that this machine makes, spoofed and not.

The share of its connections that succeed, to a server behind the gateway and to the gateway itself: with an empty XDP
program (nobody defends), with nftables' synproxy, and with us. The generator, the gateway, the servers and the client
share two cores, so what a contender does not spend on the flood is left to the client. The servers' own SYN cookies
are off, for it is the gateway that is tried, and many things behind gateways have none; but for one case, where the
gateway's own kernel makes them, and the XDP program sends them in its place.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from ids.errors import KernelError
from ids.kernel.system import syscall
from ids.lab.namespace import Namespace
from ids.lab.topology import BENIGN, GATEWAY_OUTSIDE, LINK, OUTSIDE, SERVER, Lab
from ids.lab.website import PORT, start_website
from tests.bench.contenders import XDP_PASS, Contender, empty_program, engine
from tests.bench.report import CannotRun, Row, show

SECONDS = 8.0
ATTEMPT_S = 10.0
"""A connection that takes longer counts as failed. Linux sends its SYN again after 1, 3 and 7 s."""
UNDECIDED_S = 3.0
"""A connection that still waits when the flood ends has failed if it waited for this long, else it does not count."""
CLIENTS = 8
"""Connections tried at the same time, all from one address."""
FLOODER = "198.18.0.1"
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """A flood, and who is to withstand it."""

    name: str
    here: bool
    """To the gateway itself, rather than to the server behind it."""
    spoofed: bool
    cookies: bool = False
    """The server's kernel makes SYN cookies when its queue is full."""


CASES = (
    Case("through the gateway, spoofed", here=False, spoofed=True),
    Case("through the gateway, one source", here=False, spoofed=False),
    Case("to the gateway, spoofed", here=True, spoofed=True),
    Case("to the gateway, one source", here=True, spoofed=False),
    Case("to the gateway, spoofed, SYN cookies", here=True, spoofed=True, cookies=True),
)

SYNPROXY = """
table ip guard {
  chain before { type filter hook prerouting priority raw; tcp dport 80 tcp flags syn notrack; }
  chain through { type filter hook forward priority filter; ct state { invalid, untracked } tcp dport 80 synproxy mss 1460 wscale 7 timestamp sack-perm; ct state invalid drop; }
  chain here { type filter hook input priority filter; ct state { invalid, untracked } tcp dport 80 synproxy mss 1460 wscale 7 timestamp sack-perm; ct state invalid drop; }
}
"""  # noqa: E501


@dataclass(slots=True)
class Tally:
    """What the client, the generator and the gateway counted; appending is atomic enough for a few threads."""

    failed: list[float] = field(default_factory=list)
    """Seconds after which an attempt was given up, or the flood ended."""
    delays_ms: list[float] = field(default_factory=list)
    """Of those that were served while the flood lasted."""
    offered: list[float] = field(default_factory=list)
    """SYNs a second, of each round."""
    arrived: list[float] = field(default_factory=list)
    """Of these, what the gateway's interface had room for."""


@contextmanager
def _synproxy(lab: Lab) -> Iterator[None]:
    """Let nftables answer SYNs with cookies, as its documentation sets it up."""
    with empty_program(lab):
        lab.gateway.set_sysctl("netfilter.nf_conntrack_tcp_loose", "0")
        lab.gateway.run("nft", "-f", "-", stdin=SYNPROXY)
        try:
            yield
        finally:
            lab.gateway.run("nft", "delete", "table", "ip", "guard")


@contextmanager
def _website(lab: Lab, host: Namespace) -> Iterator[None]:
    """Serve for one round: a listener that is closed takes the half-open connections of the last flood with it."""
    website = start_website(lab, host)
    yield
    lab.stop(website.process)


def _enable_napi(lab: Lab) -> None:
    """Let the client's end of the veth receive what XDP sends back: it does so only with NAPI, as any real NIC has."""
    with lab.attacker.entered():
        syscall.link_create(
            syscall.prog_load("empty", XDP_PASS), socket.if_nametoindex(LINK), syscall.XDP_FLAGS_DRV_MODE
        )


def _attempt(lab: Lab, target: str, tally: Tally, flood: Flood) -> None:
    """Try one connection. One that had to wait for the flood to end was not served under it."""
    started = time.monotonic()
    served = False
    with suppress(OSError), lab.attacker.socket(socket.AF_INET, socket.SOCK_STREAM) as client:  # failures are counted
        client.settimeout(ATTEMPT_S)
        client.bind((BENIGN, 0))
        client.connect((target, PORT))
        client.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
        served = client.recv(12).startswith(b"HTTP/1.1 200")
    now = time.monotonic()
    if not flood.ended_by(now):
        (tally.delays_ms if served else tally.failed).append((now - started) * (1e3 if served else 1))
    elif flood.ended_s - started >= UNDECIDED_S:
        tally.failed.append(flood.ended_s - started)


class Flood:
    """A running generator, and when it ended."""

    def __init__(self, generator: subprocess.Popen[bytes]) -> None:
        self._generator = generator
        self.ended_s = math.inf
        """By time.monotonic()."""
        self._watch = threading.Thread(target=self._wait)
        self._watch.start()

    def _wait(self) -> None:
        self._generator.wait()
        self.ended_s = time.monotonic()

    def ended_by(self, moment_s: float) -> bool:
        """Return whether the flood was over at a moment."""
        return self.ended_s <= moment_s


def _received(lab: Lab) -> int:
    """Return how many packets the gateway's outer interface has received."""
    links = json.loads(lab.gateway.run("ip", "-s", "-j", "link", "show", OUTSIDE))
    return int(links[0]["stats64"]["rx"]["packets"])


def _round(lab: Lab, target: str, spoofed: bool, mac: str, tally: Tally) -> None:
    log = lab.directory / "generator.log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.bench.generator", "--interface", LINK, "--mac", mac, "--target", target]
    command += ["--seconds", str(SECONDS), "--source", FLOODER, *(["--spoofed"] if spoofed else [])]
    generator = lab.spawn(lab.attacker, command, log.name)
    while "ready" not in log.read_text():
        if generator.poll() is not None:
            raise CannotRun(f"the generator ended: {log.read_text()[-300:]}")
        time.sleep(0.05)
    received = _received(lab)
    flood = Flood(generator)
    time.sleep(1.0)  # a flood is under way when the client comes

    def browse() -> None:
        while not flood.ended_by(time.monotonic()):
            _attempt(lab, target, tally, flood)
            time.sleep(0.02)

    clients = [threading.Thread(target=browse) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    sent, seconds = map(float, log.read_text().split()[-2:])
    tally.offered.append(sent / seconds)
    tally.arrived.append((_received(lab) - received) / seconds)


def main() -> None:
    """Measure every contender against every flood, interleaved."""
    if os.geteuid() != 0:
        raise CannotRun("needs root")
    os.environ["PYTHONPATH"] = os.getcwd()
    contenders: dict[str, Contender] = {"undefended": empty_program}
    if shutil.which("nft"):
        contenders["nftables synproxy"] = _synproxy
    contenders["ids run"] = engine
    rows = []
    try:
        with Lab() as lab:
            lab.gateway.run("ip", "route", "add", "198.18.0.0/15", "via", BENIGN)
            _enable_napi(lab)
            mac = lab.gateway.run("ip", "-br", "link", "show", OUTSIDE).split()[2]
            for case in CASES:
                target, host = (GATEWAY_OUTSIDE, lab.gateway) if case.here else (SERVER, lab.server)
                host.set_sysctl("ipv4.tcp_syncookies", str(int(case.cookies)))
                tallies = {name: Tally() for name in contenders}
                for _ in range(ROUNDS):
                    for name, contender in contenders.items():
                        with contender(lab), _website(lab, host):
                            _round(lab, target, case.spoofed, mac, tallies[name])
                rows += [_row(f"{case.name}: {name}", tally) for name, tally in tallies.items()]
    except KernelError as error:
        raise CannotRun(str(error)) from error
    show("Client's connections under a SYN flood", rows, "make bench, or: python -m tests.bench flood")


def _row(name: str, tally: Tally) -> Row:
    served, tried = len(tally.delays_ms), len(tally.delays_ms) + len(tally.failed)
    delay = f", median {statistics.median(tally.delays_ms):.1f} ms" if served else ""
    offered, arrived = (statistics.median(rates) / 1e6 for rates in (tally.offered, tally.arrived))
    note = f"{served} of {tried}{delay}; flood of {offered:.2f} Mpps, {arrived:.2f} of them found room"
    return Row(name, 100 * served / tried if tried else 0.0, "% served", note=note)


if __name__ == "__main__":
    main()
