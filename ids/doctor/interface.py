"""Checks of the interfaces that the XDP program would be attached to."""

from __future__ import annotations

from typing import Any

from ids.doctor import Check, fail, ok, warn
from ids.doctor.machine import Machine
from ids.errors import KernelError
from ids.kernel.attach import dispatcher, libxdp

OWN_PROGRAM = "xdp_ids"
"""Name of our XDP program's function, which the kernel reports with the interface."""

SINGLE_BUFFER_MTU = 3498
"""Largest MTU at which drivers attach a program that takes a packet in one buffer: a page of 4096 bytes less 256 of
headroom, 320 of struct skb_shared_info, and 22 for an Ethernet header with two VLAN tags. Some allow a few more."""

XDP_MODES = {1: "native", 2: "generic", 3: "offloaded", 4: "several"}
"""XDP_ATTACHED_*, include/uapi/linux/if_link.h."""

# fmt: off
NATIVE_DRIVERS = frozenset((
    "atlantic", "bnxt_en", "bonding", "cpsw", "ena", "fec", "fsl_dpa", "fsl_dpaa2_eth", "fsl_enetc", "gve",
    "hv_netvsc", "i40e", "ice", "igb", "igc", "ixgbe", "ixgbevf", "mana", "mlx4_core", "mlx5_core", "mtk_soc_eth",
    "mvneta", "mvpp2", "netsec", "nfp", "nicvf", "qede", "rvu_nicpf", "rvu_nicvf", "sfc", "tsnep", "tun", "veth",
    "vif", "virtio_net", "vmxnet3",
))
# fmt: on
"""Drivers known to run XDP programs themselves (XDP_SETUP_PROG in ndo_bpf), as sysfs or `ip` names them. Others
attach in generic mode only, or are too new for this list: hence a warning, no failure."""
VIRTUAL_DRIVERS = frozenset(("veth", "tun", "virtio_net", "bonding"))
"""Of these, the ones whose other end may hand over segments that no wire has cut to size."""


def check_interfaces(machine: Machine, names: list[str]) -> list[Check]:
    """Check the named interfaces; where none is named, all that are up, but loopback."""
    try:
        links = {link["ifname"]: link for link in machine.links()}
    except KernelError as error:
        return [fail("interfaces", str(error), error.remedy)]
    chosen = names or [name for name, link in links.items() if _carries_traffic(link)]
    if not chosen:
        return [warn("interfaces", "none is up but loopback", "`ids replay` needs none; `ids lab` makes its own")]
    checks: list[Check] = []
    for name in chosen:
        link = links.get(name)
        if link is None:
            there = ", ".join(sorted(links)) or "none"
            checks.append(fail(f"{name}: exists", "no such interface", f"Name one of those that are there: {there}"))
            continue
        checks += [
            check_up(name, link),
            check_program(machine, name, link),
            check_driver(machine, name, link),
            check_mtu(name, link),
            check_offloads(machine, name, driver_of(machine, name, link)),
            check_queues(name, link),
            *check_answers(name, link, links),
        ]
    return checks


def check_legs(machine: Machine, names: list[str]) -> list[Check]:
    """Where this host forwards, the interface to the outside is guarded too: packets are dropped where they come in.

    Asked only of interfaces that somebody chose.
    """
    outside = default_interfaces(machine)
    if not names or not outside or not forwards(machine):
        return []
    missing = sorted(outside - set(names))
    if not missing:
        return [ok("legs", f"the way to the outside, {', '.join(sorted(outside))}, is guarded")]
    return [
        warn(
            "legs",
            f"this host forwards, and its default route is by {', '.join(missing)}, which is not guarded",
            "Name each leg of the gateway (-i, or interfaces in the settings): what comes in by another is inspected"
            " at most, and never dropped, so blocks of sources outside do not bite",
        )
    ]


def default_interfaces(machine: Machine) -> set[str]:
    """Return the interfaces of the default routes, of both versions of IP."""
    lines4 = [line.split() for line in (machine.read("/proc/net/route") or "").splitlines()[1:]]
    lines6 = [line.split() for line in (machine.read("/proc/net/ipv6_route") or "").splitlines()]
    found = {words[0] for words in lines4 if len(words) >= 8 and words[1] == words[7] == "00000000"}
    found |= {words[9] for words in lines6 if len(words) >= 10 and set(words[0]) == {"0"} and words[1] == "00"}
    return found - {"lo"}  # of unreachable routes


def forwards(machine: Machine) -> bool:
    """Return whether this host forwards packets, of either version of IP."""
    switches = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")
    return any((machine.read(switch) or "").strip() == "1" for switch in switches)


def _carries_traffic(link: dict[str, Any]) -> bool:
    return link.get("link_type") != "loopback" and "UP" in link.get("flags", [])


def check_up(name: str, link: dict[str, Any]) -> Check:
    """The interface is up and has a carrier."""
    flags = link.get("flags", [])
    if "UP" not in flags:
        return warn(f"{name}: up", "down", f"ip link set dev {name} up")
    if "LOWER_UP" not in flags:
        return warn(f"{name}: up", "up, but no carrier", "Look at the cable, or at the other end")
    return ok(f"{name}: up", "up")


