"""`ids feeds`: the feeds of the settings, kept up to date; by hand, by a timer, or by the running engine."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

import click
from rich.table import Table

from ids.cli.lists import spare_own
from ids.cli.memory import keep_lists, note_deeds, settle_comments
from ids.cli.options import (
    build_config,
    count_of,
    instance_options,
    output_console,
    output_option,
    print_message,
    show_rows,
)
from ids.config import Config
from ids.errors import UsageError
from ids.feeds import Feed
from ids.fetch.shelf import Busy, History, Shelf
from ids.fetch.update import Outcome, due_ns, update
from ids.kernel import Blocklist, NetworkSet
from ids.kernel.instance import instance_dir
from ids.literal import literal
from ids.settings.feeds import FeedSettings
from ids.store.byhand import Deed
from ids.types import BlockMode

_SECOND_NS = 1_000_000_000


@click.group()
def feeds() -> None:
    """Keep blocklists of others up to date, as the settings (`feeds`) name them."""


@feeds.command("list")
@instance_options
@output_option
def feeds_list(config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Show each feed: where it is from, when it was updated, and what went wrong."""
    config = build_config(config_path, overrides)
    now_ns = time.time_ns()
    rows = [(feed, _shelf(config, feed).history()) for feed in config.feeds]
    if output == "json":
        show_rows(_row(feed, history) for feed, history in rows)
        return
    table = Table("feed", "from", "networks", "good", "next", "state", box=None)
    for feed, history in rows:
        good = f"{_span(now_ns - history.good_ns)} ago" if history.good_ns else "never"
        left_ns = due_ns(feed, history) - now_ns
        left = f"in {_span(left_ns)}" if left_ns > 0 else "now"
        networks = f"{history.networks:,}" if history.good_ns else ""
        state = literal(history.error) or ("in force" if history.good_ns else "not fetched yet")
        table.add_row(feed.label, literal(feed.source), networks, good, left, state)
    output_console().print(table if rows else "the settings name no feed (feeds)")


@feeds.command("update")
@click.argument("labels", nargs=-1, metavar="[LABEL]...")
@click.option("--due", is_flag=True, help="Only those whose time has come; for a timer.")
@click.option("--force", is_flag=True, help="Even an empty or strange feed, and addresses of this host.")
@instance_options
@output_option
def feeds_update(
    labels: tuple[str, ...], due: bool, force: bool, config_path: str | None, overrides: tuple[str, ...], output: str
) -> None:
    """Fetch feeds, verify and check them, and put them into force. What fails leaves in force what is: exit code 1."""
    config = build_config(config_path, overrides)
    known = {feed.label: feed for feed in config.feeds}
    if unknown := [label for label in labels if label not in known]:
        raise UsageError(f"no feed {unknown[0]!r} in the settings; there are: {', '.join(known) or 'none'}")
    now_ns = time.time_ns()
    chosen = [known[label] for label in labels] if labels else list(known.values())
    if due:
        chosen = [feed for feed in chosen if due_ns(feed, _shelf(config, feed).history()) <= now_ns]
    found = [_update(feed, config, force, wait_s=0.0 if due else feed.timeout_s) for feed in chosen]
    outcomes = [outcome for outcome in found if outcome is not None]
    if output == "json":
        show_rows(asdict(outcome) for outcome in outcomes)
    else:
        for outcome in outcomes:
            _show(outcome)
        if not chosen and not due:
            click.echo("the settings name no feed (feeds)")
    if any(outcome.result == "failed" for outcome in outcomes):
        sys.exit(1)


def _update(feed: FeedSettings, config: Config, force: bool, wait_s: float) -> Outcome | None:
    """Update one feed, and write down what came of it; None where another process does it, and nobody waits for it."""

    def apply(feed: FeedSettings, parsed: Feed) -> tuple[int, int]:
        if not force:
            spare_own(parsed, config)
        networks = NetworkSet.of_numbers(parsed.hosts4, parsed.prefixes4, parsed.hosts6, parsed.prefixes6)
        expires_ns = None if feed.ttl_s is None else time.time_ns() + feed.ttl_s * _SECOND_NS
        mode = BlockMode.SHADOW if feed.shadow else BlockMode.ENFORCE
        with Blocklist.open(instance_dir(config.fastpath, config.instance)) as blocklist:
            return blocklist.replace(feed.label, networks, expires_ns=expires_ns, mode=mode)

    shelf = _shelf(config, feed)
    try:
        with shelf.locked(wait_s):
            outcome = update(feed, shelf, time.time_ns(), apply, force=force)
    except UsageError as error:
        if isinstance(error, Busy) and not wait_s:
            return None
        left_ns = due_ns(feed, shelf.history()) - time.time_ns()
        return Outcome(feed.label, "failed", error=str(error), next_s=max(0, left_ns // _SECOND_NS))
    detail = {key: value for key, value in asdict(outcome).items() if value and key != "label"}
    if outcome.result != "failed":
        settle_comments(config, feed.label)
        keep_lists(config)
    if outcome.result != "unchanged":
        note_deeds(config, [Deed("import", label=feed.label, detail={"feed": feed.source, **detail})])
    return outcome


def _row(feed: FeedSettings, history: History) -> dict[str, Any]:
    """Return a feed as plain data; a moment that has not been is None."""
    known = {name: value or None if name.endswith("_ns") else value for name, value in asdict(history).items()}
    return {"label": feed.label, **known, "source": feed.source, "every_s": feed.every, "due_ns": due_ns(feed, history)}


def _show(outcome: Outcome) -> None:
    again = f"next in {_span(outcome.next_s * _SECOND_NS)}"
    if outcome.result == "failed":
        print_message(f"ids: feed {outcome.label}: {outcome.error}; what is in force stays, {again}")
        return
    click.echo(
        f"{outcome.label}: {outcome.result}, {outcome.read:,} entries read, {count_of(outcome.networks, 'network')},"
        f" {outcome.added:,} new, {outcome.deleted:,} gone, {outcome.refused:,} not usable; {again}"
    )


def _shelf(config: Config, feed: FeedSettings) -> Shelf:
    return Shelf(config.engine.state_dir, config.instance, feed.label)


def _span(ns: int) -> str:
    """Spell a time span by its largest unit."""
    seconds = max(0, round(ns / 1e9))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + unit
    return f"{seconds}s"
