"""Who opens with the words of another protocol, or in another's name, hides nothing of what is said behind them."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols import PROTOCOLS, prelude
from ids.protocols.recognition import LINE_BYTES, Recogniser
from tests.protocols.wire import CLIENT, SERVER, Wire, uris

RECOGNISER = Recogniser(PROTOCOLS)
GET = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
LINES = {
    "ssh": b"SSH-2.0-x\r\n", "a greeting": b"220 mx ESMTP\r\n", "smtp": b"EHLO x\r\n", "ftp": b"USER x\r\n",
    "pop3": b"CAPA\r\n", "imap": b"a CAPABILITY\r\n", "sip": b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n",
    "rtsp": b"OPTIONS rtsp://a/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", "redis": b"*1\r\n$4\r\nPING\r\n", "inline": b"PING\r\n",
    "rfb": b"RFB 003.008\n", "tls": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n",
    "dns": b"\x00\x0e\x124\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\r\n", "nothing": b"hello\r\n",
    "long": b"z" * 300 + b"\r\n",
    "longer": b"\x80" * 9000 + b"\r\n", "blanks": b"\r\n" * 400, "spaces": b"  \r\n",
}  # fmt: skip
"""What a lenient server of HTTP passes over, or refuses, before it reads the next line."""
BINARY = {
    "tls": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", "dns": b"\x00\x0c\x124\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00",
    "mqtt": b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd", "smb": b"\x00\x00\x00\x2f\xffSMBr" + b"\0" * 30,
    "rdp": bytes.fromhex("0300000b06e00000000000"), "zeros": b"\0" * 300,
}  # fmt: skip


@pytest.mark.parametrize("answered", [b"", OK, REFUSED + OK])
@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("decoy", LINES.values(), ids=LINES)
def test_lines_of_another_protocol_do_not_hide_a_request(decoy: bytes, step: int, answered: bytes) -> None:
    wire = Wire().client(decoy + GET, step=step if len(decoy) < 100 else 100 * step).server(answered, step=step)
    assert b"/hidden" in uris(wire)


@pytest.mark.parametrize("decoy", BINARY.values(), ids=BINARY)
def test_bytes_of_another_protocol_do_not_hide_it_from_a_server_that_answers(decoy: bytes) -> None:
    """It is taken for the method, or the beginning of the target, of one line."""
    assert any(b"/hidden" in uri for uri in uris(Wire().client(decoy).client(GET).server(REFUSED + OK)))


@pytest.mark.parametrize("decoy", LINES.values(), ids=LINES)
def test_a_request_behind_a_refusal_is_one(decoy: bytes) -> None:
    assert b"/hidden" in uris(Wire().client(decoy).server(REFUSED).client(GET))


def test_a_line_that_is_no_request_does_not_hide_the_one_behind_it() -> None:
    wire = Wire().client(GET).server(OK).client(b"JUNK\r\n" + GET).server(OK)
    assert uris(wire).count(b"/hidden") == 2
    assert uris(Wire().client(b"GET /seen HTTP/1.1\r\n" + GET)) == [b"/seen"], "a field of that head, if anything"


SESSIONS = {
    "smtp": (b"220 mx ESMTP\r\n", b"500 what\r\n", b"EHLO a\r\n", b"250 ok\r\n", b"MAIL FROM:<hidden@x>\r\n",
             b"250 ok\r\n", b"DATA\r\n", b"354 go\r\n", b"a: b\r\n\r\n.\r\n", b"250 ok\r\n"),
    "ftp": (b"220 FTP\r\n", b"500 what\r\n", b"USER a\r\n", b"331 pw\r\n", b"RETR hidden\r\n", b"550 no\r\n"),
    "pop3": (b"+OK ready\r\n", b"-ERR what\r\n", b"USER a\r\n", b"+OK\r\n", b"PASS hidden\r\n", b"+OK\r\n"),
    "imap": (b"* OK ready\r\n", b"* BAD what\r\n", b"a NOOP\r\n", b"a OK\r\n", b"a LOGIN hidden x\r\n", b"a OK\r\n"),
}  # fmt: skip
DECOYS = (
    b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"RFB 003.008\n", b"\x16\x03\x01\x00\x05abcde\r\n",
    *(LINES[name] for name in ("ssh", "smtp", "ftp", "pop3", "imap", "sip", "redis")),
)  # fmt: skip


def heard(wire: Wire, name: str) -> bool:
    """Return whether the hidden words stand in a buffer of a protocol."""
    found = [tx for tx in wire.all if tx.protocol == name]
    return any(b"hidden" in value for tx in found for buffer in tx.buffers for value in tx.instances(buffer))


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("decoy", DECOYS)
@pytest.mark.parametrize("name", SESSIONS)
def test_a_server_that_greeted_is_still_heard_behind_the_words_of_another_protocol(
    name: str, decoy: bytes, step: int
) -> None:
    greeting, refusal, *turns = SESSIONS[name]
    wire = Wire().server(greeting, step=step).client(decoy, step=step).server(refusal, step=step)
    for at, said in enumerate(turns):
        wire.send((CLIENT, SERVER)[at & 1], said, step=step)
    assert heard(wire, name)
    assert wire.flow.app_proto == name


@pytest.mark.parametrize("decoy", DECOYS)
@pytest.mark.parametrize("name", SESSIONS)
def test_a_client_that_does_not_wait_for_the_greeting_hides_nothing_either(name: str, decoy: bytes) -> None:
    greeting, refusal, *turns = SESSIONS[name]
    wire = Wire().client(decoy).server(greeting[:2]).server(greeting[2:] + refusal)
    for at, said in enumerate(turns):
        wire.send((CLIENT, SERVER)[at & 1], said)
    assert heard(wire, name)


def test_an_unknown_greeting_does_not_hide_a_mail_session_behind_a_decoy() -> None:
    wire = Wire().server(b"220 hello\r\n").client(b"SSH-2.0-x\r\n").server(b"500 what\r\n")
    for at, said in enumerate(SESSIONS["smtp"][2:]):
        wire.send((CLIENT, SERVER)[at & 1], said)
    assert heard(wire, "smtp")


@pytest.mark.parametrize("forged", [b"220 mx ESMTP\r\n", b"* OK ready\r\n"])
def test_forged_words_of_a_server_hide_no_request_however_many_there_are(forged: bytes) -> None:
    wire = Wire().server(forged).client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").server(b"500 what\r\n").client(GET)
    assert uris(wire) == [b"/", b"/hidden"]


def test_a_session_that_goes_on_in_tls_is_followed_there() -> None:
    wire = Wire().server(b"220 mx ESMTP\r\n").client(b"SSH-2.0-x\r\n").server(b"500 what\r\n")
    wire.client(b"STARTTLS\r\n").server(b"220 go\r\n").client(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03")
    assert (wire.flow.app_proto, wire.flow.app_orig) == ("tls", "smtp")


def test_a_redis_server_that_agrees_is_none_of_mail() -> None:
    assert Wire().client(LINES["redis"]).server(b"+OK\r\n").flow.app_proto == "redis"
    assert Wire().client(LINES["redis"]).server(b"+OK POP3 ready\r\n").flow.app_proto == "pop3"


def test_a_command_of_redis_behind_a_line_hides_nothing_either() -> None:
    for decoy in (b"hello\r\n" + LINES["redis"], b"hello\r\n*1\r\n", b"USER x\r\n" + LINES["redis"]):
        for step in (0, 1):
            assert b"/hidden" in uris(Wire().client(decoy + GET, step=step).server(REFUSED + OK))
        wire = Wire().client(decoy).server(b"+OK ready\r\n")
        wire.server(b"-ERR what\r\n").client(b"USER a\r\n").server(b"+OK\r\n").client(b"PASS hidden\r\n")
        assert heard(wire.server(b"+OK\r\n"), "pop3")


def test_a_mail_that_quotes_a_request_is_a_mail() -> None:
    """Its server has greeted, or answered, as one of mail: nothing else is looked for."""
    quoted = b"DATA\r\n", b"Subject: x\r\n\r\n" + GET + b".\r\n"
    for greeting in (b"220 mx ESMTP\r\n", b"220 hello\r\n"):
        wire = Wire().server(greeting).client(b"EHLO a\r\n").server(b"250 ok\r\n")
        wire.client(quoted[0]).server(b"354 go\r\n").client(quoted[1]).server(b"250 ok\r\n")
        assert {tx.protocol for tx in wire.all} == {"smtp"}


def test_both_readings_go_with_the_flow_and_give_back_what_they_hold() -> None:
    wire = Wire().server(b"220 mx ESMTP\r\n").client(b"GET /x HTTP/1.1\r\nX: y")
    (talk,) = wire.stage._talks.by_id.values()
    assert talk.rival is not None
    assert wire.counters["app_layer.rivals"] == 1
    wire.flow.columns.clear(np.array([wire.flow.slot]))
    assert wire.stage._talks.held == wire.pool("smtp").held == 0


def test_what_is_kept_of_lines_is_bounded_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire().client(b"\x01" * 300).client(b"x\nGET " + b"y" * 5000)
    assert wire.stage._talks.lines <= 1, "it begins no line that is looked for"
    wire.client(b"\nPOST /x")
    assert wire.stage._talks.lines == len(b"POST /x")
    wire.flow.columns.clear(np.array([wire.flow.slot]))
    assert wire.stage._talks.lines == 0
    monkeypatch.setattr(prelude, "LINES_MEMCAP_BYTES", 3)
    full = Wire().client(b"\x01" * 300 + b"\nPOST /x")
    assert full.stage._talks.lines <= 1
    assert full.counters["app_layer.probe.memcap"] == 1


def test_a_second_parser_that_fails_costs_the_flow_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire().server(b"220 mx ESMTP\r\n").client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    (talk,) = wire.stage._talks.by_id.values()
    assert talk.rival is not None

    class Broken:
        def feed(self, *_: object) -> None:
            raise RuntimeError

        def release(self) -> None:
            pass

    talk.rival.parser = Broken()
    with caplog.at_level(logging.CRITICAL):
        wire.client(GET)
    assert uris(wire)[-1] == b"/hidden"
    assert wire.counters["app_layer.error.smtp.internal"] == 1


@given(
    st.lists(
        st.sampled_from([b"GET /x HTTP/1.1", b"GET", b" http/", b"\n", b"\r\n", b"x" * 40, b"EHLO a"]), max_size=60
    )
)
def test_a_line_is_found_where_it_begins(pieces: list[bytes]) -> None:
    said = b"".join(pieces)
    found = RECOGNISER.within(said, ())
    if found is None:
        lines = [line for line in said.split(b"\n") if len(line) < LINE_BYTES]
        assert not any(line.startswith(b"GET /x HTTP/1.1") for line in lines)
    else:
        assert found[1] == 0 or said[found[1] - 1 : found[1]] == b"\n"
        assert said[found[1] :].startswith((b"GET", b"EHLO"))
