"""Protocols are recognised by their first bytes, on any port."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols import PROTOCOLS, Protocol, Protocols, ProtocolSettings
from ids.protocols.prelude import PRELUDE_BYTES
from ids.protocols.recognition import Recogniser
from ids.types import Datagram, Direction, Flow, FlowColumns, StreamChunk, Transaction, Transactions
from tests.factory import NO_DATAGRAMS, T0, make_datagrams, make_flow, make_streams
from tests.protocols import said
from tests.protocols.initials import HELLO, crypto, initial
from tests.protocols.toys import TOY
from tests.protocols.wire import CLIENT, SERVER, Wire

RECOGNISER = Recogniser(PROTOCOLS)
DNS_QUESTION = b"\x07example\x00\x00\x01\x00\x01"
DNS_QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + DNS_QUESTION
DNS_ANSWER = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + DNS_QUESTION + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4abcd"


@pytest.mark.parametrize(
    ("direction", "prefix", "name"),
    [
        (CLIENT, b"GET / HTTP/1.1\r\n", "http"),
        (CLIENT, b"get /x", "http"),
        (CLIENT, b"\r\nPOST\t/x", "http"),
        (CLIENT, b"FROBNICATE /x", "http"),
        (CLIENT, b"X y HTTP/1.1", "http"),
        (CLIENT, b"X  HTTP/1.1", "http"),
        (CLIENT, b"X \t y HTTP/1.1", "http"),
        (CLIENT, b"X http://h", "http"),
        (CLIENT, b"\r\n" * 100 + b"GET /", "http"),
        (CLIENT, b"X" * 200 + b" /", "http"),
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
        (CLIENT, b"EHLO me", None),
        (CLIENT, b"HELO /x", "http"),
        (CLIENT, b"HELO x HTTP/1.1\r\n", "http"),
        (CLIENT, b"EHLO\t http://a/x HTTP/1.1\r\n", "http"),
        (CLIENT, b"SSH-2.0-x /x HTTP/1.1\r\n", "http"),
        (CLIENT, b"USER x HTTP/1.1\r\n", "http"),
        (SERVER, b"\r\n" * 200 + b"HTTP/1.1 200 OK\r\n", "http"),
        (SERVER, b"220 (vsFTPd 3.0)\r\n", "ftp"),
        (CLIENT, b"USER anonymous\r\n", "ftp"),
        (SERVER, b"* OK ready\r\n", "imap"),
        (SERVER, b"+OK ready\r\n", "pop3"),
        (CLIENT, b"\x00\x1d" + DNS_QUERY, "dns"),
        (SERVER, b"\x00\x1d" + DNS_ANSWER, "dns"),
        (CLIENT, b"", None),
        (CLIENT, b"G", None),
        (CLIENT, b"\x00" * 64, None),
        (CLIENT, b"hello world", None),
        (CLIENT, b"X HTTP/1.1", None),
        (CLIENT, b"X" * 200, None),
        (SERVER, b"220 hello\r\n", None),
    ],
)
def test_streams(direction: Direction, prefix: bytes, name: str | None) -> None:
    found = RECOGNISER.stream(prefix, direction)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (DNS_QUERY, "dns"),
        (DNS_ANSWER, "dns"),
        (DNS_QUERY[:2] + b"\x28\x00" + DNS_QUERY[4:], "dns"),  # an update
        (DNS_QUERY[:12] + b"\x00\x00\x02\x00\x01", "dns"),  # the root's servers
        (DNS_QUERY[:-2] + b"\x80\x01", "dns"),  # multicast, asking for a unicast answer
        (DNS_QUERY[:-1], None),
        (DNS_QUERY[:-2] + b"\x12\x34", None),
        (DNS_QUERY[:12] + b"\xc0\x0c\x00\x01\x00\x01", None),  # a question that points at itself
        (b"\x00" * 48, None),
        (b"\x23" + b"\x00" * 47, None),
        (b"GET / HTTP/1.1\r\n\r\n", None),
    ],
)
def test_datagrams(data: bytes, name: str | None) -> None:
    found = RECOGNISER.datagram(data, (50000, 50001))
    assert (found.name if found else None) == name


@given(st.binary(max_size=300) | st.builds(lambda tail: DNS_QUERY[:12] + tail, st.binary(max_size=300)))
def test_no_bytes_make_recognition_fail(data: bytes) -> None:
    found = [RECOGNISER.datagram(data, (1, 2)), *[RECOGNISER.stream(data, direction) for direction in Direction]]
    assert all(protocol is None or protocol in PROTOCOLS for protocol in found)


def test_a_pattern_that_captures_is_refused() -> None:
    with pytest.raises(ValueError, match="a pattern of toy captures"):
        Protocol(name="toy", from_client=b"(toy)")


@pytest.mark.parametrize("step", [0, 1])
def test_what_was_held_back_while_probing_is_parsed(step: int) -> None:
    wire = Wire().client(b"GET /x HTTP/1.1\r\n\r\n", step=step)
    assert wire.seen[0].buffers["http.uri"] == b"/x"


def test_a_server_may_give_the_protocol_away() -> None:
    wire = Wire().client(b"ODD").server(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
    assert wire.flow.app_proto == "http"
    assert wire.seen[-1].fields["status"] == 400


LONG_STARTS = [
    b"\r\n" * 400 + b"GET /x HTTP/1.1",
    b"\n" * 9000 + b"GET /x HTTP/1.1",
    b"F" * 65 + b" /x HTTP/1.1",
    b"F" * 8000 + b" /x HTTP/1.1",
    b"\r\n" * 5000 + b"F" * 7000 + b" " * 500 + b"/x HTTP/1.1",
    b"GET" + b" " * 4000 + b"/x HTTP/1.1",
]
"""What servers take for the beginning of a request, however long it takes until it shows."""


@pytest.mark.parametrize("step", [0, 1, 300])
@pytest.mark.parametrize("start", LONG_STARTS)
def test_what_says_nothing_yet_does_not_count_against_the_probe(start: bytes, step: int) -> None:
    wire = Wire().client(start + b"\r\n\r\n", step=step)
    assert wire.flow.app_proto == "http"
    assert [found.buffers["http.uri"] for found in wire.seen] == [b"/x"]


@pytest.mark.parametrize("step", [0, 1, 300])
@pytest.mark.parametrize("start", [b"HELO x HTTP/1.1", b"SSH-2.0-x x HTTP/1.1", b"AUTH x HTTP/1.1"])
def test_a_request_whose_first_line_begins_like_another_protocol_is_one_of_http(start: bytes, step: int) -> None:
    wire = Wire().client(start + b"\r\nHost: a\r\n\r\n", step=step)
    assert wire.flow.app_proto == "http"
    assert [found.buffers["http.uri"] for found in wire.seen] == [b"x"]


@pytest.mark.parametrize("step", [0, 1, 300])
@pytest.mark.parametrize("empty", [b"\r\n" * 5000, b" \t\0" * 4000, b"\0" * 20_000])
def test_a_server_may_send_any_number_of_empty_bytes_first(empty: bytes, step: int) -> None:
    wire = Wire().server(empty + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", step=step)
    assert wire.flow.app_proto == "http"
    assert [found.buffers["http.response_body"] for found in wire.seen] == [b"hi"]
    assert wire.stage._talks.held == 0


@given(st.sampled_from([b"\r\n", b"\n", b"F", b" ", b"\0"]).flatmap(
    lambda unit: st.tuples(st.just(unit), st.integers(0, 600))), st.sampled_from([b"GET /x", b" /x", b"a b", b"\0"]),
    st.integers(1, 400))  # fmt: skip
def test_recognition_does_not_depend_on_the_cut(run: tuple[bytes, int], rest: bytes, step: int) -> None:
    data = run[0] * run[1] + rest + b" HTTP/1.1\r\n\r\n" + b"\0" * 600
    whole, cut = Wire().client(data).close(), Wire().client(data, step=step).close()
    assert cut.flow.app_proto == whole.flow.app_proto
    assert cut.what() == whole.what()


@pytest.mark.parametrize("unit", [b"\r\n", b"F", b" "])
def test_little_is_held_while_nothing_shows(unit: bytes) -> None:
    wire = Wire().client(unit * 20_000, step=500)
    held = wire.stage._talks.held
    assert held <= (512 if unit == b"\r\n" else PRELUDE_BYTES)
    assert wire.flow.app_proto == (None if unit == b"\r\n" else "failed")
    wire.flow.columns.clear(np.array([wire.flow.slot]))
    assert wire.stage._talks.held == 0


def test_what_all_flows_hold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ids.protocols.prelude.PRELUDE_MEMCAP_BYTES", 1000)
    flows, counters = FlowColumns(4), Counters()
    stage = Protocols(ProtocolSettings(), counters, flows)
    first, second = make_flow(columns=flows), make_flow(columns=flows)
    for flow in (first, second):
        for at, data in enumerate([b"F" * 1500, b" /x HTTP/1.1\r\n\r\n"]):
            stage.feed(make_streams([StreamChunk(flow, CLIENT, 0, data, T0, at)]), NO_DATAGRAMS)
        if flow is first:
            assert stage._talks.held == 0
            stage._talks.held = 1001
    assert (first.app_proto, second.app_proto) == ("http", "failed")
    assert counters["app_layer.probe.memcap"] == 1


def test_unknown_protocols_are_given_up_after_the_probe() -> None:
    wire = Wire().client(b"\x00" * 300).client(b"GET / HTTP/1.1\r\n\r\n")
    assert wire.flow.app_proto == "failed"
    assert wire.seen == []
    assert wire.counters["app_layer.flow.failed"] == 1


def test_a_flow_without_bytes_has_no_protocol() -> None:
    assert Wire().close().flow.app_proto is None


def test_a_flow_with_too_few_bytes_failed() -> None:
    assert Wire().client(b"x").close().flow.app_proto == "failed"


def test_flows_are_counted_by_protocol() -> None:
    wire = Wire().client(b"SSH-2.0-a\r\n").server(b"SSH-2.0-b\r\n").close()
    assert wire.flow.app_proto == "ssh"
    assert wire.counters["app_layer.flow.ssh"] == 1


class Ports:
    """UDP flows in one table, whose datagrams are fed to the stage."""

    def __init__(self, **settings: int) -> None:
        self.flows = FlowColumns(64)
        self.counters = Counters()
        self.stage = Protocols(ProtocolSettings.model_validate(settings), self.counters, self.flows)

    def flow(self, proto: int = 17, dport: int = 40_000) -> Flow:
        """Return a new flow."""
        return make_flow(columns=self.flows, proto=proto, dport=dport)

    def feed(self, *datagrams: tuple[Flow, Direction, bytes], first: int = 0) -> Transactions:
        """Feed datagrams as one batch, the first of which has this number."""
        rows = [Datagram(flow, direction, data, T0, at) for at, (flow, direction, data) in enumerate(datagrams, first)]
        return self.stage.feed(make_streams([]), make_datagrams(rows))


@pytest.mark.parametrize("direction", list(Direction))
def test_dns_over_udp_is_recognised_by_either_side(direction: Direction) -> None:
    ports = Ports()
    asked, other = ports.flow(), ports.flow()
    ports.feed((other, CLIENT, b"odd"), (asked, direction, DNS_ANSWER if direction is SERVER else DNS_QUERY))
    assert (asked.app_proto, other.app_proto) == ("dns", None)
    ports.feed((other, SERVER, DNS_ANSWER))
    assert other.app_proto == "dns"
    assert ports.counters["app_layer.flow.dns"] == 2


@pytest.mark.parametrize("batches", [1, 4])
def test_a_udp_flow_is_given_up_after_a_few_datagrams(batches: int) -> None:
    ports = Ports(probe_datagrams=4)
    flow = ports.flow()
    rows = [(flow, CLIENT, b"odd")] * 4
    for batch in range(batches):
        ports.feed(*rows[batch::batches])
    ports.feed((flow, SERVER, DNS_ANSWER))
    assert flow.app_proto == "failed"
    assert ports.counters["app_layer.flow.failed"] == 1


_QUESTION = DNS_QUERY[12:]
AS_QUIC = (
    b"\x80\x00" + b"\x00\x00" + b"\x00\x01" + b"\x00\x00" * 2 + b"\x00\x01" + _QUESTION + b"\0\0\x29\x10" + bytes(7)
)
"""Questions whose ids and flags are chosen so that they look like another protocol's messages: a negotiation of
versions,"""
AS_DHCP = (b"\x01\x01" + DNS_QUERY[2:] + bytes(400))[:236] + b"\x63\x82\x53\x63" + bytes(8)
"""and one with the cookie of DHCP behind it."""


@pytest.mark.parametrize("question", [AS_QUIC, AS_DHCP])
def test_a_question_to_a_name_server_is_one_whatever_else_it_looks_like(question: bytes) -> None:
    ports = Ports()
    flow = ports.flow(dport=53)
    ports.feed((flow, CLIENT, question))
    assert flow.app_proto == "dns"


@pytest.mark.parametrize("before", [b"OPTIONS sip:a SIP/2.0\r\n\r\n", b"odd"])
@pytest.mark.parametrize("together", [True, False])
def test_nothing_that_is_sent_before_hides_a_question_to_a_name_server(before: bytes, together: bool) -> None:
    """The server ignores what it does not understand, and answers what follows."""
    ports = Ports()
    flow = ports.flow(dport=53)
    batches = [[before] * 5 + [DNS_QUERY]] if together else [[before]] * 5 + [[DNS_QUERY]]
    seen: list[Transaction] = []
    for at, batch in enumerate(batches):
        seen += ports.feed(*[(flow, CLIENT, data) for data in batch], first=at * 10)
    assert flow.app_proto == "dns"
    assert [one.protocol for one in seen if one.protocol == "dns"] == ["dns"]
    ports.feed((flow, CLIENT, before), first=90)
    assert flow.app_proto == "dns", "it stays one"


def test_only_the_first_datagrams_of_a_flow_are_looked_at() -> None:
    ports = Ports(probe_datagrams=2)
    flow, other = ports.flow(), ports.flow()
    ports.feed((flow, CLIENT, b"a"), (other, CLIENT, b"a"), (flow, CLIENT, b"b"), (flow, CLIENT, DNS_QUERY),
               (other, CLIENT, DNS_QUERY))  # fmt: skip
    assert (flow.app_proto, other.app_proto) == ("failed", "dns")


def test_a_lone_datagram_that_shows_no_protocol_has_nothing_kept_of_it() -> None:
    """Whoever sends many has each counted in a column; what is recognised, or given up, is remembered."""
    ports = Ports(probe_datagrams=2)
    crowd = [ports.flow() for _ in range(50)]
    ports.feed(*[(flow, CLIENT, b"odd") for flow in crowd])
    assert not ports.stage._talks.by_id
    ports.feed((crowd[7], SERVER, b"odd"), (crowd[8], SERVER, DNS_ANSWER))
    assert set(ports.stage._talks.by_id) == {crowd[7].id, crowd[8].id}
    assert (crowd[7].app_proto, crowd[8].app_proto, crowd[9].app_proto) == ("failed", "dns", None)


def test_datagrams_that_are_not_udp_are_no_application_protocol() -> None:
    ports = Ports()
    echo = ports.flow(proto=1)
    ports.feed((echo, CLIENT, DNS_QUERY))
    assert echo.app_proto is None


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("forged", [b"220 mx ESMTP\r\n", b"SSH-2.0-x\r\n", b"* OK ready\r\n", b"\x01" * 300])
def test_the_words_of_a_server_do_not_hide_what_its_client_says(forged: bytes, step: int) -> None:
    """They may be forged, by anybody who guesses the numbers; however the client's are cut."""
    wire = Wire().server(forged).client(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", step=step)
    assert wire.flow.app_proto == "http"
    assert [found.buffers["http.uri"] for found in wire.seen if found.protocol == "http"] == [b"/x"]
    assert wire.counters["app_layer.corrected"] == 1
    assert wire.stage._talks.held == 0


@pytest.mark.parametrize("said", [0, 1, 3, 7])
def test_a_server_of_nothing_known_does_not_hide_a_client_that_began_before_it(said: int) -> None:
    wire = Wire().client(GET[:said]).server(b"\x01" * 300).client(GET[said:])
    assert (wire.flow.app_proto, uris(wire)) == ("http", [b"/hidden"])


def test_bytes_of_a_server_that_are_missing_do_not_hide_what_its_client_says() -> None:
    wire = Wire().client(GET[:3]).server(b"\x01", gap=9).client(GET[3:])
    assert (wire.flow.app_proto, uris(wire)) == ("http", [b"/hidden"])


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(("said", "held"), [(b"EHLO me\r\n", 0), (b"QUIT\r\n" * 100, 0), (b"QUIT\r\n", 6), (b"", 0)])
def test_a_client_that_speaks_its_servers_protocol_or_none_leaves_the_name(said: bytes, held: int, step: int) -> None:
    wire = Wire().server(b"220 mx ESMTP\r\n").client(said, step=step)
    assert wire.flow.app_proto == "smtp"
    assert wire.stage._talks.held == held
    wire.close()
    wire.flow.columns.clear(np.array([wire.flow.slot]))
    assert wire.stage._talks.held == 0


NOT_HTTP = [b"SSH-2.0-x / x\r\n\r\n", b"HELO / x\r\n\r\n", b"EHLO x\r\n\r\n", b"\x16\x03\x01\x00\x05ab\r\n\r\n"]
GET = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def uris(wire: Wire) -> list[bytes]:
    """Return the targets of requests."""
    return [uri for found in wire.seen if (uri := found.buffers.get("http.uri")) is not None]


@pytest.mark.parametrize("first", NOT_HTTP)
@pytest.mark.parametrize("step", [0, 1, 7])
def test_a_server_that_answers_http_makes_its_client_one_of_http(first: bytes, step: int) -> None:
    """Whatever the client's first line names: a lenient server goes on to the next."""
    wire = Wire().client(first).client(GET, step=step)
    assert wire.flow.app_proto != "http"
    wire.server(REFUSED * 2, step=step).client(GET)
    assert wire.flow.app_proto == "http"
    assert uris(wire)[-2:] == [b"/hidden"] * 2
    assert wire.counters["app_layer.corrected"] == 1
    assert wire.counters["app_layer.probe.missed_bytes"] == 0


@pytest.mark.parametrize("sure", [False, True])
def test_a_protocol_that_is_sure_waits_for_no_answer_of_its_server(sure: bool) -> None:
    wire = Wire((replace(TOY, sure=sure), *PROTOCOLS)).client(b"toy a\r\n").client(GET).server(REFUSED)
    assert wire.flow.app_proto == ("toy" if sure else "http")
    assert wire.counters["app_layer.corrected"] == (not sure)


def test_what_a_client_said_beyond_what_is_kept_is_counted() -> None:
    """And what it says next is read."""
    wire = Wire().client(b"x" * 9000).client(GET).server(REFUSED).client(GET)
    assert uris(wire)[-1:] == [b"/hidden"]
    assert wire.counters["app_layer.probe.missed_bytes"] == 9000 + len(GET) - PRELUDE_BYTES


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (b"SSH-2.0-x\r\n", b"SSH-2.0-y\r\n"),
        (b"\x16\x03\x01\x00\x05abcde", b"\x16\x03\x03\x00\x05abcde"),
        (b"EHLO me\r\n", b"250 hello\r\n"),
        (b"\0" * 300, b"\1" * 300),
    ],
)
def test_a_server_of_another_protocol_changes_nothing(asked: bytes, answered: bytes) -> None:
    wire = Wire().client(asked)
    before = wire.flow.app_proto
    wire.server(answered, step=1).server(REFUSED)
    assert (wire.flow.app_proto, [found for found in wire.all if found.protocol == "http"]) == (before, [])


