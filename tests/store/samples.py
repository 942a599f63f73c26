"""Alerts as the engine spells them, for the memory's tests."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import Any

import orjson

from ids.events import Event, Lines
from ids.store.rows import alert_row, insertion

SECOND = 1_000_000_000
T0 = time.time_ns() // SECOND * SECOND - 7200 * SECOND
"""Two hours ago: what is old goes by itself."""


def event(number: int = 0, **changes: Any) -> Event:
    """Return the ``alert`` event of second ``number``; ``changes`` go to its top, or to ``alert`` where they belong."""
    inner = {"action": "allowed", "gid": 1, "signature_id": 1000, "rev": 1, "signature": "An attack", "severity": 3}
    made: Event = {
        "timestamp": "2023-11-14T22:13:20.000000+0000", "flow_id": 7, "event_type": "alert",
        "src_ip": "192.0.2.1", "dest_ip": "203.0.113.1", "src_port": 40000, "dest_port": 80, "proto": "TCP",
        "alert": {**inner, "category": "Web", **{key: changes[key] for key in inner.keys() & changes.keys()}},
        "ids": {
            "packet_ts_ns": T0 + number * SECOND,
            "evidence": [{"buffer": "http.uri", "offset": 3, "excerpt": "/etc/passwd"}],
        },
    }  # fmt: skip
    return made | {key: value for key, value in changes.items() if key not in inner}


def line(number: int = 0, **changes: Any) -> bytes:
    """Return the same as a line of JSON."""
    return orjson.dumps(event(number, **changes)) + b"\n"


def lines(*given: bytes) -> list[Lines]:
    """Return lines as outputs get them."""
    return [Lines("alert", b"".join(given), len(given))]


ROTTEN = ("", "{", "[]", "3", "null", '{"ids": 3}', '{"ids": {"evidence": 3, "block": 3}}',
          '{"ids": {"evidence": ["x", {}, {"buffer": 1}], "block": {"network": "nobody"}, "rule": 3}, "packet": 3}',
          '{"evidence": 3, "side": 3, "gid": "x", "signature": [], "rule": {}, "comment": 3}')  # fmt: skip
"""What an event, or the detail of a change, may be on a disk that fails, or by a plugin that means well."""


def rot(database: sqlite3.Connection, text: str) -> None:
    """Put a text in the place of all events and details."""
    database.execute("UPDATE alerts SET event = ?", (text,))
    database.execute("UPDATE changes SET detail = ?", (text,))
    database.execute("UPDATE changes SET network = 'nobody', first = x'00' WHERE id % 2 = 0")


def insert(database: sqlite3.Connection, given: Iterable[bytes]) -> None:
    """Put alerts into a database."""
    with database:
        database.executemany(insertion("alerts"), [alert_row(one, T0) for one in given])
