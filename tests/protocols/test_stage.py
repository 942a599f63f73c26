"""The stage gives flows their parsers, takes them away, hands flows over, and keeps all of them apart."""

from __future__ import annotations

import gc
import logging

import numpy as np
import pytest

from ids.counters import Counters
from ids.protocols import PROTOCOLS, Protocols, ProtocolSettings
from ids.protocols.feeding import MAX_HANDOVERS
from ids.types import Datagram, Direction, FlowColumns, StreamChunk, Transaction, Transactions
from tests.factory import NO_DATAGRAMS, T0, make_datagrams, make_flow, make_streams
from tests.protocols.toys import TOY
from tests.protocols.wire import CLIENT, SERVER, Wire, request

TOYS = (TOY, *PROTOCOLS)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
HELLO = b"\x16\x03\x01\x00\x05\x01\x00ell"
ENCRYPTED = frozenset({"tls", "ssh"})


def words(seen: Transactions) -> list[tuple[int, int, bytes]]:
    return [(found.slot, found.tx_id, found.buffers["toy.word"]) for found in seen]


def test_it_needs_only_settings_counters_and_flows() -> None:
    stage = Protocols(ProtocolSettings(), Counters(), FlowColumns(1))
    assert len(stage.feed(make_streams([]), NO_DATAGRAMS)) == 0
    assert stage.opaque(make_streams([]), ENCRYPTED, 0) == []


def test_streams_and_datagrams_come_out_in_the_order_of_their_packets() -> None:
    flows = FlowColumns(4)
    tcp, udp = make_flow(columns=flows), make_flow(columns=flows, proto=17)
    stage = Protocols(ProtocolSettings(), Counters(), flows, protocols=TOYS)
    seen = stage.feed(
        make_streams([StreamChunk(tcp, CLIENT, 0, b"toy 1", T0, 1), StreamChunk(tcp, SERVER, 0, b"4", T0, 4)]),
        make_datagrams([Datagram(udp, CLIENT, b"toy 2", T0, 2), Datagram(udp, SERVER, b"3", T0, 3)]),
    )
    assert words(seen) == [(0, 0, b"toy 1"), (1, 0, b"toy 2"), (1, 1, b"3"), (0, 1, b"4")]
    assert (tcp.app_proto, udp.app_proto) == ("toy", "toy")


def test_datagrams_before_the_one_that_was_recognised_are_not_parsed() -> None:
    flows = FlowColumns(4)
    udp = make_flow(columns=flows, proto=17)
    stage = Protocols(ProtocolSettings(), Counters(), flows, protocols=TOYS)
    rows = [Datagram(udp, CLIENT, data, T0, at) for at, data in enumerate([b"0", b"toy 1", b"2"])]
    assert [word for _, _, word in words(stage.feed(make_streams([]), make_datagrams(rows)))] == [b"toy 1", b"2"]
    later = [Datagram(udp, CLIENT, b"3", T0, 9)]
    assert words(stage.feed(make_streams([]), make_datagrams(later))) == [(0, 2, b"3")]


def test_a_buffer_may_have_several_instances() -> None:
    (found,) = Wire(TOYS).client(b"toy a,b,c").seen
    assert found.instances("toy.word") == (b"toy a", b"b", b"c")
    assert Transactions([found]).column("toy.word") == ([0, 0, 0], [b"toy a", b"b", b"c"])


def test_a_parser_that_fails_costs_its_flow_the_parser_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    flows = FlowColumns(4)
    bad, good = make_flow(columns=flows), make_flow(columns=flows)
    counters = Counters()
    stage = Protocols(ProtocolSettings(), counters, flows, protocols=TOYS)
    seen = stage.feed(
        make_streams([
            StreamChunk(bad, CLIENT, 0, b"toy 1", T0, 1), StreamChunk(good, CLIENT, 0, b"toy 2", T0, 2),
            StreamChunk(bad, SERVER, 0, b"boom", T0, 3), StreamChunk(bad, SERVER, 4, b"lost", T0, 4),
            StreamChunk(good, SERVER, 0, b"3", T0, 5),
        ]), NO_DATAGRAMS,
    )  # fmt: skip
    assert words(seen) == [(0, 0, b"toy 1"), (1, 0, b"toy 2"), (1, 1, b"3")]
    assert counters["app_layer.error.toy.internal"] == counters["toy.released"] == 1
    assert bad.app_proto == "toy"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_datagram_parser_that_fails_is_left_as_well() -> None:
    flows = FlowColumns(4)
    udp = make_flow(columns=flows, proto=17)
    counters = Counters()
    stage = Protocols(ProtocolSettings(), counters, flows, protocols=TOYS)
    rows = [Datagram(udp, CLIENT, data, T0, at) for at, data in enumerate([b"toy boom", b"2"])]
    assert not stage.feed(make_streams([]), make_datagrams(rows))
    assert counters["app_layer.error.toy.internal"] == counters["toy.released"] == 1


