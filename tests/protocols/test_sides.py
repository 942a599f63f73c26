"""Two sides that do not go together are an event of their flow, once, as Suricata 7.0.10 has it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap

from ids.protocols.sides import (
    EVENTS,
    MISMATCH,
    NO_TLS,
    ONE_DIRECTION,
    ONE_SIDED_BYTES,
    SKIPPED,
    UNEXPECTED,
    WRONG_DIRECTION,
)
from ids.testing import Session, to_client
from ids.types import Direction
from plugins.rules import Rules
from tests.protocols import handshakes as hs
from tests.protocols.test_certificate_faults import certificate
from tests.protocols.wire import Wire

Talk = list[tuple[str, bytes]]
GET, OK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SSH = b"SSH-2.0-OpenSSH_9\r\n"
NOTHING = b"zzzz this is nothing that anyone knows " * 30
HELLO, SERVER_SIDE = hs.record(hs.client_hello()), hs.server_side(certificate())
SMB = bytes.fromhex("00000066fe534d4240") + bytes(97)
STARTTLS: Talk = [
    ("s", b"220 mail ESMTP\r\n"), ("c", b"EHLO a\r\n"), ("s", b"250-a\r\n250 STARTTLS\r\n"), ("c", b"STARTTLS\r\n"),
    ("s", b"220 go\r\n"),
]  # fmt: skip
AUTH_TLS: Talk = [
    ("s", b"220 ftp\r\n"), ("c", b"USER a\r\n"), ("s", b"331 pw\r\n"), ("c", b"AUTH TLS\r\n"), ("s", b"234 go\r\n"),
]  # fmt: skip
PIECE = (NOTHING * 2)[:1400]
CASES: list[tuple[int, Talk, set[bytes]]] = [
    (80, [("c", GET), ("s", OK)], set()),
    (80, [("c", GET), ("s", SSH)], {MISMATCH}),
    (80, [("c", GET), ("s", NOTHING)], {ONE_DIRECTION}),
    (80, [("s", NOTHING), ("c", GET), ("s", OK)], {ONE_DIRECTION}),
    (22, [("c", SSH), ("s", SSH)], set()),
    (22, [("c", SSH), ("s", OK)], {MISMATCH}),
    (22, [("c", SSH), ("s", NOTHING)], {ONE_DIRECTION}),
    (22, [("s", SSH), ("c", GET)], {MISMATCH}),
    (443, [("c", HELLO), ("s", SERVER_SIDE)], set()),
    (443, [("c", HELLO), ("s", OK)], {MISMATCH}),
    (443, [("c", HELLO), ("s", NOTHING)], {ONE_DIRECTION}),
    (443, [("c", HELLO), ("s", b"zzzz")], set()),
    (443, [("s", SERVER_SIDE), ("c", HELLO)], {WRONG_DIRECTION}),
    (445, [("c", SMB), ("s", NOTHING)], {ONE_DIRECTION}),
    (5900, [("s", b"RFB 003.008\n"), ("c", NOTHING)], {ONE_DIRECTION}),
    (4444, [("c", NOTHING), ("s", NOTHING)], set()),
    (4444, [("c", PIECE)] * 120, {SKIPPED}),
    (4444, [("c", PIECE)] * 20, set()),
    (25, [*STARTTLS, ("c", HELLO), ("s", SERVER_SIDE)], set()),
    (25, [*STARTTLS, ("c", GET), ("s", OK)], {UNEXPECTED, NO_TLS}),
    (25, [*STARTTLS, ("c", b"EHLO a\r\n"), ("s", b"250 a\r\n")], {UNEXPECTED, NO_TLS}),
    (25, [*STARTTLS, ("c", b"MAIL FROM:<a@b>\r\n"), ("s", b"250 ok\r\n")], {UNEXPECTED, NO_TLS}),
    (25, [*STARTTLS, ("c", NOTHING)], {UNEXPECTED, NO_TLS}),
    (25, [*STARTTLS, ("c", HELLO), ("s", NOTHING)], {ONE_DIRECTION}),
    (21, [*AUTH_TLS, ("c", GET)], {UNEXPECTED, NO_TLS}),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_flow_has_the_events_that_suricata_gives_it(case: int) -> None:
    _, said, events = CASES[case]
    wire = Wire()
    for who, data in said:
        wire.send(Direction.TO_SERVER if who == "c" else Direction.TO_CLIENT, data)
    assert sorted(wire.close().noted) == sorted(events)


@pytest.mark.parametrize("case", [row for row, (port, said, _) in enumerate(CASES) if port != 80 and len(said) < 20])
@pytest.mark.parametrize("step", [1, 7])
def test_however_it_is_cut(case: int, step: int) -> None:
    """But of HTTP, whose parser judges by the first piece of an answer."""
    _, said, events = CASES[case]
    wire = Wire()
    for who, data in said:
        wire.send(Direction.TO_SERVER if who == "c" else Direction.TO_CLIENT, data, step=step)
    assert sorted(wire.close().noted) == sorted(events)


def test_a_flow_has_each_of_them_once() -> None:
    wire = Wire().client(HELLO)
    for _ in range(5):
        wire.server(NOTHING).client(NOTHING)
    assert wire.close().noted == [ONE_DIRECTION]


def test_one_side_is_alone_up_to_a_byte() -> None:
    assert Wire().client(bytes(ONE_SIDED_BYTES - 1)).noted == []
    assert Wire().client(bytes(ONE_SIDED_BYTES)).noted == [SKIPPED]
    assert Wire().client(b"x").server(b"y").client(bytes(ONE_SIDED_BYTES)).noted == []


def test_a_side_whose_words_were_lost_has_said_something() -> None:
    assert Wire().client(NOTHING).server(b"", gap=9).client(bytes(ONE_SIDED_BYTES)).noted == []


def test_rules_ask_for_them_and_events_say_them(tmp_path: Path) -> None:
    path = tmp_path / "r.rules"
    path.write_text(rules())
    played = Session(f"rules.paths=[{path}]", rules=Rules())
    played.tcp(GET, to_client(SSH))
    assert played.sids == [1 + EVENTS.index(MISMATCH)]
    (alert,) = played.alerts
    assert not {"tx_id", "http"} & set(alert)
    (event,) = [one for one in played.events if one["event_type"] == "anomaly"]
    assert event["anomaly"] == {
        "app_proto": "http", "type": "applayer", "layer": "proto_detect",
        "event": "APPLAYER_MISMATCH_PROTOCOL_BOTH_DIRECTIONS",
    }  # fmt: skip
    assert "tx_id" not in event


def rules() -> str:
    return "".join(
        f"alert ip any any -> any any (flow:established; app-layer-event:{event.decode()}; sid:{number};)\n"
        for number, event in enumerate(EVENTS, 1)
    )


def packets(number: int, dport: int, said: Talk) -> list[Packet]:
    """Return a connection, each piece acknowledged."""
    acknowledged = [step for who, data in said for step in ((who, "PA", data), ("cs"[who == "c"], "A", b""))]
    steps = [
        ("c", "S", b""), ("s", "SA", b""), ("c", "A", b""), *acknowledged, ("c", "FA", b""), ("s", "FA", b""),
        ("c", "A", b""),
    ]  # fmt: skip
    at, made = {"c": 1000, "s": 5000}, []
    for who, flags, payload in steps:
        ends = ("192.0.2.1", "198.51.100.2", 20_000 + number, dport)
        src, dst, sport, port = ends if who == "c" else (ends[1], ends[0], ends[3], ends[2])
        tcp = TCP(sport=sport, dport=port, flags=flags, seq=at[who], ack=at["cs"[who == "c"]])
        made.append(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst) / tcp / payload)
        at[who] += len(payload) + ("S" in flags) + ("F" in flags)
    return made


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed: nothing to compare with")
def test_suricata_says_the_same(tmp_path: Path) -> None:
    """But of the greetings of mail and FTP, which it does not recognise: it notes every one of their connections."""
    wrpcap(
        str(tmp_path / "t.pcap"), [one for n, (dport, said, _) in enumerate(CASES) for one in packets(n, dport, said)]
    )
    (tmp_path / "t.rules").write_text(rules())
    command = ["suricata", "-r", "t.pcap", "-S", "t.rules", "-l", ".", "-k", "none", "--runmode", "single"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found: list[set[bytes]] = [set() for _ in CASES]
    for line in (tmp_path / "eve.json").read_text().splitlines():
        event = json.loads(line)
        if event["event_type"] == "alert":
            number = max(event["src_port"], event["dest_port"]) - 20_000
            greeting = CASES[number][0] in (21, 25)
            name = EVENTS[event["alert"]["signature_id"] - 1]
            if not greeting or name is not ONE_DIRECTION or CASES[number][2] == {ONE_DIRECTION}:
                found[number].add(name)
    assert found == [events for _, _, events in CASES]
