"""HTTP/2: interleaved streams become exchanges with HTTP/1's buffers, and hostile frames nothing worse than a count."""

from __future__ import annotations

import base64
import gc
import gzip
import json
import tracemalloc
from struct import pack
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.protocols import ODDITY
from ids.protocols.http2.control import MANY_RESETS
from ids.protocols.http2.frames import (
    CONTINUATION,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    read_head,
)
from ids.protocols.http2.parser import MANY_CONTINUATIONS
from ids.protocols.http2.reports import FRAMES_IN_A_ROW
from ids.testing import Session, to_client
from ids.types import Direction, Transaction
from plugins.rules import Rules
from tests.protocols.frames2 import (
    GET,
    OK,
    Speaker,
    conversation,
    data,
    frame,
    goaway,
    reset,
    window,
    ws,
)
from tests.protocols.frames2 import settings as agreed
from tests.protocols.wire import CLIENT, SERVER, Wire
from tests.rules.builders import rule_text
from tests.shared import shared

POST = ((":method", "POST"), *GET[1:])


def sent(said: bytes, answered: bytes = b"", **options: Any) -> Wire:
    return Wire(**options).client(PREFACE + said).server(answered)


def instances(wire: Wire, name: str, direction: Direction | None = None) -> list[bytes]:
    """Return what rules see of a buffer, over all that was reported."""
    return [one for found in wire.all if direction in (None, found.direction) for one in found.instances(name)]


def exchange(wire: Wire, stream: int) -> Transaction:
    """Return the last report of a stream."""
    return [found for found in wire.all if dict(found.fields).get("http2", {}).get("stream_id") == stream][-1]


def oddities(wire: Wire) -> set[bytes]:
    return set(instances(wire, ODDITY))


# Messages.


def test_a_request_has_the_buffers_of_http() -> None:
    headers = [*GET, ("user-agent", "toy/1"), ("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2"), ("x", "Y")]
    (found,) = sent(Speaker().headers(headers)).seen
    buffers = found.buffers
    assert found.direction is CLIENT
    assert found.protocol == "http2"
    assert buffers["http.method"] == b"GET"
    assert buffers["http.uri"] == buffers["http.uri.raw"] == b"/a?b=1"
    assert buffers["http.host"] == buffers["http.host.raw"] == b"www.example.com"
    assert buffers["http.user_agent"] == b"toy/1"
    assert buffers["http.accept"] == b"*/*"
    assert buffers["http.protocol"] == b"HTTP/2"
    assert buffers["http.request_line"] == b"GET /a?b=1 HTTP/2\r\n"
    assert buffers["http.cookie"] == b"a=1; b=2"
    assert buffers["http.header"].startswith(b":method: GET\r\n:scheme: http\r\n")
    assert b"cookie" not in buffers["http.header"]
    assert b"cookie: a=1\r\ncookie: b=2\r\n" in buffers["http.header.raw"]
    assert buffers["http.header_names"].endswith(b"\r\ncookie\r\ncookie\r\nx\r\n\r\n")
    assert found.instances("http2.header_name")[-1] == b"x"
    assert found.instances("http2.header")[-1] == b"x: Y"
    assert found.instances("http2.frametype") == (b"1",)


def test_a_response_has_the_buffers_of_http() -> None:
    wire = sent(Speaker().headers(GET), Speaker().headers([*OK, ("location", "/x")], last=False) + data(b"content"))
    found = wire.seen[-1]
    assert (found.direction, found.complete) == (SERVER, True)
    assert found.buffers["http.stat_code"] == b"200"
    assert found.buffers["http.stat_msg"] == b""
    assert found.buffers["http.response_line"] == b"HTTP/2 200\r\n"
    assert found.buffers["http.server"] == b"toy"
    assert found.buffers["http.location"] == b"/x"
    assert found.buffers["http.response_body"] == found.buffers["file.data"] == b"content"