def test_a_parser_goes_with_its_flow_and_the_slot_starts_anew() -> None:
    wire = Wire(TOYS).client(b"toy 1")
    flows, slot = wire.flow.columns, wire.flow.slot
    flows.clear(np.array([slot]))
    assert wire.counters["toy.released"] == 1
    flows.id[slot] = 77
    wire.flow = flows.view(slot)
    wire.client(b"GET / HTTP/1.1\r\n\r\n")
    assert (wire.flow.app_proto, wire.seen[-1].tx_id) == ("http", 0)


def test_memory_that_a_connection_holds_is_given_back_when_its_flow_goes() -> None:
    """Else the cap would be reached by flows that are long gone."""
    flows = FlowColumns(4)
    counters = Counters()
    stage = Protocols(ProtocolSettings.model_validate({"http": {"memcap_bytes": 300}}), counters, flows)
    for flow_id in range(1, 20):
        flow = make_flow(columns=flows, id=flow_id)
        stage.feed(make_streams([StreamChunk(flow, CLIENT, 0, request(), T0, 1)]), NO_DATAGRAMS)
        flows.clear(np.array([flow.slot]))
    assert counters["http.memcap"] == 0


@pytest.mark.parametrize(
    "said",
    [
        [(1, b"220 FTP\r\n"), (0, b"USER a\r\n"), (1, b"331 ok\r\n")],
        [(1, b"220 ESMTP\r\n"), (0, b"EHLO a\r\n")],
        [(1, b"SSH-2.0-a\r\n"), (0, b"SSH-2.0-b\r\n")],
        [(0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x08\6\0\0\0\0\0" + bytes(8))],
        [(0, b"\x10\x0d\0\4MQTT\4\2\0\x3c\0\1a")],
    ],
    ids=["ftp", "smtp", "ssh", "http2", "mqtt"],
)
def test_a_flow_that_is_idle_does_not_keep_what_others_said_in_its_last_batch(said: list[tuple[int, bytes]]) -> None:
    """Else every idle flow would hold the transactions of a batch, all of them."""
    flows = FlowColumns(16)
    stage = Protocols(ProtocolSettings(), Counters(), flows)
    idle, other = make_flow(columns=flows), make_flow(columns=flows, sport=7)
    rows = [StreamChunk(idle, tuple(Direction)[side], 0, data, T0, at) for at, (side, data) in enumerate(said)]
    asked = StreamChunk(other, Direction.TO_SERVER, 0, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", T0, 9)
    gc.collect()
    before = sum(isinstance(kept, Transaction) for kept in gc.get_objects())
    found = stage.feed(make_streams([*rows, asked]), NO_DATAGRAMS)
    assert len(found) >= 1
    del found
    gc.collect()
    assert sum(isinstance(kept, Transaction) for kept in gc.get_objects()) <= before


@pytest.mark.parametrize("ordinary_lane", [True, False])
def test_answered_requests_hold_no_memory(ordinary_lane: bool) -> None:
    flows = FlowColumns(8)
    counters = Counters()
    settings = ProtocolSettings.model_validate({"http": {"memcap_bytes": 100}})
    stage = Protocols(settings, counters, flows, ordinary_lane=ordinary_lane)
    for _ in range(8):
        flow = make_flow(columns=flows)
        rows = [StreamChunk(flow, CLIENT, 0, request(), T0, 1), StreamChunk(flow, SERVER, 0, OK, T0, 2)]
        stage.feed(make_streams(rows), NO_DATAGRAMS)
    assert counters["http.memcap"] == 0


# Handing a flow over.


def test_a_parser_hands_its_flow_over() -> None:
    wire = Wire(TOYS).client(b"toy 1overGET /in HTTP/1.1\r\n\r\n").server(OK)
    assert [(found.protocol, found.tx_id) for found in wire.seen] == [("toy", 0), ("http", 1), ("http", 1)]
    assert wire.flow.app_proto == "http"
    assert wire.counters["toy.released"] == 1
    assert wire.counters["app_layer.flow.toy"] == wire.counters["app_layer.flow.http"] == 1


@pytest.mark.parametrize("step", [0, 1, 5])
@pytest.mark.parametrize("ordinary_lane", [True, False])
def test_a_connect_tunnel_is_probed_anew(step: int, ordinary_lane: bool) -> None:
    wire = Wire(ordinary_lane=ordinary_lane).client(request(b"CONNECT h:80 HTTP/1.1"), step=step)
    wire.server(b"HTTP/1.1 200 Connected\r\n\r\n", step=step)
    assert wire.flow.app_proto == "http"
    wire.client(request(b"GET /inner HTTP/1.1"), step=step).server(OK, step=step).close()
    urls = [(found.tx_id, found.complete, found.fields["url"]) for found in wire.seen]
    assert urls == [(0, False, "h:80"), (0, True, "h:80"), (0, False, "/inner"), (0, True, "/inner")]
    assert [found.key for found in wire.seen[1:3]] == [("http", 0, 0), ("http", 1, 0)]  # as in Suricata, yet two
    assert wire.counters["app_layer.flow.http"] == 2


@pytest.mark.parametrize("step", [0, 1, 5])
@pytest.mark.parametrize(
    ("asked", "answered"),
    [(request(b"CONNECT h:443 HTTP/1.1"), b"HTTP/1.1 200 OK\r\n\r\n"), (request(b"GET /up HTTP/1.1"), SWITCH)],
)
def test_tls_after_connect_or_an_upgrade_is_recognised(asked: bytes, answered: bytes, step: int) -> None:
    wire = Wire().client(asked, step=step).server(answered + HELLO, step=step)
    assert (wire.flow.app_proto, wire.flow.app_orig) == ("tls", "http")
    wire.client(HELLO).close()
    assert len(wire.seen) == 2


def test_what_follows_connect_in_one_packet_belongs_to_the_tunnel() -> None:
    wire = Wire().client(request(b"CONNECT h:443 HTTP/1.1") + HELLO).server(b"HTTP/1.1 200 OK\r\n\r\n")
    assert wire.flow.app_proto == "tls"
    assert len(wire.seen) == 2


@pytest.mark.parametrize("gap", [0, 5])
def test_an_upgrade_that_is_cut_short_hands_over_as_well(gap: int) -> None:
    """Its head ends with a gap, or with the connection."""
    wire = Wire().client(request()).server(b"HTTP/1.1 101 S\r\nUpgra")
    wire.server(HELLO, gap=9) if gap else wire.server(b"", closed=True).client(HELLO)
    assert wire.flow.app_proto == "tls"
    assert [found.complete for found in wire.seen] == [False, True]


def test_a_tunnel_that_nobody_knows_is_nothing_known_that_was_http() -> None:
    wire = Wire().client(request(b"CONNECT h:1 HTTP/1.1")).server(b"HTTP/1.1 200 OK\r\n\r\n" + b"\1" * 300)
    assert (wire.flow.app_proto, wire.flow.app_orig) == ("failed", "http")
    assert wire.counters["app_layer.handover.failed"] == 1
    assert wire.counters["app_layer.flow.failed"] == 0


@pytest.mark.parametrize(("answer", "last"), [(b"HTTP/1.1 200 OK\r\n\r\n", True), (OK, False)])
def test_an_exchange_behind_which_its_protocol_ends_says_so(answer: bytes, last: bool) -> None:
    method = b"CONNECT h:1" if last else b"GET /"
    wire = Wire().client(request(method + b" HTTP/1.1")).server(answer)
    assert [found.last for found in wire.seen if found.complete] == [last]


def test_a_refused_connect_is_no_tunnel() -> None:
    wire = Wire().client(request(b"CONNECT h:1 HTTP/1.1")).server(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
    wire.client(request(b"GET /next HTTP/1.1"))
    assert wire.seen[-1].buffers["http.uri"] == b"/next"


def test_requests_that_wait_behind_a_connect_are_reported_when_the_tunnel_opens() -> None:
    wire = Wire().client(request(b"CONNECT h:1 HTTP/1.1") + request(b"GET /behind HTTP/1.1"))
    wire.server(b"HTTP/1.1 200 OK\r\n\r\n")
    assert [(found.tx_id, found.complete) for found in wire.seen] == [(0, False), (1, False), (0, True), (1, True)]


def test_tunnels_in_tunnels_are_followed_so_far() -> None:
    wire = Wire()
    for _ in range(3 * MAX_HANDOVERS):
        wire.client(request(b"CONNECT h:1 HTTP/1.1")).server(b"HTTP/1.1 200 OK\r\n\r\n")
    wire.client(request(b"GET /within HTTP/1.1"))
    assert wire.seen[-1].buffers["http.uri"] == b"/within"
    assert wire.counters["app_layer.handover.too_many"] == 0


def test_tunnels_that_open_within_one_piece_are_bounded_and_what_follows_is_inspected() -> None:
    """Each copies the rest of the piece."""
    wire = Wire(protocols=(TOY, *PROTOCOLS)).client(b"toy " + b"overtoy " * 100)
    assert wire.counters["app_layer.handover.too_many"] == 1
    wire.client(b"toy again")
    assert wire.seen[-1].buffers["toy.word"] == b"toy again"


def test_a_side_that_closed_before_the_handover_is_closed_after_it() -> None:
    wire = Wire().client(request(b"CONNECT h:1 HTTP/1.1") + request(b"GET /in HTTP/1.1")[:-2], closed=True)
    wire.server(b"HTTP/1.1 200 OK\r\n\r\n", closed=True)
    assert [found.complete for found in wire.seen][-1] is True


def test_what_is_handed_over_at_the_very_end_is_recognised() -> None:
    wire = Wire().client(request(b"CONNECT h:1 HTTP/1.1"), closed=True)
    wire.server(b"HTTP/1.1 200 OK\r\n\r\n" + HELLO, closed=True)
    assert wire.flow.app_proto == "tls"


# What is encrypted need not be seen.


CIPHERED = b"\x17\x03\x01\x00\x05hello"
"""A record of data: whatever could be read in clear is over."""


def begun(first: bytes = CIPHERED, second: bytes = CIPHERED) -> Wire:
    return Wire().client(first).server(second)


def offered(wire: Wire, size: int = 1000, after: int = 500) -> list[int]:
    chunk = wire.chunk(CLIENT, b"x" * size)
    wire.feed(chunk)
    return wire.stage.opaque(make_streams([chunk]), ENCRYPTED, after)


def test_an_encrypted_flow_is_offered_once() -> None:
    wire = begun()
    assert offered(wire) == [wire.flow.slot]
    assert offered(wire) == []


@pytest.mark.parametrize("first", [CIPHERED, b"SSH-1.5-a\r\n"])
def test_both_sides_have_to_begin_in_the_protocol(first: bytes) -> None:
    assert offered(begun(first, b"plain text")) == []
    assert offered(begun(first, first)) == [0]


def test_a_side_that_begins_in_the_protocol_too_late_does_not_count() -> None:
    assert offered(begun(CIPHERED, b"plain").server(CIPHERED)) == []


def test_a_side_whose_beginning_was_lost_does_not_count() -> None:
    assert offered(Wire().client(CIPHERED).server(CIPHERED, gap=10)) == []
    assert offered(Wire().server(CIPHERED, gap=10).client(CIPHERED)) == []


def test_enough_has_to_be_inspected() -> None:
    assert offered(begun(), size=400) == []


def test_other_protocols_are_not_offered() -> None:
    assert offered(Wire().client(request()).server(OK)) == []


def test_what_was_held_while_probing_counts_as_the_beginning() -> None:
    assert offered(Wire().server(CIPHERED[:1]).client(CIPHERED, step=1).server(CIPHERED[1:])) == [0]
    assert offered(Wire().client(CIPHERED, step=1).server(CIPHERED)) == [0]


def test_a_flow_is_not_offered_before_its_handshake_is_read() -> None:
    """However little is inspected before: certificates come late."""
    wire = begun(HELLO, CIPHERED)
    assert wire.stage.opaque(make_streams([wire.chunk(CLIENT, b"x" * 1000)]), ENCRYPTED, 500) == []
    assert offered(Wire().client(HELLO).server(CIPHERED).client(CIPHERED)) == [0]
