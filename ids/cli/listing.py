"""`ids block list`, `show` and `export`: who is blocked, one or a million of them, by the column and by the piece."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import click
import numpy as np
import orjson
from numpy.typing import NDArray

from ids.cli.lists import NETWORKS, pins_of, report_unattached
from ids.cli.options import instance_options, output_option, show_rows, usable_config
from ids.cli.values import Network, moment, span
from ids.kernel import Block, Blocklist
from ids.kernel.instance import guarded_interfaces
from ids.kernel.lists.entries import Entries, texts_of
from ids.kernel.system.clock import sample_offset_ns
from ids.literal import literal
from ids.state import comments
from ids.state.files import state_folder
from ids.store.plain import block_data
from ids.types import IPNetwork, ascending

CHUNK = 20_000
"""Entries that become text at once: enough to be fast, little enough to begin at once and to hold no memory."""

SORTS = ("network", "hits", "added", "left")
_MODES = ("enforce", "shadow")
_FOR_GOOD = np.uint64((1 << 64) - 1)


@dataclass(slots=True)
class Listed:
    """What is listed: entries in their order, and what else belongs to them."""

    entries: Entries
    others: dict[bytes, list[np.void]]
    """By network (as bytes of its row), the claims that wait behind its entry."""
    labels: dict[int, str]
    comments: dict[comments.Key, str]
    offset_ns: int

    def owner(self, sid: int, label: int) -> str:
        """Return who makes a claim."""
        return f"sid {sid}" if sid else literal(self.labels[label]) or "?"


@click.command("list")
@click.option("--sort", type=click.Choice(SORTS), help="By network (the default), most hits, latest, or next to end.")
@click.option("--match", type=Network(), metavar="PREFIX", help="Only what lies within a prefix, or holds it.")
@click.option("--limit", type=click.IntRange(min=1), help="So many at most.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The N with the most hits.")
@click.option(
    "--by", type=click.Choice(["rule", "label", "family"], case_sensitive=False), help="Sums, in place of entries."
)
@instance_options
@output_option
def block_list(
    sort: str | None, match: IPNetwork | None, limit: int | None, top: int | None, by: str | None,
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Show who is blocked: why, until when, and how often it was hit."""
    config = usable_config(config_path, overrides)
    pins = pins_of(config)
    with Blocklist.open(pins) as blocklist:
        held, waiting = blocklist.columns()
        if match is not None:
            held, waiting = held.chosen(held.near(match)), waiting.chosen(waiting.near(match))
        labels = labels_of(blocklist, held, waiting)
    if by is not None:
        _show_sums(_sums(held, labels, by.lower())[: top or limit], by.lower(), output)
        return
    order = _order(held, sort or ("hits" if top else "network"))[: top or limit]
    notes = comments.load(state_folder(config.engine.state_dir, config.instance))
    listed = Listed(held.chosen(order), _waiting(waiting), labels, notes, sample_offset_ns())
    if output == "json":
        write_json_lines(chunks_of(listed, _json_rows))
        return
    if not len(held):
        click.echo("nobody is blocked")
    else:
        _show(listed)
    report_unattached(guarded_interfaces(pins))


@click.command("show")
@NETWORKS
@instance_options
@output_option
def block_show(
    networks: tuple[IPNetwork, ...], config_path: str | None, overrides: tuple[str, ...], output: str
) -> None:
    """Show what blocks an address or network: each entry that holds it, all claims. Exit code 1 where none does."""
    config = usable_config(config_path, overrides)
    notes = comments.load(state_folder(config.engine.state_dir, config.instance))
    with Blocklist.open(pins_of(config)) as blocklist:
        found = {network: blocklist.covering(network) for network in networks}
    if output == "json":
        show_rows(
            {"asked": str(network), **block_data(entry, notes)} for network, held in found.items() for entry in held
        )
    else:
        for network, held in found.items():
            for line in shown_blocks(network, held, notes):
                click.echo(line)
    if not all(found.values()):
        sys.exit(1)


def shown_blocks(network: IPNetwork, held: Sequence[Block], notes: dict[comments.Key, str]) -> Iterator[str]:
    """Yield lines that say what blocks a network."""
    if not held:
        yield f"{network} is not blocked"
    now_ns = time.time_ns()
    for entry in held:
        holds = "" if entry.network == network else f" (holds {network})"
        last = "never hit" if entry.last_hit_ns is None else f"last hit {span(now_ns - entry.last_hit_ns)} ago"
        yield f"{entry.network}{holds}: {entry.packets:,} packets, {entry.bytes:,} bytes, {last}"
        for place, claim in enumerate((entry, *entry.others)):
            left = "for good" if claim.expires_ns is None else f"another {span(claim.expires_ns - now_ns)}"
            by = f"sid {claim.sid}" if claim.sid else literal(claim.label) or "?"
            note = notes.get((str(entry.network), claim.label), "")
            yield (
                f"  {'in force' if not place else 'waiting '}  {claim.mode.value:<7}  by {by}, {left}, since"
                f" {moment(claim.added_ns)}" + (f"  # {literal(note)}" if note else "")
            )


