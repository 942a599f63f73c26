"""What is asked of the memory: filters, pages, counts, history; and that an index answers."""

from __future__ import annotations

import ipaddress
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.errors import UsageError
from ids.store import queries
from ids.store.database import MIGRATIONS, open_writing
from ids.store.queries import Filters, alert, alerts, changes, counts, every_alert, history, timeline, total
from ids.store.rows import change_row, insertion, packed
from ids.types import Change, IPNetwork
from tests.store.samples import SECOND, T0, insert, line

net = ipaddress.ip_network


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_writing(tmp_path / "d" / "events.db")) as opened:
        yield opened


@contextmanager
def in_memory() -> Iterator[sqlite3.Connection]:
    """Yield a database without a file, for many examples."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        for script in MIGRATIONS:
            database.executescript(script)
        yield database


def note(database: sqlite3.Connection, *given: Change, user: str = "") -> None:
    with database:
        database.executemany(insertion("changes"), [change_row(change, user) for change in given])


ROWS = [
    line(0, sid=1, src_ip="192.0.2.1", severity=1, action="blocked", signature="SQL injection 100%"),
    line(1, signature_id=2, src_ip="192.0.2.255", severity=2),
    line(2, signature_id=2, src_ip="192.0.3.0", dest_ip="192.0.2.9", severity=3),
    line(3, signature_id=3, src_ip="2001:db8::1", dest_ip="2001:db8:1::1", severity=3, flow_id=9),
    line(4, signature_id=3, src_ip="::1", dest_ip="::", severity=3, signature="a_b"),
]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), [4, 3, 2, 1, 0]),
        (Filters(sid=2), [2, 1]),
        (Filters(src=net("192.0.2.0/24")), [1, 0]),
        (Filters(src=net("192.0.2.1")), [0]),
        (Filters(address=net("192.0.2.0/24")), [2, 1, 0]),
        (Filters(src=net("2001:db8::/32")), [3]),
        (Filters(src=net("::/0")), [4, 3, 2, 1, 0]),
        (Filters(src=net("0.0.0.0/0")), [2, 1, 0]),
        (Filters(dest=net("::")), [4]),
        (Filters(severity=2), [1, 0]),
        (Filters(action="blocked"), [0]),
        (Filters(flow_id=9), [3]),
        (Filters(since_ns=T0 + 2 * SECOND), [4, 3, 2]),
        (Filters(since_ns=T0 + SECOND, until_ns=T0 + 3 * SECOND), [2, 1]),
        (Filters(text="sql INJ"), [0]),
        (Filters(text="100%"), [0]),
        (Filters(text="a_b"), [4]),
        (Filters(text="_"), [4]),
        (Filters(sid=2, src=net("192.0.2.0/24")), [1]),
    ],
)
def test_filters(database: sqlite3.Connection, filters: Filters, expected: list[int]) -> None:
    insert(database, ROWS)
    assert [(found.ts_ns - T0) // SECOND for found in alerts(database, filters)] == expected
    assert total(database, filters) == len(expected)
    backwards = every_alert(database, filters, oldest_first=True)
    assert [(found.ts_ns - T0) // SECOND for found in backwards] == expected[::-1]


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 7), st.booleans())
def test_pages_show_each_alert_once_whatever_their_size(times: list[int], size: int, oldest_first: bool) -> None:
    with in_memory() as database:
        insert(database, [line(second) for second in times])
        cursor, found = None, []
        while page := alerts(database, before=cursor, limit=size, oldest_first=oldest_first):
            found += [(row.ts_ns, row.id) for row in page]
            cursor = page[-1].cursor
        rows = [(T0 + second * SECOND, number) for number, second in enumerate(times, 1)]
    assert found == sorted(rows, reverse=not oldest_first)


def test_what_comes_meanwhile_moves_no_page(database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGE", 2)
    insert(database, [line(second) for second in range(5)])
    rows = every_alert(database, Filters(), oldest_first=False)
    first = next(rows).ts_ns
    insert(database, [line(100)])
    assert [first, *(row.ts_ns for row in rows)] == [T0 + second * SECOND for second in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize("cursor", ["", "7", "a-b", "1-2-3", "9" * 60 + "-1", "-1-1", "1;DROP-1"])
def test_a_cursor_that_is_none_is_refused(database: sqlite3.Connection, cursor: str) -> None:
    with pytest.raises(UsageError, match="no place"):
        alerts(database, before=cursor)


def test_one_alert_has_its_event(database: sqlite3.Connection) -> None:
    insert(database, ROWS)
    found = alert(database, 3)
    assert found is not None
    assert found.event["dest_ip"] == "192.0.2.9"
    assert alert(database, 99) is None


def test_counts_come_with_the_latest_title_the_most_frequent_first(database: sqlite3.Connection) -> None:
    insert(database, [line(number, signature_id=1 + number % 3 // 2, signature=f"t{number}") for number in range(9)])
    assert [(row.key, row.alerts, row.signature) for row in counts(database, "rule")] == [
        ("1", 6, "t7"),
        ("2", 3, "t8"),
    ]
    assert [(row.key, row.alerts) for row in counts(database, "source")] == [("192.0.2.1", 9)]
    assert counts(database, "rule", Filters(since_ns=T0 + 8 * SECOND), limit=1)[0].alerts == 1


def test_a_timeline_has_the_steps_in_which_there_was_something(database: sqlite3.Connection) -> None:
    insert(database, [line(second) for second in (0, 1, 59, 300)])
    assert sum(number for _, number in timeline(database, Filters(), 60)) == 4
    assert [begins % 60 for begins, _ in timeline(database, Filters(), 60)] == [0] * len(
        timeline(database, Filters(), 60)
    )


NETWORKS = st.one_of(
    st.tuples(st.integers(0, 255), st.integers(22, 32)).map(lambda p: net((0xC0000200 + p[0], p[1]), strict=False)),
    st.tuples(st.integers(0, 255), st.integers(118, 128)).map(
        lambda p: net(((0x20010DB8 << 96) + p[0], p[1]), strict=False)
    ),
)


@given(st.lists(NETWORKS, max_size=12), NETWORKS)
def test_the_history_of_a_network_is_all_that_overlaps_it(noted: list[IPNetwork], asked: IPNetwork) -> None:
    with in_memory() as database:
        note(database, *(Change("block", T0 + number, network) for number, network in enumerate(noted)))
        note(database, Change("start", T0))
        found = [row.network for row in history(database, asked)]
    assert found == [
        str(network) for network in reversed(noted) if network.version == asked.version and network.overlaps(asked)
    ]


def test_changes_by_kind_by_hand_and_by_flow(database: sqlite3.Connection) -> None:
    note(database, Change("block", T0, net("192.0.2.1"), flow_id=5), Change("start", T0 + 1))
    note(database, Change("reload", T0 + 2), user="alice")
    assert [row.kind for row in changes(database)] == ["reload", "start", "block"]
    assert [row.kind for row in changes(database, by_hand=True)] == ["reload"]
    assert [row.kind for row in changes(database, ["start", "reload"], since_ns=T0 + 2)] == ["reload"]
    assert [row.kind for row in changes(database, flow_id=5)] == ["block"]
    first = changes(database, limit=1)[-1]
    assert [row.kind for row in changes(database, before=first.cursor)] == ["start", "block"]


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(), "alerts_by_time"),
        (Filters(sid=1), "alerts_by_rule"),
        (Filters(src=net("192.0.2.1")), "alerts_by_src"),
        (Filters(src=net("192.0.2.0/24")), "alerts_by_src"),
        (Filters(dest=net("192.0.2.0/24")), "alerts_by_dest"),
        (Filters(address=net("192.0.2.0/24")), "alerts_by_src"),
        (Filters(flow_id=1), "alerts_by_flow"),
        (Filters(action="blocked"), "alerts_by_action"),
    ],
)
def test_an_index_finds_them(database: sqlite3.Connection, filters: Filters, index: str) -> None:
    asked: list[str] = []
    database.set_trace_callback(asked.append)
    alerts(database, filters, limit=50)
    database.set_trace_callback(None)
    plan = "\n".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {asked[-1]}"))
    assert index in plan
    assert "SCAN alerts\n" not in f"{plan}\n", "no read of the whole table"


@pytest.mark.parametrize(("text", "raw"), [("192.0.2.1", "00" * 10 + "ffffc0000201"), ("::1", "00" * 15 + "01")])
def test_addresses_are_sixteen_bytes(text: str, raw: str) -> None:
    assert packed(text) == bytes.fromhex(raw)
    assert queries.address_of(bytes.fromhex(raw)) == text
    assert packed("nonsense") is None
    assert packed(None) is None


def test_the_client_of_a_trusted_proxy_is_found_by_its_own_address(database: sqlite3.Connection) -> None:
    ours = {"packet_ts_ns": T0, "client": {"ip": "198.51.100.9", "via": "forwarded", "proxy": "192.0.2.1"}}
    insert(database, [line(0), line(1, ids=ours), line(2, ids={"client": {"ip": "no address"}})])
    for filters in (Filters(src=net("198.51.100.9/32")), Filters(address=net("198.51.100.0/24"))):
        assert [found.src for found in alerts(database, filters)] == ["192.0.2.1"]
    assert alerts(database, Filters(dest=net("198.51.100.0/24"))) == []
    plan = "EXPLAIN QUERY PLAN SELECT id FROM alerts WHERE src BETWEEN ? AND ? OR client BETWEEN ? AND ?"
    assert not any("SCAN" in row[3] for row in database.execute(plan, [b"", b""] * 2))
