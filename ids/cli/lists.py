"""What the verbs that show and change the kernel's lists have in common."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from ids.cli.options import NOTHING_ATTACHED, print_message, show_json
from ids.cli.values import Network
from ids.config import Config
from ids.control import request, socket_path
from ids.errors import KernelError, UsageError
from ids.kernel import Block
from ids.kernel.instance import instance_dir, require_same_namespace
from ids.kernel.maps.counts import pinned_shadow
from ids.respond.protected import own_addresses
from ids.types import BlockMode, IPAddress, IPNetwork

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


class Wanted(Protocol):
    """Networks that somebody wants blocked: an `ids.feeds.Feed` is one."""

    def covering(self, address: IPAddress) -> object | None:
        """Return one that holds an address, if any, to be named."""

    def meeting(self, network: IPNetwork) -> object | None:
        """Return one that overlaps another network, if any, to be named."""


@dataclass(frozen=True, slots=True)
class Typed:
    """Networks that somebody has typed."""

    networks: Sequence[IPNetwork]

    def covering(self, address: IPAddress) -> IPNetwork | None:
        """Return one that holds an address, if any."""
        return next((network for network in self.networks if address in network), None)

    def meeting(self, network: IPNetwork) -> IPNetwork | None:
        """Return one that overlaps another network, if any."""
        return next((one for one in self.networks if one.version == network.version and one.overlaps(network)), None)


def spare_own(wanted: Wanted, config: Config) -> None:
    """Refuse a block that would cut this host off, or the network namespace that the gate guards."""
    for own in own_addresses() | _own_elsewhere(config):
        if (network := wanted.covering(own)) is not None:
            raise UsageError(f"{network} covers {own}, of this host, a gateway or a resolver; --force blocks it anyway")
    for proxy in config.respond.trusted_proxies:
        if (network := wanted.meeting(proxy)) is not None:
            raise UsageError(f"{network} meets {proxy}, of respond.trusted_proxies; --force blocks it anyway")


def _own_elsewhere(config: Config) -> set[IPAddress]:
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
