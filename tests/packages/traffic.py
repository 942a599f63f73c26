"""Numbered datagrams from several sources to the machine, and which of them arrived: run beside what is tested.

    python traffic.py receive ADDRESS UNTIL
    python traffic.py send ADDRESS UNTIL SOURCE...

Both end when the file UNTIL is there, or after `LONGEST_S`. As a script it needs nothing but Python: it runs inside of
network namespaces.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

PORT = 9000
PER_S = 200
GRACE_S = 1.0
"""For what is under way when the sender ends."""
LONGEST_S = 300.0


def send(target: str, until: Path, *sources: str) -> None:
    """Send from each source; print how many were sent of each."""
    sockets = {}
    for source in sources:
        sockets[source] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets[source].bind((source, 0))
    number, begin = 0, time.monotonic()
    while not until.exists() and time.monotonic() - begin < LONGEST_S:
        for each in sockets.values():
            each.sendto(b"%d" % number, (target, PORT))
        number += 1
        time.sleep(max(0.0, begin + number / PER_S - time.monotonic()))
    print(json.dumps(dict.fromkeys(sources, number)))


def receive(address: str, until: Path) -> None:
    """Print how many different datagrams came from each source."""
    seen: dict[str, set[bytes]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        receiver.bind((address, PORT))
        receiver.settimeout(0.2)
        print("ready", flush=True)
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            if until.exists():
                deadline = min(deadline, time.monotonic() + GRACE_S)
            try:
                data, (source, _) = receiver.recvfrom(64)
            except TimeoutError:
                continue
            seen.setdefault(source, set()).add(data)
    print(json.dumps({source: len(numbers) for source, numbers in seen.items()}))


if __name__ == "__main__":
    _, verb, where, end, *who = sys.argv
    if verb == "send":
        send(where, Path(end), *who)
    else:
        receive(where, Path(end))
