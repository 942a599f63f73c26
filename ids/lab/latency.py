"""How long an attacker lives on: from the exploit's packet to the first packet that dies in the driver.

Two measurements that know nothing of each other, in one clock (CLOCK_REALTIME of the one machine that all three
namespaces are on):

*First drop*, seen from outside. The attacker sends probes, numbered UDP datagrams, before and after the exploit; the
server's side notes which arrive. The first probe after the last one that arrived is the first packet of that source
that was dropped. The time is that between the exploit's ``send`` and the ``send`` of that probe: the packets leave
within it, for a veth carries a packet in the sender's own call. Its resolution is the distance of two probes
(`PROBE_S`), by which it may come out too long, never too short.

*Map write*, seen by the engine: from the time at which the XDP program saw the exploit's packet (``ids.packet_ts_ns``
of the alert) to the time at which the block was in the kernel's map (``ids.block.blocked_ts_ns``).
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ids.errors import IdsError
from ids.lab.actors import Request, connect
from ids.lab.guard import Guard
from ids.lab.topology import SERVER, Lab

PROBE_PORT = 40009
PROBE_S = 0.0005
"""Distance between two probes; the system's timer adds some 60 µs to it."""
LOST_IN_A_ROW = 30
"""So many probes unanswered mean that the source is cut off; a single loss elsewhere does not."""
LIMIT_S = 3.0
SETTLE_S = 0.02
"""How long a probe that was sent may take to arrive, before it counts as dropped."""

_PROBE = struct.Struct("!Q")


class NotBlocked(IdsError):
    """An attacker was still served when it should not have been."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Attack:
    """One exploit and the end of its sender; times in ns since the epoch."""

    source: str
    exploit_ns: int
    """Right before the exploit was sent."""
    last_passed_ns: int
    """When the last probe that arrived was sent."""
    first_dropped_ns: int
    """When the first probe was sent that did not arrive, nor any after it."""
    probes: int

    @property
    def first_drop_ms(self) -> float:
        """Return the time from the exploit to the first dropped packet."""
        return (self.first_dropped_ns - self.exploit_ns) / 1e6


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A summary of some times, in milliseconds."""

    n: int
    median: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles:
        """Summarise at least one value; p99 is the nearest rank, so with fewer than 100 values it is the largest."""
        ordered = sorted(values)

        def rank(share: float) -> float:
            return round(ordered[math.ceil(share * len(ordered)) - 1], 3)

        return cls(len(ordered), rank(0.5), rank(0.99), round(ordered[-1], 3))


def attack(lab: Lab, source: str, exploit: Request, settle_s: float = SETTLE_S) -> Attack:
    """Send one exploit from ``source`` and probe until nothing of it arrives any more.

    ``settle_s`` is for a gateway that delays packets by more than `SETTLE_S`: what comes so late was not dropped.
    Raises `NotBlocked` when probes still arrive after `LIMIT_S`, and OSError when the server cannot be reached at all.
    """
    with (
        closing(_bound(lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM), SERVER, PROBE_PORT)) as target,
        closing(_bound(lab.attacker.socket(socket.AF_INET, socket.SOCK_DGRAM), source, 0)) as prober,
        connect(lab.attacker, source) as connection,
    ):
        probes = Probes(prober, target)
        probes.send()
        deadline = time.monotonic() + LIMIT_S
        while probes.arrived == 0:
            if time.monotonic() > deadline:
                raise NotBlocked(f"no probe of {source} arrives even before it attacks")
            probes.collect(settle_s)
        # On closing, nothing more is sent: the server would not hear it anyway.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exploit_ns = time.time_ns()
        connection.sendall(exploit.encode())
        deadline = time.monotonic() + LIMIT_S
        while probes.lost < LOST_IN_A_ROW:
            if time.monotonic() > deadline:
                raise NotBlocked(f"{source} was not blocked within {LIMIT_S:g} s of its exploit")
            probes.send()
            time.sleep(PROBE_S)
            probes.collect(0)
            if probes.lost >= LOST_IN_A_ROW:
                probes.collect(settle_s)  # a probe that was only late brings the loop back to its work
    sent, arrived = probes.sent_ns, probes.arrived
    return Attack(source, exploit_ns, sent[arrived - 1], sent[arrived], len(sent))


def map_write_ms(guard: Guard, source: str, timeout_s: float = 5.0) -> float:
    """Return how long the engine took from the packet to the map, by the alert of ``source``; raises `NotBlocked`."""

    def blocked(event: dict[str, Any]) -> bool:
        return event["event_type"] == "alert" and event.get("src_ip") == source and "block" in event["ids"]

    event = guard.wait_for(blocked, timeout_s)
    if event is None or "blocked_ts_ns" not in event["ids"]["block"]:
        raise NotBlocked(f"no alert reports a block of {source}")
    written: int = event["ids"]["block"]["blocked_ts_ns"]
    seen: int = event["ids"]["packet_ts_ns"]
    return (written - seen) / 1e6


class Probes:
    """Numbered datagrams from one socket to another."""

    def __init__(self, prober: socket.socket, target: socket.socket) -> None:
        self._prober = prober
        self._target = target
        self.sent_ns: list[int] = []
        self.arrived = 0
        """Number of the last probe that arrived, counted from 1; 0 where none did."""

    @property
    def lost(self) -> int:
        """Probes sent after the last that arrived."""
        return len(self.sent_ns) - self.arrived

    def send(self) -> None:
        """Send the next probe."""
        self.sent_ns.append(time.time_ns())
        self._prober.sendto(_PROBE.pack(len(self.sent_ns)), (SERVER, PROBE_PORT))

    def collect(self, wait_s: float) -> None:
        """Take in what has arrived, after waiting."""
        time.sleep(wait_s)
        while True:
            try:
                self.arrived = max(self.arrived, *_PROBE.unpack(self._target.recv(_PROBE.size)))
            except BlockingIOError:
                return


def _bound(opened: socket.socket, address: str, port: int) -> socket.socket:
    opened.setblocking(False)
    opened.bind((address, port))
    return opened
