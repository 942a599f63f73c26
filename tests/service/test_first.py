"""`ids init`: the file fits the host, loads, says why, and never takes the place of another by itself."""

from __future__ import annotations

import errno
import ipaddress
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ids.cli import init as command
from ids.config import load_config
from ids.errors import UsageError
from ids.rules.settings import DEFAULT_VARIABLES
from ids.service import first
from ids.service.first import Found, Interface, is_private, text_of, write_settings
from ids.source import parse_yaml
from ids.whole import write_whole
from tests.doctor.fake import LOOPBACK, FakeMachine, healthy

OUTSIDE: dict[str, Any] = LOOPBACK | {"ifname": "wan0", "link_type": "ether", "mtu": 1500}
INSIDE = OUTSIDE | {"ifname": "lan0"}
LINKS = [
    LOOPBACK,
    OUTSIDE,
    INSIDE,
    OUTSIDE | {"ifname": "port1", "master": "lan0"},
    OUTSIDE | {"ifname": "off0", "flags": []},
    OUTSIDE | {"ifname": "ct0", "linkinfo": {"info_kind": "veth"}},
    {"ifname": "wg0", "flags": ["UP"], "link_type": "none", "linkinfo": {"info_kind": "wireguard"}},
]
ROUTES = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\nwan0\t00000000\t010200C0\t3\t0\t0\t0\t00000000\n"
)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    found = healthy(tmp_path)
    found.interfaces[:] = LINKS
    (found.root / "proc/net").mkdir(parents=True, exist_ok=True)
    (found.root / "proc/net/route").write_text(ROUTES)
    monkeypatch.setattr(command, "Machine", lambda: found)
    addresses = [
        {"ifname": "wan0", "addr_info": [{"local": "198.51.100.7", "prefixlen": 24}]},
        {
            "ifname": "lan0",
            "addr_info": [{"local": "10.1.0.1", "prefixlen": 16}, {"local": "2001:db8:5::1", "prefixlen": 64}],
        },
    ]
    routes = [
        {"dst": "default", "gateway": "198.51.100.1", "dev": "wan0"},
        {"dst": "203.0.113.0/24", "gateway": "10.1.0.2", "dev": "lan0"},
    ]
    monkeypatch.setattr(
        command, "_ip", lambda *words: addresses if words == ("address",) else routes if "-4" in words else []
    )
    return found


def forward(machine: FakeMachine) -> None:
    (machine.root / "proc/sys/net/ipv4").mkdir(parents=True, exist_ok=True)
    (machine.root / "proc/sys/net/ipv4/ip_forward").write_text("1\n")


def written(tmp_path: Path, *words: str) -> Path:
    path = tmp_path / "etc/ids.yaml"
    result = CliRunner().invoke(command.init, ["-c", str(path), *words])
    assert result.exit_code == 0, result.output
    return path


def test_a_server_guards_its_way_to_the_outside(machine: FakeMachine, tmp_path: Path) -> None:
    config = load_config(written(tmp_path))
    assert config.interfaces == ["wan0"]
    assert config.respond.mode == "shadow", "first look, do not touch"


def test_a_gateway_guards_its_legs(machine: FakeMachine, tmp_path: Path) -> None:
    forward(machine)
    path = written(tmp_path)
    assert load_config(path).interfaces == ["wan0", "lan0"]
    text = path.read_text()
    assert "off0: ether, down (not chosen)" in text
    assert "wg0: wireguard, without Ethernet headers (not chosen)" in text
    assert "ct0: veth, hardly a leg of a gateway (not chosen)" in text
    assert "port1" not in text, "it comes by the bridge"


def test_own_networks_that_are_public_count_as_inside(machine: FakeMachine, tmp_path: Path) -> None:
    path = written(tmp_path)
    assert load_config(path).vars["HOME_NET"] == [
        *DEFAULT_VARIABLES["HOME_NET"],
        "198.51.100.7/32",
        "2001:db8:5::/64",
        "203.0.113.0/24",
    ]
    assert "203.0.113.0/24: routed by lan0" in path.read_text()


def test_what_doctor_found_stands_in_it(machine: FakeMachine, tmp_path: Path) -> None:
    (machine.root / "proc/self/mountinfo").write_text("")
    assert "fail: bpffs: not mounted on /sys/fs/bpf" in written(tmp_path).read_text()


def test_it_is_not_for_everybody_to_read(machine: FakeMachine, tmp_path: Path) -> None:
    assert written(tmp_path).stat().st_mode & 0o777 & ~0o640 == 0


def test_a_file_that_is_there_stays(machine: FakeMachine, tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text("respond: {mode: enforce}\n")
    result = CliRunner().invoke(command.init, ["-c", str(path)])
    assert isinstance(result.exception, UsageError)
    assert path.read_text() == "respond: {mode: enforce}\n"
    written(tmp_path, "--force")
    assert path.with_name("ids.yaml.before").read_text() == "respond: {mode: enforce}\n"
    assert load_config(path).respond.mode == "shadow"


@pytest.mark.parametrize("fails", [1, 2], ids=["keeping the former", "writing the new"])
def test_a_full_disk_costs_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int) -> None:
    path = tmp_path / "ids.yaml"
    path.write_text("respond: {mode: enforce}\n")
    path.chmod(0o640)
    calls: list[Path] = []

    def refuse(at: Path, data: bytes, mode: int) -> None:
        calls.append(at)
        if len(calls) == fails:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_whole(at, data, mode)

    monkeypatch.setattr(first, "write_whole", refuse)
    with pytest.raises(UsageError, match="No space left"):
        write_settings(path, "interfaces: []\n", force=True)
    assert path.read_text() == "respond: {mode: enforce}\n"
    assert write_settings(path, "interfaces: []\n", force=True) == path.with_name("ids.yaml.before")
    assert {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {
        "ids.yaml": 0o640, "ids.yaml.before": 0o640,
    }  # fmt: skip


def test_it_can_be_looked_at_first(machine: FakeMachine, tmp_path: Path) -> None:
    result = CliRunner().invoke(command.init, ["-c", "-"])
    assert parse_yaml(result.output, "out").data["interfaces"] == ["wan0"]


def test_a_host_without_ip_gets_a_file_too(machine: FakeMachine, tmp_path: Path) -> None:
    object.__setattr__(machine, "ip_works", False)
    assert load_config(written(tmp_path)).interfaces == []


@given(st.text(min_size=1), st.text())
def test_names_that_a_host_makes_up_stay_names(name: str, about: str) -> None:
    found = Found([Interface(name, about, chosen=True)], remarks=[about])
    assert parse_yaml(text_of(found, about), "x").data["interfaces"] == [name]


@pytest.mark.parametrize(
    ("network", "private"),
    [
        ("10.2.0.0/16", True),
        ("fe80::/64", True),
        ("fd00::/8", True),
        ("198.51.100.0/24", False),
        ("2001:db8::/32", False),
    ],
)
def test_what_is_inside_by_default(network: str, private: bool) -> None:
    assert is_private(ipaddress.ip_network(network)) is private


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file cannot be made: File exists"):
        write_settings(tmp_path / "file/ids.yaml", "")
