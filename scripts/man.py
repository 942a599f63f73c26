"""Write man pages from the help of the commands, for packages: one for `ids`, and one for each verb.

.venv/bin/python scripts/man.py build/man
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, this file's own folder comes first

from ids import __version__  # noqa: E402
from ids.cli import cli  # noqa: E402

FILES = """\
.SH FILES
.TP
/etc/ids/ids.yaml
Settings of the service; \\fBids init\\fR writes the first ones.
.TP
/var/log/ids/eve.json
Events.
.TP
/sys/fs/bpf/ids
What the kernel keeps between runs: program, lists, counters.
"""
CODES = """\
.SH EXIT STATUS
0 done; 1 a check or test did not hold; 2 bad usage, settings or rules; 3 the kernel side refused.
"""


def escaped(text: str) -> str:
    """Return text as roff that shows it as it is; a verb in backquotes is set in bold."""
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    safe = re.sub(r"`([^`\n]+)`", r"\\fB\1\\fR", safe)
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in safe.split("\n"))


def commands(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield a command and all below it, each with the words that call it."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=words[-1])
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, name
            yield from commands(child, (*words, name))


def page(name: str, listed: Sequence[tuple[tuple[str, ...], click.Command]], see: list[str]) -> str:
    """Return one page; ``listed`` has the command itself first, then those below it."""
    _, command = listed[0]
    parts = [f'.TH "{name.upper()}" "1" "" "ids {__version__}" "ids"\n']
    parts.append(f".SH NAME\n{escaped(name)} \\- {escaped(summary(command))}\n")
    parts.append(".SH SYNOPSIS\n" + ".br\n".join(usage(words, one) for words, one in listed))
    parts.append(f".SH DESCRIPTION\n{paragraphs(command)}")
    parts.append(options(command, ".SH OPTIONS\n"))
    for words, one in listed[1:]:
        parts.append(f'.SH "{escaped(" ".join(words).upper())}"\n{paragraphs(one)}{options(one)}')
    parts.append(CODES + (FILES if name == "ids" else ""))
    parts.append(".SH SEE ALSO\n" + ", ".join(f"\\fB{escaped(other)}\\fR(1)" for other in see) + "\n")
    return "".join(parts)


def summary(command: click.Command) -> str:
    """Return the first sentence of a command's help."""
    text = " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.:]) ", text)[0].rstrip(".")


def usage(words: tuple[str, ...], command: click.Command) -> str:
    """Return one line of the synopsis."""
    context = click.Context(command, info_name=" ".join(words))
    return f"\\fB{escaped(' '.join(words))}\\fR {escaped(' '.join(command.collect_usage_pieces(context)))}\n"


def paragraphs(command: click.Command) -> str:
    """Return a command's help."""
    blocks = inspect.cleandoc(command.help or "").replace("\b\n", "").split("\n\n")
    return ".PP\n".join(f"{escaped(block)}\n" for block in blocks)


def options(command: click.Command, heading: str = "") -> str:
    """Return the list of a command's options."""
    context = click.Context(command)
    rows = [record for option in command.get_params(context) if (record := option.get_help_record(context))]
    listed = "".join(f".TP\n\\fB{escaped(name)}\\fR\n{escaped(about)}\n" for name, about in rows)
    return heading + listed if listed else ""


def pages() -> dict[str, str]:
    """Return each page's file name and text."""
    listed = list(commands(cli, ("ids",)))
    verbs = [words[1] for words, _ in listed if len(words) == 2]
    top = [(words, command) for words, command in listed if len(words) == 1]
    found = {"ids.1": page("ids", top, [f"ids-{verb}" for verb in verbs]) + verb_list(listed)}
    for verb in verbs:
        below = [(words, command) for words, command in listed if words[1:2] == (verb,)]
        found[f"ids-{verb}.1"] = page(f"ids-{verb}", below, ["ids"])
    return found


def verb_list(listed: Sequence[tuple[tuple[str, ...], click.Command]]) -> str:
    """Return the list of all verbs, for the page of `ids` itself."""
    rows = [(words, command) for words, command in listed if len(words) == 2]
    return ".SH COMMANDS\n" + "".join(
        f".TP\n\\fB{escaped(' '.join(words))}\\fR\n{escaped(summary(command))}\n" for words, command in rows
    )


def main(folder: str) -> None:
    """Write all pages into a folder."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (out / name).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
