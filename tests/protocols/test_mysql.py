"""MySQL: logins, commands and their replies, however they are cut; what is compressed, encrypted, missing or odd."""

from __future__ import annotations

from pathlib import Path
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.rare.mysql_packets import Capability as Can
from ids.protocols.rare.mysql_packets import texts_of_query
from ids.types import Direction
from tests.protocols import databases as db
from tests.protocols import handshakes as hs
from tests.protocols.sessions import Turn, complete, events, faults, held, played, said, said_in_pieces, values
from tests.protocols.wire import CLIENT, SERVER, Wire

SESSION: tuple[Turn, ...] = tuple([(int(side), data) for side, data in db.MYSQL])
OLD: tuple[Turn, ...] = tuple([(int(side), data) for side, data in db.MYSQL_OLD])
LOGIN = SESSION[:3]
OK_INFO = {"affected_rows": 0, "warnings": 0}


def behind_login(*turns: Turn, login: tuple[Turn, ...] = LOGIN) -> list[dict[str, Any]]:
    """Return the events of what follows a login."""
    return events(said(*login, *turns).close())[1:]


def test_a_login() -> None:
    wire = said(*LOGIN)
    assert wire.flow.app_proto == "mysql"
    assert events(wire) == [
        {
            "version": "8.0.36", "protocol_version": 10, "thread_id": 11, "server_capabilities": f"{db.NEWER:08x}",
            "server_auth_plugin": "caching_sha2_password", "capabilities": f"{db.NEWER:08x}", "user": "alice",
            "database": "shop", "auth_plugin": "caching_sha2_password",
            "attributes": {"_client_name": "libmysql", "_os": "Linux"}, "response": {"status": "ok", **OK_INFO},
        }
    ]  # fmt: skip
    assert values(wire, "mysql.attribute") == [b"_client_name=libmysql", b"_os=Linux"]
    assert [values(wire, f"mysql.{name}") for name in ("version", "user", "database")] == [
        [b"8.0.36"], [b"alice"], [b"shop"],
    ]  # fmt: skip


def test_commands_and_what_came_of_them() -> None:
    wire = said(*SESSION).close()
    query, none, deleted, called, initialised, prepared, executed, closed, pinged, loaded, left = events(wire)[1:]
    assert query == {
        "command": "query", "query": "SELECT name FROM users",
        "response": {"status": "rows", **OK_INFO, "columns": 1, "rows": 2},
    }  # fmt: skip
    assert none["response"] == {
        "status": "error", "code": 1054, "state": "42S22", "message": "Unknown column 'nope'",
    }  # fmt: skip
    assert deleted["response"] == {"status": "ok", "affected_rows": 2, "warnings": 0, "message": "gone"}
    assert called["response"] == {"status": "ok", **OK_INFO, "columns": 2, "rows": 3}, "of all result sets"
    assert initialised == {"command": "init_db", "database": "news", "response": {"status": "ok", **OK_INFO}}
    assert prepared["response"] == {"status": "prepared", "parameters": 2, "columns": 1, "statement_id": 7}
    assert executed == {
        "command": "stmt_execute", "statement_id": 7, "query": "SELECT ? + ?",
        "response": {"status": "rows", **OK_INFO, "columns": 1, "rows": 1},
    }  # fmt: skip
    assert (closed, pinged["command"]) == ({"command": "stmt_close", "statement_id": 7}, "ping")
    assert loaded["response"]["local_infile"] == "/etc/passwd"
    assert left == {"command": "quit"}
    assert values(wire, "mysql.query") == [
        b"SELECT name FROM users", b"SELECT nope", b"DELETE FROM users", b"CALL two()", b"SELECT ? + ?",
        b"LOAD DATA LOCAL INFILE 'x'",
    ]  # fmt: skip
    assert values(wire, "mysql.rows") == [b"2", b"3", b"1"]
    assert values(wire, "mysql.error_code") == [b"1054"]
    assert values(wire, "app-layer-event") == []


def test_the_old_form_marks_the_ends_of_columns() -> None:
    wire = said(*OLD).close()
    assert [(one.get("command"), one["response"].get("rows")) for one in events(wire)] == [
        (None, None), ("query", 2), ("stmt_prepare", None), ("stmt_execute", 0), ("stmt_fetch", 2),
        ("field_list", None), ("statistics", None), ("change_user", None),
    ]  # fmt: skip
    *_, listed, statistics, changed = events(wire)
    assert listed["response"]["columns"] == 2
    assert statistics["response"] == {"message": "Uptime: 4", "status": "ok"}
    assert changed == {
        "command": "change_user", "user": "bob", "database": "news", "auth_plugin": "mysql_native_password",
        "response": {
            "status": "error", "auth_plugin": "mysql_clear_password", "code": 1045, "state": "28000",
            "message": "Access denied",
        },
    }  # fmt: skip
    assert values(wire, "mysql.auth_plugin")[1:] == [b"mysql_native_password", b"mysql_clear_password"]


