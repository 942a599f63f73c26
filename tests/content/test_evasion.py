"""A firing test of each rule that ships fires as well when it is said in other segments, packets and connections.

`ids rules test rules/ --evade all` says each in all ways and takes minutes; this is a sample of it.
"""

from __future__ import annotations

from collections import Counter

import pytest

from ids.authoring.companion import companion_tests
from ids.authoring.proving import SAME_BYTES, Ways, proofs_of, prove, says_it_otherwise
from ids.config import load_config
from ids.rules.language.loader import load_rules
from tests.shared import ROOT

pytestmark = pytest.mark.long

WAYS = 8
"""Of some 240 for each test, others for each."""


def test_a_proof_of_each_rule_holds_however_it_is_said() -> None:
    loaded = load_rules([ROOT / "rules"])
    rules = (*loaded.rules, *loaded.yara.rules)
    sids: dict[str, frozenset[int]] = {}
    for rule in rules:
        sids[rule.source.path] = sids.get(rule.source.path, frozenset()) | {rule.signature.sid}
    every = proofs_of(rules, companion_tests(loaded.files, sids, []))
    proofs = [*{proof.sid: proof for proof in reversed(every) if says_it_otherwise(proof, "all")}.values()]
    verdicts = [
        verdict
        for verdict in prove(proofs, load_config(None, [f"rules.paths=[{ROOT / 'rules'}]"]), Ways("all", WAYS))
        if verdict.evasion
    ]
    families = Counter(verdict.evasion.partition(":")[0] for verdict in verdicts if not verdict.skipped)
    assert len(verdicts) == WAYS * len(proofs) > 70 * WAYS
    assert set(families) == set(SAME_BYTES)
    assert [(each.proof.sid, each.proof.test.name, each.evasion) for each in verdicts if not each.held] == []
