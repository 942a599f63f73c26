"""A capture for each alert: what is in it, and that it is bounded whatever the traffic does."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scapy.utils import PcapReader

from ids.cli import cli
from ids.counters import Counters
from ids.respond import recorder, recordings
from ids.respond.recordings import Recordings
from ids.settings.respond import CapturesSettings
from ids.testing import Session
from ids.testing.session import to_client
from plugins.rules import Rules
from tests.shared import ROOT, event_validator

NEEDLE = b"GET /needle HTTP/1.1\r\nHost: x\r\n\r\n"


def session(tmp_path: Path, *settings: str, sid: int = 7, rest: str = "") -> Session:
    rule = tmp_path / "x.rules"
    rule.write_text(f'alert http any any -> any any (http.uri; content:"needle"; {rest} sid:{sid};)')
    return Session(f"rules.paths=[{rule}]", f"captures.dir={tmp_path / 'out'}", *settings, rules=Rules())


def recorded(event: dict[str, Any]) -> list[Any]:
    with PcapReader(event["capture_file"]) as packets:
        return list(packets)


@pytest.mark.parametrize("batch", [None, 1])
def test_the_packets_of_the_flow_around_the_match_are_recorded(tmp_path: Path, batch: int | None) -> None:
    played = session(tmp_path)
    played.tcp(b"GET /other HTTP/1.1\r\n\r\n", src="192.0.2.77", batch=batch)
    played.tcp(NEEDLE, to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), batch=batch)
    played.end()
    (alert,) = played.alerts
    packets = recorded(alert)
    assert len(packets) == 8, "handshake, request, answer and end; nothing of another flow"
    assert {packet["IP"].src for packet in packets} == {"192.0.2.1", "203.0.113.1"}
    assert bytes(packets[3]["TCP"].payload) == NEEDLE
    assert Path(alert["capture_file"]).name.split("-")[1:] == ["7", f"{alert['flow_id']}.pcap"]
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(alert["capture_file"]).stat().st_mode) == 0o600
    assert played.counters["captures.written"] == 1
    validator = event_validator()
    assert [error.message for error in validator.iter_errors({key: alert[key] for key in alert.keys() - {"ids"}})] == []


@pytest.mark.parametrize("batch", [None, 1])
def test_a_file_is_bounded_in_packets_and_in_bytes(tmp_path: Path, batch: int | None) -> None:
    played = session(tmp_path, "captures.packets=6", "captures.packets_before=2", "captures.file_bytes=100000")
    played.tcp(*[b"x" * 100] * 9, batch=batch)
    played.tcp(NEEDLE, to_client(b"y" * 20_000), batch=batch)
    small = session(tmp_path, "captures.file_bytes=4000", sid=8)
    small.tcp(NEEDLE, to_client(b"y" * 20_000), batch=batch)
    played.end()
    small.end()
    packets = recorded(played.alerts[0])
    assert len(packets) == 6
    assert bytes(packets[1]["TCP"].payload) == NEEDLE, "one packet before it"
    assert 2000 < Path(small.alerts[0]["capture_file"]).stat().st_size <= 4100


def test_matches_of_a_flow_share_a_file_and_a_flow_has_no_more_than_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_OF_FLOW", 2)
    played = session(tmp_path, "captures.packets=4", "captures.packets_before=1")
    played.tcp(*[NEEDLE] * 12, batch=1)
    played.end()
    files = [alert.get("capture_file") for alert in played.alerts]
    assert files == [files[0]] * 4 + [files[4]] * 4 + [None] * 4
    assert files[0] != files[4]
    assert played.counters["captures.not_recorded"] == 4


def test_one_rule_does_not_fill_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_OF_RULE", 3)
    played = session(tmp_path)
    for _ in range(5):
        played.tcp(NEEDLE)
    played.end()
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert played.counters["captures.not_recorded"] == 2


def test_rules_that_count_flows_record_nothing_that_pushes_others_out(tmp_path: Path) -> None:
    played = Session("rules.paths=[base]", f"captures.dir={tmp_path / 'out'}", rules=Rules())
    for port in range(8000, 8030):
        played.tcp(b"x", dport=port)
    played.end()
    assert {alert["alert"]["signature_id"] for alert in played.alerts} == {1000261}, "a port scan"
    assert not list((tmp_path / "out").glob("*.pcap"))
    assert played.counters["captures.not_recorded"] == 0


@pytest.mark.parametrize("kind", ["threshold", "both", "limit"])
@pytest.mark.parametrize("batch", [None, 1])
def test_matches_that_a_threshold_keeps_from_alerting_leave_no_file(
    tmp_path: Path, kind: str, batch: int | None
) -> None:
    played = session(tmp_path, rest=f"threshold: type {kind}, track by_src, count 3, seconds 600;")
    for _ in range(5):
        played.tcp(NEEDLE, batch=batch)
    played.end()
    files = {alert["capture_file"] for alert in played.alerts}
    assert len(files) == len(played.alerts) == (3 if kind == "limit" else 1)
    assert {str(path) for path in (tmp_path / "out").iterdir()} == files
    assert played.counters["captures.not_alerted"] == 5 - len(files)


def test_the_alert_has_its_file_however_many_matches_came_before(tmp_path: Path) -> None:
    played = session(tmp_path, rest="threshold: type threshold, track by_src, count 400, seconds 600;")
    played.tcp(*[NEEDLE] * 399)
    played.tcp(NEEDLE)
    played.end()
    (alert,) = played.alerts
    assert len(recorded(alert)) == 7
    assert played.counters["captures.not_recorded"] == 0, "of what is to have one"


def test_an_exceptions_matches_leave_no_file(tmp_path: Path) -> None:
    played = session(tmp_path, "respond.exceptions=[{sid: 7, src_ip: [192.0.2.1]}]")
    played.tcp(NEEDLE)
    played.end()
    assert not played.alerts
    assert not (tmp_path / "out").exists()


def test_alerts_of_one_rule_name_no_more_files_than_it_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "MAX_OF_RULE", 3)
    played = session(tmp_path)
    for _ in range(5):
        played.tcp(NEEDLE)
    played.end()
    named = [alert["capture_file"] for alert in played.alerts if "capture_file" in alert]
    assert len(named) == 3
    assert {str(path) for path in (tmp_path / "out").iterdir()} == set(named)
    assert played.counters["captures.not_recorded"] == 2


def test_open_recordings_are_bounded_and_end_with_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_OPEN", 1)
    played = session(tmp_path, "captures.wait_s=5")
    played.tcp(NEEDLE, close=False)
    played.tcp(NEEDLE, close=False)
    played.now_ns += 6_000_000_000
    played.tcp(b"GET / HTTP/1.1\r\n\r\n")
    played.tcp(NEEDLE)
    played.end()
    assert ["capture_file" in alert for alert in played.alerts] == [True, False, True]


@pytest.mark.parametrize("seconds", [-5, 1 << 32])
def test_a_capture_may_claim_a_time_that_pcap_cannot_express(tmp_path: Path, seconds: int) -> None:
    played = session(tmp_path, "captures.files=1")
    played.now_ns = seconds * 1_000_000_000
    for _ in range(2):
        played.tcp(NEEDLE)
    played.end()
    assert len(recorded(played.alerts[1])) == 7
    assert len(list((tmp_path / "out").iterdir())) == 1, "it gives way to another as any file"


def test_a_recording_ends_without_a_further_packet(tmp_path: Path) -> None:
    played = session(tmp_path, "captures.wait_s=5")
    played.tcp(NEEDLE, close=False)
    played.wait(4)
    assert not (tmp_path / "out").exists()
    played.wait(2)
    played.engine._recordings.flush()
    assert len(recorded(played.alerts[0])) == 4


def test_the_oldest_files_give_way_and_others_stay(tmp_path: Path) -> None:
    counters = Counters()
    shelf = Recordings(
        CapturesSettings(dir=str(tmp_path / "out"), files=3, total_bytes=1 << 16), counters, patient=True
    )
    shelf.put(f"{0:019d}-1-1.pcap", b"x")
    shelf.flush()
    (tmp_path / "out" / "notes.txt").write_text("somebody's own")
    for number in range(1, 6):
        shelf.put(f"{number:019d}-1-1.pcap", b"x" * 10)
    shelf.flush()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [*(f"{number:019d}-1-1.pcap" for number in (3, 4, 5)), "notes.txt"]
    shelf.put(f"{9:019d}-1-1.pcap", b"x" * (1 << 16))
    shelf.flush()
    assert len(list((tmp_path / "out").glob("*.pcap"))) == 1
    assert (counters["captures.written"], counters["captures.rotated"]) == (7, 6)


def test_what_cannot_be_removed_stays_and_the_next_oldest_give_way(tmp_path: Path) -> None:
    (tmp_path / f"{1:019d}-1-1.pcap").mkdir()  # nobody unlinks a directory
    counters = Counters()
    shelf = Recordings(CapturesSettings(dir=str(tmp_path), files=3), counters, patient=True)
    for number in range(2, 7):
        shelf.put(f"{number:019d}-1-1.pcap", b"x")
    shelf.flush()
    assert [name[18] for name in names(tmp_path)] == ["1", "5", "6"]
    assert (counters["captures.written"], counters["captures.rotated"], counters["captures.lost"]) == (5, 3, 0)


def test_a_directory_full_of_what_cannot_be_removed_takes_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        (tmp_path / f"{number:019d}-1-1.pcap").mkdir()
    counters = Counters()
    shelf = Recordings(CapturesSettings(dir=str(tmp_path), files=3), counters, patient=True)
    with caplog.at_level(logging.ERROR):
        shelf.put(f"{7:019d}-1-1.pcap", b"x")
        shelf.flush()
    assert [name[18] for name in names(tmp_path)] == ["0", "1", "2"]
    assert counters["captures.lost"] == 1
    assert "recordings are being lost" in caplog.text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_directory_is_read_once_and_again_where_others_have_changed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files there are, a recording costs its own."""
    reads: list[int] = []
    scan = os.scandir

    def counted(of: Any) -> Any:
        if isinstance(of, int):  # the folder; by path others read theirs
            reads.append(of)
        return scan(of)

    monkeypatch.setattr(os, "scandir", counted)
    shelf = Recordings(CapturesSettings(dir=str(tmp_path), files=3), Counters(), patient=True)
    for number in (5, 2, 4, 3, 5, 9):  # one is written again
        shelf.put(f"{number:019d}-1-1.pcap", b"x")
    shelf.flush()
    assert len(reads) == 1
    assert [name[18] for name in names(tmp_path)] == ["4", "5", "9"]
    (tmp_path / f"{7:019d}-1-1.pcap").write_bytes(b"another engine's")
    os.utime(tmp_path, ns=(1, 1))  # the clock of files may not have ticked since
    shelf.put(f"{8:019d}-1-1.pcap", b"x")
    shelf.flush()
    assert len(reads) == 2
    assert [name[18] for name in names(tmp_path)] == ["7", "8", "9"]