@pytest.mark.parametrize("turns", [SESSION, OLD], ids=["new", "old"])
@given(cuts=st.lists(st.integers(0, 3000), max_size=8))
def test_any_cut_of_the_streams_gives_the_same(turns: tuple[Turn, ...], cuts: list[int]) -> None:
    assert said_in_pieces(turns, cuts).what() == said(*turns).what()


def test_it_is_known_by_either_side() -> None:
    assert said(LOGIN[0]).flow.app_proto == said(LOGIN[1]).flow.app_proto == "mysql"
    refused = b"\xff\x6a\x04Host 'a' is not allowed to connect to this MySQL server"
    wire = said((1, db.packet(refused))).close()
    assert wire.flow.app_proto == "mysql"
    assert events(wire)[0]["response"]["code"] == 1130


@pytest.mark.parametrize("step", [0, 1, 7])
def test_what_goes_on_in_tls_is_handed_over(step: int) -> None:
    wire = said(LOGIN[0], (0, db.tls_asked() + hs.client_side()), (1, hs.server_side(hs.certificate())), step=step)
    assert (wire.flow.app_proto, wire.flow.app_orig) == ("tls", "mysql")
    first = next(one for one in wire.seen if one.complete)
    assert first.fields["tls"] is True
    assert complete(wire)[-1].protocol == "tls"


def test_a_server_without_tls_takes_what_asks_for_it_for_a_login() -> None:
    """Who asks for it nevertheless does not hide what follows."""
    wire = said((1, db.greeted(db.NEWER & ~Can.SSL)), (0, db.tls_asked()), (0, db.asked(3, b"SELECT 1"))).close()
    assert wire.flow.app_proto == "mysql"
    assert values(wire, "mysql.query") == [b"SELECT 1"]


@pytest.mark.parametrize("kind", [Can.COMPRESS, Can.ZSTD])
def test_what_is_compressed_is_not_read(kind: Can) -> None:
    able = db.NEWER | kind
    login = ((1, db.greeted(able)), (0, db.logged_in(able)), (1, db.packet(db.fine(), 2)))
    wire = said(*login, (0, b"\x05\0\0\0\0\0\0\x01\0\0\0\x0e"), (1, b"\x0b\0\0\1" + bytes(11))).close()
    assert wire.counters["mysql.compressed"] == 1
    assert values(wire, "app-layer-event") == [b"mysql.compressed"]
    assert [one.get("compressed") for one in events(wire)] == [True]
    alone = ((1, db.greeted()), (0, db.logged_in(able)), (1, db.packet(db.fine(), 2)))
    assert len(events(said(*alone, (0, db.asked(14)), (1, db.packets(db.fine()))))) == 2, "a client alone cannot"


def test_attributes_of_a_query_are_not_its_text() -> None:
    values_ = b"\x02\x01\0\x01\xfe\0" + db.string(b"a") + b"\x08\0" + db.string(b"b") + db.string(b"x") + bytes(8)
    for body in (b"\0\x01SELECT 1", values_ + b"SELECT 1"):
        assert texts_of_query(b"\x03" + body, Can.QUERY_ATTRIBUTES) == (b"SELECT 1",)
    assert texts_of_query(b"\x03\x40", Can.QUERY_ATTRIBUTES) == (b"\x40",), "what is cut is handed on as it is"
    able = db.NEWER | Can.QUERY_ATTRIBUTES
    login = ((1, db.greeted(able)), (0, db.logged_in(able)), (1, db.packet(db.fine(), 2)))
    (event,) = behind_login((0, db.asked(3, values_ + b"SELECT 1")), login=login)
    assert event["query"] == "SELECT 1"


