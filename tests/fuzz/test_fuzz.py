"""Every target runs a while in each test run, and finds what is planted."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from ids.decode import Decoder
from ids.protocols.http.connection import Connection
from tests.fuzz.seeds import Seeds, seeds
from tests.fuzz.targets import TARGETS, PromiseBroken
from tests.shared import ROOT

STEPS = 4


@pytest.fixture(scope="module")
def known() -> Seeds:
    """Few seeds: the project's own captures, and some of the peer's where they are."""
    return Seeds(sorted([*ROOT.glob("pcaps/*.pcap*"), *seeds().paths[:40]]))


@pytest.mark.parametrize("name", TARGETS)
def test_no_promise_is_broken(name: str, known: Seeds) -> None:
    with closing(TARGETS[name](known)) as target:
        assert sum(target.step(np.random.default_rng([20, step])) for step in range(STEPS)) >= STEPS * 64


def test_a_failing_parser_is_found(known: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(*_: object) -> None:
        raise IndexError

    monkeypatch.setattr(Connection, "feed", feed)
    with closing(TARGETS["parsers"](known)) as target, pytest.raises(PromiseBroken, match="http"):
        target.step(np.random.default_rng(1))


def test_a_row_outside_of_the_bytes_is_found(known: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Decoder.decode

    def too_far(self: Decoder, batch: object) -> object:
        packets = decode(self, batch)  # type: ignore[arg-type]
        packets.payload_len[packets.usable] += 1 << 20
        return packets

    monkeypatch.setattr(Decoder, "decode", too_far)
    with closing(TARGETS["decode"](known)) as target, pytest.raises(PromiseBroken, match="outside"):
        target.step(np.random.default_rng(1))
