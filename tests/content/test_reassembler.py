"""Streams are those of an independent reassembler, byte by byte; where they are not, `reassembler.yaml` says why.

Here for some captures, and for all by ``python -m tests.content.reassembler``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, fragment
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from tests.content.reassembler import SUITE, available, captures, differences, of_ours, of_tshark, reasons
from tests.shared import shared

pytestmark = pytest.mark.long

EVERY = 30
"""Of so many captures of the suite one is compared: a call of tshark takes half a second and more."""
MAX_BYTES = 300_000


@pytest.fixture(scope="module", autouse=True)
def _tshark() -> None:
    if not available():
        pytest.skip("tshark is not here: it is a package of the distribution")


def test_some_captures_have_the_same_bytes() -> None:
    shared("suricata-verify")
    chosen = [path for path in captures() if path.stat().st_size < MAX_BYTES][::EVERY]
    assert len(chosen) > 10
    found = {str(path.relative_to(SUITE)): differences(path) for path in chosen}
    assert {name: unlike for name, unlike in found.items() if unlike and name not in reasons()} == {}


def test_each_reason_is_for_a_capture_that_differs() -> None:
    shared("suricata-verify")
    assert [name for name in reasons() if not differences(SUITE / name)] == [], "the same now: take these off the list"


def segment(seq: int, data: bytes = b"", flags: str = "PA", *, back: bool = False, ident: int = 1) -> Packet:
    ends = {"src": "198.51.100.2", "dst": "192.0.2.1"} if back else {"src": "192.0.2.1", "dst": "198.51.100.2"}
    ports = {"sport": 80, "dport": 4000} if back else {"sport": 4000, "dport": 80}
    return IP(id=ident, **ends) / TCP(seq=seq, ack=5001 if not back else 1001, flags=flags, **ports) / Raw(data)


def handshake() -> list[Packet]:
    return [segment(1000, flags="S"), segment(5000, flags="SA", back=True), segment(1001, flags="A")]


def written(path: Path, packets: list[Packet]) -> Path:
    for number, packet in enumerate(packets):
        packet.time = 1_700_000_000 + number / 1000
    wrpcap(str(path), [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet for packet in packets])
    return path


@pytest.mark.parametrize("tunnel", [None, GRE()], ids=["on the wire", "in a tunnel"])
def test_out_of_order_in_fragments_and_twice(tmp_path: Path, tunnel: Packet | None) -> None:
    pieces = fragment(segment(1017, b"third..." * 20, ident=7), 64)
    packets = [
        *handshake(),
        *pieces[::-1],
        segment(1009, b"second.."),
        segment(1001, b"first..."),
        segment(1001, b"first..."),
    ]
    packets += [segment(5001, b"answer", back=True)]
    if tunnel is not None:
        packets = [IP(src="203.0.113.1", dst="203.0.113.2") / tunnel / packet for packet in packets]
    path = written(tmp_path / "made.pcap", packets)
    assert of_ours(path) == of_tshark(path)
    assert sorted(of_ours(path).values()) == [b"answer", b"first...second.." + b"third..." * 20]


def test_a_hole_is_one_for_both(tmp_path: Path) -> None:
    packets = [*handshake(), segment(1001, b"first"), segment(1016, b"third")]
    packets += [segment(5001, b"answer", back=True), segment(5007, flags="FA", back=True)]
    for packet in packets[-2:]:
        packet[TCP].ack = 1021
    path = written(tmp_path / "made.pcap", packets)
    assert differences(path) == []
    assert b"first<10 bytes are missing>third" in of_ours(path).values()
