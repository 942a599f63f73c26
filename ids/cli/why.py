"""`ids why`: why an address is blocked, what is known of it, and what undoes it."""

from __future__ import annotations

import base64
import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack

import click

from ids.cli.alerts import line_of
from ids.cli.listing import shown_blocks
from ids.cli.lists import pins_of
from ids.cli.memory import memory
from ids.cli.options import count_of, instance_options, output_option, show_json, usable_config
from ids.cli.penalties import known
from ids.cli.values import moment, span
from ids.config import Config
from ids.errors import KernelError
from ids.literal import excerpt, literal
from ids.respond.protected import own_addresses
from ids.rules.language.variables import home_net
from ids.state.files import state_folder
from ids.store.asked import asked_of
from ids.store.imports import imported_set
from ids.store.places import Places, opened
from ids.store.queries import Alert, ChangeRow
from ids.store.why import Answer, exception_for, verdict
from ids.store.why import why as answer_of

DUMP_BYTES = 256
"""Bytes of a packet that are shown; `ids alerts show -o json` has all that were kept."""


@click.command()
@click.argument("subject", metavar="ADDRESS|NETWORK|FLOW_ID|ALERT_ID")
@instance_options
@output_option
def why(subject: str, config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Say why an address is blocked, or a flow or an alert was, and what would undo it.

    The block in force with all its claims, its rule and what that saw, what the kernel has counted, the address's
    history, what would have to be true for it not to be blocked, and the commands that lift it. Works without a running
    engine, and with one that hangs. Exit code 1 where nothing blocks it, 3 where the kernel's lists cannot be read.
    """
    config = usable_config(config_path, overrides)
    with ExitStack() as stack:
        places, troubles = _places(config, stack)
        asked = asked_of(subject, places.memory)
        answer = answer_of(asked, places)
    answer.troubles[:0] = troubles
    if output == "json":
        show_json(answer.to_json())
    else:
        options = _options(config_path, overrides)
        for line in _lines(answer, options):
            click.echo(line)
    if not answer.blocks:
        raise SystemExit(KernelError.exit_code if answer.unread else 1)


def _places(config: Config, stack: ExitStack) -> tuple[Places, list[str]]:
    return opened(
        pins_of(config),
        state_folder(config.engine.state_dir, config.instance),
        config.respond,
        stack,
        memory=lambda: stack.enter_context(memory(config)),
        penalties=lambda troubles: known(config, troubles),
        own=own_addresses,
        home=home_net(config.vars),
    )


def _options(config_path: str | None, overrides: tuple[str, ...]) -> str:
    """Return the options of this command that others need to mean the same engine."""
    words = [*(("-c", config_path) if config_path else ()), *(word for one in overrides for word in ("--set", one))]
    return f" {shlex.join(words)}" if words else ""


def _lines(answer: Answer, options: str) -> Iterator[str]:
    network = answer.asked.network
    if answer.asked.about:
        yield f"{answer.asked.about} is about {network}"
        yield ""
    yield verdict(answer, str(network))
    yield from (f"  {line}" for line in shown_blocks(network, answer.blocks, answer.comments) if answer.blocks)
    for part in (_cause, _packet, _history, _alerts, _standing, _conditions):
        yield from part(answer)
    yield ""
    yield "To undo it:" if answer.blocks else "To keep it from being blocked:"
    width = max((len(command) + len(options) for command, _ in answer.undo), default=0)
    for command, does in answer.undo:
        yield f"  {literal(command + options):<{width}}  # {literal(does)}"
    if (exception := exception_for(answer)) is not None:
        sid, text = exception
        yield f"  or except it from rule {sid} by the settings, and `ids reload{options}`:"
        yield from (f"      {literal(line)}" for line in text.splitlines())
    for trouble in answer.troubles:
        yield f"not known: {literal(trouble)}"


def _cause(answer: Answer) -> Iterator[str]:
    cause, alert = answer.cause, answer.alert
    if cause is None and alert is None:
        return
    yield ""
    if cause is not None:
        title, origin, sid, ts_ns = (
            cause.detail.get("signature", ""),
            cause.detail.get("rule", ""),
            cause.sid,
            cause.ts_ns,
        )
    elif alert is not None:
        title, origin, sid, ts_ns = alert.signature, alert.ours.get("rule", ""), alert.sid, alert.ts_ns
    yield f"Rule {sid}: {literal(str(title))}"
    yield f"  at {literal(str(origin)) or 'no file (a plugin)'}, matched {moment(ts_ns)} UTC"
    for piece in answer.evidence:
        yield f"  saw in {literal(str(piece['buffer']))} at {piece['offset']}: {excerpt(str(piece['excerpt']))}"
    if alert is not None:
        yield f"  alert {alert.id}, flow {alert.flow_id}: {literal(_ends(alert))}"


def _ends(alert: Alert) -> str:
    event = alert.event
    src_port, dest_port = ("-" if port is None else port for port in (alert.src_port, alert.dest_port))
    where = f" on {event['in_iface']}" if "in_iface" in event else ""
    protocol = event.get("app_proto", "no known protocol")
    return f"{alert.proto} {alert.src} port {src_port} to {alert.dest} port {dest_port}{where}, {protocol}"


def _packet(answer: Answer) -> Iterator[str]:
    """Show what was kept of packets: `eve.packet`, `eve.payload`."""
    event = answer.alert.event if answer.alert is not None else {}
    for key in ("packet", "payload"):
        if key in event:
            try:
                data = base64.b64decode(event[key])
            except (ValueError, TypeError):
                continue
            yield f"  {key}, {count_of(len(data), 'byte')}:"
            for at in range(0, min(len(data), DUMP_BYTES), 16):
                row = data[at : at + 16]
                text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
                yield f"    {at:04x}  {row.hex(' '):<47}  {text}"
            return


def _history(answer: Answer) -> Iterator[str]:
    if not answer.history:
        return
    yield ""
    yield "What was done, the latest first:"
    for row in answer.history[:10]:
        yield f"  {moment(row.ts_ns)}  {literal(_deed(row))}"
    if len(answer.history) > 10:
        yield "  ... and more before (`-o json` has it)"


def _deed(row: ChangeRow) -> str:
    who = (
        f"by {row.user} (uid {row.uid}): {row.command}" if row.user else f"by rule {row.sid}" if row.sid else row.label
    )
    lasting = f" until {moment(row.until_ns)}" if row.until_ns and row.kind == "block" else ""
    counted = f", after {row.packets:,} packets" if row.packets else ""
    why_not = f" ({row.detail['comment']})" if row.detail.get("comment") else ""
    return f"{row.kind:<9} {row.network or imported_set(row)}{lasting}{counted} {who}{why_not}"


def _alerts(answer: Answer) -> Iterator[str]:
    if not answer.alerts:
        return
    yield ""
    total = sum(count.alerts for count in answer.counts)
    rules = count_of(len(answer.counts), "rule")
    yield f"Alerts, the latest first ({total:,} remembered of what it sent, {rules}):"
    yield from (f"  {line_of(alert)}" for alert in answer.alerts)


def _standing(answer: Answer) -> Iterator[str]:
    if not answer.penalties:
        return
    yield ""
    now_ns = time.time_ns()
    for name, times, until_ns in answer.penalties:
        ends = f"ends in {span(until_ns - now_ns)}" if until_ns > now_ns else f"ended {moment(until_ns)}"
        yield f"Blocked before: {name}, {count_of(times, 'time')}; the latest {ends}. The next block lasts longer."


def _conditions(answer: Answer) -> Iterator[str]:
    yield ""
    yield "It is not dropped, or would not have been blocked, where one of these holds:"
    yield from (f"  [{'x' if condition.holds else ' '}] {condition.text}" for condition in answer.conditions)
