"""What the verbs that show and change the kernel's lists have in common."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from ids.cli.options import NOTHING_ATTACHED, print_message, show_json
from ids.cli.values import Network
from ids.config import Config
from ids.control import request, socket_path
from ids.errors import KernelError, UsageError
from ids.feeds import Feed
from ids.kernel import Block
from ids.kernel.instance import instance_dir, require_same_namespace
from ids.kernel.maps.counts import pinned_shadow
from ids.respond.protected import own_addresses
from ids.types import BlockMode, IPAddress, IPNetwork, unmapped

NETWORKS = click.argument("networks", nargs=-1, required=True, type=Network(), metavar="ADDRESS...")

OWN_WAIT_S = 3.0
"""How long a block waits for the engine to say which addresses are its own; it answers once a second."""


def pins_of(config: Config) -> Path:
    """Return where the instance that is meant has its pins."""
    return instance_dir(config.fastpath, config.instance)


def report_unattached(attached: list[str]) -> None:
    """Say so where nothing is dropped because no interface has the program."""
    if not attached:
        print_message(f"ids: note: {NOTHING_ATTACHED}")


def done(output: str, verb: str, networks: Any, missing: Any = ()) -> None:
    """Say what was done, and to what it could not be: exit code 1."""
    if output == "json":
        show_json({"done": [str(n) for n in networks], "missing": [str(n) for n in missing]})
    else:
        for network in networks:
            click.echo(f"{network} {verb}")
        for network in missing:
            click.echo(f"ids: {network} was not on the list", err=True)
    if missing:
        sys.exit(1)


def owner_of(entry: Block) -> str:
    """Return who makes a claim."""
    return f"sid {entry.sid}" if entry.sid else entry.label or "?"


def effect_of(mode: BlockMode, attached: list[str]) -> str:
    """Say what a block does from now on."""
    if mode is BlockMode.SHADOW:
        return "in shadow: counted only"
    return "blocked" if attached else "on the blocklist"


def report_shadow(mode: BlockMode, pins: Path) -> None:
    if mode is BlockMode.ENFORCE and pinned_shadow(pins):
        print_message("ids: note: the gate is in shadow mode (respond.mode): for as long, it counts and drops nothing")


def spare_own(networks: Iterable[IPNetwork] | Feed, config: Config) -> None:
    """Refuse a block that would cut this host off, or the network namespace that the gate guards."""
    for own in own_addresses() | own_elsewhere(config):
        if isinstance(networks, Feed):
            network = networks.covering(own)
        else:
            network = next((network for network in networks if own in network), None)
        if network is not None:
            raise UsageError(f"{network} covers {own}, of this host, a gateway or a resolver; --force blocks it anyway")
    for proxy in map(unmapped, config.respond.trusted_proxies):
        if isinstance(networks, Feed):
            network = networks.meeting(proxy)
        else:
            network = next((one for one in networks if one.version == proxy.version and one.overlaps(proxy)), None)
        if network is not None:
            raise UsageError(f"{network} meets {proxy}, of respond.trusted_proxies; --force blocks it anyway")


def own_elsewhere(config: Config) -> set[IPAddress]:
    """Return the own addresses of the engine where the gate is in another network namespace, as only it knows them."""
    try:
        require_same_namespace(config.fastpath, config.instance)
    except KernelError:
        path = socket_path(config.engine.runtime_dir, config.instance)
    else:
        return set()
    try:
        answer = request(path, "own", OWN_WAIT_S)
        return {ipaddress.ip_address(address) for address in answer["own"]}
    except (UsageError, KeyError, ValueError):
        print_message(
            "ids: note: the gate is in another network namespace, and no engine says which addresses are its own there"
        )
        return set()
