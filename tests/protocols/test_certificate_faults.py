"""Each certificate has the event that Suricata 7.0.10 gives it, and none has more than one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap

from ids.protocols.tls.certificate_faults import FAULTS, fault_of
from tests.protocols import handshakes as hs


def der(tag: int, *parts: bytes) -> bytes:
    """Return an element of DER."""
    body = b"".join(parts)
    size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + size + body


def name(text: bytes) -> bytes:
    """Return a distinguished name."""
    return der(0x30, der(0x31, der(0x30, der(6, b"\x55\4\3"), der(0x0C, text))))


ALGORITHM = der(0x30, der(6, bytes.fromhex("2a864886f70d01010b")), b"\5\0")
KEY = der(0x30, ALGORITHM, der(3, b"\0" + bytes(40)))
BEGIN, END = der(0x17, b"200101000000Z"), der(0x17, b"300101000000Z")
CONSTRAINT = der(0x30, der(6, b"\x55\x1d\x13"), der(4, der(0x30)))
PARTS = {
    "version": der(0xA0, der(2, b"\2")), "serial": der(2, b"\x12"), "algorithm": ALGORITHM, "issuer": name(b"one"),
    "validity": der(0x30, BEGIN, END), "subject": name(b"other"), "key": KEY,
    "extensions": der(0xA3, der(0x30, CONSTRAINT)),
}  # fmt: skip


def certificate(**other: bytes) -> bytes:
    """Return a certificate with other parts in place of some."""
    signed = der(0x30, *(other.get(part, right) for part, right in PARTS.items()))
    return der(0x30, signed, other.get("signed_by", ALGORITHM), other.get("signature", der(3, b"\0" + bytes(40))))


TEXT = der(4, b"abc")
CASES: list[tuple[bytes, str]] = [
    (certificate(), ""),
    (certificate(version=b""), ""),
    (certificate(version=der(0xA0, der(4, b"\2"))), "certificate_invalid_version"),
    (certificate(version=der(0xA0)), "certificate_invalid_version"),
    (certificate(version=der(0xA0, der(2, b"\1" * 9))), "certificate_invalid_version"),
    (certificate(serial=TEXT), "certificate_invalid_serial"),
    (certificate(serial=b""), "certificate_invalid_serial"),
    (certificate(algorithm=der(2, b"\1")), "certificate_invalid_der"),
    (certificate(algorithm=der(0x30)), "certificate_invalid_length"),
    (certificate(algorithm=der(0x30, TEXT)), ""),
    (certificate(algorithm=der(0x30, der(0x30, TEXT))), "certificate_invalid_algorithmidentifier"),
    (certificate(algorithm=der(0x30, b"\6\x80\0\0")), "certificate_invalid_algorithmidentifier"),
    (certificate(algorithm=der(0x30, der(6, b"\x2a\3"))), ""),
    (certificate(algorithm=der(0x30, der(6, b"\x2a\3"), b"\5\x7f")), "certificate_invalid_length"),
    (certificate(algorithm=der(0x30, der(6, b"\x2a\3"), b"\5\x80")), "certificate_invalid_der"),
    (certificate(issuer=TEXT), "certificate_invalid_der"),
    (certificate(issuer=der(0x30, TEXT)), ""),
    (certificate(subject=TEXT), "certificate_invalid_der"),
    (certificate(validity=der(0x30, der(0x17, b"abc"), END)), "certificate_invalid_date"),
    (certificate(validity=der(0x30, der(0x17, b"201301000000Z"), END)), "certificate_invalid_date"),
    (certificate(validity=der(0x30, der(0x17, b"2001010000Z"), END)), ""),
    (certificate(validity=der(0x30, BEGIN)), "certificate_invalid_date"),
    (certificate(validity=TEXT), "certificate_invalid_der"),
    (certificate(key=TEXT), "certificate_invalid_der"),
    (certificate(key=der(0x30, ALGORITHM, TEXT)), "invalid_certificate"),
    (
        certificate(key=der(0x30, der(0x30, der(0x30)), der(3, b"\0" + bytes(40)))),
        "certificate_invalid_algorithmidentifier",
    ),
    (certificate(signed_by=der(0x30, der(0x30))), "certificate_invalid_algorithmidentifier"),
    (certificate(extensions=der(0xA3, TEXT)), "certificate_invalid_der"),
    (certificate(extensions=der(0xA3, der(0x30, TEXT))), "invalid_certificate"),
    (certificate(extensions=der(0xA4, der(0x30))), "certificate_invalid_extensions"),
    (certificate(signed_by=TEXT), "certificate_invalid_der"),
    (certificate(signature=TEXT), "invalid_certificate"),
    (certificate(signature=b""), "invalid_certificate"),
    (certificate()[:-20], "invalid_certificate"),
    (certificate() + b"behind", ""),
    (TEXT, "certificate_invalid_der"),
    (der(0x30), "certificate_invalid_length"),
    (b"\x30", "certificate_invalid_length"),
    (b"\xff" * 40, "certificate_invalid_der"),
]


@pytest.mark.parametrize(("data", "event"), CASES)
def test_a_certificate_has_the_event_that_suricata_gives_it(data: bytes, event: str) -> None:
    assert fault_of(data).decode().removeprefix("tls.") == event


def talk(number: int, data: bytes) -> list[Packet]:
    """Return a connection in which the server sends a certificate."""
    steps = [
        ("c", "S", b""), ("s", "SA", b""), ("c", "A", b""), ("c", "PA", hs.record(hs.client_hello())),
        ("s", "PA", hs.server_side(data)), ("c", "FA", b""), ("s", "FA", b""), ("c", "A", b""),
    ]  # fmt: skip
    said, packets = {"c": 1000, "s": 5000}, []
    for who, flags, payload in steps:
        ends = ("192.0.2.1", "198.51.100.2", 20_000 + number, 443)
        src, dst, sport, dport = ends if who == "c" else (ends[1], ends[0], ends[3], ends[2])
        tcp = TCP(sport=sport, dport=dport, flags=flags, seq=said[who], ack=said["s" if who == "c" else "c"])
        packets.append(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst) / tcp / payload)
        said[who] += len(payload) + ("S" in flags) + ("F" in flags)
    return packets


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed: nothing to compare with")
def test_suricata_says_the_same(tmp_path: Path) -> None:
    wrpcap(
        str(tmp_path / "t.pcap"), [packet for number, (data, _) in enumerate(CASES) for packet in talk(number, data)]
    )
    rules = (
        f"alert tls any any -> any any (app-layer-event:{fault.decode()}; sid:{n};)\n"
        for n, fault in enumerate(FAULTS, 1)
    )
    (tmp_path / "t.rules").write_text("".join(rules))
    command = ["suricata", "-r", "t.pcap", "-S", "t.rules", "-l", ".", "-k", "none", "--runmode", "single"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found: dict[int, set[str]] = {number: set() for number in range(len(CASES))}
    for line in (tmp_path / "eve.json").read_text().splitlines():
        event = json.loads(line)
        if event["event_type"] == "alert":
            fault = FAULTS[event["alert"]["signature_id"] - 1].decode().removeprefix("tls.")
            found[max(event["src_port"], event["dest_port"]) - 20_000].add(fault)
    assert [sorted(faults) for faults in found.values()] == [[event] if event else [] for _, event in CASES]


def test_every_event_has_a_certificate() -> None:
    assert {b"tls." + event.encode() for _, event in CASES if event} == set(FAULTS)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6), st.integers(0, 300))
def test_any_bytes_have_one_of_these_names_or_none(changes: list[tuple[int, int]], size: int) -> None:
    data = bytearray(certificate())
    for at, byte in changes:
        data[at % len(data)] = byte
    assert fault_of(bytes(data[:size])) in (*FAULTS, b"")
