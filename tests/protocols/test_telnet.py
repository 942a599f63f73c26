"""Telnet: lines of both sides without the commands between them, what is negotiated, names and passwords."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols import ODDITY
from ids.protocols.rare.telnet import environment
from ids.respond.uninspected import uninspected
from tests.protocols.sessions import Turn, events, faults, held, played, said, said_in_pieces, values
from tests.protocols.terminals import DO, IAC, SB, SE, TELNET, WILL, details, option
from tests.protocols.wire import Wire

SESSION: tuple[Turn, ...] = tuple([(int(side), data) for side, data in TELNET])
KEYS = b"\0\x08\n\rA a\x11\x15\x16\x17\xf7"
BEGINS: Turn = (1, option(DO, 24, WILL, 1))


def test_a_session() -> None:
    wire = said(*SESSION).close()
    assert wire.flow.app_proto == "telnet"
    begun, named, proven, fetched, left = events(wire)
    assert begun == {
        "server": ["Debian", "host login: al"], "terminal_type": "XTERM",
        "environment": {"USER": "-f root", "A\1B": "\\xff", "EMPTY": ""},
        "options": [
            "server do terminal-type", "server do new-environment", "server will echo",
            "server will suppress-go-ahead", "client will terminal-type", "client will new-environment",
            "client do echo", "client wont 200",
        ],
    }  # fmt: skip
    assert named == {"user": "alice", "client": ["alice"], "server": ["ice", "Password: "]}
    assert proven == {"client": ["***"], "server": ["Welcome", "$ "]}
    assert fetched["client"] == ["wget http://192.0.2.1/\\xff"]
    assert (len(fetched["server"]), fetched["server_lines"]) == (16, 22)
    assert left == {"client": ["exit"], "server": ["bye"]}
    assert values(wire, "telnet.client") == [
        b"alice", b"secret",
        b"wget http://192.0.2.1/\xff", b"wgx\x7fet http://192.0.2.1/\xff", b"exit",
    ]  # fmt: skip
    assert values(wire, "telnet.environment") == [b"USER=-f root", b"A\1B=\xff", b"EMPTY="]
    assert [values(wire, f"telnet.{name}") for name in ("user", "password", "terminal_type")] == [
        [b"alice"], [b"secret"], [b"XTERM"],
    ]  # fmt: skip
    assert values(wire, "telnet.option")[0] == b"do terminal-type"
    assert held(wire, "telnet") == 0


def test_passwords_are_logged_where_that_is_asked_for() -> None:
    wire = said(*SESSION, wire=Wire(telnet={"passwords": True}))
    assert ["secret"] in [one.get("client") for one in events(wire)]


@given(cuts=st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_of_the_streams_gives_the_same(cuts: list[int]) -> None:
    assert said_in_pieces(SESSION, cuts).what() == said(*SESSION).what()


def test_it_is_known_by_two_options_in_a_row() -> None:
    assert said(BEGINS).flow.app_proto == said((0, BEGINS[1])).flow.app_proto == "telnet"
    assert said((1, BEGINS[1][:3] + b"hello")).flow.app_proto != "telnet"


def test_a_long_line_comes_as_several() -> None:
    wire = Wire(telnet={"message_bytes": 256})
    said(BEGINS, (0, b"x" * 600 + b"\n"), wire=wire).close()
    assert [len(one) for one in values(wire, "telnet.client")] == [256, 256, 216], "the end of a piece comes again"


def test_a_long_negotiation_is_read_as_far_as_it_may_be() -> None:
    wire = Wire(telnet={"message_bytes": 256})
    said(BEGINS, (0, details(24, b"\0" + b"x" * 900) + b"ls\n"), wire=wire)
    assert [len(one) for one in values(wire, "telnet.terminal_type")] == [254]
    assert values(wire, "telnet.client")[-3] == b"ls"
    assert held(wire, "telnet") == 0


@pytest.mark.parametrize(("number", "begins"), [(38, b"\3"), (86, b"")])
def test_what_both_agreed_to_hide_is_not_read(number: int, begins: bytes) -> None:
    agreed = ((1, option(WILL, number)), (0, option(DO, number)))
    start = (1, details(number, begins) + b"\x01\x02\r\nsecret\r\n")
    hidden = said(BEGINS, *agreed, start, (0, b"ls\n")).close()
    assert values(hidden, "telnet.server") == []
    assert values(hidden, "telnet.client") == [b"ls"], "the other side is in clear"
    claimed = said(BEGINS, start).close()
    assert values(claimed, "telnet.server")[-1] == b"secret", "nobody agreed"


def test_a_command_may_end_a_negotiation() -> None:
    cut = bytes((IAC, SB, 24)) + b"\0VT100" + bytes((IAC, WILL, 1)) + b"ls\n"
    wire = said(BEGINS, (0, cut))
    assert values(wire, "telnet.terminal_type") == [b"VT100"]
    assert values(wire, "telnet.option")[-1] == b"will echo"
    assert values(wire, "telnet.client") == [b"ls", b"VT100ls", b"\0VT100ls"]


def test_behind_missing_bytes_the_next_line_is_read() -> None:
    wire = said(BEGINS, (0, b"be"))
    wire.client(b"fore\nls\n", gap=10).close()
    assert values(wire, "telnet.client") == [b"be", b"fore", b"ls"]
    assert wire.counters["telnet.gap"] == 1


@given(st.binary(max_size=60))
def test_no_environment_makes_it_fail(content: bytes) -> None:
    assert len(environment(content)) <= 64


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from([data for _, data in SESSION]) | st.binary(max_size=20)
            | st.lists(st.sampled_from([IAC, SB, SE, WILL, 24, 31, 39, *KEYS]), max_size=20).map(bytes),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_no_session_makes_it_fail(turns: list[Turn]) -> None:
    wire = said(BEGINS, *turns).close()
    assert wire.counters["app_layer.error.telnet.internal"] == 0
    assert held(wire, "telnet") == 0


def typed(*sent: bytes, **settings: object) -> Wire:
    """Return a connection on which a client sent this behind a prompt."""
    wire = said(BEGINS, (1, b"\r\n# "), wire=Wire(telnet=settings) if settings else None)
    return said(*[(0, data) for data in sent], wire=wire)


def odd(wire: Wire) -> list[bytes]:
    """Return what was odd about it."""
    return [value for one in wire.seen if one.protocol == "telnet" for value in one.instances(ODDITY)]


SE_END = bytes((IAC, SE))
OPEN, WINDOW = bytes((IAC, SB, 1)), bytes((IAC, SB, 31)) + b"\0\x50\0\x18"


@pytest.mark.parametrize("begins", [OPEN, WINDOW])
def test_what_stands_behind_a_subnegotiation_that_does_not_end_is_typed(begins: bytes) -> None:
    wire = typed(begins + b"wget http://192.0.2.1/\r\n", b"wget again\r\n")
    assert values(wire, "telnet.client") == [b"wget http://192.0.2.1/", b"wget again"]
    assert odd(wire) == [b"telnet.long_subnegotiation"]
    wire.close()
    assert odd(wire)[1:] == [b"telnet.unended_subnegotiation"]
    assert held(wire, "telnet") == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"wg" + OPEN + b"et x" + SE_END + b"\r\n", b"wg" + OPEN + SE_END + b"et x\r\n",
        OPEN + b"wget x" + SE_END + b"\n",
        details(39, b"\0;wget x") + b"\n", details(24, b"\0;wget x") + b"\n", details(200, b"wget x") + b"\n",
        b"wg" + WINDOW + SE_END + b"et x\n", WINDOW + b"wget x" + SE_END + b"\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [0, 1])
def test_what_stands_in_a_subnegotiation_may_be_typed(sent: bytes, step: int) -> None:
    wire = typed(*([sent[at : at + 1] for at in range(len(sent))] if step else [sent]))
    assert any(b"wget x" in value for value in values(wire, "telnet.client"))


def test_ordinary_subnegotiations_are_no_text() -> None:
    ordinary = WINDOW + SE_END + details(24, b"\0xterm-256color") + details(32, b"\x0038400,38400")
    environment = details(39, b"\0\0USER\1root\3DISPLAY\1host:0.0") + details(34, b"\3\1\3\0\3\x62\3")
    wire = said(BEGINS, (1, details(24, b"\1")), (0, ordinary + environment + b"ls\r\n")).close()
    assert values(wire, "telnet.client") == [b"ls"]
    assert odd(wire) == []


EC, EL = bytes((IAC, 247)), bytes((IAC, 248))


@pytest.mark.parametrize(
    "sent",
    [
        b"wgX" + EC + b"et", b"ls" + EL + b"wget", b"wg" + EC + b"et", b"wg" + EC + b"\0et", b"wg\x11et", b"wg\x12et",
        b"wg\x13et", b"wg\0et", b"wg\x16et", b"x y\x17\x17wget", b"wg y-y\x17\x7fet", b"wg-y\x17\x7fet",
        b"wg\x11et x #\x16\x15", b"wg \x11\x7fet", b"x\x7f" * 2047 + b"wget", b"x\x11" * 2047 + b" wget",
        b":;" + b" " * 4092 + b"wget", b"wg" + b"x" * 3000 + b"\x7f" * 3000 + b"et",
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [0, 7])
def test_a_line_is_edited_as_a_terminal_does(sent: bytes, step: int) -> None:
    line = sent + b" x\r\n"
    wire = typed(*[line[at : at + (step or len(line))] for at in range(0, len(line), step or len(line))])
    assert any(b"wget x" in value for value in values(wire, "telnet.client"))
    assert held(wire, "telnet") == 0


def test_a_command_that_erases_a_line_does_so() -> None:
    assert values(typed(b"ls" + EL + b"wget\n"), "telnet.client") == [b"wget", b"lswget"]


def test_a_line_that_is_complete_needs_no_memory() -> None:
    wire = typed(b"a", memcap_bytes=65536)
    pool = wire.pool("telnet")
    assert pool.take(65536 - pool.held)
    full = pool.held
    wire.client(b"\n" + b"x" * 3000 + b" wget x\r\ncurl")
    assert values(wire, "telnet.client")[:2] == [b"a", b"x" * 3000 + b" wget x"]
    wire.client(b"curl")
    assert values(wire, "telnet.client")[2:] == [b"curl", b"curl"], "it is cut, and not lost"
    assert pool.held < full
    assert wire.counters["telnet.memcap"] == 2


def test_what_was_refused_is_in_summaries() -> None:
    wire = typed(memcap_bytes=65536)
    assert wire.pool("telnet").take(65536 - held(wire, "telnet"))
    wire.client(b"wget")
    assert [(row.reason, row.bytes) for row in uninspected(wire.counters.values, live=False)] == [("memory", 4)]


def test_lines_without_an_answer_between_them_are_one_event() -> None:
    wire = typed(b"a\r" * 200)
    assert values(wire, "telnet.client") == [b"a"] * 200
    assert len([one for one in wire.seen if one.instances("telnet.client")]) == 200, "each at its packet"
    found = events(wire.close())
    assert [len(one.get("client", ())) for one in found] == [0, 16, 16, 16, 8]
    assert [one.get("client_lines") for one in found] == [None, 64, 64, 64, None]


def test_an_answer_ends_what_belongs_together() -> None:
    wire = said(BEGINS, (0, b"a\nb\n"), (1, b"\r\n"), (0, b"c\n"), (1, b"x"), (0, b"d\ne\n")).close()
    assert [one.get("client") for one in events(wire)] == [None, ["a", "b"], ["c"], ["d", "e"]]


RULES = """\
alert telnet any any -> any any (msg:"a"; telnet.environment; content:"USER=-f"; startswith; sid:1;)
alert telnet any any -> any any (msg:"b"; telnet.client; content:"wget "; sid:2;)
alert telnet any any -> any any (msg:"c"; telnet.server; content:"Welcome"; sid:3;)
alert telnet any any -> any any (msg:"d"; telnet.user; content:"root"; sid:4;)
"""


def test_rules_and_events(tmp_path: Path) -> None:
    session = played(tmp_path, RULES, SESSION, "eve.types=[alert,telnet]")
    assert sorted(session.sids) == [1, 2, 3]
    assert faults(session.events) == []
    assert len([one for one in session.events if one["event_type"] == "telnet"]) == 5
