"""Requests to `ids console` over its unix socket: ``python -m tests.bench.console_client …``; prints what came of them.

Paths are asked for in turn, by several threads, each with a connection of its own a request. A console that refuses
(503: all its threads are taken) or is not there costs a count, and no more.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from collections import Counter
from pathlib import Path

PATIENCE_S = 10.0


def ask(place: str, path: str, token: str) -> str:
    """Return the status of one answer, or why there was none."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE_S)
            client.connect(place)
            client.sendall(request.encode())
            answer = client.recv(1 << 16)
            while client.recv(1 << 16):
                pass
    except OSError as error:
        return type(error).__name__
    words = answer[:64].split(b" ", 2)
    return words[1].decode(errors="replace") if len(words) > 1 else "nothing"


def main() -> int:
    """Ask for a time; print how many answers there were of each kind as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--every", type=float, default=0.0, help="seconds between two requests of a thread")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("place", help="the socket")
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args()
    token = options.token_file.read_text().strip()
    until = time.monotonic() + options.seconds
    tallies = [Counter[str]() for _ in range(options.threads)]

    def work(tally: Counter[str]) -> None:
        due = time.monotonic()
        while due < until:
            for path in options.paths:
                due = max(due + options.every, time.monotonic())
                tally[ask(options.place, path, token)] += 1
                time.sleep(max(0.0, min(due, until) - time.monotonic()))

    threads = [threading.Thread(target=work, args=(tally,)) for tally in tallies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(sum(tallies, Counter())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
