"""Loaded rules as plain rows."""

from __future__ import annotations

from typing import Any

from ids.config import Config
from ids.errors import RuleError
from ids.plugin.dissection import impossible_fields
from ids.rules.language.loader import SURICATA_SUFFIXES, load_configured
from ids.rules.model.rule import Rule
from ids.rules.model.ruleset import RuleSet
from ids.rules.paths import cache_directory
from ids.types import Signature

LANGUAGES = ("yaml", "yara", "suricata")


def read_rules(config: Config) -> tuple[list[dict[str, Any]], list[RuleError], RuleSet]:
    """Return the rules that would be loaded as plain rows, the errors, and the load."""
    loaded = load_configured(config.rules, config.vars, cache_directory(config.rules))
    refused = impossible_fields(loaded.rules)
    without = {rule.identity for rule, _ in refused}
    kept = [rule for rule in loaded.rules if rule.identity not in without]
    rows = [_row(rule.signature, sorted(rule.buffers), language_of(rule)) for rule in kept]
    rows += [_row(rule.signature, [rule.scope], "yara") for rule in loaded.yara.rules]
    return rows, [*loaded.errors, *(error for _, error in refused)], loaded


def language_of(rule: Rule) -> str:
    return "suricata" if rule.source.path.endswith(SURICATA_SUFFIXES) else "yaml"


def _row(signature: Signature, buffers: list[str], language: str) -> dict[str, Any]:
    return {
        "sid": signature.sid, "title": signature.title, "severity": signature.severity, "buffers": buffers,
        "source": signature.origin, "language": language,
    }  # fmt: skip
