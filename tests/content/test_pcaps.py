"""The captures that ship: their program makes them, their index describes them, the starter rules see them."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from ids.capture import open_capture
from ids.config import load_config
from ids.replay import CaptureReport, replay
from ids.rules.language.loader import load_rules
from tests.shared import ROOT

pytestmark = pytest.mark.long

PCAPS = ROOT / "pcaps"
INDEX: Mapping[str, Any] = yaml.safe_load((PCAPS / "index.yaml").read_text())
CAPTURES: list[dict[str, Any]] = INDEX["captures"]
NAMES = [entry["file"] for entry in CAPTURES]
MAX_BYTES = 300_000
MAX_BYTES_TOGETHER = 3_000_000

DOCUMENTATION = [
    ipaddress.ip_network(network) for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]


def run(rules: str, names: list[str]) -> dict[str, CaptureReport]:
    config = load_config(None, [f"rules.paths=[{ROOT / 'rules' / rules}]"])
    report = replay([PCAPS / name for name in names], config)
    return dict(zip(names, report.captures, strict=True))


@pytest.fixture(scope="module")
def reports() -> dict[str, CaptureReport]:
    """What the starter rules say of every capture, in one run of one engine, as `ids replay pcaps` has it."""
    return run("base", NAMES)


def test_the_program_makes_the_committed_bytes() -> None:
    check = subprocess.run(
        [sys.executable, PCAPS / "generate.py", "--check"], capture_output=True, text=True, check=False, timeout=120
    )
    assert (check.returncode, check.stderr) == (0, "")


def test_the_index_describes_every_capture() -> None:
    files = {path.name for path in PCAPS.iterdir() if ".pcap" in path.suffixes or path.suffix == ".pcapng"}
    assert sorted(NAMES) == sorted(files)
    assert INDEX["licence"] == "GPL-2.0-only"
    readme = (PCAPS / "README.md").read_text()
    for entry in CAPTURES:
        assert f"| `{entry['file']}` | {entry['description'].strip()} | {entry['packets']:,} |" in readme


def test_the_captures_stay_small() -> None:
    sizes = [(PCAPS / name).stat().st_size for name in NAMES]
    assert max(sizes) < MAX_BYTES
    assert sum(sizes) < MAX_BYTES_TOGETHER


@pytest.mark.parametrize("name", NAMES)
def test_addresses_are_for_documentation(name: str) -> None:
    with open_capture(PCAPS / name) as capture:
        frames = [
            bytes(batch.data[start : start + size])
            for batch in capture
            for start, size in zip(batch.offset.tolist(), batch.caplen.tolist(), strict=True)
        ]
    assert frames
    for address in {address for frame in frames for address in addresses(frame)}:
        assert any(address in network for network in DOCUMENTATION), address


def addresses(frame: bytes) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return source and destination of an Ethernet frame, VLAN tags skipped."""
    at = 12
    while frame[at : at + 2] == b"\x81\x00":
        at += 4
    kind, packet = frame[at : at + 2], frame[at + 2 :]
    if kind == b"\x08\x00":
        return [ipaddress.ip_address(packet[12:16]), ipaddress.ip_address(packet[16:20])]
    assert kind == b"\x86\xdd"
    return [ipaddress.ip_address(packet[8:24]), ipaddress.ip_address(packet[24:40])]


@pytest.mark.parametrize("entry", CAPTURES, ids=NAMES)
def test_the_starter_rules_see_what_the_index_says(entry: dict[str, Any], reports: dict[str, CaptureReport]) -> None:
    report = reports[entry["file"]]
    assert report.problem is None
    assert report.packets == entry["packets"]
    assert report.alerts == entry["alerts"]


def test_every_starter_rule_fires_somewhere(reports: dict[str, CaptureReport]) -> None:
    fired = {sid for report in reports.values() for sid in report.alerts}
    base = ROOT / "rules" / "base"
    loaded = load_rules([base])
    shipped = {rule.signature.sid for rule in (*loaded.rules, *loaded.yara.rules)}
    assert shipped - fired == set()


@pytest.mark.parametrize("name", ["benign.pcap", "syn_flood.pcap"])
def test_nothing_is_said_of_innocent_payloads(name: str, reports: dict[str, CaptureReport]) -> None:
    assert reports[name].alerts == {}
    assert reports[name].blocks == []


def test_benign_clients_are_never_blocked(reports: dict[str, CaptureReport]) -> None:
    benign = ipaddress.ip_network("198.51.100.0/24")
    blocked = [ipaddress.ip_network(block.network) for report in reports.values() for block in report.blocks]
    assert blocked, "the captures hold attacks that block"
    assert not [network for network in blocked if network.version == 4 and network.overlaps(benign)]


def test_a_blocked_source_is_cut_off_within_the_capture(reports: dict[str, CaptureReport]) -> None:
    (block, *_) = reports["log4shell.pcap"].blocks
    assert block.network == "192.0.2.66/32"
    assert block.cut_off_from is not None
    assert block.cut_off_from > block.ordered_at


def test_the_policy_rules_see_what_the_index_says() -> None:
    expected = {entry["file"]: entry.get("policy", {}) for entry in CAPTURES}
    assert {name: report.alerts for name, report in run("policy", NAMES).items()} == expected


def test_a_capture_by_itself_gives_the_same(reports: dict[str, CaptureReport]) -> None:
    alone = run("base", ["scanners.pcap"])["scanners.pcap"]
    assert alone.alerts == reports["scanners.pcap"].alerts
