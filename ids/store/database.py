"""The database's file: its schema, opening it, and keeping it within its bounds.

SQLite in WAL mode: one writes at a time (the engine's thread, for moments a command), and readers never wait. Whoever
reads takes a page at a time: a read that stays open keeps the log of writes from being taken back.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from ids.errors import UsageError

FILE_NAME = "events.db"

BUSY_S = 2.0
"""How long a write waits for another process's, which take milliseconds."""

LOG_BYTES = 16 << 20
"""To which the log of writes is cut back when it was taken over into the database."""

MAX_CHANGES = 200_000
"""Rows of changes. At the most blocks in a minute that are allowed, an attack fills them in half an hour; so rows of
what was done by hand, and of the engine's life, stay when these go."""

STEP = 2_000
"""Rows that go at once: some milliseconds, in which a command that writes too does not wait for long. By age no more go
at a time either, so that a clock that jumps ahead does not forget all at once."""

_BY_THEMSELVES = "kind IN ('block', 'end')"
"""Changes that come of traffic."""

_MINUTE_S = 60.0
_DAY_NS = 86_400_000_000_000

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE alerts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        ts_ns INTEGER NOT NULL,
        sid INTEGER NOT NULL, gid INTEGER NOT NULL, rev INTEGER NOT NULL,
        src BLOB, dest BLOB, src_port INTEGER, dest_port INTEGER, proto TEXT NOT NULL,
        flow_id INTEGER NOT NULL,
        action TEXT NOT NULL, severity INTEGER NOT NULL, category TEXT NOT NULL, signature TEXT NOT NULL,
        event TEXT NOT NULL
    );
    CREATE INDEX alerts_by_time ON alerts (ts_ns);
    CREATE INDEX alerts_by_rule ON alerts (sid, ts_ns);
    CREATE INDEX alerts_by_src ON alerts (src, ts_ns);
    CREATE INDEX alerts_by_dest ON alerts (dest, ts_ns);
    CREATE INDEX alerts_by_flow ON alerts (flow_id);
    CREATE INDEX alerts_by_severity ON alerts (severity, ts_ns);
    CREATE INDEX alerts_by_action ON alerts (action, ts_ns);
    CREATE TABLE changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        ts_ns INTEGER NOT NULL,
        kind TEXT NOT NULL,
        first BLOB, last BLOB, network TEXT NOT NULL,
        sid INTEGER NOT NULL, label TEXT NOT NULL, mode TEXT NOT NULL, until_ns INTEGER, flow_id INTEGER NOT NULL,
        packets INTEGER NOT NULL, bytes INTEGER NOT NULL,
        user TEXT NOT NULL, uid INTEGER, command TEXT NOT NULL,
        detail TEXT NOT NULL
    );
    CREATE INDEX changes_by_time ON changes (ts_ns);
    CREATE INDEX changes_by_kind ON changes (kind, ts_ns);
    CREATE INDEX changes_by_network ON changes (first, last);
    """,
    """
    ALTER TABLE alerts ADD COLUMN client BLOB;
    CREATE INDEX alerts_by_client ON alerts (client, ts_ns) WHERE client IS NOT NULL;
    """,
)
"""What brings a database from each version of the schema to the next; the first makes it. Only ever appended to."""


class StoreTooNew(UsageError):
    """The database was written by a newer version."""


class StoreMissing(UsageError):
    """There is no database yet."""


def store_path(state_dir: str, instance: str) -> Path:
    """Return where the engine of this name keeps its database."""
    return Path(state_dir) / instance / FILE_NAME


def open_writing(path: Path, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """Open the database to write, making or migrating it where that is needed.

    Raises `StoreTooNew`, `OSError` or `sqlite3.Error`. The folder (0700) and the file (0600) are their owner's alone.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        _require_known(database, path, len(migrations))
        if _version(database) < len(migrations):
            _migrate(database, migrations)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may cost the last second, no more
        database.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    except BaseException:
        database.close()
        raise
    return database


