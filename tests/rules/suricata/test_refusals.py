"""Mutated rules: none is lost, and none loads in silence that Suricata refuses."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest

from tests.fuzz.seeds import seeds
from tests.rules.suricata import refusals_oracle


def test_each_rule_loads_or_is_refused_with_a_reason() -> None:
    found = refusals_oracle.ours(refusals_oracle.mutants(seeds().rules, 400, np.random.default_rng(8)))
    assert len(found.refused) > 100
    assert all(found.refused.values())


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed")
def test_suricata_refuses_what_does_not_load() -> None:
    """But for numbers in hexadecimal, empty metadata and the like, whose meaning is clear: 1 in 1,000."""
    rules = refusals_oracle.mutants(seeds().rules, 1000, np.random.default_rng(9))
    kinds = Counter(word for word, _, _ in refusals_oracle.compare(rules))
    assert kinds["both"] > 50
    assert kinds["MORE"] <= 5
