"""`ids block import`: a feed as the whole set of one source, or the claims of an export beside those that are there."""

from __future__ import annotations

import ipaddress
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import click

from ids.cli.exporting import MARK, Exported
from ids.cli.lists import effect_of, pins_of, report_shadow, report_unattached, spare_own
from ids.cli.memory import keep_lists, note_comments, note_deeds, settle_comments
from ids.cli.options import count_of, instance_options, output_option, print_message, show_json, usable_config
from ids.cli.values import Duration
from ids.config import Config
from ids.errors import UsageError
from ids.feeds import FORMATS, parse_feed, refuse_nonsense
from ids.kernel import Blocklist, NetworkSet
from ids.kernel.instance import guarded_interfaces
from ids.kernel.lists.entries import Entries
from ids.literal import literal
from ids.store.byhand import MAX_ROWS, Deed
from ids.types import BlockMode, IPAddress, IPNetwork

MOST_LABELS = 50
"""Of an export with too many claims for a row each, whose claims these were."""


@click.command("import")
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
            spare_own(feed, config)
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
            f"{literal(label)}: {feed.read:,} entries read, {count_of(len(feed), 'network')}"
            f" {effect_of(mode, attached)}, {added:,} new, {deleted:,} gone, {feed.refused:,} not usable"
        )
    report_unattached(attached)
    report_shadow(mode, pins)
    if feed.refused:
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class _Claims:
    """What an export claims, as `ids.cli.lists.Wanted`."""

    entries: Entries

    def covering(self, address: IPAddress) -> str | None:
        """Return one that holds an address, if any."""
        return self.meeting(ipaddress.ip_network(address))

    def meeting(self, network: IPNetwork) -> str | None:
        """Return one that overlaps another network, if any."""
        found = self.entries.chosen(self.entries.near(network))
        return found.texts()[0] if len(found) else None


def _import_export(exported: Exported, name: str, config: Config, force: bool, output: str) -> None:
    """Add the claims of an export to those that are there."""
    pins = pins_of(config)
    with Blocklist.open(pins) as blocklist:
        claims = exported.entries(blocklist.label_numbers(set(exported.labels)))
        if not force:
            spare_own(_Claims(claims), config)
        added = blocklist.put(claims)
    note_comments(config, exported.comments)
    settle_comments(config)
    keep_lists(config)
    note_deeds(config, list(_deeds(exported, name)))
    if output == "json":
        show_json({"claims": added, "ended": exported.ended, "attached": guarded_interfaces(pins)})
    else:
        click.echo(f"{literal(name)}: {count_of(added, 'claim')} taken back, {exported.ended:,} have run out since")
    report_unattached(guarded_interfaces(pins))


def _deeds(exported: Exported, name: str) -> Iterator[Deed]:
    """Yield what is written down of an export: each claim, or of many, whose they were."""
    claims = len(exported.labels)
    if claims and claims <= MAX_ROWS:
        yield from exported.deeds({"file": name})
        return
    labels = list(islice(dict.fromkeys(exported.labels), MOST_LABELS))
    detail = {"file": name, "claims": claims, "ended": exported.ended, "labels": labels}
    yield Deed("import", label="", detail=detail)


def _read_feed(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a file, or - for standard input") from error
