"""The walk-through of docs/service.md, as commands: what the page says is what is run."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.shared import ROOT

PAGE = ROOT / "docs/service.md"
TITLE = "The walk-through"
ELSEWHERE = re.compile(r"# on ([0-9.]+), another machine")


class Command(NamedTuple):
    """One line of the page."""

    text: str
    address: str = ""
    """Of the machine that it is run on; empty: the one that is guarded."""


def sections() -> dict[str, tuple[Command, ...]]:
    """Return the commands of the walk-through under their titles, in the order of the page."""
    _, _, after = PAGE.read_text().partition(f"\n## {TITLE}\n")
    walk, _, _ = after.partition("\n## ")
    found = {}
    for section in walk.split("\n### ")[1:]:
        title, _, text = section.partition("\n")
        blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        found[title] = tuple(command for block in blocks for command in commands(block))
    return found


def commands(block: str) -> list[Command]:
    """Return the commands of one block; its first line may name another machine."""
    elsewhere = ELSEWHERE.match(block)
    lines = block.splitlines()[1:] if elsewhere else block.splitlines()
    return [Command(line, elsewhere[1] if elsewhere else "") for line in lines]
