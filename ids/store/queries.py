"""What is asked of the memory: alerts by filters and by the page, counts, what was done to an address, one alert.

Pages follow a cursor, never an offset: the hundredth page costs what the first does, and rows that come meanwhile move
nothing. Each call reads to its end, so that no read is left open; see `ids.store.database`.
"""

from __future__ import annotations

import ipaddress
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ids.errors import UsageError
from ids.events import Event
from ids.store.kept import evidence_of, object_of, part_of
from ids.store.rows import MAX_INT, bounds_of, covering_starts
from ids.types import IPNetwork

PAGE = 1000
"""Rows read at once where all are wanted."""

_COLUMNS = (
    "id, ts_ns, sid, gid, rev, src, dest, src_port, dest_port, proto, flow_id, action, severity, category, signature,"
    " client"
)
_CHANGE_COLUMNS = (
    "id, ts_ns, kind, network, sid, label, mode, until_ns, flow_id, packets, bytes, user, uid, command, detail"
)
_KEYS = {"rule": "sid", "source": "src", "destination": "dest", "severity": "severity", "action": "action"}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which alerts are meant; what is None is not asked for."""

    since_ns: int | None = None
    until_ns: int | None = None
    sid: int | None = None
    src: IPNetwork | None = None
    dest: IPNetwork | None = None
    address: IPNetwork | None = None
    """At either end."""
    severity: int | None = None
    """As severe, or more so: 1 is the most severe."""
    action: str | None = None
    """``blocked`` or ``allowed``."""
    flow_id: int | None = None
    text: str | None = None
    """Part of the signature's title, in whatever case."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, in columns."""

    id: int
    ts_ns: int
    sid: int
    gid: int
    rev: int
    src: str
    """Empty where there was no IP header."""
    dest: str
    src_port: int | None
    dest_port: int | None
    proto: str
    flow_id: int
    action: str
    severity: int
    category: str
    signature: str
    client: str
    """For whom a trusted proxy at one end spoke; empty otherwise."""
    line: str = ""
    """The event as JSON, where it was asked for."""

    @property
    def event(self) -> Event:
        """The event as an object; an empty one where it is damaged."""
        return object_of(self.line)

    @property
    def ours(self) -> Event:
        """What of the event is ours: rule, block, evidence."""
        return part_of(self.event, "ids")

    @property
    def evidence(self) -> list[Event]:
        """What the rule saw."""
        return evidence_of(self.ours)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; the event was asked for."""
        return {"id": self.id, "event": self.event}

    @property
    def cursor(self) -> str:
        """What to ask with for the page behind this alert."""
        return f"{self.ts_ns}-{self.id}"


@dataclass(frozen=True, slots=True)
class Count:
    """Alerts that have something in common."""

    key: str
    """The rule's sid, the address, the severity or the action."""
    alerts: int
    first_ns: int
    last_ns: int
    signature: str
    """Of the latest one."""
    category: str
    severity: int


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """Something that was done, by the engine or by hand (then with ``user``); see `ids.types.Change`."""

    id: int
    ts_ns: int
    kind: str
    network: str
    sid: int
    label: str
    mode: str
    until_ns: int | None
    flow_id: int
    packets: int
    bytes: int
    user: str
    uid: int | None
    command: str
    detail: dict[str, Any]
    """Empty where it is damaged, too."""

    @property
    def cursor(self) -> str:
        """What to ask with for the page behind this row."""
        return f"{self.ts_ns}-{self.id}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"expires_ns" if name == "until_ns" else name: value for name, value in row.items()}


