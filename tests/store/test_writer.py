"""The writer of the memory: off the packets' way, within its bound, and never the end of the engine."""

from __future__ import annotations

import ipaddress
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ids.counters import Counters
from ids.settings.store import StoreSettings
from ids.store import writer as module
from ids.store.database import Bounds, open_reading, open_writing
from ids.store.queries import alerts, changes, total
from ids.store.writer import StoreWriter
from ids.types import BlockMode, Change
from tests.store.samples import SECOND, T0, line, lines

NETWORK = ipaddress.ip_network("192.0.2.0/24")


def soon(condition: Callable[[], bool]) -> bool:
    """Wait for a condition."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "default" / "events.db"


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def writer(path: Path, counters: Counters, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreWriter]:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    made = StoreWriter(path, StoreSettings(), counters)
    yield made
    made.close()


def written(path: Path) -> int:
    with closing(open_reading(path)) as database:
        return total(database)


def counted(writer: StoreWriter, counters: Counters, name: str) -> int:
    """Return a counter as it is now: they are brought up to date when something is handed over."""
    writer.put_alerts([])
    return counters[name]


def test_alerts_and_changes_are_written_with_their_columns(path: Path, writer: StoreWriter, counters: Counters) -> None:
    writer.put_alerts(lines(line(5, src_ip="2001:db8::1", signature="Ünlikely", severity=1)))
    writer.put_changes([Change("block", T0, NETWORK, 7, "rule", BlockMode.SHADOW, T0 + 1, 9, detail={"a": 1})])
    writer.close()
    assert (counters["store.written"], counters["store.lost"]) == (2, 0)
    with closing(open_reading(path)) as database:
        (alert,), (change,) = alerts(database, lines=True), changes(database)
    assert (alert.sid, alert.src, alert.dest, alert.severity) == (1000, "2001:db8::1", "203.0.113.1", 1)
    assert (alert.signature, alert.event["dest_port"]) == ("Ünlikely", 80)
    assert (change.network, change.mode, change.until_ns, change.detail) == ("192.0.2.0/24", "shadow", T0 + 1, {"a": 1})


@pytest.mark.parametrize("odd", [{"src_port": [1]}, {"dest_port": 1 << 63}, {"alert": 3}, {"ids": {"client": 3}}])
def test_an_odd_event_of_a_plugin_holds_up_no_other(
    path: Path, writer: StoreWriter, counters: Counters, odd: dict[str, object]
) -> None:
    writer.put_alerts(lines(line(1, **odd)))
    writer.put_alerts(lines(line(2)))
    assert soon(lambda: counted(writer, counters, "store.written") + counters["store.lost"] == 2)
    with closing(open_reading(path)) as database:
        assert T0 + 2 * SECOND in [alert.ts_ns for alert in alerts(database)]
    assert counters["store.failures"] == 0


def test_an_engine_without_anything_to_remember_makes_no_file(path: Path, writer: StoreWriter) -> None:
    writer.put_alerts([])
    writer.close()
    assert not path.exists()


def test_more_alerts_than_are_kept_in_ten_seconds_are_counted(path: Path, counters: Counters) -> None:
    writer = StoreWriter(path, StoreSettings(alerts_per_s=1), counters)
    writer.put_alerts(lines(*[line(number) for number in range(1000)]))
    writer.close()
    assert written(path) + counters["store.skipped"] == 1000
    assert 10 <= written(path) < 1000
    with closing(open_reading(path)) as database:
        assert alerts(database)[-1].ts_ns == T0, "the first of them"


def test_while_the_disk_refuses_rows_wait_and_beyond_the_bound_they_are_lost(
    path: Path,
    writer: StoreWriter,
    counters: Counters,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 10 * len(line()))
    full = threading.Event()
    full.set()

    def refuse(where: Path) -> sqlite3.Connection:
        if full.is_set():
            raise sqlite3.OperationalError("database or disk is full")
        return open_writing(where)

    monkeypatch.setattr(module, "open_writing", refuse)
    for number in range(15):
        writer.put_alerts(lines(line(number)))
    assert soon(lambda: counted(writer, counters, "store.failures") > 1)
    assert counters["store.lost"] == 5
    full.clear()
    assert soon(lambda: path.exists() and written(path) == 10)
    monkeypatch.setattr(module, "WAITING_BYTES", 1 << 20)
    writer.put_alerts(lines(line(99)))
    assert soon(lambda: written(path) == 11)
    problems = [record.message for record in caplog.records]
    assert len(problems) == 2, "one when it begins, one when it is over"
    assert "disk is full" in problems[0]
    assert "written again" in problems[1]


def test_rows_are_written_once_although_old_ones_cannot_be_deleted(
    path: Path,
    writer: StoreWriter,
    counters: Counters,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> int:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(Bounds, "keep", refuse)
    for number in range(3):
        writer.put_alerts(lines(line(number)))
        assert soon(lambda number=number: counted(writer, counters, "store.failures") > number)  # type: ignore[misc]
    writer.close()
    assert written(path) == counters["store.written"] == 3
    assert counters["store.lost"] == 0
    assert caplog.text.count("cannot be kept within its bounds") == 1


def test_a_folder_that_cannot_be_made_does_not_stop_the_engine(
    tmp_path: Path, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    writer = StoreWriter(tmp_path / "file" / "events.db", StoreSettings(), counters)
    writer.put_alerts(lines(line()))
    assert soon(lambda: counted(writer, counters, "store.failures") > 0)
    writer.close()
    assert counters["store.lost"] == 1
    assert "engine.state_dir" in caplog.text


def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(
    path: Path, writer: StoreWriter, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this was a database once\n" * 400)
    writer.put_alerts(lines(line(1)))
    assert soon(lambda: path.with_name("events.db.bad").exists())
    writer.close()
    assert written(path) == 1
    assert counters["store.set_aside"] == 1
    assert "damaged" in caplog.text


def test_a_page_that_rots_while_it_is_open_is_noticed(path: Path, writer: StoreWriter, counters: Counters) -> None:
    writer.put_alerts(lines(*[line(number) for number in range(500)]))
    writer.close()
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    again = StoreWriter(path, StoreSettings(), counters)
    again.put_alerts(lines(line(1)))
    assert soon(lambda: path.with_name("events.db.bad").exists())
    again.close()
    assert written(path) == 1


def test_a_file_that_somebody_deleted_is_made_again(path: Path, writer: StoreWriter) -> None:
    writer.put_alerts(lines(line(1)))
    assert soon(lambda: path.exists() and written(path) == 1)
    for file in path.parent.iterdir():
        file.unlink()
    writer.put_alerts(lines(line(2)))
    assert soon(lambda: path.exists() and path.stat().st_size > 4096)
    writer.close()
    assert written(path) == 1


def test_an_event_that_makes_no_row_costs_only_itself(path: Path, writer: StoreWriter, counters: Counters) -> None:
    odd = [b"{}\n", b"[]\n", b'{"alert": 3}\n', b"no json\n"]
    big = line(3, flow_id=2**63, signature_id=-(2**70) % 2**64, src_ip="nonsense", src_port=None)
    writer.put_alerts(lines(*odd, line(1), big))
    writer.close()
    assert written(path) == 2
    assert counters["store.lost"] == 4


def test_a_change_that_makes_no_row_costs_no_more_than_its_batch(
    path: Path, writer: StoreWriter, counters: Counters
) -> None:
    writer.put_changes([Change("end", T0, NETWORK, label=None)])  # type: ignore[arg-type]
    assert soon(lambda: counted(writer, counters, "store.lost") == 1)
    writer.put_changes([Change("end", T0, NETWORK, label="\udcff")])
    assert soon(lambda: counted(writer, counters, "store.written") == 1)
    with closing(open_reading(path)) as database:
        assert [row.label for row in changes(database)] == ["?"]
