"""What response needs of whatever stands in front: the kernel's maps when live, a record of orders in a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ids.types import BlockMode, Flow, FlowCount, IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class BlockOrder:
    """A block that policy has agreed to."""

    network: IPNetwork
    ttl_s: int
    mode: BlockMode
    sid: int
    label: str
    """Who ordered it: ``rule``."""
    ts_ns: int
    """Time of the packet that caused it."""
    number: int
    """Number of that packet in its capture."""


class Gate(Protocol):
    """Carries out orders. Methods return at once; `ids.errors.KernelError` says that the kernel refused."""

    def block(self, order: BlockOrder) -> int | None:
        """Block a network. Return when it took effect (``ts_ns``), or None where no clock applies (replay)."""

    def holds(self, network: IPNetwork) -> BlockMode | None:
        """Tell how a block of exactly this network is in force; None: it is not, an operator may have lifted it."""

    def allows(self, address: IPAddress) -> bool:
        """Tell whether an allow-list of the gate's own keeps what this address sends from being dropped."""

    def condemn(self, flow: Flow, number: int) -> bool:
        """Drop the rest of this flow, because of packet ``number`` of its capture. Tell whether that could be done."""

    def bypass(self, flow: Flow) -> bool:
        """Show no more of this flow: what is left of it cannot be inspected. Tell whether that could be done."""

    def proven(self, address: IPAddress) -> bool:
        """Tell whether this address completed a handshake through the gate lately."""

    def counts(self, flows: Sequence[Flow]) -> Sequence[FlowCount | None]:
        """Return what the gate itself has counted of each flow; None where it knows no more than it showed."""

    def forget(self, flow: Flow) -> None:
        """Take note that the flow timed out: what comes next between its ends is a new one, to be shown anew."""
