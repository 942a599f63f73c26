"""What flows are: found out while a batch is read, and written to their columns and the counters at its end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ids.counters import Counters
from ids.protocols.ports import MAX_REPORTED, Homes
from ids.protocols.protocol import Protocol
from ids.protocols.recognition import FAILED
from ids.protocols.talk import Talk
from ids.types import I64, Bool, FlowColumns, Mark

_log = logging.getLogger(__name__)


class Register:
    """The names of flows, and whether a parser follows them."""

    def __init__(self, flows: FlowColumns, counters: Counters, protocols: Sequence[Protocol]) -> None:
        self._flows = flows
        self._counters = counters
        self.codes = {name: flows.app_code(name) for name in (FAILED, *(protocol.name for protocol in protocols))}
        """By name of a protocol: its code in `FlowColumns.app_proto`."""
        self._homes = Homes(flows, self.codes)
        self.strangers: list[int] = []
        """Slots of flows that were recognised at the port of another protocol, in this batch, the first
        `MAX_REPORTED`; whoever reads it, clears it."""
        self._recognised: dict[int, int] = {}
        """Of flows recognised in this batch: slot to the protocol's code."""
        self._parsed: dict[int, bool] = {}
        """Of flows that began, or ceased, to be parsed in this batch: whether they are."""
        self._named: list[str] = []
        """The names that flows were given in this batch, to be counted at its end."""

    def parse(self, talk: Talk, on: bool) -> None:
        """Note that a flow is parsed from now on, or no more."""
        self._parsed[talk.slot] = on

    def decide_all(self, slots: list[int], name: str) -> None:
        """Name these flows after a protocol, count them, and note that they are parsed."""
        self._recognised.update(dict.fromkeys(slots, self.codes[name]))
        self._parsed.update(dict.fromkeys(slots, True))
        self._named += [name] * len(slots)

    def decide(self, talk: Talk, protocol: Protocol | None) -> None:
        """Name the flow, and count it."""
        talk.protocol = protocol
        if protocol is None and talk.handovers:
            self._counters.add("app_layer.handover.failed")
            self._recognised[talk.slot] = self.codes[FAILED]
            return
        name = FAILED if protocol is None else protocol.name
        self._recognised[talk.slot] = self.codes[name]
        self._named.append(name)

    def fail(self, talk: Talk) -> None:
        """Take the parser away from a flow on which it has just failed; called while the exception is handled."""
        name = talk.protocol.name if talk.protocol is not None else FAILED
        flow_id = int(self._flows.id[talk.slot])
        _log.exception("parser of %s failed on flow %d; the flow goes on without it", name, flow_id)
        self._counters.add(f"app_layer.error.{name}.internal")
        talk.release()
        self._parsed[talk.slot] = False

    def write(self) -> None:
        """Write what was found out since this was called last to the flows and the counters."""
        if self._recognised:
            slots = np.array(list(self._recognised), np.int64)
            self._flows.app_proto[slots] = codes = np.array(list(self._recognised.values()), np.int64)
            self._recognised = {}
            self._report(slots, codes)
            for name, count in Counter(self._named).items():
                self._counters.add(f"app_layer.flow.{name}", count)
            self._named = []
        if self._parsed:
            marks, slots = self._flows.marks, np.array(list(self._parsed), np.int64)
            bit = np.uint16(Mark.PARSED)
            marks[slots] = np.where(list(self._parsed.values()), marks[slots] | bit, marks[slots] & ~bit)
            self._parsed = {}

    def _report(self, slots: I64, codes: I64) -> None:
        """Note the flows that are recognised at the port of another protocol."""
        known = codes != self.codes[FAILED]
        strangers = self._homes.strangers(slots[known], codes[known])
        strangers = strangers[self._flows.primary[strangers] == 0]
        if len(strangers):
            self._counters.add("app_layer.strangers", len(strangers))
            self.strangers += strangers[: MAX_REPORTED - len(self.strangers)].tolist()

    def flags(self, codes: list[int]) -> Bool:
        """Return for each code of a protocol whether it is among these."""
        flags = np.zeros(len(self._flows.app_names), np.bool_)
        flags[codes] = True
        return flags
