"""Telnet: lines of both sides without the commands between them, what is negotiated, names and passwords."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.rare.telnet import environment
from tests.protocols.sessions import Turn, events, faults, held, played, said, said_in_pieces, values
from tests.protocols.terminals import DO, IAC, SB, SE, TELNET, WILL, details, option
from tests.protocols.wire import Wire

SESSION: tuple[Turn, ...] = tuple([(int(side), data) for side, data in TELNET])
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
    assert named == {"user": "alice", "client": "alice", "server": ["ice", "Password: "]}
    assert proven == {"client": "***", "server": ["Welcome", "$ "]}
    assert fetched["client"] == "wget http://192.0.2.1/\\xff"
    assert (len(fetched["server"]), fetched["server_lines"]) == (16, 22)
    assert left == {"client": "exit", "server": ["bye"]}
    assert values(wire, "telnet.client") == [
        b"alice", b"secret", b"wget http://192.0.2.1/\xff", b"wgx\x7fet http://192.0.2.1/\xff", b"exit",
    ]  # fmt: skip
    assert values(wire, "telnet.environment") == [b"USER=-f root", b"A\1B=\xff", b"EMPTY="]
    assert [values(wire, f"telnet.{name}") for name in ("user", "password", "terminal_type")] == [
        [b"alice"], [b"secret"], [b"XTERM"],
    ]  # fmt: skip
    assert values(wire, "telnet.option")[0] == b"do terminal-type"
    assert held(wire, "telnet") == 0


def test_passwords_are_logged_where_that_is_asked_for() -> None:
    wire = said(*SESSION, wire=Wire(telnet={"passwords": True}))
    assert "secret" in [one.get("client") for one in events(wire)]


@given(cuts=st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_of_the_streams_gives_the_same(cuts: list[int]) -> None:
    assert said_in_pieces(SESSION, cuts).what() == said(*SESSION).what()


def test_it_is_known_by_two_options_in_a_row() -> None:
    assert said(BEGINS).flow.app_proto == said((0, BEGINS[1])).flow.app_proto == "telnet"
    assert said((1, BEGINS[1][:3] + b"hello")).flow.app_proto != "telnet"


def test_a_long_line_comes_as_several() -> None:
    wire = Wire(telnet={"message_bytes": 256})
    said(BEGINS, (0, b"x" * 600 + b"\n"), wire=wire).close()
    assert [len(one) for one in values(wire, "telnet.client")] == [256, 256, 88]


def test_a_long_negotiation_is_read_as_far_as_it_may_be() -> None:
    wire = Wire(telnet={"message_bytes": 256})
    said(BEGINS, (0, details(24, b"\0" + b"x" * 900) + b"ls\n"), wire=wire)
    assert [len(one) for one in values(wire, "telnet.terminal_type")] == [254]
    assert values(wire, "telnet.client") == [b"ls"]
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
    assert values(wire, "telnet.client") == [b"ls"]


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
            | st.lists(st.sampled_from([IAC, SB, SE, WILL, 24, 39, 0, 13, 10, 65]), max_size=20).map(bytes),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_no_session_makes_it_fail(turns: list[Turn]) -> None:
    wire = said(BEGINS, *turns).close()
    assert wire.counters["app_layer.error.telnet.internal"] == 0
    assert held(wire, "telnet") == 0


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
