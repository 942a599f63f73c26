"""What people type: one module for each family of verbs.

Exit codes: 0 done; 1 a check or test did not hold; 2 bad usage, config or rules; 3 the kernel side refused.
"""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import os
import sys
import threading
from typing import Any

import click

from ids.errors import IdsError
from ids.garbage import collected_later
from ids.literal import literal
from ids.version import __version__

GC_THRESHOLDS = (100_000, 20, 10)
"""Flows and chunks come and go by the ten thousand and are to hold no cycles; at Python's default of 700 new objects
the collector would look for some, all the time, at up to half of the cost of a packet."""

VERBS = {
    "run": (
        "ids.cli.run:run",
        "Attach to interfaces, inspect what the kernel shows, and block what the rules condemn.",
    ),
    "replay": (
        "ids.cli.replay:replay",
        "Run captures (pcap, pcapng; also compressed) or folders of them through the engine.",
    ),
    "lab": ("ids.cli.lab:lab", "Attack a web server behind a gateway that runs this engine, and show what happens."),
    "doctor": ("ids.cli.doctor:doctor", "Name what is missing or odd on this machine, each with its remedy."),
    "check": (
        "ids.cli.check:check",
        "Check settings, rules and plugins as `ids run` would, without touching an interface.",
    ),
    "init": (
        "ids.cli.init:init",
        "Write a commented file of settings for this host: its interfaces, its networks, what doctor found.",
    ),
    "service": ("ids.cli.service:service", "Make the engine a service of this host that systemd starts and watches."),
    "config": ("ids.cli.config:config", "Show the settings in force and where each comes from; check them."),
    "rules": ("ids.cli.rules:rules", "Work on rules: YAML, YARA and Suricata's."),
    "block": ("ids.cli.block:block", "Show and change whom the kernel drops."),
    "feeds": ("ids.cli.feeds:feeds", "Keep blocklists of others up to date, as the settings (`feeds`) name them."),
    "allow": ("ids.cli.allow:allow", "Show and change whom the kernel never drops, whatever the blocklist says."),
    "why": ("ids.cli.why:why", "Say why an address is blocked, or a flow or an alert was, and what would undo it."),
    "penalties": ("ids.cli.penalties:penalties", "Show and reset who was blocked before, and is for longer next time."),
    "alerts": ("ids.cli.alerts:alerts", "Show what was found, from the memory of alerts."),
    "stats": (
        "ids.cli.stats:stats",
        "Show the kernel's counters for each verdict, and the engine's when one is running.",
    ),
    "top": (
        "ids.cli.top:top",
        "Watch an instance: who sends most, verdicts, rules, rings, lag.",
    ),
    "console": (
        "ids.cli.console:console",
        "Serve the web console and Prometheus' /metrics, on this host alone unless the settings say otherwise.",
    ),
    "reload": (
        "ids.cli.reload:reload",
        "Make a running engine read again what it was started with: its `-c`, `--set` and `-S`.",
    ),
    "completion": ("ids.cli.completion:completion", "Print what makes a shell complete `ids`: bash, zsh or fish."),
    "detach": (
        "ids.cli.detach:detach",
        "Take this instance's program off all interfaces and forget its lists: nothing is left in the kernel.",
    ),
}
"""Where each verb is, in the order of the help text, and its first sentence there: a module is imported only when its
verb is used, and the list of all verbs needs none of them."""


class Verbs(click.Group):
    """A group whose commands are imported on demand: `ids block list` need not wait for Scapy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in their order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb."""
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        with collected_later(for_good=True):
            command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        room = formatter.width - 6 - max(map(len, VERBS))  # as click leaves it
        rows = [(name, click.Command(name, help=about).get_short_help_str(room)) for name, (_, about) in VERBS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ids")
def cli() -> None:
    """Intrusion detection and prevention: an XDP program in front, Python behind.

    Try `ids replay pcaps/` first: it needs no privileges. `ids doctor` shows what this machine lacks for the rest.
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; errors meant for the user become one message and an exit code."""
    gc.set_threshold(*GC_THRESHOLDS)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no linear algebra here, and its threads are never asleep soon
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # none is ours, and to look for some takes 20 ms
    try:
        cli.main(args=arguments, prog_name="ids", standalone_mode=True)
    except IdsError as error:
        click.echo(literal(f"ids: {error}", keep="\n"), err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone; nothing is left to say, not even at exit
        sys.exit(0)
    except OSError as error:  # where we write to is full, or a file is another user's
        full = "what is written" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else ""
        what = error.filename or full
        click.echo(literal(f"ids: {what}: {error.strerror}" if what else f"ids: {error}"), err=True)
        sys.exit(2)


def start() -> None:
    """Run the command of this process, and end it; the command `ids` is this."""
    try:
        main()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            _leave(ended.code or 0)
        raise


def _leave(status: int) -> None:
    """End the process at once: to take apart all that a replay has made takes Python 50 ms, and the system none.

    Returns where that would lose something: a thread is at work, or output cannot be written, of which Python's own end
    reports.
    """
    if threading.active_count() > 1:
        return
    try:
        _flush()
        atexit._run_exitfuncs()
        _flush()
    except (OSError, ValueError):
        return
    os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
