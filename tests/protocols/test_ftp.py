"""FTP: commands with their replies, and data connections whose content are files, however they are cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols import ODDITY, Protocols, ProtocolSettings
from ids.protocols.expected import MOST, Expected
from ids.protocols.ftp.parser import address_of
from ids.testing import Session, to_client
from ids.types import FlowColumns, StreamChunk, Transaction
from plugins.rules import Rules
from tests.cost import LINEAR, growth
from tests.factory import NO_DATAGRAMS, T0, make_flow, make_streams
from tests.protocols import handshakes as hs
from tests.protocols.mails import asked
from tests.protocols.sessions import (
    Turn,
    complete,
    events,
    faults,
    held,
    limited,
    played,
    said,
    said_in_pieces,
    values,
)
from tests.protocols.wire import CLIENT, SERVER, Wire

GREETING: Turn = (1, b"220-Welcome to FTP\r\n220-of\r\n220 us\r\n")
SESSION = (
    GREETING,
    *asked(b"USER anonymous", b"331 password"),
    *asked(b"pass x@y", b"230-Hello\r\n there\r\n230 in"),
    *asked(b"PASV", b"227 Entering Passive Mode (192,0,2,2,16,146)."),
    *asked(b"RETR a/b.txt", b"150 opening\r\n226 done"),
    *asked(b"EPSV", b"229 Extended (|||5000|)"),
    *asked(b"QUIT", b"221 bye"),
)
DONE = {"reply_received": "yes", "reply_truncated": False}


def test_each_command_with_its_replies_is_a_transaction() -> None:
    wire = said(*SESSION)
    assert wire.flow.app_proto == "ftp"
    assert [one.tx_id for one in complete(wire)] == list(range(7))
    assert events(wire) == [
        {"completion_code": ["220", "220", "220"], "reply": ["Welcome to FTP", "of", "us"], **DONE},
        {"command": "USER", "command_data": "anonymous", "command_truncated": False, "completion_code": ["331"],
         "reply": ["password"], **DONE},
        {"command": "PASS", "command_data": "x@y", "command_truncated": False, "completion_code": ["230", "230"],
         "reply": ["Hello", " there", "in"], **DONE},
        {"command": "PASV", "completion_code": ["227"], "reply": ["Entering Passive Mode (192,0,2,2,16,146)."],
         "dynamic_port": 4242, **DONE},
        {"command": "RETR", "command_data": "a/b.txt", "command_truncated": False, "completion_code": ["150", "226"],
         "reply": ["opening", "done"], **DONE},
        {"command": "EPSV", "completion_code": ["229"], "reply": ["Extended (|||5000|)"], "dynamic_port": 5000, **DONE},
        {"command": "QUIT", "completion_code": ["221"], "reply": ["bye"], **DONE},
    ]  # fmt: skip


def test_buffers() -> None:
    wire = said(*SESSION)
    asked_for, answered = [one for one in wire.seen if one.tx_id == 4]
    assert dict(asked_for.buffers) == {"ftp.command": b"RETR", "ftp.command_data": b"a/b.txt"}
    assert (asked_for.direction, answered.direction) == (CLIENT, SERVER)
    assert {name: answered.instances(name) for name in answered.buffers} == {
        "ftp.reply": (b"opening", b"done"), "ftp.completion_code": (b"150", b"226"), "ftp.reply_received": (b"yes",),
    }  # fmt: skip
    (passive,) = [one for one in complete(wire) if one.tx_id == 3]
    assert (passive.buffers["ftp.mode"], passive.buffers["ftp.dynamic_port"]) == (b"passive", b"4242")


@given(st.lists(st.integers(0, 100), max_size=8))
def test_any_cut_of_the_streams_gives_the_same(cuts: list[int]) -> None:
    assert said_in_pieces(SESSION, cuts).what() == said(*SESSION).what()


def test_commands_that_do_not_wait_find_their_replies() -> None:
    wire = said(GREETING, (0, b"USER a\r\nPASS b\nPWD\r\n"), (1, b"331 p\r\n230 in\r\n257 /\r\n"))
    assert [(one.get("command"), one["completion_code"][-1]) for one in events(wire)][1:] == [
        ("USER", "331"), ("PASS", "230"), ("PWD", "257"),
    ]  # fmt: skip


def test_what_has_no_reply_is_reported_at_the_end() -> None:
    wire = said(GREETING, (0, b"QUIT\r\n")).close()
    assert events(wire)[1] == {"command": "QUIT", "reply_received": "no", "reply_truncated": False}


def test_a_command_behind_the_end_of_the_server_is_reported_too() -> None:
    wire = said(GREETING).send(SERVER, b"", closed=True)
    said((0, b"USER a\r\nQUIT\r\n"), wire=wire)
    assert [(one.get("command"), one["reply_received"]) for one in events(wire)][1:] == [("USER", "no"), ("QUIT", "no")]


def test_lines_that_are_too_long() -> None:
    wire = said(GREETING, *asked(b"RETR " + b"A" * 5000, b"550 " + b"B" * 5000), *asked(b"NOOP"))
    assert values(wire, ODDITY) == [b"ftp.request_command_too_long", b"ftp.response_command_too_long"]
    assert [len(one.get("command_data", "")) for one in events(wire)] == [0, 4091, 0]
    assert (events(wire)[1]["command_truncated"], events(wire)[1]["reply_truncated"]) == (True, True)


@pytest.mark.parametrize("step", [0, 1])
def test_auth_tls_hands_the_flow_over(step: int) -> None:
    wire = said(GREETING, *asked(b"AUTH TLS", b"234 go"), step=step)
    said((0, hs.client_side()), (1, hs.server_side(hs.certificate())), wire=wire, step=step)
    assert wire.flow.app_proto == "tls"
    assert [(one.protocol, one.tx_id) for one in complete(wire)] == [("ftp", 0), ("ftp", 1), ("tls", 2)]


def test_commands_and_replies_are_bounded() -> None:
    wire = said(GREETING, (0, b"NOOP\r\n" * 20), wire=limited("ftp", open_commands=4, reply_lines=2))
    assert wire.counters["ftp.commands_evicted"] == 16
    said((1, b"200-a\r\n" * 50), wire=wire)
    assert len(complete(said((1, b"200 b\r\n"), wire=wire))[-1].fields["reply"]) == 2


PIECES = [b"USER a\r\n", b"PORT 1,2,3,4,5,6\r\n", b"EPRT |1|a|99999|\r\n", b"227 (1,2,3,4,255,255)\r\n",
          b"229 (|||0|)\r\n", b"200-a\r\n", b"200 a\r\n", b"150 a\r\n", b"AUTH TLS\r\n", b"234 a\r\n", b"RETR \xff\r\n",
          b"\r\n", b"x"]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(PIECES) | st.binary(max_size=50)), max_size=30))
def test_no_session_makes_it_fail(turns: list[Turn]) -> None:
    wire = said(GREETING, *turns).close()
    assert wire.counters["app_layer.error.ftp.internal"] == 0
    assert held(wire, "ftp") == 0


@pytest.mark.parametrize(
    ("command", "data", "expected"),
    [
        (b"PORT", b"192,0,2,1,4,1", (b"\0" * 10 + b"\xff\xff\xc0\0\2\1", 1025)),
        (b"PORT", b"192,0,2,256,4,1", None),
        (b"EPRT", b"|1|192.0.2.1|1025|", (b"\0" * 10 + b"\xff\xff\xc0\0\2\1", 1025)),
        (b"EPRT", b"|2|::1|1025|", (b"\0" * 15 + b"\1", 1025)),
        (b"EPRT", b"|1|nobody|1025|", None),
        (b"EPRT", b"|1||1025|", (None, 1025)),
        (b"EPRT", b"|1|192.0.2.1|99999|", None),
    ],
)
def test_addresses(command: bytes, data: bytes, expected: object) -> None:
    assert address_of(command, data) == expected


# Data connections.

HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "192.0.2.9"


class Net:
    """Flows in one table, whose streams are fed to the stage."""

    def __init__(self) -> None:
        self.flows = FlowColumns(16)
        self.counters = Counters()
        self.stage = Protocols(ProtocolSettings(), self.counters, self.flows)
        self.seen: list[Transaction] = []
        self._number = 0

    def flow(self, src: str, dst: str, dport: int):  # type: ignore[no-untyped-def]
        return make_flow(columns=self.flows, src=src, dst=dst, sport=40_000 + self._number, dport=dport)

    def say(self, flow, *turns: Turn, closed: bool = False) -> Net:  # type: ignore[no-untyped-def]
        for side, data in turns:
            self._number += 1
            row = StreamChunk(flow, (CLIENT, SERVER)[side], 0, data, T0, self._number, closed=closed)
            self.seen += self.stage.feed(make_streams([row]), NO_DATAGRAMS)
        return self


def names(net: Net, protocol: str = "ftp-data") -> list[tuple[bytes | None, bytes | None]]:
    found = [one for one in net.seen if one.protocol == protocol and not one.partial and "file.data" in one.buffers]
    return [(one.buffers.get("file.name"), one.buffers.get("file.data")) for one in found]


@pytest.mark.parametrize("content", [b"hello", b"GET / HTTP/1.1\r\n\r\n", b"220 ESMTP\r\n"])
def test_a_passive_download_is_a_file_whatever_it_looks_like(content: bytes) -> None:
    net = Net()
    control = net.flow(HERE, THERE, 21)
    net.say(control, *SESSION[:7])
    data = net.flow(HERE, THERE, 4242)
    net.say(control, *SESSION[7:9]).say(data, (1, content)).say(data, (0, b""), (1, b""), closed=True)
    assert data.app_proto == "ftp-data"
    assert names(net) == [(b"a/b.txt", content)]
    logged = [dict(one.fields) for one in net.seen if one.protocol == "ftp-data" and one.complete]
    assert logged == [{"filename": "a/b.txt", "command": "RETR"}]


def test_an_active_upload_is_a_file() -> None:
    net = Net()
    control = net.flow(HERE, THERE, 21)
    net.say(control, *SESSION[:3], *asked(b"PORT 192,0,2,1,16,146", b"200 ok"), *asked(b"STOR up.bin", b"150 go"))
    data = net.flow(THERE, HERE, 4242)
    net.say(data, (1, b"content")).say(data, (0, b""), (1, b""), closed=True)
    assert (data.app_proto, names(net)) == ("ftp-data", [(b"up.bin", b"content")])


@pytest.mark.parametrize(
    ("announced", "src", "dst", "port"),
    [
        (b"PASV", ELSEWHERE, THERE, 4242),
        (b"PASV", HERE, ELSEWHERE, 4242),
        (b"PASV", HERE, THERE, 4243),
        (b"PORT 192,0,2,9,16,146", ELSEWHERE, HERE, 4242),
        (b"PORT 192,0,2,1,0,80", THERE, HERE, 80),
    ],
)
def test_nobody_elses_connection_is_taken_for_a_transfer(announced: bytes, src: str, dst: str, port: int) -> None:
    """Else a client could have what it says to a web server read as a mere file."""
    net = Net()
    control = net.flow(HERE, THERE, 21)
    net.say(
        control, *SESSION[:3], *asked(announced, b"227 ok (192,0,2,2,16,146)" if announced == b"PASV" else b"200 ok")
    )
    other = net.flow(src, dst, port)
    net.say(other, (0, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert other.app_proto == "http"


def test_a_connection_is_expected_once() -> None:
    net = Net()
    control = net.flow(HERE, THERE, 21)
    net.say(control, *SESSION[:7])
    net.say(net.flow(HERE, THERE, 4242), (0, b"x"))
    again = net.flow(HERE, THERE, 4242)
    net.say(again, (0, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert again.app_proto == "http"


REQUEST, RESPONSE = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize("command", [b"LIST", b"RETR x", b"STOR x", None])
@pytest.mark.parametrize("step", [1, 1000])
def test_an_announcement_that_lies_hides_nothing(command: bytes | None, step: int) -> None:
    """Whoever makes a server say 227 of a web server's port could else have what is said there read as a file."""
    net = Net()
    control = net.flow(HERE, THERE, 21)
    net.say(control, *SESSION[:7])
    web = net.flow(HERE, THERE, 4242)
    if command is not None:
        net.say(control, (0, command + b"\r\n"))
    pieces = [(side, data[at : at + step]) for side, data in ((0, REQUEST), (1, RESPONSE))
              for at in range(0, len(data), step)]  # fmt: skip
    for turn in pieces:
        net.say(web, turn)
        if command is None and turn[0] == 1:
            assert web.app_proto == "http"
    assert web.app_proto == "http"
    found = [one for one in net.seen if one.protocol == "http" and not one.partial]
    assert [one.buffers["http.uri"] for one in found if "http.uri" in one.buffers] == [b"/evil"]
    assert [one.buffers["http.stat_code"] for one in found if one.complete] == [b"200"]
    assert net.counters["app_layer.expected.belied"] == 1


