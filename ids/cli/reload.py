"""`ids reload`: new rules and settings into a running engine."""

from __future__ import annotations

import sys

import click

from ids.cli.memory import note_deeds
from ids.cli.options import build_config, count_of, instance_options, output_option, print_message, show_json
from ids.control import request, socket_path
from ids.errors import IdsError, UsageError
from ids.store.byhand import Deed

RELOAD_S = 600.0
"""How long to wait for the answer: rules are loaded beside the packets."""


WHICH_ENGINE = ("instance", "engine.runtime_dir", "engine.state_dir")
"""Settings that say which engine is meant, and where its memory is."""


@click.command()
@instance_options
@output_option
def reload(config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Make a running engine read again what it was started with: its `-c`, `--set` and `-S`.

    Rules, variables, response with its allow-list, limits of the fast path, outputs and the settings of plugins take
    effect at once; what was changed besides is named, with what it needs. When something is refused, all of the old
    stays in force. `-c` of this command only says which engine is meant, and so does `--set`: it takes `instance`,
    `engine.runtime_dir` and `engine.state_dir` alone.
    """
    _refuse_settings(overrides)
    try:
        config = build_config(config_path, overrides)
    except IdsError as error:
        print_message(f"ids: not reloaded, a running engine keeps the old settings and rules:\n{error}")
        sys.exit(2)
    path = socket_path(config.engine.runtime_dir, config.instance)
    request(path, "ping")  # whether it answers at all is known at once; how long rules take to load is not
    answer = request(path, "reload", RELOAD_S)
    refused = {"error": answer["error"]} if "error" in answer else {}
    note_deeds(config, [Deed("reload", detail=refused)])
    if output == "json":
        show_json(answer)
    if "error" in answer:
        if output != "json":
            print_message(f"ids: reload refused, the old settings and rules stay in force:\n{answer['error']}")
        sys.exit(2)
    if output == "json":
        return
    click.echo("reloaded")
    if "kernel" in answer:
        print_message(f"ids: but the kernel did not take all of it: {answer['kernel']}")
    if left_out := answer.get("rules_left_out"):
        print_message(f"ids: but {count_of(left_out, 'rule')} left out: `ids rules check` names each, with its cause")
    for failure in answer.get("failed", []):
        print_message(f"ids: but {failure}; see the engine's log, and restart it")
    for changed in answer.get("waiting", []):
        name, now, wanted = changed["setting"], changed["now"], changed["wanted"]
        print_message(f"ids: not in force yet: {name} stays {now}, not {wanted}. To change it: {changed['needs']}")


def _refuse_settings(overrides: tuple[str, ...]) -> None:
    """Raise `UsageError` for a setting that the engine would never hear of."""
    for override in overrides:
        key = override.partition("=")[0]
        if key not in WHICH_ENGINE:
            *others, last = WHICH_ENGINE
            raise UsageError(
                f"--set {override}: a reload changes no setting by itself, it has the engine read again what it was"
                f" started with. Write {key} into the file of its -c, and reload; or restart it with this --set. Here"
                f" --set takes {', '.join(others)} and {last}, to say which engine is meant"
            )