def check_program(machine: Machine, name: str, link: dict[str, Any]) -> Check:
    """No foreign XDP program is attached; ours may be, and libxdp's dispatcher, which we can join."""
    xdp = link.get("xdp") or {}
    attached = [one for one in xdp.get("attached") or [xdp] if one.get("prog")]
    if not attached:
        return ok(f"{name}: xdp program", "none attached")
    attachments = ", ".join(_described(one) for one in attached)
    if all(one["prog"].get("name") == OWN_PROGRAM for one in attached):
        return ok(f"{name}: xdp program", f"ours: {attachments}")
    if all(one["prog"].get("name") == dispatcher.PROGRAM for one in attached):
        if machine.library(libxdp.SONAME):
            return ok(f"{name}: xdp program", f"libxdp's dispatcher, which ours joins: {attachments}")
        return fail(
            f"{name}: xdp program",
            f"libxdp's dispatcher, without the library to join it: {attachments}",
            f"apt-get install libxdp1; or take the others off: xdp-loader unload {name} --all",
        )
    return fail(
        f"{name}: xdp program",
        f"another's: {attachments}",
        f"Find out whose it is (`bpftool prog show`); if nobody needs it: xdp-loader unload {name} --all,"
        f" or ip link set dev {name} xdp off",
    )


def _described(attached: dict[str, Any]) -> str:
    program, mode = attached["prog"], XDP_MODES.get(attached.get("mode", 0), "unknown")
    return f"{program.get('name') or 'unnamed'} (id {program.get('id')}, {mode} mode)"


def check_driver(machine: Machine, name: str, link: dict[str, Any]) -> Check:
    """The driver runs XDP programs itself, before a packet costs the kernel any memory."""
    driver = driver_of(machine, name, link)
    if driver is None:
        return warn(f"{name}: driver", "unknown", "Expect generic mode: same verdicts, several times slower")
    if driver not in NATIVE_DRIVERS:
        return warn(
            f"{name}: driver",
            f"{driver}, not known to run XDP natively",
            "Expect generic mode: same verdicts, several times slower",
        )
    return ok(f"{name}: driver", f"{driver}, runs XDP natively")


def check_answers(name: str, link: dict[str, Any], links: dict[str, dict[str, Any]]) -> list[Check]:
    """What XDP sends back in a flood arrives: over a veth only where its other end has an XDP program.

    veth_xdp_flush() (drivers/net/veth.c) wakes no other. Where that end is in another namespace nobody can look.
    """
    if link.get("linkinfo", {}).get("info_kind") != "veth":
        return []
    remedy = (
        "Set fastpath.mode to generic, or put a program on the other end that only passes; else challenges and SYN"
        " cookies are lost in a flood, and each new client waits a second until its SYN comes again"
    )
    other = links.get(link.get("link", "")) if "link_netnsid" not in link else None
    if other is None:
        return [warn(f"{name}: answers", "a veth whose other end cannot be seen from here", remedy)]
    if not (other.get("xdp") or {}).get("attached"):
        return [warn(f"{name}: answers", f"the other end, {other['ifname']}, has no XDP program", remedy)]
    return [ok(f"{name}: answers", f"the other end, {other['ifname']}, has an XDP program")]


def driver_of(machine: Machine, name: str, link: dict[str, Any]) -> str | None:
    """Return the driver's name: of the device in sysfs, or the kind of a virtual interface."""
    uevent = machine.read(f"/sys/class/net/{name}/device/uevent") or ""
    for line in uevent.splitlines():
        if line.startswith("DRIVER="):
            return line.removeprefix("DRIVER=").strip()
    kind = link.get("linkinfo", {}).get("info_kind")
    return {"bond": "bonding"}.get(kind, kind) if kind else None


def check_mtu(name: str, link: dict[str, Any]) -> Check:
    """A packet fits one buffer of an XDP program."""
    mtu = int(link.get("mtu", 0))
    if mtu > SINGLE_BUFFER_MTU:
        return warn(
            f"{name}: mtu",
            f"{mtu}, more than the {SINGLE_BUFFER_MTU} that fit one buffer: the driver may refuse the program",
            f"ip link set dev {name} mtu {SINGLE_BUFFER_MTU}, or live with generic mode",
        )
    return ok(f"{name}: mtu", str(mtu))


def check_offloads(machine: Machine, name: str, driver: str | None) -> Check:
    """Packets arrive as they were on the wire, not merged.

    LRO merges in the driver. GRO merges after native XDP but before generic XDP. TSO at the other end of a virtual
    interface leaves segments uncut.
    """
    on = machine.offloads(name)
    if on is None:
        return ok(f"{name}: offloads", "not reported by the driver")
    harmful = {"LRO"}
    if driver not in NATIVE_DRIVERS:
        harmful |= {"GRO"}
    if driver in VIRTUAL_DRIVERS:
        harmful |= {"GRO", "GSO", "TSO"}
    merging = [feature for feature in on if feature in harmful]
    if merging:
        words = " ".join(f"{feature.lower()} off" for feature in merging)
        return warn(
            f"{name}: offloads",
            f"{', '.join(merging)} on: packets may arrive merged, with sizes and boundaries that the wire never had",
            f"ethtool -K {name} {words} (of a virtual interface: at both ends)",
        )
    return ok(f"{name}: offloads", f"{', '.join(on)} on, which come after native XDP" if on else "all off")


def check_queues(name: str, link: dict[str, Any]) -> Check:
    """Return the number of receive queues: each is served by one CPU at a time."""
    queues = int(link.get("num_rx_queues", 1))
    return ok(f"{name}: queues", f"{queues} receive queue{'' if queues == 1 else 's'}")
