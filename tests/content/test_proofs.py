"""Every proof that a YAML rule carries, sent through the whole engine as packets, as `ids rules test rules/` does."""

from __future__ import annotations

import pytest

from ids.authoring.proving import Proof, Verdict, proofs_of, prove
from ids.config import load_config
from ids.rules.language.loader import load_rules
from tests.shared import ROOT

PROOFS: list[Proof] = proofs_of(load_rules([ROOT / "rules"]).rules, {})
NAMES = [f"{proof.sid} {proof.test.name}" for proof in PROOFS]


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return list(prove(PROOFS, load_config(None, [f"rules.paths=[{ROOT / 'rules'}]"]), evade="none"))


@pytest.mark.parametrize("number", range(len(PROOFS)), ids=NAMES)
def test_a_proof_holds(number: int, verdicts: list[Verdict]) -> None:
    verdict = verdicts[number]
    assert verdict.proof == PROOFS[number]
    assert verdict.got == verdict.expected, verdict.note
    assert verdict.held
