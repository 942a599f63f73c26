"""`ids block`: the kernel's blocklist by hand, beside a running engine or without one."""

from __future__ import annotations

import ipaddress
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from ids.cli.exporting import MARK, Exported, block_export
from ids.cli.listing import block_list, block_show
from ids.cli.lists import NETWORKS, done, owner_of, pins_of, report_unattached
from ids.cli.memory import keep_lists, note_comments, note_deeds, settle_comments
from ids.cli.options import (
    count_of,
    instance_options,
    output_option,
    print_message,
    show_json,
    usable_config,
)
from ids.cli.values import Duration, span
from ids.config import Config
from ids.control import request, socket_path
from ids.errors import KernelError, UsageError
from ids.feeds import FORMATS, Feed, parse_feed, refuse_nonsense
from ids.kernel import AllowList, Block, Blocklist, NetworkSet
from ids.kernel.instance import guarded_interfaces, require_same_namespace
from ids.kernel.maps.counts import pinned_shadow
from ids.literal import literal
from ids.respond.gate import Held
from ids.respond.protected import own_addresses
from ids.store.byhand import Deed
from ids.types import BlockMode, IPAddress, IPNetwork, unmapped

OWN_WAIT_S = 3.0
"""How long a block waits for the engine to say which addresses are its own; it answers once a second."""

_FOR_GOOD_NS = 1 << 63


@click.group()
def block() -> None:
    """Show and change whom the kernel drops."""


for command in (block_list, block_show, block_export):
    block.add_command(command)


