"""Short HTTP connections at a steady rate: ``python -m tests.bench.load_client …``, in a namespace; prints JSON.

One request each, from ever other addresses, so that no source looks like a flood. Connections are opened when they are
due, whether or not the former ones were answered: what is slow under load shows as such, not as a lower rate. The
server closes first, so that no port stays in TIME_WAIT here. Where the client itself falls behind, it says so.
"""

from __future__ import annotations

import argparse
import errno
import ipaddress
import itertools
import json
import resource
import select
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

OPEN_LIMIT = 8000
"""Connections at once; more are not opened, and counted as `skipped`."""
PATIENCE_S = 4.0
"""A connection that takes longer has failed: Linux repeats a SYN after 1 s and 3 s."""
BURST = 32
"""Connections opened in a row before answers are looked at."""
IP_BIND_ADDRESS_NO_PORT = 24  # include/uapi/linux/in.h: the port is chosen on connecting
EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


@dataclass(slots=True)
class Tally:
    """What became of the connections."""

    started: int = 0
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    opened_s: float = 0.0
    """From the first to the last that was opened."""
    took_ms: list[float] = field(default_factory=list)


class Client:
    """Opens connections and reads their answers, all in one thread."""

    def __init__(self, target: str, sources: Iterator[str]) -> None:
        self._target = (target, 80)
        self._sources = sources
        self._request = f"GET /index.html HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n".encode()
        self._epoll = select.epoll()
        self._open: dict[int, tuple[socket.socket, float]] = {}
        self._answered: set[int] = set()
        self.tally = Tally()

    def run(self, rate: float, seconds: float) -> None:
        """Open connections at a rate for a time, then wait for the last answers."""
        started = time.monotonic()
        total, due = int(rate * seconds), 0
        while due < total or self._open:
            now = time.monotonic() - started
            wanted = min(total, int(now * rate) + 1)
            for _ in range(min(wanted - due, BURST)):
                self._start()
                due += 1
                self.tally.opened_s = time.monotonic() - started
            behind = due < wanted
            self._serve(0.0 if behind else min(0.01, max(0.0, (due + 1) / rate - now)) if due < total else 0.01)
            self._give_up()

    def _start(self) -> None:
        if len(self._open) >= OPEN_LIMIT:
            self.tally.skipped += 1
            return
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((next(self._sources), 0))
        self.tally.started += 1
        if connection.connect_ex(self._target) not in (0, errno.EINPROGRESS):
            self.tally.failed += 1
            connection.close()
            return
        number = connection.fileno()
        self._open[number] = (connection, time.monotonic())
        self._epoll.register(number, EVENTS)

    def _serve(self, wait_s: float) -> None:
        for number, events in self._epoll.poll(wait_s):
            connection, _ = self._open[number]
            try:
                if events & (select.EPOLLERR | select.EPOLLHUP) and not events & select.EPOLLIN:
                    self._finish(number, served=False)
                elif events & (select.EPOLLIN | select.EPOLLRDHUP):
                    self._read(number, connection, events)
                elif events & select.EPOLLOUT:
                    connection.send(self._request)
            except OSError:
                self._finish(number, served=False)

    def _read(self, number: int, connection: socket.socket, events: int) -> None:
        if connection.recv(65536).startswith(b"HTTP/1.1 200"):
            self._answered.add(number)
        if events & select.EPOLLRDHUP:
            self._finish(number, number in self._answered)

    def _finish(self, number: int, served: bool) -> None:
        connection, since = self._open.pop(number)
        self._answered.discard(number)
        connection.close()
        if served:
            self.tally.completed += 1
            self.tally.took_ms.append((time.monotonic() - since) * 1e3)
        else:
            self.tally.failed += 1

    def _give_up(self) -> None:
        """Close what has waited for too long; the oldest come first."""
        patience = time.monotonic() - PATIENCE_S
        late = list(itertools.takewhile(lambda number: self._open[number][1] < patience, self._open))
        for number in late:
            self._finish(number, served=False)


def main() -> int:
    """Make the connections, then print what became of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", required=True)
    parser.add_argument("--sources", required=True, help="a network, each of whose hosts opens connections in turn")
    parser.add_argument("--rate", type=float, required=True, help="connections a second")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_LIMIT + 100, limit), limit))
    hosts = [str(host) for host in ipaddress.ip_network(options.sources).hosts()]
    client = Client(options.target, itertools.cycle(hosts))
    began, cpu = time.monotonic(), time.process_time()
    client.run(options.rate, options.seconds)
    tally, seconds = client.tally, time.monotonic() - began
    figures = {name: getattr(tally, name) for name in ("started", "completed", "failed", "skipped", "opened_s")}
    figures["median_ms"] = statistics.median(tally.took_ms) if tally.took_ms else None
    print(json.dumps({**figures, "seconds": seconds, "cpu_s": time.process_time() - cpu}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
