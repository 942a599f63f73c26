"""Rows of what somebody did by a command: who, when, with which words. A command goes on where it cannot write one."""

from __future__ import annotations

import os
import pwd
import shlex
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ids.errors import IdsError
from ids.events import spell
from ids.kernel import Block
from ids.store.database import open_writing
from ids.store.rows import Row, bounds_of, insertion
from ids.types import BlockMode, IPNetwork

MAX_COMMAND = 2000
"""Characters of a command line that are kept: a thousand addresses are rows of their own."""

MAX_ROWS = 1000
"""Networks of one command that have a row each; one more row has the number of the others."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What a command did with one network, or with a list as a whole."""

    kind: str
    """``block``, ``unblock``, ``allow``, ``disallow``, ``import``, ``reset``, ``detach``, ``reload``."""
    network: IPNetwork | None = None
    label: str = "operator"
    mode: BlockMode | None = None
    until_ns: int | None = None
    packets: int = 0
    """What the kernel had counted of a block that was lifted."""
    bytes: int = 0
    sid: int = 0
    detail: dict[str, Any] = field(default_factory=dict)


def lifted(entry: Block) -> Deed:
    """Return the deed of lifting a block: whose it was, since when, and what the kernel had counted."""
    return Deed(
        "unblock", entry.network, entry.label, entry.mode, entry.expires_ns, entry.packets, entry.bytes, entry.sid,
        {"added_ns": entry.added_ns, "last_hit_ns": entry.last_hit_ns},
    )  # fmt: skip


def record(path: Path, deeds: Sequence[Deed]) -> str:
    """Write down what was done by hand; return why that could not be, nothing where it could."""
    user, uid = who()
    command = command_line()
    now_ns = time.time_ns()
    rows = [_row(deed, now_ns, user, uid, command) for deed in deeds[:MAX_ROWS]]
    if len(deeds) > MAX_ROWS:
        rest = Deed(deeds[0].kind, label=deeds[0].label, detail={"networks": len(deeds) - MAX_ROWS})
        rows.append(_row(rest, now_ns, user, uid, command))
    try:
        with closing(open_writing(path)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(insertion("changes"), rows)
            database.execute("COMMIT")
    except (sqlite3.Error, OSError, IdsError) as error:
        return f"{path}: {error}"
    return ""


def who() -> tuple[str, int]:
    """Return the name and number of the user who types: with sudo, the one behind it."""
    uid = os.getuid()
    name = _name(uid)
    behind = os.environ.get("SUDO_USER", "") if uid == 0 else ""
    if behind and behind != name:
        number = os.environ.get("SUDO_UID", "")
        return _plain(behind), int(number) if number.isdecimal() and len(number) <= 10 else uid
    return name, uid


def command_line() -> str:
    """Return the words of this command, as a shell takes them."""
    words = ["ids", *sys.argv[1:]] if sys.argv else ["ids"]
    text = _plain(shlex.join(words))
    return text if len(text) <= MAX_COMMAND else f"{text[:MAX_COMMAND]}…"


def _row(deed: Deed, now_ns: int, user: str, uid: int, command: str) -> Row:
    return (
        now_ns, deed.kind, *bounds_of(deed.network), str(deed.network or ""), deed.sid, deed.label,
        deed.mode.value if deed.mode else "", deed.until_ns, 0, deed.packets, deed.bytes, user, uid, command,
        spell(deed.detail),
    )  # fmt: skip


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _plain(text: str) -> str:
    """Return text that a database takes: an argument may be no UTF-8."""
    return text.encode("utf-8", "replace").decode()
