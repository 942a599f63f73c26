"""What fuzzing starts from: the frames, files and conversations of captures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ids.capture import open_capture
from ids.counters import Counters
from ids.decode import Decoder
from ids.decode.settings import DecodeSettings
from ids.errors import CaptureError
from ids.flow import FlowTable
from ids.flow.settings import FlowSettings
from ids.types import I64, U8, U16, PacketBatch
from tests.shared import ROOT, SHARED

MAX_FRAMES = 60_000
MAX_FILE_BYTES = 64 * 1024
MAX_SAID = 8192
"""Bytes of a conversation that are kept of one side."""

OWN_RULES = (
    b'alert tcp any any -> $HOME_NET [80,!81,1024:] (msg:"a \\"b\\""; content:"|41 42|c"; nocase; offset:3; sid:1;)',
    b'drop http $EXTERNAL_NET any -> any any (http.uri; content:"/a"; pcre:"/a[^b]{2,}(c|d)+/Ri"; bsize:<90; sid:2;)',
    b"alert udp any any <> any 53 (byte_extract:2,0,n,relative; byte_test:1,!&,128,n; isdataat:!n,relative; sid:3;)",
    b"alert ip any any -> any any (flags:S,12; ttl:<5; flowbits:isset,a|b; threshold:type limit,track by_src,count 1,"
    b"seconds 9; metadata:a b, c d; reference:url,example.com; classtype:misc-attack; rev:2; sid:4;)",
)

_UDP = 17


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames in the order of their captures."""

    data: U8
    offset: I64
    caplen: I64
    linktype: U16


@dataclass(frozen=True, slots=True)
class Conversation:
    """What both sides of a flow said, in turns."""

    datagrams: bool
    turns: tuple[tuple[int, bytes], ...]
    """Side and bytes."""


class Seeds:
    """Seeds out of some captures; those that are large or cannot be read are left out."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    @cached_property
    def rules(self) -> list[bytes]:
        """Rules in Suricata's language: some of our own, and the public ones where they are."""
        public = SHARED / "rules" / "et-open-2019.rules"
        lines = public.read_bytes().splitlines() if public.exists() else []
        return [*OWN_RULES, *(line for line in lines if line and not line.startswith(b"#"))]

    @cached_property
    def files(self) -> list[bytes]:
        """The captures as files, small ones only."""
        return [path.read_bytes() for path in self.paths if path.stat().st_size <= MAX_FILE_BYTES]

    @cached_property
    def frames(self) -> Frames:
        """Frames of all captures, up to `MAX_FRAMES`."""
        batches: list[PacketBatch] = []
        count = 0
        for path in self.paths:
            if count >= MAX_FRAMES:
                break
            batches += _batches(path)
            count = sum(map(len, batches))
        bases = np.cumsum([0, *(len(batch.data) for batch in batches)])
        return Frames(
            np.concatenate([batch.data for batch in batches]),
            np.concatenate([batch.offset + base for batch, base in zip(batches, bases[:-1], strict=True)]),
            np.concatenate([batch.caplen for batch in batches]),
            np.concatenate([batch.linktype for batch in batches]),
        )

    @cached_property
    def conversations(self) -> list[Conversation]:
        """Conversations of which anything was understood."""
        found: list[Conversation] = []
        for path in self.paths:
            found += _conversations(path)
        return found


def seeds() -> Seeds:
    """Return the seeds that are to be had here."""
    suite = SHARED / "suricata-verify" / "tests"
    paths = [*ROOT.glob("pcaps/*.pcap*"), *(suite.rglob("*.pcap") if suite.is_dir() else ())]
    return Seeds(sorted(path for path in paths if path.stat().st_size <= 1 << 20))


def _batches(path: Path) -> list[PacketBatch]:
    try:
        with open_capture(path) as capture:
            return list(capture)
    except CaptureError:
        return []


def _conversations(path: Path) -> list[Conversation]:
    decoder = Decoder(DecodeSettings(checksums="none"), Counters())
    table = FlowTable(FlowSettings(), Counters())
    turns: dict[int, list[tuple[int, bytes]]] = {}
    datagrams: set[int] = set()
    for batch in _batches(path):
        flows = table.process(decoder.decode(batch))
        ids = flows.flows.id
        for chunk in flows.streams:
            if chunk.data:
                turns.setdefault(chunk.flow.id, []).append((int(chunk.direction), chunk.data[:MAX_SAID]))
        rows = flows.datagrams
        for row in range(len(rows)):
            flow_id = int(ids[rows.slot[row]])
            if flows.flows.proto[rows.slot[row]] == _UDP:
                datagrams.add(flow_id)
                turns.setdefault(flow_id, []).append((int(rows.direction[row]), rows.content(row)[:MAX_SAID]))
    return [Conversation(flow_id in datagrams, tuple(said[:12])) for flow_id, said in turns.items()]
