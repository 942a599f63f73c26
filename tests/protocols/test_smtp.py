"""SMTP: envelopes and mails, however they are cut, and whatever clients do to have them read otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ids.protocols import ODDITY
from ids.protocols.smtp.body import Body
from tests.protocols import handshakes as hs
from tests.protocols.mails import ENVELOPE, GREETING, HELLO, MAIL, SENT, SESSION, asked
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
from tests.protocols.wire import Wire

ENVELOPE_LOGGED = {
    "helo": "me.example", "mail_from": "<a@x.example>", "rcpt_to": ["<b@y.example>", "<c@z.example>"],
}  # fmt: skip
EMAIL_LOGGED = {
    "status": "PARSE_DONE",
    "from": '"A" <a@x.example>',
    "to": ["b@y.example", "C <c@z.example>"],
    "cc": ["d@y.example"],
    "attachment": ["a.bin", "utf-8''b%2Etxt"],
    "url": ["one.example/a", "three.example/x"],
}
SMALL = b"From: a\r\n\r\nhello\r\n"


def test_a_session_is_a_transaction_a_mail() -> None:
    wire = said(*SESSION)
    assert wire.flow.app_proto == "smtp"
    said_of = [one for one in wire.seen if "file.data" not in one.buffers]
    assert [(one.tx_id, one.complete) for one in said_of] == [(0, False), (0, False), (0, False), (0, True)]
    hello, envelope, mail, _ = said_of
    assert dict(hello.buffers) == {"smtp.helo": b"me.example"}
    assert dict(envelope.buffers) == {
        "smtp.helo": b"me.example", "smtp.mail_from": b"<a@x.example>", "smtp.rcpt_to": b"<b@y.example>",
    }  # fmt: skip
    assert envelope.instances("smtp.rcpt_to") == (b"<b@y.example>", b"<c@z.example>")
    assert {name: mail.instances(name) for name in mail.buffers if name.startswith("email")} == {
        "email.from": (b'"A" <a@x.example>',),
        "email.to": (b"b@y.example,\tC <c@z.example>",),
        "email.cc": (b"d@y.example",),
        "email.subject": (b"=?utf-8?B?w6TDtg==?= =?iso-8859-1?Q?=FC?=", "äöü".encode()),
        "email.date": (b"Mon, 1 Jan 2024",),
        "email.message_id": (b"<1@x>",),
        "email.x_mailer": (b"mailer",),
        "email.received": (b"by one", b"by two"),
        "email.url": (b"two.example", b"one.example/a", b"three.example/x"),
        "email.body": (
            b"see http://One.example/A and https://two.example\r\n.dot",
            b'<a href="http://three.example/x">',
        ),
    }
    assert events(wire) == [{**ENVELOPE_LOGGED, "email": EMAIL_LOGGED}]


def test_what_follows_a_mail_is_a_transaction_of_its_own() -> None:
    wire = said(*SESSION).close()
    assert [(one.tx_id, dict(one.fields)) for one in complete(wire)][1:] == [(1, {"helo": "me.example"})]
    wire = said(GREETING, *HELLO, *SENT, *asked(b"RSET"), *SENT, *asked(b"NOOP")).close()
    assert [one.tx_id for one in complete(wire)] == [0, 1, 2, 3]
    assert held(wire, "smtp") == 0


@given(st.lists(st.integers(0, 3000), max_size=12))
def test_any_cut_of_the_streams_gives_the_same(cuts: list[int]) -> None:
    assert said_in_pieces(SESSION, cuts).what() == said(*SESSION).what()


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_small_steps_give_the_same(step: int) -> None:
    assert said(*SESSION, step=step).what() == said(*SESSION).what()


def test_extended_events() -> None:
    wire = said(*SESSION, wire=limited("smtp", extended_in_events=True))
    assert events(wire)[0]["email"] == {
        **EMAIL_LOGGED, "date": "Mon, 1 Jan 2024", "message_id": "<1@x>", "x_mailer": "mailer",
        "subject": "=?utf-8?B?w6TDtg==?= =?iso-8859-1?Q?=FC?=", "received": ["by one", "by two"],
    }  # fmt: skip


def bodies(wire: Wire) -> list[bytes]:
    """Return the texts of all mails."""
    return values(wire, "email.body")


def delivered(*turns: Turn) -> Wire:
    """Return a session in which this follows on an accepted envelope."""
    return said(GREETING, *HELLO, *ENVELOPE, *turns)


@pytest.mark.parametrize(
    ("end", "odd"),
    [
        (b"\r\n.\r\n", []),
        (b"\n.\n", [b"smtp.ambiguous_end_of_data"]),
        (b"\n.\r\n", [b"smtp.ambiguous_end_of_data"]),
        (b"\r\n.\n", [b"smtp.ambiguous_end_of_data"]),
    ],
)
@pytest.mark.parametrize("step", [0, 1])
def test_every_end_that_servers_take_is_one(end: bytes, odd: list[bytes], step: int) -> None:
    smuggled = b"MAIL FROM:<evil@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nFrom: evil\r\n\r\nsmuggled\r\n.\r\n"
    turns = (*asked(b"DATA", b"354 go"), (0, b"From: a\r\n\r\nhello" + end + smuggled), (1, b"250 ok\r\n"),
             (1, b"250 ok\r\n"), (1, b"250 ok\r\n"), (1, b"354 go\r\n"), (1, b"250 ok\r\n"))  # fmt: skip
    wire = said(GREETING, *HELLO, *ENVELOPE, *turns, step=step)
    assert values(wire, ODDITY).count(b"smtp.ambiguous_end_of_data") == len(odd)
    assert [one["mail_from"] for one in events(wire)] == ["<a@x.example>", "<evil@x>"]
    assert {b"hello\r\n", b"smuggled\r\n"} <= set(bodies(wire)), "as a server reads it that saw an end"
    whole = [text for text in bodies(wire) if text.startswith(b"hello") and b"smuggled" in text]
    assert len(whole) == len(odd), "and as one reads it that did not"


def test_many_mails_whose_end_is_doubtful_cost_no_more_than_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read besides as if it went on would cost their square: 128 KiB took nine seconds."""
    read, feed = 0, Body.feed

    def counted(self: Body, data: bytes) -> tuple[bytes, int]:
        nonlocal read
        read += len(data)
        return feed(self, data)

    monkeypatch.setattr(Body, "feed", counted)
    mails = b"DATA\na\n.\n" * 3000
    wire = delivered(*asked(b"DATA", b"354 go"), (0, SMALL + b"\n.\n" + mails + b"MAIL FROM:<z>\nDATA\nlast\r\n.\r\n"))
    wire.server(b"250 ok\r\n").client(mails, closed=True)
    assert len(complete(wire)) > 3000
    assert read < 6000 * 8192, "each mail reads no more than what is read at once"