def test_a_target_is_normalised_as_that_of_http_1_and_read_in_other_ways() -> None:
    odd = [(name, "/a/%2e%2e/b//c/%252e%252e/d" if name == ":path" else value) for name, value in GET]
    (found,) = sent(Speaker().headers(odd)).seen
    assert found.instances("http.uri") == (b"/b/c/%2e%2e/d", b"/a/../b/c/../d", b"/b/d")


def test_bodies_of_streams_that_are_interleaved_are_kept_apart() -> None:
    client = Speaker()
    wire = sent(
        client.headers(POST, 1, last=False) + client.headers(POST, 3, last=False) + data(b"on", 1, last=False)
        + data(b"thr", 3, last=False) + window(10, 3) + data(b"e", 1) + data(b"ee", 3)
    )  # fmt: skip
    assert [found.buffers["http.request_body"] for found in wire.seen if "http.request_body" in found.buffers] == [
        b"one", b"three",
    ]  # fmt: skip


def test_padding_is_no_content() -> None:
    client = Speaker()
    wire = sent(client.headers(POST, last=False, padding=9) + data(b"body", padding=200))
    assert wire.seen[-1].buffers["http.request_body"] == b"body"
    assert wire.seen[-1].buffers["http.method"] == b"POST"


def test_a_block_may_come_in_many_frames() -> None:
    (found,) = sent(Speaker().headers(GET, pieces=20)).seen
    assert found.buffers["http.uri"] == b"/a?b=1"
    assert found.instances("http2.frametype") == (b"1", b"9")


def test_what_data_have_come_of_a_frame_is_reported_before_its_end() -> None:
    """A frame may claim more than ever comes, and servers hand on what is there."""
    wire = sent(Speaker().headers(POST, last=False) + data(b"attack" + b"." * 10000)[:15])
    assert wire.looks[-1].buffers["http.request_body"] == b"attack"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_coded_bodies_are_decoded(coding: str) -> None:
    import zlib

    coded = gzip.compress(b"content") if coding == "gzip" else zlib.compress(b"content")
    wire = sent(
        Speaker().headers(GET), Speaker().headers([*OK, ("content-encoding", coding)], last=False) + data(coded)
    )
    assert wire.seen[-1].buffers["file.data"] == b"content"


def test_an_interim_response_is_not_the_response() -> None:
    server = Speaker()
    interim = server.headers([(":status", "103"), ("link", "</style.css>")], last=False)
    wire = sent(Speaker().headers(GET), interim + server.headers(OK))
    assert [found.buffers["http.stat_code"] for found in wire.seen if found.direction is SERVER] == [b"103", b"200"]
    assert [found.complete for found in wire.seen if found.direction is SERVER] == [False, True]


def test_trailers_are_reported_by_themselves() -> None:
    client = Speaker()
    wire = sent(client.headers(POST, last=False) + data(b"x", last=False) + client.headers([("x-t", "${jndi:}")]))
    assert b"x-t: ${jndi:}" in instances(wire, "http2.header", CLIENT)
    assert wire.seen[-1].buffers["http.request_body"] == b"x"


def test_a_promise_is_of_the_stream_that_it_promises() -> None:
    server = Speaker()
    pushed = server.promise(GET, 1, 2) + server.headers(OK, 2, last=False) + data(b"pushed", 2) + server.headers(OK, 1)
    wire = sent(Speaker().headers(GET), pushed)
    wire.close()
    fields = exchange(wire, 2).fields
    assert fields["url"] == "/a?b=1"
    assert fields["status"] == 200
    assert b"pushed" in instances(wire, "file.data", SERVER)


def test_a_reset_ends_both_sides() -> None:
    wire = sent(Speaker().headers(POST, last=False) + data(b"begun", last=False) + reset(8, 1))
    assert [found.buffers.get("http.request_body") for found in wire.seen] == [b"begun", None]
    last = wire.seen[-1]
    assert last.complete
    assert last.buffers["http2.errorcode"] == b"8"
    assert last.fields["http2"]["request"]["error_code"] == "Cancel"


def test_what_is_open_at_the_end_is_reported() -> None:
    wire = sent(Speaker().headers(POST, last=False) + data(b"begun", last=False)).close()
    assert wire.seen[0].buffers["http.request_body"] == b"begun"
    assert wire.seen[-1].complete


