"""The rules that ship: they load, say who they are, prove themselves, and block only where that is certain."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ids.authoring.companion import companion_tests
from ids.errors import RuleError
from ids.rules.language.loader import COMPANION_SUFFIX, load_rules
from ids.rules.model.ruleset import RuleSet
from ids.rules.model.yara import YaraSet
from tests.shared import ROOT

FOLDERS = [ROOT / "rules" / "base", ROOT / "rules" / "policy"]
RANGES = {"yaml": range(1000001, 1001001), "yara": range(1001001, 1002001), "policy": range(1002001, 1003001)}

WITHOUT_RARE_LITERAL = {1000042, 1000061, 1000066, 1000067, 1000083, 1000085, 1000101, 1000144, 1002002}
"""Rules whose alternatives have no rare bytes in common; another one that joins them should be a decision."""

CERTAIN = {
    1000001, 1000021, 1000022, 1000062, 1000069, 1000070, 1000081, 1000083, 1000101, 1000102, 1000103, 1000104, 1000105,
    1000121, 1000122, 1000123, 1000124, 1000125, 1000126, 1000127, 1000128, 1000141, 1000145, 1000181, 1000182,
}  # fmt: skip
"""Rules that may cut a source off. One more is a decision, and a false block is an outage."""


def documents() -> list[tuple[str, dict[str, Any]]]:
    """Return every YAML rule as written, with the name of its folder."""
    return [
        (path.parent.name, rule)
        for folder in FOLDERS
        for path in sorted(folder.glob("*.yaml"))
        if not path.name.endswith(COMPANION_SUFFIX)
        for rule in yaml.safe_load(path.read_text())["rules"]
    ]


YAML_RULES = documents()
SIDS = [str(rule["sid"]) for _, rule in YAML_RULES]


@pytest.fixture(scope="module")
def loaded() -> RuleSet:
    return load_rules(FOLDERS)


@pytest.fixture(scope="module")
def yara() -> YaraSet:
    return load_rules(FOLDERS).yara


def test_every_rule_loads(loaded: RuleSet, yara: YaraSet) -> None:
    assert [str(error) for error in (*loaded.errors, *yara.errors)] == []
    assert len(loaded.rules) == len(YAML_RULES)
    assert len(yara.rules) >= 20


def test_every_file_is_read(loaded: RuleSet) -> None:
    shipped = {path for folder in FOLDERS for path in folder.iterdir() if not path.name.endswith(COMPANION_SUFFIX)}
    assert {Path(file) for file in loaded.files} == shipped


def test_warnings_are_those_that_were_accepted(loaded: RuleSet, yara: YaraSet) -> None:
    unexpected = [
        str(warning)
        for warning in (*loaded.warnings, *yara.warnings)
        if not any(f"sid {sid}:" in warning.message for sid in WITHOUT_RARE_LITERAL)
    ]
    assert unexpected == []


def test_identities_are_unique_and_in_range(yara: YaraSet) -> None:
    ids = [uuid.UUID(rule["id"]) for _, rule in YAML_RULES]
    ids += [uuid.UUID(rule.signature.metadata["id"][0]) for rule in yara.rules]
    assert len(set(ids)) == len(ids)
    assert {number.version for number in ids} == {4}
    for folder, rule in YAML_RULES:
        assert rule["sid"] in RANGES["policy" if folder == "policy" else "yaml"]
    assert all(rule.signature.sid in RANGES["yara"] for rule in yara.rules)


@pytest.mark.parametrize(("folder", "rule"), YAML_RULES, ids=SIDS)
def test_a_rule_says_what_an_operator_asks(folder: str, rule: Mapping[str, Any]) -> None:
    for key in (
        "title",
        "level",
        "status",
        "description",
        "references",
        "tags",
        "falsepositives",
        "classtype",
        "traffic",
    ):
        assert rule.get(key), key
    assert rule["author"] == "the project"
    assert any(tag.startswith("attack.t") for tag in rule["tags"])
    assert rule["flow"]


@pytest.mark.parametrize(("folder", "rule"), YAML_RULES, ids=SIDS)
def test_a_rule_carries_a_firing_case_and_a_near_miss(folder: str, rule: Mapping[str, Any]) -> None:
    alerts = [proof["alerts"] for proof in rule["tests"]]
    assert 0 in alerts
    assert max(alerts) > 0


def test_a_yara_rule_has_a_firing_case_and_a_near_miss(loaded: RuleSet, yara: YaraSet) -> None:
    sids: dict[str, set[int]] = {}
    for rule in yara.rules:
        sids.setdefault(rule.source.path, set()).add(rule.signature.sid)
    errors: list[RuleError] = []
    beside = companion_tests(loaded.files, {file: frozenset(some) for file, some in sids.items()}, errors)
    assert errors == []
    for rule in yara.rules:
        alerts = [test.alerts for test in beside.get((rule.source.path, rule.signature.sid), ())]
        assert 0 in alerts, rule.name
        assert 1 in alerts, rule.name


def test_yara_rules_say_what_an_operator_asks(yara: YaraSet) -> None:
    for rule in yara.rules:
        about = rule.signature.metadata
        assert about["author"] == ["the project"], rule.name
        assert about["falsepositives"], rule.name
        assert "attack.t" in about["tags"][0], rule.name
        assert rule.signature.references, rule.name
        assert rule.signature.classtype, rule.name


def test_only_certain_rules_block_and_only_proven_sources(loaded: RuleSet, yara: YaraSet) -> None:
    blocking = {rule.signature.sid: rule.signature.block for rule in loaded.rules if rule.signature.block}
    assert set(blocking) == CERTAIN
    for sid, block in blocking.items():
        assert block is not None
        assert (block.target, block.ttl_s, block.require_proven) == ("src_ip", 3600, True), sid
    assert all(rule.signature.block is None for rule in yara.rules)
