"""YARA rules as they are matched: identity and place of each, compiled rules by where they look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ids.errors import RuleError
from ids.rules.model.literals import Needle
from ids.rules.model.rule import Scoped

STREAM = "stream"
"""The scope of rules on the bytes of TCP, one direction as one piece."""


@dataclass(frozen=True, slots=True, eq=False)
class YaraRule(Scoped):
    """A YARA rule's identity and where it looks; its strings and condition live in the compiled rules."""

    name: str
    namespace: str
    scope: str
    level: str
    positional: bool
    """The condition speaks of positions or sizes, so it means something only on data from its first byte on."""
    needles: frozenset[Needle] | None = None
    """Literals of which one stands in the data wherever the rule matches, so that it runs nowhere else; None: such
    literals are not known, and it runs on everything."""


@dataclass(frozen=True, slots=True)
class YaraSet:
    """What was loaded: the rules, and per scope the compiled files that have a rule of it."""

    rules: tuple[YaraRule, ...] = ()
    compiled: Mapping[str, Any] = field(default_factory=dict)
    """`yara.Rules` by scope; a match of a rule of another scope is to be ignored."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Texts of the files by namespace."""
    errors: tuple[RuleError, ...] = ()
    warnings: tuple[RuleError, ...] = ()