def test_what_no_transfer_asked_for_is_not_waited_with() -> None:
    net = Net()
    net.say(net.flow(HERE, THERE, 21), *SESSION[:7])
    web = net.flow(HERE, THERE, 4242)
    net.say(web, (0, REQUEST))
    assert [one.buffers["http.uri"] for one in net.seen if one.protocol == "http"] == [b"/evil"]


def test_a_long_request_to_an_announced_port_is_read_as_far_as_it_was_kept() -> None:
    net = Net()
    net.say(net.flow(HERE, THERE, 21), *SESSION[:7], (0, b"LIST\r\n"))
    web = net.flow(HERE, THERE, 4242)
    long = REQUEST.replace(b"GET", b"POST").replace(b"Host", b"Content-Length: 20000\r\nHost") + bytes(20000)
    net.say(web, (0, long), (1, RESPONSE))
    found = {name for one in net.seen if one.protocol == "http" for name in one.buffers}
    assert {"http.uri", "http.stat_code"} <= found
    assert net.stage._talks.held == 0


def test_a_list_is_no_file() -> None:
    net = Net()
    net.say(net.flow(HERE, THERE, 21), *SESSION[:7], *asked(b"LIST", b"150 go"))
    data = net.flow(HERE, THERE, 4242)
    net.say(data, (1, b"names"), (0, b""))
    assert (data.app_proto, names(net)) == ("ftp-data", [])