def open_reading(path: Path, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """Open the database to read; raises `StoreMissing`, `StoreTooNew`, or `UsageError` where it cannot be read.

    One of an older version is migrated, where this process may write it.
    """
    try:
        path.stat()
        database = _connect_reading(path)
        try:
            _require_known(database, path, len(migrations))
            if _version(database) == len(migrations):
                return database
        except BaseException:
            database.close()
            raise
        database.close()
        open_writing(path, migrations).close()
        return _connect_reading(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreMissing(
            f"there is no memory at {path}: `ids run` makes it (store.enabled, engine.state_dir); name its instance"
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}. Run as its owner, or as root") from error
    except sqlite3.Error as error:
        raise UsageError(f"{path} cannot be read: {error}. {remedy_of(error)}") from error


def remedy_of(error: sqlite3.Error) -> str:
    """Return what to do about a database that cannot be read. Only one that is damaged has to go."""
    words = str(error)
    if "full" in words:
        return "Make room on its disk: whoever reads needs a little as well"
    if "malformed" in words or "not a database" in words:
        return "It is damaged. Move it aside (mv events.db events.db.bad): the engine begins a new one"
    return "Is it another user's? Run as root. If it is damaged, move it aside: the engine begins a new one"


def _connect_reading(path: Path) -> sqlite3.Connection:
    """Connect; to a file that nobody has open and that we may not write as one that does not change."""
    sealed = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    query = "immutable=1" if sealed else "mode=ro"
    uri = f"{path.absolute().as_uri()}?{query}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _require_known(database: sqlite3.Connection, path: Path, known: int) -> None:
    version = _version(database)
    if version > known:
        raise StoreTooNew(
            f"{path} has version {version} of the schema, and this program knows {known}: a newer `ids` wrote it. Use"
            f" that, or begin anew: mv {path} {path}.v{version}"
        )


def _migrate(database: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Bring the schema up to date, all of it or nothing; another process may have been faster."""
    if _version(database) == 0:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table, or never
    database.execute("BEGIN IMMEDIATE")
    try:
        for script in migrations[_version(database) :]:
            for statement in script.split(";"):
                if statement.strip():
                    database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(migrations)}")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


class Bounds:
    """Keeps a database within its size and age, a few rows at a time; see `STEP`."""

    def __init__(self, max_bytes: int, max_age_days: float) -> None:
        self._max_bytes = max_bytes
        self._max_age_ns = int(max_age_days * _DAY_NS)
        self._next_s = 0.0

    def keep(self, database: sqlite3.Connection) -> int:
        """Delete what is too much or, once a minute, too old; return how many rows. Raises `sqlite3.Error`."""
        deleted = 0
        while (size := _used_bytes(database)) > self._max_bytes:
            gone = _shrink(database, size - self._max_bytes)
            deleted += gone
            if not gone:
                break
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _MINUTE_S
            deleted += self._forget_old(database)
        return deleted

    def _forget_old(self, database: sqlite3.Connection) -> int:
        limit_ns = time.time_ns() - self._max_age_ns
        deleted = 0
        for table in ("alerts", "changes"):
            deleted += database.execute(
                f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE ts_ns < ? ORDER BY ts_ns LIMIT {STEP})",
                (limit_ns,),
            ).rowcount
        surplus = database.execute("SELECT count(*) FROM changes").fetchone()[0] - MAX_CHANGES
        if surplus > 0:
            deleted += _delete_oldest(database, "changes", _BY_THEMSELVES, surplus)
        size = database.execute("PRAGMA page_count").fetchone()[0] * _page_bytes(database)
        if size > self._max_bytes:  # the bound was lowered
            database.execute(f"PRAGMA incremental_vacuum({STEP})").fetchall()
        return deleted


def _shrink(database: sqlite3.Connection, surplus: int) -> int:
    """Delete for about as many bytes the oldest of what there is most of; return how many rows.

    An attack alerts at will, and has itself blocked at will: so alerts of the rule that has the most go, or blocks
    where these are more than all alerts. What other rules have found stays, and what was done by hand goes last.
    """
    rows = max(1, min(STEP, surplus // 4096))  # few alerts are larger; whoever calls asks again
    alerts, sid, of_rule = database.execute(
        "SELECT sum(number) OVER (), sid, number FROM (SELECT sid, count(*) AS number FROM alerts GROUP BY sid)"
        " ORDER BY number DESC LIMIT 1"
    ).fetchone() or (0, 0, 0)
    blocks = database.execute(f"SELECT count(*) FROM changes WHERE {_BY_THEMSELVES}").fetchone()[0]
    if blocks > alerts:
        return _delete_oldest(database, "changes", _BY_THEMSELVES, rows)
    if alerts:
        return _delete_oldest(database, "alerts", f"sid = {int(sid)}", min(rows, of_rule), "ts_ns, id")
    return _delete_oldest(database, "changes", "1", rows)


def _delete_oldest(database: sqlite3.Connection, table: str, where: str, rows: int, order: str = "id") -> int:
    return database.execute(
        f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {where} ORDER BY {order} LIMIT ?)", (rows,)
    ).rowcount


def _page_bytes(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA page_size").fetchone()[0])


def _used_bytes(database: sqlite3.Connection) -> int:
    """Return the bytes that hold something; pages that were given back are used again before the file grows."""
    pages = (
        database.execute("PRAGMA page_count").fetchone()[0] - database.execute("PRAGMA freelist_count").fetchone()[0]
    )
    return int(pages) * _page_bytes(database)