def alerts(
    database: sqlite3.Connection,
    filters: Filters = Filters(),
    before: str | None = None,
    limit: int = PAGE,
    *,
    lines: bool = False,
    oldest_first: bool = False,
) -> list[Alert]:
    """Return a page of alerts, the latest first; ``before`` is the `cursor` of the last one of the page before.

    ``lines``: with the events. Raises `UsageError` for a cursor that is none, `sqlite3.Error`.
    """
    where, values = _conditions(filters)
    _add_cursor(where, values, before, oldest_first)
    order = "ts_ns, id" if oldest_first else "ts_ns DESC, id DESC"
    columns = f"{_COLUMNS}, event" if lines else _COLUMNS
    # Sorted and cut among the entries of an index alone; only what is shown is read from the table.
    found = database.execute(
        f"SELECT {columns} FROM alerts WHERE id IN"
        f" (SELECT id FROM alerts WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?) ORDER BY {order}",
        (*values, limit),
    ).fetchall()
    return [_alert(row) for row in found]


def every_alert(
    database: sqlite3.Connection, filters: Filters, limit: int | None = None, *, lines: bool = False, oldest_first: bool
) -> Iterator[Alert]:
    """Yield alerts, read a page at a time; at most ``limit``."""
    cursor, left = None, limit
    while left is None or left > 0:
        page = alerts(
            database, filters, cursor, PAGE if left is None else min(left, PAGE), lines=lines, oldest_first=oldest_first
        )
        yield from page
        if len(page) < PAGE:
            return
        cursor = page[-1].cursor
        left = None if left is None else left - len(page)


def alert(database: sqlite3.Connection, number: int) -> Alert | None:
    """Return one alert with its event; None where there is none of this number (any more)."""
    row = database.execute(f"SELECT {_COLUMNS}, event FROM alerts WHERE id = ?", (number,)).fetchone()
    return None if row is None else _alert(row)


