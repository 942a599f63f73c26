"""Events of options and extension headers: each packet has the ones that Suricata 7.0.10 gives it."""

from __future__ import annotations

import shutil
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from ids.decode.noted import rows_with
from ids.decode.option_faults import OPTIONS
from tests.decode.frames import decode
from tests.decode.peer import peer_events

MACS = b"\2" * 12
DATAGRAM = struct.pack(">HHHH", 1, 2, 16, 0) + b"abcdefgh"
BESIDE = "ipv4.opt_unknown"
"""What no version of Suricata ever says; its rule finds here what that of ``ipv4.opt_invalid`` finds."""


def four(options: bytes) -> bytes:
    """Return a frame of IPv4 with these options."""
    options += bytes(-len(options) % 4)
    size = 20 + len(options)
    header = bytes(IP(src="192.0.2.1", dst="198.51.100.2", proto=17, ihl=size // 4, len=size + len(DATAGRAM)))[:20]
    return MACS + b"\x08\0" + header + options + DATAGRAM


def six(*headers: tuple[int, bytes]) -> bytes:
    """Return a frame of IPv6 with these extension headers, each without its first two bytes."""
    body = b""
    for (kind, content), following in zip(headers, [*(kind for kind, _ in headers[1:]), 17], strict=True):
        units = (len(content) + 2) // 4 - 2 if kind == 51 else (len(content) + 2) // 8 - 1
        body += bytes([following, units]) + content
    body += DATAGRAM
    header = bytes(IPv6(src="2001:db8::1", dst="2001:db8::2", nh=headers[0][0], plen=len(body)))[:40]
    return MACS + b"\x86\xdd" + header + body


CASES: list[tuple[bytes, set[str]]] = [
    (four(b"\0\0\0\0" * 2), set()),
    (four(b"\1\1\1\1"), {"ipv4.opt_pad_required"}),
    (four(b"\1\1\1\1\1\1\1\7"), {"ipv4.opt_eol_required"}),
    (four(b"\7\1\0\0" + bytes(4)), {"ipv4.opt_invalid_len"}),
    (four(b"\x33\x09\0\0" + bytes(4)), {"ipv4.opt_invalid_len"}),
    (four(b"\x88\3\0\0" + bytes(4)), {"ipv4.opt_invalid_len"}),
    (four(b"\x19\4\0\0" + bytes(4)), {"ipv4.opt_invalid_len"}),
    (four(b"\x33\4\0\0" + bytes(4)), {"ipv4.opt_invalid"}),
    (four(b"\7\7\4abcd"), set()),
    (four(b"\7\7\5abcd"), {"ipv4.opt_malformed"}),
    (four(b"\x83\7\x10abcd"), {"ipv4.opt_malformed"}),
    (four(b"\x44\x08\5\0abcd"), set()),
    (four(b"\x44\x08\6\0abcd"), {"ipv4.opt_malformed"}),
    (four(b"\x44\x0c\x09\1" + bytes(12)), {"ipv4.opt_malformed"}),
    (four(b"\x86\x0a\0\0\0\1\1\4\0\0" + bytes(6)), set()),
    (four(b"\x86\x0a\0\0\0\1\0\4\0\0" + bytes(6)), {"ipv4.opt_malformed"}),
    (four(b"\x86\x0a\0\0\0\1\1\x09\0\0" + bytes(6)), {"ipv4.opt_malformed"}),
    (four(b"\x88\4\0\1\x88\4\0\1"), {"ipv4.opt_duplicate"}),
    (six((0, b"\5\2\0\0\0\0")), set()),
    (six((0, b"\1\4\0\0\0\0")), {"ipv6.hopopts_only_padding"}),
    (six((60, bytes(6))), {"ipv6.dstopts_only_padding"}),
    (six((0, b"\xc2\4\0\1\0\0" + bytes(8))), {"ipv6.hopopts_only_padding"}),
    (six((60, b"\xc9\x10" + bytes(16) + b"\1\2\0\0")), set()),
    (six((0, b"\x1e\4abcd")), {"ipv6.hopopts_unknown_opt"}),
    (six((60, b"\x1e\4abcd")), {"ipv6.dstopts_unknown_opt"}),
    (six((60, b"\xc9\4abcd")), {"ipv6.exthdr_invalid_optlen"}),
    (six((0, b"\0\0\1\\9ab".replace(rb"\9", b"\x09"))), {"ipv6.exthdr_invalid_optlen", "ipv6.hopopts_only_padding"}),
    (six((0, b"\5\2\0\0\0\0"), (0, b"\x1e\4abcd")), set()),  # the second of them is a fault of its own
    (six((51, bytes(22))), set()),
    (six((51, b"\0\1" + bytes(20))), {"ipv6.exthdr_ah_res_not_null"}),
    (six((51, bytes(22)), (51, b"\1\0" + bytes(20))), {"ipv6.exthdr_ah_res_not_null"}),
]  # fmt: skip


def found_in(*frames: bytes) -> list[set[str]]:
    """Return the events of each frame."""
    packets = decode(*frames, verify=False)
    of = {name: set(rows_with(packets, name).tolist()) for name in OPTIONS}
    return [{name for name, rows in of.items() if row in rows} for row in range(len(frames))]


def test_a_packet_has_the_events_that_suricata_gives_it() -> None:
    found = [events - {BESIDE} for events in found_in(*(frame for frame, _ in CASES))]
    short = {"ipv4.opt_pad_required"}  # of how long the options are in all, so of some packets besides
    wrong = [(frame.hex(), events, expected) for events, (frame, expected) in zip(found, CASES, strict=True)
             if events - short != expected - short]  # fmt: skip
    assert not wrong
    assert short <= found[1]


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed: nothing to compare with")
def test_suricata_says_the_same() -> None:
    frames = [frame for frame, _ in CASES]
    theirs = peer_events(frames, OPTIONS.keys() - {BESIDE})
    assert [theirs.get(number, set()) for number in range(1, len(frames) + 1)] == [
        events - {BESIDE} for events in found_in(*frames)
    ]


def test_every_event_has_a_packet() -> None:
    assert {event for _, events in CASES for event in events} | {BESIDE} == OPTIONS.keys()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.sampled_from([0, 43, 44, 51, 60, 135]))
def test_any_options_can_be_asked(contents: list[bytes], kind: int) -> None:
    headers = [(kind, content + bytes(6 + (-len(content)) % 8)) for content in contents]
    frames = [four(contents[0]), six(*headers), six(*headers)[:-20], six(*headers)[:70], four(contents[0])[:40]]
    assert len(found_in(*frames)) == len(frames)
