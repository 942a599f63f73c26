"""Every firing proof of a starter rule fires as well when it is said in other segments, packets and connections."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from ids.authoring.proving import OTHER_BYTES
from ids.authoring.stimuli import DEFAULT_PORT, said, transport
from ids.rules.model.rule import RuleTest
from ids.testing.evade import FAMILIES, evasions
from ids.types import Direction
from tests.content.test_proofs import PROOFS
from tests.testing.evade.detection import find, on_paper, write_capture
from tests.testing.evade.exploits import WEB, Exploit
from tests.testing.evade.known import MISSED
from tests.testing.evade.live import Trial

WAYS = 12
"""Of some 270 for each proof, others for each; all of them for all proofs would be 30,000 connections."""
FILLED = "junk for a place that the window reaches later"
"""Which takes a hundred packets."""


def client_says(proof: RuleTest) -> tuple[list[bytes], int]:
    """Return what the client of a proof says, and the port; nothing where it is about the server's words, UDP, or
    several connections.
    """
    if proof.kind == "probes":
        return [], 0
    parts = said(proof)
    several = proof.stimulus.get("times", 1) > 1
    if (
        several
        or not parts
        or transport(proof) != "tcp"
        or any(part.direction is Direction.TO_CLIENT for part in parts)
    ):
        return [], 0
    return [part.data for part in parts], WEB if proof.kind == "http" else proof.stimulus["port"] or DEFAULT_PORT


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    """Some evasions of every proof of `rules/base` that alerts, other ones for each."""
    families = tuple(family for family in FAMILIES if family != OTHER_BYTES)
    made = []
    for sid, proof in [(each.sid, each.test) for each in PROOFS]:
        words, port = client_says(proof)
        if not proof.alerts or sid >= 1002000 or not words:
            continue
        exploit = Exploit(f"{sid} {proof.name}", tuple(words), b"", sid, port)
        ways = [way for way in evasions(*words, families=families) if way.works_on_linux or way.unchecked]
        ways = [way for way in ways if way.name not in MISSED and way.name != FILLED]
        chosen = sorted(ways, key=lambda way: zlib.crc32(f"{exploit.name} {way.name}".encode()))
        made += [Trial(exploit, way) for way in chosen[:WAYS]]
    return made


def test_every_proof_holds_however_it_is_said(trials: list[Trial], tmp_path: Path) -> None:
    on_paper(trials, 1)
    write_capture(tmp_path / "proofs.pcap", trials)
    found = find(tmp_path / "proofs.pcap")
    assert len(trials) > 50 * WAYS
    assert [trial.name for trial in trials if trial.exploit.sid not in found.get(trial.source, set())] == []
