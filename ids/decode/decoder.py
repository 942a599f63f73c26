"""The decode stage: the order of its steps."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any

import numpy as np

from ids.counters import Counters
from ids.decode.columns import Columns
from ids.decode.defrag import Defragmenter
from ids.decode.ipv4 import decode_ipv4
from ids.decode.ipv6 import decode_ipv6
from ids.decode.link import IPV4, decode_link
from ids.decode.offload import Offloaders
from ids.decode.orderly import Datagrams
from ids.decode.settings import DecodeSettings
from ids.decode.transport import decode_transport
from ids.types import I64, U32, Anomaly, PacketBatch, Packets

LINKTYPE_RAW = 101

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
        self._bad = 0
        self._counters = counters
        self._defragmenter = Defragmenter(settings.defrag, counters)

    def decode(self, batch: PacketBatch) -> Packets:
        """Decode a batch of any size, of any content; row i describes frame i of the result's ``batch``.

        Where fragments completed datagrams, each datagram follows as a row of its own, directly behind the row of
        the fragment that completed it and with that frame's number, time and interface: then ``batch`` of the result
        is another batch than the argument, with raw IP frames (LINKTYPE_RAW) added.
        """
        self._counters.add("decode.packets", len(batch))
        self._counters.add("decode.bytes", int(batch.wirelen.sum()))
        columns = self._columns(batch)
        if self._watched > 0 and self._offloaded(columns):
            columns = self._columns(batch)
        parts = [columns]
        whole = self._defragmenter.process(columns)
        if len(whole):
            parts.append(self._columns(_datagram_batch(batch, whole), columns.vlan[whole.row]))
        if self._offloaders is not None and len(batch):
            self._offloaders.judge(parts)
        for part in parts:
            self._count(part)
        packets = columns.packets()
        return _splice(packets, parts[1].packets(), whole.row) if len(whole) else packets

    def _columns(self, batch: PacketBatch, vlan: U32 | None = None) -> Columns:
        columns = Columns(batch, vlan)
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
            decode_transport(columns, rows, self._verify, self._offloaders is not None)
        return columns

    def _offloaded(self, columns: Columns) -> bool:
        """Judge by a capture's first packets whether checksums were filled in behind it; then stop verifying them.

        Only at the beginning: later, somebody who sends many bad ones must not be able to switch the check off.
        """
        bad = np.isin(columns.anomaly, (Anomaly.BAD_IP_CHECKSUM, Anomaly.BAD_L4_CHECKSUM))[: self._watched]
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
        if not np.count_nonzero(columns.anomaly):
            return
        counts = np.bincount(columns.anomaly, minlength=len(Anomaly)).tolist()
        for number, name in _ANOMALIES:
            if counts[number]:
                self._counters.add(name, counts[number])


def _datagram_batch(batch: PacketBatch, whole: Datagrams) -> PacketBatch:
    """Make a batch of raw IP frames of the datagrams, in the name of the frames that completed them."""
    rows = whole.row
    return PacketBatch(
        data=whole.data,
        offset=whole.offset,
        caplen=whole.length,
        wirelen=whole.length,
        ts_ns=batch.ts_ns[rows],
        number=batch.number[rows],
        linktype=np.full(len(rows), LINKTYPE_RAW, np.uint16),
        interface=batch.interface[rows],
        source=batch.source,
        unsummed=None if batch.unsummed is None else batch.unsummed[rows],
    )


def _splice(packets: Packets, extra: Packets, rows: I64) -> Packets:
    """Put row i of ``extra``, whose data begins with that of ``packets``, directly behind row ``rows[i]``."""
    order = np.argsort(np.concatenate((np.arange(len(packets)), rows)), kind="stable")

    def column(name: str, of: Packets | PacketBatch, behind: Packets | PacketBatch) -> Any:
        return np.concatenate((getattr(of, name), getattr(behind, name)))[order]

    names = [field.name for field in fields(PacketBatch) if field.name not in ("data", "source")]
    names = [
        name for name in names if getattr(packets.batch, name) is not None and getattr(extra.batch, name) is not None
    ]
    batch = PacketBatch(
        data=extra.batch.data,
        source=packets.batch.source,
        **{name: column(name, packets.batch, extra.batch) for name in names},
    )
    names = [field.name for field in fields(Packets) if field.name != "batch"]
    return Packets(batch=batch, **{name: column(name, packets, extra) for name in names})
