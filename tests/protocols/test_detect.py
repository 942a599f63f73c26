"""Protocols are told by their first bytes, on any port."""

from __future__ import annotations

import pytest

from ids.protocols import Parsers, ProtocolSettings
from ids.protocols.detect import recognise
from ids.types import Direction, StreamChunk, Transaction
from tests.protocols.wire import CLIENT, SERVER, Wire


@pytest.mark.parametrize(
    ("direction", "prefix", "name"),
    [
        (CLIENT, b"GET / HTTP/1.1\r\n", "http"),
        (CLIENT, b"get /x", "http"),
        (CLIENT, b"\r\nPOST\t/x", "http"),
        (CLIENT, b"FROBNICATE /x", "http"),
        (CLIENT, b"X y HTTP/1.1", "http"),
        (SERVER, b"HTTP/1.1 200 OK\r\n", "http"),
        (CLIENT, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"),
        (CLIENT, b"\x16\x03\x01\x02\x00\x01", "tls"),
        (SERVER, b"\x16\x03\x03\x00\x5a\x02", "tls"),
        (CLIENT, b"SSH-2.0-x\r\n", "ssh"),
        (SERVER, b"SSH-2.0-x\r\n", "ssh"),
        (CLIENT, b"\x00\x00\x00\x54\xffSMB\x72", "smb"),
        (CLIENT, b"\x00\x00\x00\x54\xfeSMB\x40", "smb"),
        (SERVER, b"220 mx.example ESMTP\r\n", "smtp"),
        (CLIENT, b"EHLO me\r\n", "smtp"),
        (SERVER, b"220 (vsFTPd 3.0)\r\n", "ftp"),
        (CLIENT, b"USER anonymous\r\n", "ftp"),
        (CLIENT, b"\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example", "dns"),
        (SERVER, b"\x00\x1d\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x07example", "dns"),
        (CLIENT, b"", None),
        (CLIENT, b"G", None),
        (CLIENT, b"\x00" * 64, None),
        (CLIENT, b"hello world", None),
        (SERVER, b"220 hello\r\n", None),
    ],
)
def test_recognise(direction: Direction, prefix: bytes, name: str | None) -> None:
    assert recognise(prefix, direction) == name


@pytest.mark.parametrize("step", [0, 1])
def test_what_was_held_back_while_probing_is_parsed(step: int) -> None:
    wire = Wire().client(b"GET /x HTTP/1.1\r\n\r\n", step=step)
    assert wire.seen[0].buffers["http.uri"] == b"/x"


def test_a_server_may_give_the_protocol_away() -> None:
    wire = Wire().client(b"ODD").server(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
    assert wire.flow.app_proto == "http"
    assert wire.seen[-1].fields["status"] == 400


def test_unknown_protocols_are_given_up_after_the_probe() -> None:
    wire = Wire().client(b"\x00" * 300).client(b"GET / HTTP/1.1\r\n\r\n")
    assert wire.flow.app_proto == "failed"
    assert wire.seen == []
    assert wire.counters["app_layer.flow.failed"] == 1


def test_a_flow_without_bytes_has_no_protocol() -> None:
    assert Wire().close().flow.app_proto is None


def test_a_parser_that_fails_is_counted_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(self: object, chunk: StreamChunk) -> list[Transaction]:
        raise ValueError("hostile")

    monkeypatch.setattr("ids.protocols.http.HttpParser.feed", explode)
    wire = Wire().client(b"GET / HTTP/1.1\r\n\r\n").client(b"more")
    assert wire.seen == []
    assert wire.counters["app_layer.error.http.internal"] == 1
    assert wire.flow.app_proto == "http"


def test_parsers_need_only_settings_and_counters() -> None:
    wire = Wire()
    assert Parsers(ProtocolSettings(), wire.counters)
