"""An export that somebody wrote or damaged is refused with its line, and nothing else happens."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.cli.exporting import MARK, Exported
from ids.errors import SourceError

ROW = {"network": "192.0.2.0/24", "mode": "enforce", "sid": 7, "label": "x", "added_ns": 1, "expires_ns": None}


def export(*rows: Any) -> bytes:
    return b"\n".join([orjson.dumps({"ids_blocklist": 1, "claims": len(rows)}), *map(orjson.dumps, rows)]) + b"\n"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"network": 5}, "no claim"),
        ({"network": "192.0.2.0"}, "no claim"),
        ({"network": "192.0.2.0/33"}, "no network"),
        ({"network": "192.0.2.1/24"}, "no network"),
        ({"network": "example.org/24"}, "no claim"),
        ({"sid": 1.5}, "whole numbers"),
        ({"sid": 1 << 32}, "out of range"),
        ({"added_ns": -1}, "out of range"),
        ({"expires_ns": "soon"}, "no claim|whole numbers"),
        ({"label": None}, "a label"),
        ({"mode": "gentle"}, "no claim"),
    ],
)
def test_a_row_that_is_none_is_named(change: dict[str, object], problem: str) -> None:
    with pytest.raises(SourceError, match=problem) as refused:
        Exported(export(ROW, ROW | change), "saved")
    assert "saved:3" in str(refused.value)


def test_what_the_export_says_is_what_comes_back() -> None:
    rows = [ROW, ROW | {"network": "2001:db8::/32", "mode": "shadow", "comment": "ticket 12"}]
    read = Exported(export(*rows), "saved")
    entries = read.entries({"x": 3})
    assert entries.texts() == ["192.0.2.0/24", "2001:db8::/32"]
    assert entries.values["mode"].tolist() == [0, 1]
    assert entries.values["label"].tolist() == [3, 3]
    assert read.comments == {("2001:db8::/32", "x"): "ticket 12"}
    assert export(*rows).startswith(MARK)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([*ROW, "comment"]),
            st.text(max_size=5) | st.none() | st.integers() | st.floats() | st.lists(st.integers()),
        ),
        max_size=3,
    ),
    st.binary(),
)
def test_whatever_it_holds_nothing_but_a_refusal_comes_of_it(changes: list[dict[str, Any]], tail: bytes) -> None:
    rows = [json.dumps(ROW | change).encode() for change in changes]
    data = b"\n".join([b'{"ids_blocklist":1,"claims":%d}' % len(rows), *rows])
    for given_data in (data, data + tail, MARK + tail):
        read, refusal = None, ""
        try:
            read = Exported(given_data, "saved")
        except SourceError as error:
            refusal = str(error)
        if read is None:
            assert refusal.startswith("saved")
        else:
            assert len(read.entries(dict.fromkeys(read.labels, 1))) == len(read.networks) == len(read.labels)
