"""The engine on batches of packets: what it has the kernel keep to itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ids.config import Config
from ids.engine import Engine
from ids.replay import ReplayGate
from ids.respond.gate import BlockOrder, Held
from ids.types import FLOW_COUNT, I64, Flow, FlowColumns, FlowCounts, IPAddress, IPNetwork
from tests.protocols import handshakes
from tests.replay.batches import batch_of, conversation

TLS = b"\x17\x03\x03\x00\x40" + bytes(64)
HTTP = b"HTTP/1.1 200 OK\r\n\r\n"
HTTP_GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = 70_000


class RecordingGate:
    """Notes what is bypassed; the kernel's side of it is tested in tests/kernel."""

    def __init__(self) -> None:
        self.bypassed: list[Flow] = []
        self.unneeded: list[Flow] = []

    @property
    def counting(self) -> bool:
        return False

    def block(self, order: BlockOrder) -> int | None: ...

    def condemn(self, flow: Flow, number: int) -> bool:
        return True

    def holds(self, network: IPNetwork) -> Held | None: ...

    def allows(self, address: IPAddress) -> bool:
        return False

    def bypass(self, flow: Flow, *, unneeded: bool = False) -> bool:
        (self.unneeded if unneeded else self.bypassed).append(flow)
        return True

    def counts(self, flows: FlowColumns, slots: I64) -> FlowCounts:
        return np.zeros(len(slots), FLOW_COUNT)

    def forget(self, flows: FlowColumns, slots: I64) -> None: ...


def inspect(
    client: bytes,
    server: bytes,
    *,
    later: int = LONG,
    batch: int = 10,
    others: dict[str, object] | None = None,
    **settings: object,
) -> RecordingGate:
    """Let a client and a server speak; return the gate. The frames come in batches of so many.

    ``settings`` are the engine's, ``others`` the others.
    """
    gate = RecordingGate()
    engine_settings = {"bypass_unneeded": False, **settings}
    config = Config.model_validate({"rules": {"paths": []}, **(others or {}), "engine": engine_settings})
    engine = Engine(config, gate)
    frames = conversation(client, server + bytes(later) + b"more" if server else b"", dport=443)
    for first in range(0, len(frames), batch):
        engine.process(batch_of(frames[first : first + batch], first=first + 1))
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
def test_what_is_not_bypassed(client: bytes, server: bytes, settings: dict[str, Any], why: str) -> None:
    assert inspect(client, server, **settings).bypassed == [], why


TELNET, SMTP = b"\xff\xfd\x03\xff\xfb\x18", b"220 mx ESMTP ready\r\n"
GARBAGE = b"a:b\n" * 100
ON_HTTP = 'alert http any any -> any any (http.uri; content:"/evil"; sid:1;)'
ON_BODIES = 'alert http any any -> any any (file.data; content:"evil"; sid:1;)'
ON_ALL = 'alert tcp any any -> any any (content:"evil"; sid:1;)'


def unneeded(tmp_path: Path, rule: str, client: bytes, server: bytes, **settings: Any) -> int:
    """Return how many flows are let pass because a rule looks into none of them."""
    (tmp_path / "one.rules").write_text(f"{rule}\n")
    others: dict[str, object] = {"rules": {"paths": [str(tmp_path / "one.rules")]}}
    if "stream" in settings:
        others["stream"] = settings.pop("stream")
    gate = inspect(client, server, later=3000, others=others, **{"bypass": [], "bypass_unneeded": True, **settings})
    return len(gate.unneeded)


