"""Whom a reverse proxy speaks for: by a header of each request, or by what it says before the first one.

Anybody can write such a header. What one says is believed only of a connection from a trusted proxy
(`respond.trusted_proxies`): then alerts name that client, and what is counted by source counts it. Of other
connections, where there are no trusted proxies, it is shown as far as `eve.xff` asks for it, and decides nothing.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable

from ids.respond.proxies import (
    MAX_PROXY_HEADER_BYTES,
    MAX_VALUE_BYTES,
    Proxies,
    announced_source,
    may_be_proxy_header,
    node_address,
)
from ids.settings.respond import EveSettings, RespondSettings
from ids.types import Direction, Exhibit, Flow, FlowColumns, ForwardedFor, Match, Streams, Transaction, address_text

MAX_REQUESTS = 32
"""Of a connection from a proxy whose clients are remembered, the latest ones: each may be another's, and an answer, or
a body, may come behind further requests."""

MAX_DOUBTFUL = 1024
"""Of a connection, requests whose headers do not say who asked; where there are more, no further client is believed."""

_SLOPPY_NAME = rb"(?im)^(?:%b)[ \t\v\f\r\0\x85\xa0]+:"
"""A name that some take for that of the header and others, maybe the proxy, for another one that they hand on."""

_TO_SERVER = int(Direction.TO_SERVER)
_HTTP = ("http", "http2")


class _Known:
    """What is known of one connection."""

    __slots__ = ("announced", "beginning", "doubtful", "requests", "shown")

    def __init__(self) -> None:
        self.shown = ""
        """The address in the latest request, believed or not."""
        self.beginning: bytes | None = b""
        """The first bytes, while they may be a header of the PROXY protocol; None: that is settled."""
        self.announced: str | None = None
        """Whom such a header named."""
        self.requests: OrderedDict[int, ForwardedFor | None] = OrderedDict()
        """By transaction id, the latest last."""
        self.doubtful: set[int] = set()
        """Transaction ids of those whose headers are not all known, or are read in several ways."""


class Forwarded:
    """Remembers whom each connection speaks for, as long as it lives, where the settings ask for it."""

    def __init__(self, flows: FlowColumns, head_bytes: int) -> None:
        """``head_bytes``: of a head of HTTP/1 that are read at once (`HttpSettings.header_bytes`)."""
        self._flows, self._head_bytes = flows, head_bytes
        self._kept = flows.place(_Known)
        self._header = b""
        self._last = True
        self._proxies = Proxies(RespondSettings())
        self._sloppy: re.Pattern[bytes] | None = None

    def configure(self, settings: EveSettings, respond: RespondSettings) -> None:
        """Go on by these settings."""
        self._proxies = Proxies(respond)
        names = b"|".join(re.escape(name.encode()) for name in self._proxies.headers)
        self._sloppy = re.compile(_SLOPPY_NAME % names) if names else None
        shown = settings.xff != "off" and not self._proxies
        self._header = settings.xff_header.lower().encode("latin-1", "replace") if shown else b""
        self._last = settings.xff_deployment == "reverse"

    @property
    def wanted(self) -> bool:
        """The settings ask for it."""
        return bool(self._header or self._proxies)

    def note(self, transactions: Iterable[Transaction], streams: Streams) -> None:
        """Take the first bytes of connections, and the requests of a batch."""
        if self._proxies and len(streams):
            self._note_beginnings(streams)
        for row in transactions:
            if row.direction != Direction.TO_SERVER or row.protocol not in _HTTP:
                continue
            flow = row.flow
            if self._proxies:
                if flow.src in self._proxies:
                    self._note_request(self._kept.of(flow), row)
            elif row.protocol == "http":
                address = self._address(row)
                if address or flow.id in self._kept.by_id:
                    self._kept.of(flow).shown = address

    def of(self, match: Match) -> Exhibit | None:
        """Return what the exhibit of a match has to say of it; None: nothing."""
        flow = match.flow
        if not self._proxies:
            kept = self._kept.get(flow)
            return Exhibit(xff=kept.shown) if kept is not None and kept.shown else None
        if flow.src not in self._proxies:
            return None
        client = self._client_of(match)
        return None if client is None else Exhibit(xff=address_text(client.address), client=client)

    def _client_of(self, match: Match) -> ForwardedFor | None:
        """Return the client of the request that a match is about; where that is not known, of the latest one."""
        kept = self._kept.get(match.flow)
        row = match.transaction
        if kept is None:
            return None
        if row is not None and row.protocol in _HTTP and row.tx_id in kept.requests:
            return kept.requests[row.tx_id]
        if row is not None and row.protocol in _HTTP and row.direction == Direction.TO_SERVER:
            doubtful = row.tx_id in kept.doubtful or len(kept.doubtful) > MAX_DOUBTFUL
            return None if doubtful else self._client(match.flow, kept.announced, row)
        if kept.requests:
            return next(reversed(kept.requests.values()))
        return self._client(match.flow, kept.announced, None)

    def _client(self, flow: Flow, announced: str | None, request: Transaction | None) -> ForwardedFor | None:
        def header(name: str) -> bytes:
            return b"" if request is None else _value(request, name.encode())

        return self._proxies.client(flow.src, announced, header)

    def _note_request(self, kept: _Known, row: Transaction) -> None:
        """Note whom a request is for; nobody where one of its parts, or another reading of it, says something else.

        A head beyond the parser's bound comes in parts, and what the proxy has appended may be in the last: what is in
        front of it the client has written.
        """
        known, tx_id = row.tx_id in kept.requests, row.tx_id
        headers = row.instances("http.request_header")
        if known and (not headers or (row.protocol == "http2" and not row.instances("http.method"))):
            return  # more of its body, or its trailers: those are the client's
        client = self._client(row.flow, kept.announced, row)
        contradicted = known and kept.requests[tx_id] != client
        if len(kept.doubtful) <= MAX_DOUBTFUL and (contradicted or self._is_part(row) or self._has_sloppy_name(row)):
            kept.doubtful.add(tx_id)
        doubtful = tx_id in kept.doubtful or len(kept.doubtful) > MAX_DOUBTFUL
        kept.requests[tx_id] = None if doubtful else client
        kept.requests.move_to_end(tx_id)
        if len(kept.requests) > MAX_REQUESTS:
            kept.requests.popitem(last=False)

    def _is_part(self, row: Transaction) -> bool:
        """Return whether these are headers without the beginning of their request, or without the end."""
        if not row.instances("http.method"):
            return bool(row.instances("http.request_header"))
        blocks = (*row.instances("http.request_line")[:1], *row.instances("http.header.raw")[:1])
        return row.protocol == "http" and sum(len(block) + 1 for block in blocks) >= self._head_bytes

    def _has_sloppy_name(self, row: Transaction) -> bool:
        sloppy = self._sloppy
        return sloppy is not None and any(sloppy.search(block) for block in row.instances("http.header.raw"))

    def _note_beginnings(self, streams: Streams) -> None:
        """Read headers of the PROXY protocol, however they are cut."""
        early = (streams.direction == _TO_SERVER) & (streams.offset < MAX_PROXY_HEADER_BYTES)
        for row in early.nonzero()[0].tolist():
            flow = self._flows.view(int(streams.slot[row]))
            if flow.src not in self._proxies:
                continue
            kept = self._kept.of(flow)
            if kept.beginning is None:
                continue
            if int(streams.offset[row]) != len(kept.beginning):  # bytes are missing
                kept.beginning = None
                continue
            start, end = int(streams.start[row]), int(streams.end[row])
            kept.beginning += streams.data[start : min(end, start + MAX_PROXY_HEADER_BYTES)]
            kept.announced = announced_source(kept.beginning)
            long = len(kept.beginning) >= MAX_PROXY_HEADER_BYTES
            if kept.announced is not None or long or not may_be_proxy_header(kept.beginning):
                kept.beginning = None

    def _address(self, request: Transaction) -> str:
        for line in request.instances("http.request_header"):
            name, _, value = line.partition(b":")
            if name.lower() == self._header and len(value) <= MAX_VALUE_BYTES:
                return listed_address(value, last=self._last)
        return ""


def _value(request: Transaction, header: bytes) -> bytes:
    """Return what a request says in all lines of a header, joined by commas."""
    found = []
    for line in request.instances("http.request_header"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == header:
            found.append(value)
    return b",".join(found)


def listed_address(value: bytes, *, last: bool) -> str:
    """Return the first or the last address of a list with commas, without its port; empty where it is none."""
    return node_address(value.decode("latin-1").split(",")[-1 if last else 0])
