"""`ids completion`: what makes a shell complete verbs, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete `ids`: bash, zsh or fish.

    eval "$(ids completion bash)"; eval "$(ids completion zsh)"; ids completion fish | source.
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell
    complete = kind(click.Group(), {}, "ids", "_IDS_COMPLETE")
    # Not source(), which runs the shell to ask for its version: a package is built where it may be missing.
    click.echo(complete.source_template % complete.source_vars())