# Frames that are no messages.


def test_frames_of_the_connection_are_exchanges_by_themselves() -> None:
    wire = sent(agreed(s1=0, s4=65535) + window(34634) + goaway(0) + frame(PING, bytes(8)) + frame(SETTINGS, b"", 1))
    assert [found.buffers["http2.frametype"] for found in wire.seen] == [
        b"%d" % kind for kind in (SETTINGS, WINDOW_UPDATE, GOAWAY, PING)
    ]
    assert [found.tx_id for found in wire.seen] == [0, 1, 2, 3]
    assert [found.complete for found in wire.seen] == [True, False, True, False]
    first, second, third, _ = wire.seen
    assert first.instances("http2.settings") == (b"SETTINGS_HEADER_TABLE_SIZE 0", b"SETTINGS_INITIAL_WINDOW_SIZE 65535")
    assert first.fields["http2"] == {
        "stream_id": 0,
        "request": {
            "settings": [
                {"settings_id": "SETTINGSHEADERTABLESIZE", "settings_value": 0},
                {"settings_id": "SETTINGSINITIALWINDOWSIZE", "settings_value": 65535},
            ]
        },
    }
    assert second.buffers["http2.window"] == b"34634"
    assert (third.buffers["http2.errorcode"], third.fields["http2"]["request"]) == (b"0", {"error_code": "NOERROR"})


def test_a_priority_is_of_its_stream_wherever_it_stands() -> None:
    before = frame(2, pack(">IB", 0, 7), 0, 3)
    wire = sent(Speaker().headers(GET, 1, weight=255) + before + Speaker().headers(GET, 3)).close()
    assert exchange(wire, 1).fields["http2"]["request"]["priority"] == 255
    assert exchange(wire, 3).fields["http2"]["request"]["priority"] == 7
    assert {b"255", b"7"} <= set(instances(wire, "http2.priority"))


def test_sizes_of_the_table_are_entries_among_the_headers() -> None:
    client = Speaker()
    client.encoder.header_table_size = 0
    wire = sent(client.headers(GET)).close()
    assert instances(wire, "http2.size_update")[0] == b"0"
    assert exchange(wire, 1).fields["request_headers"][0] == {"table_size_update": 0}


# However it is cut.


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.booleans())
@settings(max_examples=60)
def test_any_cut_gives_the_same(sizes: list[int], turns: bool) -> None:
    said, answered = conversation()
    whole = Wire().client(said).server(answered).close()
    cut = Wire()
    cut.client(said[:1])
    at = 1
    for number in range(1000):
        size = sizes[number % len(sizes)]
        if at >= len(said):
            break
        cut.client(said[at : at + size])
        at += size
    at = 0
    for number in range(1000):
        size = sizes[number % len(sizes)]
        if at >= len(answered):
            break
        cut.server(answered[at : at + size])
        at += size
    cut.close()
    assert cut.what() == whole.what()


def test_the_conversation_says_what_it_should() -> None:
    said, answered = conversation()
    wire = Wire().client(said).server(answered).close()
    assert wire.counters["app_layer.error.http2.internal"] == 0
    assert exchange(wire, 3).fields["url"] == "/a?b=1"
    assert b"hello world" in instances(wire, "http.request_body")
    assert b"one and one" in instances(wire, "http.response_body")
    assert not oddities(wire)


@given(st.lists(st.binary(max_size=60), max_size=12), st.booleans())
@settings(max_examples=200)
def test_no_bytes_make_it_fail(pieces: list[bytes], preface: bool) -> None:
    wire = Wire().client(PREFACE)
    for number, piece in enumerate(pieces):
        wire.send(Direction(number % 2), piece, gap=number % 5 == 4)
    wire.close()
    assert wire.counters["app_layer.error.http2.internal"] == 0


FRAME = st.builds(
    frame,
    st.integers(0, 11),
    st.binary(max_size=40) | st.just(Speaker().block(GET)),
    st.sampled_from([0, 1, 4, 5, 8, 9, 12, 32, 36, 37, 45, 255]),
    st.integers(0, 6),
)


