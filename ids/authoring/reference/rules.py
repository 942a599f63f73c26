"""Examples of the reference as rules with tests, in the form that files of rules and their companions have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from ids.authoring.reference.entries import BufferExample, Entry, Keyword, entries
from ids.rules.language.suricata.buffers import MODIFIERS, OLD_NAMES
from ids.rules.model.buffers import CATALOGUE, PAYLOAD

SID = 9_000_001
"""Of the example; rules that stand before it have the numbers behind."""

_PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b'"|;:\\')
"""Bytes that stand for themselves in a content."""

Test = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """A rule, and its tests, of which the first fires and the second does not."""

    suffix: str
    """Of a file of its language: ``.rules``, ``.yaml`` or ``.yar``."""
    text: str
    """The rule; in YAML the item of a list."""
    tests: tuple[Test, Test]


def tests_of(entry: Entry) -> tuple[Test, Test]:
    """Return the tests of an example."""
    every = entries()
    return (
        {"name": "fires", **every.stimulus(entry.fires), "alerts": entry.alerts},
        {"name": "stays silent", **every.stimulus(entry.silent), "alerts": 0},
    )


def keyword_example(name: str, entry: Keyword) -> Example:
    """Return the example of a keyword."""
    rule = f'{entry.header} (msg:"Example of {name}"; {entry.options} sid:{SID}; rev:1;)'
    return Example(".rules", "\n".join([*entry.before, rule]) + "\n", tests_of(entry))


def buffer_examples(name: str, entry: BufferExample) -> Iterator[Example]:
    """Yield the examples of a buffer, one a language."""
    yield _in_yaml(name, entry)
    yield from _in_yara(name, entry)
    yield in_suricatas(name, entry)


def traffic_of(name: str, entry: BufferExample) -> str:
    """Return what the example of a buffer looks at."""
    return entry.traffic or CATALOGUE[name].protocol or "ip"


def in_suricatas(name: str, entry: BufferExample, spelling: str = "") -> Example:
    """Return the example of a buffer in Suricata's language, under an older name where one is given."""
    text = f'content:"{spelt(entry.value)}";'
    if spelling in MODIFIERS:
        options = f"{text} {spelling};"
    elif spelling or name != PAYLOAD:
        options = entry.options or f"{spelling or name}; {text}"
    else:
        options = text
    if entry.flow:
        options = f"flow:{entry.flow}; {options}"
    traffic = traffic_of(name, entry)
    header = f"alert {traffic if '->' in traffic else f'{traffic} any any -> any any'}"
    title = f"Example of {spelling or name}"
    return Example(".rules", f'{header} (msg:"{title}"; {options} sid:{SID}; rev:1;)\n', tests_of(entry))


def older_names() -> dict[str, str]:
    """Return the buffer of each older name and of each modifier that has an example."""
    known = entries().buffers
    return {name: buffer for name, buffer in sorted({**OLD_NAMES, **MODIFIERS}.items()) if buffer in known}


def spelt(value: bytes) -> str:
    """Spell bytes as a content has them."""
    parts: list[str] = []
    for byte in value:
        plain = byte in _PLAIN
        if plain or not parts or not parts[-1].startswith("|"):
            parts.append(chr(byte) if plain else f"|{byte:02x}")
        else:
            parts[-1] += f" {byte:02x}"
    return "".join(part + "|" if part.startswith("|") else part for part in parts)


def _in_yaml(name: str, entry: BufferExample) -> Example:
    value: Any = entry.contains or {"hex": entry.hex}
    rule: dict[str, Any] = {"title": f"Example of {name}", "sid": SID, "traffic": traffic_of(name, entry)}
    if entry.flow:
        rule["flow"] = [entry.flow]
    rule["match"] = [{name: {"contains": value}}]
    return Example(".yaml", flowing([rule], 0), tests_of(entry))


def _in_yara(name: str, entry: BufferExample) -> Iterator[Example]:
    if not entry.yara:
        return
    title = "".join(letter if letter.isalnum() else "_" for letter in name)
    if entry.contains:
        escaped = entry.contains.replace("\\", "\\\\").replace('"', '\\"')
        text = f'"{escaped}"'
    else:
        text = f"{{ {entry.hex} }}"
    meta: dict[str, str | int] = {
        "title": f"Example of {name}", "sid": SID, "scope": "stream" if name == PAYLOAD else name,
        "traffic": traffic_of(name, entry),
    }  # fmt: skip
    if entry.flow:
        meta["flow"] = entry.flow
    lines = [f"        {key} = {json.dumps(value)}" for key, value in meta.items()]
    body = ["    meta:", *lines, "    strings:", f"        $a = {text}", "    condition:", "        $a"]
    yield Example(".yar", "\n".join([f"rule Example_of_{title}", "{", *body, "}"]) + "\n", tests_of(entry))


def flowing(value: Any, indent: int) -> str:
    """Return YAML of a value: blocks outside, each test and condition on a line of its own."""
    text: str = yaml.safe_dump(value, sort_keys=False, width=100_000, default_flow_style=None)
    return "".join(" " * indent + line + "\n" for line in text.splitlines())
