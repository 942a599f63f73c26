"""``dataset`` and ``datarep``: lists from files, and lists that rules learn."""

from __future__ import annotations

import pickle
from base64 import b64encode
from pathlib import Path

import pytest

from ids.rules.language.suricata.builder import AtPlace, Builder
from ids.rules.language.suricata.files import ConfigFiles
from ids.rules.language.suricata.source import RawRule
from ids.rules.language.variables import Variables
from ids.rules.match.conditions import View, holds
from ids.rules.model import lists
from ids.rules.model.rule import Rule
from ids.rules.settings import DEFAULT_VARIABLES
from tests.rules.suricata.making import fault_of

HTTP = "alert http any any -> any any"


@pytest.fixture(autouse=True)
def nothing_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test begin without lists."""
    monkeypatch.setattr(lists, "LEARNED", {})


def rule(options: str, directory: Path) -> Rule:
    """Build a rule of a file in a directory."""
    text = f"{HTTP} (http.user_agent; {options}; sid:1;)"
    path = str(directory / "a.rules")
    return Builder(Variables(DEFAULT_VARIABLES), ConfigFiles()).build(RawRule(text, 1), path)


def has(one: Rule, agent: bytes) -> bool:
    """Judge a rule on a user agent."""
    return holds(one.condition, View(lambda name: (agent,) if name == "http.user_agent" else ()), [])


def test_a_buffer_is_in_a_list_beside_the_rules(tmp_path: Path) -> None:
    (tmp_path / "bad.lst").write_bytes(b64encode(b"evil") + b"\n")
    listed = rule("dataset:isset,bad,type string,load bad.lst", tmp_path)
    others = rule("dataset:isnotset, bad, type string, load bad.lst, memcap 1mb", tmp_path)
    assert (has(listed, b"evil"), has(listed, b"good")) == (True, False)
    assert (has(others, b"evil"), has(others, b"good")) == (False, True)
    assert has(pickle.loads(pickle.dumps(listed)), b"evil")


def test_a_list_of_digests_is_asked_by_a_transform(tmp_path: Path) -> None:
    (tmp_path / "bad.lst").write_text("900150983cd24fb0d6963f7d28e17f72\n")  # of abc
    listed = rule("to_md5; dataset:isset,bad,type md5,load bad.lst", tmp_path)
    assert (has(listed, b"abc"), has(listed, b"abd")) == (True, False)


def test_rules_learn_what_they_see(tmp_path: Path) -> None:
    new = rule("dataset:set,seen,type string", tmp_path)
    known = rule("dataset:isset,seen,type string", tmp_path)
    gone = rule("dataset:unset,seen,type string", tmp_path)
    assert not has(known, b"curl")
    assert [has(new, b"curl"), has(new, b"curl")] == [True, False]
    assert has(known, b"curl")
    assert [has(gone, b"curl"), has(gone, b"curl")] == [True, False]
    assert not has(known, b"curl")


def test_a_list_that_was_named_before_needs_no_type(tmp_path: Path) -> None:
    once = rule("dataset:isnotset, seen, type string, state seen.lst; dataset:set, seen", tmp_path)
    assert [has(once, b"curl"), has(once, b"curl"), has(once, b"wget")] == [True, False, True]


def test_a_state_is_where_learning_begins(tmp_path: Path) -> None:
    assert has(rule("dataset:isnotset,seen,type string,state seen.lst", tmp_path), b"curl")
    (tmp_path / "known.lst").write_bytes(b64encode(b"curl") + b"\n")
    assert has(rule("dataset:isset,known,type string,state known.lst", tmp_path), b"curl")


def test_a_reputation_decides(tmp_path: Path) -> None:
    (tmp_path / "bad.rep").write_bytes(b64encode(b"evil") + b",255\n" + b64encode(b"odd") + b",100\n")
    bad = rule("datarep:bad, >, 200, load bad.rep, type string", tmp_path)
    assert [has(bad, agent) for agent in (b"evil", b"odd", b"good")] == [True, False, False]


def test_a_list_that_is_wrong_refuses_its_rule(tmp_path: Path) -> None:
    with pytest.raises(AtPlace, match=r"none\.lst"):
        rule("dataset:isset,bad,type string,load none.lst", tmp_path)
    (tmp_path / "bad.lst").write_text("!!\n")
    with pytest.raises(AtPlace, match=r"bad\.lst:1"):
        rule("dataset:isset,bad,type string,load bad.lst", tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        "dataset:isset;", "dataset:has,a,type string;", "dataset:isset,a;", "dataset:isset,a,type x;",
        "dataset:isset,a,type string,size 3;", "dataset:isset,a,type string,type md5;", "dataset:set,a,type ip;",
        "dataset:isset,a,type string,load x,format json;", "datarep:a,>;", "datarep:a,>,200,type string;",
        "datarep:a,>=,200,load x,type string;", "datarep:a,>,x,load x,type string;", 'content:"a"; dataset:isset,a;',
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(options: str) -> None:
    assert fault_of(options if options.startswith("content") else f"http.user_agent; {options}", HTTP)[1]
