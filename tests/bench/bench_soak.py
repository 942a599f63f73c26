"""Memory over time and under attack: half an hour of the mixed capture through one replay, and captures made to be
remembered, each with an exploit that has to be found.

The half hour is one endless capture on standard input: the million packets again and again, their times going on, so
that flows end by their own packets and time-outs, never because a capture does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ids.types import I64, U8
from tests.bench import hostile
from tests.bench.captures import mixed_capture
from tests.bench.process import IDS, resident_mib, run_measured
from tests.bench.report import CannotRun, Row, show

MINUTES = 30.0
PACKETS = 1_000_000
SAMPLE_S = 1.0
PASS_S = 10
"""Packet time of one pass; the capture has a million packets, 10 µs apart."""
HEADER = 24
"""Bytes before the first record of a pcap file."""


def main(arguments: Sequence[str] = ()) -> None:
    """Measure each once."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench soak")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of the mixed capture; 0 leaves it out")
    parser.add_argument("--packets", type=int, default=PACKETS, help="of each hostile capture")
    options = parser.parse_args(list(arguments))
    rows = [_hostile(name, make, options.packets) for name, make in hostile.SHAPES.items()]
    if options.minutes:
        try:
            rows += _mixed(options.minutes)
        except CannotRun as reason:
            print(f"mix: not measured: {reason}")
    show("Memory over time and under attack", rows, "python -m tests.bench soak")


def _hostile(name: str, make: hostile.Make, packets: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "hostile.pcap"
        hostile.write(capture, make, packets)
        command = [IDS, "replay", "-o", "json", "-k", "none", "--fast-path", "off", str(capture)]
        run = run_measured(command, Path(folder))
    alerts = json.loads(run.stdout)["alerts"]
    found = sum(alert["src_ip"] == hostile.ATTACKER for alert in alerts)
    note = f"the exploit among them: {found} alerts; {packets / run.seconds:,.0f} packets/s"
    return Row(f"ids replay, {packets:,} {name}, peak", run.peak_mib, "MiB", note=note)


def _mixed(minutes: float) -> list[Row]:
    capture = mixed_capture()
    data = np.fromfile(capture, np.uint8)
    seconds = _seconds(data)
    command = [IDS, "replay", "-o", "json", "--fast-path", "off", "--workers", "1", "--eve", "/dev/null", "-"]
    samples: list[float] = []
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        try:
            assert process.stdin is not None
            passes = 0
            for samples_of_pass in _feed(process, data, seconds, time.monotonic() + 60 * minutes):
                samples += samples_of_pass
                passes += 1
            process.stdin.close()
            process.wait(60)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode:
            log.seek(0)
            raise CannotRun(log.read()[-500:].decode(errors="replace"))
    tenth = max(len(samples) // 10, 1)
    early, late = max(samples[tenth : 2 * tenth] or samples), max(samples[-tenth:])
    note = f"{passes} passes, {passes * PACKETS:,} packets, {passes * PASS_S // 60} minutes of packet time"
    return [
        Row("mix, largest in the second tenth of the time", early, "MiB", note=note),
        Row("mix, largest in the last tenth", late, "MiB", ratio=late / early, peer="the second tenth"),
    ]


def _feed(process: subprocess.Popen[bytes], data: U8, seconds: I64, until: float) -> Iterator[list[float]]:
    """Write pass after pass; yield the memory that the reader had meanwhile, in MiB."""
    assert process.stdin is not None
    start, sampled = data[:HEADER], 0.0
    process.stdin.write(start.tobytes())
    body = data[HEADER:]
    while time.monotonic() < until and process.poll() is None:
        samples = []
        for at in range(0, len(body), 1 << 22):
            process.stdin.write(body[at : at + (1 << 22)].data)
            if time.monotonic() > sampled + SAMPLE_S:
                sampled = time.monotonic()
                samples.append(resident_mib(process.pid))
        yield samples
        _later(data, seconds)


def _seconds(data: U8) -> I64:
    """Return where in a pcap file the seconds of each record stand."""
    raw, at, places = data.tobytes(), HEADER, []
    while at < len(raw):
        places.append(at)
        at += 16 + int.from_bytes(raw[at + 8 : at + 12], "little")
    return np.array(places, np.int64)


def _later(data: U8, seconds: I64) -> None:
    """Move all records on by the time of a pass."""
    value = sum(data[seconds + byte].astype(np.int64) << 8 * byte for byte in range(4)) + PASS_S
    for byte in range(4):
        data[seconds + byte] = value >> 8 * byte & 0xFF


if __name__ == "__main__":
    main()
