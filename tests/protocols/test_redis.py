"""Redis: commands and their replies, however they are cut; what a server says unasked; passwords, bounds, oddities."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.rare.redis import hidden
from ids.respond.uninspected import uninspected
from tests.protocols import databases as db
from tests.protocols.sessions import Turn, complete, events, faults, held, played, said, said_in_pieces, values
from tests.protocols.wire import SERVER, Wire

SESSION: tuple[Turn, ...] = tuple([(int(side), data) for side, data in db.REDIS])
INLINE: tuple[Turn, ...] = tuple([(int(side), data) for side, data in db.REDIS_INLINE])
PING: tuple[Turn, ...] = ((0, db.words(b"PING")), (1, b"+PONG\r\n"))


def pairs(wire: Wire) -> dict[str, Any]:
    """Return what was answered to each command, by its name."""
    return {one["command"]: one.get("response", {}).get("value") for one in events(wire)}


def test_a_session() -> None:
    wire = said(*SESSION).close()
    assert wire.flow.app_proto == "redis"
    assert events(wire) == [
        {"command": "AUTH", "arguments": ["bob", "***"], "response": {"type": "status", "value": "OK"}},
        {
            "command": "CONFIG SET", "arguments": ["dir", "/var/spool/cron"],
            "response": {"type": "error", "value": "ERR no such directory"},
        },
        {"command": "SET", "arguments": ["a", "1\r\n2"], "response": {"type": "status", "value": "OK"}},
        {"command": "GET", "arguments": ["a"], "response": {"type": "string", "bytes": 4, "value": "1\r\n2"}},
        {"command": "INCR", "arguments": ["n"], "response": {"type": "integer", "value": "1"}},
        {"command": "LRANGE", "arguments": ["l", "0", "-1"], "response": {"type": "array", "elements": 3}},
        {"command": "GET", "arguments": ["none"], "response": {"type": "null"}},
        {"command": "HELLO", "arguments": ["3"], "response": {"type": "map", "elements": 2}},
        {"command": "SMEMBERS", "arguments": ["s"], "response": {"type": "set", "elements": 2}},
        {"command": "SUBSCRIBE", "arguments": ["c", "d"], "response": {"type": "push", "elements": 3}},
        {"command": "PING", "response": {"type": "status", "value": "PONG"}},
        {"command": "QUIT", "response": {"type": "status", "value": "OK"}},
    ]  # fmt: skip
    assert wire.counters["redis.pushes"] == 2
    assert values(wire, "redis.password") == [b"secret"]
    assert values(wire, "redis.arguments")[:2] == [b"bob ***", b"dir /var/spool/cron"]
    assert values(wire, "redis.error") == [b"ERR no such directory"]


def test_what_monitor_and_a_replica_are_shown_answers_nothing() -> None:
    wire = said(*INLINE).close()
    assert wire.flow.app_proto == "redis"
    assert pairs(wire) == {
        "CONFIG GET": None, "MONITOR": "OK", "RESET": "RESET", "PSYNC": "FULLRESYNC abc 0", "PING": None,
    }  # fmt: skip
    assert wire.counters["redis.replication"] == 1


@pytest.mark.parametrize("turns", [SESSION, INLINE], ids=["arrays", "lines"])
@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_any_cut_of_the_streams_gives_the_same(turns: tuple[Turn, ...], cuts: list[int]) -> None:
    assert said_in_pieces(turns, cuts).what() == said(*turns).what()


@pytest.mark.parametrize(
    "first",
    [(0, b"CONFIG SET dir /tmp\r\n"), (0, b"slaveof 192.0.2.1 6379\n"), (1, b"-NOAUTH Authentication required.\r\n"),
     (1, b"$20\r\n# Server\r\nredis_version"), (1, b"-DENIED Redis is running in protected mode")],
)  # fmt: skip
def test_it_is_known_by_either_side(first: Turn) -> None:
    assert said(first).flow.app_proto == "redis"
    assert said((0, b"*2 KEYS\r\n")).flow.app_proto != "redis"


@pytest.mark.parametrize(
    ("command", "shown", "user", "password"),
    [
        ("AUTH pw", "***", None, b"pw"),
        ("AUTH bob pw", "bob ***", b"bob", b"pw"),
        ("HELLO 3 auth bob pw SETNAME x", "3 auth bob *** SETNAME x", b"bob", b"pw"),
        ("MIGRATE h 1 k 0 5 AUTH pw", "h 1 k 0 5 AUTH ***", None, b"pw"),
        ("MIGRATE h 1 k 0 5 AUTH2 bob pw", "h 1 k 0 5 AUTH2 bob ***", b"bob", b"pw"),
        ("CONFIG-SET maxmemory 1 requirepass pw", "maxmemory 1 requirepass ***", None, b"pw"),
        ("ACL-SETUSER bob on >pw ~*", "bob on *** ~*", b"bob", b">pw"),
        ("AUTH", "", None, None),
        ("HELLO 3 AUTH", "3 AUTH", None, None),
        ("GET requirepass x", "requirepass x", None, None),
    ],
)
def test_passwords_are_hidden(command: str, shown: str, user: bytes | None, password: bytes | None) -> None:
    name, *arguments = command.encode().split(b" ")
    assert hidden(name.replace(b"-", b" "), arguments) == (shown.encode().split(), user, password)


def test_passwords_are_logged_where_that_is_asked_for() -> None:
    wire = said(*SESSION[:2], wire=Wire(redis={"passwords": True}))
    assert events(wire)[0]["arguments"] == ["bob", "secret"]


def test_what_is_long_is_cut_and_says_so() -> None:
    wire = Wire(redis={"argument_bytes": 1000, "message_bytes": 2000})
    said(
        (0, db.words(b"SET", b"a", b"x" * 100_000, b"y" * 1500, b"z" * 10) + db.words(b"MSET", *[b"k"] * 100)),
        (1, b"+OK\r\n$50000\r\n" + b"v" * 50_000 + b"\r\n"), wire=wire, step=999,
    )  # fmt: skip
    first, second = events(wire)
    assert [len(one) for one in first["arguments"]] == [1, 256, 256, 0]
    assert first["arguments_truncated"] is second["arguments_truncated"] is True
    assert (len(second["arguments"]), second["arguments_count"]) == (64, 100)
    assert second["response"] == {"type": "string", "bytes": 50_000, "value": "v" * 256, "truncated": True}
    assert len(values(wire, "redis.reply")[1]) == 1000
    assert held(wire, "redis") == 0


def test_a_client_that_wants_no_replies_gets_none() -> None:
    quiet = b"".join([
        db.words(b"CLIENT", b"REPLY", b"SKIP"), db.words(b"SET", b"a", b"1"), db.words(b"PING"),
        db.words(b"CLIENT", b"REPLY", b"OFF"), db.words(b"INCR", b"a"), db.words(b"CLIENT", b"REPLY", b"ON"),
        db.words(b"ECHO", b"x"),
    ])  # fmt: skip
    found = pairs(said((0, quiet), (1, b"+PONG\r\n+OK\r\n$1\r\nx\r\n")).close())
    assert found == {"CLIENT REPLY": "OK", "SET": None, "PING": "PONG", "INCR": None, "ECHO": "x"}


def test_channels_of_the_older_protocol_do_not_break_the_pairs() -> None:
    ask = db.words(b"SUBSCRIBE", b"c") + db.words(b"PING") + db.words(b"UNSUBSCRIBE") + db.words(b"GET", b"a")
    answer = (
        b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n" + db.words(b"message", b"c", b"hello") + db.words(b"pong", b"")
    )
    answer += b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n$1\r\n1\r\n"
    assert pairs(said((0, ask), (1, answer))) == {"SUBSCRIBE": None, "PING": None, "UNSUBSCRIBE": None, "GET": "1"}


def test_what_gives_way_is_reported_once_and_the_others_keep_their_replies() -> None:
    wire = Wire(redis={"open_requests": 4})
    said((0, b"".join([db.words(b"ECHO", b"%d" % at) for at in range(9)])), wire=wire)
    said((1, b"".join([b"$1\r\n%d\r\n" % at for at in range(9)])), wire=wire).close()
    assert wire.counters["redis.requests_evicted"] == 5
    found = {one["arguments"][0]: one.get("response", {}).get("value") for one in events(wire)}
    assert found == {str(at): str(at) if at > 4 else None for at in range(9)}
    assert len(complete(wire)) == 9


@pytest.mark.parametrize("within", [True, False])
def test_what_is_missing_costs_no_more_than_what_waits(within: bool) -> None:
    """Within a string whose length is known nothing is lost but a part of it."""
    wire = said((0, db.words(b"GET", b"a")), (1, b"$100\r\n" + b"x" * 10))
    wire.send(SERVER, b"y" * 10 + b"\r\n" if within else b"yy\r\n:3\r\n", gap=80 if within else 200)
    said(*PING, wire=wire).close()
    assert wire.counters["redis.gap"] == (0 if within else 1)
    got, pinged = events(wire)
    assert ("response" in got) is within
    assert pinged["response"]["value"] == "PONG"


@pytest.mark.parametrize(
    ("turns", "odd"),
    [
        (((0, b"*2\r\n$3\r\nGET\r\n:1\r\n"),), b"malformed_command"),
        ((*PING, (1, b"what\r\n")), b"malformed_reply"),
        ((*PING, (1, b"$x\r\n")), b"malformed_reply"),
    ],
)
def test_what_is_odd(turns: tuple[Turn, ...], odd: bytes) -> None:
    wire = said(*turns)
    assert values(wire, "app-layer-event") == [b"redis." + odd]
    assert pairs(said(*PING, wire=wire))["PING"] == "PONG"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from([data for _, data in (*SESSION, *INLINE)]) | st.binary(max_size=40)
            | st.sampled_from([b"*9\r\n", b"$5\r\n", b"*-1\r\n", b"|9999999999\r\n", b"%2\r\n", b"$0\r\n", b"*0\r\n"]),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_no_session_makes_it_fail(turns: list[Turn]) -> None:
    wire = said(SESSION[0], *turns).close()
    assert wire.counters["app_layer.error.redis.internal"] == 0
    (talk,) = wire.stage._talks.by_id.values() or (None,)
    if talk is not None:
        talk.release()
    assert wire.flow.app_proto != "redis" or held(wire, "redis") == 0


def asked(wire: Wire) -> list[tuple[bytes, bytes]]:
    """Return the commands with their arguments."""
    found = [one.buffers for one in wire.seen if "redis.command" in one.buffers]
    return [(one["redis.command"], one.get("redis.arguments", b"")) for one in found]


SET_DIR = db.words(b"CONFIG", b"SET", b"dir", b"/tmp")
SET = (b"CONFIG SET", b"dir /tmp")


@pytest.mark.parametrize("behind", [b"X", b"\r", b"\n", b"$"])
@pytest.mark.parametrize("step", [0, 1, 5])
def test_a_line_that_says_a_number_ends_one_byte_behind_its_carriage_return(behind: bytes, step: int) -> None:
    odd = re.sub(rb"([*$]\d+\r)\n", rb"\1" + behind, SET_DIR)
    assert asked(said(*PING, (0, odd + b"INFO\r\n"), step=step)) == [(b"PING", b""), SET, (b"INFO", b"")]
    assert asked(said((0, odd), step=step)) == [SET]


@pytest.mark.parametrize(
    "line",
    [
        b'CON"FIG" SET dir /tmp',
        b"CONFIG S\"ET\" d'i'r /tmp",
        b"C''ONFIG \"S\\x45T\" dir \"/t\"'mp'",
        b"CONFIG SET dir '/tmp",
    ],
)
def test_quotes_may_open_within_a_word(line: bytes) -> None:
    assert asked(said(*PING, (0, line + b"\r\n")))[1:] == [SET]


def test_an_array_of_no_words_is_no_command() -> None:
    assert asked(said(*PING, (0, b"*0\r\n*-1\r\n\r\n" + SET_DIR)))[1:] == [SET]
    assert values(said(*PING, (0, b"*1\r\n$-1\r\n")), "app-layer-event") == [b"redis.malformed_command"]


DIFFERS = b"-ERR unknown command\r\n"
HARMLESS = {
    "nothing": (b"\r\n", b""), "blanks": (b" \t\r\n" * 300, b""), "no words": (b"*0\r\n", b""),
    "less than none": (b"*-1\r\n*-7\rX" * 90, b""), "set": (b"SET x y\r\n", b"+OK\r\n"),
    "select": (b"SELECT 1\r\n", b"+OK\r\n"), "time": (b"TIME\r\n", db.words(b"1700000000", b"123456")),
    "echo": (b"ECHO hi\r\n", b"$2\r\nhi\r\n"), "exists": (b"EXISTS a\r\n", b":0\r\n"),
    "unknown": (b"foo\r\n", DIFFERS), "many words": (db.words(*[b"k"] * 10_000), DIFFERS),
    "a long word": (db.words(b"k" * 100_000), DIFFERS), "a login": (b"AUTH x\r\n", b"+OK\r\n"),
    "a long line": (b"foo " * 300 + b"\r\n", DIFFERS),
}  # fmt: skip


def opened(first: str, then: bytes, dport: int, step: int = 0, *, at_once: bool = False) -> Wire:
    """Return a session that begins with something harmless, and goes on with this twice."""
    decoy, answer = HARMLESS[first]
    wire = Wire()
    wire.flow.columns.dport[wire.flow.slot] = dport
    turns = [(0, decoy + then), (1, answer)] if at_once else [(0, decoy), (1, answer), (0, then)]
    return said(*turns, (1, b"+OK\r\n"), (0, then), wire=wire, step=step if len(decoy) < 2000 else 1000 * step)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("dport", [6379, 4242])
@pytest.mark.parametrize("first", HARMLESS)
def test_a_harmless_opening_hides_no_command(first: str, dport: int, at_once: bool, step: int) -> None:
    assert asked(opened(first, SET_DIR, dport, step, at_once=at_once))[-2:] == [SET, SET]


@pytest.mark.parametrize(
    "then", [b"CONFIG SET dir /tmp\r\n", b"'CON''FIG' SET dir /tmp\n", SET_DIR.replace(b"\r\n", b"\r\r")]
)
@pytest.mark.parametrize("first", HARMLESS)
def test_at_its_port_neither_do_lines_and_odd_ends_hide_it(first: str, then: bytes) -> None:
    for step in (0, 1):
        assert asked(opened(first, then, 6379, step))[-2:] == [SET, SET]


def test_what_is_cut_behind_the_number_of_words_is_found() -> None:
    for dport in (6379, 4242):
        wire = Wire()
        wire.flow.columns.dport[wire.flow.slot] = dport
        said((0, b"foo\r\n"), (1, DIFFERS), (0, SET_DIR[:4]), (0, SET_DIR[4:]), wire=wire)
        assert asked(wire)[-1] == SET


def test_other_protocols_at_its_port_are_none_of_it() -> None:
    wire = Wire()
    wire.flow.columns.dport[wire.flow.slot] = 6379
    said((0, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), (1, b"HTTP/1.1 200 OK\r\n\r\n"), wire=wire)
    assert asked(wire) == []
    assert wire.flow.app_proto == "http"


def test_a_mail_server_that_says_no_more_than_ok_is_one() -> None:
    wire = said((1, b"+OK\r\n"), (0, b"USER x\r\n"), (1, b"+OK\r\n"), (0, b"PASS y\r\n"), (1, b"+OK\r\n"))
    assert wire.flow.app_proto == "pop3"


CAP = 65536


def without_memory() -> Wire:
    """Return a connection in whose protocol others have taken all memory."""
    wire = Wire(redis={"memcap_bytes": CAP})
    said(*PING, wire=wire)
    assert wire.pool("redis").take(CAP - wire.pool("redis").held)
    return wire


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("line", [SET_DIR, b"CONFIG SET dir /tmp\r\n"])
def test_who_holds_all_memory_blinds_nobody_else_to_a_short_command(line: bytes, step: int) -> None:
    assert asked(said((0, line), wire=without_memory(), step=step))[-1] == SET


def test_a_command_that_is_complete_needs_no_memory() -> None:
    wire = said((0, db.words(b"EVAL", b"-" * 4000, b"0") + SET_DIR), wire=without_memory())
    assert asked(wire)[-2:] == [(b"EVAL", b"-" * 4000 + b" 0"), SET]
    assert wire.counters["redis.memcap_bytes"] == 0


def test_what_finds_no_memory_keeps_its_name_and_is_counted() -> None:
    wire = said((0, db.words(b"CONFIG", b"-" * 3000, b"-" * 3000)), wire=without_memory(), step=3500)
    assert asked(wire)[-1][0] == b"CONFIG"
    assert wire.counters["redis.memcap_bytes"] > 1000
    assert values(wire, "app-layer-event") == [b"redis.cut_command"]
    (row,) = uninspected(dict(wire.counters.values), live=False)
    assert (row.reason, row.bytes) == ("memory", wire.counters["redis.memcap_bytes"])
    said((0, SET_DIR), wire=wire)
    assert asked(wire)[-1] == SET
    (talk,) = wire.stage._talks.by_id.values()
    talk.release()
    assert held(wire, "redis") == CAP


def test_words_that_wait_for_others_count() -> None:
    wire = said(*PING)
    before = held(wire, "redis")
    said((0, b"*1000\r\n" + b"$1\r\nx\r\n" * 999), wire=wire, step=100)
    assert held(wire, "redis") - before > 40_000
    said((0, b"$1\r\nx\r\n"), wire=wire)
    assert held(wire, "redis") - before < 2000


def test_padding_hides_nothing_in_a_command() -> None:
    wire = said(
        (0, db.words(b"MSET", *[b"a"] * 70, b"os.execute")), (0, db.words(b"eval", b"-" * 5000 + b"os.execute", b"0"))
    )
    assert [b"os.execute" in arguments for _, arguments in asked(wire)] == [True, True]
    assert values(wire, "app-layer-event") == []
    said((0, db.words(b"EVAL", b"-" * 70_000, b"0") + db.words(b"CONFIG", b"SET", *[b"a"] * 2000)), wire=wire)
    assert values(wire, "app-layer-event") == [b"redis.cut_command"] * 2
    said((0, db.words(b"SET", b"a", b"x" * 70_000)), wire=wire)
    assert len(values(wire, "app-layer-event")) == 2


RULES = r"""
alert redis any any -> any any (msg:"a"; redis.command; content:"CONFIG SET"; \
    redis.arguments; content:"dir "; startswith; sid:1;)
alert redis any any -> any any (msg:"b"; redis.error; content:"no such"; sid:2;)
alert redis any any -> any any (msg:"c"; redis.password; content:"secret"; sid:3;)
alert redis any any -> any any (msg:"d"; redis.arguments; content:"secret"; sid:4;)
"""


def test_rules_and_events(tmp_path: Path) -> None:
    session = played(tmp_path, RULES, SESSION, "eve.types=[alert,redis]")
    assert sorted(session.sids) == [1, 2, 3]
    assert faults(session.events) == []
    assert len([one for one in session.events if one["event_type"] == "redis"]) == 12
