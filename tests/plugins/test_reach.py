"""Rules reach what their traffic and their flow options speak of, however the packets come in batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ids.testing import Session, to_client
from plugins.rules import Rules
from tests.rules.builders import rule_text

HELLO = b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03needle" + b"x" * 38
QUESTION = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06needle\x03com\x00\x00\x01\x00\x01"
GET = b"GET /needle HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nneedle")
NEEDLE = "[payload: {contains: needle}]"

SLOW = "[payload: {regex: 'a.*b(?=c)', contains: GET}]"
"""Takes the square of what it is searched in."""

Play = Callable[[Session, int | None], None]


def tcp(*said: object, port: int = 80, close: bool = False) -> Play:
    return lambda session, batch: session.tcp(*said, dport=port, batch=batch, close=close)  # type: ignore[arg-type]


def udp(*said: object) -> Play:
    return lambda session, batch: session.udp(*said, batch=batch)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [None, 1, 2, 3])
@pytest.mark.parametrize(
    ("traffic", "flow", "match", "play", "found"),
    [
        ("http", "", NEEDLE, tcp(GET), [4]),
        ("http", "", NEEDLE, tcp(GET[:2], GET[2:9], GET[9:]), [6]),
        ("http", "to_client", NEEDLE, tcp(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", ANSWER), [5]),
        ("tls", "", NEEDLE, tcp(HELLO, port=443), [4]),
        ("tls", "to_server", NEEDLE, tcp(HELLO, to_client(HELLO), port=443), [4]),
        ("tls", "to_server", "[]", tcp(HELLO, port=443), [4]),
        ("dns", "", NEEDLE, udp(QUESTION), [1]),
        ("dns", "", NEEDLE, tcp(b"\x00\x1c" + QUESTION, port=53), [4]),
        ("dns", "", "[]", udp(QUESTION, to_client(QUESTION), QUESTION), [1]),
        ("dns", "to_server", "[]", tcp(b"\x00\x1c" + QUESTION, port=53), [4]),
        ("tcp any any -> any 23", "not_established", "[]", tcp(b"x", port=23), [1]),
        ("tcp any any -> any 23", "not_established, to_server", "[]", tcp(b"x", port=23), [1]),
        ("tcp any 23 -> any any", "not_established, to_client", "[]", tcp(b"x", port=23), [2]),
        ("udp", "not_established", NEEDLE, udp(b"needle", to_client(b"ok")), [1]),
        ("udp", "not_established", NEEDLE, udp(b"needle", b"needle", to_client(b"ok"), b"needle"), [1, 2]),
        ("udp", "not_established", NEEDLE, udp(b"x", to_client(b"needle"), b"needle"), []),
        ("udp any any -> any 53", "not_established", "[]", udp(b"x", to_client(b"x"), b"x"), [1]),
    ],
)
def test_a_rule_reaches_its_traffic(
    traffic: str, flow: str, match: str, play: Play, found: list[int], batch: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("rules:\n" + rule_text(match, 1, traffic, f"flow: [{flow}]"))
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    play(session, batch)
    session.end()
    assert [alert["pcap_cnt"] for alert in session.alerts] == found


def test_a_search_that_takes_the_square_of_its_data_costs_its_rule_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A few seconds for each connection without a limit; with it the rule is set aside after three."""
    path = tmp_path / "r.yaml"
    path.write_text("rules:\n" + rule_text(SLOW, 1, "tcp") + rule_text(NEEDLE, 2, "tcp"))
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    began = time.monotonic()
    for _ in range(20):
        session.tcp(b"b" + GET + b"a" * 60_000 + b"b")
    assert session.sids == [2] * 20
    assert time.monotonic() - began < 20
    counters = session.counters
    assert (counters["rules.faulty.1"], counters["rules.set_aside"]) == (3, 1)
    assert not counters["plugin.rules.quarantined"]
    assert [record.levelname for record in caplog.records if "rule 1 " in record.message] == ["WARNING", "ERROR"]
    session.tcp(b"GET /axbc", src="192.0.2.7")
    session.wait(61)
    session.tcp(b"GET /axbc", src="192.0.2.7")
    assert session.sids == [2] * 20 + [1], "it is tried again"


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize(("field", "blocks"), [("TCP.dport: 80", ["192.0.2.1/32"]), ("TCP.sport: 80", [])])
def test_a_scapy_rule_on_requests_blocks_who_sent_the_field(
    field: str, blocks: list[str], batch: int | None, tmp_path: Path
) -> None:
    """And never the server that answered; from the packet on that completed the request, with the evidence."""
    path = tmp_path / "r.yaml"
    match = f"[http.uri: {{contains: needle}}, scapy.{field}]"
    path.write_text("rules:\n" + rule_text(match, 1, "http", "block: {target: src_ip, for: 1h}"))
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.tcp(GET, ANSWER, batch=batch)
    assert session.blocks == blocks
    assert [(alert["src_ip"], alert["pcap_cnt"]) for alert in session.alerts] == [("192.0.2.1", 4)][: len(blocks)]
    assert all(alert["ids"]["evidence"] for alert in session.alerts)


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("batch", [None, 1])
def test_an_exploit_in_a_head_is_found_before_the_body_ends(framing: str, batch: int | None, tmp_path: Path) -> None:
    """A server acts on the head; its packet is the one that the alert names, and there is one HTTP event at the end."""
    (tmp_path / "r.yaml").write_text("rules:\n" + rule_text("[http.uri: {contains: needle}]", 1, "http"))
    session = Session(f"rules.paths=[{tmp_path}]", rules=Rules())
    session.tcp(
        b"POST /needle HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % framing.encode(), b"3\r\nabc", batch=batch, close=False
    )
    assert [alert["pcap_cnt"] for alert in session.alerts] == [4]
    session.end()
    assert len(session.alerts) == 1
    assert sum(event["event_type"] == "http" for event in session.events) == 1
