"""Companions: the tests of rules in languages that have none of their own, in ``x.tests.yaml`` beside ``x.rules``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, StrictInt

from ids.errors import RuleError, SourceError
from ids.rules.language.loader import COMPANION_SUFFIX, YAML_SUFFIXES
from ids.rules.language.schema import ProofSchema
from ids.rules.language.schema_parts import Schema
from ids.rules.model.rule import RuleTest
from ids.source import Document, InvalidDocument, read_yaml, validate

MAX_SIDS = 100_000
"""Rules of one companion."""


class CompanionSchema(Schema):
    """Tests by sid."""

    tests: dict[StrictInt, list[Any]] = Field(max_length=MAX_SIDS)


def companion_of(path: str | Path) -> Path:
    """Return where the tests of a rule file's rules would be."""
    path = Path(path)
    return path.with_name(path.stem + COMPANION_SUFFIX)


def companion_tests(
    files: Iterable[str], sids: Mapping[str, frozenset[int]], errors: list[RuleError]
) -> dict[tuple[str, int], tuple[RuleTest, ...]]:
    """Return the tests in the companions of rule files, by file and sid.

    ``sids`` has the rules of each file. What is wrong becomes an error, also a test of a rule that is not there.
    """
    found: dict[tuple[str, int], tuple[RuleTest, ...]] = {}
    for file in files:
        path = companion_of(file)
        if file.endswith(YAML_SUFFIXES) or not path.is_file():
            continue
        try:
            document = read_yaml(path)
            schema = validate(CompanionSchema, document)
        except InvalidDocument as invalid:
            errors += [RuleError(error.message, error.location, error.remedy) for error in invalid.errors]
            continue
        except SourceError as error:
            errors.append(RuleError(error.message, error.location, error.remedy))
            continue
        for sid, tests in schema.tests.items():
            if sid not in sids.get(file, frozenset()):
                place = document.locate(("tests", sid))
                errors.append(RuleError(f"{file} has no rule with sid {sid}", place, "correct the sid"))
                continue
            found[file, sid] = tuple(_proofs(document, sid, len(tests), errors))
    return found


def _proofs(document: Document, sid: int, count: int, errors: list[RuleError]) -> Iterable[RuleTest]:
    for number in range(count):
        try:
            yield validate(ProofSchema, document, ("tests", sid, number)).proof()
        except InvalidDocument as invalid:
            errors += [RuleError(error.message, error.location, error.remedy) for error in invalid.errors]
