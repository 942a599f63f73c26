"""`ids detach`: take the gate down."""

from __future__ import annotations

import os

import click

from ids.cli.memory import note_deeds
from ids.cli.options import count_of, instance_options, output_option, show_json, usable_config
from ids.control import request, socket_path
from ids.errors import KernelError, NotRunning, UsageError
from ids.kernel.attach.egress import EgressView
from ids.kernel.instance import instance_dir, remove_pins, require_same_namespace
from ids.state.files import state_folder
from ids.state.keeper import forget
from ids.store.byhand import Deed


@click.command()
@instance_options
@output_option
def detach(config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Take this instance's program off all interfaces and forget its lists: nothing is left in the kernel."""
    config = usable_config(config_path, overrides)
    pins = instance_dir(config.fastpath, config.instance)
    if not os.access(pins, os.R_OK | os.W_OK | os.X_OK) and os.geteuid() != 0:
        raise KernelError(f"cannot look into {pins}, or there is none", "Run as root")
    try:
        request(socket_path(config.engine.runtime_dir, config.instance), "stats")
    except NotRunning:
        if EgressView(pins, {}).filtered():  # a link is taken off from anywhere, a filter only where it is
            require_same_namespace(config.fastpath, config.instance)
        removed = remove_pins(pins)
        forget(state_folder(config.engine.state_dir, config.instance))
        if removed:
            note_deeds(config, [Deed("detach", label="")])
    else:
        raise UsageError("the engine is running; stop it first (SIGTERM), then detach")
    if output == "json":
        show_json({"removed": removed})
    else:
        click.echo(f"removed {count_of(len(removed), 'pin')}" if removed else "there was nothing to remove")
