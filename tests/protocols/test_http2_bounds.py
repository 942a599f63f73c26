"""HTTP/2 that is odd, and HTTP/2 that is too much: it is counted, bounded, and read on."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from ids.protocols.http2.control import MANY_RESETS
from ids.protocols.http2.frames import (
    CONTINUATION,
    END_HEADERS,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
)
from ids.protocols.http2.parser import MANY_CONTINUATIONS
from ids.protocols.http2.reports import FRAMES_IN_A_ROW
from tests.protocols.frames2 import (
    GET,
    POST,
    Speaker,
    data,
    frame,
    instances,
    oddities,
    reset,
    sent,
    window,
)
from tests.protocols.frames2 import settings as agreed
from tests.protocols.wire import CLIENT, Wire


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (Speaker().headers([*GET[:3], (":authority", "user@www.example.com")]), "userinfo_in_uri"),
        (Speaker().headers([*GET, ("host", "other.example.com")]), "authority_host_mismatch"),
        (Speaker().headers([*GET, ("transfer-encoding", "chunked")]), "connection_header"),
        (Speaker().headers([*GET, ("x", "a\r\nb: c")]), "line_end_in_header"),
        (Speaker().headers([*POST, ("content-length", "1")], last=False) + data(b"more"), "length_mismatch"),
        (frame(RST_STREAM, b"123", 0, 1), "invalid_frame_length"),
        (frame(HEADERS, b"\x09ab", 0x0C, 1), "invalid_frame_data"),
        (frame(CONTINUATION, b"", 4, 1), "invalid_frame_data"),
        (Speaker().headers(GET, 5) + Speaker().headers(GET, 3), "stream_id_reuse"),
        (frame(HEADERS, b"\xff\xff\xff\xff\xff\xff\xff\x01", 4, 1), "header_integer_overflow"),
        (frame(HEADERS, b"\xff" * 10 + b"\x01", 4, 1), "extra_header_data"),
        (frame(HEADERS, b"\x00\x05ab", 4, 1), "invalid_header"),
        (frame(HEADERS, b"\xfe", 4, 1), "invalid_header"),
    ],
)  # fmt: skip
def test_what_is_odd_is_said_and_read_on(said: bytes, name: str) -> None:
    wire = sent(said + Speaker().headers([("x-next", "1")], 7, huffman=False))
    assert f"http2.{name}".encode() in oddities(wire)
    assert b"x-next: 1" in instances(wire, "http2.header")


def test_another_preface_is_said_and_what_follows_read() -> None:
    wire = Wire().client(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
    assert oddities(wire) == {b"http2.invalid_client_magic"}


def test_a_flood_of_continuations_is_noted_and_bounded() -> None:
    wire = sent(frame(HEADERS, b"", 0, 1) + frame(CONTINUATION, b"", 0, 1) * (MANY_CONTINUATIONS + 1))
    assert oddities(wire) == {b"http2.continuation_flood"}
    wire.client(frame(CONTINUATION, bytes(16384), 0, 1) * 20)
    assert b"http2.reassembly_limit_reached" in oddities(wire)
    assert wire.counters["http2.block_too_long"] == 1
    (talk,) = wire.stage._talks.by_id.values()
    assert talk.parser._shared.pool.held == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("one", [window(1), frame(PING, bytes(8)), agreed(s4=1), frame(SETTINGS, b"", 1)])
def test_of_a_flood_of_small_frames_some_are_reported_and_all_counted(one: bytes) -> None:
    wire = sent(one * 3000)
    assert len(wire.all) <= FRAMES_IN_A_ROW + 1
    assert wire.counters["http2.frames_unreported"] == 3000 - FRAMES_IN_A_ROW
    assert oddities(wire) == {b"http2.flood"}
    wire.client(Speaker().headers(GET))
    wire.client(window(77))
    assert wire.seen[-1].buffers["http2.window"] == b"77", "a message pays for the next frames"


def test_streams_that_are_opened_and_reset_are_noted() -> None:
    client = Speaker()
    wire = sent(b"".join(client.headers(GET, 2 * n + 1) + reset(8, 2 * n + 1) for n in range(MANY_RESETS)))
    assert oddities(wire) == {b"http2.rapid_reset"}
    assert len([one for one in instances(wire, "http.uri") if one == b"/a?b=1"]) >= MANY_RESETS


def test_of_too_many_streams_the_oldest_is_reported_as_it_is() -> None:
    client = Speaker()
    said = b"".join(
        client.headers(POST, 2 * n + 1, last=False) + data(b"%d" % n, 2 * n + 1, last=False) for n in range(9)
    )
    wire = sent(said, http2={"open_streams": 4})
    assert [found.buffers["http.request_body"] for found in wire.seen if "http.request_body" in found.buffers] == [
        b"%d" % n for n in range(5)
    ]
    assert wire.counters["http2.streams_evicted"] == 5
    assert oddities(wire) == {b"http2.too_many_streams"}


def test_a_header_bomb_costs_no_more_than_it_may() -> None:
    client = Speaker()
    planted = client.headers([*GET, ("x", "y" * 4000)], 1, huffman=False)
    number = bytes((0x80 | 62,))
    wire = sent(planted + frame(HEADERS, number * 16000, END_HEADERS, 3))
    found = wire.all[-1]
    assert len(found.buffers["http.header.raw"]) < 70_000
    assert b"http2.header_bomb" in oddities(wire)
    assert wire.counters["http2.headers_left_out"] > 15_000


@pytest.mark.parametrize("fields", [b"\x82\x84", b"\x82\xbe\xbe\xbe"])
def test_open_streams_count_whatever_little_opens_them(fields: bytes) -> None:
    """Eleven bytes open one, and one more stands for a header of kilobytes in each: 17 KB held 118 MB."""
    long = frame(HEADERS, b"\x82\x40\x01a\x7f\x81\x1e" + b"b" * 4000, END_HEADERS, 1)
    many = b"".join([frame(HEADERS, fields, END_HEADERS, 2 * number + 3) for number in range(200)])
    memcap = 128 * 1024
    tracemalloc.start()
    try:
        wire = Wire(http2={"memcap_bytes": memcap}).client(PREFACE + long)
        wire.all.clear()
        for at in range(0, len(many), 1024):
            wire.client(many[at : at + 1024])
            wire.all.clear()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        wire.stage._talks.forget([wire.flow.id])
        gc.collect()
        kept = before - tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert wire.counters["http2.streams_evicted"] > 100
    assert kept < 2 * memcap


def test_memory_is_one_for_all_bodies() -> None:
    client = Speaker()
    wire = sent(client.headers(POST, 1, last=False) + data(b"a" * 9000, 1, last=False), http2={"memcap_bytes": 8192})
    assert wire.counters["http2.memcap"] >= 1
    assert max(map(len, instances(wire, "http.request_body")), default=0) <= 8192


def test_of_a_body_as_much_is_inspected_as_is_to_be() -> None:
    wire = sent(
        Speaker().headers(POST, last=False) + data(b"a" * 100, last=False) + data(b"b" * 100),
        http2={"request_body_bytes": 150},
    )
    assert wire.seen[0].buffers["http.request_body"] == b"a" * 100 + b"b" * 50
    assert wire.counters["http2.body_limit_bytes"] == 50


def test_what_a_stream_keeps_of_frames_is_bounded() -> None:
    client = Speaker()
    block = b"\x20" * 60 + client.block(GET)
    wire = sent(frame(HEADERS, block, END_HEADERS, 1) * 400 + frame(SETTINGS, b"\0\4\0\0\0\1" * 50, 0, 1) * 400)
    (talk,) = wire.stage._talks.by_id.values()
    half = talk.parser._streams[1].halves[CLIENT]  # type: ignore[union-attr]
    assert (len(half.sizes), len(half.settings)) == (64, 64)
    assert len(half.entries) == 8192
    assert max(len(found.instances("http2.size_update")) for found in wire.all) == 64
