"""Packets per second of ``ids replay`` over a capture of a million packets, beside Suricata on the same file."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.report import CannotRun, Row, show

PACKETS = 1_000_000
ROUNDS = 3
ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("IDS_SHARED", ROOT.parent / "shared"))

SURICATA_RULE = 'alert http any any -> any any (msg:"one rule"; http.uri; content:"/etc/passwd"; sid:1;)\n'


def big_capture() -> Path:
    """Make (once) and return a capture of a million packets with ever new flows, out of the peer's test captures."""
    maker, suite = SHARED / "tools" / "mix_pcap.py", SHARED / "suricata-verify" / "tests"
    if not maker.exists() or not suite.exists():
        raise CannotRun(f"{maker} and {suite} are not here")
    target = ROOT / "build" / f"mix-{PACKETS}.pcap"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        subprocess.run([sys.executable, maker, "-n", str(PACKETS), "-o", target, suite], check=True)
    return target


def _seconds(command: list[str], cwd: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise CannotRun(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return time.perf_counter() - started


def main() -> None:
    """Time the whole process of each contender, in turn."""
    capture = big_capture()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "one.rules").write_text(SURICATA_RULE)
        ids = [str(Path(sys.executable).with_name("ids")), "replay", str(capture), "-o", "json"]
        contenders = {
            "ids replay, starter rules": ids,
            "ids replay, starter rules, EVE": [*ids, "--eve", str(folder / "ids.json")],
        }
        if shutil.which("suricata"):
            peer = ["suricata", "--runmode", "single", "-r", str(capture), "-S", str(folder / "one.rules"), "-l", name]
            contenders["suricata, one rule, EVE"] = peer
        times: dict[str, list[float]] = {what: [] for what in contenders}
        for _ in range(ROUNDS):
            for what, command in contenders.items():
                times[what].append(PACKETS / _seconds(command, folder))
    peer_rate = statistics.median(times["suricata, one rule, EVE"]) if "suricata, one rule, EVE" in times else None
    rows = [
        Row(
            what,
            statistics.median(rates),
            "packets/s",
            min(rates),
            max(rates),
            ratio=statistics.median(rates) / peer_rate if peer_rate and not what.startswith("suricata") else None,
            peer="suricata" if peer_rate else "",
            note="whole process, start and rules included",
        )
        for what, rates in times.items()
    ]
    show(f"Replay of {PACKETS:,} packets", rows, "make bench, or: python -m tests.bench replay")


if __name__ == "__main__":
    main()
