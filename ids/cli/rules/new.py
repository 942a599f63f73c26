"""`ids rules new`: the beginning of a rule, with tests."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import click

from ids.authoring.skeleton import LOCAL_SIDS, UNTESTED, Idea, protocol_of, skeleton
from ids.errors import UsageError
from ids.rules.language.impossible import impossible
from ids.rules.language.loader import YAML_SUFFIXES
from ids.rules.model.buffers import CATALOGUE, PARSED, nearest, refusal
from ids.rules.model.rule import Anchor


@click.command("new")
@click.argument("path", required=False, type=click.Path())
@click.option("--title", help="What an alert says.")
@click.option("--buffer", help="Where to look: payload, http.uri, dns.query, tls.sni, ...")
@click.option("--contains", "literal", help="What to look for there.")
@click.option("--sid", type=click.IntRange(1, 2**31 - 1), help="Default: one of those for local rules, at random.")
@click.option(
    "--level", type=click.Choice(["informational", "low", "medium", "high", "critical"]), default="medium",
    show_default=True,
)  # fmt: skip
@click.option("--nocase", is_flag=True, help="Letters count in either case.")
def command(
    path: str | None,
    title: str | None,
    buffer: str | None,
    literal: str | None,
    sid: int | None,
    level: str,
    nocase: bool,
) -> None:
    """Write a rule to begin with, and two tests of it, to a YAML file or stdout. What no option says is asked for.

    Both tests hold as they are: ids rules test FILE. Of a buffer that no stimulus makes, there are none.
    """
    if path not in (None, "-") and not str(path).endswith(YAML_SUFFIXES):
        raise UsageError(f"{path} is no file of YAML: name one that ends in {' or '.join(YAML_SUFFIXES)}")
    title = title or _ask("Title", "--title", "A rule of ours")
    buffer = buffer or _ask("Buffer", "--buffer", "http.uri")
    _check(buffer)
    literal = literal or _ask("What to look for", "--contains", "needle-1234")
    if (never := impossible(buffer, literal.encode(), nocase, Anchor.ANYWHERE)) is not None:
        raise UsageError(f"--contains: {never[0]}: {never[1]}")
    if sid is None:
        sid = random.choice(LOCAL_SIDS)
    text = skeleton(Idea(title, buffer, literal, sid, level, nocase))
    if path is None or path == "-":
        click.echo(text, nl=False)
        return
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already: name another file") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    if UNTESTED in text:
        click.echo(
            f"wrote {path}, without tests; next: record a capture with {buffer} in it, and name it there", err=True
        )
    else:
        click.echo(f"wrote {path}; next: ids rules test {path}", err=True)


def _ask(question: str, option: str, default: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError(f"{option} is needed where nobody can be asked")
    answer: str = click.prompt(question, default=default, err=True)
    return answer


def _check(buffer: str) -> None:
    known = [name for name, one in CATALOGUE.items() if one.protocol is None or one.protocol in PARSED]
    refused = refusal(buffer, [])
    if refused is not None:
        raise UsageError(f"--buffer: {refused[0]}: {refused[1] or nearest(buffer, known)}")
    try:
        protocol_of(buffer)
    except ValueError as error:
        raise UsageError(f"--buffer: {error}") from None
