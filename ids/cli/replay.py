"""`ids replay`: captures through the whole engine and the fast path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ids.cli.options import (
    Command,
    build_config,
    config_options,
    output_option,
    print_message,
    show_json,
    workers_option,
)
from ids.config import Config
from ids.engine import NO_RULES
from ids.errors import CaptureError, UsageError
from ids.literal import literal
from ids.replay import ReplayReport, find_captures
from ids.replay import replay as run_replay

if TYPE_CHECKING:
    from ids.replay.page.collect import Collector
    from ids.replay.verdicts import VerdictWriter

_WITHOUT_EFFECT = {
    "--runmode": "--workers says how many processes inspect",
    "--data-dir": "what rules learn is kept in memory",
    "-v": "all there is to say is printed, or in -o json",
}
"""Options that scripts for Suricata have, and what there is in their place."""


def suricatas_options(command: Command) -> Command:
    """Take options of Suricata that have no effect here, and say so."""
    for name in _WITHOUT_EFFECT:
        command = click.option(name, hidden=True, expose_value=False, is_flag=name == "-v", callback=_without_effect)(
            command
        )
    return command


def _without_effect(_context: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
    if value:
        name = parameter.opts[0]
        print_message(f"ids: {name} has no effect: {_WITHOUT_EFFECT[name]}")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path())
@click.option(
    "-r", "read", multiple=True, type=click.Path(), metavar="FILE", help="A capture; the same as an argument."
)
@click.option(
    "-k", "checksums", type=click.Choice(["auto", "all", "none"]), default=None, help="`none` accepts bad checksums."
)
@click.option("--eve", "eve_path", type=click.Path(), help="Write events to this file; `-` is stdout.")
@click.option(
    "--fast-path",
    "fast_path",
    type=click.Choice(["auto", "kernel", "model", "off"]),
    default=None,
    help="What judges the packets: the XDP program (needs root), its model, or nobody; auto takes what is available.",
)
@workers_option
@click.option(
    "--simulate-ips",
    "inline",
    is_flag=True,
    help="What rules drop is dropped as by Suricata inline, and events say so: respond.mode=enforce,"
    " respond.inspect_dropped=false and respond.drop_packets=true.",
)
@suricatas_options
@click.option(
    "--verdicts",
    "verdicts_path",
    type=click.Path(),
    help="Write the verdict on every packet to this file, a JSON object a line; `-` is stdout.",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False),
    help="Write what was found as one HTML page to this file: timeline, alerts with their bytes, blocks, rules.",
)
@click.option(
    "--pcap-out",
    "pcap_out",
    type=click.Path(file_okay=False),
    help="Record the packets around each alert in this folder.",
)
@config_options
@output_option
def replay(
    paths: tuple[str, ...],
    read: tuple[str, ...],
    checksums: str | None,
    eve_path: str | None,
    fast_path: str | None,
    workers: int | str | None,
    inline: bool,
    verdicts_path: str | None,
    report_path: str | None,
    pcap_out: str | None,
    config_path: str | None,
    overrides: tuple[str, ...],
    only_rules: tuple[str, ...],
    output: str,
) -> None:
    """Run captures (pcap, pcapng; also compressed) or folders of them through the engine.

    Shows what was found, and from which packet on the fast path would have dropped the source. A capture that ends in
    the middle of a packet is replayed up to there, with a warning.
    """
    if not (paths or read):
        raise UsageError("which capture? Name a file or a folder: ids replay pcaps/")
    config = build_config(
        config_path,
        overrides,
        only_rules,
        decode__checksums=checksums,
        eve__path=eve_path,
        captures__dir=pcap_out,
        fastpath__replay=fast_path,
        engine__workers=workers,
        respond__mode="enforce" if inline else None,
        respond__inspect_dropped=False if inline else None,
        respond__drop_packets=True if inline else None,
    )
    if verdicts_path is not None and config.fastpath.replay == "off":
        raise UsageError("--verdicts needs a fast path, and it is off: --fast-path auto")
    if verdicts_path == "-" and output == "json":
        raise UsageError("--verdicts - and -o json would mix on stdout: write the verdicts to a file")
    collector = None if report_path is None else _collector()
    report = _replayed(find_captures([*paths, *read]), config, verdicts_path, collector)
    if report_path is not None and collector is not None:
        from ids.replay.page.render import write_page  # brings Jinja, which a replay without a page need not wait for

        write_page(report_path, report, collector)
    _show(report, output, story=config.eve.path != "-" and verdicts_path != "-")


def _replayed(
    captures: Sequence[Path], config: Config, verdicts_path: str | None, collector: Collector | None
) -> ReplayReport:
    """Replay captures, with a bar of the progress on a terminal."""
    with _opened(verdicts_path) as verdicts, _progress(captures) as show:
        return run_replay(captures, config, on_progress=show, on_verdicts=_writer(verdicts), collector=collector)


def _collector() -> Collector:
    from ids.replay.page.collect import Collector

    return Collector()


def _writer(verdicts: BinaryIO | None) -> VerdictWriter | None:
    if verdicts is None:
        return None
    from ids.replay.verdicts import VerdictWriter

    return VerdictWriter(verdicts)


@contextmanager
def _progress(captures: Sequence[Path]) -> Iterator[Callable[[Path, int], None] | None]:
    """Show a bar on a terminal, moved by what is yielded; None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with progress:
        sizes = {path: path.stat().st_size for path in captures if path.is_file()}
        task = progress.add_task("reading", total=sum(sizes.values()) or None)
        done = 0
        last: Path | None = None

        def show(path: Path, position: int) -> None:
            nonlocal done, last
            if last is not None and path != last:
                done += sizes.get(last, 0)
            last = path
            progress.update(task, completed=done + position, description=literal(path.name))

        yield show


def _show(report: ReplayReport, output: str, *, story: bool) -> None:
    """Print what came of it; exits with an error where a capture could not be read."""
    for capture in report.captures:
        if capture.problem:
            print_message(f"ids: warning: {capture.problem}")
    if not report.counters.get("rules", {}).get("loaded"):
        print_message(f"ids: warning: {NO_RULES}")
    if output == "json":
        show_json(report)
    elif story:
        from ids.cli.story import show_story  # brings rich, which JSON need not wait for

        show_story(report)
    if any(capture.refused for capture in report.captures):
        sys.exit(CaptureError.exit_code)


@contextmanager
def _opened(path: str | None) -> Iterator[BinaryIO | None]:
    if path is None or path == "-":
        yield None if path is None else sys.stdout.buffer
        return
    try:
        with open(path, "wb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"--verdicts {path}: {error.strerror or error}") from error