@pytest.mark.parametrize("odd", [b"\r.\r", b"\r.\r\n"])
def test_a_dot_between_carriage_returns_is_odd(odd: bytes) -> None:
    wire = delivered(*asked(b"DATA", b"354 go"), (0, SMALL + odd + b"x\r\n.\r\n"))
    assert values(wire, ODDITY) == [b"smtp.ambiguous_end_of_data"]
    assert len(bodies(wire)) == 1


def test_what_stands_behind_a_rejected_data_are_commands() -> None:
    """Else a mail with headers that say how it is to be decoded would be taken for the text of another one."""
    early = b"DATA\r\nRSET\r\nMAIL FROM:<x@x>\r\nRCPT TO:<y@y>\r\nDATA\r\n"
    answers = b"503 no\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"
    wire = said(GREETING, *HELLO, (0, early + MAIL + b".\r\n"), (1, answers))
    assert [one.get("mail_from") for one in events(wire)] == [None, "<x@x>"]
    assert set(values(wire, "email.message_id")) == {b"<1@x>"}
    assert b"smtp.data_command_rejected" in values(wire, ODDITY)


def test_a_client_that_does_not_wait_is_read_as_soon_as_the_server_answers() -> None:
    piped = b"".join(data for side, data in (*ENVELOPE, *asked(b"DATA"), *asked(MAIL + b".")) if side == 0)
    wire = said(GREETING, *HELLO, (0, piped))
    assert not complete(wire)
    wire = said((1, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"), wire=wire)
    assert events(wire) == [{**ENVELOPE_LOGGED, "email": EMAIL_LOGGED}]
    assert held(wire, "smtp") < 500, "the envelope, until another begins"
    assert held(wire.close(), "smtp") == 0


def test_more_than_may_wait_is_read_as_a_mail() -> None:
    mails = b"".join([b"DATA\r\n" + SMALL + b".\r\n"] * 3000)
    wire = said(GREETING, *HELLO, (0, mails))
    assert wire.counters["smtp.unanswered"] == 1
    assert wire.counters["app_layer.error.smtp.internal"] == 0
    assert len(complete(wire)) == 3000


def test_a_client_alone_is_read_without_a_server() -> None:
    wire = said(*((side, data) for side, data in SESSION if side == 0))
    assert events(wire) == [{**ENVELOPE_LOGGED, "email": EMAIL_LOGGED}]
    assert values(wire, ODDITY) == [b"smtp.no_server_welcome_message"]


def test_a_server_that_does_not_name_its_protocol_is_understood() -> None:
    wire = said((1, b"220 hello\r\n"), *SESSION[1:])
    assert (wire.flow.app_proto, values(wire, ODDITY)) == ("smtp", [])
    assert events(wire) == [{**ENVELOPE_LOGGED, "email": EMAIL_LOGGED}]


def test_chunks_are_a_mail() -> None:
    half = len(MAIL) // 2
    first, last = b"BDAT %d\r\n" % half + MAIL[:half], b"BDAT %d LAST\r\n" % (len(MAIL) - half) + MAIL[half:]
    wire = delivered((0, first), (1, b"250 ok\r\n"), (0, last), (1, b"250 ok\r\n"), *asked(b"RSET"))
    assert events(wire)[0]["email"] == {**EMAIL_LOGGED}
    wire = delivered((0, b"BDAT 0 LAST\r\nMAIL FROM:<x@x>\r\nBDAT x\r\n")).close()
    assert [one["mail_from"] for one in events(wire)] == ["<a@x.example>", "<x@x>"]
    assert not any("email" in one for one in events(wire))  # of nothing, nothing is said
    assert values(wire, ODDITY) == [b"smtp.bdat_chunk_len_exceeded"]


def test_a_chunk_behind_a_reset_is_of_a_mail_of_its_own() -> None:
    """The answer to RSET, which comes while the chunk does, ends what was before it."""
    chunk = b"RSET\r\nBDAT %d LAST\r\n" % len(SMALL) + SMALL
    wire = delivered((0, chunk[:-5]), (1, b"250 reset\r\n"), (0, chunk[-5:]), (1, b"250 ok\r\n")).close()
    assert [one.get("email", {}).get("from") for one in events(wire)] == [None, "a"]
    assert held(wire, "smtp") == 0


@pytest.mark.parametrize("step", [0, 1])
def test_starttls_hands_the_flow_over(step: int) -> None:
    wire = said(GREETING, *HELLO, *asked(b"STARTTLS", b"220 go"), step=step)
    said((0, hs.client_side()), (1, hs.server_side(hs.certificate())), wire=wire, step=step)
    assert wire.flow.app_proto == "tls"
    found = [(one.protocol, one.tx_id, dict(one.fields)) for one in complete(wire)]
    assert [(protocol, tx_id) for protocol, tx_id, _ in found] == [("smtp", 0), ("tls", 1)]
    assert found[1][2]["from_proto"] == "smtp"


def test_commands_behind_starttls_are_read_before_the_handshake() -> None:
    """Servers with CVE-2011-0411 carry them out."""
    wire = said(GREETING, *HELLO, (0, b"STARTTLS\r\nMAIL FROM:<x@x>\r\n"), (1, b"220 go\r\n"))
    assert values(wire, "smtp.mail_from") == [b"<x@x>"]
    assert values(wire, ODDITY) == [b"smtp.invalid_pipelined_sequence"]
    said((0, hs.client_side()), wire=wire)
    assert wire.flow.app_proto == "tls"


@pytest.mark.parametrize(("replies", "odd"), [(b"220 go\r\n220 go\r\n", True), (b"220 go\r\n", False)])
def test_tls_that_is_accepted_twice_is_odd(replies: bytes, odd: bool) -> None:
    wire = said(GREETING, *HELLO, (0, b"STARTTLS\r\nSTARTTLS\r\n"), (1, replies))
    assert (b"smtp.failed_protocol_change" in values(wire, ODDITY)) is odd


def test_tls_that_is_refused_goes_on_in_clear() -> None:
    wire = said(GREETING, *HELLO, *asked(b"STARTTLS", b"454 no"), *SENT)
    assert values(wire, ODDITY) == [b"smtp.tls_rejected"]
    assert len(events(wire)) == 1


def test_answers_of_a_login_are_no_commands() -> None:
    login = (*asked(b"AUTH LOGIN", b"334 VXNlcm5hbWU6"), *asked(b"REFUQQ==", b"334 UGFzc3dvcmQ6"),
             *asked(b"DATA", b"235 ok"))  # fmt: skip
    wire = said(GREETING, *HELLO, *login, *SENT)
    assert events(wire) == [{**ENVELOPE_LOGGED, "email": EMAIL_LOGGED}]


@pytest.mark.parametrize(
    ("turns", "odd"),
    [
        ((*asked(b"MAIL FROM:<a>"), *asked(b"MAIL FROM:<b>")), b"duplicate_fields"),
        ((*asked(b"EHLO x"),), b"duplicate_fields"),
        ((*asked(b"NOOP", b"what"),), b"invalid_reply"),
        ((*asked(b"NOOP", b"250 " + b"x" * 5000),), b"max_reply_line_len_exceeded"),
    ],
)
def test_oddities(turns: tuple[Turn, ...], odd: bytes) -> None:
    assert values(said(GREETING, *HELLO, *turns), ODDITY) == [b"smtp." + odd]


def test_a_command_that_is_too_long_is_odd_and_cut() -> None:
    wire = said(GREETING, *HELLO, *asked(b"NOOP " + b"x" * 5000))
    assert values(wire, ODDITY) == [b"smtp.max_command_line_len_exceeded", b"smtp.truncated_line"]


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("head", "body", "odd"),
    [
        (b"X" * 75 + b": v", b"hi", []),
        (b"X" * 76 + b": v", b"hi", ["mime_long_header_name"]),
        (b"X: " + b"v" * 990, b"x" * 998, []),
        (b"X: v", b"x" * 999, ["mime_long_line"]),
        (b"X: " + b"v" * 2000, b"hi", ["mime_long_line"]),
        (b"X: " + b"v" * 2001, b"hi", ["mime_long_header_value", "mime_long_line"]),
        (b"Content-Disposition: attachment; filename=" + b"f" * 255, b"hi", []),
        (b"Content-Disposition: attachment; filename=" + b"f" * 256, b"hi", ["mime_long_filename"]),
        (b"Content-Transfer-Encoding: quoted-printable", b"a =ZZ b", ["mime_invalid_qp"]),
        (b"Content-Transfer-Encoding: base64", b"aGV*sbG8=", ["mime_invalid_base64"]),
        (b"Content-Transfer-Encoding: base64", b"QUJD" * 19 + b"\r\nQUJD", []),
        (b"Content-Transfer-Encoding: base64", b"QUJD" * 20 + b"\r\nQUJD", ["mime_long_enc_line"]),
    ],
)  # fmt: skip
def test_what_is_odd_about_a_mail(head: bytes, body: bytes, odd: list[str], step: int) -> None:
    """As Suricata 7 has it, but for what is no base64, of which that says nothing."""
    turns = asked(head + b"\r\nFrom: a\r\n\r\n" + body + b"\r\n.", b"250 queued")
    wire = said(GREETING, *HELLO, *ENVELOPE, *asked(b"DATA", b"354 go"), *turns, step=step)
    assert values(wire, ODDITY) == [f"smtp.{name}".encode() for name in odd]


def test_a_mail_that_is_cut_off_is_reported_as_far_as_it_came() -> None:
    wire = delivered(*asked(b"DATA", b"354 go"), (0, MAIL[:700])).close()
    (logged,) = events(wire)
    assert logged["email"]["status"] == "BODY_STARTED"
    assert logged["email"]["from"] == '"A" <a@x.example>'


def test_files_within_a_text_are_found() -> None:
    mail = b"From: a\r\n\r\nhere\r\nbegin 644 a.txt\r\n%:&5L;&\\\r\n`\r\nend\r\n.\r\n"
    wire = delivered(*asked(b"DATA", b"354 go"), (0, mail))
    assert events(wire)[0]["email"]["attachment"] == ["a.txt"]


def test_recipients_and_commands_are_bounded() -> None:
    wire = said(
        GREETING, (0, b"RCPT TO:<a>\r\n" * 50 + b"QUIT\r\n"), wire=limited("smtp", recipients=5, open_commands=16)
    )
    assert len(values(wire, "smtp.rcpt_to")) == 5
    assert wire.counters["smtp.recipients_dropped"] == 45
    assert wire.counters["smtp.commands_evicted"] == 51 - 16


def test_memory_is_given_back_when_the_flow_goes() -> None:
    wire = delivered(*asked(b"DATA", b"354 go"), (0, MAIL[:600]))
    assert held(wire, "smtp") > 0
    wire.flow.columns.clear(np.array([wire.flow.slot]))
    assert held(wire, "smtp") == 0


PIECES = [
    b"EHLO a\r\n", b"MAIL FROM:<a>\r\n", b"RCPT TO:<a>\r\n", b"DATA\r\n", b"\r\n.\r\n", b"\n.\n", b"BDAT 5 LAST\r\n",
    b"RSET\r\n", b"STARTTLS\r\n", b"AUTH LOGIN\r\n", MAIL, MAIL[:300], b"220 a\r\n", b"250 ok\r\n", b"250-a\r\n",
    b"354 a\r\n", b"334 a\r\n", b"500 a\r\n", b"\x16\x03\x01", b".",
]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(PIECES) | st.binary(max_size=60)), max_size=30),
    st.integers(0, 30),
)
@example([(0, b"BDAT 5 LAST\r\n"), (0, b"EHLO a\r\n"), (0, b"DATA\r\n")], 1)
def test_no_session_makes_it_fail(turns: list[Turn], gap: int) -> None:
    wire = said(GREETING, *turns[:gap])
    if turns:
        wire.client(b"x", gap=gap)
    said(*turns[gap:], wire=wire).close()
    assert wire.counters["app_layer.error.smtp.internal"] == 0
    assert held(wire, "smtp") == 0


