"""All benchmarks, or those named: ``python -m tests.bench [xdp|load|replay|…]``. One that cannot run says why.

Options after one name are that benchmark's own: ``python -m tests.bench replay --help``.
"""

from __future__ import annotations

import importlib
import inspect
import sys

from rich.console import Console

from ids.lab.interruption import Interrupted, interruptible
from tests.bench.report import CannotRun

BENCHMARKS = ("xdp", "load", "startup", "replay", "gateway", "rates", "fairness", "memory", "flood", "restart")
"""Modules ``tests.bench.bench_<name>``, each with a ``main``; quick ones first."""
ON_REQUEST = ("operator", "bypass", "same", "alerts", "evasion", "recognition", "soak", "lists", "day", "faults")
"""Those that need to be given something, measure no speed or take half an hour, and so only run when named."""


def main(arguments: list[str]) -> int:
    """Run the benchmarks named (default: all); return 2 for a name that is none, 128 and more when interrupted."""
    console = Console()
    split = next((place for place, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    names, options = arguments[:split], arguments[split:]
    unknown = [name for name in names if name not in BENCHMARKS + ON_REQUEST]
    if unknown or (options and len(names) != 1):
        console.print(
            "usage: python -m tests.bench [NAME...], or one NAME and its options; "
            f"names: {', '.join(BENCHMARKS + ON_REQUEST)}"
        )
        return 2
    try:
        with interruptible():
            return max([_run(name, options, console) for name in names or BENCHMARKS])
    except Interrupted as interrupted:
        console.print(f"{interrupted}: what was made is removed")
        return interrupted.exit_code


def _run(name: str, options: list[str], console: Console) -> int:
    module = importlib.import_module(f"tests.bench.bench_{name}")
    try:
        code = module.main(options) if inspect.signature(module.main).parameters else module.main()
    except CannotRun as reason:
        console.print(f"[yellow]{name}: not run: {reason}[/]")
        return 0
    return code or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
