"""DCE/RPC of one TCP flow: each call with its answer is a transaction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ids.later import late_pattern
from ids.protocols.dcerpc import pdu
from ids.protocols.dcerpc.buffers import MAKERS, side_of
from ids.protocols.dcerpc.calls import Association, Bounds, RpcCall
from ids.protocols.dcerpc.fields import fields
from ids.protocols.dcerpc.settings import DcerpcSettings
from ids.protocols.framing import Frames
from ids.protocols.made import Made
from ids.protocols.protocol import Setup
from ids.protocols.shared import Shared
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

FROM_CLIENT = rb"(?s:\x05[\x00\x01][\x00\x0b\x0e].[\x00\x10][\x00-\x03]\x00\x00)"
FROM_SERVER = rb"(?s:\x05[\x00\x01][\x02\x03\x0c\x0d\x0f].[\x00\x10][\x00-\x03]\x00\x00)"
_BEGINS = late_pattern(rb"(?s:\x05[\x00\x01][\x00-\x14].[\x00\x10][\x00-\x03]\x00\x00)")
"""How messages begin, by both sides: where one is looked for behind missing bytes."""


class SharedCalls(Shared[DcerpcSettings]):
    """With the bounds of calls."""

    def __init__(self, protocol: str, setup: Setup) -> None:
        super().__init__(protocol, setup)
        limits = self.settings
        self.bounds = Bounds(
            protocol, limits.open_calls, limits.stub_bytes, self.pool, self.counters, answers_whole=True
        )


class DcerpcConnection:
    """Both directions of a flow; a `StreamParser`."""

    __slots__ = ("_association", "_closed", "_frames", "_next_id", "_shared", "_slot")

    def __init__(self, shared: SharedCalls, slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._next_id = tx_id
        self._association = Association(shared.bounds)
        self._frames = [Frames(shared.pool, pdu.length_of, pdu.LONGEST, _BEGINS) for _ in Direction]
        self._closed = 0

    def feed(self, stretch: Stretch, out: list[Transaction]) -> None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, ts_ns, number, gap, closed = stretch
        for frame in self._frames[direction].feed(data, gap, closed):
            message = pdu.read(frame.data)
            call, evicted = self._association.take(direction, message)
            if evicted is not None:
                self._end(evicted, direction, ts_ns, number, frame.behind, out)
            if call.owner is None:
                call.owner, self._next_id = self._next_id, self._next_id + 1
            if call.answered if direction else call.asked:
                self._report(call, direction, ts_ns, number, frame.behind, out)
        if closed:
            self._closed |= 1 << direction
            if self._closed == 0b11:
                for call in self._association.close():
                    self._end(call, direction, ts_ns, number, 0, out)

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for frames in self._frames:
            frames.release()
        self._association.close()

    def _report(
        self, call: RpcCall, direction: Direction, ts_ns: int, number: int, behind: int, out: list[Transaction]
    ) -> None:
        """Append what a side has said of a call."""
        buffers = Made(MAKERS, side_of(call, bool(direction)))
        out.append(
            Transaction(
                self._shared.flows, self._slot, "dcerpc", call.owner, direction, buffers, partial(fields, call),
                ts_ns, number, direction is Direction.TO_CLIENT, more=buffers.further, behind=behind,
            )
        )  # fmt: skip

    def _end(
        self, call: RpcCall, direction: Direction, ts_ns: int, number: int, behind: int, out: list[Transaction]
    ) -> None:
        """Append the end of a call that nobody answered."""
        said: Callable[[], dict[str, Any]] = partial(fields, call)
        out.append(
            Transaction(
                self._shared.flows, self._slot, "dcerpc", call.owner, direction, {}, said, ts_ns, number, True,
                behind=behind,
            )
        )  # fmt: skip
