"""Replay: the whole engine on captures of our own, and on every hostile one that the peer has."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from ids.config import Config, load_config
from ids.errors import UsageError
from ids.replay import find_captures, replay
from tests.shared import ROOT, shared

PCAPS = ROOT / "pcaps"


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(None)


def test_an_exploit_is_found_blocked_and_the_cut_off_packet_named(config: Config) -> None:
    report = replay([PCAPS / "log4shell.pcap"], config)
    capture = report.captures[0]
    assert capture.alerts
    assert capture.blocks
    block = capture.blocks[0]
    assert block.cut_off_from is None or block.cut_off_from > block.ordered_at


def test_benign_traffic_raises_nothing(config: Config) -> None:
    report = replay([PCAPS / "benign.pcap"], config)
    assert report.captures[0].packets > 0
    assert report.captures[0].alerts == {}
    assert report.captures[0].blocks == []


def test_one_capture_says_nothing_of_the_next(config: Config) -> None:
    twice = replay([PCAPS / "log4shell.pcap", PCAPS / "log4shell.pcap"], config)
    first, second = twice.captures
    assert (first.alerts, first.flows) == (second.alerts, second.flows)
    assert [block.ordered_at for block in first.blocks] == [block.ordered_at for block in second.blocks]


def test_a_compressed_capture_is_the_same_capture(config: Config) -> None:
    plain, packed = replay([PCAPS / "traversal.pcap", PCAPS / "traversal.pcap.gz"], config).captures
    assert (plain.packets, plain.alerts) == (packed.packets, packed.alerts)


def test_pcapng_is_read_like_pcap(config: Config) -> None:
    pcap, pcapng = replay([PCAPS / "log4shell.pcap", PCAPS / "log4shell.pcapng"], config).captures
    assert (pcap.packets, pcap.alerts) == (pcapng.packets, pcapng.alerts)


def test_a_folder_without_captures_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no capture in this folder"):
        find_captures([tmp_path])


def peer_captures() -> list[Path]:
    suite = shared("suricata-verify")
    return sorted(path for path in suite.rglob("*") if ".pcap" in path.name and path.is_file())


def test_every_capture_of_the_peers_suite_ends_without_a_traceback(config: Config) -> None:
    """Some 550 captures, many hostile or broken, in one process: nothing raises, memory stays within bounds."""
    captures = peer_captures()
    report = replay(captures, config)
    assert len(report.captures) == len(captures) > 500
    assert report.packets > 50_000
    assert "plugin" not in report.counters, "no plugin may stumble over hostile bytes"
    assert "error" not in report.counters["app_layer"], "nor a parser"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20, "in KiB"
