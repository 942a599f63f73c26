"""HTTP/1: whatever a server would understand becomes buffers, however the streams are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.http.uri import further_body, further_forms, normalise, split_target
from ids.protocols.sides import MISMATCH, ONE_DIRECTION
from ids.types import Transactions
from tests.cost import LINEAR, growth
from tests.protocols.wire import CLIENT, OK, SERVER, Wire, chunked, only_request, request, uris
from tests.shared import shared


def test_a_request_and_its_response() -> None:
    wire = Wire().client(
        b"GET /a%20b/../c//d?q=%41 HTTP/1.1\r\nHost: Example.COM:8080\r\nUser-Agent: curl\r\nCookie: s=1\r\n"
        b"Referer: http://r/\r\n\r\n"
    )
    wire.server(b"HTTP/1.1 302 Found\r\nServer: x\r\nLocation: /new\r\nContent-Type: text/html; a=b\r\n"
                b"Set-Cookie: t=2\r\nContent-Length: 5\r\n\r\nhello")  # fmt: skip
    asked, answered = wire.seen
    assert asked.buffers == {
        "http.request_line": b"GET /a%20b/../c//d?q=%41 HTTP/1.1",
        "http.method": b"GET",
        "http.uri.raw": b"/a%20b/../c//d?q=%41",
        "http.uri": b"/c/d?q=A",
        "http.protocol": b"HTTP/1.1",
        "http.host": b"example.com",
        "http.host.raw": b"Example.COM:8080",
        "http.user_agent": b"curl",
        "http.referer": b"http://r/",
        "http.cookie": b"s=1",
        "http.header": b"Host: Example.COM:8080\r\nUser-Agent: curl\r\nReferer: http://r/\r\n",
        "http.header.raw": b"Host: Example.COM:8080\r\nUser-Agent: curl\r\nCookie: s=1\r\nReferer: http://r/\r\n\r\n",
        "http.header_names": b"\r\nHost\r\nUser-Agent\r\nCookie\r\nReferer\r\n\r\n",
        "http.start": b"GET /a%20b/../c//d?q=%41 HTTP/1.1\r\nHost: Example.COM:8080\r\nUser-Agent: curl\r\n"
        b"Cookie: s=1\r\nReferer: http://r/\r\n\r\n",
    }
    assert list(asked.instances("http.request_header")) == [
        b"Host: Example.COM:8080", b"User-Agent: curl", b"Cookie: s=1", b"Referer: http://r/",
    ]  # fmt: skip
    assert not asked.instances("http.response_header")
    assert list(answered.instances("http.response_header"))[:2] == [b"Server: x", b"Location: /new"]
    rows, lines = Transactions(wire.seen).column("http.request_header")
    assert (rows, lines) == ([0] * 4, list(asked.instances("http.request_header")))
    assert answered.buffers["http.stat_code"] == b"302"
    assert answered.buffers["http.stat_msg"] == b"Found"
    assert answered.buffers["http.response_line"] == b"HTTP/1.1 302 Found"
    assert answered.buffers["http.cookie"] == b"t=2"
    assert answered.buffers["file.data"] == answered.buffers["http.response_body"] == b"hello"
    assert answered.fields == {
        "hostname": "example.com", "http_port": 8080, "url": "/a%20b/../c//d?q=%41", "http_user_agent": "curl",
        "http_refer": "http://r/", "http_method": "GET", "protocol": "HTTP/1.1", "status": 302, "redirect": "/new",
        "http_content_type": "text/html", "length": 5,
    }  # fmt: skip
    assert (asked.complete, answered.complete) == (False, True)
    assert (asked.tx_id, answered.tx_id) == (0, 0)
    assert wire.flow.app_proto == "http"


def test_fields_are_those_of_eve() -> None:
    schema = json.loads(shared("eve-schema.json").read_text())["properties"]["http"]["properties"]
    wire = Wire().client(request(b"GET / HTTP/1.1", b"Host: a", b"User-Agent: b", b"Referer: c")).server(OK)
    types = {"string": str, "integer": int}
    for name, value in wire.seen[-1].fields.items():
        assert isinstance(value, types[schema[name]["type"]]), name


@pytest.mark.parametrize(
    ("line", "uri"),
    [
        (b"GET /a HTTP/1.1", b"/a"),
        (b"GET   /a   HTTP/1.1", b"/a"),
        (b"GET\t/a\tHTTP/1.1", b"/a"),
        (b"GET /a b HTTP/1.1", b"/a b"),
        (b"GET /a", b"/a"),
        (b"GET http://h/a?b HTTP/1.1", b"/a?b"),
        (b"GET http://h HTTP/1.1", b"/"),
        (b"GET /./a/.././b/. HTTP/1.1", b"/b/"),
        (b"GET /../../etc/passwd HTTP/1.0", b"/etc/passwd"),
        (b"GET /%2e%2e/%2E./etc//passwd HTTP/1.0", b"/etc/passwd"),
        (b"GET \\a\\..\\b HTTP/1.0", b"/b"),
        (b"GET /a\x00b HTTP/1.1", b"/a\x00b"),
        (b"GET /%61%zz%4 HTTP/1.1", b"/a%zz%4"),
        (b"GET /%2561 HTTP/1.1", b"/%61"),
        (b"GET /?a=%2e%2e%2f+b HTTP/1.1", b"/?a=../+b"),
        (b"OPTIONS * HTTP/1.1", b"*"),
        (b"FROB /x HTTP/1.1", b"/x"),
    ],
)
def test_request_targets(line: bytes, uri: bytes) -> None:
    assert only_request(request(line))["http.uri"] == uri


def test_bare_line_feeds_and_leading_empty_lines() -> None:
    buffers = only_request(b"\r\n\nGET / HTTP/1.1\nHost: a\n\n")
    assert buffers["http.host"] == b"a"


@pytest.mark.parametrize(
    ("lines", "header"),
    [
        ([b"X: a", b" b", b"\tc"], b"X: a b c\r\n"),
        ([b"X : a  "], b"X: a\r\n"),
        ([b"X:a", b"x: b"], b"X: a\r\nx: b\r\n"),
        ([b"no colon"], b": no colon\r\n"),
        ([b"X: a\x00b"], b"X: a\x00b\r\n"),
        ([b"X:"], b"X: \r\n"),
    ],
)
def test_odd_headers(lines: list[bytes], header: bytes) -> None:
    assert only_request(request(b"GET / HTTP/1.1", *lines))["http.header"] == header


@pytest.mark.parametrize(
    ("lines", "headers"),
    [
        ([b"X-Two:  one ", b"Y:", b"x-two: two"], [b"X-Two: one, two", b"Y: "]),
        ([b"Fold: a", b" b"], [b"Fold: a b"]),
        ([b"no colon"], [b": no colon"]),
        ([], []),
    ],
)
def test_each_header_by_itself_and_those_of_one_name_together(lines: list[bytes], headers: list[bytes]) -> None:
    wire = Wire().client(request(b"GET / HTTP/1.1", *lines))
    (asked,) = wire.seen
    assert list(asked.instances("http.request_header")) == headers
    assert asked.buffers["http.start"] == b"\r\n".join([b"GET / HTTP/1.1", *headers, b"\r\n" if headers else b""])


def test_http_0_9_is_reported_when_the_server_answers_or_the_client_closes() -> None:
    wire = Wire().client(b"GET /old\r\n")
    assert wire.seen == []
    wire.server(b"HTTP/1.0 200 OK\r\n\r\nx")
    assert wire.seen[0].buffers["http.uri"] == b"/old"
    assert Wire().client(b"GET /old\r\n", closed=True).seen[0].buffers["http.uri"] == b"/old"


def test_pipelined_requests_pair_up_in_order() -> None:
    wire = Wire().client(request(b"GET /1 HTTP/1.1") + request(b"HEAD /2 HTTP/1.1") + request(b"GET /3 HTTP/1.1"))
    wire.server(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + OK)
    done = [transaction for transaction in wire.seen if transaction.complete]
    assert [transaction.fields["url"] for transaction in done] == ["/1", "/2", "/3"]
    assert [transaction.fields["length"] for transaction in done] == [2, 0, 2]


def test_interim_responses_are_not_the_answer() -> None:
    wire = Wire().client(request(b"POST / HTTP/1.1", b"Content-Length: 1", body=b"x"))
    wire.server(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert wire.seen[-1].fields["status"] == 200


PROXY_HEADERS = [
    b"PROXY TCP4 192.0.2.1 203.0.113.1 40000 80\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 80\n",
    b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c" + bytes(12),
    b"\r\n\r\n\0\r\nQUIT\n \0\0\0",
    b"\r\n\r\n\0\r\nQUIT\n!!\0\x5c" + b"\r\n" * 46,
]


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("header", PROXY_HEADERS)
def test_what_a_proxy_says_of_the_client_hides_no_request(header: bytes, step: int) -> None:
    wire = Wire().client(header + request(b"GET /x HTTP/1.1", b"Host: a"), step=step)
    assert wire.flow.app_proto == "http"
    assert [(found.buffers["http.uri"], found.buffers["http.host"]) for found in wire.seen] == [(b"/x", b"a")]
    assert wire.counters["http.proxy_header"] == 1


@pytest.mark.parametrize(
    "first",
    [
        b"PROXY TCP4 " + b"x" * 200 + b"\r\n",
        b"\r\n\r\n\0\r\nQUIT\n!\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x60 x\r\nGET /x HTTP/1.1\r\n\r\n",
    ],
)
def test_what_only_looks_like_a_proxy_hides_no_request_either(first: bytes) -> None:
    """A server that does not know of proxies reads lines."""
    wire = Wire().client(request()).client(first + b"\r\n\r\n" + request(b"GET /next HTTP/1.1") + request())
    assert b"/next" in uris(wire)
    assert b"GET /x " not in first or any(b"GET /x" in found.buffers.get("http.header.raw", b"") for found in wire.seen)


def test_connect_becomes_a_tunnel() -> None:
    wire = Wire().client(request(b"CONNECT h:443 HTTP/1.1")).server(b"HTTP/1.1 200 OK\r\n\r\n")
    assert wire.seen[0].buffers["http.host"] == b"h"
    before = len(wire.seen)
    wire.client(b"\x16\x03\x01").server(b"\x16\x03\x01").close()
    assert len(wire.seen) == before == 2


@pytest.mark.parametrize("step", [0, 1, 7])
def test_a_gap_within_a_body_shortens_it(step: int) -> None:
    wire = Wire().client(request(b"POST / HTTP/1.1", b"Content-Length: 20", body=b"a" * 5), step=step)
    wire.client(b"b" * 5 + request(b"GET /next HTTP/1.1"), gap=10)
    assert wire.seen[0].buffers["http.request_body"] == b"aaaaabbbbb"
    assert wire.seen[1].buffers["http.uri"] == b"/next"


def test_after_a_gap_the_next_request_is_found() -> None:
    wire = Wire().client(b"GET /broken HTTP/1.1\r\nHos").client(b"ken: x\r\n\r\nGET /next HTTP/1.1\r\n\r\n", gap=9)
    assert [transaction.buffers["http.uri"] for transaction in wire.seen] == [b"/broken", b"/next"]


def test_after_a_gap_the_next_response_is_found() -> None:
    wire = Wire().client(request() * 2).server(b"HTTP/1.1 200 OK\r\nContent-Le")
    wire.server(b"n: 3\r\n\r\nabc\r\n" + OK, gap=4)
    assert [transaction.fields["status"] for transaction in wire.seen if transaction.complete] == [200, 200]


def test_multipart_uploads_are_files() -> None:
    body = (b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nfield\r\n"
            b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.php\"\r\nContent-Type: y\r\n\r\n<?php\r\n"
            b"--B--\r\n")  # fmt: skip
    buffers = only_request(request(
        b"POST / HTTP/1.1", b"Content-Type: multipart/form-data; boundary=B", b"Content-Length: %d" % len(body),
        body=body,
    ))  # fmt: skip
    assert buffers["file.name"] == b"x.php"
    assert buffers["file.data"] == b"<?php"
    assert buffers["http.request_body"] == body


def test_put_is_a_file_named_by_the_path_of_its_target() -> None:
    buffers = only_request(request(b"PUT /up/shell.jsp?x HTTP/1.1", b"Content-Length: 1", body=b"j"))
    assert (buffers["file.name"], buffers["file.data"]) == (b"/up/shell.jsp", b"j")


EXCHANGES = st.lists(
    st.sampled_from([
        (request(b"GET /a HTTP/1.1", b"Host: h"), OK),
        (request(b"POST /b HTTP/1.1", b"Content-Length: 5", body=b"hello"), OK),
        (request(b"POST /c HTTP/1.1", b"Transfer-Encoding: chunked", body=chunked([b"ab", b"c"])), OK),
        (b"\r\n\nGET /lf HTTP/1.0\nX: 1\n 2\n\n", b"HTTP/1.1 204 None\n\n"),
        (request(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked([b"x" * 30, b"\r\n0\r\n"])),
        (request(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbroken"),
        (request(b"HEAD / HTTP/1.1"), b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        (b"JUNK\r\nno colon\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n"),
    ]),
    min_size=1,
    max_size=4,
)  # fmt: skip


@given(EXCHANGES, st.integers(1, 40), st.integers(1, 40))
def test_any_cut_gives_the_same_transactions(exchanges: list[tuple[bytes, bytes]], up: int, down: int) -> None:
    asked = request(b"GET /first HTTP/1.1") + b"".join(pair[0] for pair in exchanges)
    answered = OK + b"".join(pair[1] for pair in exchanges)
    whole = Wire().client(asked).server(answered).close()
    cut = Wire().client(asked, step=up).server(answered, step=down).close()
    assert cut.what() == whole.what()
    assert cut.counters.values == whole.counters.values


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=30), st.integers(0, 3)), max_size=10))
def test_no_bytes_make_the_parser_fail(pieces: list[tuple[bool, bytes, int]]) -> None:
    wire = Wire(header_bytes=1024).client(b"GET / HTTP/1.1\r\n").server(b"HTTP/1.1 200")
    for back, data, gap in pieces:
        wire.send(SERVER if back else CLIENT, data, gap=gap)
    wire.close()
    assert wire.counters["app_layer.error.http.internal"] == 0


TOKENS = st.sampled_from([
    b"GET / HTTP/1.1", b"HTTP/1.1 200 OK", b"\r\n", b"\n", b"\r\n\r\n", b"Transfer-Encoding: chunked", b"0",
    b"5\r\nhello\r\n", b"Content-Length: 3", b"Content-Encoding: gzip", b" ", b":", b"\0", b"CONNECT h:1 HTTP/1.1",
    b"HTTP/1.1 101 S", b"abc", b"\r", b"\t",
])  # fmt: skip


@given(st.lists(TOKENS, max_size=30), st.lists(TOKENS, max_size=30), st.integers(1, 9))
def test_grammar_soup_never_fails_and_is_cut_alike(up: list[bytes], down: list[bytes], step: int) -> None:
    asked, answered = b"GET / HTTP/1.1\r\n" + b"".join(up), b"HTTP/1.1 200 OK\r\n" + b"".join(down)
    whole = Wire().client(asked).server(answered).close()
    cut = Wire().client(asked, step=step).server(answered, step=step).close()
    assert whole.counters["app_layer.error.http.internal"] == 0
    found, expected = (
        [
            repr((t.tx_id, t.direction, sorted(t.buffers.items()), sorted(t.fields.items()), t.complete))
            for t in wire.seen
        ]
        for wire in (cut, whole)
    )
    assert sorted(found) == sorted(expected), "a body that is read in two ways may end later"


@pytest.mark.parametrize(
    ("target", "forms"),
    [
        (b"/shop?size=100g", []),
        (b"/shop?q=a%20b", []),
        (b"/shop/%74ea", []),
        (b"/%252e%252e/x", [b"/../x", b"/x"]),
        (b"/a/%2e%2e/b", [b"/a/../b"]),
        (b"/a/../b", [b"/a/../b"]),
        (b"/a?f=..//..//.//etc", [b"/a?f=../../etc"]),
        (b"/a?f=/./etc/./passwd", [b"/a?f=/etc/passwd"]),
        (b"/a?f=..%5cetc", [b"/a?f=../etc"]),
        (b"/a?f=%25255c", [b"/a?f=/"]),
        (b"/a?f=%u002e%U002F", [b"/a?f=./"]),
        (b"/a?f=%uff0f", [b"/a?f=/"]),
        (b"/a?f=%u4e2d", []),
        (b"/a?f=%c0%ae%c0%af%e0%80%af", [b"/a?f=./"]),
        (b"/a?b#c", [b"/a?b"]),
        (b"/a.php%00.html?a=%00b", [b"/a.php?a=b"]),
        (b"http://h/a%2561", [b"/aa"]),
        (b"http://h//a", []),
    ],
)
@pytest.mark.parametrize("ordinary_lane", [False, True])
def test_further_forms_of_a_target(target: bytes, forms: list[bytes], ordinary_lane: bool) -> None:
    """What an application or an odd server makes of it, beside the form that every server does."""
    (asked,) = Wire(ordinary_lane=ordinary_lane).client(request(b"GET %s HTTP/1.1" % target, b"Host: a")).seen
    assert list(asked.instances("http.uri")[1:]) == forms


@pytest.mark.parametrize(
    ("body", "forms"),
    [
        (b"a=b+c", []),
        (b"a=%27+or", [b"a=' or"]),
        (b"100%", []),
        (b"%24%7bjndi", [b"${jndi"]),
        (rb'{"a": "\u0024\u007bjndi\u4e2d"}', [rb'{"a": "${jndi\u4e2d"}']),
    ],
)
@pytest.mark.parametrize("ordinary_lane", [False, True])
def test_a_body_with_percent_encoding_is_seen_without_as_well(
    body: bytes, forms: list[bytes], ordinary_lane: bool
) -> None:
    asked = request(b"POST / HTTP/1.1", b"Content-Length: %d" % len(body), body=body)
    (seen,) = Wire(ordinary_lane=ordinary_lane).client(asked).seen
    assert list(seen.instances("http.request_body")) == [body, *forms]


@given(st.binary(max_size=80) | st.text("%u0feE2cC./\\#a", max_size=60).map(str.encode))
def test_further_forms_are_few_and_settle(target: bytes) -> None:
    """No bytes make it fail; what comes out is other than what is there already."""
    first = normalise(split_target(target)[1])
    forms = further_forms(target)
    assert len(forms) <= 2
    assert first not in forms
    assert len(set(forms)) == len(forms)
    assert all(b"\0" not in form and b"#" not in form.partition(b"%")[0] for form in forms)


def test_many_encoded_bytes_cost_linear_time() -> None:
    assert growth(lambda n: further_forms(b"/" + b"%25" * 4 * n + b"%c0%ae" * n + b"/./" * 2 * n), 5000) < LINEAR
    assert growth(lambda n: further_body(b"%41" * n), 25_000) < LINEAR


def answered(*pieces: bytes) -> Wire:
    wire = Wire()
    wire.stage.files.want(None, logged=True)
    wire.client(request(b"GET /old HTTP/1.1"))
    for piece in pieces:
        wire.server(piece)
    return wire


@pytest.mark.parametrize("step", [1, 5, 100])
def test_an_answer_without_a_status_line_is_a_body(step: int) -> None:
    said = b"<html>evil</html>\n\nmore of it\n"
    wire = answered(*(said[at : at + step] for at in range(0, len(said), step))).close()
    body = [found.buffers["http.response_body"] for found in wire.seen if "http.response_body" in found.buffers]
    assert body[-1] == said
    (event,) = [dict(found.fields) for found in wire.seen if found.complete]
    assert (event["url"], event["length"], "status" in event) == ("/old", len(said), False)
    (file,) = wire.stage.files.take()[0]
    assert (file.name, file.content) == (b"/old", said)


def test_where_a_response_follows_that_is_the_answer() -> None:
    wire = answered(b"a banner\r\nof evil\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").close()
    bodies = [found.buffers["http.response_body"] for found in wire.all if "http.response_body" in found.buffers]
    assert (b"a banner\r\nof evil\r\n" in bodies, bodies[-1]) == (True, b"abc")
    (event,) = [dict(found.fields) for found in wire.seen if found.complete]
    assert (event["url"], event["status"], event["length"]) == ("/old", 200, 3)


@pytest.mark.parametrize(
    ("said", "events"),
    [(b"SSH-2.0-OpenSSH_9.2\r\n", [MISMATCH]), (b"any other words\r\n", [ONE_DIRECTION]), (OK, [])],
)
def test_a_server_that_begins_in_another_protocol_or_in_none_is_noted(said: bytes, events: list[bytes]) -> None:
    assert answered(said).close().noted == events


def test_what_nobody_asked_for_needs_a_status_line() -> None:
    wire = answered(OK, b"no answer\r\n", OK).close()
    assert [found.fields["status"] for found in wire.seen if found.complete] == [200, 200]
    assert not any(b"no answer" in found.buffers.get("http.response_body", b"") for found in wire.all)


@pytest.mark.parametrize(
    ("settings", "asked", "answered"),
    [
        ({"logged_headers": "both"}, {"Host": "a", "X-Two": "1, 2"}, {"Server": "s", "Content-Length": "0"}),
        ({"logged_headers": "response", "logged_header_names": ("x_two",)}, {"X-Two": "1, 2"},
         {"Server": "s", "Content-Length": "0"}),
        ({"logged_header_names": ("SERVER",)}, None, {"Server": "s"}),
        ({}, None, None),
    ],
)  # fmt: skip
def test_events_list_the_headers_that_are_wanted(settings: dict[str, Any], asked: Any, answered: Any) -> None:
    wire = Wire(**settings).client(b"GET / HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\n\r\n")
    wire.server(b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 0\r\n\r\n")
    event = wire.seen[-1].fields
    for key, expected in (("request_headers", asked), ("response_headers", answered)):
        found = {each["name"]: each["value"] for each in event[key]} if key in event else None
        assert found == expected
