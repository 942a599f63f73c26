"""How connections come to HTTP/2, and what they carry besides: upgrades, prefaces, WebSockets."""

from __future__ import annotations

import base64
from struct import pack

import pytest

from ids.protocols.http2.frames import (
    PREFACE,
)
from tests.protocols.frames2 import (
    GET,
    OK,
    Speaker,
    data,
    exchange,
    instances,
    oddities,
    sent,
    ws,
)
from tests.protocols.frames2 import settings as agreed
from tests.protocols.wire import CLIENT, SERVER, Wire

SETTINGS_HEADER = base64.urlsafe_b64encode(pack(">HI", 4, 65535)).rstrip(b"=")
ASKED = (
    b"GET /up?a=1 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: toy\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: %s\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize("step", [0, 1, 7])
def test_the_request_of_an_upgrade_is_that_of_stream_1(lane: bool, step: int) -> None:
    answer = SWITCHED + agreed(s3=9) + Speaker().headers(OK, 1, last=False) + data(b"answer")
    wire = Wire(ordinary_lane=lane).client(ASKED % SETTINGS_HEADER, step=step).server(answer, step=step)
    wire.client(PREFACE + agreed(s4=1) + Speaker().headers(GET, 3), step=step).close()
    fields = exchange(wire, 1).fields
    assert fields["url"] == "/up?a=1"
    assert fields["request_headers"][:4] == [
        {"name": ":method", "value": "GET"},
        {"name": ":path", "value": "/up?a=1"},
        {"name": ":authority", "value": "www.example.com"},
        {"name": "User-Agent", "value": "toy"},
    ]
    assert fields["status"] == 200
    assert b"answer" in instances(wire, "file.data", SERVER)
    assert b"SETTINGS_INITIAL_WINDOW_SIZE 65535" in instances(wire, "http2.settings", CLIENT)
    assert exchange(wire, 3).fields["url"] == "/a?b=1"
    assert [(found.protocol, found.fields.get("status")) for found in wire.seen if found.protocol == "http"][-1] == (
        "http", 101,
    )  # fmt: skip


@pytest.mark.parametrize("coded", [b"%%%", b"AAM", b"", b"AAMAAABkAAQ"])
def test_settings_of_an_upgrade_may_be_none(coded: bytes) -> None:
    wire = Wire().client(ASKED % coded).server(SWITCHED + Speaker().headers(OK, 1)).close()
    assert (b"http2.invalid_http1_settings" in oddities(wire)) == bool(coded)
    assert exchange(wire, 1).fields["status"] == 200


PLAIN = b"GET /behind HTTP/1.1\r\nHost: x\r\n\r\n"
PLAIN_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("said", [b"", agreed(s3=9)])
def test_an_upgrade_that_did_not_take_place_is_read_on_as_what_it_was(lane: bool, step: int, said: bytes) -> None:
    """A server may hand 101 through, and go on in HTTP/1 with whoever it has for a client."""
    wire = Wire(ordinary_lane=lane).client(ASKED % SETTINGS_HEADER, step=step).server(SWITCHED + said, step=step)
    wire.client(PLAIN, step=step).server(PLAIN_OK, step=step).close()
    http = [found for found in wire.seen if found.protocol == "http"]
    answered = [(one.tx_id, one.fields["url"], one.fields["status"]) for one in http if one.complete]
    assert answered == [(0, "/up?a=1", 101), (1, "/behind", 200)]
    assert b"http.failed_protocol_change" in oddities(wire)
    assert wire.flow.app_proto == "http"


@pytest.mark.parametrize("step", [0, 1, 7])
def test_a_server_may_go_on_in_http_1_before_its_client_does(step: int) -> None:
    wire = Wire().client(ASKED % SETTINGS_HEADER).server(SWITCHED).server(PLAIN_OK, step=step)
    wire.client(PLAIN, step=step).close()
    assert b"/behind" in instances(wire, "http.uri.raw")
    assert b"hello" in instances(wire, "file.data", SERVER)
    assert b"http.failed_protocol_change" in oddities(wire)


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("first", [PREFACE, b""])
def test_an_upgrade_that_took_place_is_not_odd(step: int, first: bytes) -> None:
    """A client that leaves the preface out is read as servers may that do not ask for it."""
    wire = Wire().client(ASKED % SETTINGS_HEADER).server(SWITCHED)
    wire.client(first + agreed(s4=1) + Speaker().headers(GET, 3), step=step)
    wire.server(agreed(s3=9) + Speaker().headers(OK, 3), step=step).close()
    assert exchange(wire, 3).fields["url"] == "/a?b=1"
    assert b"http.failed_protocol_change" not in oddities(wire)


def test_a_client_may_end_before_it_is_clear_what_it_speaks() -> None:
    wire = Wire().client(ASKED % SETTINGS_HEADER).server(SWITCHED).client(b"P").close()
    assert b"http.failed_protocol_change" not in oddities(wire)


def test_a_server_that_does_not_speak_it_is_heard() -> None:
    """A client may begin with HTTP/2 to be overlooked by whoever takes its word for it."""
    wire = (
        Wire()
        .client(PREFACE + b"\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n")
        .server(b"HTTP/1.1 400 Bad\r\n\r\n")
        .close()
    )
    assert b"/hidden" in instances(wire, "http.uri")


@pytest.mark.parametrize("step", [0, 1])
def test_a_proxy_may_say_something_before_it(step: int) -> None:
    said = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 80\r\n" + PREFACE + Speaker().headers(GET)
    wire = Wire().client(said, step=step).server(agreed(s3=9) + Speaker().headers(OK)).close()
    assert exchange(wire, 1).fields["url"] == "/a?b=1"


@pytest.mark.parametrize("step", [0, 1, 3])
def test_what_only_begins_like_it_is_http_1(step: int) -> None:
    wire = Wire().client(b"PRI * HTTP/1.1\r\nHost: x\r\n\r\n", step=step).close()
    assert instances(wire, "http.method") == [b"PRI"]


def test_a_websocket_in_a_stream_is_read() -> None:
    connect = [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]]
    wire = sent(
        Speaker().headers(connect, last=False),
        Speaker().headers(OK, last=False) + data(ws(b"from server", mask=None), last=False),
    )
    first, rest = ws(b"from client")[:5], ws(b"from client")[5:]
    wire.client(data(first, last=False) + data(rest, last=False)).close()
    assert instances(wire, "websocket.payload") == [b"from server", b"from client"]
    assert len({(found.protocol, found.tx_id) for found in wire.seen if found.protocol == "websocket"}) == 2