@block.command("add")
@NETWORKS
@click.option("--for", "ttl_s", type=Duration(), help="How long, such as 30m, 1h or 7d; without it until deleted.")
@click.option("--shadow", is_flag=True, help="Only count what would be dropped.")
@click.option("--comment", help="Why; shown by `ids block list`, `show` and `ids why`. It ends with the block.")
@click.option("--force", is_flag=True, help="Even an address of this host, its gateways or its resolvers.")
@instance_options
@output_option
def block_add(
    networks: tuple[IPNetwork, ...], ttl_s: int | None, shadow: bool, comment: str | None, force: bool,
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Block addresses or prefixes, from the next packet on.

    A block of yours that stands already is replaced; it keeps its comment unless a new one is given.
    """
    config = usable_config(config_path, overrides)
    expires_ns = None if ttl_s is None else time.time_ns() + ttl_s * 1_000_000_000
    mode = BlockMode.SHADOW if shadow else BlockMode.ENFORCE
    pins = pins_of(config)
    with Blocklist.open(pins) as blocklist:
        if not force:
            _spare_own(networks, config)
        before = {network: blocklist.get(network) for network in networks}
        _report_blocked(before, Held(mode, expires_ns))
        notes = {(str(network), "operator"): _comment_on(network, comment, blocklist) for network in networks}
        blocklist.add(Block(network, expires_ns, mode, label="operator") for network in networks)
    why = {"comment": comment} if comment else {}
    note_comments(config, notes, ends=dict.fromkeys(notes, expires_ns))
    keep_lists(config)
    note_deeds(config, [Deed("block", network, mode=mode, until_ns=expires_ns, detail=why) for network in networks])
    attached = guarded_interfaces(pins)
    if output == "json":
        done = [str(network) for network in networks]
        show_json({"done": done, "mode": mode.value, "expires_ns": expires_ns, "attached": attached})
    else:
        lasting = _lasting(None if ttl_s is None else ttl_s * 1_000_000_000)
        for network, earlier in before.items():
            click.echo(f"{network} {_effect(mode, attached)}, {lasting}{_earlier(earlier)}")
    report_unattached(attached)
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
    config = usable_config(config_path, overrides)
    deeds, missing = [], []
    with Blocklist.open(pins_of(config)) as blocklist:
        for network in networks:
            entry = blocklist.get(network)
            if not blocklist.delete(network):
                missing.append(network)
            elif entry is None:  # an entry that came this moment, or only claims without one
                deeds.append(Deed("unblock", network))
            else:
                deeds.append(_lifted(entry))
    note_comments(config, gone=[str(deed.network) for deed in deeds])
    keep_lists(config)
    note_deeds(config, deeds)
    done(output, "unblocked", [network for network in networks if network not in missing], missing)


@block.command("import")
@click.argument("feed_path", metavar="FILE", type=click.Path())
@click.option("--label", help="Name of the source; its earlier set is replaced by this one.")
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
    feed_path: str, label: str | None, form: str, column: str | None, ttl_s: int | None, shadow: bool, force: bool,
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Make a feed the whole set of one source: plain lists, CIDR, netset, Spamhaus DROP JSON, or a column of a CSV.

    What `ids block export` wrote is recognised: it brings its own labels, modes, ends and comments, each claim is added
    to those that are there, and what has run out since is left out.

    Entries are de-duplicated and aggregated. What is in the old and the new set stays blocked throughout and keeps its
    counters. `-` reads standard input.

    Entries that cannot be used are named. Up to a tenth of all, the rest are in force, with exit code 1. Where there
    are more, or where a file has no network, the earlier set stays, with exit code 2; --force takes the file.
    """
    config = usable_config(config_path, overrides)
    data = _read_feed(feed_path)
    if data.startswith(MARK):
        if label or column or ttl_s or shadow:
            raise UsageError(f"{feed_path} is an export: its claims have labels, modes and ends already; give none")
        _import_export(Exported(data, feed_path), feed_path, config, force, output)
        return
    if not label:
        raise UsageError(f"{feed_path}: which source is it? Name it with --label; its earlier set is replaced")
    feed = parse_feed(data, feed_path, form, column)
    if not force:
        refuse_nonsense(feed, feed_path)
    networks = NetworkSet.of_numbers(feed.hosts4, feed.prefixes4, feed.hosts6, feed.prefixes6)
    expires_ns = None if ttl_s is None else time.time_ns() + ttl_s * 1_000_000_000
    mode = BlockMode.SHADOW if shadow else BlockMode.ENFORCE
    pins = pins_of(config)
    with Blocklist.open(pins) as blocklist:
        if not force:
            _spare_own(feed, config)
        added, deleted = blocklist.replace(label, networks, expires_ns=expires_ns, mode=mode)
    settle_comments(config, label)
    counts = {"read": feed.read, "refused": feed.refused, "networks": len(feed), "added": added, "deleted": deleted}
    keep_lists(config)
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
    report_unattached(attached)
    _report_shadow(mode, pins)
    if feed.refused:
        sys.exit(1)


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


def _import_export(exported: Exported, name: str, config: Config, force: bool, output: str) -> None:
    """Add the claims of an export to those that are there."""
    pins = pins_of(config)
    with Blocklist.open(pins) as blocklist:
        claims = exported.entries(blocklist.label_numbers(set(exported.labels)))
        if not force:
            for own in own_addresses() | _own_elsewhere(config):
                if (covering := claims.chosen(claims.near(ipaddress.ip_network(own)))) and len(covering):
                    raise UsageError(
                        f"{covering.texts()[0]} covers {own}, of this host, a gateway or a resolver; --force blocks it"
                    )
            for proxy in map(unmapped, config.respond.trusted_proxies):
                if (meeting := claims.chosen(claims.near(proxy))) and len(meeting):
                    raise UsageError(
                        f"{meeting.texts()[0]} meets {proxy}, of respond.trusted_proxies; --force blocks it"
                    )
        added = blocklist.put(claims)
    note_comments(config, exported.comments)
    settle_comments(config)
    keep_lists(config)
    note_deeds(config, [Deed("import", label="", detail={"file": name, "claims": added, "ended": exported.ended})])
    if output == "json":
        show_json({"claims": added, "ended": exported.ended, "attached": guarded_interfaces(pins)})
    else:
        click.echo(f"{literal(name)}: {count_of(added, 'claim')} taken back, {exported.ended:,} have run out since")
    report_unattached(guarded_interfaces(pins))


def _comment_on(network: IPNetwork, given: str | None, blocklist: Blocklist) -> str | None:
    """Return the comment of an operator's new block: None keeps that of the one that stands, where one does."""
    stands = any(claim.label == "operator" for claim in blocklist.claims_on(network))
    return given if given is not None or stands else ""


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
                f"ids: note: {network} is already blocked by {owner_of(entry)}, {left}; yours is kept beside it"
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
