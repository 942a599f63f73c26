"""`ids init`: the first file of settings of a host."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import click

from ids.cli.options import print_message
from ids.config import load_config
from ids.doctor import Status
from ids.doctor.host import check_host
from ids.doctor.interface import check_interfaces, default_interfaces, forwards
from ids.doctor.machine import IP_TIMEOUT_S, Machine
from ids.errors import KernelError
from ids.service.first import Found, Interface, is_private, text_of, write_settings
from ids.service.unit import CONFIG_PATH, LOG_DIR
from ids.types import IPNetwork

ALOOF = ("veth", "tun", "wireguard", "dummy", "ifb", "ipip", "gre", "sit")
"""Kinds of virtual interfaces that are rarely a leg: they end here, or carry what another interface carries."""


@click.command()
@click.option(
    "-c", "--config", "path", type=click.Path(path_type=Path, allow_dash=True), default=CONFIG_PATH,
    show_default=True, help="File to write; `-` prints it.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write a new one where there is one; the former is kept beside it.")
def init(path: Path, force: bool) -> None:
    """Write a commented file of settings for this host: its interfaces, its networks, what doctor found.

    It begins in shadow mode, where nothing is dropped. A file that is there is never overwritten without --force.
    """
    found = look_around(Machine())
    log_path = LOG_DIR / ("eve.json" if path.stem in ("ids", "-") else f"{path.stem}.json")
    text = text_of(found, str(log_path))
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    former = write_settings(path, text, force=force)
    load_config(path)
    click.echo(f"wrote {path}" + (f"; the former one is {former}" if former else ""))
    if not any(interface.chosen for interface in found.interfaces):
        print_message("ids: no interface was found that carries traffic: name yours in it")
    for remark in found.remarks:
        print_message(f"doctor: {remark}")
    click.echo("next: read it, then `ids service install --now` (or, from a package, `systemctl enable --now ids`)")


def look_around(machine: Machine) -> Found:
    """Return what this host is like."""
    outside, forwarding = default_interfaces(machine), forwards(machine)
    try:
        links = machine.links()
    except KernelError as error:
        return Found(remarks=[str(error)])
    interfaces = [one for link in links if (one := _interface(link, outside, forwarding)) is not None]
    chosen = [one.name for one in interfaces if one.chosen]
    checks = check_host(machine) + (check_interfaces(machine, chosen) if chosen else [])
    remarks = [
        f"{check.status.value}: {check.name}: {check.found}{f'. {check.remedy}' if check.remedy else ''}"
        for check in checks
        if check.status is not Status.OK
    ]
    return Found(interfaces, _networks(outside), forwarding, remarks, time.strftime("%Y-%m-%d"))


def _interface(link: dict[str, Any], outside: set[str], forwarding: bool) -> Interface | None:
    """Judge one interface; None for loopback and for members of bonds and bridges, which come by those."""
    name, kind = str(link["ifname"]), str(link.get("linkinfo", {}).get("info_kind", ""))
    if link.get("link_type") == "loopback" or "master" in link:
        return None
    about = kind or str(link.get("link_type", "unknown"))
    if link.get("link_type") != "ether":
        return Interface(name, f"{about}, without Ethernet headers", chosen=False)
    if name in outside:
        return Interface(name, f"{about}, the way to the outside", chosen=True)
    if "UP" not in link.get("flags", []):
        return Interface(name, f"{about}, down", chosen=False)
    if kind in ALOOF:
        return Interface(name, f"{about}, hardly a leg of a gateway", chosen=False)
    return Interface(name, about, chosen=forwarding or not outside)


def _networks(outside: set[str]) -> list[tuple[IPNetwork, str]]:
    """Return own networks that the default does not have: whole ones inside, and own addresses outside."""
    found: dict[IPNetwork, str] = {}
    for link in _ip("address"):
        name = str(link.get("ifname", ""))
        for info in link.get("addr_info", []):
            try:
                whole = ipaddress.ip_interface(f"{info['local']}/{info['prefixlen']}")
            except (KeyError, ValueError):
                continue
            network = ipaddress.ip_network(whole.ip) if name in outside else whole.network
            found.setdefault(network, f"{'own address' if name in outside else 'network'} on {name}")
    for route in (*_ip("-4", "route"), *_ip("-6", "route")):
        if route.get("dev") in outside or "gateway" not in route:
            continue
        try:
            found.setdefault(ipaddress.ip_network(str(route.get("dst"))), f"routed by {route.get('dev')}")
        except ValueError:  # the default route
            continue
    return [(network, how) for network, how in found.items() if not is_private(network)]


def _ip(*words: str) -> list[dict[str, Any]]:
    try:
        done = subprocess.run(["ip", "-j", *words], capture_output=True, timeout=IP_TIMEOUT_S, check=True)
        answer: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    return answer