@pytest.mark.parametrize("side", [0, 1])
def test_what_waits_for_a_reply_counts(side: int) -> None:
    """A session may hold a megabyte of them, and there are many sessions."""
    wire = said(GREETING, wire=limited("ftp", memcap_bytes=65536))
    line = b"x" * 4000 + b"\r\n"
    wire.send(CLIENT, b"USER x\r\n").send((CLIENT, SERVER)[side], line * 200 if side == 0 else b"331-" + line * 200)
    assert wire.counters["ftp.memcap"] > 0
    pool = wire.stage._talks.by_id[wire.flow.id].parser._shared.pool  # type: ignore[union-attr]
    assert 0 < pool.held <= 65536
    wire.stage._talks.forget([wire.flow.id])
    assert pool.held == 0


def test_a_session_that_announces_much_has_no_others_forgotten() -> None:
    net = Net()
    net.say(net.flow(HERE, THERE, 21), *SESSION[:9])
    flood = b"".join([b"PORT 192,0,2,9,%d,%d\r\n" % (port >> 8, port & 255) for port in range(5000, 5000 + MOST + 1)])
    net.say(net.flow(ELSEWHERE, THERE, 21), *SESSION[:3], (0, flood))
    data = net.flow(HERE, THERE, 4242)
    net.say(data, (1, b"content")).say(data, (0, b""), (1, b""), closed=True)
    assert (data.app_proto, names(net)) == ("ftp-data", [(b"a/b.txt", b"content")])


