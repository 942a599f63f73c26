"""LDAP: operations with their answers, in buffers and events, over TCP and UDP; TLS goes on; and hostile messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols import ODDITY, Protocols, ProtocolSettings
from ids.protocols.ldap.message import is_message
from ids.testing import Session, to_client
from ids.types import Datagram
from plugins.rules import Rules
from tests.factory import T0, make_datagrams, make_flow, make_streams
from tests.protocols import handshakes as tls
from tests.protocols.directories import (
    bind,
    entry,
    message,
    modify,
    octets,
    result,
    sasl,
    search,
    start_tls,
    wrapped,
)
from tests.protocols.shares import logon
from tests.protocols.tickets import der, integer
from tests.protocols.wire import CLIENT, SERVER, Wire
from tests.rules.builders import rule_text
from tests.shared import event_validator

BOUND, FOUND, CHANGED, EXTENDED = 0x61, 0x65, 0x67, 0x78


def test_a_logon_and_its_answer() -> None:
    wire = Wire().client(bind()).server(result(1, BOUND, 49, b"wrong"))
    asked, answered = wire.seen
    assert wire.flow.app_proto == "ldap"
    assert dict(asked.buffers) == {"ldap.request.operation": b"bind_request", "ldap.request.dn": b"cn=admin,dc=corp"}
    assert answered.buffers["ldap.responses.result_code"] == b"invalid_credentials"
    assert (asked.complete, answered.complete, asked.tx_id) == (False, True, answered.tx_id)
    assert answered.fields == {
        "request": {
            "operation": "bind_request", "message_id": 1, "bind_request": {"version": 3, "name": "cn=admin,dc=corp"},
        },
        "responses": [{
            "operation": "bind_response", "message_id": 1,
            "bind_response": {"result_code": "invalid_credentials", "matched_dn": "", "message": "wrong"},
        }],
    }  # fmt: skip


def test_a_password_is_not_logged() -> None:
    assert "secret" not in str(Wire().client(bind()).seen[0].fields)


def test_who_logs_on_by_ntlm() -> None:
    asked = Wire().client(sasl(b"wrapped" + logon("Alice", "CORP"))).seen[0]
    assert (asked.buffers["ldap.ntlmssp_user"], asked.buffers["ldap.ntlmssp_domain"]) == (b"Alice", b"CORP")
    assert asked.fields["request"]["bind_request"]["sasl"] == {"mechanism": "GSS-SPNEGO"}


def test_a_search_ends_with_its_result() -> None:
    wire = Wire().client(search(attributes=(b"servicePrincipalName",)))
    wire.server(entry(2, b"cn=web,dc=corp", b"servicePrincipalName", b"HTTP/web")).server(result(2, FOUND))
    asked, found, ended = wire.seen
    assert asked.instances("ldap.request.attribute_type") == (b"servicePrincipalName",)
    assert found.buffers["ldap.responses.dn"] == b"cn=web,dc=corp"
    assert (found.complete, ended.complete) == (False, True)
    first, second = ended.fields["responses"]
    assert first["search_result_entry"]["attributes"] == [{"type": "servicePrincipalName", "values": ["HTTP/web"]}]
    assert second["operation"] == "search_result_done"


def test_what_is_changed() -> None:
    fields = Wire().client(bind() + modify(3, b"cn=a", b"member", b"cn=b")).seen[1].fields
    assert fields["request"]["modify_request"] == {
        "object": "cn=a",
        "changes": [
            {"operation": "replace", "modification": {"attribute_type": "member", "attribute_values": ["cn=b"]}}
        ],
    }


@pytest.mark.parametrize(
    ("operation", "content", "said"),
    [
        (0x4A, b"cn=a", {"dn": "cn=a"}),
        (0x68, octets(b"cn=a") + der(0x30, der(0x30, octets(b"sn"), der(0x31, octets(b"x")))),
         {"entry": "cn=a", "attributes": [{"name": "sn", "values": ["x"]}]}),
        (0x6C, octets(b"cn=a") + octets(b"cn=b") + der(1, b"\xff") + der(0x80, b"dc=c"),
         {"entry": "cn=a", "new_rdn": "cn=b", "delete_old_rdn": True, "new_superior": "dc=c"}),
        (0x6E, octets(b"cn=a") + der(0x30, octets(b"sn"), octets(b"x")),
         {"entry": "cn=a", "attribute_value_assertion": {"description": "sn", "value": "x"}}),
        (0x50, b"\7", {"message_id": 7}),
    ],
)  # fmt: skip
def test_what_operations_say(operation: int, content: bytes, said: dict[str, Any]) -> None:
    request = Wire().client(bind() + message(9, operation, content)).seen[1].fields["request"]
    assert request[request["operation"]] == said


def test_tls_goes_on_where_the_server_agrees() -> None:
    wire = Wire().client(start_tls()).server(result(1, EXTENDED)).client(tls.record(tls.client_hello()))
    assert wire.flow.app_proto == "tls"
    refused = Wire().client(start_tls()).server(result(1, EXTENDED, 2)).client(bind(2))
    assert refused.seen[-1].buffers["ldap.request.operation"] == b"bind_request"


def test_what_is_signed_is_read_and_what_is_encrypted_counted() -> None:
    wire = Wire().client(bind()).client(wrapped(search(4))).client(wrapped(b"\x9c" * 40))
    assert wire.seen[-1].buffers["ldap.request.dn"] == b"dc=corp"
    assert wire.counters["ldap.wrapped"] == 1


def test_operations_over_udp() -> None:
    flow = make_flow(proto=17, sport=1025, dport=389)
    stage = Protocols(ProtocolSettings(), Counters(), flow.columns)
    rows = [Datagram(flow, CLIENT, search(), T0, 1), Datagram(flow, SERVER, result(2, FOUND), T0, 2)]
    asked, answered = stage.feed(make_streams([]), make_datagrams(rows))
    assert (asked.protocol, answered.complete) == ("ldap", True)


def test_behind_missing_bytes_the_next_message_is_found() -> None:
    wire = Wire().client(bind() + search(2)[:20]).client(b"", gap=900).client(b"rest" + search(5, b"dc=seen"))
    assert wire.seen[-1].buffers["ldap.request.dn"] == b"dc=seen"


def test_what_is_kept_is_bounded() -> None:
    flow, wire = make_flow(), Wire()
    settings = ProtocolSettings.model_validate({"ldap": {"open_requests": 4, "responses": 2}})
    wire.stage, wire.flow = Protocols(settings, wire.counters, flow.columns), flow
    wire.client(bind()).client(b"".join(search(number) for number in range(2, 12)))
    for _ in range(5):
        wire.server(entry(11, b"cn=a", b"sn", b"x"))
    wire.server(result(11, FOUND))
    assert len(wire.seen[-1].fields["responses"]) == 2
    assert (wire.counters["ldap.requests_evicted"], wire.counters["ldap.responses_left_out"]) == (7, 4)


def test_what_cannot_be_read_is_odd() -> None:
    wire = Wire().client(bind()).client(message(2, 0x63, integer(1)))
    assert wire.seen[-1].buffers[ODDITY] == b"ldap.malformed_data"


@pytest.mark.parametrize(
    "data",
    [b"", b"\x30", b"\x30\x05\x02\x01\x01\x04\x00", bytes.fromhex("302902010004067075626c6963a01c"), b"\x30" * 40],
)  # fmt: skip
def test_what_is_no_message(data: bytes) -> None:
    assert not is_message(data)


@pytest.mark.parametrize(
    ("options", "alerts"),
    [
        ('ldap.request.operation; content:"search_request";', 1), ('ldap.request.dn; content:"dc=corp"; endswith;', 2),
        ('ldap.request.attribute_type; content:"member"; bsize:6;', 1), ('ldap.ntlmssp_user; content:"x";', 0),
        ('ldap.responses.result_code; content:"success";', 2), ('ldap.responses.dn; content:"cn=g";', 1),
        ('ldap.responses.operation; content:"search_result_entry";', 1), ('ldap.responses.message; content:"hi";', 1),
        ('ldap.responses.attribute_type; content:"member";', 1), ("app-layer-event:ldap.malformed_data;", 0),
    ],
)  # fmt: skip
def test_rules_of_suricatas_language(options: str, alerts: int, tmp_path: Path) -> None:
    path = tmp_path / "l.rules"
    path.write_text(f'alert ldap any any -> any any (msg:"m"; {options} sid:1;)\n')
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    said: tuple[Any, ...] = (
        bind(), to_client(result(1, BOUND, 0, b"hi")), search(),
        to_client(entry(2, b"cn=g", b"member", b"cn=a") + result(2, FOUND)),
    )  # fmt: skip
    session.tcp(*said, dport=3890)
    assert len(session.alerts) == alerts


def test_events_and_alerts_fit_the_schema(tmp_path: Path) -> None:
    validator = event_validator()
    path = tmp_path / "l.yaml"
    path.write_text("rules:\n" + rule_text("[ldap.request.dn: {contains: corp}]", traffic="ldap"))
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.tcp(bind(), to_client(result(1, BOUND)), search(), to_client(entry(2, b"a", b"b", b"c") + result(2, FOUND)))
    session.end()
    found = [event for event in session.events if "ldap" in event]
    assert [event["event_type"] for event in found].count("ldap") == 2
    for event in found:
        validator.validate({key: value for key, value in event.items() if key != "ids"})


SPOKEN = (
    (CLIENT, sasl(logon("a", "b")) + search(2) + modify(3, b"a", b"b", b"c")),
    (SERVER, result(1, BOUND) + entry(2, b"a", b"b", b"c") + result(2, FOUND) + result(3, CHANGED)),
    (CLIENT, wrapped(search(4)) + message(5, 0x42)),
)


@given(st.integers(1, 60))
def test_how_the_streams_are_cut_changes_nothing(step: int) -> None:
    whole, cut = Wire(), Wire()
    for side, data in SPOKEN:
        whole.send(side, data)
        cut.send(side, data, step=step)
    assert cut.what() == whole.what()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300), st.binary(max_size=12)), max_size=8))
def test_nothing_raises(changes: list[tuple[int, int, bytes]]) -> None:
    wire = Wire().client(bind())
    for number, at, data in changes:
        side, said = SPOKEN[number]
        wire.send(side, said[:at] + data + said[at + len(data) :])
    for transaction in wire.close().all:
        dict(transaction.buffers), dict(transaction.fields)
    assert not wire.counters["app_layer.error.ldap.internal"]
