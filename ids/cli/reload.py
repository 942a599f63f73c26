"""`ids reload`: new rules and settings into a running engine."""

from __future__ import annotations

import sys

import click

from ids.cli.options import build_config, config_options, output_option, show_json
from ids.control import request, socket_path


@click.command()
@config_options
@output_option
def reload(config_path: str | None, overrides: tuple[str, ...], only_rules: tuple[str, ...], output: str) -> None:
    """Make a running engine read its rules and plugin settings anew. When they are refused, the old ones stay."""
    config = build_config(config_path, overrides, only_rules)
    answer = request(socket_path(config.engine.runtime_dir, config.instance), "reload")
    if output == "json":
        show_json(answer)
    if "error" in answer:
        if output != "json":
            click.echo(f"ids: reload refused, the old rules stay in force:\n{answer['error']}", err=True)
        sys.exit(2)
    if output != "json":
        click.echo("reloaded")
