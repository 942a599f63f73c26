"""Every proof of a YAML rule, of those that ship and of those in the documentation, sent through the whole engine."""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, TCP, UDP

from ids.config import load_config
from ids.events import Events
from ids.replay import replay
from ids.rules.language.loader import load_rules
from ids.rules.model.rule import RuleTest
from tests.shared import ROOT

_WRITTEN = tempfile.TemporaryDirectory()
DOCUMENTED = Path(_WRITTEN.name)
"""The examples of docs/rules.md, as files."""

for _number, _code in enumerate(re.findall(r"(?ms)^```yaml\n(.*?)^```", (ROOT / "docs/rules.md").read_text())):
    (DOCUMENTED / f"{_number}.yaml").write_text(_code)
    for _name in re.findall(r"file: ([\w.-]+)", _code):
        (DOCUMENTED / _name).write_text("")

PATHS = [ROOT / "rules", DOCUMENTED]
PROOFS: list[tuple[int, RuleTest]] = [
    (rule.signature.sid, proof) for rule in load_rules(PATHS).rules for proof in rule.tests
]
NAMES = [f"{sid} {proof.name}" for sid, proof in PROOFS]

SERVER = "198.19.0.80"
DEFAULT_PORT = 4444


def client(number: int) -> str:
    """Return an address of its own for each proof, as thresholds count by source (RFC 2544's range)."""
    return f"198.18.{number // 250}.{number % 250 + 1}"


def send(wire: Any, capture: Any, number: int, proof: RuleTest) -> None:
    """Add the packets of a proof."""
    if proof.kind == "http":
        conversation = wire.TcpConversation(capture, client(number), SERVER, 40000, 80).open()
        conversation.client(request(proof.stimulus))
        if proof.stimulus["status"] is not None:
            conversation.server(response(proof.stimulus))
        conversation.close()
        return
    if proof.kind == "probes":
        probe(wire, capture, client(number), proof.stimulus)
        return
    assert proof.kind == "payload", "captures are tried by test_pcaps"
    port = proof.stimulus["port"] or DEFAULT_PORT
    to_server, to_client = (payload(proof.stimulus, side) for side in ("to_server", "to_client"))
    if proof.stimulus["proto"] == "udp":
        wire.datagram(capture, client(number), SERVER, 40000, port, to_server)
        return
    for again in range(proof.stimulus["times"]):
        conversation = wire.TcpConversation(capture, client(number), SERVER, 40000 + again, port).open()
        conversation.client(to_server)
        conversation.server(to_client)
        conversation.close()
        capture.wait(0.1)


def probe(wire: Any, capture: Any, source: str, stimulus: Mapping[str, Any]) -> None:
    """Add a packet to each port of each host, beside the time that the other proofs take."""
    now_ns = capture.now_ns
    for port in range(stimulus["first_port"], stimulus["first_port"] + stimulus["ports"]):
        for host in range(stimulus["hosts"]):
            to = f"198.19.1.{host + 1}" if stimulus["hosts"] > 1 else SERVER
            flags = "".join(flag[0].upper() for flag in stimulus["flags"])
            transport = {
                "tcp": TCP(sport=40000 + port % 1000, dport=port, flags=flags, seq=7),
                "udp": UDP(sport=40000 + port % 1000, dport=port),
                "icmp": ICMP(type=8, id=7, seq=port),
            }[stimulus["proto"]]
            capture.add(wire.link(source, True) / wire.network(source, to, port) / transport)
            capture.now_ns += stimulus["every_ms"] * 1_000_000 - wire.STEP_NS
    capture.now_ns = now_ns


def payload(stimulus: Mapping[str, Any], side: str) -> bytes:
    return stimulus[side].encode() or bytes.fromhex(stimulus[f"{side}_hex"])


def request(stimulus: Mapping[str, Any]) -> bytes:
    body = stimulus["body"].encode()
    fields = {"Host": "shop.example.org", **stimulus["headers"], "Content-Length": str(len(body))}
    return message(f"{stimulus['method']} {stimulus['uri']} HTTP/{stimulus['version']}", fields, body)


def response(stimulus: Mapping[str, Any]) -> bytes:
    body = stimulus["response_body"].encode()
    fields = {"Content-Type": "text/plain", **stimulus["response_headers"], "Content-Length": str(len(body))}
    return message(f"HTTP/{stimulus['version']} {stimulus['status']} OK", fields, body)


def message(first_line: str, fields: Mapping[str, str], body: bytes) -> bytes:
    lines = [first_line, *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture(scope="module")
def alerts(tmp_path_factory: pytest.TempPathFactory) -> Counter[tuple[str, int]]:
    """How often each client raised each sid, in one capture of all proofs."""
    sys.path.insert(0, str(ROOT / "pcaps"))
    try:
        wire = importlib.import_module("captures.wire")
    finally:
        sys.path.remove(str(ROOT / "pcaps"))
    capture = wire.Capture()
    for number, (_, proof) in enumerate(PROOFS):
        send(wire, capture, number, proof)
    path: Path = tmp_path_factory.mktemp("proofs") / "proofs.pcap"
    path.write_bytes(capture.pcap())
    found: Counter[tuple[str, int]] = Counter()

    def note(events: Events) -> None:
        for event in events:
            if event["event_type"] == "alert":
                (peer,) = {one for one in (event["src_ip"], event["dest_ip"]) if one.startswith("198.18.")}
                found[peer, event["alert"]["signature_id"]] += 1

    replay([path], load_config(None, [f"rules.paths=[{','.join(map(str, PATHS))}]"]), on_events=note)
    return found


@pytest.mark.parametrize("number", range(len(PROOFS)), ids=NAMES)
def test_a_proof_holds(number: int, alerts: Counter[tuple[str, int]]) -> None:
    sid, proof = PROOFS[number]
    assert alerts[client(number), sid] == proof.alerts
