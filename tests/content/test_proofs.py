"""Every proof of a rule, of those that ship and of those in docs/rules.md, as `ids rules test` runs them."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from ids.authoring.companion import companion_tests
from ids.authoring.proving import Proof, Verdict, Ways, proofs_of, prove
from ids.config import load_config
from ids.rules.language.loader import load_rules
from tests.shared import ROOT

_WRITTEN = tempfile.TemporaryDirectory()
DOCUMENTED = Path(_WRITTEN.name)
"""The examples of docs/rules.md, as files."""

for _number, _code in enumerate(re.findall(r"(?ms)^```yaml\n(.*?)^```", (ROOT / "docs/rules.md").read_text())):
    (DOCUMENTED / f"{_number}.yaml").write_text(_code)
    for _name in re.findall(r"file: ([\w.-]+)", _code):
        (DOCUMENTED / _name).write_text("")

PATHS = [ROOT / "rules", DOCUMENTED]
LOADED = load_rules(PATHS)
YARA = {file: frozenset(r.signature.sid for r in LOADED.yara.rules if r.source.path == file) for file in LOADED.files}
BESIDE = companion_tests(LOADED.files, YARA, [])
PROOFS: list[Proof] = proofs_of((*LOADED.rules, *LOADED.yara.rules), BESIDE)
NAMES = [f"{proof.sid} {proof.test.name}" for proof in PROOFS]


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return list(prove(PROOFS, load_config(None, [f"rules.paths=[{', '.join(map(str, PATHS))}]"]), Ways("none")))


@pytest.mark.parametrize("number", range(len(PROOFS)), ids=NAMES)
def test_a_proof_holds(number: int, verdicts: list[Verdict]) -> None:
    verdict = verdicts[number]
    assert verdict.proof == PROOFS[number]
    assert verdict.got == verdict.expected, verdict.note
    assert verdict.held
