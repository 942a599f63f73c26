"""The engine on batches of packets: what it has the kernel keep to itself."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ids.config import Config
from ids.engine import Engine
from ids.replay import ReplayGate
from ids.respond.gate import BlockOrder, Held
from ids.types import FLOW_COUNT, I64, Flow, FlowColumns, FlowCounts, IPAddress, IPNetwork
from tests.replay.batches import batch_of, conversation

TLS = b"\x17\x03\x03\x00\x40" + bytes(64)
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

    def counts(self, flows: FlowColumns, slots: I64) -> FlowCounts:
        return np.zeros(len(slots), FLOW_COUNT)

    def forget(self, flows: FlowColumns, slots: I64) -> None: ...


def inspect(client: bytes, server: bytes, *, later: int = LONG, **settings: object) -> RecordingGate:
    """Let a client and a server speak; return the gate. The frames come in batches of ten."""
    gate = RecordingGate()
    config = Config.model_validate({"rules": {"paths": []}, "engine": settings})
    engine = Engine(config, gate)
    frames = conversation(client, server + bytes(later) + b"more", dport=443)
    for first in range(0, len(frames), 10):
        engine.process(batch_of(frames[first : first + 10], first=first + 1))
    assert engine.counters["flow.total"] == 1
    return gate


def test_an_encrypted_flow_is_bypassed_once_after_its_beginning() -> None:
    (flow,) = inspect(TLS, TLS).bypassed
    assert (flow.src_ip, flow.dport, flow.app_proto) == ("192.0.2.1", 443, "tls")


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


def test_a_live_engine_is_up_since_its_start_whoever_inspects() -> None:
    live = Engine(Config.model_validate({"rules": {"paths": []}}), ReplayGate(), live=True)
    assert live.stats(time.time_ns() + 5_500_000_000)["stats"]["uptime"] == 5


def test_each_live_start_gives_other_ids_to_flows_and_each_replay_the_same() -> None:
    def flow_id(*, live: bool) -> int:
        engine = Engine(Config.model_validate({"rules": {"paths": []}}), ReplayGate(), live=live)
        engine.process(batch_of(conversation(HTTP, HTTP)))
        return int(engine.flows.id.max())

    assert flow_id(live=True) != flow_id(live=True)
    assert flow_id(live=False) == flow_id(live=False)