def counts(
    database: sqlite3.Connection,
    by: str,
    filters: Filters = Filters(),
    limit: int = 20,
) -> list[Count]:
    """Return how many alerts there are by ``rule``, ``source``, ``destination``, ``severity`` or ``action``.

    The most frequent come first.
    """
    key = _KEYS[by]
    where, values = _conditions(filters)
    grouped = database.execute(
        f"SELECT {key}, count(*), min(ts_ns), max(ts_ns), max(id) FROM alerts WHERE {' AND '.join(where)}"
        f" GROUP BY {key} ORDER BY 2 DESC, 4 DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    found = []
    for value, number, first_ns, last_ns, latest in grouped:
        words = database.execute("SELECT signature, category, severity FROM alerts WHERE id = ?", (latest,)).fetchone()
        name = address_of(value) if key in ("src", "dest") else str(value)
        found.append(Count(name, number, first_ns, last_ns, *(words or ("", "", 0))))
    return found


def total(database: sqlite3.Connection, filters: Filters = Filters()) -> int:
    """Return how many alerts there are."""
    where, values = _conditions(filters)
    return int(database.execute(f"SELECT count(*) FROM alerts WHERE {' AND '.join(where)}", values).fetchone()[0])


def timeline(database: sqlite3.Connection, filters: Filters, step_s: int) -> list[tuple[int, int]]:
    """Return (UNIX second at which a step begins, alerts in it), for the steps that have some, oldest first."""
    where, values = _conditions(filters)
    step_ns = step_s * 1_000_000_000
    rows = database.execute(
        f"SELECT ts_ns / ? AS step, count(*) FROM alerts WHERE {' AND '.join(where)} GROUP BY step ORDER BY step",
        (step_ns, *values),
    ).fetchall()
    return [(step * step_s, number) for step, number in rows]


def history(
    database: sqlite3.Connection, network: IPNetwork, before: str | None = None, limit: int = PAGE
) -> list[ChangeRow]:
    """Return what was done to an address or network, to one inside it or around it; the latest first."""
    first, last = bounds_of(network)
    starts = covering_starts(network)
    where = [f"((first BETWEEN ? AND ?) OR (first IN ({', '.join('?' * len(starts))}) AND last >= ?))"]
    values: list[Any] = [first, last, *starts, last]
    return _changes(database, where, values, before, limit)


def changes(
    database: sqlite3.Connection,
    kinds: Sequence[str] = (),
    before: str | None = None,
    limit: int = PAGE,
    *,
    by_hand: bool = False,
    since_ns: int | None = None,
    flow_id: int | None = None,
) -> list[ChangeRow]:
    """Return what was done, the latest first: of some kinds, by people alone, or because of a flow."""
    where, values = ["1"], list[Any]()
    if kinds:
        where.append(f"kind IN ({', '.join('?' * len(kinds))})")
        values += kinds
    if by_hand:
        where.append("user <> ''")
    if since_ns is not None:
        where.append("ts_ns >= ?")
        values.append(since_ns)
    if flow_id is not None:
        where.append("flow_id = ?")
        values.append(flow_id)
    return _changes(database, where, values, before, limit)


def imports(
    database: sqlite3.Connection,
    label: str,
    since_ns: int,
    until_ns: int | None = None,
    *,
    limit: int = 1,
    oldest_first: bool = False,
) -> list[ChangeRow]:
    """Return imports of one label's whole set within a time, the latest unless the oldest are wanted."""
    where, values = ["kind = 'import' AND network = '' AND label = ? AND ts_ns >= ?"], list[Any]((label, since_ns))
    if until_ns is not None:
        where.append("ts_ns <= ?")
        values.append(until_ns)
    return _changes(database, where, values, None, limit, oldest_first=oldest_first)


def address_of(raw: bytes | None) -> str:
    """Spell an address of 16 bytes; empty for none, or what is none."""
    if raw is None or len(raw) != 16:
        return ""
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def _changes(
    database: sqlite3.Connection,
    where: list[str],
    values: list[Any],
    before: str | None,
    limit: int,
    *,
    oldest_first: bool = False,
) -> list[ChangeRow]:
    _add_cursor(where, values, before, oldest_first)
    order = "ts_ns, id" if oldest_first else "ts_ns DESC, id DESC"
    rows = database.execute(
        f"SELECT {_CHANGE_COLUMNS} FROM changes WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?",
        (*values, limit),
    ).fetchall()
    names = [field.name for field in fields(ChangeRow)]
    return [ChangeRow(**dict(zip(names, (*row[:-1], object_of(row[-1])), strict=True))) for row in rows]


def _alert(row: tuple[Any, ...]) -> Alert:
    names = [field.name for field in fields(Alert)]
    made = dict(zip(names, row, strict=False))  # without the event where it was not asked for
    return Alert(**made | {end: address_of(made[end]) for end in ("src", "dest", "client")})


def _conditions(filters: Filters) -> tuple[list[str], list[Any]]:
    """Return the conditions of a query, at least one, and their values."""
    where, values = ["1"], list[Any]()
    for condition, value in (
        ("ts_ns >= ?", filters.since_ns), ("ts_ns < ?", filters.until_ns), ("sid = ?", filters.sid),
        ("flow_id = ?", filters.flow_id), ("action = ?", filters.action),
        ("severity BETWEEN 0 AND ?", filters.severity),
    ):  # fmt: skip
        if value is not None:
            where.append(condition)
            values.append(value)
    for columns, network in (
        (("src", "client"), filters.src),  # a trusted proxy's client is who was at the other end
        (("dest",), filters.dest),
        (("src", "dest", "client"), filters.address),
    ):
        if network is not None:
            where.append(f"({' OR '.join(f'{column} BETWEEN ? AND ?' for column in columns)})")
            values += [*bounds_of(network)] * len(columns)
    if filters.text:
        where.append("signature LIKE ? ESCAPE '\\'")
        escaped = filters.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        values.append(f"%{escaped}%")
    return where, values


def _add_cursor(where: list[str], values: list[Any], cursor: str | None, oldest_first: bool) -> None:
    if cursor is None:
        return
    ts_ns, _, number = cursor.partition("-")
    if not all(part.isdecimal() and len(part) < 20 and int(part) <= MAX_INT for part in (ts_ns, number)):
        raise UsageError(f"{cursor[:60]!r} is no place in the list; take the one that came with a page")
    where.append(f"(ts_ns, id) {'>' if oldest_first else '<'} (?, ?)")
    values += [int(ts_ns), int(number)]