@given(st.lists(st.tuples(st.sampled_from(list(Direction)), FRAME), max_size=30))
@settings(max_examples=300)
def test_no_frames_make_it_fail_or_keep_what_is_gone(said: list[tuple[Direction, bytes]]) -> None:
    wire = sent(b"")
    for direction, one in said:
        wire.send(direction, one)
    wire.close()
    for found in wire.all:
        dict(found.buffers), dict(found.fields)
    assert wire.counters["app_layer.error.http2.internal"] == 0
    (talk,) = wire.stage._talks.by_id.values()
    parser: Any = talk.parser
    if parser is not None and talk.protocol is not None and talk.protocol.name == "http2":
        talk.release()
        assert parser._shared.pool.held == 0


# Bytes that are missing.


def test_bytes_that_are_missing_within_data_cost_nothing_else() -> None:
    client = Speaker()
    wire = sent(client.headers(POST, last=False) + data(b"0123456789", last=False)[:11])
    wire.client(b"789" + data(b"end") + client.headers(GET, 3), gap=5)
    assert wire.seen[0].buffers["http.request_body"] == b"01789end"
    assert wire.seen[1].buffers["http.uri"] == b"/a?b=1"
    assert wire.counters["http2.gap"] == 1


def test_behind_frames_that_are_missing_headers_of_the_table_are_unknown_and_said_to_be() -> None:
    client = Speaker()
    first = client.headers([*GET, ("x-known", "before")], 1)
    lost = client.headers([*GET, ("x-lost", "never seen")], 3)
    after = client.headers([*GET, ("x-known", "before"), ("x-lost", "never seen"), ("x-new", "new")], 5)
    wire = sent(first)
    wire.client(after, gap=len(lost))
    found = wire.seen[-1]
    assert b"x-new: new" in found.instances("http2.header")
    assert not any(b"x-known" in one or b"x-lost" in one for one in found.instances("http2.header"))
    assert wire.counters["http2.headers_unknown"] == 4  # and :path and :authority
    assert wire.counters["http2.gap"] == 1
    assert b"http2.invalid_header" in oddities(wire)


def test_what_was_added_since_is_known_again() -> None:
    client = Speaker()
    lost = client.headers([*GET, ("x-lost", "never seen")], 1)
    fresh = [("x-one", "1"), ("x-two", "2")]
    wire = sent(b"")
    wire.client(client.headers([*GET, *fresh], 3), gap=len(lost))
    wire.client(client.headers([*GET, *fresh], 5))
    assert [one for one in wire.seen[-1].instances("http2.header") if one.startswith(b"x-")] == [
        b"x-one: 1",
        b"x-two: 2",
    ]


def test_the_next_frame_is_found_behind_missing_bytes() -> None:
    client = Speaker()
    wire = sent(client.headers(POST, 1, last=False))
    wire.client(
        b"\x17rest of some data" + client.headers(POST, 3, last=False, huffman=False) + data(b"found", 3), gap=500
    )
    assert b"found" in instances(wire, "http.request_body")


# What is odd, and what is too much.


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


# Upgrades.

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


# Rules and events.


def session(tmp_path: Any, *rules: str) -> Session:
    path = tmp_path / "r.rules"
    path.write_text(
        "\n".join(
            f'alert {head} (msg:"x"; {body} sid:{n + 1};)'
            for n, (head, body) in enumerate(rule.split("|", 1) for rule in rules)
        )
    )
    return Session(f"rules.paths=[{path}]", rules=Rules())


ANY = "any any -> any any"


