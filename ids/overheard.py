"""What the control connections of other workers announce.

A connection that announces others may be another worker's than these. So all workers are shown the connections at some
ports (`ids.flow.share.Share.shared_ports`), and each follows those that are not its own as far as to know what they
announce: through the same stages, in a table of their own, and nothing else comes of it. What is said there is taken in
the order of the packets, between those of the worker's own flows, so that each worker knows at each packet what a
single process would know.

COST. Flow and protocol stages of such connections once more in each worker; nothing for batches without them.
"""

from __future__ import annotations

import sys

from ids.counters import Counters
from ids.flow import FlowTable
from ids.flow.settings import MIB, FlowSettings, StreamSettings
from ids.protocols import Protocols, ProtocolSettings
from ids.protocols.expected import Expected
from ids.protocols.files import Files, FileSettings
from ids.types import FlowBatch, FlowColumns, Packets

FOR_ALL = sys.maxsize
"""A packet's number behind all others."""
MAX_FLOWS = 16_384
"""Such connections of others that are followed at once, if `flow.max_flows` is not less; those without an answer give
way first, as all flows do."""
MEMCAP_BYTES = 8 * MIB
"""For bytes of theirs that wait for others, if `stream.memcap_bytes` is not less: commands are short lines."""
_COUNTED = ("flow.total", "flow.evicted.", "flow.tcp.reassembly.", "ftp.")
"""Beginnings of the counters that show what was missed; they are given on behind ``overheard.``."""


class Overheard:
    """Connections of other workers, followed for what they announce."""

    def __init__(
        self,
        flow: FlowSettings,
        stream: StreamSettings,
        protocols: ProtocolSettings,
        expected: Expected,
        counters: Counters,
    ) -> None:
        """``expected`` takes what they announce."""
        self._given, self._counters = counters, Counters()
        self._flows = FlowColumns()
        flow = flow.model_copy(update={"max_flows": min(flow.max_flows, MAX_FLOWS)})
        stream = stream.model_copy(update={"memcap_bytes": min(stream.memcap_bytes, MEMCAP_BYTES)})
        self._table = FlowTable(flow, self._counters, stream, None, self._flows, parsers=True)
        files = Files(FileSettings(), self._counters, self._flows)
        files.want((), logged=False)
        self._protocols = Protocols(protocols, self._counters, self._flows, files=files, expected=expected)
        self._batch: FlowBatch | None = None
        self._next = 0

    @property
    def waits(self) -> bool:
        """Something was taken that `catch_up` is to go through."""
        return self._batch is not None

    def take(self, packets: Packets) -> None:
        """Take the packets of a batch, which are usable where they are such; `catch_up` goes through them."""
        self._batch, self._next = self._table.process(packets), 0

    def catch_up(self, number: int) -> None:
        """Hear what was said in packets before that of a number."""
        if self._batch is None:
            return
        streams = self._batch.streams
        start = self._next
        while self._next < len(streams) and int(streams.number[self._next]) < number:
            self._next += 1
        if self._next > start:
            self._protocols.feed(streams.rows(start, self._next), self._batch.datagrams)
            self._protocols.strangers.clear()
        if number == FOR_ALL:
            self._batch = None
            self._count()

    def expire(self, now_ns: int) -> None:
        """End those that have been idle for too long by now."""
        self._end(self._table.expire(now_ns))

    def drain(self) -> None:
        """End all of them, at the end of a capture."""
        self._end(self._table.drain())

    def _end(self, batch: FlowBatch) -> None:
        self._batch, self._next = batch, 0
        self.catch_up(FOR_ALL)

    def _count(self) -> None:
        for name, value in self._counters.values.items():
            if name.startswith(_COUNTED):
                self._given.set(f"overheard.{name}", value)
