"""A legitimate client under a SYN flood at the highest rate that this machine makes, spoofed and not.

The share of its connections that succeed, to a server behind the gateway and to the gateway itself: with an empty XDP
program (nobody defends), with nftables' synproxy, and with us. The generator, the gateway, the servers and the client
share two cores, so what a contender does not spend on the flood is left to the client. The servers' own SYN cookies
are off: it is the gateway that is tried, and many things behind gateways have none.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from ids.errors import KernelError
from ids.kernel import syscall
from ids.lab.topology import BENIGN, GATEWAY_OUTSIDE, LINK, OUTSIDE, SERVER, Lab
from ids.lab.website import PORT
from tests.bench.bench_gateway import XDP_PASS, empty_program, engine
from tests.bench.report import CannotRun, Row, show

SECONDS = 6.0
ATTEMPT_S = 10.0
"""A connection that takes longer counts as failed. Linux sends its SYN again after 1, 3 and 7 s."""
AT_ONCE_S = 0.5
"""A connection that is quicker than this did not wait for anything."""
CLIENTS = 8
"""Connections tried at the same time, all from one address."""
FLOODER = "198.18.0.1"
ROUNDS = 3

SYNPROXY = """
table ip guard {
  chain before { type filter hook prerouting priority raw; tcp dport 80 tcp flags syn notrack; }
  chain through { type filter hook forward priority filter; ct state { invalid, untracked } tcp dport 80 synproxy mss 1460 wscale 7 timestamp sack-perm; ct state invalid drop; }
  chain here { type filter hook input priority filter; ct state { invalid, untracked } tcp dport 80 synproxy mss 1460 wscale 7 timestamp sack-perm; ct state invalid drop; }
}
"""  # noqa: E501


@dataclass(slots=True)
class Tally:
    """What the client and the generator counted; appending and adding are atomic enough for a few threads."""

    tried: int = 0
    served: int = 0
    rate: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)


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


def _enable_napi(lab: Lab) -> None:
    """Let the client's end of the veth receive what XDP sends back: it does so only with NAPI, as any real NIC has."""
    with lab.attacker.entered():
        syscall.link_create(
            syscall.prog_load("empty", XDP_PASS), socket.if_nametoindex(LINK), syscall.XDP_FLAGS_DRV_MODE
        )


def _attempt(lab: Lab, target: str, tally: Tally, flooding: Callable[[], bool]) -> None:
    """Try one connection. One that had to wait for the flood to end was not served under it."""
    started = time.monotonic()
    tally.tried += 1
    try:
        with lab.attacker.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(ATTEMPT_S)
            client.bind((BENIGN, 0))
            client.connect((target, PORT))
            client.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            if client.recv(12).startswith(b"HTTP/1.1 200"):
                took_s = time.monotonic() - started
                if flooding() or took_s < AT_ONCE_S:
                    tally.served += 1
                    tally.delays_ms.append(took_s * 1e3)
    except OSError:  # refused, reset or timed out: a connection that failed is what is counted here
        return


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
    time.sleep(1.0)  # a flood is under way when the client comes

    def browse() -> None:
        while generator.poll() is None:
            _attempt(lab, target, tally, lambda: generator.poll() is None)
            time.sleep(0.02)

    clients = [threading.Thread(target=browse) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    sent, seconds = log.read_text().split()[-2:]
    tally.rate.append(float(sent) / float(seconds))


def main() -> None:
    """Measure every contender against every flood, interleaved."""
    if os.geteuid() != 0:
        raise CannotRun("needs root")
    os.environ["PYTHONPATH"] = os.getcwd()
    contenders: dict[str, Callable[[Lab], AbstractContextManager[None]]] = {"undefended": empty_program}
    if shutil.which("nft"):
        contenders["nftables synproxy"] = _synproxy
    contenders["ids run"] = engine
    from ids.lab.website import start_website

    rows = []
    try:
        with Lab() as lab:
            for host in (lab.gateway, lab.server):
                start_website(lab, host)
                host.set_sysctl("ipv4.tcp_syncookies", "0")
            lab.gateway.run("ip", "route", "add", "198.18.0.0/15", "via", BENIGN)
            _enable_napi(lab)
            mac = lab.gateway.run("ip", "-br", "link", "show", OUTSIDE).split()[2]
            for where, target in (("through the gateway", SERVER), ("to the gateway", GATEWAY_OUTSIDE)):
                for spoofed in (True, False):
                    tallies = {name: Tally() for name in contenders}
                    for _ in range(ROUNDS):
                        for name, contender in contenders.items():
                            with contender(lab):
                                _round(lab, target, spoofed, mac, tallies[name])
                    kind = "spoofed" if spoofed else "one source"
                    rows += [_row(f"{where}, {kind}: {name}", tally) for name, tally in tallies.items()]
    except KernelError as error:
        raise CannotRun(str(error)) from error
    show("Client's connections under a SYN flood", rows, "make bench, or: python -m tests.bench flood")


def _row(name: str, tally: Tally) -> Row:
    share = 100 * tally.served / tally.tried if tally.tried else 0.0
    delay = f", median {statistics.median(tally.delays_ms):.1f} ms" if tally.delays_ms else ""
    rate = statistics.median(tally.rate) / 1e6
    return Row(name, share, "% served", note=f"{tally.served} of {tally.tried}{delay}; flood of {rate:.2f} Mpps")


if __name__ == "__main__":
    main()
