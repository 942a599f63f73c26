"""What the verbs that show and change the kernel's lists have in common."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ids.cli.options import NOTHING_ATTACHED, print_message, show_json
from ids.cli.values import Network
from ids.config import Config
from ids.kernel import Block
from ids.kernel.instance import instance_dir
from ids.state import comments

NETWORKS = click.argument("networks", nargs=-1, required=True, type=Network(), metavar="ADDRESS...")


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


def block_data(entry: Block, notes: Mapping[comments.Key, str]) -> dict[str, Any]:
    """Return an entry, its claims and comments as plain data."""
    others = [
        {
            "mode": claim.mode.value, "sid": claim.sid, "label": claim.label, "expires_ns": claim.expires_ns,
            **_comment(claim, notes),
        }
        for claim in entry.others
    ]  # fmt: skip
    return {
        "network": str(entry.network), "mode": entry.mode.value, "sid": entry.sid, "label": entry.label,
        "added_ns": entry.added_ns, "expires_ns": entry.expires_ns,
        "packets": entry.packets, "bytes": entry.bytes, "last_hit_ns": entry.last_hit_ns,
        "others": others, **_comment(entry, notes),
    }  # fmt: skip


def _comment(claim: Block, notes: Mapping[comments.Key, str]) -> dict[str, str]:
    note = notes.get((str(claim.network), claim.label))
    return {"comment": note} if note else {}
