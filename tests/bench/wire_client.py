"""Captures put on the wire as they are: ``python -m tests.bench.wire_client …``, in a namespace; prints the packets.

Frames keep their addresses, so the next hop in them is nobody's here: the gate sees each, and the kernel behind it
drops what is not for its own MAC address.
"""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import Iterator
from pathlib import Path

HEADER, RECORD = 24, 16
"""Bytes before the first record of a pcap file, and before each frame."""
BURST = 32
"""Frames sent in a row before the clock is looked at."""
LARGEST = 1514
"""Longer frames do not fit the wire; they are left out."""


def frames(capture: Path) -> Iterator[bytes]:
    """Return the frames of a capture that fit the wire, from its beginning to its end."""
    with capture.open("rb", buffering=1 << 20) as file:
        file.seek(HEADER)
        while len(record := file.read(RECORD)) == RECORD:
            frame = file.read(int.from_bytes(record[8:12], "little"))
            if len(frame) <= LARGEST:
                yield frame


def endless(captures: list[Path]) -> Iterator[bytes]:
    """Return the frames of captures, one after the other, and again."""
    while True:
        for capture in captures:
            yield from frames(capture)


def main() -> int:
    """Send at a rate for a time, then print how many were sent and in how many seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--interface", required=True)
    parser.add_argument("--rate", type=float, default=0.0, help="packets a second; 0: as fast as it goes")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("captures", type=Path, nargs="+", help="little-endian pcap files, sent in turn")
    options = parser.parse_args()
    began, sent = time.monotonic(), 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((options.interface, 0))
        for frame in endless(options.captures):
            if sent % BURST == 0:
                now = time.monotonic() - began
                if now > options.seconds:
                    break
                if options.rate and (early := sent / options.rate - now) > 0:
                    time.sleep(early)
            try:
                wire.send(frame)
            except OSError:
                continue  # the queue was full: as on any wire
            sent += 1
    print(sent, time.monotonic() - began, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
