"""Converts rules in Suricata's language to YAML. Each is read back: only what comes out the same is written."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ids.authoring.canonical import canonical
from ids.authoring.likeness import differences
from ids.authoring.spelling import Spelled, Unsayable, rule_in_yaml
from ids.errors import RuleError, RuleLeftOut
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.files import ConfigFiles, ConfigPaths, read_config_files, read_text
from ids.rules.language.suricata.loader import MAX_FILE_BYTES, SuricataLoader
from ids.rules.language.suricata.source import header_of, raw_rules
from ids.rules.language.variables import Variables
from ids.rules.language.yaml_loader import YamlLoader
from ids.rules.model.patterns import Pattern, Patterns
from ids.rules.model.rule import Rule
from ids.rules.settings import DEFAULT_VARIABLES
from ids.version import __version__

BATCH = 1000
"""Rules that are read back together: a file has at most 16 MiB (`ids.source.MAX_BYTES`)."""


@dataclass(frozen=True, slots=True)
class NotConverted:
    """A rule that YAML cannot say, and why."""

    rule: Rule
    reason: str


@dataclass(slots=True)
class Imported:
    """What became of a file."""

    text: list[str] = field(default_factory=list)
    """Each rule that was converted, as YAML."""
    converted: list[Rule] = field(default_factory=list)
    not_converted: list[NotConverted] = field(default_factory=list)
    left_out: Sequence[RuleLeftOut] = ()
    """Rules that could not be loaded at all."""
    errors: list[RuleError] = field(default_factory=list)

    def document(self) -> Iterator[str]:
        """Yield the YAML file, piece by piece."""
        yield f"required_engine_version: {__version__}\n\nrules:\n"
        for text in self.text:
            yield text + "\n"


class _Deferred(Patterns):
    """Compiles nothing: the expressions have been read once, and are compiled when the rules are loaded."""

    def compile(self, text: str, nocase: bool = False, *_: Any, **__: Any) -> Pattern:
        """Return a pattern that only says what it is."""
        return Pattern(text, nocase)


def import_rules(
    path: str, variables: Mapping[str, str | list[str]] | None = None, config: ConfigPaths | None = None
) -> Imported:
    """Convert a file of rules in Suricata's language."""
    found = Imported()
    known = Variables({**DEFAULT_VARIABLES, **(variables or {})})
    beside = ConfigFiles() if config is None else read_config_files(config, found.errors)
    loader = SuricataLoader(known, beside)
    loader.open(path)
    found.errors += loader.errors
    found.left_out = loader.left_out
    if found.errors:
        return found
    spelt = _traffic(path)
    batch: list[tuple[Rule, str]] = []
    for rule in map(canonical, loader.rules()):
        try:
            batch.append((rule, rule_text(rule_in_yaml(rule, spelt[rule.source.line, rule.traffic.protocol]))))
        except Unsayable as why:
            found.not_converted.append(NotConverted(rule, str(why)))
        if len(batch) >= BATCH:
            _read_back(batch, known, found)
            batch = []
    _read_back(batch, known, found)
    return found


class _Spelt(dict[tuple[int, str], str]):
    """The traffic of rules by line and protocol, as their headers have it."""

    def __init__(self, words: Mapping[int, Sequence[str]]) -> None:
        self._words = words

    def __missing__(self, key: tuple[int, str]) -> str:
        line, protocol = key
        _, _, src, sport, arrow, dst, dport = self._words[line]
        arrow = "<>" if arrow == "<>" else "->"
        return " ".join((protocol, _group(src), _group(sport), arrow, _group(dst), _group(dport)))


def _traffic(path: str) -> _Spelt:
    words: dict[int, Sequence[str]] = {}
    for raw in raw_rules(read_text(path, [], MAX_FILE_BYTES)):
        try:
            header = header_of(raw.text)
        except Malformed:
            continue
        words[raw.place(header.offsets[0])[0]] = header.words
    return _Spelt(words)


def _group(word: str) -> str:
    word = "".join(word.split())
    return f"[{word}]" if "," in word and not word.startswith(("[", "![")) else word


def rule_text(spelled: Spelled) -> str:
    """Return a rule as text, an item of ``rules:``."""
    lines = []
    for key, value in spelled.items():
        lines.append(f"    {key}:" + _block(key, value))
    return "  - " + "\n".join(lines)[4:] + "\n"


def _block(key: str, value: Any) -> str:
    if key == "match":
        return "".join(f"\n      - {_condition(each)}" for each in value)
    if key in ("metadata", "references", "when"):
        items = value.items() if isinstance(value, dict) else ((None, each) for each in value)
        return "".join(
            f"\n      {_scalar(name)}: {_flow(each)}" if name is not None else f"\n      - {_flow(each)}"
            for name, each in items
        )
    return f" {_flow(value)}"


def _condition(condition: Spelled) -> str:
    (name, value), *more = condition.items()
    if more or not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        return ", ".join(f"{_scalar(name)}: {_flow(value)}" for name, value in condition.items())
    return f"{_scalar(name)}:" + "".join(f"\n          - {_flow(each)}" for each in value)


def _flow(value: Any) -> str:
    """Spell a value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(name)}: {_flow(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return _scalar(value)
    return json.dumps(value)


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_AND = _PLAIN | frozenset("0123456789_.-")
_WORDS = frozenset(("yes", "no", "on", "off", "true", "false", "null", "y", "n"))


def _scalar(text: str) -> str:
    """Spell a text: as it is where YAML has no other meaning for it, in quotes else."""
    if text and text[0] in _PLAIN and _AND.issuperset(text) and text.lower() not in _WORDS:
        return text
    if text.isprintable() and text.isascii() and "\\" in text and "'" not in text:
        return f"'{text}'"  # a regular expression reads better as it is
    return json.dumps(text).replace("\x7f", "\\x7f")


def _read_back(batch: Sequence[tuple[Rule, str]], variables: Variables, found: Imported) -> None:
    """Load what was written, and keep what comes out as it was."""
    if not batch:
        return
    lines, at = [], 2
    for _, text in batch:
        lines.append(at)
        at += text.count("\n")
    with tempfile.TemporaryDirectory(prefix="ids-import-") as folder:
        path = Path(folder, "batch.yaml")
        path.write_text("rules:\n" + "".join(text for _, text in batch))
        loader = YamlLoader(variables, __version__, _Deferred())
        loader.open(str(path))
        again = {(rule.signature.gid, rule.signature.sid): rule for rule in loader.rules()}
    for place, (rule, text) in enumerate(batch):
        signature = rule.signature
        other = again.get((signature.gid, signature.sid))
        if other is None:
            end = lines[place + 1] if place + 1 < len(lines) else at
            why = _first(loader.errors, lines[place], end)
            found.not_converted.append(NotConverted(rule, f"refused: {why}"))
        elif unlike := differences(rule, other):
            found.not_converted.append(NotConverted(rule, f"comes out otherwise: {', '.join(unlike)}"))
        else:
            found.converted.append(rule)
            found.text.append(text)


def _first(errors: Iterable[RuleError], first: int, end: int) -> str:
    """Return what the first error within some lines says, without values."""
    for error in errors:
        if first <= error.location.line < end:
            return error.message
    return next((error.message for error in errors if not error.location.line), "it has not come back")
