"""What YAML files come to is kept for the next start, and only as long as it would come to the same."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ids.rules.language import yaml_loader
from ids.rules.language.loader import load_rules
from ids.rules.model.patterns import Pattern, PatternError
from ids.rules.model.ruleset import RuleSet
from tests.rules.builders import rule_text

RULES = "rules:\n" + "".join(
    rule_text(match, sid, traffic, more)
    for sid, (match, traffic, more) in enumerate(
        (
            ("[{http.uri: {contains: \"union select\", nocase: true}}]", "http", "level: high\nreferences: [\"a\"]"),
            ("[{http.uri: {regex: \"/x+[yz]\"}}, {any: [{http.host: {equals: b}}, {http.uri: {regex: \"ab+c\"}}]}]",
             "http", "metadata: {a: b}\nthen: drop\nblock: {for: 1h}"),
            ("[{dns.query: {contains: abcdefgh}}]", "dns", "threshold: {type: limit, count: 1, seconds: 60}"),
            ("[{payload: {contains: abcdefgh}}]", "tcp", "set: [{flow: seen}]\nlevel: low"),
            ("[{payload: {contains: xyzxyzxy}}]", "tcp", "when: [{flow: seen}]"),
            ("[{http.uri: {contains: e}}]", "http", ""),  # which is common, as a warning says
        ),
        1,
    )
)  # fmt: skip


class BuiltAgain(Exception):
    """What was kept was not used."""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text(RULES)
    return path


def load(path: Path, **options: Any) -> RuleSet:
    return load_rules([path], cache=path.parent / "cache", **options)


def no_loader(*_: object) -> None:
    raise BuiltAgain


def test_what_is_read_back_is_what_was_read(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field by field, with what is said of the rules; patterns are compiled, as their loader does."""
    first = load(rules)
    assert first.errors == ()
    assert len(first.rules) == 6
    assert any("is common" in warning.message for warning in first.warnings)
    monkeypatch.setattr(yaml_loader, "YamlLoader", no_loader)
    again = load(rules)
    for rule, other in zip(first.rules, again.rules, strict=True):
        for field in fields(rule):
            was, now = getattr(rule, field.name), getattr(other, field.name)
            assert type(now) is type(was)
            assert now == was or repr(now) == repr(was), field.name  # two patterns are never equal
    assert list(map(str, again.warnings)) == list(map(str, first.warnings))


def test_another_text_variable_or_engine_reads_anew(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(rules)
    monkeypatch.setattr(yaml_loader, "YamlLoader", no_loader)
    for options in ({"variables": {"HOME_NET": "192.0.2.0/24"}}, {"engine_version": "9.9.9"}):
        with pytest.raises(BuiltAgain):
            load(rules, **options)
    rules.write_text(RULES.replace("union", "onion"))
    with pytest.raises(BuiltAgain):
        load(rules)


def test_an_error_is_reported_at_each_start(rules: Path) -> None:
    rules.write_text(RULES + rule_text("[{http.uri: {contains: 7}}]", 7, "nonsense"))
    errors = [list(map(str, load(rules).errors)) for _ in range(2)]
    assert errors[0]
    assert errors[0] == errors[1]


@pytest.mark.parametrize("match", [
    "[{http.host: {in_list: {file: names, kind: domain}}}]",
    "[{http.host: {in_list: names}}]",
])  # fmt: skip
def test_a_list_of_another_file_is_read_at_each_start(rules: Path, monkeypatch: pytest.MonkeyPatch, match: str) -> None:
    (rules.parent / "names").write_text("a.example\n")
    lists = "lists: [{name: names, file: names, kind: domain}]\n"
    rules.write_text(lists + "rules:\n" + rule_text(match, 1, "http"))
    assert load(rules).errors == ()
    monkeypatch.setattr(yaml_loader, "YamlLoader", no_loader)
    with pytest.raises(BuiltAgain):
        load(rules)


def test_a_pattern_that_compiles_no_more_is_read_anew(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(rules)

    def refused(*_: object) -> None:
        raise PatternError("too large")

    monkeypatch.setattr(Pattern, "compiled", refused)
    monkeypatch.setattr(yaml_loader, "YamlLoader", no_loader)
    with pytest.raises(BuiltAgain):
        load(rules)
