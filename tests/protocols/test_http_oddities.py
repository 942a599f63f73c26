"""What is odd about the head of an HTTP/1 message, in both lanes alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids import inspection
from ids.protocols import BY_NAME, ODDITIES
from ids.testing import Session, to_client
from plugins.rules import Rules
from tests.protocols.wire import CLIENT, SERVER, Wire, request

GET = b"GET / HTTP/1.1"
HOST = b"Host: www.example.com"


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
        (request(GET, HOST, b"Host: other"), {"host_header_ambiguous", "request_header_repetition"}),
        (request(b"GET /%252e HTTP/1.1", HOST), {"double_encoded_uri"}),
        (request(b"GET\t/ HTTP/1.1", HOST), {"method_delim_non_compliant"}),
        (request(GET, HOST, b"no colon"), {"request_field_missing_colon"}),
        (request(b"POST / HTTP/1.1", HOST, b"Content-Length: 1", b"Content-Length: 1", body=b"x"),
         {"duplicate_content_length_field_in_request", "request_header_repetition"}),
        (request(b"POST / HTTP/1.1", HOST, b"Content-Length: 1x", body=b"x"),
         {"invalid_content_length_field_in_request"}),
        (request(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: xchunked"),
         {"invalid_transfer_encoding_value_in_request"}),
        (request(b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
         {"length_and_chunked"}),
        (request(GET, HOST, b": x"), {"request_header_invalid"}),
        (request(GET, HOST, b"A b: x"), {"request_header_invalid"}),
        (request(GET, HOST, b"A : x"), {"request_header_invalid"}),
        (request(GET, HOST, b"A\0b: x"), {"request_field_missing_colon"}),
        (request(GET, b" folded: x", HOST), {"invalid_request_field_folding"}),
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
    ],
)  # fmt: skip
def test_requests(data: bytes, expected: set[str], lane: bool) -> None:
    assert odd_of(data, lane=lane) == expected


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n", set()),
        (b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n", {"response_invalid_status"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: 1\r\nX: 2\r\n\r\n", {"response_header_repetition"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nwhat\r\n\r\n", {"response_field_missing_colon"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA\0b: x\r\n\r\n", {"response_header_invalid"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: foo\r\n\r\nok", {"abnormal_ce_header"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\nok", {"gzip_decompression_failed"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Encoding: br, gzip, deflate\r\n\r\n",
         {"too_many_encoding_layers"}),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", {"response_abnormal_transfer_encoding"}),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {"response_chunked_old_proto"}),
        (b"HTTP/3.7 200 OK\r\nContent-Length: 0\r\n\r\n", {"response_invalid_protocol"}),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\nContent-Range: bytes a-b/c\r\n\r\n", {"range_invalid"}),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\nContent-Range: bytes 0-1/2\r\n\r\n", set()),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", {"invalid_response_chunk_len"}),
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
            ["REQUEST_HEADER_INVALID", "RESPONSE_HEADER_REPETITION", "DUPLICATE_CONTENT_LENGTH_FIELD_IN_RESPONSE"],
        ),
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
