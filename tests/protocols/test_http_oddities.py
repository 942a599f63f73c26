"""What is odd about the head of an HTTP/1 message, in both lanes alike."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest

from ids import inspection
from ids.protocols import BY_NAME, ODDITIES
from ids.testing import Session, to_client
from plugins.rules import Rules
from tests.protocols.wire import CLIENT, SERVER, Wire, request

GET = b"GET / HTTP/1.1"
HOST = b"Host: www.example.com"
CHUNKED = b"HTTP/1.%s 200 OK\r\nTransfer-Encoding: %s\r\n\r\n0\r\n\r\n"
TEXT = b"hello, hello, hello"
GZIP = gzip.compress(TEXT, mtime=0)
DEFLATE = zlib.compress(TEXT)[2:-4]


def answer(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join((first, *lines, b"Content-Length: %d" % len(body), b"", body))


def odd_of(data: bytes, *, lane: bool = True, of_server: bool = False) -> set[str]:
    wire = Wire(ordinary_lane=lane)
    if of_server:
        wire.client(request(GET, HOST)).server(data).close()
    else:
        wire.client(data).close()
    side = SERVER if of_server else CLIENT
    found = {one.decode() for tx in wire.all if tx.direction is side for one in tx.instances("app-layer-event")}
    assert found <= ODDITIES
    return {name.removeprefix("http.") for name in found}


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (request(GET, HOST), set()),
        (request(b"GET / HTTP/1.0"), set()),
        (request(GET), {"missing_host_header"}),
        (request(GET, HOST, b"Authorization: Bearer x"), set()),
        (request(GET, HOST, b"Authorization: basic eDp5"), set()),
        (request(GET, HOST, b"Authorization: Foo x"), {"request_auth_unrecognized"}),
        (request(GET, b"Host: [::1]:8080"), set()),
        (request(GET, b"Host: a b"), {"request_header_host_invalid"}),
        (request(GET, b"Host: " + b"a" * 64), {"request_header_host_invalid"}),
        (request(b"GET http://www.example.com/ HTTP/1.1", HOST), set()),
        (request(b"GET http://other.example/ HTTP/1.1", HOST), {"host_header_ambiguous"}),
        (request(GET, HOST, b"Host: other"), {"host_header_ambiguous"}),
        (request(GET, HOST, *[b"X: 1"] * 65), set()),
        (request(GET, HOST, *[b"X: 1"] * 66), {"request_header_repetition"}),
        (request(b"GET /%252e HTTP/1.1", HOST), {"double_encoded_uri"}),
        (request(b"GET\t/ HTTP/1.1", HOST), {"method_delim_non_compliant"}),
        (request(GET, HOST, b"no colon"), {"request_field_missing_colon"}),
        (request(b"POST / HTTP/1.1", HOST, b"Content-Length: 1", b"Content-Length: 1", body=b"x"),
         set()),
        (request(b"POST / HTTP/1.1", HOST, b"Content-Length: 1", b"Content-Length: 2", body=b"xx"),
         {"duplicate_content_length_field_in_request", "request_body_unexpected"}),
        (request(b"POST / HTTP/1.1", HOST, b"Content-Length: 1x", body=b"x"),
         {"invalid_content_length_field_in_request"}),
        (request(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), set()),
        (request(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: identity"),
         {"invalid_transfer_encoding_value_in_request"}),
        (request(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: xchunked"),
         {"invalid_transfer_encoding_value_in_request"}),
        (request(b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
         {"length_and_chunked"}),
        (request(GET, HOST, b": x"), {"request_header_invalid"}),
        (request(GET, HOST, b"A b: x"), {"request_header_invalid"}),
        (request(GET, HOST, b"A : x"), {"request_header_invalid"}),
        (request(GET, HOST, b"A[]: x"), {"request_header_invalid"}),
        (request(GET, HOST, b"A", b" : x"), {"request_header_invalid"}),
        (request(GET, HOST, b"A: x\ry"), set()),
        (request(GET, HOST, b"\0A: x"), {"request_header_host_invalid"}),
        (request(GET, HOST, b"A\0b: x"), {"request_field_missing_colon"}),
        (request(GET, b" folded: x", HOST), {"invalid_request_field_folding"}),
        (request(GET, HOST, b"X: " + b"a" * 15_000), set()),
        (request(GET, HOST, b"X: " + b"a" * 19_000), {"request_field_too_long"}),
        (request(GET, HOST, b"X: " + b"a" * 10_000 + b"\r\n " + b"a" * 10_000), {"request_field_too_long"}),
        (request(GET, HOST, *(b"X%d: " % n + b"a" * 6000 for n in range(4))), set()),
        (request(GET, HOST, b"A: x", b" folded"), set()),
        (request(GET, HOST, *(b"X%d: 1" % i for i in range(1025))), {"request_too_many_headers"}),
        (request(GET, b"Host: a.example:x"), {"request_header_host_invalid"}),
        (request(GET, b"Host: a.example:65536"), {"request_header_host_invalid"}),
        (request(GET, b"Host: a.example:65535"), set()),
        (request(b"CONNECT a.example:x HTTP/1.1", b"Host: a.example"), {"request_uri_host_invalid"}),
        (request(b"GET /\tHTTP/1.1", HOST), {"uri_delim_non_compliant"}),
        (request(b"GET /a\x0cb HTTP/1.1", HOST), {"uri_delim_non_compliant"}),
        (request(b" GET / HTTP/1.1", HOST), {"request_line_leading_whitespace"}),
        (request(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: chunked", body=b"zz\r\n"),
         {"invalid_request_chunk_len"}),
        (request(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: chunked", body=b"1;a=b\r\nx\r\n0\r\n\r\n"),
         {"request_chunk_extension"}),
    ],
)  # fmt: skip
def test_requests(data: bytes, expected: set[str], lane: bool) -> None:
    assert odd_of(data, lane=lane) == expected


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (answer(b"Set-Cookie: a=1", b"Set-Cookie: b=2"), set()),
        (answer(first=b"HTTP/1.1 999 OK"), set()),
        (answer(first=b"HTTP/1.1 1000 OK"), {"response_invalid_status"}),
        (answer(first=b"HTTP/1.1 099 OK"), {"response_invalid_status"}),
        (answer(first=b"HTTP/1.1 0204 OK"), set()),
        (answer(*[b"X: 1"] * 65), set()),
        (answer(*[b"X: 1"] * 66), {"response_header_repetition"}),
        (answer(b"what"), {"response_field_missing_colon"}),
        (answer(b"A: x\ry"), {"response_field_missing_colon"}),
        (answer(b"A\0b: x"), {"response_header_invalid"}),
        (answer(b"A : x"), {"response_header_invalid"}),
        (answer(b"A", b" : x"), {"response_header_invalid"}),
        (answer(b"A: x", b" y"), set()),
        (answer(b"A: x", b" B: y"), {"invalid_response_field_folding"}),
        (answer(b"A: x", b" B: y", first=b"HTTP/1.0 200 OK"), set()),
        (answer(first=b"HTTP/1.1 200 OK\r\n A: x"), {"invalid_response_field_folding"}),
        (answer(b"Content-Encoding: foo", body=b"ok"), {"abnormal_ce_header"}),
        (answer(b"Content-Encoding: identity", body=b"ok"), {"abnormal_ce_header"}),
        (answer(b"Content-Encoding: none", body=b"ok"), set()),
        (answer(b"Content-Encoding: \x0bgzip", body=GZIP), {"abnormal_ce_header"}),
        (answer(b"Content-Encoding:", b" gzip", body=GZIP), set()),
        (answer(b"Content-Encoding: br, gzip, deflate"), {"abnormal_ce_header", "too_many_encoding_layers"}),
        (answer(b"Content-Length: 1"), {"duplicate_content_length_field_in_response"}),
        (answer(b"Content-Length: 0"), set()),
        (answer(b"Content-Length: x0"), set()),
        (answer(b"Content-Length: x"), {"invalid_content_length_field_in_response"}),
        (CHUNKED % (b"1", b"xchunked"), {"response_abnormal_transfer_encoding"}),
        (CHUNKED % (b"1", b"chunked, gzip"), {"response_abnormal_transfer_encoding"}),
        (CHUNKED % (b"1", b"chu\0nked"), {"response_abnormal_transfer_encoding"}),
        (CHUNKED % (b"1", b"gzip"), set()),
        (CHUNKED % (b"1", b"other"), {"invalid_transfer_encoding_value_in_response"}),
        (CHUNKED % (b"0", b"chunked"), {"response_chunked_old_proto"}),
        (CHUNKED % (b"10", b"chunked"), {"response_chunked_old_proto", "response_invalid_protocol"}),
        (answer(first=b"HTTP/3.7 200 OK"), {"response_invalid_protocol"}),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\nContent-Range: bytes a-b/c\r\n\r\n", {"range_invalid"}),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\nContent-Range: bytes 0-1/2\r\n\r\n", set()),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\nContent-Range: bytes 5-2/10\r\n\r\n", {"range_invalid"}),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\nContent-Range: bytes 0-1/1\r\n\r\n", {"range_invalid"}),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\nContent-Range: bytes=0-1/5\r\n\r\n", {"range_invalid"}),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\nContent-Range: lines 0-1/5\r\n\r\n", set()),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\nContent-Range: bytes */5\r\n\r\n", set()),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", {"invalid_response_chunk_len"}),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno end of a line", {"invalid_response_chunk_len"}),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1; x\r\na\r\n0\r\n\r\n", {"request_chunk_extension"}),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
         {"100_continue_already_seen"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * 2, {"unable_to_match_response_to_request"}),
    ],
)  # fmt: skip
def test_responses(data: bytes, expected: set[str], lane: bool) -> None:
    assert odd_of(data, lane=lane, of_server=True) == expected


def test_a_rule_asks_for_one_of_several(tmp_path: Path) -> None:
    path = tmp_path / "r.rules"
    path.write_text(
        "".join(
            f"alert http any any -> any any (app-layer-event:http.{name}; sid:{n};)\n"
            for n, name in enumerate(BY_NAME["http"].oddities, 1)
        )
    )
    found = Session(f"rules.paths=[{path}]", rules=Rules())
    found.tcp(request(b"GET /%252e HTTP/1.1", b"Authorization: Foo x"))
    names = [BY_NAME["http"].oddities[sid - 1] for sid in found.sids]
    assert sorted(names) == ["double_encoded_uri", "missing_host_header", "request_auth_unrecognized"]


def test_what_is_odd_is_of_the_exchange_and_a_rule_on_either_side_hears_of_it(tmp_path: Path) -> None:
    """Suricata keeps it with the transaction: its own rules look for odd codings of responses with `to_server`."""
    path = tmp_path / "r.rules"
    header = "any any -> any 80"
    path.write_text(
        f"alert http {header} (flow:to_server; app-layer-event:http.abnormal_ce_header; sid:1;)\n"
        "alert http any 80 -> any any (flow:to_client; app-layer-event:http.missing_host_header; sid:2;)\n"
        "alert http any 80 -> any any (flow:to_server; app-layer-event:http.missing_host_header; sid:3;)\n"
    )
    found = Session(f"rules.paths=[{path}]", rules=Rules())
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: foo\r\n\r\nok"
    found.tcp(request(GET), to_client(answer))
    assert sorted((alert["alert"]["signature_id"], alert["direction"]) for alert in found.alerts) == [
        (1, "to_server"),
        (2, "to_client"),
    ]


@pytest.mark.parametrize(
    ("request_", "answer", "events"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", []),
        (
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            ["REQUEST_HEADER_INVALID", "DUPLICATE_CONTENT_LENGTH_FIELD_IN_RESPONSE"],
        ),
        (b"GET / HTTP/1.1\r\n\r\n", answer(), ["MISSING_HOST_HEADER"]),
        (b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Foo x\r\n\r\n", answer(), ["REQUEST_AUTH_UNRECOGNIZED"]),
        (b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n", answer(), []),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: x\ry\r\n\r\n", answer(), []),
        (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ["UNABLE_TO_MATCH_RESPONSE_TO_REQUEST"]),
    ],
)
def test_what_is_odd_is_an_event(request_: bytes, answer: bytes, events: list[str]) -> None:
    played = Session()
    played.tcp(*([request_] if request_ else []), to_client(answer))
    said = [event["anomaly"] for event in played.events if event["event_type"] == "anomaly"]
    assert [anomaly["event"] for anomaly in said] == events
    assert all((anomaly["app_proto"], anomaly["layer"]) == ("http", "proto_parser") for anomaly in said)


def test_of_a_batch_so_many_oddities_are_written_and_exactly_the_others_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Messages that took the careful lane and are not odd use up none of them."""
    monkeypatch.setattr(inspection, "MAX_ODD", 2)
    careful = request(GET, HOST, b"X-Folded: a\r\n b")
    odd = request(GET, b"Host : a")
    played = Session()
    played.tcp(careful * 3 + odd * 5, to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 8))
    said = [event["anomaly"]["event"] for event in played.events if event["event_type"] == "anomaly"]
    assert said == ["REQUEST_HEADER_INVALID"] * 2
    assert played.counters["app_layer.anomalies_not_written"] == 3


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
@pytest.mark.parametrize(
    ("body", "gzip_fails", "deflate_fails"),
    [
        (GZIP, False, True),
        (DEFLATE, True, False),
        (zlib.compress(TEXT), False, True),
        (TEXT, True, True),
        (b"", False, False),
        (GZIP[:-4], False, True),
        (GZIP + b"more", False, True),
        (GZIP[:-8] + b"1234" + GZIP[-4:], True, True),
        (GZIP[:-4] + b"1234", True, True),
        (GZIP[:2] + b"\x07" + GZIP[3:], True, True),
        (GZIP[:3] + b"\x40" + GZIP[4:], True, True),
        (GZIP[:3] + b"\x02" + GZIP[4:10] + b"ab" + GZIP[10:], True, True),
        (gzip.compress(b"a" * 300_000, mtime=0), False, True),
    ],
)
def test_a_body_that_is_not_what_its_coding_says(
    coding: bytes, body: bytes, gzip_fails: bool, deflate_fails: bool
) -> None:
    """Also where it can be read all the same, as Suricata has it: a wrong checksum or length, a flag without a meaning,
    deflate within zlib."""
    found = odd_of(answer(b"Content-Encoding: " + coding, body=body), of_server=True)
    assert found == ({"gzip_decompression_failed"} if (gzip_fails if coding == b"gzip" else deflate_fails) else set())


@pytest.mark.parametrize(
    ("first", "event"),
    [
        (b"HTTP/1.0 200 OK", None),
        (b"http/1.1 200 OK", None),
        (b"\r\nHTTP/1.1 200 OK", "ONLY_ONE_DIRECTION"),
        (b"HTTP/2.0 200 OK", "ONLY_ONE_DIRECTION"),
        (b"no HTTP at all", "ONLY_ONE_DIRECTION"),
        (b"SSH-2.0-OpenSSH_9.2", "BOTH_DIRECTIONS"),
    ],
)
def test_an_answer_that_does_not_begin_as_http_is_an_event(first: bytes, event: str | None) -> None:
    played = Session()
    played.tcp(request(GET, HOST), to_client(answer(first=first)))
    found = [one["anomaly"] for one in played.events if one["event_type"] == "anomaly"]
    names = [one["event"].partition("PROTOCOL_")[2] for one in found if one["layer"] == "proto_detect"]
    assert names == ([event] if event else [])
