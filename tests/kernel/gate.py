"""The loaded program as the tests see it: send a packet, get the verdict and what was counted."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ids.decode import TunnelSettings
from ids.kernel import contract
from ids.kernel.contract import COUNTER_NAMES, LimitKind, Reason
from ids.kernel.fastpath import FastPath
from ids.kernel.system import syscall
from ids.types import PacketBatch

XDP_DROP, XDP_PASS, XDP_TX = 1, 2, 3
START_NS = 10**15
"""The packets' clock, far from zero and from the machine's."""

SHOWN, DEPTH, BYPASS = Reason.PASS_SHOWN, Reason.PASS_DEPTH, Reason.PASS_BYPASS

TUNNEL_PORTS = TunnelSettings().udp_ports

PATIENCE_S = 60.0
"""For what must come, on a machine that does other work too: a test that passes waits no longer than it has to."""
SILENCE_S = 0.5
"""For what must not come."""

KEPT_TYPES = (2, 3, 6, 12, 27)
"""Arrays, program arrays, per-CPU arrays, arrays of rings and rings: they hold no state of sources or flows."""

_BY_NAME = {name: number for number, name in COUNTER_NAMES.items()}


@dataclass(frozen=True)
class Verdict:
    """What one packet met."""

    action: int
    reason: Reason
    notes: frozenset[Reason] = frozenset()
    would: frozenset[Reason] = frozenset()
    """For what it would have been dropped, were it not for shadow mode."""


class Gate:
    """A `FastPath` without an interface, its clock in the tests' hands."""

    def __init__(self, fastpath: FastPath) -> None:
        self.fastpath = fastpath
        self.now_ns = START_NS

    def reset(self) -> None:
        """Empty every table, and take every limit off."""
        self.now_ns = START_NS
        self.fastpath.config["now_ns"] = self.now_ns  # also for orders that come before the first packet
        for name, table in self.fastpath.maps.items():
            if table.spec.type not in KEPT_TYPES and name != "ids_labels":
                for key in list(table):
                    table.delete(key)
        repeats = self.fastpath.maps["ids_repeats"]
        keys, values = repeats.entries(np.dtype("<u4"), contract.REPEAT)
        for key in keys[values["at_ms"] > 0].tolist():
            repeats.set(key.to_bytes(4, "little"), bytes(contract.REPEAT.itemsize))
        self.fastpath.config["lists"][0] = 0
        self.fastpath.configure(self.fastpath.settings)
        self.fastpath.look_into(TUNNEL_PORTS)
        self.shown()

    def limit(self, kind: LimitKind, per_s: float, burst: int) -> None:
        """Set one limit."""
        interval_ns = round(1e9 / per_s) if per_s else 0
        self.fastpath.config["limits"][0][kind] = (interval_ns, (burst - 1) * interval_ns)

    def send(self, packet: bytes, after_ns: int = 0) -> Verdict:
        """Run the program on one packet, ``after_ns`` later than the last; check that it was counted once."""
        self.now_ns += after_ns
        self.fastpath.config["now_ns"] = self.now_ns
        before = self.fastpath.stats()
        action = syscall.prog_test_run(self.fastpath.program, packet).action
        counted: dict[int, tuple[int, int]] = {}
        for name, (packets, size) in self.fastpath.stats().items():
            if packets != before[name][0]:
                counted[_BY_NAME[name]] = (packets - before[name][0], size - before[name][1])
        for reason, (times, size) in counted.items():
            assert size == times * len(packet), f"{COUNTER_NAMES[reason]} counts the frame's length"
            often = times == 1 or reason in (Reason.NOTE_BUDGET_NEW, Reason.NOTE_SHADOW, Reason.NOTE_COPIED)
            assert often, f"{COUNTER_NAMES[reason]} once for a packet"
        final = [reason for reason in counted if reason < contract.REASON_NOTE]
        assert len(final) == 1, f"one reason for a packet, not {final}"
        notes = frozenset(
            Reason(number) for number in counted if contract.REASON_NOTE <= number < contract.REASON_WOULD
        )
        would = frozenset(
            Reason(number - contract.REASON_WOULD) for number in counted if number >= contract.REASON_WOULD
        )
        return Verdict(action, Reason(final[0]), notes, would)

    def send_unshared(self, packet: bytes) -> Verdict:
        """Send a packet as if its sender were one of many: what it has of the rings is forgotten first."""
        shares = self.fastpath.maps["ids_shares"]
        for key in list(shares):
            shares.delete(key)
        return self.send(packet)

    def send_all(self, packets: Iterable[bytes]) -> list[Reason]:
        """Send packets, a millisecond apart; return their reasons."""
        return [self.send(packet, after_ns=1_000_000).reason for packet in packets]

    def shown(self) -> PacketBatch | None:
        """Return what the program showed since the last call."""
        return self.fastpath.rings.poll(0)

    def block(self, network: str, *, mode: int = 0, expires_ns: int = 0) -> None:
        """Block by the tests' clock."""
        value = np.zeros(1, dtype=contract.BLOCK)
        value["mode"], value["expires_ns"] = mode, expires_ns
        table, key = self.place(network)
        value["prefixlen"] = ipaddress.ip_network(network).prefixlen
        self.fastpath.maps[table].set(key, value.tobytes())
        if table.startswith("ids_prefix"):
            self.fastpath.config["lists"][0] = 3
            self.fastpath.config["generation"][0] += 1

    def block_entry(self, network: str) -> Any:
        """Return an entry as the kernel has it: a row of dtype `contract.BLOCK`."""
        table, key = self.place(network)
        raw = self.fastpath.maps[table].get(key)
        assert raw is not None
        return np.frombuffer(raw, dtype=contract.BLOCK)[0]

    @staticmethod
    def place(network: str) -> tuple[str, bytes]:
        """Return the map and the key of a network."""
        parsed = ipaddress.ip_network(network)
        if parsed.prefixlen == parsed.max_prefixlen:
            return f"ids_block{parsed.version}", parsed.network_address.packed
        return f"ids_prefix{parsed.version}", parsed.prefixlen.to_bytes(4, "little") + parsed.network_address.packed

    def allow(self, network: str) -> None:
        """Put a network on the allow-list."""
        self.fastpath.allowed.add([ipaddress.ip_network(network)], label="test")

    def flow(self, version: int = 4) -> Any:
        """Return the only flow there is: a row of dtype `contract.FLOW`."""
        table = self.fastpath.maps[f"ids_flows{version}"]
        keys = list(table)
        assert len(keys) == 1, f"one flow, not {len(keys)}"
        raw = table.get(keys[0])
        assert raw is not None
        return np.frombuffer(raw, dtype=contract.FLOW)[0]

    def flow_count(self) -> int:
        """Return the number of flows of both families."""
        return sum(len(list(self.fastpath.maps[name])) for name in ("ids_flows4", "ids_flows6"))


def wait_until(condition: Any, timeout_s: float = PATIENCE_S) -> bool:
    """Poll a condition until it holds."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
