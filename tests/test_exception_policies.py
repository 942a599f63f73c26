"""What becomes of connections whose beginning was not seen is a policy; it comes before all rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from ids.testing import Session
from plugins.rules import Rules

INLINE = ("respond.drop_packets=true", "respond.inspect_dropped=false")
GET = b"GET /index.html HTTP/1.1\r\nHost: a.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def picked_up(tmp_path: Path, *settings: str, first: str = "PA") -> Session:
    """Play a connection whose handshake is not seen, its first segment with these flags, to a rule on its request."""
    rules = tmp_path / "all.rules"
    rules.write_text('alert tcp any any -> any any (content:"index.html"; sid:1;)\n')
    session = Session(f"rules.paths=[{rules}]", *settings, rules=Rules())
    client = TCP(sport=40000, dport=80, flags=first, seq=1000, ack=5000)
    server = TCP(sport=80, dport=40000, flags="PA", seq=5000, ack=1000 + len(GET))
    session.frames(
        bytes(Ether() / IP(src="192.0.2.1", dst="203.0.113.1") / client / GET),
        bytes(Ether() / IP(src="203.0.113.1", dst="192.0.2.1") / server / OK),
    )
    session.end()
    return session


def flow_of(session: Session) -> dict[str, Any]:
    (flow,) = [event["flow"] for event in session.events if event["event_type"] == "flow"]
    return dict(flow)


def types(session: Session) -> set[str]:
    return {event["event_type"] for event in session.events} - {"flow", "stats"}


@pytest.mark.parametrize("policy", ["drop-flow", "reject"])
def test_it_is_dropped_with_the_reason_and_neither_parsed_nor_alerted_on(tmp_path: Path, policy: str) -> None:
    session = picked_up(tmp_path, "stream.midstream=true", f"stream.midstream_policy={policy}", *INLINE)
    (drop,) = [event for event in session.events if event["event_type"] == "drop"]
    assert (drop["drop"]["reason"], drop["pcap_cnt"]) == ("stream midstream", 1)
    assert (types(session), flow_of(session)["action"]) == ({"drop"}, "drop")


def test_what_is_bypassed_is_neither_parsed_nor_alerted_on(tmp_path: Path) -> None:
    session = picked_up(tmp_path, "stream.midstream=true", "stream.midstream_policy=bypass")
    assert (types(session), flow_of(session)["state"]) == (set(), "bypassed")


def test_what_passes_is_parsed_and_not_alerted_on(tmp_path: Path) -> None:
    session = picked_up(tmp_path, "stream.midstream=true", "stream.midstream_policy=pass-flow")
    assert flow_of(session)["action"] == "pass"
    assert "http" in types(session)
    assert "alert" not in types(session)


def test_without_a_policy_it_is_as_the_rules_say(tmp_path: Path) -> None:
    assert picked_up(tmp_path, "stream.midstream=true").sids == [1]
    assert picked_up(tmp_path, "stream.midstream=true", *INLINE).sids == [1]


def test_inline_it_is_dropped_unless_such_connections_are_followed_or_a_setting_says_otherwise(tmp_path: Path) -> None:
    assert types(picked_up(tmp_path, "stream.midstream=false", *INLINE)) == {"drop"}
    assert "drop" not in types(picked_up(tmp_path, "stream.midstream=false"))
    ignored = "respond.exception_policy=ignore", "stream.midstream=false"
    assert "drop" not in types(picked_up(tmp_path, *ignored, *INLINE))


def test_the_policy_of_the_case_goes_before_that_of_all(tmp_path: Path) -> None:
    settings = "stream.midstream=true", "respond.exception_policy=drop-flow", "stream.midstream_policy=ignore"
    assert picked_up(tmp_path, *settings, *INLINE).sids == [1]


def test_where_nothing_is_dropped_the_policy_drops_nothing(tmp_path: Path) -> None:
    session = picked_up(tmp_path, "respond.mode=off", "stream.midstream_policy=drop-flow", "stream.midstream=false")
    assert "drop" not in types(session)


@pytest.mark.parametrize("flags", ["R", "RA", "S"])
def test_a_reset_or_a_syn_begins_no_connection_in_the_middle(tmp_path: Path, flags: str) -> None:
    session = picked_up(tmp_path, "stream.midstream_policy=bypass", "stream.midstream=true", first=flags)
    assert session.counters["flow.exceptions.midstream_bypass"] == 0


def test_a_connection_with_its_handshake_is_nobodys_exception(tmp_path: Path) -> None:
    rules = tmp_path / "all.rules"
    rules.write_text('alert tcp any any -> any any (content:"index.html"; sid:1;)\n')
    session = Session(f"rules.paths=[{rules}]", "stream.midstream_policy=bypass", rules=Rules())
    session.tcp(GET)
    assert session.sids == [1]
