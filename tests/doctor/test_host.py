"""What each check of the machine says when all is well, and when it is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ids import paths
from ids.doctor import Status, host
from ids.doctor.machine import Machine
from tests.doctor.fake import healthy, write


def test_a_healthy_machine_passes_every_check(tmp_path: Path) -> None:
    checks = host.check_host(healthy(tmp_path))
    assert [check for check in checks if check.status is not Status.OK] == []
    assert len({check.name for check in checks}) == len(host.CHECKS)


def test_the_real_machine_is_reported_without_fuss() -> None:
    for check in host.check_host(Machine()):
        assert check.found, check.name
        assert check.status is Status.OK or check.remedy, check.name


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 9, 18), Status.FAIL), ((3, 10, 0), Status.OK), ((3, 13, 9), Status.OK), ((3, 14, 0), Status.WARN)],
)
def test_python(tmp_path: Path, version: tuple[int, int, int], status: Status) -> None:
    assert host.check_python(healthy(tmp_path, version=version)).status is status


def test_bcc_absent(tmp_path: Path) -> None:
    check = host.check_bcc(healthy(tmp_path, bcc=None))
    assert check.status is Status.FAIL
    assert "apt-get install python3-bpfcc" in check.remedy


def test_bcc_from_pypi_is_known_for_what_it_is(tmp_path: Path) -> None:
    write(tmp_path, "/site-packages/bcc/__init__.py")
    check = host.check_bcc(healthy(tmp_path, bcc=tmp_path / "site-packages/bcc"))
    assert check.status is Status.FAIL
    assert "PyPI" in check.found
    assert "pip uninstall bcc" in check.remedy


def test_bcc_without_its_library(tmp_path: Path) -> None:
    check = host.check_bcc(healthy(tmp_path, has_library=False))
    assert check.status is Status.FAIL
    assert "libbcc.so.0" in check.found


def test_headers_absent(tmp_path: Path) -> None:
    machine = healthy(tmp_path)
    (tmp_path / "usr/include/linux/bpf.h").unlink()
    check = host.check_headers(machine)
    assert check.status is Status.FAIL
    assert "linux-libc-dev" in check.remedy


def test_shim_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "roots", lambda: [tmp_path])
    check = host.check_headers(healthy(tmp_path))
    assert check.status is Status.FAIL
    assert "bpf/shim" in check.found


@pytest.mark.parametrize(
    ("release", "status"),
    [("5.17.0", Status.FAIL), ("5.18.0", Status.OK), ("6.1.0-18-amd64", Status.OK), ("odd", Status.FAIL)],
)
def test_kernel(tmp_path: Path, release: str, status: Status) -> None:
    check = host.check_kernel(healthy(tmp_path, release=release))
    assert (check.status, check.found) == (status, release)


@pytest.mark.parametrize(
    ("release", "modules", "status", "found"),
    [
        ("6.6.0", "", Status.OK, "by TCX links"),
        ("6.1.0-18-amd64", "", Status.OK, "by filters"),
        ("6.1.0", "kernel/net/sched/sch_ingress.ko.xz:\nkernel/net/sched/cls_bpf.ko.xz:\n", Status.OK, "by filters"),
        ("6.1.0", "kernel/net/sched/sch_ingress.ko:\n", Status.WARN, "no CONFIG_NET_CLS_BPF"),
    ],
)
def test_the_way_out(tmp_path: Path, release: str, modules: str, status: Status, found: str) -> None:
    write(tmp_path, f"/lib/modules/{release}/modules.dep", modules)
    check = host.check_egress(healthy(tmp_path, release=release))
    assert check.status is status
    assert found in check.found


def test_btf_absent_is_a_warning(tmp_path: Path) -> None:
    machine = healthy(tmp_path)
    (tmp_path / "sys/kernel/btf/vmlinux").unlink()
    assert host.check_btf(machine).status is Status.WARN


def capability_line(*names: str) -> str:
    return f"Name:\tids\nCapEff:\t{sum(1 << host.CAPABILITIES[name] for name in names):016x}\n"


@pytest.mark.parametrize(
    ("names", "status"),
    [
        ((), Status.FAIL),
        (("CAP_NET_ADMIN",), Status.FAIL),
        (("CAP_NET_ADMIN", "CAP_BPF"), Status.FAIL),
        (("CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON"), Status.WARN),
        (("CAP_SYS_ADMIN",), Status.FAIL),
        (("CAP_NET_ADMIN", "CAP_SYS_ADMIN"), Status.OK),
        (tuple(host.CAPABILITIES), Status.OK),
    ],
)
def test_privileges(tmp_path: Path, names: tuple[str, ...], status: Status) -> None:
    machine = healthy(tmp_path)
    write(tmp_path, "/proc/self/status", capability_line(*names))
    assert host.check_privileges(machine).status is status


def test_lacking_privileges_are_named(tmp_path: Path) -> None:
    machine = healthy(tmp_path)
    write(tmp_path, "/proc/self/status", capability_line("CAP_BPF", "CAP_PERFMON"))
    check = host.check_privileges(machine)
    assert check.found == "lacking CAP_NET_ADMIN"
    assert "ids replay" in check.remedy


@pytest.mark.parametrize(
    "mountinfo",
    [
        "",
        "42 23 0:39 / /sys/fs/bpf rw - tmpfs tmpfs rw\n",
        "42 23 0:39 / /sys/fs/bpf/inner rw - bpf bpffs rw\n",
        "short\n",
    ],
)
def test_bpffs_not_mounted(tmp_path: Path, mountinfo: str) -> None:
    machine = healthy(tmp_path)
    write(tmp_path, "/proc/self/mountinfo", mountinfo)
    check = host.check_bpffs(machine)
    assert check.status is Status.FAIL
    assert check.remedy == "mount -t bpf bpffs /sys/fs/bpf"


def test_jit_off(tmp_path: Path) -> None:
    machine = healthy(tmp_path)
    write(tmp_path, "/proc/sys/net/core/bpf_jit_enable", "0\n")
    assert host.check_jit(machine).status is Status.WARN


@pytest.mark.parametrize(
    ("release", "limit", "status"),
    [
        ("6.1.0", 65536, Status.OK),
        ("5.10.0", 65536, Status.WARN),
        ("5.10.0", -1, Status.OK),
        ("5.10.0", 1 << 30, Status.OK),
    ],
)
def test_memlock(tmp_path: Path, release: str, limit: int, status: Status) -> None:
    assert host.check_memlock(healthy(tmp_path, release=release), lambda: limit).status is status


def test_clock_adrift(tmp_path: Path) -> None:
    assert host.check_clock(healthy(tmp_path, synchronised=False)).status is Status.WARN


def test_each_missing_tool_is_named_with_its_package_and_what_goes_without_it(tmp_path: Path) -> None:
    check = host.check_tools(healthy(tmp_path, tools=frozenset({"ip", "nginx", "bpftool"})))
    assert check.status is Status.WARN
    assert "no hping3: the lab's SYN flood is slower" in check.found
    assert check.remedy == "apt-get install hping3 xdp-tools"


def test_a_check_is_a_value(tmp_path: Path) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        host.check_python(healthy(tmp_path)).found = "other"  # type: ignore[misc]