@pytest.mark.parametrize(
    ("rule", "fires"),
    [
        ('http|http.uri; content:"/a?b=1";', True),
        ('http2|http.uri; content:"/a?b=1";', True),
        ('http1|http.uri; content:"/a?b=1";', False),
        ('tcp|http.uri; content:"/a?b=1";', True),
        ('http|http.method; content:"POST"; http.request_body; content:"world";', True),
        ('http2|file.data; content:"one and one";', True),
        ('http2|http.stat_code; content:"200";', True),
        ("http2|http2.frametype:GOAWAY;", True),
        ("http2|http2.frametype:7;", True),
        ("http2|http2.frametype:RST_STREAM; http2.errorcode:CANCEL;", True),
        ("http2|http2.errorcode:8;", True),
        ("http2|http2.errorcode:COMPRESSION_ERROR;", False),
        ("http2|http2.priority:>199;", True),
        ("http2|http2.priority:>200;", False),
        ("http2|http2.window:1000;", True),
        ("http2|http2.window:1-999;", False),
        ("http2|http2.settings:SETTINGS_INITIAL_WINDOW_SIZE;", True),
        ("http2|http2.settings:SETTINGS_INITIAL_WINDOW_SIZE=65535;", True),
        ("http2|http2.settings:SETTINGS_INITIAL_WINDOW_SIZE 65534;", False),
        ("http2|http2.settings:SETTINGS_INITIAL_WINDOW_SIZE>65534;", True),
        ("http2|http2.settings:SETTINGS_MAX_CONCURRENT_STREAMS 50-101;", True),
        ("http2|http2.settings:SETTINGS_ENABLE_PUSH;", False),
        ('http2|http2.header_name; content:"x-trailer";', True),
        ('http2|http2.header; content:"x-trailer: t";', True),
        ("http2|http2.size_update:1;", False),
        ("tcp|app-layer-protocol:http2;", True),
        ("tcp|app-layer-protocol:http;", True),
        ("tcp|app-layer-protocol:http1;", False),
    ],
)
def test_rules(tmp_path: Any, rule: str, fires: bool) -> None:
    protocol, body = rule.split("|")
    found = session(tmp_path, f"{protocol} {ANY}|{body}")
    said, answered = conversation()
    found.tcp(said, to_client(answered))
    assert found.sids == [1] * fires * len(found.sids)
    assert bool(found.sids) is fires


