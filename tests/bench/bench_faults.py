"""One fault after the other happens to a gateway with everything on, with traffic flowing and an exploit during each.

What has to hold: no datagram of an innocent source is lost, none of a blocked source passes, and the exploit's sender
is blocked as fast as when nothing happens. Only an engine that stands still, or is not there, blocks later.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from ids.errors import KernelError
from tests.bench.faults import FAULTS, UNSEEN
from tests.bench.report import WIDTH, CannotRun, Row, keep
from tests.bench.under_fault import BLOCKED, Seen, opened

COLUMNS = ("fault", "packets lost", "pages lost", "blocked ones passed", "exploit blocked", "what `ids stats` says")


def main(arguments: Sequence[str] = ()) -> int:
    """Have all faults happen; return 1 where a packet was wrongly lost or passed, or an exploit not blocked."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench faults")
    parser.add_argument("--only", action="append", choices=FAULTS, help="this fault; may be given again")
    options = parser.parse_args(list(arguments))
    if os.geteuid() != 0:
        raise CannotRun("needs root")
    found: dict[str, Seen] = {}
    try:
        with opened() as site:
            for name in options.only or FAULTS:
                found[name] = site.watch(FAULTS[name])
    except KernelError as error:
        raise CannotRun(str(error)) from error
    finally:
        if found:
            Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False).print(_table(found))
    keep("Faults under traffic", _rows(found), "python -m tests.bench faults")
    return int(any(_is_wrong(name, seen) for name, seen in found.items()))


def _is_wrong(name: str, seen: Seen) -> bool:
    return bool(seen.lost or seen.passed or seen.pages_failed) or (seen.block_ms is None and name not in UNSEEN)


def _table(found: Mapping[str, Seen]) -> Table:
    table = Table(*COLUMNS, title="Faults under traffic")
    for name, seen in found.items():
        blocked = "no" if seen.block_ms is None else f"in {seen.block_ms:.1f} ms"
        table.add_row(
            name, f"{seen.lost} of {seen.sent:,}", f"{seen.pages_failed} of {seen.pages:,}",
            f"{seen.passed} of {len(BLOCKED) * seen.sent:,}", blocked, ", ".join(seen.said) or "nothing was lost",
        )  # fmt: skip
    return table


def _rows(found: Mapping[str, Seen]) -> list[Row]:
    rows = []
    for name, seen in found.items():
        rows.append(Row(f"{name}: packets of an innocent lost", seen.lost, "packets", note=f"of {seen.sent:,}"))
        rows.append(Row(f"{name}: packets of blocked ones passed", seen.passed, "packets"))
        if seen.block_ms is not None:
            rows.append(Row(f"{name}: an exploit's sender blocked", seen.block_ms, "ms", note=", ".join(seen.said)))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
