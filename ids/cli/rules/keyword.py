"""`ids rules keyword`: what a keyword or a buffer does, with an example that works."""

from __future__ import annotations

import click

from ids.authoring.reference.pages import about, names
from ids.errors import UsageError
from ids.rules.model.buffers import nearest


@click.command("keyword")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """Print what a keyword of Suricata's language or a buffer does, and a rule that uses it; without NAME all names.

    The same, for all of them, is in docs/keywords.md and docs/buffers.md.
    """
    if name is None:
        for one in names():
            click.echo(one)
        return
    text = about(name)
    if text is None:
        known = names()
        raise UsageError(f"no keyword and no buffer is called {name!r}: {nearest(name, known) or 'ids rules keyword'}")
    click.echo(text, nl=False)