@pytest.mark.parametrize(
    "option",
    [
        "http2.frametype:NONE;",
        "http2.errorcode:NO;",
        "http2.settings:SETTINGS_NO 1;",
        "http2.settings:5;",
        "http2.priority:256;",
        "http2.window:x;",
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Any, option: str) -> None:
    from ids.rules.language.suricata.loader import SuricataLoader
    from ids.rules.language.variables import Variables
    from ids.rules.settings import DEFAULT_VARIABLES

    loader = SuricataLoader(Variables(DEFAULT_VARIABLES))
    loader.take("r.rules", f"alert http2 {ANY} ({option} sid:1;)")
    assert len(loader.left_out) == 1


def test_a_rule_in_yaml_serves_both(tmp_path: Any) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("rules:\n" + rule_text("[{http.uri: {contains: '/a?b=1'}}]", traffic="http"))
    found = Session(f"rules.paths=[{path}]", rules=Rules())
    said, answered = conversation()
    found.tcp(said, to_client(answered))
    found.tcp(b"GET /a?b=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert found.alerts
    assert {alert["app_proto"] for alert in found.alerts} == {"http", "http2"}
    assert all(alert["http"]["url"] == "/a?b=1" for alert in found.alerts)


def test_events_are_valid(tmp_path: Any) -> None:
    schema = json.loads(shared("eve-schema.json").read_text())
    found = session(tmp_path, f"http2 {ANY}|http2.window:1000;")
    said, answered = conversation()
    found.tcp(said, to_client(answered))
    events = [event for event in found.events if event["event_type"] in ("http", "alert")]
    assert len(events) > 5
    for event in events:
        jsonschema.validate({key: value for key, value in event.items() if key != "ids"}, schema)
        assert "http2" not in event
    assert all(event["http"]["version"] == "2" for event in events if event["event_type"] == "http")


def test_the_head_of_a_frame_is_nine_bytes() -> None:
    assert read_head(b"\0\1\2\3\4\xff\0\0\5") == (0x102, 3, 4, 0x7F000005)


# Files.


def fileinfo(*said: Any) -> list[dict[str, Any]]:
    found = Session("eve.types=[fileinfo,http]", rules=Rules())
    found.tcp(*said)
    return [event for event in found.events if event["event_type"] == "fileinfo"]


def test_a_body_is_a_file_however_long_it_is() -> None:
    content = bytes(range(256)) * 1000
    pieces = [content[at : at + 16000] for at in range(0, len(content), 16000)]
    answer = Speaker().headers(OK, last=False) + b"".join(data(piece, last=False) for piece in pieces) + data(b"")
    (event,) = fileinfo(PREFACE + Speaker().headers(GET), to_client(answer))
    assert event["fileinfo"]["size"] == len(content)
    assert event["fileinfo"]["state"] == "CLOSED"
    assert event["fileinfo"]["filename"] == "/a"
    assert event["http"]["status"] == 200
    assert event["app_proto"] == "http2"


def test_a_coded_body_is_the_file_that_comes_of_it() -> None:
    answer = Speaker().headers([*OK, ("content-encoding", "gzip")], last=False) + data(gzip.compress(b"content"))
    (event,) = fileinfo(PREFACE + Speaker().headers(GET), to_client(answer))
    assert (event["fileinfo"]["size"], event["fileinfo"]["state"]) == (7, "CLOSED")


def test_files_of_a_request_have_the_answer_beside_them() -> None:
    said = Speaker().headers(POST, last=False) + data(b"upload")
    (event,) = fileinfo(PREFACE + said, to_client(Speaker().headers([(":status", "403")])))
    assert (event["fileinfo"]["size"], event["http"]["status"]) == (6, 403)


def test_parts_of_a_form_are_files() -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="%b"\r\n\r\n%b\r\n'
    form = body % (b"one.txt", b"first") + body % (b"two.txt", b"second") + b"--x--\r\n"
    said = Speaker().headers([*POST, ("content-type", "multipart/form-data; boundary=x")], last=False) + data(form)
    events = fileinfo(PREFACE + said, to_client(Speaker().headers(OK)))
    assert [event["fileinfo"]["filename"] for event in events] == ["one.txt", "two.txt"]


@pytest.mark.parametrize("size", [100, 200_000])
def test_rules_ask_for_the_digest_of_a_file(tmp_path: Any, size: int) -> None:
    import hashlib

    content = b"a" * size
    (tmp_path / "known.md5").write_text(hashlib.md5(content).hexdigest() + "\n")
    found = session(tmp_path, f"http2 {ANY}|filemd5:known.md5;")
    pieces = [content[at : at + 16000] for at in range(0, len(content), 16000)]
    answer = Speaker().headers(OK, last=False) + b"".join(data(piece, last=False) for piece in pieces) + data(b"")
    found.tcp(PREFACE + Speaker().headers(GET), to_client(answer))
    assert found.sids == [1]


def test_a_file_that_ends_early_is_said_to() -> None:
    answer = Speaker().headers(OK, last=False) + data(b"begun", last=False) + reset(2, 1)
    (event,) = fileinfo(PREFACE + Speaker().headers(GET), to_client(answer))
    assert (event["fileinfo"]["size"], event["fileinfo"]["state"]) == (5, "TRUNCATED")


def test_each_header_is_an_instance() -> None:
    (found,) = sent(Speaker().headers([*GET, ("x", "y")])).seen
    assert found.instances("http.request_header")[0] == b":method: GET"
    assert found.instances("http.request_header")[-1] == b"x: y"
    assert found.instances("http.response_header") == ()


def test_what_a_stream_keeps_of_frames_is_bounded() -> None:
    client = Speaker()
    block = b"\x20" * 60 + client.block(GET)
    wire = sent(frame(HEADERS, block, END_HEADERS, 1) * 400 + frame(SETTINGS, b"\0\4\0\0\0\1" * 50, 0, 1) * 400)
    (talk,) = wire.stage._talks.by_id.values()
    half = talk.parser._streams[1].halves[CLIENT]  # type: ignore[union-attr]
    assert (len(half.sizes), len(half.settings)) == (64, 64)
    assert len(half.entries) == 8192
    assert max(len(found.instances("http2.size_update")) for found in wire.all) == 64
