"""DNS: queries and answers with their buffers and events, over datagrams and streams; and hostile messages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols import ODDITY, Protocols, ProtocolSettings
from ids.protocols.dns.message import Message
from ids.protocols.dns.names import MAX_NAME, MAX_STEPS, Malformed, Names
from ids.testing import Session, to_client
from ids.types import Datagram, Direction, Flow, Transaction
from plugins.rules import Rules
from tests.factory import T0, make_datagrams, make_flow, make_streams
from tests.protocols.questions import (
    AAAA,
    ANSWER,
    ANY,
    BACK,
    CNAME,
    HTTPS,
    MX,
    NS,
    OPT,
    PTR,
    SOA,
    SRV,
    SSHFP,
    TXT,
    A,
    framed,
    message,
    name,
    question,
    record,
)
from tests.protocols.wire import CLIENT, SERVER, Wire
from tests.rules.builders import rule_text
from tests.shared import event_validator

ASKED = message(question(b"www.Example.com"))
RECORDS = (
    record(CNAME, name(b"host.example.com")),
    record(A, b"\xc0\0\2\1", of=name(b"host.example.com"), ttl=7),
    record(AAAA, bytes.fromhex("20010db8" + "0" * 23 + "1")),
    record(NS, name(b"ns.example.com")),
    record(PTR, BACK),
    record(MX, b"\0\x0a" + name(b"mx.example.com")),
    record(TXT, b"\3one\3two"),
    record(SOA, name(b"m.example") + name(b"r.example") + pack(">5I", 1, 2, 3, 4, 5)),
    record(SRV, pack(">3H", 1, 2, 53) + name(b"srv.example")),
    record(SSHFP, b"\1\2\xab\xcd"),
    record(HTTPS, b"\0\1\0"),
    record(12345, b"\xff"),
)
ANSWERED = message(question(b"www.Example.com"), answers=RECORDS, flags=ANSWER)


class Port:
    """A UDP flow whose datagrams are fed to the stage."""

    def __init__(self, dport: int = 53, **dns: int) -> None:
        self.counters = Counters()
        self.flow: Flow = make_flow(proto=17, sport=53000, dport=dport)
        settings = ProtocolSettings.model_validate({"dns": dns})
        self.stage = Protocols(settings, self.counters, self.flow.columns)
        self.seen: list[Transaction] = []

    def say(self, *said: tuple[Direction, bytes]) -> Port:
        """Feed datagrams, each in a batch of its own."""
        for direction, data in said:
            rows = [Datagram(self.flow, direction, data, T0, len(self.seen) + 1)]
            self.seen += self.stage.feed(make_streams([]), make_datagrams(rows))
        return self


def read(data: bytes, limit: int = 1024) -> Message:
    return Message(data, limit, Counters())


def test_a_query_and_its_answer() -> None:
    port = Port().say((CLIENT, ASKED), (SERVER, ANSWERED))
    asked, answered = port.seen
    assert (asked.protocol, asked.direction, asked.complete) == ("dns", CLIENT, True)
    assert dict(asked.buffers) == {
        "dns.query": b"www.Example.com", "dns.queries.rrname": b"www.Example.com", "dns.opcode": b"0",
        "dns.rrtype": b"1",
    }  # fmt: skip
    assert asked.fields == {
        "version": 2, "type": "query", "id": 0x1234, "rrname": "www.Example.com", "rrtype": "A", "tx_id": 0,
        "opcode": 0,
    }  # fmt: skip
    assert (answered.direction, answered.complete, answered.tx_id) == (SERVER, True, asked.tx_id)
    assert (asked.shown_id, answered.shown_id) == (0, 1), "to Suricata each message is an exchange"
    assert "dns.query" not in answered.buffers, "it is the client's"
    assert answered.buffers["dns.rcode"] == b"0"
    assert answered.instances("dns.answers.rrname")[:2] == (b"www.Example.com", b"host.example.com")
    assert b"mx.example.com" in answered.instances("dns.response.rrname")
    assert "http.uri" not in answered.buffers


def test_what_eve_says_of_records() -> None:
    fields = Port().say((CLIENT, ASKED), (SERVER, ANSWERED)).seen[1].fields
    assert {name: value for name, value in fields.items() if name not in ("answers", "grouped")} == {
        "version": 2, "type": "answer", "id": 0x1234, "flags": "8180", "qr": True, "rd": True, "ra": True, "opcode": 0,
        "rrname": "www.Example.com", "rrtype": "A", "rcode": "NOERROR",
    }  # fmt: skip
    soa = {"mname": "m.example", "rname": "r.example", "serial": 1, "refresh": 2, "retry": 3, "expire": 4, "minimum": 5}
    srv = {"priority": 1, "weight": 2, "port": 53, "name": "srv.example"}
    key = {"fingerprint": "ab:cd", "algo": 1, "type": 2}
    www = {"rrname": "www.Example.com", "ttl": 60}
    assert fields["answers"] == [
        {**www, "rrtype": "CNAME", "rdata": "host.example.com"},
        {"rrname": "host.example.com", "rrtype": "A", "ttl": 7, "rdata": "192.0.2.1"},
        {**www, "rrtype": "AAAA", "rdata": "2001:0db8:0000:0000:0000:0000:0000:0001"},
        {**www, "rrtype": "NS", "rdata": "ns.example.com"},
        {**www, "rrtype": "PTR", "rdata": "www.Example.com"},
        {**www, "rrtype": "MX", "rdata": "mx.example.com"},
        {**www, "rrtype": "TXT", "rdata": "one"},
        {**www, "rrtype": "TXT", "rdata": "two"},
        {**www, "rrtype": "SOA", "soa": soa},
        {**www, "rrtype": "SRV", "srv": srv},
        {**www, "rrtype": "SSHFP", "sshfp": key},
        {**www, "rrtype": "HTTPS"},
        {**www, "rrtype": "12345"},
    ]
    assert fields["grouped"]["TXT"] == ["one", "two"]
    assert fields["grouped"]["SOA"] == [soa]
    assert "HTTPS" not in fields["grouped"]


def test_records_whose_data_ends_early_have_no_value() -> None:
    data = {
        SOA: name(b"m") + name(b"r") + b"\0",
        SRV: b"\0\1",
        MX: b"\0\1",
        SSHFP: b"\1",
        NS: b"",
        TXT: b"\5ab",
        A: b"\1",
    }
    short = tuple(record(rrtype, value) for rrtype, value in data.items())
    (found,) = Port().say((SERVER, message(question(b"a.example"), answers=short, flags=ANSWER))).seen
    values = [{*one} - {"rrname", "rrtype", "ttl"} for one in found.fields["answers"]]
    assert values == [set(), set(), set(), set(), set(), {"rdata"}, {"rdata"}]
    assert found.fields["grouped"] == {"TXT": ["ab"], "A": [""]}


def test_names_that_are_no_text_are_escaped() -> None:
    (found,) = Port().say((CLIENT, message(question(b"\xff\x01a.example")))).seen
    assert found.fields["rrname"] == "\\xff\x01a.example"
    assert found.buffers["dns.query"] == b"\xff\x01a.example"


def test_what_is_of_the_other_sections() -> None:
    answer = message(
        question(b"a.example"), authorities=(record(NS, name(b"ns.example")),),
        additionals=(record(OPT, b"\0\x0a\0\0", of=b"\0"),), flags=0xA7C3,
    )  # fmt: skip
    (found,) = Port().say((SERVER, answer)).seen
    assert found.fields["authorities"] == [{"rrname": "a.example", "rrtype": "NS", "ttl": 60, "rdata": "ns.example"}]
    assert [found.fields[flag] for flag in ("aa", "tc", "rd", "ra", "z")] == [True] * 5
    assert (found.fields["rcode"], found.fields["opcode"], found.fields["flags"]) == ("NXDOMAIN", 4, "a7c3")
    assert found.buffers["dns.additionals.rrname"] == b"", "the root, of EDNS"
    assert "answers" not in found.fields


def test_each_question_is_an_instance_and_an_event() -> None:
    asked = message(question(b"one.example"), question(b"two.example", ANY))
    first, second = Port().say((CLIENT, asked)).seen
    assert first.instances("dns.query") == (b"one.example", b"two.example")
    assert first.instances("dns.rrtype") == (b"1", b"255")
    assert [found.fields["rrname"] for found in (first, second)] == ["one.example", "two.example"]
    assert (second.tx_id, second.complete, dict(second.buffers)) == (0, True, {})


def test_queries_find_their_answers_by_id() -> None:
    one, two = (message(question(b"a.example"), id=at) for at in (1, 2))
    back = [message(question(b"a.example"), id=at, flags=ANSWER) for at in (2, 1, 9)]
    said = [(CLIENT, one), (CLIENT, two), *[(SERVER, data) for data in back], (CLIENT, one)]
    assert [found.tx_id for found in Port().say(*said).seen] == [0, 1, 1, 0, 4, 5]


def test_queries_that_wait_are_bounded() -> None:
    port = Port(open_queries=2)
    port.say(*[(CLIENT, message(question(b"a.example"), id=at)) for at in range(3)])
    port.say(*[(SERVER, message(question(b"a.example"), id=at, flags=ANSWER)) for at in range(3)])
    assert [found.tx_id for found in port.seen] == [0, 1, 2, 3, 1, 2]
    assert port.counters["dns.queries_evicted"] == 1


def test_a_client_that_claims_to_answer_is_tested_all_the_same() -> None:
    """A server takes it for what it is, and a bit of the header is soon set."""
    (found,) = Port().say((CLIENT, message(question(b"evil.example"), flags=ANSWER))).seen
    assert found.buffers["dns.query"] == b"evil.example"


@pytest.mark.parametrize(
    ("dport", "found"), [(53, "dns"), (5300, "dns"), *[(port, "failed") for port in (137, 5353, 5355)]]
)
def test_what_looks_like_dns_at_ports_of_others_is_none(dport: int, found: str) -> None:
    port = Port(dport).say((CLIENT, ASKED))
    assert port.flow.app_proto == found
    assert len(port.seen) == (found == "dns")


# Streams.


STREAM = framed(ASKED, message(question(b"b.example"), id=2), message(question(b"c" * 60 + b".example"), id=3))
BACK_STREAM = framed(ANSWERED, message(question(b"b.example"), id=2, flags=ANSWER))


def test_a_stream_has_several_messages() -> None:
    wire = Wire().client(STREAM).server(BACK_STREAM).close()
    assert wire.flow.app_proto == "dns"
    assert [found.buffers["dns.query"] for found in wire.seen[:3]] == [
        b"www.Example.com", b"b.example", b"c" * 60 + b".example",
    ]  # fmt: skip
    assert [(found.tx_id, found.direction) for found in wire.seen[3:]] == [(0, SERVER), (1, SERVER)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.lists(st.integers(0, len(BACK_STREAM)), max_size=8))
def test_any_cut_of_the_streams_gives_the_same(cuts: list[int], cuts_back: list[int]) -> None:
    wire = Wire()
    for direction, data, at in ((CLIENT, STREAM, cuts), (SERVER, BACK_STREAM, cuts_back)):
        places = [0, *sorted(at), len(data)]
        for start, end in pairwise(places):
            wire.send(direction, data[start:end])
    assert wire.what() == Wire().client(STREAM).server(BACK_STREAM).what()
    assert wire.pool("dns").held == 0


def test_a_stream_byte_by_byte_gives_the_same() -> None:
    assert Wire().client(STREAM, step=1).what() == Wire().client(STREAM).what()


@pytest.mark.parametrize("size", [200, 256, 267, 268, 4096, 20_000, 65_000])
def test_a_query_may_be_padded_to_any_length(size: int) -> None:
    """RFC 7830; RFC 8467 has clients pad to 128, 256 and so on."""
    padded = record(OPT, b"", of=b"\0", ttl=0)
    asked = message(question(b"a.example"), additionals=(padded,), flags=0x0120)
    asked += bytes(size - len(asked))
    wire = Wire().client(framed(asked))
    assert [found.buffers["dns.query"] for found in wire.seen] == [b"a.example"]


@pytest.mark.parametrize("flags", [0x0100, 0x0120, 0x0140, 0x0180, 0x0500, 0x2000, 0x2800])
def test_a_query_may_have_odd_flags(flags: int) -> None:
    wire = Wire().client(framed(message(question(b"a.example"), flags=flags)))
    assert [found.buffers["dns.query"] for found in wire.seen] == [b"a.example"]


UNREAD = (
    message(question(b"a.example"), flags=0x3800),
    pack(">6H", 1, 0x0100, 5, 0, 0, 0) + question(b"b"),
    b"\1\2\1\0" + b"A" * 300,
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    bytes(12),
    b"EHLO a.example\r\nMAIL FROM:<a@b>\r\n",
)


def at_port_53(wire: Wire) -> Wire:
    wire.flow.columns.dport[wire.flow.slot] = 53
    return wire


@given(st.lists(st.sampled_from(UNREAD), min_size=1, max_size=3), st.sampled_from([1, 7, 100, 5000]), st.booleans())
def test_messages_that_no_server_reads_hide_no_query_behind_them(junk: list[bytes], step: int, answered: bool) -> None:
    """Servers answer them with an error, and read the next one."""
    wire, said = at_port_53(Wire()), framed(*junk, ASKED)
    for at in range(0, len(said), step):
        wire.client(said[at : at + step])
        if answered and not at:
            wire.server(framed(b"\1\2\xb9\4" + bytes(300)))
    assert [found.buffers["dns.query"] for found in wire.seen if "dns.query" in found.buffers] == [b"www.Example.com"]


def test_a_walk_over_messages_ends_where_no_server_goes_on() -> None:
    wire = at_port_53(Wire()).client(b"\0\3abc" + framed(ASKED))
    assert not wire.seen
    assert wire.stage._talks.by_id[wire.flow.id].walk is None


def test_http_at_the_port_of_name_servers_is_read() -> None:
    wire = at_port_53(Wire()).client(b"\r\n" * 200 + b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [found.buffers["http.uri"] for found in wire.seen] == [b"/a"]


def test_after_a_gap_the_next_message_is_found() -> None:
    wire = Wire().client(framed(ASKED)).client(b"the end of a message", gap=100).client(framed(ASKED))
    assert [found.buffers["dns.query"] for found in wire.seen] == [b"www.Example.com"] * 2
    assert wire.counters["dns.skipped_bytes"] == 20


def test_unfinished_messages_are_bounded_over_all_flows() -> None:
    wire = Wire()
    wire.stage = Protocols(
        ProtocolSettings.model_validate({"dns": {"memcap_bytes": 65536}}), wire.counters, wire.flow.columns
    )
    wire.client(b"\x0f\xff" + ASKED + b"x" * 100)
    wire.pool("dns").held += 65536
    wire.client(b"x" * 100)
    assert wire.counters["dns.memcap"] == 1
    assert wire.pool("dns").held == 65536
    assert [found.buffers["dns.query"] for found in wire.client(framed(ASKED)).seen] == [b"www.Example.com"]


# Hostile messages.


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ASKED[:11],
        ASKED[:12],
        ASKED[:-1],
        ASKED[:12] + b"\xc0\x0c\0\1\0\1",  # a pointer to itself
        ASKED[:12] + b"\xc0\x0e\xc0\x0c\0\1\0\1",  # two that point at each other
        ASKED[:12] + b"\xc0\xff\0\1\0\1",  # out of the message
        ASKED[:12] + b"\x40a\0\0\1\0\1",
        ASKED[:12] + b"\x01a" * 300 + b"\0\0\1\0\1",
        ASKED[:12] + b"\x3fa\0\0\1\0\1",
    ],
)
def test_what_cannot_be_read_is_counted(data: bytes) -> None:
    wire = Wire().client(framed(ASKED, data, ASKED))
    assert [found.buffers.get("dns.query") for found in wire.seen] == [b"www.Example.com", None, b"www.Example.com"]
    assert wire.seen[1].buffers[ODDITY] == b"dns.malformed_data"
    assert wire.counters["dns.malformed"] == 1


def test_a_name_that_goes_in_circles_ends() -> None:
    data = ASKED[:12] + b"\1a\xc0\x0c"
    found, end = Names(data).read(12)
    assert found.startswith(b"a.a.a")
    assert len(found) <= MAX_NAME
    assert end == len(data)


def test_a_name_has_dots_between_its_labels_and_none_behind() -> None:
    data = b"\3www\7ex\0mple\0" + b"\2a.\xc0\x04"
    names = Names(data)
    assert names.read(0) == (b"www.ex\0mple", 13)
    assert names.read(13) == (b"a..ex\0mple", 18)
    assert names.read(12) == (b"", 13)


def test_records_that_cannot_be_read_leave_those_before_them() -> None:
    answer = message(question(b"a.example"), answers=(record(A, b"\1\2\3\4"), record(A, b"\5\6\7\x08")), flags=ANSWER)
    port = Port().say((SERVER, answer[:-3]))
    assert [one["rdata"] for one in port.seen[0].fields["answers"]] == ["1.2.3.4"]
    assert port.counters["dns.malformed_records"] == 1


def test_a_message_with_a_second_question_that_cannot_be_read_has_its_first() -> None:
    found = read(message(question(b"a.example"), b"\x3fx"))
    assert [asked.name for asked in found.questions] == [b"a.example"]
    assert found.sections == ([], [], [])


def test_records_are_bounded() -> None:
    answer = message(question(b"a.example"), answers=(record(A, b"\1\2\3\4"),) * 100, flags=ANSWER)
    port = Port(records=16).say((SERVER, answer))
    assert len(port.seen[0].fields["answers"]) == 15
    assert port.counters["dns.too_many_records"] == 1
    asked = Port(records=16).say((SERVER, message(question(b"a"))), (CLIENT, message(*[question(b"a.example")] * 20)))
    assert len(asked.seen[1].instances("dns.query")) == 16


def test_pointers_to_long_names_cost_no_more_than_their_bound() -> None:
    """64 KiB of records, each with a pointer into a chain of labels of its own."""
    chain = b"\1a" * 8000 + b"\0"
    records = [record(A, b"", of=pack(">H", 0xC000 | 12 + 4 + at * 2)) for at in range(4000)]
    data = pack(">HH4H", 1, ANSWER, 0, 4001, 0, 0) + record(TXT, chain, of=b"\0") + b"".join(records)
    found = Message(data, 65536, Counters())
    assert found.sections[0]
    assert found.names._steps <= MAX_STEPS + 256


@given(st.binary(max_size=400) | st.builds(lambda tail: ASKED[:12] + tail, st.binary(max_size=300)))
def test_no_message_makes_the_parser_fail(data: bytes) -> None:
    assert_reported([data])


@given(st.lists(st.tuples(st.integers(0, len(ANSWERED) - 1), st.integers(0, 255)), max_size=6), st.integers(0, 40))
def test_no_change_of_a_message_makes_the_parser_fail(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(ANSWERED)
    for at, byte in changes:
        data[at] = byte
    assert_reported([bytes(data[: len(data) - cut])])


def assert_reported(messages: Iterable[bytes]) -> None:
    """Assert that messages of both sides are reported, whatever is in them, and that all can be asked for."""
    messages = list(messages)
    port = Port().say((CLIENT, ASKED), *[(SERVER, data) for data in messages], *[(CLIENT, data) for data in messages])
    assert len(port.seen) == 1 + 2 * len(messages)
    assert port.seen[0].buffers["dns.query"] == b"www.Example.com"
    for found in port.seen:
        dict(found.buffers), dict(found.more)
        json.dumps(dict(found.fields))
    assert not port.counters["app_layer.error.dns.internal"]


@pytest.mark.parametrize(
    ("direction", "data", "odd"),
    [
        (CLIENT, ASKED, ()),
        (CLIENT, message(question(b"a.example"), flags=0x0140), (b"dns.z_flag_set",)),
        (CLIENT, message(question(b"a.example"), flags=0x3800), (b"dns.invalid_opcode",)),
        (CLIENT, message(question(b"a.example"), flags=ANSWER), (b"dns.not_a_request",)),
        (SERVER, message(question(b"a.example")), (b"dns.not_a_response",)),
        (SERVER, ANSWERED[:-1], (b"dns.malformed_data",)),
        (SERVER, message(question(b"a.example"), answers=(record(A, b"", of=b"\x01a\xc0\x1b"),), flags=ANSWER),
         (b"dns.too_many_labels",)),
        (CLIENT, message(question(b".".join([b"x" * 63] * 17))), (b"dns.name_too_long",)),
    ],
)  # fmt: skip
def test_what_is_odd_is_named(direction: Direction, data: bytes, odd: tuple[bytes, ...]) -> None:
    wire = Wire().client(framed(ASKED)).send(direction, framed(data))
    assert wire.seen[-1].instances(ODDITY) == odd


def test_messages_without_a_header_are_refused() -> None:
    with pytest.raises(Malformed, match="no header"):
        read(b"x" * 11)


# Events and rules.


def played(tmp_path: Path, match: str, *said: Any, traffic: str = "dns", more: str = "") -> Session:
    """Return a session with one rule, after a conversation over UDP."""
    path = tmp_path / "r.yaml"
    path.write_text("rules:\n" + rule_text(match, 1, traffic, more))
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.udp(*said, dport=53)
    session.end()
    return session


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("[dns.query: {equals: www.example.com, nocase: true}]", [1]),
        ("[dns.query: {equals: www.example.com}]", []),
        ("[dns.query: {endswith: .Example.com}]", [1]),
        ("[dns.query: {endswith: .Example.co}]", []),
        ("[dns.queries.rrname: {contains: Example}]", [1, 2]),
        ("[dns.answers.rrname: {equals: host.example.com}]", [2]),
        ("[dns.answers.rrname: {equals: mx.example.com}]", []),
        ("[dns.response.rrname: {equals: mx.example.com}]", [2]),
        ("[dns.rrtype: {equals: '1'}]", [1, 2]),
        ("[dns.rcode: {equals: '3'}]", []),
        ("[app-layer-event: {equals: dns.malformed_data}]", [3]),
        ("[app-layer-event: {equals: dns.z_flag_set}]", []),
        ("[dns.query: {contains: Example}, dns.answer.name: {contains: host}]", [2]),
    ],
)
def test_rules_on_buffers(match: str, found: list[int], tmp_path: Path) -> None:
    session = played(tmp_path, match, ASKED, to_client(ANSWERED), b"short")
    assert [alert["pcap_cnt"] for alert in session.alerts] == found


def test_suricatas_rules_ask_for_what_is_odd(tmp_path: Path) -> None:
    path = tmp_path / "r.rules"
    path.write_text(
        "".join(
            f'alert dns any any -> any any (msg:"{name}"; app-layer-event:dns.{name}; sid:{sid};)\n'
            for sid, name in enumerate(("z_flag_set", "malformed_data", "not_a_response"), 1)
        )
    )
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.udp(message(question(b"a.example"), flags=0x0140), b"short", dport=53)
    session.end()
    assert [(alert["alert"]["signature_id"], alert["pcap_cnt"]) for alert in session.alerts] == [(1, 1), (2, 2)]
    assert session.alerts[0]["dns"]["query"][0]["z"] is True


def test_events_and_alerts_fit_the_schema(tmp_path: Path) -> None:
    validator = event_validator()
    session = played(tmp_path, "[dns.queries.rrname: {contains: Example}]", ASKED, to_client(ANSWERED))
    events = [event for event in session.events if "dns" in event]
    assert [event["event_type"] for event in events].count("dns") == 2
    for event in events:
        known = {key: value for key, value in event.items() if key != "ids"}
        assert [error.message for error in validator.iter_errors(known)] == []


def test_alerts_have_the_query_in_a_list_and_the_answer_without_its_records(tmp_path: Path) -> None:
    session = played(tmp_path, "[dns.queries.rrname: {contains: Example}]", ASKED, to_client(ANSWERED))
    asked, answered = (alert["dns"] for alert in session.alerts)
    assert asked["query"][0]["rrname"] == "www.Example.com"
    assert answered["answer"]["rcode"] == "NOERROR"
    assert "answers" not in answered["answer"]