def test_announcements_are_bounded_and_expire() -> None:
    counters = Counters()
    expected = Expected(counters)
    flow = make_flow()
    for port in range(1024, 1024 + MOST + 5):
        expected.announce(flow, port, "ftp-data", None, T0, from_server=False)
    assert (len(expected), counters["app_layer.expected.evicted"]) == (MOST, 5)
    late = make_flow(dport=1024 + MOST)
    assert expected.take(late, T0 + 10**15) is None


RULES = """\
alert ftp any any -> any any (msg:"a"; ftp.command; content:"RETR"; ftp.command_data; content:"b.txt"; endswith; sid:1;)
alert ftp any any -> any any (msg:"b"; ftp.reply; content:"opening"; sid:2;)
alert ftp any any -> any any (msg:"c"; ftp.completion_code; content:"226"; sid:3;)
alert ftp any any -> any any (msg:"d"; ftp.dynamic_port:4242; sid:4;)
alert ftp any any -> any any (msg:"e"; ftp.mode:passive; ftp.dynamic_port:>4999; sid:5;)
alert ftp any any -> any any (msg:"f"; ftp.reply_received:no; sid:6;)
alert ftp any any -> any any (msg:"g"; ftpbounce; sid:7;)
"""


def test_rules_in_suricatas_language(tmp_path: Path) -> None:
    assert sorted(played(tmp_path, RULES, SESSION).sids) == [1, 2, 3, 4, 5]
    bounced = (*SESSION[:3], *asked(b"PORT 203,0,113,7,0,80", b"200 ok"))
    session = played(tmp_path, RULES, bounced)
    assert session.sids == [7]
    assert faults([one for one in session.events if "ftp" in one]) == []


