"""`ids block`: the kernel's blocklist by hand, beside a running engine or without one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from ids.cli.exporting import block_export
from ids.cli.importing import block_import
from ids.cli.listing import block_list, block_show
from ids.cli.lists import (
    NETWORKS,
    Typed,
    done,
    effect_of,
    owner_of,
    pins_of,
    report_shadow,
    report_unattached,
    spare_own,
)
from ids.cli.memory import keep_lists, note_comments, note_deeds
from ids.cli.options import instance_options, output_option, print_message, show_json, usable_config
from ids.cli.values import Duration, span
from ids.kernel import AllowList, Block, Blocklist
from ids.kernel.instance import guarded_interfaces
from ids.respond.gate import Held
from ids.store.byhand import Deed, lifted
from ids.types import BlockMode, IPNetwork

_FOR_GOOD_NS = 1 << 63


@click.group()
def block() -> None:
    """Show and change whom the kernel drops."""


for command in (block_list, block_show, block_export, block_import):
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
            spare_own(Typed(networks), config)
        before = {network: blocklist.get(network) for network in networks}
        _report_blocked(before, Held(mode, expires_ns))
        notes = {(str(network), "operator"): _comment_on(network, comment, blocklist) for network in networks}
        blocklist.add(Block(network, expires_ns, mode, label="operator") for network in networks)
        blocklist.repeat(wait=True)
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
            click.echo(f"{network} {effect_of(mode, attached)}, {lasting}{_earlier(earlier)}")
    report_unattached(attached)
    report_shadow(mode, pins)
    _report_allowed(networks, pins)


@block.command("delete")
@NETWORKS
@instance_options
@output_option
def block_delete(
    networks: tuple[IPNetwork, ...],
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Unblock addresses or prefixes, whoever blocked them. Exit code 1 when one was not on the list.

    An address that a wider prefix blocks stays blocked, which is printed.
    """
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
                deeds.append(lifted(entry))
        wider = {network: held[0] for network in networks if (held := blocklist.covering(network))}
    note_comments(config, gone=[str(deed.network) for deed in deeds])
    keep_lists(config)
    note_deeds(config, deeds)
    for network, block in wider.items():
        print_message(
            f"ids: note: {network} is still blocked, with all of {block.network} (by {owner_of(block)}): delete that,"
            f" or `ids allow add {network}`"
        )
    done(output, "unblocked", [network for network in networks if network not in missing], missing)


def _comment_on(network: IPNetwork, given: str | None, blocklist: Blocklist) -> str | None:
    """Return the comment of an operator's new block: None keeps that of the one that stands, where one does."""
    stands = any(claim.label == "operator" for claim in blocklist.claims_on(network))
    return given if given is not None or stands else ""


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
