"""All benchmarks, or those named: ``python -m tests.bench [xdp|load|replay|…]``. One that cannot run says why."""

from __future__ import annotations

import importlib
import sys

from rich.console import Console

from tests.bench.report import CannotRun

BENCHMARKS = ("xdp", "load", "replay", "gateway", "flood", "restart")
"""Modules ``tests.bench.bench_<name>``, each with a ``main() -> None``; quick ones first."""


def main(names: list[str]) -> int:
    """Run the benchmarks named (default: all that exist); return 2 for a name that is none."""
    console = Console()
    for name in names or BENCHMARKS:
        try:
            module = importlib.import_module(f"tests.bench.bench_{name}")
        except ModuleNotFoundError:
            if names:
                console.print(f"no benchmark {name!r}; there are: {', '.join(BENCHMARKS)}")
                return 2
            continue
        try:
            module.main()
        except CannotRun as reason:
            console.print(f"[yellow]{name}: not run: {reason}[/]")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
