"""Whatever a plugin puts into an event becomes a row that the database takes, or is said to be none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.store.database import MIGRATIONS
from ids.store.rows import alert_row, insertion
from tests.store.samples import line

EVENT: dict[str, Any] = orjson.loads(line(1))
KEYS = sorted({*EVENT, "src_port", "dest_port", "ids"} - {"alert"})
OF_ALERT = sorted({*EVENT["alert"], "action", "category", "gid", "rev"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["ip", "client", "x"]), inner),
    max_leaves=4,
)


def taken(event: object) -> bool:
    """Return whether an event becomes a row; the database takes each that does."""
    try:
        row = alert_row(orjson.dumps(event), 1)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        for script in MIGRATIONS:
            database.executescript(script)
        database.execute(insertion("alerts"), row)
    return True


@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.dictionaries(st.sampled_from(OF_ALERT), VALUES))
def test_the_database_takes_every_row_that_is_made(changed: dict[str, Any], of_alert: dict[str, Any]) -> None:
    taken(EVENT | changed | {"alert": EVENT["alert"] | of_alert})


@pytest.mark.parametrize("port", [[1], {"a": 1}, 1 << 63, -1, "80", 65_536, True, 1.5])
def test_a_port_that_is_none_costs_no_alert(port: object) -> None:
    assert taken(EVENT | {"src_port": port, "dest_port": port})
    row = alert_row(orjson.dumps(EVENT | {"src_port": port, "dest_port": 80}), 1)
    assert row[6:8] == (None, 80)
