"""The file of the memory: who may read it, how its schema goes on, and that it stays within its bounds."""

from __future__ import annotations

import errno
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ids.errors import UsageError
from ids.store import database as module
from ids.store.database import MIGRATIONS, Bounds, StoreMissing, StoreTooNew, open_reading, open_writing, remedy_of
from ids.store.queries import Filters, alerts, changes, total
from ids.store.rows import change_row, insertion
from ids.types import Change
from tests.store.samples import SECOND, T0, insert, line

MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "default" / "events.db"


@pytest.fixture
def database(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_writing(path)) as opened:
        yield opened


def test_nobody_else_may_read_it(path: Path, database: sqlite3.Connection) -> None:
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    database.execute("CREATE TABLE t (x)")
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, "with what SQLite keeps beside it"


def test_a_database_that_is_not_there_names_what_makes_it(path: Path) -> None:
    with pytest.raises(StoreMissing, match="ids run"):
        open_reading(path)


def test_an_older_schema_is_migrated_whoever_opens_it_and_keeps_its_rows(path: Path) -> None:
    with closing(open_writing(path)) as older:
        insert(older, [line(1)])
    newer = (*MIGRATIONS, "ALTER TABLE alerts ADD COLUMN note TEXT; CREATE TABLE more (id INTEGER)")
    with closing(open_reading(path, newer)) as opened:
        assert opened.execute("SELECT sid, note FROM alerts").fetchall() == [(1000, None)]
    with closing(open_writing(path, newer)) as again:
        assert again.execute("PRAGMA user_version").fetchone() == (len(newer),)


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    open_writing(path).close()
    with pytest.raises(sqlite3.Error):
        open_writing(path, (*MIGRATIONS, "CREATE TABLE more (id INTEGER); CREATE TABLE alerts (id INTEGER)"))
    with closing(open_writing(path)) as opened:
        assert opened.execute("SELECT name FROM sqlite_master WHERE name = 'more'").fetchall() == []


@pytest.mark.parametrize("opens", [open_writing, open_reading])
def test_a_newer_schema_is_refused_and_the_remedy_named(path: Path, opens: object) -> None:
    open_writing(path, (*MIGRATIONS, "CREATE TABLE more (id INTEGER)")).close()
    with pytest.raises(
        StoreTooNew, match=rf"version {len(MIGRATIONS) + 1} .* knows {len(MIGRATIONS)}.*newer `ids`.*mv "
    ):
        opens(path)  # type: ignore[operator]


def test_what_is_no_database_is_refused_by_readers(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(UsageError, match="cannot be read"):
        open_reading(path)


def test_a_folder_that_one_may_not_look_into_is_named_as_such(
    path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(UsageError, match=r"cannot be read: Permission denied\. Run as") as caught:
        open_reading(path)
    assert not isinstance(caught.value, StoreMissing)


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        ("database or disk is full", "Make room"),
        ("database disk image is malformed", "Move it aside"),
        ("file is not a database", "Move it aside"),
        ("unable to open database file", "Run as root"),
    ],
)
def test_only_a_damaged_database_has_to_go(fault: str, remedy: str) -> None:
    words = remedy_of(sqlite3.OperationalError(fault))
    assert remedy in words
    assert ("mv " in words) == (remedy == "Move it aside")


def test_beyond_its_size_the_oldest_alerts_go_and_changes_stay(database: sqlite3.Connection) -> None:
    with database:
        database.execute(insertion("changes"), change_row(Change("start", T0)))
    bounds = Bounds(MIB, 90)
    for first in range(0, 2000, 500):
        insert(database, [line(number, payload="x" * 1000) for number in range(first, first + 500)])
        bounds.keep(database)
    pages, free = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    assert (pages - free) * 4096 <= MIB
    assert pages * 4096 < 3 * MIB, "pages that were given back are used again"
    assert 100 < total(database) < 1000
    assert alerts(database, limit=1)[0].ts_ns == T0 + 1999 * SECOND, "the latest is there"
    assert [row.kind for row in changes(database)] == ["start"]


def test_a_flood_of_one_rule_does_not_push_out_what_others_found(database: sqlite3.Connection) -> None:
    insert(database, [line(number, signature_id=2) for number in range(20)])
    bounds = Bounds(MIB, 90)
    for first in range(100, 3100, 500):
        insert(database, [line(number, payload="x" * 1000) for number in range(first, first + 500)])
        bounds.keep(database)
    assert total(database, Filters(sid=2)) == 20
    assert total(database, Filters(sid=1000)) > 100
    assert alerts(database, limit=1)[0].ts_ns == T0 + 3099 * SECOND


def test_a_flood_of_blocks_does_not_push_out_alerts(database: sqlite3.Connection) -> None:
    insert(database, [line(number) for number in range(20)])
    bounds = Bounds(MIB, 90)
    blocks = [change_row(Change("block", T0 + n, detail={"evidence": "x" * 2000})) for n in range(1000)]
    with database:
        database.execute(insertion("changes"), change_row(Change("reload", T0), "alice", 1000, "ids reload"))
        database.executemany(insertion("changes"), blocks)
    bounds.keep(database)
    assert total(database) == 20
    found = changes(database)
    assert found[0].ts_ns == T0 + 999, "the latest block is there"
    assert len(found) < 1000
    assert [row.user for row in changes(database, by_hand=True)] == ["alice"]


def test_what_is_too_old_goes_by_steps(database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP", 10)
    insert(database, [line(number - 91 * 86400) for number in range(15)])
    insert(database, [line(0)])
    bounds = Bounds(MIB, 90)
    assert bounds.keep(database) == 10, "a clock that is wrong for a moment does not forget all"
    assert bounds.keep(database) == 0, "once a minute"
    assert Bounds(MIB, 90).keep(database) == 5
    assert total(database) == 1


def test_many_blocks_do_not_push_out_what_was_done_by_hand(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CHANGES", 10)
    now_ns = time.time_ns()
    with database:
        database.execute(insertion("changes"), change_row(Change("reload", now_ns), "alice", 1000, "ids reload"))
        database.executemany(insertion("changes"), [change_row(Change("block", now_ns + n)) for n in range(30)])
    Bounds(MIB, 90).keep(database)
    kept = changes(database)
    assert len(kept) == 10
    assert kept[-1].user == "alice"
