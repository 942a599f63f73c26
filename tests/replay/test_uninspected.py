"""A replay says what it did not inspect, and follows connections whose beginning the capture lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap, wrpcap

from ids.cli import main
from ids.config import Config, load_config
from ids.replay import replay
from tests.replay.test_runner import PCAPS

HANDSHAKE = 3
assert Ether, "what captures are made of"


@pytest.fixture
def middle(tmp_path: Path) -> Path:
    """An exploit whose capture begins in the middle of the connection."""
    path = tmp_path / "middle.pcap"
    wrpcap(str(path), rdpcap(str(PCAPS / "log4shell.pcap"))[HANDSHAKE:])
    return path


def config(**stream: object) -> Config:
    return load_config(None, [f"stream.{name}={json.dumps(value)}" for name, value in stream.items()])


def alerts(path: Path, settings: Config) -> int:
    return sum(replay([path], settings).captures[0].alerts.values())


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_are_followed_from_the_middle_in_a_replay(middle: Path, workers: int) -> None:
    settings = load_config(None, [f"engine.workers={workers}"])
    report = replay([middle], settings)
    assert sum(report.captures[0].alerts.values()) == alerts(PCAPS / "log4shell.pcap", config()) > 0
    assert report.uninspected == []


def test_who_sent_the_first_packet_of_the_rest_does_not_decide_who_the_client_is(tmp_path: Path) -> None:
    packets = rdpcap(str(PCAPS / "log4shell.pcap"))
    alert = next(event for event in replay([PCAPS / "log4shell.pcap"], config()).alerts if event["dest_port"] == 80)
    client = alert["src_port"]
    packets = [packet for packet in packets if client in (packet[TCP].sport, packet[TCP].dport)]
    keep_alive = packets[1].copy()
    keep_alive[TCP].flags, keep_alive[TCP].seq = "A", keep_alive[TCP].seq + 1
    del keep_alive[TCP].chksum
    path = tmp_path / "server_first.pcap"
    wrpcap(str(path), [keep_alive, *packets[HANDSHAKE:]])
    report = replay([path], config())
    assert {(event["src_ip"], event["dest_port"]) for event in report.alerts} == {(alert["src_ip"], 80)}


def test_what_is_not_followed_is_counted_with_the_reason_and_what_to_set(
    middle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = replay([middle], config(midstream=False))
    (row,) = report.uninspected
    assert (row["reason"], row["flows"], row["remedy"]) == ("midstream", 1, "stream.midstream: true")
    assert row["bytes"] > 100
    with pytest.raises(SystemExit):
        main(["replay", str(middle), "--set", "stream.midstream=false", "--fast-path", "off"])
    said = capsys.readouterr().out
    assert "uninspected  1 flow, " in said
    assert "the beginning of their connections was not seen (stream.midstream: true)" in said


def test_what_one_side_said_of_connections_is_inspected_too(tmp_path: Path) -> None:
    packets = [packet for packet in rdpcap(str(PCAPS / "log4shell.pcap")) if packet[TCP].dport < 1024]
    path = tmp_path / "one_side.pcap"
    wrpcap(str(path), packets)
    report = replay([path], config())
    assert report.alerts
    assert report.uninspected == []
    assert report.captures[0].blocks == [], "nobody has answered, so nobody is proven"


def test_where_all_was_inspected_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", str(PCAPS / "log4shell.pcap"), "--fast-path", "off"])
    assert "uninspected  nothing" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["replay", str(PCAPS / "log4shell.pcap"), "--fast-path", "off", "-o", "json"])
    assert json.loads(capsys.readouterr().out)["uninspected"] == []