def test_packets_of_16_megabytes_are_one() -> None:
    largest = 0xFFFFFF
    query = b"SELECT '" + b"x" * (largest + 100) + b"'"
    command = b"\x03" + query
    sent = db.packet(command[:largest]) + db.packet(command[largest:], 1)
    row = b"\xfd" + pack("<I", largest - 5)[:3] + b"y" * (largest - 5)
    answer = db.packets(*db.rows()[:2]) + db.packet(row.ljust(largest, b"z"), 3) + db.packet(b"more", 4)
    answer += db.packets(db.fine(head=0xFE), first=5)
    wire = said(*LOGIN, (0, sent), (1, answer), (0, db.asked(14)), (1, db.packets(db.fine())), step=1 << 20).close()
    _, asked, pinged = events(wire)
    assert asked["query"].startswith("SELECT 'xx")
    assert len(asked["query"]) < 1 << 16
    assert asked["query_truncated"] is True
    assert asked["response"]["rows"] == 1
    assert pinged["response"]["status"] == "ok"
    assert held(wire, "mysql") == 0


def test_a_long_value_is_no_end_of_rows() -> None:
    """Its length is said by the byte that marks the end of short ones."""
    long = b"\xfe" + pack("<Q", 200_000) + b"x" * 200_000
    answer = db.packets(*db.rows(old=True)[:-1], long, db.ended())
    old = tuple([(int(side), data) for side, data in db.OLD_LOGIN])
    (event,) = behind_login((0, db.asked(3, b"SELECT 1")), (1, answer), login=old)
    assert event["response"]["rows"] == 1


def test_mariadb_says_how_far_it_is_and_leaves_out_what_its_client_knows() -> None:
    able = (db.NEWER | Can.CACHED_METADATA) & ~Can.MYSQL
    version = b"5.5.5-10.11.4-MariaDB"
    login = ((1, db.greeted(able, version)), (0, db.logged_in(able)), (1, db.packet(db.fine(), 2)))
    progress = b"\xff\xff\xff\x01\x02\x03\0\0\0" + db.string(b"copy")
    known = (b"\x01\x00", db.string(b"1"), db.fine(head=0xFE))
    told = (b"\x01\x01", db.COLUMN, db.string(b"1"), db.fine(head=0xFE))
    changed, *read = behind_login(
        (0, db.asked(3, b"ALTER")), (1, db.packets(progress, progress, db.fine())),
        (0, db.asked(0x17, bytes(9))), (1, db.packets(*known)), (0, db.asked(0x17, bytes(9))), (1, db.packets(*told)),
        login=login,
    )  # fmt: skip
    assert changed["response"]["status"] == "ok"
    assert [one["response"]["rows"] for one in read] == [1, 1]


def test_replication_is_no_reply() -> None:
    dump, closed = behind_login(
        (0, db.asked(0x12, bytes(10))), (1, db.packets(b"\0" * 40, b"\0" * 50)), (0, db.asked(1))
    )
    assert dump == {"command": "binlog_dump"}
    assert closed == {"command": "quit"}


def test_commands_that_do_not_wait_find_their_replies() -> None:
    ask = db.asked(3, b"SELECT 1") + db.asked(0x19, bytes(4)) + db.asked(3, b"SELECT nope")
    asked = behind_login((0, ask), (1, db.packets(*db.rows(b"1")) + db.packets(db.wrong(1054, b"42S22", b"no"))))
    found = {one.get("query"): one.get("response", {}).get("status") for one in asked}
    assert found == {"SELECT 1": "rows", None: None, "SELECT nope": "error"}


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_what_is_missing_costs_the_replies_that_wait(side: Direction) -> None:
    wire = said(*LOGIN, (0, db.asked(3, b"SELECT 1")))
    if side is SERVER:
        wire.server(db.packets(*db.rows(b"1", b"2"))[:9]).send(side, db.packets(db.string(b"3"), first=9), gap=100)
        wire.client(db.asked(3, b"SELECT 2"))
    else:
        wire.send(side, db.asked(3, b"SELECT 2"), gap=100)
    wire.server(db.packets(*db.rows(b"1"))).close()
    assert wire.counters["mysql.gap"] == 1
    first, second = events(wire)[1:]
    assert first.get("response", {}).get("rows") in (None, 0)
    assert second["response"] == {"status": "rows", **OK_INFO, "columns": 1, "rows": 1}


@pytest.mark.parametrize(
    ("turns", "odd"),
    [
        (((1, db.packet(b"\x0a8.0.36\0\1\0")), LOGIN[1]), b"malformed_packet"),
        ((LOGIN[0], (0, db.packet(LOGIN[1][1][4:80], 1))), b"malformed_packet"),
        ((*LOGIN, (0, db.asked(0x77))), b"unknown_command"),
    ],
)
def test_what_is_odd(turns: tuple[Turn, ...], odd: bytes) -> None:
    assert values(said(*turns), "app-layer-event") == [b"mysql." + odd]


