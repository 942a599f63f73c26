"""The engine's own decisions: what it has the kernel keep to itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ids.config import Config
from ids.engine import Engine
from ids.respond.gate import BlockOrder, Held
from ids.types import Direction, Flow, FlowBatch, FlowCount, IPAddress, IPNetwork, StreamChunk
from tests.factory import T0, make_flow

TLS = b"\x16\x03\x03\x00\x40" + bytes(64)
HTTP = b"HTTP/1.1 200 OK\r\n\r\n"
LONG = 70_000


class RecordingGate:
    """Notes what is bypassed; the kernel's side of it is tested in tests/kernel."""

    def __init__(self) -> None:
        self.bypassed: list[Flow] = []

    @property
    def counting(self) -> bool:
        return False

    def block(self, order: BlockOrder) -> int | None: ...

    def condemn(self, flow: Flow, number: int) -> bool:
        return True

    def holds(self, network: IPNetwork) -> Held | None: ...

    def allows(self, address: IPAddress) -> bool:
        return False

    def bypass(self, flow: Flow) -> bool:
        self.bypassed.append(flow)
        return True

    def proven(self, address: IPAddress) -> bool:
        return False

    def counts(self, flows: Sequence[Flow]) -> list[FlowCount | None]:
        return [None] * len(flows)

    def forget(self, flow: Flow) -> None: ...


def inspect(client: bytes, server: bytes, *, later: int = LONG, **settings: object) -> RecordingGate:
    """Let a client and a server speak, then the server send ``later`` bytes more."""
    gate = RecordingGate()
    config = Config.model_validate({"rules": {"paths": []}, "engine": settings})
    engine = Engine(config, gate)
    flow = make_flow()
    chunks = [
        StreamChunk(flow, Direction.TO_SERVER, 0, client, T0, 1),
        StreamChunk(flow, Direction.TO_CLIENT, 0, server, T0, 2),
        StreamChunk(flow, Direction.TO_CLIENT, len(server), bytes(later), T0, 3),
        StreamChunk(flow, Direction.TO_CLIENT, len(server) + later, b"more", T0, 4),
    ]
    no_rows = FlowBatch([flow], np.empty(0, np.int64), np.empty(0, np.uint8), chunks, [], [])
    engine._inspect(no_rows, [])
    return gate


def test_an_encrypted_flow_is_bypassed_once_after_its_beginning() -> None:
    assert len(inspect(TLS, TLS).bypassed) == 1


@pytest.mark.parametrize(
    ("client", "server", "settings", "why"),
    [
        (HTTP, HTTP, {}, "it is not encrypted"),
        (TLS, HTTP, {}, "the server speaks something else: the client may only pretend"),
        (HTTP, TLS, {}, "the client speaks something else"),
        (TLS, TLS, {"later": 100}, "too little was inspected"),
        (TLS, TLS, {"bypass": []}, "the operator wants all of it"),
        (TLS, TLS, {"bypass_after_bytes": LONG * 2}, "the operator wants more of it"),
    ],
)
def test_what_is_not_bypassed(client: bytes, server: bytes, settings: dict[str, int], why: str) -> None:
    assert inspect(client, server, **settings).bypassed == [], why