def labels_of(blocklist: Blocklist, *parts: Entries) -> dict[int, str]:
    """Return the names of the labels that entries have."""
    numbers = {number for part in parts for number in ascending(part.values["label"]).tolist()}
    return blocklist.label_names(numbers)


def _waiting(waiting: Entries) -> dict[bytes, list[np.void]]:
    found: dict[bytes, list[np.void]] = {}
    width = waiting.networks.dtype.itemsize
    raw = waiting.networks.tobytes()
    for at, value in enumerate(waiting.values):
        found.setdefault(raw[at * width : (at + 1) * width], []).append(value)
    return found


def _order(held: Entries, sort: str) -> NDArray[np.intp]:
    """Return the order of entries."""
    order = held.by_network()
    values = held.values[order]
    if sort == "hits":
        return order[np.argsort(~values["packets"], kind="stable")]
    if sort == "added":
        return order[np.argsort(~values["added_ns"], kind="stable")]
    if sort == "left":
        ends = values["expires_ns"] - np.uint64(1)  # 0, which is no end, becomes the last of all
        return order[np.argsort(ends, kind="stable")]
    return order


def chunks_of(listed: Listed, spell: Callable[[Listed, Entries], list[Any]]) -> Iterator[list[Any]]:
    """Yield entries as text, so many at a time that it begins at once."""
    for start in range(0, len(listed.entries), CHUNK):
        yield spell(listed, listed.entries.chosen(slice(start, start + CHUNK)))


def _show(listed: Listed) -> None:
    """Write entries as lines of columns, as they become text."""
    networks, values = listed.entries.networks, listed.entries.values
    wide = 43 if (networks["version"] == 6).any() else 18
    owners = np.unique(values[["sid", "label"]])
    by_width = max([2, *(len(listed.owner(int(sid), int(label))) for sid, label in owners[:CHUNK].tolist())])
    counts = [len(f"{int(values[name].max(initial=0)):,}") for name in ("packets", "bytes")]
    widths = (wide, 7, min(by_width, 64), 9, max(7, counts[0]), max(5, counts[1]))
    head = ("network", "mode", "by", "left", "packets", "bytes")
    click.echo("  ".join(_aligned(head, widths)) + "  last hit")
    for rows in chunks_of(listed, partial(_lines, widths)):
        sys.stdout.write("\n".join(rows) + "\n")


def _aligned(cells: tuple[str, ...], widths: tuple[int, ...]) -> list[str]:
    return [
        cell.rjust(width) if at >= 3 else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]


