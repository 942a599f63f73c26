"""`ids replay`: captures through the whole engine and the fast path."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ids.cli.options import (
    Command,
    build_config,
    config_options,
    count_of,
    output_console,
    output_option,
    print_message,
    show_json,
    styled,
    workers_option,
)
from ids.config import Config
from ids.engine import NO_RULES
from ids.errors import CaptureError, UsageError
from ids.events import Event
from ids.literal import excerpt, literal
from ids.replay import BlockReport, ReplayReport, Tally, VerdictWriter, find_captures
from ids.replay import replay as run_replay
from ids.replay.page.collect import Collector
from ids.respond.uninspected import Uninspected

MAX_ALERTS_SHOWN = 20

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
    collector = None if report_path is None else Collector()
    report = _replayed(find_captures([*paths, *read]), config, verdicts_path, collector)
    if report_path is not None and collector is not None:
        from ids.replay.page.render import write_page  # brings Jinja, which a replay without a page need not wait for

        write_page(report_path, report, collector)
    _show(report, output, story=config.eve.path != "-" and verdicts_path != "-")


def _replayed(
    captures: Sequence[Path], config: Config, verdicts_path: str | None, collector: Collector | None
) -> ReplayReport:
    """Replay captures, with a bar of the progress on a terminal."""
    progress = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with progress, _opened(verdicts_path) as verdicts:
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

        writer = None if verdicts is None else VerdictWriter(verdicts)
        return run_replay(captures, config, on_progress=show, on_verdicts=writer, collector=collector)


def _show(report: ReplayReport, output: str, *, story: bool) -> None:
    """Print what came of it; exits with an error where a capture could not be read."""
    for capture in report.captures:
        if capture.problem:
            print_message(f"ids: warning: {capture.problem}")
    if not report.counters.get("rules", {}).get("loaded"):
        print_message(f"ids: warning: {NO_RULES}")
    if output == "json":
        show_json(dataclasses.asdict(report))
    elif story:
        _story(report)
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


def _story(report: ReplayReport) -> None:
    console = output_console()
    for event in report.alerts[:MAX_ALERTS_SHOWN]:
        where = f"{event['pcap_filename']}  " if len(report.captures) > 1 else ""
        console.print(_alert_line(event, where), soft_wrap=True)
    total = sum(sum(capture.alerts.values()) for capture in report.captures)
    if total > MAX_ALERTS_SHOWN:
        console.print(f"… and {total - MAX_ALERTS_SHOWN} more alerts (all of them: --eve FILE, or -o json)")
    for capture in report.captures:
        for block in capture.blocks:
            where = f"{capture.path}  " if len(report.captures) > 1 else ""
            console.print(styled(("block", "bold"), f"  {where}{_block_line(block)}"), soft_wrap=True)
        for flow in capture.dropped_flows:
            effect = "no later packet of it was dropped"
            if flow.cut_off_from is not None:
                effect = f"the fast path drops {flow.packets} packets of it, from packet {flow.cut_off_from} on"
            ends = f"{flow.src_ip} port {flow.src_port} → {flow.dest_ip} port {flow.dest_port}"
            story = f"   flow {ends}, condemned at packet {flow.ordered_at}: {effect}"
            console.print(styled(("drop", "bold"), story), soft_wrap=True)
    console.print(_fast_path_line(report), soft_wrap=True)
    for line in _uninspected_lines(report):
        console.print(line, soft_wrap=True)
    console.print(_summary(report))


def _uninspected_lines(report: ReplayReport) -> Iterator[Text]:
    """Say how much was not looked at, why, and what to set."""
    if not report.uninspected:
        yield styled(("uninspected", "bold"), "  nothing")
    for row in report.uninspected:
        style = "bold" if row["intended"] else "bold yellow"
        yield styled(("uninspected", style), f"  {Uninspected(**row)}")


def _block_line(block: BlockReport) -> str:
    order = f"{block.network} for {block.ttl_s} s, ordered at packet {block.ordered_at} by sid {block.sid}"
    if block.cut_off_from is None:
        return f"{order}: no later packet of that source met it"
    verb = "drops" if block.mode == "enforce" else "counts (shadow)"
    return f"{order}: the fast path {verb} from packet {block.cut_off_from} on, {block.packets} packets"


def _fast_path_line(report: ReplayReport) -> Text:
    """Say what the fast path made of all packets, what it dropped by reason, and who judged."""
    note = f" ({report.fast_path_note})" if report.fast_path_note else ""
    if report.fast_path == "off":
        return styled(("fast path", "bold"), f"  off{note}")
    totals: dict[str, Tally] = {}
    for capture in report.captures:
        for reason, tally in capture.verdicts.items():
            total = totals.setdefault(reason, Tally())
            total.packets += tally.packets
            total.bytes += tally.bytes
    dropped = {reason: tally.packets for reason, tally in totals.items() if reason.startswith("drop.")}
    passed = sum(tally.packets for tally in totals.values()) - sum(dropped.values())
    reasons = "".join(f", {packets} {reason}" for reason, packets in dropped.items()) or ", none dropped"
    return styled(("fast path", "bold"), f"  {report.fast_path}{note}: {passed} packets pass{reasons}")


def _alert_line(event: Event, where: str) -> Text:
    alert: dict[str, Any] = event["alert"]
    colour = {1: "bold red", 2: "red", 3: "yellow"}.get(alert["severity"], "cyan")
    ports = f":{event['src_port']}" if "src_port" in event else ""
    server = f":{event['dest_port']}" if "dest_port" in event else ""
    evidence = event["ids"]["evidence"]
    proof = f"  {evidence[0]['buffer']}: {excerpt(evidence[0]['excerpt'])}" if evidence else ""
    ends = f"{event['src_ip']}{ports} → {event['dest_ip']}{server}" if "src_ip" in event else "no IP header"
    return styled(
        ("alert", colour), f"  {where}packet {event.get('pcap_cnt', '?')}  {ends}  ",
        (alert["signature"], "bold"), f" (sid {alert['signature_id']}){proof}",
    )  # fmt: skip


def _summary(report: ReplayReport) -> Table | str:
    packets, alerts = report.packets, sum(sum(c.alerts.values()) for c in report.captures)
    if len(report.captures) == 1:
        capture = report.captures[0]
        counts = ((packets, "packet"), (capture.flows, "flow"), (alerts, "alert"), (len(capture.blocks), "block"))
        held = ", ".join(count_of(number, noun) for number, noun in counts)
        return f"{capture.path}: {held} in {report.seconds:.2f} s"
    table = Table(
        "capture", "packets", "flows", "alerts", "blocks",
        caption=f"{count_of(packets, 'packet')}, {count_of(alerts, 'alert')} in {report.seconds:.2f} s", box=None,
    )  # fmt: skip
    for capture in report.captures:
        name = capture.path + (" (not read)" if capture.refused else " (damaged)" if capture.problem else "")
        table.add_row(
            name,
            str(capture.packets),
            str(capture.flows),
            str(sum(capture.alerts.values())),
            str(len(capture.blocks)),
        )
    return table
