"""Lists from files: what rules look up in them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from ids.rules.language.loader import load_rules
from ids.rules.model.chain import Chain, Listed
from ids.rules.model.ruleset import RuleSet

HTTP = "alert http any any -> any any (http.host; %s; sid:1;)\n"


def load(option: str, tmp_path: Path) -> RuleSet:
    (tmp_path / "bad.lst").write_bytes(base64.b64encode(b"bad.example") + b"\n")
    (tmp_path / "bad.rep").write_bytes(
        base64.b64encode(b"bad.example") + b",200\n" + base64.b64encode(b"odd.example") + b",5\n"
    )
    (tmp_path / "a.rules").write_text(HTTP % option)
    return load_rules([tmp_path / "a.rules"], cache=tmp_path / "cache")


def listed(option: str, tmp_path: Path) -> Listed:
    loaded = load(option, tmp_path)
    assert loaded.refused == ()
    (chain,) = loaded.rules[0].condition.parts
    assert isinstance(chain, Chain)
    (step,) = chain.steps
    assert isinstance(step, Listed)
    return step


@pytest.mark.parametrize(("action", "negated"), [("isset", False), ("isnotset", True)])
def test_buffers_are_looked_up(action: str, negated: bool, tmp_path: Path) -> None:
    step = listed(f"dataset:{action},bad,type string,load bad.lst,memcap 1mb", tmp_path)
    assert (step.name, step.kind, step.negated) == ("bad", "string", negated)
    assert step.members is not None
    assert [name in step.members for name in (b"bad.example", b"good.example")] == [True, False]


def test_reputations_count_from_a_number_on(tmp_path: Path) -> None:
    step = listed("datarep:bad, >, 100, load bad.rep, type string", tmp_path)
    assert step.members is not None
    assert [name in step.members for name in (b"bad.example", b"odd.example")] == [True, False]


def test_rules_with_lists_are_read_anew_each_time(tmp_path: Path) -> None:
    """For the files of the lists may have changed."""
    for _ in range(2):
        assert listed("dataset:isset,bad,type string,load bad.lst", tmp_path).members is not None
    assert list((tmp_path / "cache").glob("*.rules")) == []


@pytest.mark.parametrize(
    ("option", "cause"),
    [
        ("dataset:set,bad,type string", "dataset set"),
        ("dataset:isset,bad,type string", "dataset without file"),
        ("dataset:isset,bad,type string,load bad.lst,save bad.lst", "dataset save"),
        ("datarep:bad,>,1,type string", "datarep without file"),
        ("dataset:isset,bad,type string,load none.lst", "malformed"),
        ("dataset:isset,bad,type md5,load bad.lst", "malformed"),
        ("dataset:isset,bad,type foo,load bad.lst", "malformed"),
        ("dataset:isset,bad,load bad.lst", "malformed"),
        ("dataset:isset", "malformed"),
        ("datarep:bad,?,1,load bad.rep,type string", "malformed"),
    ],
)
def test_what_cannot_be_looked_up_is_left_out(option: str, cause: str, tmp_path: Path) -> None:
    (refused,) = load(option, tmp_path).refused
    assert refused.cause == cause
