"""The moments when a budget began to refuse, as the program reports them: one record an episode, not one a packet."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ids.kernel.contract import LimitKind
from ids.types import IPAddress


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget that began to refuse."""

    kind: LimitKind
    address: IPAddress
    """Whose budget it is; of an IPv6 source its /64."""
    ts_ns: int
    """UNIX nanoseconds."""
    ifindex: int

    @property
    def by_source(self) -> bool:
        """Whether the budget is a source's; else it is a destination's."""
        return self.kind in (LimitKind.SRC_SYN, LimitKind.SRC_UDP, LimitKind.SRC_ICMP)


def limits_of(records: NDArray[Any], offset_ns: int) -> list[Limit]:
    """Return the limits among event records (`rings.EventReader.take`); ``offset_ns`` turns their time to UNIX.

    A kind that this version does not know is left out: a newer program may report more.
    """
    known = set(LimitKind)
    return [
        Limit(
            LimitKind(int(record["detail"])),
            _address(record["addr_be"].tobytes()),
            int(record["ts_ns"]) + offset_ns,
            int(record["ifindex"]),
        )
        for record in records
        if int(record["detail"]) in known
    ]


def _address(raw: bytes) -> IPAddress:
    address = ipaddress.IPv6Address(raw.ljust(16, b"\0"))
    return address.ipv4_mapped or address
