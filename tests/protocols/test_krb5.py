"""Kerberos: requests, tickets and errors with their buffers and events, over UDP and TCP; and hostile messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols import ODDITY, Protocols, ProtocolSettings
from ids.protocols.krb5 import is_message
from ids.rules.language.suricata.loader import SuricataLoader
from ids.rules.language.variables import Variables
from ids.rules.settings import DEFAULT_VARIABLES
from ids.testing import Session, to_client
from ids.types import Datagram, Direction, Transaction
from plugins.rules import Rules
from tests.factory import T0, make_datagrams, make_flow, make_streams
from tests.protocols.tickets import (
    AP_REQUEST,
    TGS_REPLY,
    TGS_REQUEST,
    der,
    error,
    framed,
    integer,
    reply,
    request,
)
from tests.protocols.wire import CLIENT, SERVER, Wire
from tests.rules.builders import rule_text
from tests.shared import event_validator

WEB = (b"HTTP", b"web.corp")


def say(*said: tuple[Direction, bytes]) -> list[Transaction]:
    """Feed datagrams of one flow."""
    flow = make_flow(proto=17, sport=1025, dport=8888)
    stage = Protocols(ProtocolSettings(), Counters(), flow.columns)
    rows = [Datagram(flow, direction, data, T0, number) for number, (direction, data) in enumerate(said, 1)]
    return list(stage.feed(make_streams([]), make_datagrams(rows)))


def test_a_request_and_its_ticket() -> None:
    asked, answered = say((CLIENT, request(TGS_REQUEST, sname=WEB)), (SERVER, reply(TGS_REPLY, WEB, ticket=23)))
    assert asked.instances("krb5.request_sname") == WEB
    assert asked.instances("krb5.request_cname") == (b"alice",)
    assert asked.instances("krb5.request_encryption") == (b"aes256-cts-hmac-sha1-96", b"rc4-hmac")
    assert (asked.buffers["krb5.msg_type"], asked.buffers["krb5.realm"]) == (b"12", b"CORP")
    assert "krb5.cname" not in asked.buffers, "the answer's, as in Suricata"
    assert answered.instances("krb5.cname") == (b"alice",)
    assert answered.instances("krb5.sname") == WEB
    assert answered.instances("krb5.ticket_encryption") == (b"23", b"rc4-hmac", b"weak")
    assert answered.complete
    assert answered.fields == {
        "msg_type": "KRB_TGS_REP", "cname": "alice", "realm": "CORP", "sname": "HTTP/web.corp",
        "encryption": "aes256-cts-hmac-sha1-96", "weak_encryption": False, "ticket_encryption": "rc4-hmac",
        "ticket_weak_encryption": True,
    }  # fmt: skip


def test_an_error_names_the_request_that_failed() -> None:
    asked, failed = say((CLIENT, request()), (SERVER, error(25)))
    assert asked.fields["msg_type"] == "KRB_AS_REQ"
    assert failed.buffers["krb5.err_code"] == b"25"
    assert failed.fields == {
        "msg_type": "KRB_ERROR", "failed_request": "KRB_AS_REQ", "error_code": "KDC_ERR_PREAUTH_REQUIRED",
        "cname": "alice", "realm": "CORP", "sname": "krbtgt/CORP", "encryption": "<none>", "weak_encryption": False,
    }  # fmt: skip
    (alone,) = say((SERVER, error(7, None)))
    assert (alone.fields["failed_request"], alone.fields["cname"]) == ("UNKNOWN", "<empty>")


@pytest.mark.parametrize(("code", "word"), [(0, "KDC_ERR_NONE"), (30, "ErrorCode(30)"), (-5, "ErrorCode(-5)")])
def test_errors_are_named_as_suricata_does(code: int, word: str) -> None:
    assert say((SERVER, error(code)))[0].fields["error_code"] == word


def test_what_is_said_to_services_is_no_event() -> None:
    said = der(0x60 | AP_REQUEST, der(0x30, der(0xA0, integer(5)), der(0xA1, integer(AP_REQUEST))))
    (asked,) = say((CLIENT, said))
    assert (asked.complete, asked.buffers["krb5.msg_type"]) == (False, b"14")


def test_messages_of_streams_stand_behind_their_length() -> None:
    wire = Wire().client(framed(request(), request(TGS_REQUEST))).server(framed(error(25)))
    assert wire.flow.app_proto == "krb5"
    assert [tx.fields["msg_type"] for tx in wire.seen] == ["KRB_AS_REQ", "KRB_TGS_REQ", "KRB_ERROR"]


def test_behind_missing_bytes_the_next_message_is_found() -> None:
    wire = Wire().client(framed(request())[:60]).client(b"", gap=400)
    wire.client(b"rest" + framed(request(TGS_REQUEST, sname=WEB)))
    assert wire.seen[-1].instances("krb5.request_sname") == WEB


def test_weak_encryption_is_odd() -> None:
    assert say((SERVER, reply(encryption=3)))[0].buffers[ODDITY] == b"krb5.weak_encryption"
    assert ODDITY not in say((SERVER, reply()))[0].buffers


@pytest.mark.parametrize("cut", [30, 60, 90])
def test_what_is_cut_off_is_odd(cut: int) -> None:
    (seen,) = say((CLIENT, request()[:cut]))
    assert seen.buffers[ODDITY] == b"krb5.malformed_data"
    assert seen.buffers["krb5.msg_type"] == b"10"
    assert not seen.complete


def test_a_message_that_is_none_is_odd() -> None:
    assert say((CLIENT, request()), (CLIENT, b"x" * 40))[1].buffers[ODDITY] == b"krb5.malformed_data"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x6a\x03\x30", b"\x6a" * 40, request()[:-1].replace(b"\x02\x01\x05", b"\x02\x01\x04", 1),
        b"\x30" + request()[1:], bytes.fromhex("1234010000010000000000000377777707657861"),
    ],
)  # fmt: skip
def test_what_is_no_message(data: bytes) -> None:
    assert not is_message(data)


@pytest.mark.parametrize(
    ("options", "alerts"),
    [
        ('krb5.cname; content:"alice";', 2), ('krb5_sname; content:"web"; startswith;', 1),
        ('krb5.sname; content:"HTTP/web";', 0), ("krb5_msg_type:13;", 1), ("krb5_msg_type:12;", 1),
        ("krb5_msg_type:11;", 0), ("krb5_err_code:25;", 1), ("krb5_err_code:6;", 0),
        ("krb5.ticket_encryption:weak;", 1), ("krb5.ticket_encryption:!weak;", 0),
        ("krb5.ticket_encryption: aes256-cts-hmac-sha1-96, 23;", 1), ("krb5.ticket_encryption:des-cbc-crc;", 0),
        ("app-layer-event:krb5.weak_encryption;", 1), ('krb5.request_sname; content:"HTTP"; bsize:4;', 1),
        ('krb5.request_encryption; content:"rc4"; startswith;', 2), ('krb5.realm; content:"CORP"; flow:to_client;', 2),
    ],
)  # fmt: skip
def test_rules_of_suricata(options: str, alerts: int, tmp_path: Path) -> None:
    path = tmp_path / "k.rules"
    path.write_text(f'alert krb5 any any -> any any (msg:"m"; {options} sid:1;)\n')
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    said: tuple[Any, ...] = (
        request(), to_client(error(25)), request(TGS_REQUEST, sname=WEB),
        to_client(reply(TGS_REPLY, WEB, encryption=23, ticket=23)),
    )  # fmt: skip
    session.udp(*said, dport=88)
    session.end()
    assert len(session.alerts) == alerts


def test_rules_of_yaml_have_the_same_buffers(tmp_path: Path) -> None:
    path = tmp_path / "k.yaml"
    path.write_text("rules:\n" + rule_text("[krb5.ticket_encryption: {equals: weak}]", traffic="krb5"))
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.tcp(framed(request()), to_client(framed(reply(ticket=23))), dport=88)
    assert len(session.alerts) == 1


@pytest.mark.parametrize("option", ["krb5.ticket_encryption:rot13;", "krb5_err_code:x;", "krb5_msg_type:999;"])
def test_what_no_message_can_have_is_refused(option: str) -> None:
    loader = SuricataLoader(Variables(DEFAULT_VARIABLES))
    loader.take("k.rules", f'alert krb5 any any -> any any (msg:"m"; {option} sid:1;)')
    assert len(loader.left_out) == 1


def test_events_and_alerts_fit_the_schema(tmp_path: Path) -> None:
    validator = event_validator()
    path = tmp_path / "k.rules"
    path.write_text('alert krb5 any any -> any any (msg:"m"; krb5.cname; content:"alice"; sid:1;)\n')
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.udp(request(), to_client(error(25)), request(), to_client(reply()), dport=88)
    session.end()
    found = [event for event in session.events if "krb5" in event]
    assert [event["event_type"] for event in found].count("krb5") == 4
    for event in found:
        validator.validate({key: value for key, value in event.items() if key != "ids"})


@given(st.integers(1, 60))
def test_how_the_streams_are_cut_changes_nothing(step: int) -> None:
    whole, cut = Wire(), Wire()
    for side, data in ((CLIENT, framed(request(), request())), (SERVER, framed(error(25), reply()))):
        whole.send(side, data)
        cut.send(side, data, step=step)
    assert cut.what() == whole.what()


@given(st.sampled_from([request(), reply(), error(25)]), st.integers(0, 200), st.binary(max_size=8))
def test_no_datagram_raises(message: bytes, at: int, data: bytes) -> None:
    changed = message[:at] + data + message[at + len(data) :]
    for transaction in say((CLIENT, request()), (SERVER, changed)):
        dict(transaction.buffers), dict(transaction.fields)


@given(st.lists(st.tuples(st.sampled_from(Direction), st.binary(max_size=60)), max_size=6))
def test_no_stream_raises(said: list[tuple[Direction, bytes]]) -> None:
    wire = Wire().client(framed(request()))
    for side, data in said:
        wire.send(side, framed(data) if len(data) % 2 else data)
    for transaction in wire.close().all:
        dict(transaction.buffers), dict(transaction.fields)
    assert not wire.counters["app_layer.error.krb5.internal"]


def test_events_name_the_sender_first() -> None:
    """As Suricata's of Kerberos do, and of few others."""
    session = Session()
    session.udp(request(), to_client(error(25)), dport=88)
    session.end()
    ports = [(event["src_port"] == 88, event["dest_port"] == 88) for event in session.events if "krb5" in event]
    assert ports == [(False, True), (True, False)]
