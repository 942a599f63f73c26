"""`ids allow`: whom the kernel never drops, by hand."""

from __future__ import annotations

import click
from rich.table import Table

from ids.cli.lists import NETWORKS, done, pins_of
from ids.cli.memory import keep_lists, note_deeds
from ids.cli.options import instance_options, output_console, output_option, print_message, show_rows, usable_config
from ids.kernel import AllowList
from ids.store.byhand import Deed
from ids.types import IPNetwork

WIDE_BITS = 7
"""Prefix length below which an allowed network is hardly what was meant: nobody has one as large, nor is there one for
private use."""


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
    config = usable_config(config_path, overrides)
    with AllowList.open(pins_of(config)) as allowed:
        allowed.add(networks, label="operator")
    keep_lists(config)
    note_deeds(config, [Deed("allow", network) for network in networks])
    done(output, "allowed", networks)
    for network in networks:
        if network.prefixlen < WIDE_BITS:
            print_message(
                f"ids: note: nothing from {network} is dropped any more, whatever is blocked. It is one in"
                f" {1 << network.prefixlen} of all IPv{network.version} addresses; `ids allow delete {network}`"
                " takes that back"
            )


@allow.command("delete")
@NETWORKS
@instance_options
@output_option
def allow_delete(
    networks: tuple[IPNetwork, ...],
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Take addresses or prefixes off the allow-list. Exit code 1 when one was not on it."""
    config = usable_config(config_path, overrides)
    with AllowList.open(pins_of(config)) as allowed:
        missing = [network for network in networks if not allowed.delete(network)]
    keep_lists(config)
    note_deeds(config, [Deed("disallow", network) for network in networks if network not in missing])
    done(output, "no longer allowed", [network for network in networks if network not in missing], missing)


@allow.command("list")
@instance_options
@output_option
def allow_list(config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Show who is allowed, and how many packets that kept from being dropped."""
    with AllowList.open(pins_of(usable_config(config_path, overrides))) as allowed:
        entries = sorted(allowed.list(), key=lambda entry: (entry.network.version, entry.network))
    if output == "json":
        show_rows({"network": str(e.network), "packets": e.packets, "bytes": e.bytes} for e in entries)
        return
    table = Table("network", "packets kept", "bytes", box=None)
    for entry in entries:
        table.add_row(str(entry.network), f"{entry.packets:,}", f"{entry.bytes:,}")
    output_console().print(table if entries else "the allow-list is empty")
