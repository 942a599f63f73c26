"""What a load of rules comes to, over all languages."""

from __future__ import annotations

from dataclasses import dataclass, field

from ids.errors import RuleError
from ids.rules.model.rule import Rule
from ids.rules.model.yara import YaraSet


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What was loaded; bad rules are left out. The caller decides whether errors are fatal."""

    rules: tuple[Rule, ...] = ()
    """The YAML rules."""
    yara: YaraSet = field(default_factory=YaraSet)
    """The YARA rules."""
    errors: tuple[RuleError, ...] = ()
    """Those of all languages."""
    warnings: tuple[RuleError, ...] = ()
    files: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rules) + len(self.yara.rules)
