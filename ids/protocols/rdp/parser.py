"""RDP of one TCP flow, up to where the session begins or TLS takes over: each message is a transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ids.later import late_pattern
from ids.protocols.framing import Frames
from ids.protocols.made import Made, Makers
from ids.protocols.protocol import Handover
from ids.protocols.rdp import message as messages
from ids.protocols.rdp.settings import RdpSettings
from ids.protocols.shared import Shared
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

FROM_CLIENT = rb"(?s:\x03\x00[\x00-\x03].[\x06-\xfe]\xe0\x00\x00..\x00(?:Cookie: mst|\x01[\x00-\x0f]\x08\x00|\Z))"
FROM_SERVER = rb"(?s:\x03\x00\x00[\x0b\x13][\x06\x0e]\xd0\x00\x00..\x00(?:[\x02\x03].\x08\x00|\Z))"
_BEGINS = late_pattern(rb"\A\x03\x00")
_LIMIT = 0xFFFF + 5
_EARLY = 1 << 16
"""Bytes of TLS that a client may say before the server has agreed to it."""


def _key(name: str) -> Callable[[dict[str, Any]], tuple[bytes, ...]]:
    def made(said: dict[str, Any]) -> tuple[bytes, ...]:
        value = said.get(name)
        return () if value is None else (str(value).encode(),)

    return made


def _of_client(name: str) -> Callable[[dict[str, Any]], tuple[bytes, ...]]:
    return lambda said: _key(name)(said.get("client", {}))


def _channels(said: dict[str, Any]) -> tuple[bytes, ...]:
    return tuple([name.encode() for name in said.get("channels", ())])


MAKERS: Makers[dict[str, Any]] = {
    "rdp.event_type": _key("event_type"),
    "rdp.cookie": _key("cookie"),
    "rdp.protocol": _key("protocol"),
    "rdp.client_name": _of_client("client_name"),
    "rdp.build": _of_client("build"),
    "rdp.keyboard_layout": _of_client("keyboard_layout"),
    "rdp.channels": _channels,
}


class RdpConnection:
    """Both directions of a flow; a `StreamParser`."""

    __slots__ = ("_early", "_frames", "_next_id", "_shared", "_slot", "settled")

    def __init__(self, shared: Shared[RdpSettings], slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._next_id = tx_id
        self._frames = [Frames(shared.pool, messages.length_of, _LIMIT, _BEGINS) for _ in Direction]
        self._early = b""
        """What a client has said in TLS before the server agreed to it."""
        self.settled = False
        """The session has begun: the rest is encrypted, or pictures."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        if self.settled:
            return None
        direction, data = stretch.direction, stretch.data
        for frame in self._frames[direction].feed(data, stretch.gap, stretch.closed):
            rest = data[len(data) - frame.behind :]
            if messages.is_tls(frame.data):
                if direction is Direction.TO_CLIENT:
                    return self._hand_over(frame.data + rest)
                self._early += frame.data[: _EARLY - len(self._early)]
                continue
            said = messages.read(frame.data)
            if said is None:
                continue
            self._append(said, direction, stretch.ts_ns, stretch.number, frame.behind, out)
            if messages.chosen(said) and direction is Direction.TO_CLIENT:
                return self._hand_over(rest)
            if said["event_type"] == "connect_response":
                self.settled = True
                self.release()
                return None
        return None

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for frames in self._frames:
            frames.release()

    def _hand_over(self, rest: bytes) -> Handover:
        return Handover(self._next_id, (self._early + self._frames[Direction.TO_SERVER].held, rest))

    def _append(
        self, said: dict[str, Any], direction: Direction, ts_ns: int, number: int, behind: int, out: list[Transaction]
    ) -> None:
        said = {"tx_id": self._next_id + 1, **said}
        buffers = Made(MAKERS, said)
        out.append(
            Transaction(
                self._shared.flows, self._slot, "rdp", self._next_id, direction, buffers, said, ts_ns, number, True,
                more=buffers.further, behind=behind,
            )
        )  # fmt: skip
        self._next_id += 1
