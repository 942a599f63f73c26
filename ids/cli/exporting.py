"""`ids block export`, and what `ids block import` makes of it again: every claim, its owner, end, mode and comment."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import click
import numpy as np
import orjson

from ids.cli.listing import Listed, chunks_of, labels_of, objects_of
from ids.cli.lists import pins_of
from ids.cli.options import instance_options, usable_config
from ids.errors import Location, SourceError
from ids.kernel import Blocklist, contract
from ids.kernel.contract import BlockFlag
from ids.kernel.lists.entries import Entries, networks_from
from ids.kernel.system.clock import sample_offset_ns
from ids.state import comments
from ids.state.files import state_folder
from ids.store.byhand import Deed
from ids.types import BlockMode, IPNetwork

VERSION = 1
MARK = b'{"ids_blocklist":'
"""What an export begins with; no feed does."""

_MODES = {"enforce": BlockFlag.ENFORCE, "shadow": BlockFlag.SHADOW}
_MAX_NS = (1 << 63) - 1


@click.command("export")
@instance_options
def block_export(config_path: str | None, overrides: tuple[str, ...]) -> None:
    """Write all claims to stdout, a line of JSON each, as `ids block import` takes them back without loss."""
    config = usable_config(config_path, overrides)
    notes = comments.load(state_folder(config.engine.state_dir, config.instance))
    with Blocklist.open(pins_of(config)) as blocklist:
        held, waiting = blocklist.columns()
        labels = labels_of(blocklist, held, waiting)
    offset_ns = sample_offset_ns()
    head = {"ids_blocklist": VERSION, "exported_ns": time.time_ns(), "claims": len(held) + len(waiting)}
    sys.stdout.write(orjson.dumps(head).decode() + "\n")
    for entries in (held, waiting):
        listed = Listed(entries.chosen(entries.by_network()), {}, labels, notes, offset_ns)
        for rows in chunks_of(listed, _lines):
            sys.stdout.write(b"".join(rows).decode())


class Exported:
    """The claims of an export."""

    def __init__(self, data: bytes, name: str) -> None:
        """Read it, all of it or nothing; raises `SourceError` with the line that cannot be used."""
        self.networks: list[tuple[int, int, int]] = []
        """(IP version, prefix length, first address as a number), a row a claim."""
        self.labels: list[str] = []
        self.comments: dict[comments.Key, str] = {}
        self._values: list[tuple[int, int, int, int]] = []
        self.ended = 0
        """Claims that have run out since."""
        now_ns = time.time_ns()
        for number, line in enumerate(_lines_of(data, name), 2):
            try:
                self._add(orjson.loads(line), now_ns)
            except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
                raise SourceError(
                    f"this is no claim: {error}", Location(name, number), "nothing was changed"
                ) from error

    def _add(self, row: dict[str, Any], now_ns: int) -> None:
        text, _, length = row["network"].partition("/")
        family, version, bits = (socket.AF_INET6, 6, 128) if ":" in text else (socket.AF_INET, 4, 32)
        number, prefix = int.from_bytes(socket.inet_pton(family, text), "big"), int(length)
        end, label, sid, added_ns = row.get("expires_ns"), row["label"], row["sid"], row["added_ns"]
        if not 0 <= prefix <= bits or number & ((1 << (bits - prefix)) - 1):
            raise ValueError(f"{row['network']} is no network")
        if not isinstance(label, str) or not all(type(value) is int for value in (sid, added_ns, end or 0)):
            raise ValueError("a label is a text; sid, added_ns and expires_ns are whole numbers")
        if not 0 <= sid < 1 << 32 or not 0 <= added_ns < _MAX_NS:
            raise ValueError("sid or added_ns is out of range")
        if end is not None and end <= now_ns:
            self.ended += 1
            return
        self.networks.append((version, prefix, number))
        self.labels.append(label)
        self._values.append((min(end, _MAX_NS) if end is not None else 0, added_ns, sid, _MODES[row["mode"]]))
        if note := row.get("comment"):
            self.comments[row["network"], label] = str(note)

    def entries(self, numbers: dict[str, int]) -> Entries:
        """Return the claims as the kernel has them; ``numbers``: of the labels."""
        values = np.zeros(len(self._values), contract.BLOCK)
        offset_ns = sample_offset_ns()
        if len(values):
            columns = np.array(self._values, np.int64)
            ends, added = columns[:, 0], columns[:, 1]
            values["expires_ns"] = np.where(ends == 0, 0, np.maximum(1, ends - offset_ns))
            values["added_ns"] = np.maximum(0, added - offset_ns)
            values["sid"], values["mode"] = columns[:, 2], columns[:, 3]
            values["label"] = [numbers[label] for label in self.labels]
        return Entries(networks_from(self.networks), values)

    def deeds(self, detail: dict[str, Any]) -> Iterator[Deed]:
        """Yield what is written down of each claim."""
        for (version, prefix, number), label, values in zip(self.networks, self.labels, self._values, strict=True):
            end, _, sid, mode = values
            network: IPNetwork = (IPv4Network if version == 4 else IPv6Network)((number, prefix))
            yield Deed(
                "import",
                network,
                label,
                BlockMode.SHADOW if mode == BlockFlag.SHADOW else BlockMode.ENFORCE,
                end or None,
                sid=sid,
                detail=detail,
            )


def _lines_of(data: bytes, name: str) -> Iterator[bytes]:
    """Yield the lines of claims; raises `SourceError` where the head is another version's, or lines are missing."""
    lines = data.splitlines()
    try:
        head = orjson.loads(lines[0])
        version, claims = head["ids_blocklist"], head["claims"]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"the first line is not that of an export: {error}", Location(name, 1)) from error
    if version != VERSION:
        raise SourceError(f"is an export of version {version}; this program reads {VERSION}", Location(name, 1))
    if len(lines) - 1 != claims:
        raise SourceError(f"has {len(lines) - 1} claims of {claims}: it was cut off", Location(name), "export it again")
    yield from lines[1:]


def _lines(listed: Listed, entries: Entries) -> list[bytes]:
    return [_line(row) for row in objects_of(listed, entries)]


def _line(row: dict[str, Any]) -> bytes:
    data = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    return data if data.isascii() else json.dumps(row).encode() + b"\n"
