"""Checksums that the network card fills in behind the capture: `auto` notices, early and aloud, and only early."""

from __future__ import annotations

import logging

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from ids.counters import Counters
from ids.decode import Decoder
from ids.decode.decoder import AUTO_BAD, AUTO_PACKETS
from ids.decode.settings import DecodeSettings
from tests.decode.frames import batch_of

GOOD = bytes(Ether() / IP(src="192.0.2.1", dst="203.0.113.1") / TCP(sport=1, dport=80, flags="PA") / b"GET /")
BAD = bytes(Ether() / IP(src="192.0.2.1", dst="203.0.113.1") / TCP(sport=1, dport=80, flags="PA", chksum=1) / b"GET /")


def usable(decoder: Decoder, *frames: bytes) -> int:
    return int(decoder.decode(batch_of(list(frames))).usable.sum())


def test_a_capture_whose_checksums_are_all_wrong_is_read_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    decoder = Decoder(DecodeSettings(), counters)
    with caplog.at_level(logging.WARNING):
        assert usable(decoder, *[BAD] * 50) == 50
    assert counters["decode.checksums_not_verified"] == 1
    assert counters["decode.anomaly.bad_l4_checksum"] == 0
    assert "-k" in caplog.text
    assert usable(decoder, BAD) == 1


def test_a_few_bad_ones_stay_out() -> None:
    decoder = Decoder(DecodeSettings(), Counters())
    assert usable(decoder, *[GOOD] * 20, *[BAD] * (AUTO_BAD - 1)) == 20


def test_one_in_twenty_is_no_offload() -> None:
    decoder = Decoder(DecodeSettings(), Counters())
    assert usable(decoder, *([GOOD] * 19 + [BAD]) * 40) == 19 * 40


def test_later_nobody_can_switch_the_check_off() -> None:
    decoder = Decoder(DecodeSettings(), Counters())
    assert usable(decoder, *[GOOD] * AUTO_PACKETS) == AUTO_PACKETS
    assert usable(decoder, *[BAD] * AUTO_PACKETS) == 0


@pytest.mark.parametrize(("checksums", "expected"), [("all", 0), ("none", 50)])
def test_the_operator_decides(checksums: str, expected: int) -> None:
    decoder = Decoder(DecodeSettings.model_validate({"checksums": checksums}), Counters())
    assert usable(decoder, *[BAD] * 50) == expected
