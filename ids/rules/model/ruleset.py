"""What a load of rules comes to, over all languages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ids.errors import RuleError, RuleLeftOut
from ids.rules.model.rule import Rule
from ids.rules.model.yara import YaraSet
from ids.types import Signature

MAX_CAUSES = 20
"""Causes that a summary names; the commonest first."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What was loaded; bad rules are left out. The caller decides whether errors are fatal."""

    rules: tuple[Rule, ...] = ()
    """Those in YAML and in Suricata's language."""
    yara: YaraSet = field(default_factory=YaraSet)
    """The YARA rules."""
    errors: tuple[RuleError, ...] = ()
    """What makes a load fail, of all languages."""
    refused: tuple[RuleLeftOut, ...] = ()
    """Rules in Suricata's language that are left out: bad ones, and those that ask for what is not supported."""
    skipped: int = 0
    """Rules that say themselves that they are for another version of Suricata (``requires``)."""
    warnings: tuple[RuleError, ...] = ()
    files: tuple[str, ...] = ()

    def left_out(self) -> str:
        """Spell how many rules are left out, and why: ``3 left out: keyword geoip 2, malformed 1``; empty for none."""
        if not self.refused:
            return ""
        causes = Counter(rule.cause for rule in self.refused)
        ordered = sorted(causes.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{cause} {number:,}" for cause, number in ordered[:MAX_CAUSES])
        more = f", {len(ordered) - MAX_CAUSES} causes more" if len(ordered) > MAX_CAUSES else ""
        return f"{len(self.refused):,} left out: {shown}{more}"

    def signatures(self) -> Iterator[Signature]:
        """Yield what the rules of all languages are called."""
        yield from (rule.signature for rule in self.rules)
        yield from (rule.signature for rule in self.yara.rules)

    def __len__(self) -> int:
        return len(self.rules) + len(self.yara.rules)