@pytest.mark.parametrize(
    ("client", "server", "rule", "count", "why"),
    [
        (TELNET, TELNET, ON_HTTP, 0, "it is Telnet, whose parser reads on, for events"),
        (GARBAGE, GARBAGE, ON_HTTP, 1, "it is nothing that is parsed"),
        (GARBAGE, GARBAGE, ON_BODIES, 1, "whose files nobody reads"),
        (HTTP_GET, HTTP, ON_HTTP, 0, "its parser reads on: the next request may be the one"),
        (HTTP_GET, GARBAGE, ON_HTTP, 0, "the words of the server may be forged"),
        (GARBAGE, b"", ON_HTTP, 0, "the server may yet answer in HTTP"),
        (GARBAGE, HTTP, ON_HTTP, 0, "it does"),
        (GARBAGE, GARBAGE, ON_ALL, 0, "the rule looks into everything"),
        (GARBAGE, GARBAGE, ON_ALL.replace("any any ->", "any 443 ->"), 0, "into what such a server sends"),
        (GARBAGE, GARBAGE, ON_ALL.replace("-> any any", "-> any 443"), 0, "into what goes to such a server"),
        (GARBAGE, GARBAGE, ON_ALL.replace("-> any any", "-> any 80"), 1, "into what goes to others"),
        (GARBAGE, GARBAGE, ON_ALL.replace("any any ->", "192.0.2.1 any ->"), 0, "into what this client sends"),
        (GARBAGE, GARBAGE, ON_ALL.replace("any any ->", "198.51.100.9 any ->"), 1, "into what others send"),
        (GARBAGE, GARBAGE, ON_ALL.replace("tcp", "smb"), 1, "into another protocol"),
        (GARBAGE, GARBAGE, ON_ALL.replace("tcp", "udp"), 1, "into datagrams"),
        (GARBAGE, GARBAGE, "alert tcp any any -> any any (flags:F; sid:1;)", 0, "at headers of its packets"),
        (GARBAGE, GARBAGE, 'alert tcp any any -> any any (msg:"all"; sid:1;)', 0, "at every packet"),
    ],
)
def test_what_no_rule_looks_into_is_not_shown(
    tmp_path: Path, client: bytes, server: bytes, rule: str, count: int, why: str
) -> None:
    assert unneeded(tmp_path, rule, client, server) == count, why


@pytest.mark.parametrize("batch", [10, 1000])
def test_an_encrypted_flow_that_no_rule_looks_into_is_let_pass_once(batch: int) -> None:
    """What the kernel had shown of it already may still come, and enough for the other reason in the same batch."""
    gate = inspect(handshakes.client_side(), handshakes.server_side(), batch=batch, bypass_unneeded=True)
    assert (len(gate.unneeded), len(gate.bypassed)) == (1, 0)


def test_what_no_rule_looks_into_is_shown_if_the_operator_wants_it(tmp_path: Path) -> None:
    assert unneeded(tmp_path, ON_HTTP, GARBAGE, GARBAGE, bypass_unneeded=False) == 0
    assert unneeded(tmp_path, ON_HTTP, GARBAGE, GARBAGE, stream={"on_conflict": "drop"}) == 0


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


def test_whoever_asks_for_the_counters_gets_no_event_written() -> None:
    """A scraper asks for ever; the file of events is not to fill with its questions."""
    written: list[str] = []
    engine = Engine(
        Config.model_validate({"rules": {"paths": []}}),
        RecordingGate(),
        on_events=lambda events: written.extend(event["event_type"] for event in events),
    )
    engine.process(batch_of(conversation(HTTP_GET, HTTP)))
    asked = engine.counted(time.time_ns())
    assert "stats" not in written
    assert asked["ids"]["decode"]["packets"] > 0
    assert set(asked["ids"]["plugin_time_us"]) >= {"rules", "eve"}
    assert asked.keys() == engine.stats(time.time_ns()).keys()
    assert written.count("stats") == 1


def test_rules_are_counted_by_their_alerts_and_their_time(tmp_path: Path) -> None:
    rules = tmp_path / "get.rules"
    rules.write_text(
        'alert http any any -> any any (msg:"get"; http.method; content:"GET"; sid:1;)\n'
        'alert http any any -> any any (msg:"never"; http.method; content:"GET"; http.uri; content:"x"; sid:2;)\n'
    )
    engine = Engine(Config.model_validate({"rules": {"paths": [str(rules)]}}), RecordingGate())
    for number in range(40):  # the first is measured, then one in some sixty
        engine.process(batch_of(conversation(HTTP_GET, HTTP, sport=40_000 + number), first=1 + 100 * number))
    assert engine.counters["rule_alerts.1"] == 40
    assert "rule_alerts.2" not in engine.counters.values
    assert {name for name in engine.counters.values if name.startswith("rule_time_us.")} <= {
        "rule_time_us.1",
        "rule_time_us.2",
    }
    assert any(name.startswith("rule_time_us.") for name in engine.counters.values)
