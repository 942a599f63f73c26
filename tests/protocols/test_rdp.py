"""RDP: what is offered, chosen and said of clients, with buffers and events; TLS goes on; and hostile messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.testing import Session, to_client
from ids.types import Direction
from plugins.rules import Rules
from tests.protocols import handshakes as tls
from tests.protocols.desktops import CONNECTED, confirm, connect, core, network, refuse, request, tpkt, x224
from tests.protocols.wire import CLIENT, SERVER, Wire
from tests.rules.builders import rule_text

SESSION = connect(core(), network(b"rdpdr", b"cliprdr"))


def test_what_is_offered_and_chosen() -> None:
    asked, answered = Wire().client(request(flags=1)).server(confirm(0, flags=0x1F)).seen
    assert asked.fields == {
        "tx_id": 1, "event_type": "initial_request", "cookie": "alice", "flags": ["restricted_admin_mode_required"],
    }  # fmt: skip
    assert asked.buffers["rdp.cookie"] == b"alice"
    assert answered.fields == {
        "tx_id": 2, "event_type": "initial_response", "protocol": "rdp",
        "server_supports": ["extended_client_data", "dynvc_gfx", "restricted_admin", "redirected_authentication"],
    }  # fmt: skip


def test_a_server_says_why_it_refuses() -> None:
    fields = Wire().client(request(None)).server(refuse(5)).seen[1].fields
    assert (fields["error_code"], fields["reason"]) == (5, "hybrid required by server")


def test_what_a_client_says_of_itself() -> None:
    wire = Wire().client(request()).server(confirm(0)).client(SESSION)
    assert wire.flow.app_proto == "rdp"
    said = wire.seen[2]
    assert said.fields == {
        "tx_id": 3, "event_type": "connect_request", "channels": ["rdpdr", "cliprdr"],
        "client": {
            "version": "v5", "desktop_width": 1280, "desktop_height": 800, "color_depth": 24,
            "keyboard_layout": "en-US", "build": "Windows 10 RS5", "client_name": "WS01", "keyboard_type": "enhanced",
            "function_keys": 12, "product_id": 1, "capabilities": ["support_errinfo_pdf", "valid_connection_type"],
            "id": "serial", "connection_hint": "lan",
        },
    }  # fmt: skip
    assert said.instances("rdp.channels") == (b"rdpdr", b"cliprdr")
    assert (said.buffers["rdp.client_name"], said.buffers["rdp.build"]) == (b"WS01", b"Windows 10 RS5")


def test_tls_goes_on_where_both_agree_on_it() -> None:
    wire = Wire().client(request()).server(confirm(1)).client(tls.record(tls.client_hello()))
    assert wire.flow.app_proto == "tls"
    assert [tx.protocol for tx in wire.seen] == ["rdp", "rdp", "tls"]


def test_a_client_that_begins_with_tls_at_once_is_heard() -> None:
    wire = Wire().client(request() + tls.record(tls.client_hello())).server(confirm(2))
    assert wire.seen[-1].protocol == "tls"


def test_behind_the_beginning_nothing_is_read() -> None:
    wire = Wire().client(request()).server(confirm(0)).client(SESSION).server(CONNECTED)
    assert wire.seen[-1].fields["event_type"] == "connect_response"
    (talk,) = wire.stage._talks.by_id.values()
    assert getattr(talk.parser, "settled")  # noqa: B009 - a parser need not have it
    assert len(wire.client(request()).seen) == 4


@pytest.mark.parametrize(
    ("options", "alerts"),
    [
        ('rdp.cookie; content:"alice"; bsize:5;', 1),
        ('rdp.client_name; content:"WS"; startswith;', 1),
        ('rdp.build; content:"Windows 7";', 0),
        ('rdp.keyboard_layout; content:"en-US";', 1),
        ('rdp.channels; content:"cliprdr";', 1),
        ('rdp.protocol; content:"rdp"; bsize:3;', 1),
        ('rdp.event_type; content:"connect_request";', 1),
    ],
)
def test_rules_of_suricatas_language(options: str, alerts: int, tmp_path: Path) -> None:
    path = tmp_path / "r.rules"
    path.write_text(f'alert rdp any any -> any any (msg:"m"; {options} sid:1;)\n')
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.tcp(request(), to_client(confirm(0)), SESSION, to_client(CONNECTED), dport=33890)
    assert len(session.alerts) == alerts


def test_rules_of_yaml_have_the_same_buffers(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("rules:\n" + rule_text("[rdp.cookie: {equals: alice}]", traffic="rdp"))
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.tcp(request(), dport=3389)
    assert len(session.alerts) == 1


@pytest.mark.parametrize("data", [b"\x03\x00\x00\x0b\x06\x20", tpkt(b"x" * 20), b"\x03" * 30, x224(0xF0, b"")])
def test_what_is_no_beginning(data: bytes) -> None:
    assert Wire().client(data).flow.app_proto != "rdp"


@given(st.integers(1, 40))
def test_how_the_streams_are_cut_changes_nothing(step: int) -> None:
    whole, cut = Wire(), Wire()
    for side, data in ((CLIENT, request()), (SERVER, confirm(0)), (CLIENT, SESSION), (SERVER, CONNECTED)):
        whole.send(side, data)
        cut.send(side, data, step=step)
    assert cut.what() == whole.what()


@given(st.lists(st.tuples(st.sampled_from(Direction), st.integers(0, 400), st.binary(max_size=12)), max_size=8))
def test_nothing_raises(changes: list[tuple[Direction, int, bytes]]) -> None:
    wire = Wire().client(request()).server(confirm(0))
    for side, at, data in changes:
        wire.send(side, SESSION[:at] + data + SESSION[at + len(data) :])
    for transaction in wire.close().all:
        dict(transaction.buffers), dict(transaction.fields)
    assert not wire.counters["app_layer.error.rdp.internal"]
