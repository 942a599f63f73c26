"""Connections that one flow announces for another: a transfer on a port that only the control connection names.

Only ends that the control connection has itself are expected, on a port that is nobody's by right, and each once: else
who announces another's port would have what comes there read as a mere file.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from ids.counters import Counters
from ids.types import Flow

MOST = 4096
"""Announcements that wait for their connection, of all flows; the oldest gives way. A server in use has some dozens."""
LIFE_NS = 600 * 1_000_000_000
"""How long one waits: servers give up after five minutes."""
FIRST_PORT = 1024

Key = tuple[tuple[int, int], tuple[int, int], int]
"""Addresses of who connects and of whom to, and the port."""


@dataclass(slots=True)
class Announcement:
    """What is known of a connection before it comes; whoever announced it may still add to it."""

    protocol: str
    about: Any
    until_ns: int
    key: Key


class Expected:
    """All announcements."""

    def __init__(self, counters: Counters, shared_ports: frozenset[int] | None = None) -> None:
        """``shared_ports``: where several workers share the flows, those whose connections all of them are shown."""
        self._counters = counters
        self._shared_ports = shared_ports
        self._waiting: OrderedDict[Key, Announcement] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def announce(
        self, flow: Flow, port: int, protocol: str, about: Any, ts_ns: int, *, from_server: bool
    ) -> Announcement | None:
        """Expect a connection between the ends of a flow: of its client to a port of its server, or the other way."""
        if not FIRST_PORT <= port <= 0xFFFF:
            return None
        client, server = flow.src, flow.dst
        key = (client, server, port) if not from_server else (server, client, port)
        if self._shared_ports is not None and self._shared_ports.isdisjoint((flow.sport, flow.dport)):
            self._counters.add("app_layer.expected.unshared")
        if len(self._waiting) >= MOST:
            self._waiting.popitem(last=False)
            self._counters.add("app_layer.expected.evicted")
        self._waiting.pop(key, None)
        announced = self._waiting[key] = Announcement(protocol, about, ts_ns + LIFE_NS, key)
        return announced

    def withdraw(self, announced: Announcement) -> None:
        """Expect a connection no more that was announced, unless it has come, or was announced anew."""
        if self._waiting.get(announced.key) is announced:
            del self._waiting[announced.key]
            self._counters.add("app_layer.expected.withdrawn")

    def take(self, flow: Flow, ts_ns: int) -> Announcement | None:
        """Return what was announced of a connection that has come, and expect it no more."""
        announced = self._waiting.pop((flow.src, flow.dst, flow.dport), None)
        if announced is None or announced.until_ns < ts_ns:
            return None
        return announced
