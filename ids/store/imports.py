"""Which imports brought the claims on an address: their rows name a list as a whole, and no address of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from ids.kernel import Block
from ids.store.queries import ChangeRow, imports

SLACK_NS = 2_000_000_000
"""The kernel's clock and that of the rows may differ by so much."""

NO_FEED = ("operator", "rule")
"""Labels of those whose claims have rows of their own."""

MOST = 10
"""Claims whose imports are looked up, or blocks that were lifted."""


def imports_behind(
    database: sqlite3.Connection, blocks: Sequence[Block], history: Sequence[ChangeRow]
) -> list[ChangeRow]:
    """Return the rows of imports that brought what blocks an address, or what was lifted of it, and of the latest ones.

    ``history``: the rows that name the address, the latest first, as the answer has them.
    """
    known = {row.label for row in history if row.kind in ("block", "import")}
    found: dict[int, ChangeRow] = {}
    claims = [claim for block in blocks for claim in (block, *block.others) if claim.label]
    for claim in claims[:MOST]:
        of_feed = [] if claim.label in NO_FEED else list(_around(database, claim.label, claim.added_ns))
        if not of_feed and claim.label not in known:
            of_feed = _exports(database, claim)
        found |= {row.id: row for row in of_feed}
    for row in [row for row in history if row.kind == "unblock" and row.label not in ("", *NO_FEED)][:MOST]:
        added_ns = row.detail.get("added_ns")
        if isinstance(added_ns, int):
            found |= {one.id: one for one in _around(database, row.label, added_ns, row.ts_ns)}
    return list(found.values())


def _around(
    database: sqlite3.Connection, label: str, added_ns: int, until_ns: int | None = None
) -> Iterator[ChangeRow]:
    """Yield the import that brought a claim, and the latest before its end."""
    since_ns = added_ns - SLACK_NS
    for oldest_first in (True, False):
        rows = imports(database, label, since_ns, until_ns, limit=MOST, oldest_first=oldest_first)
        yield from [row for row in rows if row.detail.get("result") != "failed"][:1]


def _exports(database: sqlite3.Connection, claim: Block) -> list[ChangeRow]:
    """Return the latest export with claims of this owner that was taken back since the claim was made."""
    rows = imports(database, "", claim.added_ns - SLACK_NS, limit=MOST)
    return [row for row in rows if claim.label in row.detail.get("labels", ())][:1]


def imported_set(row: ChangeRow) -> str:
    """Return what an import brought, in a few words: whose set, and how many networks or claims."""
    number = row.detail.get("networks", row.detail.get("claims"))
    unit = "networks" if "networks" in row.detail else "claims"
    size = f" ({number:,} {unit})" if isinstance(number, int) else ""
    return f"{row.label or 'an export'}{size}"
