"""Checksums that a device is to fill in.

In a capture: behind it; `auto` notices, early and aloud, and only early. On an interface: never, between virtual ones;
`auto` knows such a checksum by what it holds, packet by packet, and learns nothing from other packets.
"""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, in4_pseudoheader
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import checksum

from ids.counters import Counters
from ids.decode import Decoder
from ids.decode.decoder import AUTO_BAD, AUTO_PACKETS
from ids.decode.settings import DecodeSettings
from ids.types import Anomaly
from tests.decode.frames import anomalies, batch_of, left_to_device

GOOD = bytes(Ether() / IP(src="192.0.2.1", dst="203.0.113.1") / TCP(sport=1, dport=80, flags="PA") / b"GET /")
BAD = bytes(Ether() / IP(src="192.0.2.1", dst="203.0.113.1") / TCP(sport=1, dport=80, flags="PA", chksum=1) / b"GET /")


def live(checksums: str = "auto", counters: Counters | None = None) -> Decoder:
    return Decoder(DecodeSettings.model_validate({"checksums": checksums}), counters or Counters(), live=True)


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


@pytest.mark.parametrize("segment", [UDP(sport=1, dport=53, chksum=1) / b"abc", ICMP(chksum=1) / b"abc"])
def test_of_a_capture_a_datagram_is_read_whatever_its_checksum(segment: Packet) -> None:
    frame = bytes(Ether() / IP(src="192.0.2.1", dst="203.0.113.1") / segment)
    counters = Counters()
    assert usable(Decoder(DecodeSettings(), counters), frame, BAD) == 1
    assert counters["decode.datagram_bad_checksum"] == 1
    assert usable(Decoder(DecodeSettings(checksums="all"), Counters()), frame) == 0
    assert usable(live(), frame) == 0  # there its host drops it, and whoever sends it may lie about who he is


def test_datagrams_count_for_what_the_card_spoils() -> None:
    datagram = bytes(Ether() / IP(src="192.0.2.1", dst="203.0.113.1") / UDP(sport=1, dport=53, chksum=1) / b"abc")
    assert usable(Decoder(DecodeSettings(), Counters()), *[datagram] * 20, BAD) == 21


V4, V6 = IP(src="192.0.2.1", dst="203.0.113.1"), IPv6(src="2001:db8::1", dst="2001:db8::2")
SEGMENTS = [TCP(dport=80, flags="S"), UDP(dport=53)]
"""Of TCP a SYN: it is taken of anybody."""
PARTIAL = [left_to_device(ip / segment / b"data") for ip in (V4, V6) for segment in SEGMENTS]


@pytest.mark.parametrize("frame", PARTIAL)
def test_on_an_interface_a_sum_of_the_pseudo_header_alone_was_left_to_a_device(frame: bytes) -> None:
    counters = Counters()
    assert live("auto", counters).decode(batch_of([frame], 101)).usable.all()
    assert counters["decode.checksum_partial"] == 1


@pytest.mark.parametrize("frame", PARTIAL)
def test_only_auto_and_only_an_interface_takes_it(frame: bytes) -> None:
    batch = batch_of([frame], 101)
    assert anomalies(live("all").decode(batch)) == [Anomaly.BAD_L4_CHECKSUM]
    capture = Decoder(DecodeSettings(), Counters()).decode(batch)
    assert anomalies(capture) == ([Anomaly.BAD_L4_CHECKSUM] if capture.proto[0] == 6 else [Anomaly.NONE])
    assert live("none").decode(batch).usable.all()


def test_on_an_interface_wrong_checksums_never_switch_the_check_off() -> None:
    counters = Counters()
    decoder = live("auto", counters)
    assert usable(decoder, *[BAD] * AUTO_PACKETS) == 0
    assert usable(decoder, BAD, GOOD) == 1
    assert counters["decode.checksums_not_verified"] == 0
    assert counters["decode.anomaly.bad_l4_checksum"] == AUTO_PACKETS + 1


def test_on_an_interface_a_flood_of_right_ones_hides_nobody() -> None:
    decoder = live()
    assert usable(decoder, *[GOOD] * AUTO_PACKETS) == AUTO_PACKETS
    assert decoder.decode(batch_of(PARTIAL, 101)).usable.all()


def test_an_icmp_message_has_no_device_to_leave_its_checksum_to() -> None:
    message = IP(bytes(V4 / ICMP() / b"data"))
    message[ICMP].chksum = 0xFFFF ^ checksum(bytes(in4_pseudoheader(1, message, 12)))
    assert anomalies(live().decode(batch_of([bytes(message)], 101))) == [Anomaly.BAD_L4_CHECKSUM]


addresses4 = st.integers(1, 2**32 - 1).map(lambda n: ".".join(str(n >> shift & 255) for shift in (24, 16, 8, 0)))
addresses6 = st.integers(1, 2**128 - 1).map(
    lambda n: ":".join(f"{n >> shift & 0xFFFF:x}" for shift in range(112, -1, -16))
)
headers = st.builds(lambda src, dst: IP(src=src, dst=dst), addresses4, addresses4) | st.builds(
    lambda src, dst: IPv6(src=src, dst=dst), addresses6, addresses6
)


@settings(deadline=None)
@given(headers, st.sampled_from(SEGMENTS), st.binary(max_size=40), st.integers(0, 7), st.integers(0, 0xFFFF))
def test_just_two_checksums_are_taken(header: Packet, segment: Packet, data: bytes, gap: int, other: int) -> None:
    """The right one and the pseudo header's; Scapy says which they are."""
    right = bytes(header / segment / data)
    partial = left_to_device(header / segment / data)
    at = (40 if IPv6 in header else 20) + (16 if TCP in segment else 6)
    strange = right[:at] + other.to_bytes(2, "big") + right[at + 2 :]
    taken = live().decode(batch_of([right, partial, strange], 101, gap=gap)).usable.tolist()
    absent = UDP in segment and IP in header and other == 0
    assert taken == [True, True, absent or strange in (right, partial)]
