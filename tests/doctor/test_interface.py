"""What each check of an interface says when all is well, and when it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ids.doctor import Status
from ids.doctor.interface import (
    SINGLE_BUFFER_MTU,
    check_answers,
    check_driver,
    check_interfaces,
    check_legs,
    check_mtu,
    check_offloads,
    check_program,
    check_queues,
    check_up,
)
from ids.doctor.machine import Machine
from tests.doctor.fake import LOOPBACK, PEER, VETH, FakeMachine, write


def link(**changes: Any) -> dict[str, Any]:
    return VETH | changes


def program(name: str, mode: int = 1) -> dict[str, Any]:
    return {"mode": mode, "prog": {"id": 7, "name": name}}


def test_a_healthy_interface_passes_every_check() -> None:
    checks = check_interfaces(FakeMachine(), ["inside"])
    assert [check for check in checks if check.status is not Status.OK] == []
    assert {check.name for check in checks} == {
        f"inside: {name}" for name in ("up", "xdp program", "driver", "mtu", "offloads", "queues", "answers")
    }


def test_without_a_name_all_that_are_up_are_checked_but_loopback() -> None:
    down = link(ifname="spare", flags=[])
    machine = FakeMachine(interfaces=[*FakeMachine().interfaces, down])
    assert {check.name.split(":")[0] for check in check_interfaces(machine, [])} == {"inside"}


def test_no_interface_at_all_is_a_warning() -> None:
    (check,) = check_interfaces(FakeMachine(interfaces=[]), [])
    assert check.status is Status.WARN


def test_a_missing_interface_is_reported_with_those_that_exist() -> None:
    (check,) = check_interfaces(FakeMachine(), ["eth9"])
    assert check.status is Status.FAIL
    assert check.remedy.endswith("inside, lo, peer")


def test_without_ip_nothing_can_be_said() -> None:
    (check,) = check_interfaces(FakeMachine(ip_works=False), [])
    assert check.status is Status.FAIL
    assert "iproute2" in check.remedy


def test_down_and_without_carrier() -> None:
    assert check_up("inside", link(flags=[])).remedy == "ip link set dev inside up"
    assert check_up("inside", link(flags=["UP"])).found == "up, but no carrier"


def test_our_own_program_is_no_trouble() -> None:
    check = check_program(FakeMachine(), "inside", link(xdp={"mode": 1, "attached": [program("xdp_ids")]}))
    assert check.status is Status.OK
    assert check.found == "ours: xdp_ids (id 7, native mode)"


@pytest.mark.parametrize(
    "xdp",
    [
        {"mode": 2, "attached": [program("xdp_filter", 2)]},
        {"mode": 4, "attached": [program("xdp_ids", 1), program("xdp_filter", 2)]},
        {"mode": 1, "prog": {"id": 7}},
    ],
)
def test_anothers_program_is_named_and_not_to_be_replaced_unasked(xdp: dict[str, Any]) -> None:
    check = check_program(FakeMachine(), "inside", link(xdp=xdp))
    assert check.status is Status.FAIL
    assert "id 7" in check.found
    assert "bpftool prog show" in check.remedy


def test_libxdps_dispatcher_can_be_joined_where_the_library_is() -> None:
    shared = link(xdp={"mode": 1, "attached": [program("xdp_dispatcher")]})
    assert check_program(FakeMachine(), "inside", shared).status is Status.OK
    check = check_program(FakeMachine(has_library=False), "inside", shared)
    assert check.status is Status.FAIL
    assert "apt-get install libxdp1" in check.remedy


@pytest.mark.parametrize(
    ("changes", "peer", "status"),
    [
        ({}, {}, Status.OK),
        ({}, {"xdp": {}}, Status.WARN),
        ({"link": None, "link_netnsid": 1}, {}, Status.WARN),
        ({"link": "lo", "link_netnsid": 1}, {}, Status.WARN),
    ],
    ids=["a program there", "none there", "in another namespace", "in another, under a name of this one"],
)
def test_over_a_veth_answers_arrive_where_the_other_end_has_a_program(
    changes: dict[str, Any], peer: dict[str, Any], status: Status
) -> None:
    links = {one["ifname"]: one for one in (LOOPBACK, PEER | peer)}
    (check,) = check_answers("inside", link(**changes), links)
    assert check.status is status
    assert ("generic" in check.remedy) == (status is Status.WARN)
    assert check_answers("eth0", {"ifname": "eth0"}, links) == [], "other drivers send by themselves"


def test_driver_from_sysfs_or_from_the_kind_of_a_virtual_interface(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    write(tmp_path, "/sys/class/net/eth0/device/uevent", "DRIVER=ixgbe\nPCI_CLASS=20000\n")
    write(tmp_path, "/sys/class/net/eth1/device/uevent", "DRIVER=r8169\n")
    assert check_driver(machine, "eth0", {}).status is Status.OK
    assert check_driver(machine, "inside", VETH).status is Status.OK
    assert check_driver(machine, "eth1", {}).found.startswith("r8169")
    assert check_driver(machine, "eth1", {}).status is Status.WARN
    assert check_driver(machine, "eth2", {}).status is Status.WARN


@pytest.mark.parametrize(
    ("mtu", "status"), [(1500, Status.OK), (SINGLE_BUFFER_MTU, Status.OK), (SINGLE_BUFFER_MTU + 1, Status.WARN)]
)
def test_mtu(mtu: int, status: Status) -> None:
    assert check_mtu("inside", link(mtu=mtu)).status is status


@pytest.mark.parametrize(
    ("driver", "on", "remedy"),
    [
        ("ixgbe", ["GRO", "GSO", "TSO"], ""),
        ("ixgbe", ["GRO", "LRO"], "ethtool -K eth0 lro off"),
        ("r8169", ["GRO", "TSO"], "ethtool -K eth0 gro off"),
        ("veth", ["GRO", "TSO"], "ethtool -K eth0 gro off tso off"),
        ("veth", [], ""),
        ("veth", None, ""),
    ],
)
def test_only_offloads_that_merge_what_the_engine_sees_are_named(
    driver: str, on: list[str] | None, remedy: str
) -> None:
    check = check_offloads(FakeMachine(features=on), "eth0", driver)
    assert check.remedy.startswith(remedy)
    assert (check.status is Status.WARN) == bool(remedy)


def test_queues() -> None:
    assert check_queues("inside", VETH).found == "2 receive queues"


def test_loopback_of_the_real_machine_answers() -> None:
    assert check_interfaces(Machine(), ["lo"])[0].name in ("lo: up", "interfaces")


ROUTES4 = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
outside\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
inside\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ROUTES6 = (
    f"{0:032x} 00 {0:032x} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003  outside6\n"
    f"{0:032x} 00 {0:032x} 00 {0:032x} ffffffff 00000001 00000000 00200200       lo\n"
)


def gateway(tmp_path: Path, forward: str = "1") -> FakeMachine:
    machine = FakeMachine(tmp_path)
    write(tmp_path, "proc/sys/net/ipv4/ip_forward", forward)
    write(tmp_path, "proc/net/route", ROUTES4)
    write(tmp_path, "proc/net/ipv6_route", ROUTES6)
    return machine


def test_a_gateway_without_its_leg_to_the_outside_is_warned_of(tmp_path: Path) -> None:
    (check,) = check_legs(gateway(tmp_path), ["inside"])
    assert check.status is Status.WARN
    assert "outside, outside6" in check.found
    (check,) = check_legs(gateway(tmp_path), ["inside", "outside"])
    assert "outside6" in check.found


def test_all_legs_a_host_that_does_not_forward_and_no_choice_are_no_matter(tmp_path: Path) -> None:
    (check,) = check_legs(gateway(tmp_path), ["inside", "outside", "outside6"])
    assert check.status is Status.OK
    assert check_legs(gateway(tmp_path), []) == []
    assert check_legs(gateway(tmp_path, "0"), ["inside"]) == []
    assert check_legs(FakeMachine(tmp_path / "nothing"), ["inside"]) == []
