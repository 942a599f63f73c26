"""A host inside that is made to fetch an attacker's link is not cut off, from the rule's file to the gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids.testing import Session
from plugins.rules import Rules

INSIDE, OUTSIDE = "198.51.100.7", "192.0.2.1"
INSIDE6, OUTSIDE6 = "2001:db8:2::7", "2001:db8:1::1"
LINK = b"GET /?q=needle HTTP/1.1\r\nHost: x\r\n\r\n"
HOME = "vars.HOME_NET=[198.51.100.0/24, '2001:db8:2::/48']"


def session(tmp_path: Path, *settings: str, home: bool = False) -> Session:
    rule = tmp_path / "r.yaml"
    rule.write_text(
        "rules:\n  - title: a needle\n    sid: 9000001\n    traffic: http\n    match: [http.uri: {contains: needle}]\n"
        f"    then: drop\n    block: {{require: any, home: {str(home).lower()}}}\n"
    )
    return Session(f"rules.paths=[{rule}]", HOME, *settings, rules=Rules())


@pytest.mark.parametrize(("client", "server"), [(INSIDE, OUTSIDE), (INSIDE6, OUTSIDE6)])
def test_the_alert_says_that_the_host_is_inside_and_its_flow_alone_is_dropped(
    tmp_path: Path, client: str, server: str
) -> None:
    played = session(tmp_path)
    played.tcp(LINK, src=client, dst=server)
    (alert,) = played.alerts
    assert alert["ids"]["block"]["refused"] == "home"
    assert client in alert["ids"]["block"]["detail"]
    assert alert["alert"]["action"] == "blocked", "its flow is dropped"
    assert played.blocks == []
    assert played.counters["respond.refused.home"] == 1
    assert played.counters["respond.flows_dropped"] == 1


def test_whoever_attacks_from_outside_is_blocked(tmp_path: Path) -> None:
    played = session(tmp_path)
    played.tcp(LINK, src=OUTSIDE, dst=INSIDE)
    assert played.blocks == [f"{OUTSIDE}/32"]


def test_a_rule_or_the_settings_may_ask_for_hosts_inside(tmp_path: Path) -> None:
    for played in (session(tmp_path, home=True), session(tmp_path, "respond.block_home=true")):
        played.tcp(LINK, src=INSIDE, dst=OUTSIDE)
        assert played.blocks == [f"{INSIDE}/32"]


def test_a_reload_changes_who_is_inside(tmp_path: Path) -> None:
    played = session(tmp_path)
    assert played.reload("vars.HOME_NET=203.0.113.0/24") == []
    played.tcp(LINK, src=INSIDE, dst=OUTSIDE)
    assert played.blocks == [f"{INSIDE}/32"]
    assert played.reload("respond.block_home=false") == []
    played.tcp(LINK, src="198.51.100.8", dst=OUTSIDE)
    assert played.blocks == [f"{INSIDE}/32"]
    assert played.reload("respond.block_home=true") == []
    played.tcp(LINK, src="198.51.100.9", dst=OUTSIDE)
    assert played.blocks == [f"{INSIDE}/32", "198.51.100.9/32"]
