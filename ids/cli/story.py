"""What `ids replay` prints for people: alerts, blocks, what the fast path made of packets, what nobody looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from ids.cli.options import count_of, output_console, styled
from ids.events import Event
from ids.literal import excerpt
from ids.replay import BlockReport, ReplayReport, Tally
from ids.respond.uninspected import Uninspected

MAX_ALERTS_SHOWN = 20


def show_story(report: ReplayReport) -> None:
    """Print what a replay found."""
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