DATA_RULES = """\
alert ftp-data any any -> any any (msg:"a"; ftpdata_command:stor; sid:1;)
alert ftp-data any any -> any any (msg:"b"; ftpdata_command:retr; sid:2;)
alert ftp-data any any -> any any (msg:"c"; file.data; content:"root"; ftpdata_command:stor; sid:3;)
alert ftp-data any any -> any any (msg:"d"; filename:"up.bin"; sid:4;)
"""


def test_rules_on_what_is_transferred(tmp_path: Path) -> None:
    path = tmp_path / "r.rules"
    path.write_text(DATA_RULES)
    session = Session(f"rules.paths=[{path}]", "eve.types=[alert,ftp,ftp_data,fileinfo]", rules=Rules())
    port = b"227 ok (192,0,2,2,16,146)"
    turns = (GREETING, *asked(b"USER a", b"331 p"), *asked(b"PASV", port), *asked(b"STOR up.bin", b"150 go"))
    session.tcp(*(to_client(data) if side else data for side, data in turns), dport=21)
    session.tcp(b"root:x:0", dport=4242)
    session.end()
    if not any(one["event_type"] == "ftp_data" for one in session.events):
        pytest.skip("the test kit gives its connections other ends")
    assert sorted(session.sids) == [1, 3, 4]
    assert faults([one for one in session.events if "ftp_data" in one]) == []


def test_the_cost_of_an_answer_that_names_no_port_is_linear() -> None:
    def answer(size: int) -> None:
        line = b"229 " + b"a" * size + b"\r\n"
        Wire(ftp={"line_bytes": 1 << 16}).client(b"USER a\r\nEPSV\r\n").server(b"220 a\r\n331 a\r\n" + line)

    assert growth(answer, 2000) < LINEAR
