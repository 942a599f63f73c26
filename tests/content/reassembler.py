"""Another reassembler's streams beside ours: tshark's ``follow,tcp,raw`` on a capture, byte by byte.

Compared is what each sender of a pair of ends sent, over all connections of that pair one after the other. Bytes that
are missing count as a hole of that size. Checksums are not verified, and every flow is followed, as tshark does.

All captures of the peer's suite, with what differs: ``python -m tests.content.reassembler``.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from ids.capture import open_capture
from ids.counters import Counters
from ids.decode import Decoder, DecodeSettings
from ids.flow import FlowTable
from ids.flow.settings import FlowSettings, StreamSettings
from ids.types import FlowBatch, address_halves, address_text
from tests.shared import SHARED

SUITE = SHARED / "suricata-verify" / "tests"
REASONS = Path(__file__).with_name("reassembler.yaml")
AT_ONCE = 40
"""Streams that one call of tshark writes out."""

_NODE = re.compile(rb"^Node ([01]): (.+):(\d+)$")
_MISSING = re.compile(rb"\[(\d+) bytes missing in capture file\]\0")
_LAST_HOLES = re.compile(rb"(?:<\d+ bytes are missing>)+\Z")
_YEAR_S = 365 * 86_400.0


class Sender(NamedTuple):
    """Who sent to whom."""

    src: str
    sport: int
    dst: str
    dport: int

    def __str__(self) -> str:
        return f"{self.src} {self.sport} to {self.dst} {self.dport}"


Sent = dict[Sender, bytes]
"""What each sender sent; holes are as `_hole` spells them."""


def _hole(size: int) -> bytes:
    return b"<%d bytes are missing>" % size


def of_tshark(path: Path) -> Sent:
    """Return what tshark follows."""
    sent: Sent = defaultdict(bytes)
    first = 0
    while _parse(_followed(path, range(first, first + AT_ONCE)), sent) == AT_ONCE:
        first += AT_ONCE
    return {sender: data for sender, data in sent.items() if data}


def _followed(path: Path, numbers: Iterable[int]) -> bytes:
    wanted = [word for number in numbers for word in ("-z", f"follow,tcp,raw,{number}")]
    done = subprocess.run(
        ["tshark", "-n", "-q", "-r", str(path), *wanted], capture_output=True, check=False, timeout=120
    )
    return done.stdout  # a capture that ends in the middle of a packet makes it fail behind all that it could read


def _parse(text: bytes, sent: Sent) -> int:
    """Add what streams hold; return how many streams there are."""
    nodes: list[tuple[str, int]] = []
    count = 0
    for line in text.splitlines():
        if found := _NODE.match(line):
            end = address_text(address_halves(found[2].decode().strip("[]"))), int(found[3])
            nodes = [*(nodes if found[1] == b"1" else []), end]
            count += found[1] == b"1"
        elif len(nodes) == 2 and re.fullmatch(rb"\t?[0-9a-f]+", line):
            one, other = nodes if line[:1] != b"\t" else nodes[::-1]
            data = bytes.fromhex(line.decode())
            sent[Sender(*one, *other)] += _MISSING.sub(lambda found: _hole(int(found[1])), data)
    return count


def of_ours(path: Path) -> Sent:
    """Return what our stages put together."""
    counters = Counters()
    decoder = Decoder(DecodeSettings(checksums="none"), counters)
    patient = {name: _YEAR_S for name in FlowSettings.model_fields if name.endswith("timeout_s")}
    streams = StreamSettings(midstream=True, depth_bytes=1 << 40)
    table = FlowTable(FlowSettings(**patient), counters, streams)
    sent: Sent = defaultdict(bytes)
    with open_capture(path) as capture:
        for batch in capture:
            _collect(table.process(decoder.decode(batch)), sent)
    _collect(table.drain(), sent)
    return {sender: data for sender, data in sent.items() if data}


def _collect(batch: FlowBatch, sent: Sent) -> None:
    streams = batch.streams
    rows = np.flatnonzero((streams.end > streams.start) | (streams.gap > 0))
    for row in rows.tolist():
        flow = batch.flows.view(int(streams.slot[row]))
        if flow.variant:  # another version of what is compared already
            continue
        ends = (flow.src_ip, flow.sport), (flow.dst_ip, flow.dport)
        one, other = ends if not streams.direction[row] else ends[::-1]
        gap = _hole(int(streams.gap[row])) if streams.gap[row] else b""
        sent[Sender(*one, *other)] += gap + streams.data[int(streams.start[row]) : int(streams.end[row])]


def differences(path: Path) -> list[str]:
    """Say of each sender of whom the two have not the same what that is; nothing where they agree."""
    theirs, ours = (_without_last_holes(sent) for sent in (of_tshark(path), of_ours(path)))
    return [
        f"{sender}: {_unlike(theirs.get(sender, b''), ours.get(sender, b''))}"
        for sender in sorted(theirs.keys() | ours.keys())
        if theirs.get(sender) != ours.get(sender)
    ]


def _without_last_holes(sent: Sent) -> Sent:
    """Leave out what was acknowledged and never seen at the end of a stream: tshark says nothing of it."""
    cut = {sender: _LAST_HOLES.sub(b"", data) for sender, data in sent.items()}
    return {sender: data for sender, data in cut.items() if data}


def _unlike(theirs: bytes, ours: bytes) -> str:
    both = enumerate(zip(theirs, ours, strict=False))
    same = next((at for at, (one, other) in both if one != other), min(len(theirs), len(ours)))
    shown = " and ".join(repr(data[same : same + 24]) for data in (theirs, ours))
    return f"{len(theirs)} and {len(ours)} bytes, the same up to {same}, where {shown} follow"


def reasons() -> dict[str, str]:
    """Return the captures that differ, with the reason."""
    return {name: entry["reason"] for entry in yaml.safe_load(REASONS.read_text()) or [] for name in entry["captures"]}


def captures() -> list[Path]:
    """Return the captures of the suite, each once, though several tests may have it."""
    by_content = {hashlib.sha256(path.read_bytes()).digest(): path for path in sorted(SUITE.rglob("*.pcap*"))[::-1]}
    return sorted(by_content.values())


def available() -> bool:
    """Return whether tshark is here."""
    return shutil.which("tshark") is not None


def main(words: list[str]) -> int:
    """Compare all captures, or those named; print what differs and what is listed with no need."""
    known, unlike = reasons(), 0
    paths = [Path(word) for word in words] or captures()
    for path in paths:
        name = str(path.relative_to(SUITE)) if path.is_relative_to(SUITE) else str(path)
        found = differences(path)
        unlike += bool(found)
        for line in found[:4]:
            print(f"{'known' if name in known else 'NEW'}  {name}  {line}", flush=True)
        if not found and name in known:
            print(f"same now: take {name} off {REASONS.name}", flush=True)
    print(f"{len(paths) - unlike} of {len(paths)} captures have the same bytes in every stream")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
