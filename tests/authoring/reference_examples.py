"""All examples of the reference, as rules that can be loaded together: each has a sid of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from ids.authoring.reference.entries import Entry, entries
from ids.authoring.reference.rules import (
    SID,
    Example,
    buffer_examples,
    in_suricatas,
    keyword_example,
    older_names,
)


def _examples() -> Iterator[tuple[str, Entry, Example]]:
    every = entries()
    for name, keyword in every.keywords().items():
        yield name, keyword, keyword_example(name, keyword)
    for name, buffer in every.buffers.items():
        for example in buffer_examples(name, buffer):
            yield f"{name} in {example.suffix}", buffer, example
    for name, buffer_name in older_names().items():
        buffer = every.buffers[buffer_name]
        yield name, buffer, in_suricatas(buffer_name, buffer, name)


ALL = [(name, entry, example) for name, entry, example in _examples()]
EXAMPLES = {name: example for name, _, example in ALL}
NEWER = {name for name, entry, _ in ALL if entry.newer or entry.ours}
SIDS = {name: SID + 10 * number for number, name in enumerate(EXAMPLES)}
"""Rules that stand before an example have the numbers behind its own."""


def text_of(name: str) -> str:
    """Return an example with its own sid, and a name of its own where its language has names."""
    example, sid = EXAMPLES[name], SIDS[name]
    text = re.sub(rf"\b{SID // 100}(\d\d)\b", lambda found: str(sid + int(found[1]) - 1), example.text)
    return text.replace("rule Example", f"rule N{sid}") if example.suffix == ".yar" else text


class _WithoutAliases(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes no aliases; in C where that is there, which is ten times as fast."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def dumped(value: object) -> str:
    """Return YAML without aliases, which files of rules may not have."""
    text: str = yaml.dump(value, Dumper=_WithoutAliases, sort_keys=False)
    return text
