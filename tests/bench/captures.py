"""The captures that are replayed: made once, kept in ``build/``."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from ids.errors import KernelError
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, OUTSIDE, SERVER, Lab
from ids.lab.website import PAGES, start_website
from tests.bench.report import CannotRun

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
SHARED = Path(os.environ.get("IDS_SHARED", ROOT.parent / "shared"))
MIXED_PACKETS = 1_000_000
HTTP_CONNECTIONS = 21_000
"""Spread over all clients of the lab: 140 for each, fewer than one source may open at once
(`fastpath.syn_burst_per_source`), so that the fast path lets all of them through."""
PAUSE_S = 0.01
"""Between the first connections of two clients: these prove their addresses before there is a crowd."""


def mixed_capture() -> Path:
    """Make (once) and return a capture of a million packets with ever new flows, out of the peer's test captures."""
    maker, suite = SHARED / "tools" / "mix_pcap.py", SHARED / "suricata-verify" / "tests"
    if not maker.exists() or not suite.exists():
        raise CannotRun(f"{maker} and {suite} are not here")
    target = BUILD / f"mix-{MIXED_PACKETS}.pcap"
    if not target.exists():
        BUILD.mkdir(exist_ok=True)
        part = target.with_suffix(".part")
        subprocess.run([sys.executable, maker, "-n", str(MIXED_PACKETS), "-o", part, suite], check=True)
        part.rename(target)
    return target


def http_capture() -> Path:
    """Record (once) and return many short HTTP connections: ``ab`` to nginx, as the gateway's outer interface has them.

    Offloads are off in the lab, so packets are at most 1514 bytes and their checksums are right.
    """
    target = BUILD / f"http-{HTTP_CONNECTIONS}.pcap"
    if not target.exists():
        for tool in ("ab", "tcpdump", "nginx"):
            if shutil.which(tool) is None:
                raise CannotRun(f"{tool} is not installed: scripts/bench-setup.sh")
        BUILD.mkdir(exist_ok=True)
        part = target.with_suffix(".part")
        try:
            _record(part)
        except KernelError as error:
            raise CannotRun(str(error)) from error
        part.rename(target)
    return target


def first_packet(capture: Path, folder: Path) -> Path:
    """Write and return a capture of only the first packet of a pcap file: what is left is the start of an engine."""
    with capture.open("rb") as file:
        head = file.read(40)
        length = int.from_bytes(head[32:36], "little")
        target = folder / f"one-{capture.name}"
        target.write_bytes(head + file.read(length))
    return target


def _record(target: Path) -> None:
    with Lab() as lab:
        start_website(lab)
        command = ["tcpdump", "-i", OUTSIDE, "-n", "-s", "0", "-B", "65536", "-Z", "root", "-w", str(target), "tcp"]
        recorder = lab.spawn(lab.gateway, command, "tcpdump.log")
        log = lab.directory / "tcpdump.log"
        if not wait_until(lambda: "listening on" in log.read_text(), 10):
            raise CannotRun(f"tcpdump did not start: {log.read_text()[-300:]}")
        pages = [f"http://{SERVER}/{page}" for page in PAGES]
        for source in ATTACKERS:
            lab.attacker.run("ab", "-q", "-n", "1", "-B", source, pages[0])
            time.sleep(PAUSE_S)
        share = str(HTTP_CONNECTIONS // len(ATTACKERS))
        for number, source in enumerate(ATTACKERS):
            page = pages[number % len(pages)]
            lab.attacker.run("ab", "-q", "-n", share, "-c", "10", "-B", source, page, timeout_s=120)
        time.sleep(1.0)  # the last FINs
        lab.stop(recorder, signal.SIGINT)
        lost = re.search(r"(\d+) packets dropped by kernel", log.read_text())
        if lost is None or int(lost[1]):
            raise CannotRun(f"tcpdump did not get all packets: {log.read_text()[-300:]}")