def _lines(widths: tuple[int, ...], listed: Listed, entries: Entries) -> list[str]:
    w_net, w_mode, w_by, w_left, w_packets, w_bytes = widths
    now_ns, values = time.monotonic_ns(), entries.values
    keys, raw = entries.networks.dtype.itemsize, entries.networks.tobytes() if listed.others else b""
    left_s = np.where(values["expires_ns"] == 0, -1, (values["expires_ns"].astype(np.int64) - now_ns) // 10**9)
    hit_s = np.where(values["last_hit_ns"] == 0, -1, (now_ns - values["last_hit_ns"].astype(np.int64)) // 10**9)
    columns = (
        texts_of(entries.networks), values["mode"].tolist(), values["sid"].tolist(), values["label"].tolist(),
        left_s.tolist(), values["packets"].tolist(), values["bytes"].tolist(), hit_s.tolist(),
    )  # fmt: skip
    lines = []
    for at, (network, mode, sid, label, left, packets, size, hit) in enumerate(zip(*columns, strict=True)):
        by = listed.owner(sid, label)
        if raw:
            waiting = listed.others.get(raw[at * keys : (at + 1) * keys], ())
            by = ", ".join([by, *(listed.owner(int(claim["sid"]), int(claim["label"])) for claim in waiting)])
        note = listed.comments.get((network, listed.labels[label])) if listed.comments else None
        line = (
            f"{network:<{w_net}}  {_MODES[mode % 2]:<{w_mode}}  {by:<{w_by}}  {_left(left):>{w_left}}"
            f"  {packets:>{w_packets},}  {size:>{w_bytes},}  {_ago(hit)}"
        )
        lines.append(f"{line}  # {literal(note)}" if note else line)
    return lines


@lru_cache(maxsize=65536)
def _left(seconds: int) -> str:
    return "for good" if seconds < 0 else span(seconds * 10**9)


@lru_cache(maxsize=65536)
def _ago(seconds: int) -> str:
    return "never" if seconds < 0 else f"{span(seconds * 10**9)} ago"


def _json_rows(listed: Listed, entries: Entries) -> list[bytes]:
    """Return entries as objects of JSON, with the claims that wait."""
    width, raw = entries.networks.dtype.itemsize, entries.networks.tobytes()
    rows = []
    for at, row in enumerate(objects_of(listed, entries, ("packets", "bytes", "last_hit_ns"))):
        waiting = listed.others.get(raw[at * width : (at + 1) * width], ())
        row["others"] = [_waits(listed, row["network"], claim) for claim in waiting]
        row.setdefault("comment", None)
        rows.append(orjson.dumps(row))
    return rows


def _waits(listed: Listed, network: str, claim: np.void) -> dict[str, Any]:
    label = listed.labels[int(claim["label"])]
    return {
        "mode": _MODES[int(claim["mode"]) % 2], "sid": int(claim["sid"]), "label": label,
        "added_ns": int(claim["added_ns"]) + listed.offset_ns,
        "expires_ns": _end(int(claim["expires_ns"]), listed.offset_ns),
        "comment": listed.comments.get((network, label)) if listed.comments else None,
    }  # fmt: skip


def objects_of(listed: Listed, entries: Entries, counters: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield entries as objects for JSON, with some of the kernel's counters."""
    values, offset_ns = entries.values, listed.offset_ns
    names = ("mode", "sid", "label", "added_ns", "expires_ns", *counters)
    columns = (texts_of(entries.networks), *(values[name].tolist() for name in names))
    for network, mode, sid, label, added_ns, expires_ns, *counted in zip(*columns, strict=True):
        name = listed.labels[label]
        row = {
            "network": network, "mode": _MODES[mode % 2], "sid": sid, "label": name,
            "added_ns": added_ns + offset_ns, "expires_ns": _end(expires_ns, offset_ns),
        }  # fmt: skip
        for key, value in zip(counters, counted, strict=True):
            row[key] = _end(value, offset_ns) if key == "last_hit_ns" else value
        if listed.comments and (note := listed.comments.get((network, name))):
            row["comment"] = note
        yield row


def _end(ns: int, offset_ns: int) -> int | None:
    return ns + offset_ns if ns else None


def write_json_lines(chunks: Iterator[list[bytes]]) -> None:
    """Write objects as they come, one a line; no text in them gives a terminal orders."""
    for rows in chunks:
        text = b"\n".join(rows)
        if not text.isascii():
            text = b"\n".join(json.dumps(orjson.loads(row)).encode() for row in rows)
        sys.stdout.write(text.decode() + "\n")


def _sums(held: Entries, labels: dict[int, str], by: str) -> list[dict[str, Any]]:
    """Return entries, packets and bytes by rule, label or family, the most hit first."""
    values = held.values
    columns = {"rule": values["sid"], "label": values["label"], "family": held.networks["version"]}
    keys, which = np.unique(columns[by], return_inverse=True)
    sums = np.zeros((3, len(keys)), np.uint64)
    for row, amounts in zip(sums, (np.ones(len(held), np.uint64), values["packets"], values["bytes"]), strict=True):
        np.add.at(row, which.reshape(-1), amounts)

    def of(key: int) -> dict[str, Any]:
        if by == "rule":
            return {"sid": key}
        return {"label": labels[key]} if by == "label" else {"family": f"IPv{key}"}

    rows = [
        {**of(key), "entries": entries, "packets": packets, "bytes": size}
        for key, entries, packets, size in zip(keys.tolist(), *sums.tolist(), strict=True)
    ]
    return sorted(rows, key=lambda row: (-row["packets"], -row["entries"]))


def _name_of(row: dict[str, Any]) -> str:
    if "sid" in row:
        return f"sid {row['sid']}" if row["sid"] else "no rule"
    return literal(row.get("label", row.get("family")) or "?")


def _show_sums(rows: list[dict[str, Any]], by: str, output: str) -> None:
    if output == "json":
        show_rows(rows)
        return
    names = [_name_of(row) for row in rows]
    width = max([len(by), *map(len, names)])
    click.echo(f"{by:<{width}}  {'entries':>12}  {'packets':>15}  {'bytes':>19}")
    for name, row in zip(names, rows, strict=True):
        click.echo(f"{name:<{width}}  {row['entries']:>12,}  {row['packets']:>15,}  {row['bytes']:>19,}")
