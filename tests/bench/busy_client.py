"""An honest client that is busy: pages over connections that stay open, at a steady rate; prints JSON.

``python -m tests.bench.busy_client …``, in a namespace. A request is sent when it is due, whether or not others were
answered, over whichever connection waits for nothing; where all wait, it is sent late.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import statistics
import time
from collections import deque
from contextlib import suppress

PER_CONNECTION = 500
"""Requests; servers close after some thousand."""
LATE_S = 0.5
"""Requests that are due for longer are not sent any more."""


class Client:
    """Some connections, each with at most one request on its way."""

    def __init__(self, source: str, target: str, connections: int) -> None:
        self._ends = source, target
        self._request = f"GET /index.html HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()
        self._epoll = select.epoll()
        self._free: deque[int] = deque()
        self._open: dict[int, tuple[socket.socket, int, float]] = {}
        self.answered = self.failed = self.left_out = 0
        self.took_ms: list[float] = []
        for _ in range(connections):
            self._connect()

    def _connect(self) -> None:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(1.0)
        connection.bind((self._ends[0], 0))
        connection.connect((self._ends[1], 80))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self._open[connection.fileno()] = connection, PER_CONNECTION, 0.0
        self._epoll.register(connection.fileno(), select.EPOLLIN)
        self._free.append(connection.fileno())

    def run(self, rate: float, seconds: float) -> None:
        """Send requests at a rate for a time."""
        began, sent = time.monotonic(), 0
        while (now := time.monotonic() - began) < seconds:
            due = int(now * rate)
            if due - sent > LATE_S * rate:
                self.left_out += due - sent
                sent = due
            while sent < due and self._free:
                self._send(self._free.popleft())
                sent += 1
            wait_s = 0.1 if sent < due else max((sent + 1) / rate - now, 0.0)
            for number, _ in self._epoll.poll(min(wait_s, 0.1)):
                self._read(number)

    def _send(self, number: int) -> None:
        connection, left, _ = self._open[number]
        self._open[number] = connection, left - 1, time.monotonic()
        with suppress(OSError):  # the end is read
            connection.send(self._request)

    def _read(self, number: int) -> None:
        connection, left, sent = self._open[number]
        answer = b""
        with suppress(OSError):
            answer = connection.recv(65536)
        if answer.startswith(b"HTTP/1.1 200"):
            self.answered += 1
            self.took_ms.append((time.monotonic() - sent) * 1e3)
            if left:
                self._free.append(number)
                return
        else:
            self.failed += 1
        del self._open[number]
        connection.close()
        self._connect()


def main() -> int:
    """Fetch pages, then print how many a second were answered."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    client = Client(options.source, options.target, options.connections)
    client.run(options.rate, options.seconds)
    median_ms = statistics.median(client.took_ms) if client.took_ms else None
    figures = {"answered_per_s": client.answered / options.seconds, "median_ms": median_ms}
    print(json.dumps({**figures, "failed": client.failed, "left_out": client.left_out}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
