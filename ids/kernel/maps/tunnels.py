"""Which tunnels the program looks into: a flag of its configuration, and the table of UDP ports (``ids_tunnels``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ids.kernel.contract import Flags, Tunnel
from ids.types import U8

TunnelPorts = Sequence[Sequence[int]]
"""UDP ports of VXLAN, of Geneve and of Teredo."""

KINDS = (Tunnel.VXLAN, Tunnel.GENEVE, Tunnel.TEREDO)


def port_kinds(ports: TunnelPorts | None) -> dict[int, Tunnel]:
    """Return the kind of tunnel by port. Where a port has several, the engine asks for the kinds in this order."""
    kinds: dict[int, Tunnel] = {}
    for kind, numbers in zip(KINDS, ports or (), strict=False):
        for port in numbers:
            kinds.setdefault(port, kind)
    return kinds


def write_tunnels(config: np.void, table: U8, ports: TunnelPorts | None) -> None:
    """Have the program look into tunnels; into none, whatever they are told by, where ``ports`` is None.

    ``config`` is one item of dtype `ids.kernel.contract.CONFIG`, ``table`` the bytes of ``ids_tunnels``. A packet that
    comes meanwhile may meet either table.
    """
    wanted = np.zeros_like(table)
    for port, kind in port_kinds(ports).items():
        wanted[port >> 2] |= kind << (port & 3) * 2
    table[:] = wanted
    config["flags"] = int(config["flags"]) & ~Flags.TUNNELS | Flags.TUNNELS * (ports is not None)
