"""The window to the machine: real answers, and none where there is nothing to read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ids.doctor.machine import Machine
from ids.errors import KernelError


def test_what_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.read("/proc/none") is None
    assert not machine.exists("/proc/none")


def test_facts_of_this_interpreter_and_kernel() -> None:
    machine = Machine()
    assert machine.python() == sys.version_info[:3]
    assert machine.kernel_version() >= (2, 6)
    assert machine.clock_synchronised() in (True, False)
    assert machine.library("libc.so.6")
    assert not machine.library("libnothing-of-the-kind.so.0")


def test_a_module_is_found_without_being_imported() -> None:
    found = Machine().module("ids")
    assert found is not None
    assert found.name == "ids"
    assert Machine().module("no_such_module_at_all") is None


def test_links_and_offloads_of_the_real_machine() -> None:
    machine = Machine()
    if machine.tool("ip") is None:
        pytest.skip("iproute2 is not installed")
    assert "lo" in {link["ifname"] for link in machine.links()}
    loopback = machine.offloads("lo")
    assert loopback is None or set(loopback) <= {"GRO", "GSO", "LRO", "TSO"}
    assert machine.offloads("no-such-if0") is None


def test_an_ip_command_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "ip"
    broken.write_text("#!/bin/sh\necho oops; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelError, match="newer iproute2"):
        Machine().links()