RULES = """\
alert smtp any any -> any any (msg:"a"; smtp.helo; content:"me.example"; sid:1;)
alert smtp any any -> any any (msg:"b"; smtp.mail_from; content:"<a@x.example>"; bsize:13; sid:2;)
alert smtp any any -> any any (msg:"c"; smtp.rcpt_to; content:"c@z"; sid:3;)
alert smtp any any -> any any (msg:"d"; email.subject; content:"|c3 a4|"; sid:4;)
alert smtp any any -> any any (msg:"e"; email.from; content:"a@x"; smtp.helo; content:"me"; sid:5;)
alert smtp any any -> any any (msg:"f"; email.url; content:"three.example"; startswith; sid:6;)
alert smtp any any -> any any (msg:"g"; email.body; content:"<a href"; sid:7;)
alert smtp any any -> any any (msg:"h"; file.data; content:"|fd fe ff 00 01|"; sid:8;)
alert smtp any any -> any any (msg:"i"; filename:"a.bin"; sid:9;)
alert smtp any any -> any any (msg:"j"; fileext:"txt"; smtp.rcpt_to; content:"b@y"; sid:10;)
alert smtp any any -> any any (msg:"k"; email.received; content:"by two"; sid:11;)
alert smtp any any -> any any (msg:"l"; file.data; content:"nothing"; sid:12;)
alert tcp any any -> any any (msg:"m"; app-layer-event:smtp.tls_rejected; sid:13;)
"""


def test_rules_in_suricatas_language(tmp_path: Path) -> None:
    assert sorted(played(tmp_path, RULES, SESSION).sids) == list(range(1, 12))


def test_events_and_alerts_fit_the_schema(tmp_path: Path) -> None:
    types = "eve.types=[alert,smtp,fileinfo]"
    found: list[dict[str, Any]] = [one for one in played(tmp_path, RULES, SESSION, types).events if "smtp" in one]
    assert faults(found) == []
    assert [one["event_type"] for one in found].count("smtp") == 2
    files = [one for one in found if one["event_type"] == "fileinfo"]
    assert [(one["fileinfo"]["filename"], one["fileinfo"]["size"]) for one in files] == [("a.bin", 768), ("b.txt", 5)]
    assert all(one["email"]["from"] for one in files)