def test_what_waits_has_a_bound_and_is_reported_once() -> None:
    wire = Wire(mysql={"open_requests": 4})
    said(*LOGIN, (0, b"".join([db.asked(3, b"SELECT %d" % at) for at in range(9)])), wire=wire).close()
    assert wire.counters["mysql.requests_evicted"] == 1
    ids = [one.tx_id for one in complete(wire)]
    assert sorted(ids) == list(range(10))
    assert held(wire, "mysql") == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from([data for _, data in (*SESSION, *OLD)]) | st.binary(max_size=40)
            | st.builds(db.packet, st.binary(max_size=12), st.integers(0, 3)),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_no_session_makes_it_fail(turns: list[Turn]) -> None:
    wire = said(SESSION[0], *turns).close()
    assert wire.counters["app_layer.error.mysql.internal"] == 0
    assert wire.flow.app_proto != "mysql" or held(wire, "mysql") == 0


# What would keep queries from rules

WRITES = b"SELECT 1 INTO OUTFILE '/tmp/x'"
LOADS = b"LOAD DATA LOCAL INFILE 'x' INTO TABLE t"
REFUSED = db.packets(db.wrong(1047, b"08S01", b"Unknown command"))
FINE = db.packets(db.fine())


def queries(*turns: Turn, login: tuple[Turn, ...] = LOGIN) -> list[bytes]:
    """Return the texts of what follows a login, and of a query behind that."""
    return values(said(*login, *turns, (0, db.asked(3, WRITES)), (1, FINE)).close(), "mysql.query")


def test_a_file_that_ends_before_it_is_asked_for_hides_nothing() -> None:
    assert queries(
        (0, db.asked(3, LOADS) + db.packet(b"", 2)), (1, db.packet(b"\xfbx", 1)), (1, db.packet(db.fine(), 3)),
        (0, db.asked(3, b"DO 1")), (1, FINE),
    ) == [LOADS, b"DO 1", WRITES]  # fmt: skip
    early = (0, db.asked(3, LOADS) + db.packet(b"", 2) + db.asked(3, b"DO 1"))
    assert queries(early, (1, db.packet(b"\xfbx", 1))) == [LOADS, b"DO 1", WRITES], "with no end of the reply either"


@pytest.mark.parametrize("last", [253, 254, 255, 256, 257, 600])
def test_a_file_of_many_packets_is_no_command(last: int) -> None:
    """Their numbers begin anew behind 255."""
    sent = b"".join([db.packet(b"\x03SELECT" if number < last else b"", number & 255) for number in range(2, last + 1)])
    turns = (0, db.asked(3, LOADS)), (1, db.packet(b"\xfbx", 1)), (0, sent), (1, db.packet(db.fine(7), last + 1 & 255))
    assert queries(*turns) == [LOADS, WRITES]
    assert behind_login(*turns)[0]["response"]["affected_rows"] == 7


ODD_FIRST = {"empty": db.packet(b""), "dump": db.asked(0x12, bytes(10)), "close": db.asked(0x19)}


@pytest.mark.parametrize("first", ODD_FIRST)
def test_what_servers_refuse_takes_its_error_only(first: str) -> None:
    """Else the NULL of a row looks like a question for a file, as the answer to what follows."""
    asked = ODD_FIRST[first] + db.asked(3, b"SELECT NULL") + db.asked(14) * 3 + db.asked(3, b"DO 1")
    answered = REFUSED + db.packets(b"\1", db.COLUMN, db.ended(), b"\xfb", db.ended()) + FINE * 4
    old = tuple([(int(side), data) for side, data in db.OLD_LOGIN])
    wire = said(*old, (0, asked), (1, answered)).close()
    assert values(wire, "mysql.local_infile") == []
    selected = next(one for one in events(wire) if one.get("query") == "SELECT NULL")
    assert selected["response"]["rows"] == 1
    assert queries((0, asked), (1, answered), login=old) == [b"SELECT NULL", b"DO 1", WRITES]


def test_an_empty_packet_that_is_not_refused_takes_no_reply() -> None:
    (_, query) = behind_login((0, db.packet(b"") + db.asked(3, b"DO 1")), (1, db.packets(db.fine(5))))
    assert query["response"]["affected_rows"] == 5


