"""The kernel's flow entries as user space reads them: what passed, shown or not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ids.kernel import contract
from ids.kernel.contract import FlowVerdict
from ids.kernel.maps import Map
from ids.types import FlowCount


class FlowEntries:
    """The maps ``ids_flows4`` and ``ids_flows6``. To read an entry does not make it look recently used."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = {version: maps[f"ids_flows{version}"] for version in (4, 6)}

    def count(self, version: int, key: bytes, client_side: int, offset_ns: int) -> FlowCount | None:
        """Return what was counted of a flow, or None where the kernel does not know it (any more).

        ``version`` is that of IP, ``key`` as in ``ids_flow4`` and ``ids_flow6``. ``client_side`` says which side of the
        key is the client, ``offset_ns`` what to add to the kernel's clock to get UNIX time.
        """
        raw = self._maps[version].get(key)
        if raw is None:
            return None
        entry = np.frombuffer(raw, dtype=contract.FLOW)[0]
        packets, size = entry["packets"].tolist(), entry["bytes"].tolist()
        return FlowCount(
            first_ns=int(entry["first_ns"]) + offset_ns,
            last_ns=int(entry["last_ns"]) + offset_ns,
            packets=(packets[client_side], packets[1 - client_side]),
            bytes=(size[client_side], size[1 - client_side]),
            condemned=bool(entry["verdict"] == FlowVerdict.DROP),
        )

    def forget(self, version: int, key: bytes) -> bool:
        """Delete a flow's entry, so that what comes next begins a new one; return whether there was one."""
        return self._maps[version].delete(key)
