"""Rules of the model on packets made with Scapy, through the stages before: what the tests of single packets use."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ids.counters import Counters
from ids.decode import Decoder
from ids.decode.settings import DecodeSettings
from ids.errors import Location
from ids.flow import FlowTable
from ids.flow.settings import FlowSettings, StreamSettings
from ids.protocols import Protocols
from ids.protocols.settings import ProtocolSettings
from ids.rules.match.matcher import Matcher
from ids.rules.model.rule import All, FlowOptions, Node, Rule, Traffic
from ids.rules.model.ruleset import RuleSet
from ids.types import FlowColumns, Match, PacketBatch
from tests.factory import T0, make_signature

CLIENT, SERVER = "192.0.2.1", "198.51.100.2"


def packet_rule(
    sid: int,
    *tests: Node,
    traffic: Traffic | str = "ip",
    flow: FlowOptions | None = None,
    repeats: bool = True,
    **signature: Any,
) -> Rule:
    """Return a rule; ``traffic`` may be the name of a protocol."""
    return Rule(
        make_signature(sid=sid, **signature),
        Traffic(traffic) if isinstance(traffic, str) else traffic,
        flow or FlowOptions(),
        Location("r.rules", sid),
        All(tests),
        repeats=repeats,
    )


def batch_of(packets: Sequence[Any], first: int = 1) -> PacketBatch:
    """Return Ethernet frames, given as bytes or Scapy packets, as a batch that is numbered from ``first`` on."""
    frames = [bytes(packet) for packet in packets]
    lengths = np.array([len(frame) for frame in frames], np.int64)
    number = np.arange(first, first + len(frames))
    return PacketBatch(
        np.frombuffer(b"".join(frames), np.uint8), np.cumsum(lengths) - lengths, lengths, lengths,
        T0 + number * 1_000_000, number, np.ones(len(frames), np.uint16), np.zeros(len(frames), np.uint32), "t.pcap",
    )  # fmt: skip


class Bench:
    """The stages from decoding to matching, for one load of rules."""

    def __init__(self, *rules: Rule, checksums: str = "none", midstream: bool = False, inline: bool = False) -> None:
        self.flows, self.counters = FlowColumns(4), Counters()
        self.decoder = Decoder(DecodeSettings(checksums=checksums), self.counters)
        stream = StreamSettings(midstream=midstream).resolved(live=False)
        self.table = FlowTable(FlowSettings(), self.counters, stream, flows=self.flows, parsers=True, inline=inline)
        self.protocols = Protocols(ProtocolSettings(), self.counters, self.flows)
        self.matcher = Matcher(RuleSet(rules=rules), self.flows, self.counters, None, "test")

    def feed(self, batch: PacketBatch) -> list[Match]:
        """Take one batch through the stages; return what is matched in packets and datagrams."""
        packets = self.decoder.decode(batch)
        flows = self.table.process(packets)
        self.protocols.feed(flows.streams, flows.datagrams)
        return self.matcher.packets(packets, flows) + self.matcher.datagrams(flows.datagrams)

    def numbers(self, packets: Sequence[Any], cuts: Sequence[int] = ()) -> dict[int, list[int]]:
        """Return the numbers of the packets that each rule matched; ``cuts`` is where a batch ends."""
        found: dict[int, list[int]] = {}
        bounds = [0, *cuts, len(packets)]
        for begin, end in pairwise(bounds):
            for match in self.feed(batch_of(packets[begin:end], begin + 1)):
                found.setdefault(match.signature.sid, []).append(match.number)
        return {sid: sorted(numbers) for sid, numbers in sorted(found.items())}
