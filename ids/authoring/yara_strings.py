"""Which strings of a YARA rule stand in data, whatever its condition makes of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yara

from ids.authoring.trace import MARK_BYTES, Finding, Mark
from ids.authoring.words import spelt
from ids.rules.model.yara import YaraRule
from ids.rules.model.yara_parts import compile_part, text_of

_CONDITION = re.compile(r"\bcondition\s*:.*?\}\s*\Z", re.DOTALL)
_STRING = re.compile(r"(\$\w*)\s*=\s*[\"/{]")


class YaraTracer:
    """One YARA rule, by itself."""

    def __init__(self, rule: YaraRule, sources: Mapping[str, str]) -> None:
        self._rule = rule
        self._whole = compile_part(sources, [(rule.namespace, rule.name)])
        text = text_of(sources[rule.namespace], rule.name)
        self._names = list(dict.fromkeys(_STRING.findall(text)))
        self._any: Any = None
        if self._names:
            with contextlib.suppress(yara.Error):
                self._any = yara.compile(source=_CONDITION.sub("condition: any of them }", text), includes=False)

    def trace(self, instances: Sequence[bytes], base: int = 0) -> Finding:
        """Return what became of the rule, with each string that was seen or not; the best of several instances."""
        tries = [self._one(data, base) for data in instances]
        absent = Finding(f"there is no {self._rule.scope}", False)
        return max(tries, key=lambda one: (one.held, one.progress)) if tries else absent

    def _one(self, data: bytes, base: int) -> Finding:
        held = self._whole is not None and any(
            match.rule == self._rule.name for match in self._whole.match(data=data, fast=True)
        )
        seen: dict[str, Finding] = {}
        for match in self._any.match(data=data) if self._any is not None else ():
            for string in match.strings:
                place = string.instances[0]
                mark = _mark(self._rule.scope, data, place.offset, place.offset + len(place.matched_data), base)
                text = f"string {string.identifier}: {spelt(place.matched_data)}"
                seen[string.identifier] = Finding(text, True, mark, progress=1)
        parts = [seen.get(name) or Finding(f"string {name}", False) for name in self._names]
        progress = 1.0 if held else len(seen) / (len(parts) + 1)
        return Finding(f"YARA's condition on {self._rule.scope}", held, parts=parts, progress=progress)


def _mark(buffer: str, data: bytes, start: int, end: int, base: int) -> Mark:
    first = max(0, start - 32) & ~15
    kept = data[first : min(end + 32, first + MARK_BYTES)]
    return Mark(buffer, base + first, kept, start - first, min(end - first, len(kept)), base + len(data))
