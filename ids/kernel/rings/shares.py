"""In whose name packets were not shown, as the program counts it: `missed_by`."""

from __future__ import annotations

import ipaddress
from collections import Counter

import numpy as np

from ids.kernel import contract
from ids.kernel.maps.table import Map
from ids.types import IPAddress


def missed_by(shares: Map) -> Counter[IPAddress]:
    """Return how many packets of flows that each address opened found no room in a ring, since the beginning.

    IPv6 by the /64. The table forgets who was not met for long, so a number may also fall.
    """
    keys, values = shares.entries(contract.SHARE_KEY, contract.SHARE)
    some = np.flatnonzero(values["missed"])
    found: Counter[IPAddress] = Counter()
    for raw, missed in zip(keys["holder_be"][some], values["missed"][some].tolist(), strict=True):
        address = ipaddress.IPv6Address(raw.tobytes())
        found[address.ipv4_mapped or address] += missed
    return found
