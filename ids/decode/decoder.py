"""The decode stage: the order of its steps."""

from __future__ import annotations

import logging

import numpy as np

from ids.counters import Counters
from ids.decode.columns import Columns
from ids.decode.defrag import Defragmenter
from ids.decode.ipv4 import decode_ipv4
from ids.decode.ipv6 import decode_ipv6
from ids.decode.layers import Layer, datagram_batch, inner_batch, joined
from ids.decode.link import IPV4, decode_link
from ids.decode.oddities import Oddity
from ids.decode.offload import Offloaders
from ids.decode.orderly import Datagrams
from ids.decode.settings import DecodeSettings
from ids.decode.transport import decode_transport
from ids.decode.tunnels import NO_INNER, Inner, Tunnels
from ids.types import U8, U16, U64, Anomaly, Bool, PacketBatch, Packets, among

_ANOMALIES = [(int(anomaly), f"decode.anomaly.{anomaly.name.lower()}") for anomaly in Anomaly if anomaly]


log = logging.getLogger(__name__)

AUTO_PACKETS = 1000
"""Packets by which `auto` judges; Suricata's pcap-file.checksum-checks looks at as many."""
AUTO_SHARE = 0.25
"""Share of bad ones from which they are the card's doing: it spoils all that the host itself sends, about a half."""
AUTO_BAD = 10
"""Fewer bad ones than this are somebody's mistake, or attempt."""


