"""`ids service`: the engine as a service of this host."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from ids.cli.options import output_option, print_message, show_json, usable_config
from ids.config import load_config
from ids.control import request, socket_path
from ids.errors import IdsError, UsageError
from ids.kernel.instance import guarded_interfaces, instance_dir
from ids.service.install import install, is_booted, run_systemctl, state, this_command, uninstall
from ids.service.unit import CONFIG_PATH, Service, written_by

name_option = click.option("--name", default="ids", show_default=True, help="Name of the unit; one for each instance.")
config_option = click.option(
    "-c", "--config", "config_path", type=click.Path(path_type=Path), default=CONFIG_PATH, show_default=True,
    help="Settings that it runs with.",
)  # fmt: skip


@click.group()
def service() -> None:
    """Make the engine a service of this host that systemd starts and watches."""


@service.command("install")
@name_option
@config_option
@click.option("--console", is_flag=True, help="With a unit for `ids console`, the web console and the metrics.")
@click.option("--feeds", is_flag=True, help="With a timer for `ids feeds update`, where the engine is not to do that.")
@click.option("--now", is_flag=True, help="Start it, too, and wait until it is ready.")
@click.option("--force", is_flag=True, help="Replace files of these names that are not ours.")
@click.option("--print", "only_print", is_flag=True, help="Print the units, and change nothing.")
def install_(
    name: str, config_path: Path, console: bool, feeds: bool, now: bool, force: bool, only_print: bool
) -> None:  # fmt: skip
    """Write systemd units and a logrotate snippet, and have the units started at each boot."""
    wanted = replace(_service(name, config_path), console=console, feeds=feeds)
    if only_print:
        units = [text for path, text in wanted.files().items() if path != wanted.logrotate_path]
        click.echo("\n".join(units), nl=False)
        return
    if not config_path.exists():
        raise UsageError(f"{config_path} does not exist: `ids init` writes one for this host")
    load_config(config_path)  # what a start would refuse is refused here
    for path in install(wanted, force=force):
        click.echo(f"wrote {path}")
    if not is_booted():
        print_message("ids: systemd does not run this host: the files are there, and nothing was enabled or started")
        return
    run_systemctl(["daemon-reload"])
    run_systemctl(["enable", *(["--now"] if now else []), *wanted.enabled])
    for unit in wanted.enabled:
        short = unit.removesuffix(".service")
        click.echo(f"{short} is {'enabled and ready' if now else f'enabled; to start it: systemctl start {short}'}")


@service.command("uninstall")
@name_option
def uninstall_(name: str) -> None:
    """Stop the service and remove what `install` wrote. Settings, logs, lists and state stay, and so does the gate.

    `ids detach` opens the gate.
    """
    wanted = Service(name, ("ids",), CONFIG_PATH, console=True, feeds=True)  # whatever its settings are by now
    there = [unit for unit in reversed(wanted.enabled) if wanted.unit_path.with_name(unit).exists()]
    if is_booted() and there:
        run_systemctl(["disable", "--now", *there])
    removed = uninstall(wanted)
    for path in removed:
        click.echo(f"removed {path}")
    if removed and is_booted():
        run_systemctl(["daemon-reload"])
    if not removed:
        print_message(f"ids: no service {name} was installed by `ids service install`")


@service.command()
@name_option
@config_option
@output_option
def status(name: str, config_path: Path, output: str) -> None:
    """Say how the service stands: what systemd knows of it, whether the engine answers, and what the gate guards.

    Exits 1 where it does not run.
    """
    settings = usable_config(str(config_path) if config_path.exists() else None, ())
    systemd = state(Service(name, this_command(), config_path.absolute()))
    try:
        answers = bool(request(socket_path(settings.engine.runtime_dir, settings.instance), "ping"))
    except IdsError:
        answers = False
    try:
        guarded = guarded_interfaces(instance_dir(settings.fastpath, settings.instance))
    except OSError:
        guarded = []
    if output == "json":
        show_json({"name": name, "systemd": systemd, "answers": answers, "attached": guarded})
    else:
        active = f"{systemd.get('ActiveState', 'unknown')} ({systemd.get('SubState', 'systemd cannot be asked')})"
        click.echo(f"systemd   {active}, at boot: {systemd.get('UnitFileState') or 'not installed'}")
        if text := systemd.get("StatusText"):
            click.echo(f"status    {text}")
        if systemd.get("NRestarts", "0") != "0":
            click.echo(f"restarts  {systemd['NRestarts']}, the last for: {systemd.get('Result')}")
        click.echo(f"engine    {'answers' if answers else 'does not answer'}")
        click.echo(f"gate      {', '.join(guarded) if guarded else 'nothing is attached'}")
    sys.exit(0 if answers else 1)


def _service(name: str, config_path: Path) -> Service:
    wanted = Service(name, this_command(), config_path.absolute())
    if not config_path.exists():
        return wanted
    settings = load_config(config_path)
    wanted = replace(wanted, pin_dir=settings.fastpath.pin_dir, writes=written_by(settings))
    log = settings.eve.path
    return wanted if log in (None, "-") else replace(wanted, log_dir=Path(str(log)).absolute().parent)
