"""What becomes of traffic that cannot be inspected as it should: exception policies, as Suricata calls them.

A policy is carried out as a match is: the responder condemns the flow, lets it pass, or hears no more of it. It comes
before all matches of its packet, and ends what rules have to say of the flow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ids.counters import Counters
from ids.flow.segment import ACK, FIN, RST, SYN
from ids.flow.settings import StreamSettings
from ids.settings.respond import ExceptionPolicy, RespondSettings
from ids.types import I64, Action, Direction, FlowBatch, FlowColumns, Mark, Match, Packets, Signature

MIDSTREAM = "stream midstream"
"""Why a flow is dropped whose beginning was not seen, in Suricata's words."""

_GID = 20
_ACTIONS = {
    "drop-flow": Action.DROP, "reject": Action.REJECT, "pass-flow": Action.PASS, "bypass": Action.ALERT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Policies:
    """Which policy holds in which case."""

    midstream: ExceptionPolicy

    @classmethod
    def of(cls, respond: RespondSettings, stream: StreamSettings) -> Policies:
        """Return the policies that settings come to; what is ``auto`` in them is decided here.

        ``auto`` is what Suricata does by itself: inline, a connection whose beginning was not seen is dropped, unless
        such are followed.
        """
        midstream = stream.midstream_policy or respond.exception_policy
        if midstream == "auto":
            midstream = "drop-flow" if respond.drop_packets and stream.midstream is not True else "ignore"
        return cls(midstream)

    def follow(self, stream: StreamSettings) -> StreamSettings:
        """Return the settings with which flows are followed no further than the policies let anything be found."""
        if self.midstream in ("ignore", "pass-flow"):
            return stream
        return stream.model_copy(update={"midstream": False})


class ExceptionPolicies:
    """Finds the flows of a batch that a policy is about."""

    def __init__(self, policies: Policies, flows: FlowColumns, counters: Counters) -> None:
        self._flows = flows
        self._counters = counters
        self._policy = policies.midstream
        self._midstream: Signature | None = None
        if self._policy != "ignore":
            self._midstream = Signature(
                sid=2, gid=_GID, title="The beginning of a TCP connection was not seen", action=_ACTIONS[self._policy],
                bypass=self._policy == "bypass", rejected="to_client" if self._policy == "reject" else "",
                exception=MIDSTREAM, origin="stream.midstream_policy",
            )  # fmt: skip

    def matches(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        """Return what policies have to say of the flows that began in a batch."""
        if self._midstream is None or not len(flows.started):
            return []
        started, columns = flows.started, self._flows
        odd = started[(columns.marks[started] & Mark.MIDSTREAM != 0) & (columns.primary[started] == 0)]
        rows = _first_rows(flows, odd)
        flags = packets.tcp_flags[rows]
        middle = (flags & RST == 0) & (flags & (SYN | ACK | FIN) != SYN) & (flags & (SYN | ACK | FIN) != 0)
        found = zip(odd[middle].tolist(), rows[middle].tolist(), strict=True)
        made = [self._match(packets, flows, slot, row) for slot, row in found]
        self._counters.add(f"flow.exceptions.midstream_{self._policy.replace('-', '_')}", len(made))
        return made

    def _match(self, packets: Packets, flows: FlowBatch, slot: int, row: int) -> Match:
        assert self._midstream is not None
        batch = packets.batch
        return Match(
            self._midstream, self._flows.view(slot), Direction(int(flows.direction[row])),
            int(batch.ts_ns[row]), int(batch.number[row]), detector="stream",
        )  # fmt: skip


def _first_rows(flows: FlowBatch, slots: I64) -> I64:
    """Return the row of the first packet of each of some flows that began in the batch."""
    seen, first = np.unique(flows.slot, return_index=True)
    rows: I64 = first[np.searchsorted(seen, slots)]
    return rows
