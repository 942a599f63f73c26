"""IMAP and POP3: commands and answers, and the mails in them, however they are cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocols import handshakes as hs
from tests.protocols.mails import CONTENT, MAIL, asked
from tests.protocols.sessions import Turn, complete, events, faults, held, played, said, said_in_pieces, values
from tests.protocols.wire import SERVER

STUFFED = MAIL.replace(b"\r\n.", b"\r\n..")
POP3 = (
    (1, b"+OK ready\r\n"),
    *asked(b"user bob", b"+OK"),
    *asked(b"PASS x", b"-ERR no"),
    *asked(b"LIST", b"+OK 1 message\r\n1 5\r\n."),
    *asked(b"RETR 1", b"+OK follows\r\n" + STUFFED + b"."),
    *asked(b"QUIT", b"+OK bye"),
)
IMAP = (
    (1, b"* OK IMAP4rev1 ready\r\n"),
    *asked(b"a1 LOGIN bob {3}", b"+ go on"),
    *asked(b"pwd", b"* CAPABILITY X\r\na1 OK in"),
    *asked(b"a2 uid fetch 1 BODY[]", b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%s FLAGS ())\r\na2 OK done" % (len(MAIL), MAIL)),
    (0, b"a3 APPEND inbox {%d}\r\n" % len(MAIL)),
    (1, b"+ go on\r\n"),
    *asked(MAIL, b"a3 OK stored"),
    *asked(b"a4 NO-SUCH", b"a4 BAD what"),
)


def test_pop3() -> None:
    wire = said(*POP3)
    assert wire.flow.app_proto == "pop3"
    assert [one.tx_id for one in complete(wire)] == list(range(6))
    assert events(wire)[0] == {"response": {"success": True, "status": "OK", "header": "ready", "data": []}}
    assert events(wire)[2] == {
        "request": {"command": "PASS", "args": ["x"]},
        "response": {"success": False, "status": "ERR", "header": "no", "data": []},
    }
    assert [one["request"]["command"] for one in events(wire)[1:]] == ["USER", "PASS", "LIST", "RETR", "QUIT"]
    assert values(wire, "pop3.command_data") == [b"bob", b"x", b"1"]


def test_imap() -> None:
    wire = said(*IMAP)
    assert wire.flow.app_proto == "imap"
    assert events(wire) == [
        {"tag": "a1", "command": "LOGIN", "command_data": "bob {3}", "reply": "OK in"},
        {"tag": "a2", "command": "UID FETCH", "command_data": "1 BODY[]", "reply": "OK done"},
        {"tag": "a3", "command": "APPEND", "command_data": f"inbox {{{len(MAIL)}}}", "reply": "OK stored"},
        {"tag": "a4", "command": "NO-SUCH", "reply": "BAD what"},
    ]


@pytest.mark.parametrize(("turns", "mails"), [(POP3, 1), (IMAP, 2)])
def test_mails_are_read(turns: tuple[Turn, ...], mails: int) -> None:
    wire = said(*turns)
    found = [one for one in wire.seen if "email.from" in one.buffers and "file.data" not in one.buffers]
    assert [one.buffers["email.message_id"] for one in found] == [b"<1@x>"] * mails
    assert found[0].direction is SERVER
    files = [one.buffers["file.data"] for one in wire.seen if one.buffers.get("file.name") == b"a.bin"]
    assert files == [CONTENT] * mails


@pytest.mark.parametrize("turns", [POP3, IMAP], ids=["pop3", "imap"])
@given(cuts=st.lists(st.integers(0, 3000), max_size=8))
def test_any_cut_of_the_streams_gives_the_same(turns: tuple[Turn, ...], cuts: list[int]) -> None:
    assert said_in_pieces(turns, cuts).what() == said(*turns).what()


@pytest.mark.parametrize(("turns", "command"), [(POP3, b"DELE 1\r\n"), (IMAP, b"a9 EXPUNGE\r\n")], ids=["pop3", "imap"])
def test_a_command_behind_the_end_of_the_server_is_reported_too(turns: tuple[Turn, ...], command: bytes) -> None:
    wire = said(*turns).send(SERVER, b"", closed=True)
    before = len(events(wire))
    said((0, command), wire=wire)
    assert len(events(wire)) == before + 1
    assert command.split()[-2 if turns is POP3 else -1].decode() in str(events(wire)[-1])


def test_a_mail_behind_the_end_of_the_server_is_whole() -> None:
    append = b"a9 APPEND inbox {%d+}\r\n" % len(MAIL)
    wire = said(*IMAP[:1], (0, append + MAIL[:40])).send(SERVER, b"", closed=True)
    said((0, MAIL[40:] + b"\r\n"), wire=wire)
    assert [one.buffers["file.data"] for one in wire.seen if one.buffers.get("file.name") == b"a.bin"] == [CONTENT]


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("greeting", "command", "answer"),
    [(b"+OK ready\r\n", b"STLS", b"+OK go"), (b"* OK ready\r\n", b"a STARTTLS", b"a OK go")],
)
def test_starttls_hands_the_flow_over(greeting: bytes, command: bytes, answer: bytes, step: int) -> None:
    wire = said((1, greeting), *asked(command, answer), step=step)
    said((0, hs.client_side()), (1, hs.server_side(hs.certificate())), wire=wire, step=step)
    assert wire.flow.app_proto == "tls"
    assert complete(wire)[-1].protocol == "tls"


def test_what_a_client_says_within_a_command_is_none() -> None:
    wire = said((1, b"* OK x\r\n"), *asked(b"a AUTHENTICATE PLAIN", b"+ "), *asked(b"b LOGOUT now", b"a OK in"))
    assert [one["command"] for one in events(wire)] == ["AUTHENTICATE"]


@pytest.mark.parametrize("command", [b"IDLE", b"AUTHENTICATE FOO"])
def test_what_follows_a_command_that_the_server_refuses_is_read(command: bytes) -> None:
    pipelined = b"a " + command + b"\r\nb FETCH 1 BODY[]\r\nc DELETE x\r\n"
    wire = said((1, b"* OK x\r\n"), (0, pipelined), (1, b"a BAD no\r\nb OK it\r\nc OK gone\r\n"))
    assert [one["command"] for one in events(wire)] == [command.split()[0].decode(), "FETCH", "DELETE"]


def test_what_is_compressed_is_not_read() -> None:
    wire = said((1, b"* OK x\r\n"), *asked(b"a COMPRESS DEFLATE", b"a OK go"), (0, b"b NOOP\r\n"), (1, b"b OK\r\n"))
    assert (wire.counters["imap.compressed"], len(events(wire))) == (1, 1)


@pytest.mark.parametrize(("first", "name"), [(b"+OK x\r\n", "pop3"), (b"* OK x\r\n", "imap")])
@given(
    turns=st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from([
                b"RETR 1\r\n", b"+OK\r\n", b".\r\n", MAIL[:200], b"a FETCH BODY[] {5}\r\n", b"* 1 FETCH BODY[] {9}\r\n",
                b"a OK\r\n", b"a APPEND x {999999999999}\r\n", b"a IDLE\r\n", b"STLS\r\n", b"LIST\r\n",
            ]) | st.binary(max_size=40),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_no_session_makes_it_fail(first: bytes, name: str, turns: list[Turn]) -> None:
    wire = said((1, first), *turns).close()
    assert wire.counters[f"app_layer.error.{name}.internal"] == 0
    assert held(wire, name) == 0 or wire.flow.app_proto != name


RULES = """\
alert pop3 any any -> any any (msg:"a"; pop3.command; content:"RETR"; sid:1;)
alert pop3 any any -> any any (msg:"b"; email.subject; content:"|c3 a4|"; sid:2;)
alert pop3 any any -> any any (msg:"c"; flow:to_client; filename:"a.bin"; sid:3;)
alert imap any any -> any any (msg:"d"; imap.command; content:"APPEND"; sid:4;)
alert imap any any -> any any (msg:"e"; imap.reply; content:"BAD"; startswith; sid:5;)
"""


def test_rules_and_events(tmp_path: Path) -> None:
    types = "eve.types=[alert,pop3,imap,fileinfo]"
    session = played(tmp_path, RULES, POP3, types)
    assert sorted(session.sids) == [1, 2, 3]
    assert faults(session.events) == []
    session = played(tmp_path, RULES, IMAP, types)
    assert sorted(session.sids) == [4, 5]
    assert faults(session.events) == []
    assert [one["ids"]["imap"]["tag"] for one in session.events if one["event_type"] == "imap"] == [
        "a1",
        "a2",
        "a3",
        "a4",
    ]
