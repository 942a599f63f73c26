"""What is imported or compiled at its first use is then what it would have been at once."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.config import Config, load_document
from ids.later import Later, exported, late_pattern
from ids.source import InvalidDocument, validate
from ids.types import among


def test_a_module_is_imported_when_something_of_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    colours = Later("colorsys")
    assert "colorsys" not in sys.modules
    assert colours.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
    assert colours.rgb_to_hsv is sys.modules["colorsys"].rgb_to_hsv
    with pytest.raises(AttributeError):
        colours.nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        Later("ids.nothing").of_it  # noqa: B018


def test_a_package_exports_what_its_modules_have() -> None:
    found = exported("ids.kernel", {"Reason": "contract"})
    assert found("Reason") is sys.modules["ids.kernel.contract"].Reason
    with pytest.raises(AttributeError, match=r"module 'ids\.kernel' has no attribute 'nothing'"):
        found("nothing")


@given(st.sampled_from(["match", "search", "fullmatch"]), st.text("ab1"))
def test_an_expression_finds_what_it_would(method: str, text: str) -> None:
    now, later = re.compile("(?P<word>[ab]+)1"), late_pattern("(?P<word>[ab]+)1")
    for _ in range(2):  # compiled, and then as it is
        was, found = getattr(now, method)(text), getattr(later, method)(text)
        assert (was and (was.span(), was.groupdict())) == (found and (found.span(), found.groupdict()))
    assert (later.pattern, later.groups) == (now.pattern, now.groups)
    assert later.sub("-", text) == now.sub("-", text)
    assert [each.span() for each in late_pattern("a").finditer(text)] == [
        each.span() for each in re.finditer("a", text)
    ]


def test_flags_count_and_what_is_no_expression_is_refused_at_its_use() -> None:
    assert late_pattern(b"a", re.IGNORECASE).match(b"A")
    broken = late_pattern("(")
    with pytest.raises(re.error):
        broken.match("")


@given(st.lists(st.integers(0, 255), max_size=20), st.lists(st.integers(0, 300), max_size=4))
def test_among_is_what_isin_is(values: list[int], wanted: list[int]) -> None:
    array = np.array(values, np.uint8)
    assert among(array, wanted).tolist() == [value in wanted for value in values]


@pytest.mark.parametrize("given_values", [
    [],
    ["eve.path=x", "eve.types=[alert]", "respond.mode=shadow"],
    ["decode.tunnels.teredo_ports=[3544]"],
    ["protocols.http.memcap_bytes=33554432"],
    ["instance=other", "eve.path=x"],
])  # fmt: skip
def test_groups_that_are_judged_one_by_one_come_to_the_whole_tree(given_values: list[str]) -> None:
    config, document = load_document(None, given_values)
    whole = validate(Config, document)
    assert config == whole
    assert config.model_fields_set == whole.model_fields_set
    assert config.model_dump() == whole.model_dump()


def test_all_faults_of_all_groups_are_reported() -> None:
    with pytest.raises(InvalidDocument) as refused:
        load_document(None, ["eve.nothing=1", "respond.mode=nothing", "eve.types=[]", "nothing=1"])
    assert len(refused.value.errors) >= 3
