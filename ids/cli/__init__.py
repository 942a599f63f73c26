"""What people type: one module for each family of verbs.

Exit codes: 0 done; 1 a check or test did not hold; 2 bad usage, config or rules; 3 the kernel side refused.
"""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Any

import click

from ids import __version__
from ids.errors import IdsError
from ids.literal import literal

GC_THRESHOLDS = (50_000, 20, 100)
"""Flows and chunks come and go by the ten thousand and hold no cycles; at Python's default of 700 new objects the
collector would look for some, all the time, at up to half of the cost of a packet."""

VERBS = {
    "run": "ids.cli.run:run",
    "replay": "ids.cli.replay:replay",
    "lab": "ids.cli.lab:lab",
    "doctor": "ids.cli.doctor:doctor",
    "check": "ids.cli.check:check",
    "rules": "ids.cli.rules:rules",
    "block": "ids.cli.block:block",
    "allow": "ids.cli.block:allow",
    "stats": "ids.cli.stats:stats",
    "reload": "ids.cli.reload:reload",
    "detach": "ids.cli.detach:detach",
}
"""Verbs in the order of the help text; each module is imported only when its verb is used."""


class Verbs(click.Group):
    """A group whose commands are imported on demand: `ids block list` need not wait for Scapy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in their order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb."""
        target = VERBS.get(cmd_name)
        if target is None:
            return None
        module, _, name = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ids")
def cli() -> None:
    """Intrusion detection and prevention: an XDP program in front, Python behind.

    Try `ids replay pcaps/` first: it needs no privileges. `ids doctor` tells what this machine lacks for the rest.
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; errors meant for the user become one message and an exit code."""
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        cli.main(args=arguments, prog_name="ids", standalone_mode=True)
    except IdsError as error:
        click.echo(literal(f"ids: {error}", keep="\n"), err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone; nothing is left to say, not even at exit
        sys.exit(0)
