"""What response needs of whatever stands in front: the kernel's maps when live, a record of orders in a replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ids.types import I64, BlockMode, Flow, FlowColumns, FlowCounts, IPAddress, IPNetwork


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


@dataclass(frozen=True, slots=True)
class Held:
    """A block that is in force."""

    mode: BlockMode
    until_ns: int | None
    """UNIX time of its end; None: it has none."""

    def covers(self, mode: BlockMode, from_ns: int, until_ns: int) -> bool:
        """Return whether this block does all that another one of the same network would do between two moments."""
        if self.until_ns is not None and self.until_ns <= from_ns:
            return False
        if self.mode is BlockMode.SHADOW and mode is BlockMode.ENFORCE:
            return False
        stronger = self.mode is BlockMode.ENFORCE and mode is BlockMode.SHADOW
        return stronger or self.until_ns is None or self.until_ns >= until_ns


class Gate(Protocol):
    """Carries out orders. Methods return at once; `ids.errors.KernelError` says that the kernel refused."""

    @property
    def counting(self) -> bool:
        """Whether the gate may know more of flows than it showed: `counts` and `forget` are worth a call."""

    def block(self, order: BlockOrder) -> int | None:
        """Block a network. Return when it took effect (``ts_ns``), or None where no clock applies (replay)."""

    def holds(self, network: IPNetwork) -> Held | None:
        """Return the block of exactly this network, whoever ordered it; None: an operator may have lifted ours."""

    def allows(self, address: IPAddress) -> bool:
        """Return whether an allow-list of the gate's own keeps what this address sends from being dropped."""

    def condemn(self, flow: Flow, number: int) -> bool:
        """Drop the rest of this flow, because of packet ``number`` of its capture. Return whether it could be done."""

    def bypass(self, flow: Flow, *, unneeded: bool = False) -> bool:
        """Show no more of this flow: what is left of it cannot be inspected, or, ``unneeded``, nothing that is loaded
        looks into it. Return whether it could be done.
        """

    def counts(self, flows: FlowColumns, slots: I64) -> FlowCounts:
        """Return what the gate itself has counted of each flow, where it knows more than it showed."""

    def forget(self, flows: FlowColumns, slots: I64) -> None:
        """Take note that flows timed out: what comes next between their ends are new ones, to be shown anew."""