class Decoder:
    """Turn batches into columns; remembers incomplete datagrams from batch to batch, and who leaves checksums out."""

    def __init__(self, settings: DecodeSettings, counters: Counters, *, live: bool = False) -> None:
        """Set up for packets of interfaces (``live``) or of captures: `auto` checksums mean something else there."""
        auto = settings.checksums == "auto"
        self._verify = settings.checksums != "none"
        self._offloaders = Offloaders(counters) if auto and live else None
        self._watched = AUTO_PACKETS if auto and not live else 0
        self._excuse = auto and not live
        self._bad = 0
        self._counters = counters
        self._defragmenter = Defragmenter(settings.defrag, counters)
        self._tunnels = Tunnels(settings.tunnels)
        self._max_depth = settings.tunnels.max_depth

    def decode(self, batch: PacketBatch) -> Packets:
        """Decode a batch of any size, of any content; row i describes frame i of the result's ``batch``.

        Where fragments completed datagrams, each datagram follows as a row of its own, directly behind the row of
        the fragment that completed it and with that frame's number, time and interface; and so does the packet in a
        tunnel, behind its carrier. Then ``batch`` of the result is another batch than the argument, with frames added.
        """
        self._counters.add("decode.packets", len(batch))
        self._counters.add("decode.bytes", int(batch.wirelen.sum()))
        columns = self._columns(batch)
        if self._watched > 0 and self._offloaded(columns):
            columns = self._columns(batch)
        layers = self._layers(columns)
        if self._offloaders is not None and len(batch):
            self._offloaders.judge([layer.columns for layer in layers])
        for layer in layers:
            self._count(layer.columns)
        return columns.packets() if len(layers) == 1 else joined(layers)

    def expire(self, now_ns: int) -> None:
        """Let go of datagrams whose other fragments do not come."""
        self._defragmenter.expire(now_ns)

    def _layers(self, columns: Columns) -> list[Layer]:
        """Go into what the packets carry, a tunnel a round: the datagrams of fragments, then what both carry."""
        rows = np.arange(len(columns.batch))
        layers = [Layer(columns, 0, rows, rows[:0])]
        while True:
            level = [layers[-1]]
            whole = self._defragmenter.process(columns)
            if len(whole):
                level.append(self._datagrams(level[0], whole))
                layers.append(level[1])
            found = [self._find_inner(layer.columns) for layer in level]
            if not any(len(inner) for inner in found):
                return layers
            batch, inner, root, parent = inner_batch(level, found)
            depth = np.full(len(batch), columns.depth[0] + np.uint8(1), np.uint8)
            columns = self._columns(batch, None, depth, inner.given_kind)
            layers.append(Layer(columns, layers[-1].end, root, parent))

    def _datagrams(self, fragments: Layer, whole: Datagrams) -> Layer:
        columns, row = fragments.columns, whole.row
        batch = datagram_batch(columns.batch, whole)
        alternative = whole.alternative if np.count_nonzero(whole.alternative) else None
        own = self._columns(batch, columns.vlan[row], columns.depth[row], alternative=alternative)
        return Layer(own, fragments.end, fragments.root[row], fragments.base + row)

    def _find_inner(self, columns: Columns) -> Inner:
        """Return the packets in tunnels that are looked into; note those that are too deep."""
        inner = self._tunnels.find(columns)
        if len(inner):
            if columns.depth[0] >= self._max_depth:
                columns.note(inner.row, Oddity.TOO_MANY_LAYERS)
                self._counters.add("decode.tunnels.too_deep", len(inner))
                return NO_INNER
            columns.anomaly[inner.row[inner.carrier]] = Anomaly.CARRIER
            self._counters.add("decode.tunnels.packets", len(inner))
        return inner

    def _columns(
        self,
        batch: PacketBatch,
        vlan: U64 | None = None,
        depth: U8 | None = None,
        given_kind: U16 | None = None,
        alternative: Bool | None = None,
    ) -> Columns:
        columns = Columns(batch, vlan, depth, given_kind)
        decode_link(columns)
        good = columns.good()
        is_v4 = good & (columns.kind == IPV4)
        count, count_v4 = np.count_nonzero(good), np.count_nonzero(is_v4)
        rows = np.empty(0, np.int64)
        if count_v4:
            rows = decode_ipv4(columns, is_v4.nonzero()[0], self._verify)
        if count_v4 < count:  # what is good and not IPv4 is IPv6
            decode_ipv6(columns, (good & ~is_v4).nonzero()[0])
            rows = columns.good().nonzero()[0]
        if rows.size:
            decode_transport(columns, rows, self._verify, self._offloaders is not None, self._excuse)
        if alternative is not None:
            columns.doubt_rows(np.flatnonzero(alternative), Anomaly.DISPUTED_DATAGRAM)
        columns.settle_doubts()
        return columns

    def _offloaded(self, columns: Columns) -> bool:
        """Judge by a capture's first packets whether checksums were filled in behind it; then stop verifying them.

        Only at the beginning: later, somebody who sends many bad ones must not be able to switch the check off.
        """
        refused = among(columns.anomaly, (Anomaly.BAD_IP_CHECKSUM, Anomaly.BAD_L4_CHECKSUM))
        bad = (refused | columns.excused)[: self._watched]
        self._watched -= len(bad)
        self._bad += int(bad.sum())
        seen = AUTO_PACKETS - self._watched
        if self._bad < AUTO_BAD or self._bad < seen * AUTO_SHARE:
            return False
        self._verify, self._watched = False, 0
        self._counters.add("decode.checksums_not_verified")
        log.warning(
            "%d of the first %d packets have a bad checksum: the network card seems to fill them in later, so none is"
            " verified from here on (decode.checksums, or -k, decides otherwise)", self._bad, seen,
        )  # fmt: skip
        return True

    def _count(self, columns: Columns) -> None:
        """Count every row that went no further, by its reason, and those whose checksum was left to a device."""
        partial = int(np.count_nonzero(columns.partial))
        if partial:
            self._counters.add("decode.checksum_partial", partial)
        excused = int(np.count_nonzero(columns.excused))
        if excused:
            self._counters.add("decode.datagram_bad_checksum", excused)
        if not np.count_nonzero(columns.anomaly):
            return
        counts = np.bincount(columns.anomaly, minlength=len(Anomaly)).tolist()
        for number, name in _ANOMALIES:
            if counts[number]:
                self._counters.add(name, counts[number])
