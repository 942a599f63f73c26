"""`ids doctor` as people and scripts see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ids.cli import doctor as command
from tests.doctor.fake import FakeMachine, healthy


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """Let the command look at a machine in perfect order."""
    found = healthy(tmp_path)
    monkeypatch.setattr(command, "Machine", lambda: found)
    return found


def break_bpffs(machine: FakeMachine) -> None:
    (machine.root / "proc/self/mountinfo").write_text("")


def test_all_well_exits_0(machine: FakeMachine) -> None:
    result = CliRunner().invoke(command.doctor, [])
    assert result.exit_code == 0, result.output
    assert "0 failed, 0 with a warning" in result.output


def test_a_failure_exits_1_and_names_its_remedy(machine: FakeMachine) -> None:
    break_bpffs(machine)
    result = CliRunner().invoke(command.doctor, [])
    assert result.exit_code == 1
    assert "mount -t bpf bpffs /sys/fs/bpf" in result.output
    assert "`ids replay`" in result.output


def test_json_has_every_check(machine: FakeMachine) -> None:
    break_bpffs(machine)
    result = CliRunner().invoke(command.doctor, ["-o", "json", "-i", "inside"])
    assert result.exit_code == 1
    report = json.loads(result.output)
    assert report["ok"] is False
    by_name = {check["name"]: check for check in report["checks"]}
    assert by_name["bpffs"]["status"] == "fail"
    assert by_name["inside: mtu"] == {"name": "inside: mtu", "status": "ok", "found": "1500", "remedy": ""}


def test_a_named_interface_that_does_not_exist_fails(machine: FakeMachine) -> None:
    result = CliRunner().invoke(command.doctor, ["-i", "eth9"])
    assert result.exit_code == 1
    assert "no such interface" in result.output


def test_the_interfaces_of_the_settings_are_those_looked_at(machine: FakeMachine, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("interfaces: [nowhere0]\n")
    result = CliRunner().invoke(command.doctor, ["-c", str(config)])
    assert result.exit_code == 1
    assert "nowhere0" in result.output
    assert "nowhere0" not in CliRunner().invoke(command.doctor, ["-c", str(config), "-i", "eth0"]).output


def test_lab_prints_only_what_stands_in_its_way(machine: FakeMachine) -> None:
    (machine.root / "proc/self/status").write_text("CapEff:\t0000000000000000\n")
    result = CliRunner().invoke(command.doctor, ["--lab"])
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("privileges: lacking CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON")


def test_the_real_machine() -> None:
    result = CliRunner().invoke(command.doctor, ["-o", "json"])
    report = json.loads(result.output)
    assert result.exit_code == (0 if report["ok"] else 1)
    assert {check["status"] for check in report["checks"]} <= {"ok", "warn", "fail"}
