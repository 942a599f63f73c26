"""Reads the entries of the reference. `tests/authoring/test_reference.py` runs each example."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ids.rules.language.schema import Base64, Hex, Text
from ids.rules.language.schema_parts import Schema
from ids.source import read_yaml, validate

FOLDER = Path(__file__).parent

Stimulus = Mapping[str, Any]
"""A stimulus of a rule's test (`ProofSchema`), such as ``{"http": {"uri": "/"}}``."""


class Entry(Schema):
    """What fires an example, and what does not: a stimulus, or the name of one of the ``sessions``."""

    fires: str | dict[str, Any]
    silent: str | dict[str, Any]
    alerts: int = Field(1, ge=1)
    """Of what fires."""
    newer: bool = False
    """Suricata knows it from a later version than 7.0.10 on."""
    ours: bool = False
    """Suricata does not know it."""


class Keyword(Entry):
    """A keyword of Suricata's language."""

    does: Text
    forms: list[Text] = Field(min_length=1)
    """How its values look."""
    options: Text
    """Of the example; ``msg``, ``sid`` and ``rev`` are added."""
    header: Text = "alert tcp any any -> any any"
    before: list[Text] = Field([])
    """Whole rules that have to stand before it."""
    files: dict[str, str] = Field({})
    """Files that the example, or ``settings``, names, beside it."""
    binary: dict[str, Base64] = Field({})
    """The same, of bytes."""
    settings: dict[str, str | list[str]] = Field({})
    """Of ``rules``, without which the example is left out: names of its files."""


class Group(Schema):
    """Keywords that belong together."""

    title: Text
    about: str = ""
    keywords: dict[str, Keyword]


class BufferExample(Entry):
    """An example of a buffer: one of ``contains`` and ``hex`` stands in it when the example fires."""

    contains: str = ""
    hex: Hex = ""
    traffic: Text | None = None
    """Of the rule; the buffer's protocol where it is not said."""
    flow: Literal["", "to_server", "to_client"] = ""
    options: str = ""
    """How Suricata's language asks, where it is an option with a value; else the buffer is named before a content."""
    forms: list[Text] = Field([])
    """How else such an option looks."""
    yara: bool = True
    """YARA can be asked too: the buffer is not of one packet."""

    @property
    def value(self) -> bytes:
        """What stands in it."""
        return self.contains.encode() or bytes.fromhex(self.hex)


class Entries(Schema):
    """One file, or all of them together."""

    buffers: dict[str, BufferExample] = Field({})
    groups: list[Group] = Field([])
    sessions: dict[str, dict[str, Any]] = Field({})
    """Stimuli that several examples share."""
    refused: dict[str, Text] = Field({})
    """Why a keyword is left out, and what may do instead."""
    awaited: list[Text] = Field([])
    """Names that came with a parser, and have no entry yet."""

    def keywords(self) -> dict[str, Keyword]:
        """Return all keywords by name."""
        return {name: keyword for group in self.groups for name, keyword in group.keywords.items()}

    def stimulus(self, of: str | Stimulus) -> Stimulus:
        """Return a stimulus, also where an entry has the name of a session; raises `KeyError` where there is none."""
        return self.sessions[of] if isinstance(of, str) else of


@cache
def entries() -> Entries:
    """Return all entries, keywords about any traffic first; raises `SourceError` and `InvalidDocument`."""
    files = sorted(FOLDER.glob("*.yaml"), key=lambda path: (path.stem != "keywords", path.stem))
    found = [validate(Entries, read_yaml(path)) for path in files]
    return Entries(
        buffers={name: one for each in found for name, one in each.buffers.items()},
        groups=[group for each in found for group in each.groups],
        sessions={name: one for each in found for name, one in each.sessions.items()},
        refused={name: why for each in found for name, why in each.refused.items()},
        awaited=[name for each in found for name in each.awaited],
    )
