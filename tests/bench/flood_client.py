"""One modest source that costs an engine much: ``python -m tests.bench.flood_client …``, in a namespace; prints JSON.

It ends when its time is over, or when it is asked to (SIGTERM).
Connections to port 80 at a steady rate, all from one address, each opened by the kernel's own TCP. ``segments``: a POST
whose bytes come in segments of 100. ``requests``: one as they ought to be, then five bytes that make another, over and
over, in full segments; the server closes at the first of these. Both stay under every budget of the defaults.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import time
from collections import deque
from contextlib import suppress

FLOODS = {"segments": 150.0, "requests": 65.0}
"""Connections a second; 65 of 14.4 KB are 7.5 Mbit/s."""
LINGER_S = 0.5
"""How long a connection is left to the server, which may answer, before it is closed."""
IP_BIND_ADDRESS_NO_PORT = 24  # include/uapi/linux/in.h: the port is chosen on connecting
SEGMENT_BYTES = 100
TIMESTAMPS_BYTES = 12
"""Of each segment, beside the data."""
POST_BYTES = 15_000
REQUEST = b"A /\n\n"
FIRST = b"GET /index.html HTTP/1.1\r\nHost: shop.example\r\n\r\n"
REQUESTS_BYTES = 14_400
"""What a fresh connection may send at once: ten full segments."""


def content(kind: str) -> bytes:
    """Return what each connection sends."""
    if kind == "requests":
        return FIRST + REQUEST * ((REQUESTS_BYTES - len(FIRST)) // len(REQUEST))
    head = f"POST /index.html HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {POST_BYTES}\r\n\r\n".encode()
    return (head + bytes(range(32, 127)) * POST_BYTES)[:POST_BYTES]


def begin(source: str, target: str, kind: str, data: bytes) -> socket.socket:
    """Open a connection and leave the data to the kernel; raises OSError."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.settimeout(0.5)
        connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        if kind == "segments":
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES + TIMESTAMPS_BYTES)
        connection.bind((source, 0))
        connection.connect((target, 80))
        connection.setblocking(False)
        connection.send(data)
    except BaseException:
        connection.close()
        raise
    return connection


def main() -> int:
    """Open connections until the end, then print how many."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=tuple(FLOODS), required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--rate", type=float, required=True, help="connections a second")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    data, begun = content(options.kind), time.monotonic()
    open_: deque[tuple[float, socket.socket]] = deque()
    opened = failed = 0
    while not asked and (now := time.monotonic()) - begun < options.seconds:
        while open_ and open_[0][0] < now - LINGER_S:
            open_.popleft()[1].close()
        if opened + failed >= (now - begun) * options.rate:
            time.sleep(0.5 / options.rate)
            continue
        connection = None
        with suppress(OSError):
            connection = begin(options.source, options.target, options.kind, data)
        if connection is None:
            failed += 1
        else:
            opened += 1
            open_.append((now, connection))
    for _, connection in open_:
        connection.close()
    seconds = time.monotonic() - begun
    print(json.dumps({"opened": opened, "failed": failed, "seconds": seconds, "bytes": opened * len(data)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