@pytest.mark.parametrize("another_users", [False, True])
def test_what_a_crash_left_unfinished_is_removed_and_what_others_write_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, another_users: bool
) -> None:
    """An engine without privileges may not signal those of another user: that they are there is enough."""
    name = f"{1:019d}-1-1.pcap"
    gone = subprocess.Popen(["true"])
    gone.wait()
    there = f".{name}.{os.getppid()}"
    old = f".{2:019d}-1-1.pcap.{os.getppid()}"
    for left in (
        f".{name}.{os.getpid()}",
        f".{name}.{os.getpid()}.12",
        f".{name}.{gone.pid}",
        f".{name}.9999999999",
        there,
        old,
        ".notes.1",
    ):
        (tmp_path / left).write_bytes(b"x")
    os.utime(tmp_path / old, (0, 0))
    if another_users:
        kill = os.kill

        def refused(process: int, signal: int) -> None:
            kill(process, signal)
            raise PermissionError

        monkeypatch.setattr(os, "kill", refused)
    shelf = Recordings(CapturesSettings(dir=str(tmp_path)), Counters(), patient=True)
    shelf.put(name, b"x")
    shelf.flush()
    assert names(tmp_path) == sorted([name, there, ".notes.1"])


def test_the_thread_ends_with_the_engine_and_writes_what_waits(tmp_path: Path) -> None:
    counters = Counters()
    shelf = Recordings(CapturesSettings(dir=str(tmp_path)), counters, patient=True)
    for number in range(5):
        shelf.put(f"{number:019d}-1-1.pcap", b"x")
    shelf.flush()
    shelf.close()
    assert shelf._thread is not None
    shelf._thread.join(60)
    assert not shelf._thread.is_alive()
    assert (counters["captures.written"], counters["captures.lost"]) == (5, 0)
    Recordings(CapturesSettings(dir=str(tmp_path)), counters, patient=True).close()


def test_a_directory_that_cannot_be_written_loses_recordings_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    counters = Counters()
    shelf = Recordings(CapturesSettings(dir=str(tmp_path / "out")), counters, patient=True)
    with caplog.at_level(logging.ERROR):
        for number in range(3):
            shelf.put(f"{number:019d}-1-1.pcap", b"x")
        shelf.flush()
    assert counters["captures.lost"] == 3
    assert len(caplog.records) == 1
    assert list((tmp_path / "elsewhere").iterdir()) == [], "no link is followed"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_replay_records_what_it_alerts_on(tmp_path: Path, workers: str) -> None:
    words = ["replay", "--fast-path", "off", "--workers", workers, "-o", "json", "--pcap-out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, [*words, str(ROOT / "pcaps" / "log4shell.pcap")])
    assert result.exit_code == 0
    alerts = json.loads(result.stdout)["alerts"]
    assert len(alerts) == 7
    for alert in alerts:
        assert alert["src_ip"] in {packet["IP"].src for packet in recorded(alert)}


def test_without_a_directory_nothing_is_recorded(tmp_path: Path) -> None:
    played = session(tmp_path, "captures.dir=null")
    played.tcp(NEEDLE)
    assert "capture_file" not in played.alerts[0]
