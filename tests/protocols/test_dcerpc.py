"""DCE/RPC: binds and calls with their buffers and events, over TCP and UDP; and hostile messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols import Protocols, ProtocolSettings
from ids.protocols.dcerpc.calls import CALL_BYTES
from ids.protocols.dcerpc.parser import DcerpcConnection
from ids.rules.language.suricata.loader import SuricataLoader
from ids.rules.language.variables import Variables
from ids.rules.settings import DEFAULT_VARIABLES
from ids.testing import Session, to_client
from ids.types import Datagram, Direction, Transaction
from plugins.rules import Rules
from tests.factory import T0, make_datagrams, make_flow, make_streams
from tests.protocols.calls import (
    AUTH3,
    FAULT,
    SRVSVC,
    SVCCTL,
    bind,
    bind_ack,
    datagram,
    pdu,
    request,
    response,
)
from tests.protocols.wire import CLIENT, SERVER, Wire
from tests.rules.builders import rule_text

FIRST, LAST, OBJECT = 1, 2, 0x83
NAMED = f"{SVCCTL} 2".encode()


def bound(*, little: bool = True) -> Wire:
    """Return a connection on which an interface is bound, after the first offer was refused."""
    wire = Wire().client(bind((0, SRVSVC, 3), (1, SVCCTL, 2), little=little))
    return wire.server(bind_ack(2, 0, little=little))


def say(*said: tuple[Direction, bytes]) -> list[Transaction]:
    """Feed datagrams of one flow."""
    flow = make_flow(proto=17, sport=1025, dport=1026)
    stage = Protocols(ProtocolSettings(), Counters(), flow.columns)
    rows = [Datagram(flow, direction, data, T0, number) for number, (direction, data) in enumerate(said, 1)]
    return list(stage.feed(make_streams([]), make_datagrams(rows)))


@pytest.mark.parametrize("little", [True, False], ids=["little", "big"])
def test_a_call_names_the_interface_that_was_accepted(little: bool) -> None:
    wire = bound(little=little).client(request(15, b"\x02\x01data", context=1, call_id=2, little=little))
    wire.server(response(b"answer", call_id=2, little=little))
    assert wire.flow.app_proto == "dcerpc"
    asked, answered = wire.seen[2:]
    assert dict(asked.buffers) == {
        "dcerpc.iface": NAMED, "dcerpc.opnum": b"15", "dcerpc.stub_data": b"\x02\x01data",
        "dcerpc.byte_order": b"little" if little else b"big",
    }  # fmt: skip
    assert (asked.direction, asked.complete, answered.direction, answered.complete) == (CLIENT, False, SERVER, True)
    assert answered.buffers["dcerpc.stub_data"].endswith(b"answer")
    assert answered.fields == {
        "request": "REQUEST", "req": {"opnum": 15, "frag_cnt": 1, "stub_data_size": 6}, "response": "RESPONSE",
        "res": {"frag_cnt": 1, "stub_data_size": 14}, "call_id": 2, "rpc_version": "5.0",
    }  # fmt: skip


def test_what_a_bind_asked_for_is_logged_with_the_answer() -> None:
    ended = bound().seen[1]
    assert ended.complete
    assert ended.fields == {
        "request": "BIND", "response": "BINDACK", "call_id": 1, "rpc_version": "5.0",
        "interfaces": [
            {"uuid": SRVSVC, "version": "3.0", "ack_result": 2}, {"uuid": SVCCTL, "version": "2.0", "ack_result": 0},
        ],
    }  # fmt: skip


def test_a_context_that_nobody_bound_may_be_any_accepted_interface() -> None:
    wire = bound().client(request(1, b"x", context=9))
    assert wire.seen[-1].instances("dcerpc.iface") == (NAMED,)
    assert Wire().client(request(1, b"x")).seen[-1].instances("dcerpc.iface") == (), "nothing is bound"


def test_fragments_are_put_together() -> None:
    wire = bound()
    for flags, stub in ((FIRST, b"one "), (0, b"two "), (LAST, b"three")):
        wire.client(request(7, stub, context=1, call_id=5, flags=flags))
    wire.server(response(b"A", call_id=5, flags=FIRST)).server(response(b"B", call_id=5, flags=LAST))
    asked, answered = wire.seen[2:]
    assert asked.buffers["dcerpc.stub_data"] == b"one two three"
    assert answered.fields["req"] == {"opnum": 7, "frag_cnt": 3, "stub_data_size": 13}
    assert answered.fields["res"]["frag_cnt"] == 2


def test_the_identifier_of_an_object_hides_no_data() -> None:
    stub = b"\xaa" * 16 + b"data"
    asked = bound().client(request(7, stub, context=1, flags=OBJECT)).seen[-1]
    assert asked.instances("dcerpc.stub_data") == (stub, b"data")


def test_calls_are_open_at_once_and_answered_in_any_order() -> None:
    wire = bound().client(request(1, b"a", call_id=2) + request(2, b"b", call_id=3))
    wire.server(response(b"B", call_id=3) + pdu(FAULT, bytes(16), call_id=2))
    first, second = (tx.fields for tx in wire.seen[-2:])
    assert (first["call_id"], first["req"]["opnum"], first["response"]) == (3, 2, "RESPONSE")
    assert (second["call_id"], second["req"]["opnum"], second["response"]) == (2, 1, "FAULT")


def test_a_call_without_answer_is_logged_at_the_end() -> None:
    wire = bound().client(request(1, b"a", call_id=2)).close()
    assert wire.seen[-1].complete
    assert wire.seen[-1].fields["response"] == "UNREPLIED"


def test_what_needs_no_answer_opens_no_call() -> None:
    wire = bound().client(pdu(AUTH3, bytes(20))).client(request(1, b"a", call_id=1))
    assert wire.seen[-1].buffers["dcerpc.opnum"] == b"1"
    assert len([tx for tx in wire.close().seen if tx.complete and tx.fields["response"] == "UNREPLIED"]) == 1


def test_behind_missing_bytes_the_next_message_is_found() -> None:
    wire = bound().client(request(1, bytes(100), call_id=2)[:50]).client(b"", gap=500)
    wire.client(b"rest of something" + request(3, b"seen", call_id=4))
    assert wire.seen[-1].buffers["dcerpc.stub_data"] == b"seen"


def test_calls_that_wait_are_bounded() -> None:
    flow = make_flow()
    settings = ProtocolSettings.model_validate({"dcerpc": {"open_calls": 2, "stub_bytes": 4096}})
    wire = Wire()
    wire.stage = Protocols(settings, wire.counters, flow.columns)
    wire.flow = flow
    wire.client(bind((0, SVCCTL, 2)))
    for call_id in range(5):
        wire.client(request(1, bytes(5000), call_id=10 + call_id))
    assert wire.counters["dcerpc.calls_evicted"] == 4
    assert wire.counters["dcerpc.stub_cut"] == 5
    assert len(wire.seen[-1].buffers["dcerpc.stub_data"]) == 4096
    assert len([tx for tx in wire.seen if tx.complete]) == 4, "each that gave way is logged"


def test_no_bytes_are_held_of_flows_that_ended() -> None:
    wire = bound().client(request(1, bytes(300), call_id=2, flags=FIRST)).client(request(1, b"x")[:20])
    (talk,) = wire.stage._talks.by_id.values()
    parser = talk.parser
    assert isinstance(parser, DcerpcConnection)
    assert parser._shared.pool.held == 320 + CALL_BYTES
    parser.release()
    assert parser._shared.pool.held == 0


def test_datagrams_name_interface_and_activity() -> None:
    asked, answered = say((CLIENT, datagram(0, b"ask", opnum=3)), (SERVER, datagram(2, b"answer")))
    assert dict(asked.buffers) == {
        "dcerpc.iface": NAMED, "dcerpc.opnum": b"3", "dcerpc.stub_data": b"ask", "dcerpc.byte_order": b"little",
    }  # fmt: skip
    assert answered.complete
    assert answered.fields == {
        "request": "REQUEST", "req": {"opnum": 3, "frag_cnt": 1, "stub_data_size": 3}, "response": "RESPONSE",
        "res": {"frag_cnt": 1, "stub_data_size": 6}, "activityuuid": SRVSVC, "seqnum": 0, "rpc_version": "4.0",
    }  # fmt: skip


def test_datagrams_come_in_fragments() -> None:
    more, last = 0x04, 0x06
    seen = say((CLIENT, datagram(0, b"one ", flags=more)), (CLIENT, datagram(0, b"two", flags=last)))
    assert [tx.buffers["dcerpc.stub_data"] for tx in seen] == [b"one two"]


@pytest.mark.parametrize(
    ("options", "alerts"),
    [
        (f"dce_iface:{SVCCTL};", 2),
        (f"dcerpc.iface:{SVCCTL.upper()},=2;", 2),
        (f"dce_iface:{SVCCTL},>1,any_frag;", 2),
        (f"dce_iface:{SVCCTL},>2;", 0),
        (f"dce_iface:{SRVSVC};", 0),
        ("dce_opnum:15;", 2),
        ("dcerpc.opnum:1,3-5,14-16;", 2),
        ("dce_opnum:1,16-20;", 0),
        ('dce_stub_data; content:"data";', 1),
        ("dce_stub_data; byte_test:2,=,258,0,dce;", 1),
        ("dce_stub_data; byte_test:2,=,513,0,dce;", 0),
        ("flow:to_server; dce_opnum:15;", 1),
    ],
)
@pytest.mark.parametrize("little", [True, False], ids=["little", "big"])
def test_rules_ask_for_interface_operation_and_data(options: str, alerts: int, little: bool, tmp_path: Path) -> None:
    """As Suricata has it, interface and operation hold on both sides of a call."""
    number = b"\x02\x01" if little else b"\x01\x02"
    said: tuple[Any, ...] = (
        bind((0, SRVSVC, 3), (1, SVCCTL, 2), little=little), to_client(bind_ack(2, 0, little=little)),
        request(15, number + b"data", context=1, call_id=2, little=little),
        to_client(response(b"answer", call_id=2, little=little)),
    )  # fmt: skip
    path = tmp_path / "d.rules"
    path.write_text(f'alert tcp any any -> any any (msg:"m"; {options} sid:1;)\n')
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.tcp(*said)
    assert len(session.alerts) == alerts


def test_rules_of_yaml_have_the_same_buffers(tmp_path: Path) -> None:
    match = f'dcerpc.iface: {{startswith: "{SVCCTL}"}}, dcerpc.opnum: {{equals: "15"}}'
    path = tmp_path / "d.yaml"
    path.write_text("rules:\n" + rule_text(f"[{match}]", traffic="dcerpc"))
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.tcp(bind((1, SVCCTL, 2)), to_client(bind_ack(0)), request(15, b"x", context=1, call_id=2))
    assert len(session.alerts) == 1


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("dce_iface:4b324fc8;", "no UUID"),
        (f"dce_iface:{SVCCTL},1,2,3;", "more than"),
        ("dce_opnum:9-3;", "nothing lies between"),
        ("dce_opnum:70000;", "not from 0"),
        ("dce_opnum:" + ",".join(map(str, range(65))) + ";", "65 operations"),
    ],
)
def test_what_no_call_can_have_is_refused(option: str, why: str) -> None:
    loader = SuricataLoader(Variables(DEFAULT_VARIABLES))
    loader.take("d.rules", f'alert tcp any any -> any any (msg:"m"; {option} sid:1;)')
    (fault,) = loader.left_out
    assert why in fault.message


SPOKEN = (
    (CLIENT, bind((0, SRVSVC, 3), (1, SVCCTL, 2))),
    (SERVER, bind_ack(2, 0)),
    (CLIENT, request(1, b"one", call_id=2, flags=FIRST) + request(1, b"two", call_id=2, flags=LAST)),
    (SERVER, response(b"answer", call_id=2)),
    (CLIENT, request(2, b"\xff" * 30, call_id=3, flags=OBJECT) + pdu(AUTH3, b"")),
    (SERVER, pdu(FAULT, bytes(16), call_id=3)),
)


@given(st.integers(1, 40))
def test_how_the_streams_are_cut_changes_nothing(step: int) -> None:
    whole, cut = Wire(), Wire()
    for side, data in SPOKEN:
        whole.send(side, data)
        cut.send(side, data, step=step)
    assert cut.what() == whole.what()


@given(st.lists(st.tuples(st.sampled_from(Direction), st.binary(max_size=80)), max_size=8))
def test_nothing_raises(said: list[tuple[Direction, bytes]]) -> None:
    wire = bound()
    for side, data in said:
        wire.send(side, request(1, data)[: 16 + len(data)] if len(data) % 2 else b"\x05\0" + data)
    for transaction in wire.close().all:
        dict(transaction.buffers), dict(transaction.fields)
    assert not wire.counters["app_layer.error.dcerpc.internal"]


@given(st.lists(st.tuples(st.sampled_from(Direction), st.binary(max_size=120)), max_size=8))
def test_no_datagram_raises(said: list[tuple[Direction, bytes]]) -> None:
    known = (CLIENT, datagram(0, b"x"))
    for transaction in say(known, *((side, datagram(0, b"")[: len(data)] + data) for side, data in said)):
        dict(transaction.buffers), dict(transaction.fields)


def test_first_bytes_of_others_are_not_taken() -> None:
    for data in (b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\1", b"\x05\x00\x05\x00\x00\x01", b"\x05" * 20):
        assert Wire().client(data).flow.app_proto != "dcerpc"
