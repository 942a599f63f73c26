"""threshold.config: what it does to rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids.rules.language.loader import load_rules
from ids.rules.language.suricata.files import ConfigPaths
from ids.rules.model.ruleset import RuleSet
from ids.types import Action, Rate, Threshold

RULES = """alert tcp any any -> any any (content:"a"; sid:1;)
alert tcp any any -> any any (content:"b"; threshold:type both, track by_rule, count 2, seconds 3; sid:2;)
alert tcp any any -> any any (content:"c"; gid:7; sid:1;)
"""
LIMIT = Threshold("limit", "by_src", 1, 60)
OWN = Threshold("both", "by_rule", 2, 3)


def load(text: str, tmp_path: Path) -> RuleSet:
    (tmp_path / "a.rules").write_text(RULES)
    (tmp_path / "threshold.config").write_text(text)
    return load_rules([tmp_path / "a.rules"], config=ConfigPaths(threshold=str(tmp_path / "threshold.config")))


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ("gen_id 1, sig_id 1", [LIMIT, OWN, None]),
        ("gen_id 1, sig_id 2", [None, LIMIT, None]),
        ("gen_id 0, sig_id 0", [LIMIT, OWN, LIMIT]),
        ("gen_id 7, sig_id 0", [None, OWN, LIMIT]),
        ("gen_id 1, sig_id 9", [None, OWN, None]),
    ],
)
@pytest.mark.parametrize("word", ["threshold", "event_filter"])
def test_alerts_come_less_often(word: str, ids: str, expected: list[Threshold | None], tmp_path: Path) -> None:
    loaded = load(f"# comment\n\n{word} {ids}, type limit, track by_src, \\\n count 1, seconds 60\n", tmp_path)
    assert loaded.errors == ()
    assert [rule.signature.threshold for rule in loaded.rules] == expected


def test_what_is_said_of_one_rule_goes_before_what_is_said_of_all(tmp_path: Path) -> None:
    of_all = "threshold gen_id 0, sig_id 0, type limit, track by_dst, count 5, seconds 5\n"
    of_one = "threshold gen_id 1, sig_id 1, type limit, track by_src, count 1, seconds 60\n"
    for text in (of_all + of_one, of_one + of_all):
        assert load(text, tmp_path).rules[0].signature.threshold == LIMIT


def test_alerts_are_suppressed(tmp_path: Path) -> None:
    loaded = load("suppress gen_id 1, sig_id 1\n", tmp_path)
    assert [rule.signature.state.silent for rule in loaded.rules] == [True, False, False]


@pytest.mark.parametrize(
    ("track", "ends"),
    [("by_src", ["src_ip"]), ("by_dst", ["dst_ip"]), ("by_either", ["src_ip", "dst_ip"])],
)
def test_alerts_of_some_addresses_are_suppressed(track: str, ends: list[str], tmp_path: Path) -> None:
    loaded = load(f"suppress gen_id 1, sig_id 1, track {track}, ip [192.0.2.0/24,198.51.100.1]\n", tmp_path)
    (suppressed,) = loaded.rules[0].signature.suppressed
    assert list(suppressed.ends) == ends
    assert suppressed.runs == ((0xFFFF_C000_0200, 0xFFFF_C000_02FF), (0xFFFF_C633_6401, 0xFFFF_C633_6401))


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "suppress gen_id 1",
        "suppress gen_id 1, sig_id x",
        "suppress gen_id 1, sig_id 1, track by_src",
        "suppress gen_id 1, sig_id 1, track by_foo, ip 192.0.2.1",
        "suppress gen_id 1, sig_id 1, track by_src, ip nowhere",
        "suppress gen_id 1, gen_id 1, sig_id 1",
        "suppress gen_id 1, sig_id [1",
        "threshold gen_id 1, sig_id 1",
        "threshold gen_id 1, sig_id 1, type foo, track by_src, count 1, seconds 1",
        "threshold gen_id 1, sig_id 1, type limit, track by_foo, count 1, seconds 1",
        "rate_filter gen_id 1, sig_id 1, track by_src, count 1, seconds 1",
        "rate_filter gen_id 1, sig_id 1, track by_flow, count 1, seconds 1, new_action drop, timeout 9",
        "rate_filter gen_id 1, sig_id 1, track by_src, count 1, seconds 1, new_action block, timeout 9",
    ],
)
def test_faults_have_their_line(line: str, tmp_path: Path) -> None:
    (error,) = load(f"# comment\n{line}\n", tmp_path).errors
    assert (error.location.path, error.location.line) == (str(tmp_path / "threshold.config"), 2)


def test_a_rate_filter_goes_beside_a_rules_own_threshold(tmp_path: Path) -> None:
    line = "rate_filter gen_id 1, sig_id 2, track by_src, count 3, seconds 4, new_action drop, timeout 9"
    loaded = load(line, tmp_path)
    assert (loaded.errors, loaded.refused) == ((), ())
    assert [rule.signature.rate for rule in loaded.rules] == [None, Rate("by_src", 3, 4, Action.DROP, 9), None]
    assert loaded.rules[1].signature.threshold == OWN
