"""Recognise a protocol by the first bytes of a stream or by a datagram, whatever the port."""

from __future__ import annotations

import re
from collections.abc import Iterable
from operator import itemgetter

from ids.later import late_pattern
from ids.protocols.protocol import Protocol
from ids.types import Direction

FAILED = "failed"
"""EVE's name for a protocol that was looked for and not recognised."""


LINE_BYTES = 1024
"""The longest line that is looked at as a whole: servers of the protocols in question take no much longer ones."""


class Recogniser:
    """The patterns of all protocols: one regular expression a direction, in the order of the protocols."""

    def __init__(self, protocols: Iterable[Protocol]) -> None:
        known = list(protocols)
        self._by_side = (
            _joined([(protocol, protocol.from_client) for protocol in known]),
            _joined([(protocol, protocol.from_server) for protocol in known]),
        )
        self._preludes = tuple(
            [late_pattern(pattern) for pattern in of_side if pattern is not None]
            for of_side in zip(*[(one.client_prelude, one.server_prelude) for one in known], strict=True)
        ) or ([], [])
        self._commands = {one.name: late_pattern(one.commands) for one in known if one.commands is not None}
        self._within = [(one, one.within[0], late_pattern(one.within[1])) for one in known if one.within is not None]
        self._answers = {one.name: late_pattern(one.answers) for one in known if one.answers is not None}
        self._by_datagram = [(protocol, judge) for protocol in known if (judge := protocol.datagram) is not None]
        self._at_port = {
            port: (protocol, judge) for protocol, judge in self._by_datagram for port in protocol.usual_ports
        }

    def stream(self, prefix: bytes, direction: Direction | int) -> Protocol | None:
        """Return the protocol whose first bytes in this direction are ``prefix``, or None while none fits."""
        pattern, protocols = self._by_side[direction]
        found = pattern.match(prefix)
        return None if found is None or found.lastindex is None else protocols[found.lastindex - 1]

    def prelude(self, prefix: bytes, direction: Direction | int) -> int:
        """Return how many of the first bytes of a direction say nothing yet."""
        return max(
            [found.end() for pattern in self._preludes[direction] if (found := pattern.match(prefix))], default=0
        )

    @staticmethod
    def prelude_of(protocol: Protocol | None, prefix: bytes) -> bool:
        """Return whether a server of a protocol may begin so, before it shows."""
        pattern = protocol.server_prelude if protocol is not None else None
        return pattern is not None and re.match(pattern, prefix) is not None

    def within(self, said: bytes, known: Iterable[Protocol]) -> tuple[Protocol, int] | None:
        """Return the protocol, but for those that are known, in which a client goes on at the start of one of these
        lines, and where; None: in none that shows.
        """
        low, names = said.lower(), [one.name for one in known]
        found = [
            (start, one)
            for one, mark, is_start in self._within
            if one.name not in names and (start := _line(said, low, mark, is_start)) >= 0
        ]
        start, protocol = min(found, key=itemgetter(0), default=(0, None))
        return None if protocol is None else (protocol, start)

    def may_answer(self, protocol: Protocol | None, prefix: bytes) -> bool:
        """Return whether the server of a client that began in a protocol may answer so."""
        pattern = self._answers.get(protocol.name) if protocol is not None else None
        return pattern is not None and pattern.match(prefix) is not None

    def may_follow(self, protocol: Protocol | None, prefix: bytes) -> bool:
        """Return whether a client that was greeted in a protocol may begin so, whatever else it looks like."""
        pattern = self._commands.get(protocol.name) if protocol is not None else None
        return pattern is not None and pattern.match(prefix) is not None

    def must_not_follow(self, protocol: Protocol | None, prefix: bytes) -> bool:
        """Return whether no client of a protocol begins so: what answers it may be another's that looks the same."""
        known = protocol is not None and protocol.name in self._commands
        return known and bool(prefix) and not self.may_follow(protocol, prefix)

    def datagram(self, data: bytes, ports: tuple[int, int]) -> Protocol | None:
        """Return the protocol of a datagram between two ports, or None where none fits."""
        usual = self.usual(data, ports)
        if usual is not None:
            return usual
        for protocol, judge in self._by_datagram:
            if judge(data) and (not protocol.home_ports or not protocol.home_ports.isdisjoint(ports)):
                return protocol
        return None

    def usual(self, data: bytes, ports: tuple[int, int]) -> Protocol | None:
        """Return the protocol of a datagram whose servers are at one of these ports, where its form allows that."""
        for port in ports:
            found = self._at_port.get(port)
            if found is not None and found[1](data):
                return found[0]
        return None


def _joined(patterns: list[tuple[Protocol, bytes | None]]) -> tuple[re.Pattern[bytes], list[Protocol]]:
    """Return one expression with a group for each pattern, and the protocols in the order of the groups."""
    present = [(protocol, pattern) for protocol, pattern in patterns if pattern is not None]
    source = b"|".join([b"(" + pattern + b")" for _, pattern in present]) or b"(?!)"
    return re.compile(source), [protocol for protocol, _ in present]


def _line(said: bytes, low: bytes, mark: bytes, is_start: re.Pattern[bytes]) -> int:
    """Return where the first line begins that holds ``mark`` and begins as it must; -1: none. ``low`` has small
    letters."""
    at = low.find(mark)
    while at >= 0:
        start = low.rfind(b"\n", max(at - LINE_BYTES, 0), at) + 1
        if (start or at <= LINE_BYTES) and is_start.match(said, start):
            return start
        end = low.find(b"\n", at)
        at = low.find(mark, end) if end >= 0 else -1
    return -1