def test_a_reply_begins_with_the_first_number() -> None:
    """Whatever was made of the one before; a long one comes to that number again."""
    asked = (0, db.asked(3, b"SELECT 1") + db.asked(3, b"DO 2"))
    cut, fine = behind_login(asked, (1, db.packets(*db.rows(b"1")[:-1]) + db.packets(db.fine(5))))
    assert (cut["response"]["rows"], fine["response"]["affected_rows"]) == (1, 5)
    long, fine = behind_login(asked, (1, db.packets(*db.rows(*[b"1"] * 600)) + db.packets(db.fine(5))))
    assert (long["response"]["rows"], fine["response"]["affected_rows"]) == (600, 5)
    stray = behind_login((0, db.asked(3, b"DO 2")), (1, db.packet(db.fine(4), 7) + db.packets(db.fine(5))))
    assert stray[0]["response"]["affected_rows"] == 5


def test_a_later_statement_may_ask_for_a_file_where_it_says_so() -> None:
    more = db.fine(status=db.MORE_RESULTS)
    for query, names in ((b"DO 1; load data local infile 'x'", [b"x"]), (b"DO 1; DO 2", [])):
        wire = said(*LOGIN, (0, db.asked(3, query)), (1, db.packets(more, b"\xfbx")))
        assert values(wire, "mysql.local_infile") == names
    assert values(said(*LOGIN, (0, db.asked(3, b"DO 1")), (1, db.packets(b"\xfbx"))), "mysql.local_infile") == [b"x"]


@pytest.mark.parametrize("size", [65_400, 65_530, 65_531, 65_532, 66_000, 70_000, 0xFFFFFF - 20, 0xFFFFFF + 9])
@pytest.mark.parametrize("step", [1400, 1 << 25])
@pytest.mark.parametrize("command", [3, 0x16])
def test_the_end_of_a_long_query_is_seen(size: int, step: int, command: int) -> None:
    payload = bytes((command,)) + b"/*" + b"x" * size + b"*/" + WRITES
    sent = db.packet(payload[:0xFFFFFF]) + (db.packet(payload[0xFFFFFF:], 1) if len(payload) >= 0xFFFFFF else b"")
    wire = said(*LOGIN, (0, sent + db.asked(3, b"DO 1")), (1, REFUSED * 2), step=step).close()
    first, *tails, last = values(wire, "mysql.query")
    assert payload[1:].startswith(first)
    assert (tails or [first])[-1].endswith(WRITES)
    assert last == b"DO 1"
    assert values(wire, "app-layer-event") == [b"mysql.query_truncated"] * len(tails)
    assert held(wire, "mysql") == 0


def test_bytes_that_are_missing_in_a_long_query() -> None:
    sent = db.packet(b"\x03" + b"x" * 70_000) + db.asked(3, b"DO 1")
    for at in (100, 66_000):
        wire = said(*LOGIN, (0, sent[:at])).send(CLIENT, sent[at + 50 :], gap=50).server(FINE).close()
        assert values(wire, "mysql.query")[-1] == b"DO 1"
        assert held(wire, "mysql") == 0


@pytest.mark.parametrize("kind", [0, 6, 9, 13, 244])
def test_attributes_that_servers_may_read_in_another_way_hide_nothing(kind: int) -> None:
    """Of a type whose length is not said, a few are taken for many bytes."""
    sent = b"\x3c\1" + bytes(8) + b"\1" + bytes((kind, 0, 0)) * 60 + bytes(60) + WRITES + b" " * 200
    assert any(WRITES in text for text in texts_of_query(b"\x03" + sent, Can.QUERY_ATTRIBUTES))
    able = db.NEWER | Can.QUERY_ATTRIBUTES
    login = ((1, db.greeted(able)), (0, db.logged_in(able)), (1, db.packet(db.fine(), 2)))
    assert any(WRITES in text for text in values(said(*login, (0, db.asked(3, sent))), "mysql.query"))


RULES = """\
alert mysql any any -> any any (msg:"a"; mysql.query; content:"DELETE"; sid:1;)
alert mysql any any -> any any (msg:"b"; mysql.error_code:1054; sid:2;)
alert mysql any any -> any any (msg:"c"; mysql.rows:>2; sid:3;)
alert mysql any any -> any any (msg:"d"; mysql.local_infile; content:"/etc/passwd"; sid:4;)
alert mysql any any -> any any (msg:"e"; mysql.user; content:"root"; sid:5;)
"""


def test_rules_and_events(tmp_path: Path) -> None:
    session = played(tmp_path, RULES, SESSION, "eve.types=[alert,mysql]")
    assert sorted(session.sids) == [1, 2, 3, 4]
    assert faults(session.events) == []
    found = [one["ids"]["mysql"] for one in session.events if one["event_type"] == "mysql"]
    assert found[0]["user"] == "alice"
    assert len(found) == 12
