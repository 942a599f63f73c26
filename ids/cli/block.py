"""`ids block` and `ids allow`: the kernel's lists by hand, beside a running engine or without one."""

from __future__ import annotations

import ipaddress
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ids.cli.memory import note_deeds
from ids.cli.options import (
    NOTHING_ATTACHED,
    build_config,
    count_of,
    instance_options,
    output_console,
    output_option,
    print_message,
    show_json,
)
from ids.cli.values import Duration, Network, span
from ids.config import Config
from ids.control import request, socket_path
from ids.errors import KernelError, UsageError
from ids.feeds import FORMATS, Feed, parse_feed, refuse_nonsense
from ids.kernel import AllowList, Block, Blocklist, NetworkSet
from ids.kernel.fastpath import guarded_interfaces, instance_dir, require_same_namespace
from ids.kernel.maps.counts import pinned_shadow
from ids.literal import literal
from ids.respond.gate import Held
from ids.respond.protected import own_addresses
from ids.store.byhand import Deed
from ids.types import BlockMode, IPAddress, IPNetwork, unmapped

OWN_WAIT_S = 3.0
"""How long a block waits for the engine to say which addresses are its own; it answers once a second."""

_FOR_GOOD_NS = 1 << 63

NETWORKS = click.argument("networks", nargs=-1, required=True, type=Network(), metavar="ADDRESS...")


@click.group()
def block() -> None:
    """Show and change whom the kernel drops."""