def test_what_is_kept_of_a_client_until_its_server_answers_is_bounded_and_given_back() -> None:
    wire = Wire().client(NOT_HTTP[0])
    for _ in range(100):
        wire.client(b"x" * 1000)
    talks = wire.stage._talks
    assert talks.held == PRELUDE_BYTES
    wire.server(b"SSH-2.0-y\r\n")
    assert talks.held == 0


def test_the_end_of_both_sides_is_taken_over_as_well() -> None:
    wire = Wire().client(NOT_HTTP[0] + GET, closed=True).server(REFUSED, closed=True)
    assert uris(wire)[-2:] == [b"/ x", b"/hidden"]
    assert wire.seen[-1].complete


USUAL = {
    "snmp": (161, said.SNMP_GET), "dhcp": (67, said.DHCP_DISCOVER), "sip": (5060, said.SIP_INVITE),
    "ike": (500, said.IKE2),
    "ike behind a marker": (4500, bytes(4) + said.IKE2), "tftp": (69, said.TFTP_READ), "ntp": (123, said.NTP_CLIENT),
    "quic": (443, initial(crypto(0, HELLO))), "dns": (53, DNS_QUERY),
}  # fmt: skip
"""Of each protocol whose servers have a port by right: that, and what a client says."""


@pytest.mark.parametrize("junk", [[b"x" * 20] * 4, [b"\0" * 48] * 20, [DNS_QUERY], [said.SNMP_GET], [said.SIP_INVITE]])
@pytest.mark.parametrize("name", USUAL)
def test_nothing_that_is_sent_before_hides_a_datagram_at_its_usual_port(name: str, junk: list[bytes]) -> None:
    port, asked = USUAL[name]
    heard = said.over_udp(*[(CLIENT, data) for data in (*junk, asked)], dport=port)
    assert heard.flow.app_proto == name.split()[0]
    assert any(found.protocol == heard.flow.app_proto for found in heard.seen)


def test_esp_beside_ike_costs_no_look_a_datagram(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bytes] = []
    monkeypatch.setattr(Recogniser, "usual", lambda self, data, ports: looks.append(data))
    said.over_udp(*[(CLIENT, b"\x55" * 100)] * 50, dport=4500)
    assert len(looks) <= 4
