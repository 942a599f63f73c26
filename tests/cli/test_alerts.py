"""`ids alerts`: what an operator sees of the memory; what an attacker wrote gives a terminal no orders."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ids.cli import main
from ids.store.database import open_writing
from tests.store.samples import ROTTEN, T0, insert, line, rot

Ids = Callable[..., tuple[int, str, str]]
HOSTILE = "\x1b]0;owned\x07\u202e\nfake line\x9b31m"


@pytest.fixture
def ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ids:
    with closing(open_writing(tmp_path / "default" / "events.db")) as database:
        evidence = {"packet_ts_ns": T0 + 5, "evidence": [{"buffer": HOSTILE, "offset": 0, "excerpt": HOSTILE}]}
        insert(
            database, [line(-number, src_ip=f"192.0.2.{number}", signature_id=number) for number in range(60, 1, -1)]
        )
        insert(database, [line(5, signature=HOSTILE, category=HOSTILE, ids=evidence, http={HOSTILE: [{"a": HOSTILE}]})])

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words), "--set", f"engine.state_dir={tmp_path}"])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_the_latest_come_first_and_more_are_announced(ids: Ids) -> None:
    code, out, err = ids("alerts", "list", "--limit", "3")
    assert code == 0
    assert [int(row.split()[0]) for row in out.splitlines()] == [60, 59, 58]
    assert "--limit" in err


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["--sid", 7], 1), (["--src", "192.0.2.8/29"], 8), (["--address", "192.0.2.9"], 1), (["--since", "1h"], 0),
        (["--since", "3h"], 60), (["--severity", 2], 0), (["--action", "allowed", "--limit", 70], 60),
        (["--dest", "203.0.113.0/24", "--since", "2020-01-01", "--limit", 70], 60),
    ],
)  # fmt: skip
def test_filters(ids: Ids, words: list[object], rows: int) -> None:
    code, out, err = ids("alerts", "list", *words, *([] if "--limit" in words else ["--limit", 100]))
    assert code == 0
    assert len(out.splitlines()) == rows
    assert rows or "no alert" in err


@pytest.mark.parametrize("words", [["list"], ["show", 60], ["show", 60, "-o", "json"], ["list", "-o", "json"]])
def test_hostile_text_stays_on_its_line_and_gives_no_orders(ids: Ids, words: list[object]) -> None:
    code, out, _ = ids("alerts", *words)
    assert code == 0
    assert "owned" in out
    assert not any(sign in out for sign in ("\x1b", "\x07", "\x9b", "\u202e"))
    assert not any(row.startswith("fake") for row in out.splitlines())


def test_export_is_the_events_the_oldest_first(ids: Ids) -> None:
    code, out, _ = ids("alerts", "export")
    events = [json.loads(row) for row in out.splitlines()]
    assert code == 0
    assert len(events) == 60
    assert events[-1]["alert"]["signature"] == HOSTILE
    assert [event["src_ip"] for event in events[:2]] == ["192.0.2.60", "192.0.2.59"]


def test_json_has_number_and_event(ids: Ids) -> None:
    row = json.loads(ids("alerts", "list", "--sid", 7, "-o", "json")[1])
    assert (row["event"]["src_ip"], row["id"]) == ("192.0.2.7", 54)


def test_one_that_is_not_there(ids: Ids) -> None:
    code, out, err = ids("alerts", "show", 4711)
    assert (code, out) == (1, "")
    assert "ids alerts list" in err


@pytest.mark.parametrize("words", [["list", "--since", "soon"], ["list", "--src", "example.org"], ["show", "x"]])
def test_bad_words_are_refused(ids: Ids, words: list[object]) -> None:
    assert ids("alerts", *words)[0] == 2


def test_without_a_memory_it_says_what_makes_one(ids: Ids) -> None:
    code, _, err = ids("alerts", "list", "--set", "instance=other")
    assert code == 2
    assert "ids run" in err


def test_events_that_are_damaged_are_said_to_be(ids: Ids, tmp_path: Path) -> None:
    for text in ROTTEN:
        with closing(open_writing(tmp_path / "default" / "events.db")) as database:
            rot(database, text)
        damaged = not text.startswith('{"')
        code, out, err = ids("alerts", "show", 1)
        assert (code, "192.0.2.60" in out, "damaged" in err) == (0, True, damaged), text
        code, out, err = ids("alerts", "export")
        assert (code, len(out.splitlines())) == (0, 0 if damaged else 60), text
        assert ("60 alerts are left out, whose events are damaged" in err) is damaged, text
        assert json.loads(ids("alerts", "show", 1, "-o", "json")[1])["id"] == 1