@block.command("add")
@NETWORKS
@click.option("--for", "ttl_s", type=Duration(), help="How long, such as 30m, 1h or 7d; without it until deleted.")
@click.option("--shadow", is_flag=True, help="Only count what would be dropped.")
@click.option("--force", is_flag=True, help="Even an address of this host, its gateways or its resolvers.")
@instance_options
@output_option
def block_add(
    networks: tuple[IPNetwork, ...], ttl_s: int | None, shadow: bool, force: bool,
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Block addresses or prefixes, from the next packet on."""
    config = build_config(config_path, overrides)
    expires_ns = None if ttl_s is None else time.time_ns() + ttl_s * 1_000_000_000
    mode = BlockMode.SHADOW if shadow else BlockMode.ENFORCE
    pins = _pins(config)
    with Blocklist.open(pins) as blocklist:
        if not force:
            _spare_own(networks, config)
        before = {network: blocklist.get(network) for network in networks}
        _report_blocked(before, Held(mode, expires_ns))
        blocklist.add(Block(network, expires_ns, mode, label="operator") for network in networks)
    note_deeds(config, [Deed("block", network, mode=mode, until_ns=expires_ns) for network in networks])
    attached = guarded_interfaces(pins)
    if output == "json":
        done = [str(network) for network in networks]
        show_json({"done": done, "mode": mode.value, "expires_ns": expires_ns, "attached": attached})
    else:
        lasting = _lasting(None if ttl_s is None else ttl_s * 1_000_000_000)
        for network, earlier in before.items():
            click.echo(f"{network} {_effect(mode, attached)}, {lasting}{_earlier(earlier)}")
    _report_unattached(attached)
    _report_shadow(mode, pins)
    _report_allowed(networks, pins)


@block.command("delete")
@NETWORKS
@instance_options
@output_option
def block_delete(
    networks: tuple[IPNetwork, ...],
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Unblock addresses or prefixes, whoever blocked them. Exit code 1 when one was not on the list."""
    config = build_config(config_path, overrides)
    deeds, missing = [], []
    with Blocklist.open(_pins(config)) as blocklist:
        for network in networks:
            entry = blocklist.get(network)
            if not blocklist.delete(network):
                missing.append(network)
            elif entry is None:  # an entry that came this moment, or only claims without one
                deeds.append(Deed("unblock", network))
            else:
                deeds.append(_lifted(entry))
    note_deeds(config, deeds)
    _done(output, "unblocked", [network for network in networks if network not in missing], missing)


@block.command("import")
@click.argument("feed_path", metavar="FILE", type=click.Path())
@click.option("--label", required=True, help="Name of the source; its earlier set is replaced by this one.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="auto", show_default=True, help="What the file is."
)
@click.option("--column", help="Column of a CSV file, by name or by number from 1.")
@click.option("--for", "ttl_s", type=Duration(), help="How long, such as 1d; without it until the next import.")
@click.option("--shadow", is_flag=True, help="Only count what would be dropped.")
@click.option("--force", is_flag=True, help="Even an empty or strange file, and addresses of this host.")
@instance_options
@output_option
def block_import(
    feed_path: str, label: str, form: str, column: str | None, ttl_s: int | None, shadow: bool, force: bool,
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Make a feed the whole set of one source: plain lists, CIDR, netset, Spamhaus DROP JSON, or a column of a CSV.

    Entries are de-duplicated and aggregated. What is in the old and the new set stays blocked throughout and keeps its
    counters. `-` reads standard input.

    Entries that cannot be used are named. Up to a tenth of all, the rest are in force, with exit code 1. Where there
    are more, or where a file has no network, the earlier set stays, with exit code 2; --force takes the file.
    """
    config = build_config(config_path, overrides)
    feed = parse_feed(_read_feed(feed_path), feed_path, form, column)
    if not force:
        refuse_nonsense(feed, feed_path)
    networks = NetworkSet.of_numbers(feed.hosts4, feed.prefixes4, feed.hosts6, feed.prefixes6)
    expires_ns = None if ttl_s is None else time.time_ns() + ttl_s * 1_000_000_000
    mode = BlockMode.SHADOW if shadow else BlockMode.ENFORCE
    pins = _pins(config)
    with Blocklist.open(pins) as blocklist:
        if not force:
            _spare_own(feed, config)
        added, deleted = blocklist.replace(label, networks, expires_ns=expires_ns, mode=mode)
    counts = {"read": feed.read, "refused": feed.refused, "networks": len(feed), "added": added, "deleted": deleted}
    note_deeds(config, [Deed("import", label=label, mode=mode, until_ns=expires_ns, detail=counts)])
    attached = guarded_interfaces(pins)
    for problem in feed.problems:
        print_message(f"ids: {problem}")
    if output == "json":
        show_json({"label": label, **counts, "mode": mode.value, "attached": attached})
    else:
        click.echo(
            f"{literal(label)}: {feed.read:,} entries read, {count_of(len(feed), 'network')} {_effect(mode, attached)},"
            f" {added:,} new, {deleted:,} gone, {feed.refused:,} not usable"
        )
    _report_unattached(attached)
    _report_shadow(mode, pins)
    if feed.refused:
        sys.exit(1)


@block.command("list")
@instance_options
@output_option
def block_list(config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Show who is blocked: why, until when, and how often it was hit."""
    pins = _pins(build_config(config_path, overrides))
    with Blocklist.open(pins) as blocklist:
        blocks = sorted(blocklist.list(), key=lambda entry: (entry.network.version, entry.network))
    if output == "json":
        show_json([_block_data(entry) for entry in blocks])
        return
    table = Table(box=None)
    for heading in ("network", "mode", "by", "left", "packets", "bytes", "last hit"):
        table.add_column(heading, justify="right" if heading in ("left", "packets", "bytes", "last hit") else "left")
    now = time.time_ns()
    for entry in blocks:
        left = "for good" if entry.expires_ns is None else span(entry.expires_ns - now)
        last = "never" if entry.last_hit_ns is None else f"{span(now - entry.last_hit_ns)} ago"
        by = ", ".join(_owner(claim) for claim in (entry, *entry.others))
        table.add_row(str(entry.network), entry.mode.value, by, left, f"{entry.packets:,}", f"{entry.bytes:,}", last)
    output_console().print(table if blocks else "nobody is blocked")
    _report_unattached(guarded_interfaces(pins))


@click.group()
def allow() -> None:
    """Show and change whom the kernel never drops, whatever the blocklist says."""


@allow.command("add")
@NETWORKS
@instance_options
@output_option
def allow_add(
    networks: tuple[IPNetwork, ...],
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Allow addresses or prefixes. They win over every block."""
    config = build_config(config_path, overrides)
    with AllowList.open(_pins(config)) as allowed:
        allowed.add(networks, label="operator")
    note_deeds(config, [Deed("allow", network) for network in networks])
    _done(output, "allowed", networks)


@allow.command("delete")
@NETWORKS
@instance_options
@output_option
def allow_delete(
    networks: tuple[IPNetwork, ...],
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Take addresses or prefixes off the allow-list. Exit code 1 when one was not on it."""
    config = build_config(config_path, overrides)
    with AllowList.open(_pins(config)) as allowed:
        missing = [network for network in networks if not allowed.delete(network)]
    note_deeds(config, [Deed("disallow", network) for network in networks if network not in missing])
    _done(output, "no longer allowed", [network for network in networks if network not in missing], missing)


@allow.command("list")
@instance_options
@output_option
def allow_list(config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Show who is allowed, and how many packets that kept from being dropped."""
    with AllowList.open(_pins(build_config(config_path, overrides))) as allowed:
        entries = sorted(allowed.list(), key=lambda entry: (entry.network.version, entry.network))
    if output == "json":
        show_json([{"network": str(e.network), "packets": e.packets, "bytes": e.bytes} for e in entries])
        return
    table = Table("network", "packets kept", "bytes", box=None)
    for entry in entries:
        table.add_row(str(entry.network), f"{entry.packets:,}", f"{entry.bytes:,}")
    output_console().print(table if entries else "the allow-list is empty")


def _pins(config: Config) -> Path:
    return instance_dir(config.fastpath, config.instance)


def _spare_own(networks: Iterable[IPNetwork] | Feed, config: Config) -> None:
    """Refuse a block that would cut this host off, or the network namespace that the gate guards."""
    for own in own_addresses() | _own_elsewhere(config):
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


def _lifted(entry: Block) -> Deed:
    """Return the record of a block that somebody lifts, with what it has counted."""
    detail = {"added_ns": entry.added_ns, "last_hit_ns": entry.last_hit_ns}
    return Deed(
        "unblock",
        entry.network,
        entry.label,
        entry.mode,
        entry.expires_ns,
        entry.packets,
        entry.bytes,
        entry.sid,
        detail,
    )


def _effect(mode: BlockMode, attached: list[str]) -> str:
    """Say what a block does from now on."""
    if mode is BlockMode.SHADOW:
        return "in shadow: counted only"
    return "blocked" if attached else "on the blocklist"


def _lasting(ns: int | None) -> str:
    return "until deleted" if ns is None else f"for {span(ns)}"


def _earlier(entry: Block | None) -> str:
    """Say what an operator's entry was that has just been changed; nothing of one that was not in force."""
    if entry is not None and entry.label != "operator":
        return ""
    left_ns = None if entry is None or entry.expires_ns is None else entry.expires_ns - time.time_ns()
    if entry is None or (left_ns is not None and left_ns <= 0):
        return ""
    return f" (before: {entry.mode.value}, {_lasting(left_ns)})"


def _report_unattached(attached: list[str]) -> None:
    if not attached:
        print_message(f"ids: note: {NOTHING_ATTACHED}")


def _report_shadow(mode: BlockMode, pins: Path) -> None:
    if mode is BlockMode.ENFORCE and pinned_shadow(pins):
        print_message("ids: note: the gate is in shadow mode (respond.mode): for as long, it counts and drops nothing")


def _report_blocked(before: Mapping[IPNetwork, Block | None], wanted: Held) -> None:
    """Say which networks somebody else has blocked for as long already."""
    now_ns = time.time_ns()
    for network, entry in before.items():
        if entry is None or entry.label == "operator":
            continue
        if Held(entry.mode, entry.expires_ns).covers(wanted.mode, now_ns, wanted.until_ns or _FOR_GOOD_NS):
            left = "for good" if entry.expires_ns is None else f"for another {span(entry.expires_ns - now_ns)}"
            print_message(
                f"ids: note: {network} is already blocked by {_owner(entry)}, {left}; yours is kept beside it"
            )


def _report_allowed(networks: Iterable[IPNetwork], pins: Path) -> None:
    """Say of which blocked networks the kernel passes something all the same."""
    with AllowList.open(pins) as allowed:
        entries = [entry.network for entry in allowed.list()]
    for network in networks:
        for entry in entries:
            if network.overlaps(entry):
                click.echo(f"ids: note: {entry} is on the allow-list, which wins over the block of {network}", err=True)


def _read_feed(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a file, or - for standard input") from error


def _done(output: str, verb: str, networks: Any, missing: Any = ()) -> None:
    if output == "json":
        show_json({"done": [str(n) for n in networks], "missing": [str(n) for n in missing]})
    else:
        for network in networks:
            click.echo(f"{network} {verb}")
        for network in missing:
            click.echo(f"ids: {network} was not on the list", err=True)
    if missing:
        sys.exit(1)


def _owner(entry: Block) -> str:
    return f"sid {entry.sid}" if entry.sid else entry.label or "?"


def _block_data(entry: Block) -> dict[str, Any]:
    others = [
        {"mode": claim.mode.value, "sid": claim.sid, "label": claim.label, "expires_ns": claim.expires_ns}
        for claim in entry.others
    ]
    return {
        "network": str(entry.network), "mode": entry.mode.value, "sid": entry.sid, "label": entry.label,
        "added_ns": entry.added_ns, "expires_ns": entry.expires_ns,
        "packets": entry.packets, "bytes": entry.bytes, "last_hit_ns": entry.last_hit_ns,
        "others": others,
    }  # fmt: skip
