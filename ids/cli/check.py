"""`ids check`: everything that can be refused at a start, without starting."""

from __future__ import annotations

import click

from ids.cli.options import build_config, config_options, count_of, output_option, print_message, show_json
from ids.config import dump_config
from ids.engine import NO_RULES, Engine
from ids.replay import ReplayGate


@click.command()
@click.option("--show", is_flag=True, help="Print the settings as they are in force, defaults included.")
@config_options
@output_option
def check(
    show: bool, config_path: str | None, overrides: tuple[str, ...], only_rules: tuple[str, ...], output: str
) -> None:
    """Check settings, rules and plugins as `ids run` would, without touching an interface.

    What --show prints can be loaded again with `-c`; the verdict goes to stderr then.
    """
    config = build_config(config_path, overrides, only_rules, eve__path=None)
    quiet = config.model_copy(update={"eve": config.eve.model_copy(update={"path": None})})
    engine = Engine(quiet, ReplayGate())
    plugins, rules = engine.plugins.names, engine.counters["rules.loaded"]
    engine.stop()
    if not rules:
        print_message(f"ids: warning: {NO_RULES}")
    if output == "json":
        show_json({"ok": True, "rules": rules, "plugins": plugins, "config": config.model_dump(mode="json")})
        return
    if show:
        click.echo(dump_config(config), nl=False)
    click.echo(f"settings are good; {count_of(rules, 'rule')} loaded; plugins: {', '.join(plugins)}", err=show)
