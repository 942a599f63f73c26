"""One fault after the other happens to a gateway with everything on, with traffic flowing and an exploit during each.

What has to hold: no datagram of an innocent source is lost, none of a blocked source passes, and the exploit's sender
is blocked as fast as when nothing happens. Only an engine that stands still, or is not there, blocks later.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from ids.errors import KernelError
from tests.bench.faults import FAULTS, UNSEEN
from tests.bench.report import CannotRun, Row, show
from tests.bench.under_fault import Seen, opened


def main(arguments: Sequence[str] = ()) -> int:
    """Have all faults happen; return 1 where a packet was wrongly lost or passed, or an exploit not blocked."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench faults")
    parser.add_argument("--only", action="append", choices=FAULTS, help="this fault; may be given again")
    options = parser.parse_args(list(arguments))
    if os.geteuid() != 0:
        raise CannotRun("needs root")
    rows, wrong = [], 0
    try:
        with opened() as site:
            for name in options.only or FAULTS:
                seen = site.watch(FAULTS[name])
                rows.append(_row(name, seen))
                wrong += bool(seen.lost or seen.passed or seen.pages_failed)
                wrong += seen.block_ms is None and name not in UNSEEN
    except KernelError as error:
        raise CannotRun(str(error)) from error
    show("Faults under traffic", rows, "python -m tests.bench faults")
    return int(wrong > 0)


def _row(name: str, seen: Seen) -> Row:
    blocked = "not blocked" if seen.block_ms is None else f"blocked in {seen.block_ms:.1f} ms"
    note = f"of {seen.sent:,} sent, and {seen.pages_failed} of {seen.pages} pages; blocked sources passed {seen.passed}"
    note += (
        f" of {3 * seen.sent:,}; the exploit {blocked}; {', '.join(seen.said) or 'nothing was lost, by `ids stats`'}"
    )
    return Row(f"{name}: packets of innocents lost", seen.lost, "packets", note=note)


if __name__ == "__main__":
    raise SystemExit(main())
