"""What was done, for those who keep a record of it: blocks and their ends, and the life of the engine itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ids.types.addresses import IPNetwork
from ids.types.findings import BlockMode

ChangeKind = Literal["block", "end", "drift", "start", "reload", "stop"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done. Times are UNIX nanoseconds; of a replay, those of its packets."""

    kind: ChangeKind
    """``block``: a rule blocked a network, and the gate has it. ``end``: a claim on a network ran out. ``drift``:
    the kernel's list was not as ordered, and was put right. ``start``, ``reload``, ``stop``: of the engine."""
    ts_ns: int
    network: IPNetwork | None = None
    """Of a block or its end; None where many ended at once, and only their number is known."""
    sid: int = 0
    """The rule; 0 where none is concerned."""
    label: str = ""
    """Whose claim it is: ``rule``, ``operator``, or a feed's name."""
    mode: BlockMode | None = None
    until_ns: int | None = None
    """When the block ends by itself."""
    flow_id: int = 0
    """The flow for which it was made, as events name it; 0: none."""
    packets: int = 0
    """What the kernel had counted of it, at its end."""
    bytes: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What else is known, ready for JSON: ``signature``, ``rule``, ``evidence`` of a block, ``error`` of a reload."""
