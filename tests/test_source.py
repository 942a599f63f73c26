"""Reading YAML that people write: each mistake is reported with its place and its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from ids.errors import SourceError
from ids.source import MAX_DEPTH, InvalidDocument, parse_yaml, read_yaml, validate


class Inner(BaseModel, extra="forbid"):
    port: int = 1


class Outer(BaseModel, extra="forbid"):
    name: str = ""
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "f.yaml:2:1: key 'a' is given twice"),
        ("a: &x 1\nb: *x", "f.yaml:2:4: YAML aliases"),
        ("a: 2026-13-40", "f.yaml:1:4: is no valid value: month must be in 1..12"),
        ("a: [1, 2", "f.yaml:2:1: is not valid YAML"),
        ("a:\n\t- 1", "f.yaml:2:1: is not valid YAML"),
        ("[" * (MAX_DEPTH + 1), f"f.yaml:1:{MAX_DEPTH + 1}: is nested deeper"),
        ("? [1]\n: 2", "f.yaml:1:3: key"),
        ("a:\n\t- 1", "f.yaml:2:1: is not valid YAML: found character that cannot start any token (indent with blanks"),
        (b"a: \xff", "f.yaml:1:4: is not UTF-8 at byte 3"),
        (b"a: 1\nb: \xff", "f.yaml:2:4: is not UTF-8 at byte 8"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(text: str | bytes, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_yaml(text, "f.yaml")
    assert str(caught.value).startswith(message)


def test_every_node_has_a_place() -> None:
    document = parse_yaml("rules:\n  - sid: 1\n    tags: [x, y]\n", "f.yaml")
    assert str(document.locate(["rules", 0, "sid"])) == "f.yaml:2:10"
    assert str(document.locate(["rules", 0, "tags"])) == "f.yaml:3:5"
    assert str(document.locate(["rules", 0, "nonesuch"])) == "f.yaml:2:5", "the nearest parent"


def test_all_faults_are_reported_at_once_and_the_nearest_key_is_named() -> None:
    document = parse_yaml("nmae: x\ninner:\n  prot: 5\n  port: abc\n", "f.yaml")
    with pytest.raises(InvalidDocument) as caught:
        validate(Outer, document)
    reported = sorted(str(error) for error in caught.value.errors)
    assert reported[0].startswith("f.yaml:1:7: unknown key 'nmae' (did you mean 'name'?)")
    assert reported[1].startswith("f.yaml:3:9: unknown key 'prot' (did you mean 'port'?)")
    assert reported[2].startswith("f.yaml:4:9: inner.port: input should be a valid integer")


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.yaml: cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)))
def test_hostile_text_never_escapes_as_anything_but_a_source_error(text: str | bytes) -> None:
    try:
        place = parse_yaml(text, "f.yaml").locate(["x"])
    except SourceError as error:
        place = error.location
    assert place.path == "f.yaml"
