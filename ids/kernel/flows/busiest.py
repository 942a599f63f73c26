"""Who sends most, by the kernel's flow entries: what passed behind its lists, whether an engine runs or not."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ids.kernel import contract
from ids.kernel.flows.entries import LOOKED_AT
from ids.kernel.maps.pins import open_required
from ids.types import IPAddress


@dataclass(frozen=True, slots=True)
class Sent:
    """What the flows hold that an address opened, both directions together."""

    address: IPAddress
    flows: int
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Flows:
    """What the kernel's flow tables hold."""

    count: int
    by_state: dict[str, int]
    busiest: tuple[Sent, ...]
    """Most bytes first."""


def pinned_flows(pin_dir: Path, most: int) -> Flows:
    """Return what is in the flow tables of the instance that pins under ``pin_dir``; raises `KernelError`.

    Among the first `LOOKED_AT` entries of each family, some 30 ms where they are full. Flows that end take their counts
    with them.
    """
    tables = open_required(pin_dir, ["ids_flows4", "ids_flows6"])
    count, states, sent = 0, Counter[str](), list[Sent]()
    for name, table in tables.items():
        with table:
            four = name == "ids_flows4"
            keys, flows = table.entries(contract.FLOW4 if four else contract.FLOW6, contract.FLOW, LOOKED_AT)
        count += len(flows)
        numbers, amounts = np.unique(flows["state"], return_counts=True)
        for number, amount in zip(numbers.tolist(), amounts.tolist(), strict=True):
            if number < len(contract.KernelFlowState):
                states[contract.KernelFlowState(number).name.lower()] += amount
        if not len(flows):
            continue
        ends = np.ascontiguousarray(keys["addr_be"] if four else keys["addr"]).view(np.uint8)
        ends = ends.reshape(len(flows), 2, 4 if four else 16)
        openers = ends[np.arange(len(flows)), flows["client"] & 1]
        addresses, whose = np.unique(openers, axis=0, return_inverse=True)
        whose = whose.reshape(-1)
        totals = {column: _sums(flows[column].sum(axis=1), whose, len(addresses)) for column in ("packets", "bytes")}
        opened = np.bincount(whose, minlength=len(addresses))
        for at in np.argsort(totals["bytes"])[::-1][:most].tolist():
            address = ipaddress.ip_address(addresses[at].tobytes())
            sent.append(Sent(address, int(opened[at]), int(totals["packets"][at]), int(totals["bytes"][at])))
    sent.sort(key=lambda one: one.bytes, reverse=True)
    return Flows(count, dict(states), tuple(sent[:most]))


def _sums(values: np.ndarray, whose: np.ndarray, size: int) -> np.ndarray:
    """Return the sum of each owner's values, shape (size,), whole numbers."""
    sums = np.zeros(size, np.uint64)
    np.add.at(sums, whose, values)
    return sums
