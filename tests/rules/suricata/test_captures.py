"""Groups of a regex are kept as texts of the flow or of the packet; alerts show them, and rules ask for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids.respond.state import MAX_NAMES
from ids.rules.match.conditions import MAX_CAPTURED
from ids.testing import Session, to_client
from plugins.rules import Rules
from tests.rules.suricata.making import fault_of

UA = b"GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: Mozilla/5.0 x\r\n\r\n"
OK = to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
HEAD = "alert http any any -> any any"


def played(tmp_path: Path, *options: str, said: bytes = UA) -> Session:
    path = tmp_path / "r.rules"
    path.write_text("".join(f"{HEAD} ({one} sid:{n};)\n" for n, one in enumerate(options, 1)))
    session = Session(f"rules.paths=[{path}]", "rules.strict=true", rules=Rules())
    session.tcp(said, OK)
    session.end()
    return session


@pytest.mark.parametrize(
    ("pcre", "metadata"),
    [
        ('pcre:"/^([A-Z]+).([0-9.]+)/i, flow:a,flow:b";', {"flowvars": [{"a": "Mozilla"}, {"b": "5.0"}]}),
        ("pcre: /^([A-Z]+)/i,flow:unquoted;", {"flowvars": [{"unquoted": "Mozilla"}]}),
        ('pcre:"/^(.*)[/ ]/G, flow:shortest";', {"flowvars": [{"shortest": "Mozilla"}]}),
        ('pcre:"/^(.*)[/ ]/, flow:longest";', {"flowvars": [{"longest": "Mozilla/5.0"}]}),
        ('pcre:"/^([A-Z]+)/i, pkt:name";', {"pktvars": [{"name": "Mozilla"}]}),
        ('pcre:"/^([A-Z]+).([0-9.]+)/i, pkt:key,pkt:value";', {"pktvars": [{"Mozilla": "5.0"}]}),
        ('pcre:"/^(?P<flow_ua>[A-Z]+)/i";', {"flowvars": [{"ua": "Mozilla"}]}),
        ('content:"/"; pcre:"/^([0-9])/R, flow:major";', {"flowvars": [{"major": "5"}]}),
        ('pcre:"/^([A-Z]+)(?:x|(y))?/i, flow:a,flow:b";', {"flowvars": [{"a": "Mozilla"}]}),
    ],
)  # fmt: skip
def test_alerts_show_what_was_captured(tmp_path: Path, pcre: str, metadata: dict[str, object]) -> None:
    session = played(tmp_path, f"http.user_agent; {pcre}")
    assert [alert["metadata"] for alert in session.alerts] == [metadata]
    (flow,) = (event for event in session.events if event["event_type"] == "flow")
    assert flow.get("metadata", {}).get("flowvars") == metadata.get("flowvars"), "a packet's are not the flow's"


def test_what_is_not_matched_is_not_captured(tmp_path: Path) -> None:
    one = 'http.user_agent; pcre:"/^([A-Z]+)/i, flow:a"; http.uri; content:"nowhere";'
    assert "metadata" not in played(tmp_path, one, 'http.uri; content:"/";').alerts[0]


@pytest.mark.parametrize(("text", "holds"), [("Mozilla", True), ("ozil", True), ("|4d|oz", True), ("mozilla", False)])
def test_a_rule_asks_for_a_text_in_what_was_captured(tmp_path: Path, text: str, holds: bool) -> None:
    keeps = 'http.user_agent; pcre:"/^([A-Z]+)/i, flow:name"; noalert;'
    session = played(tmp_path, keeps, f'http.uri; content:"/"; flowvar:name,"{text}";')
    assert session.sids == ([2] if holds else [])


def test_what_a_packet_showed_is_gone_with_it(tmp_path: Path) -> None:
    keeps = 'http.user_agent; pcre:"/^([A-Z]+)/i, pkt:name"; noalert;'
    later = 'flow:to_client; http.stat_code; content:"200"; pktvar:name,"Mozilla";'
    assert played(tmp_path, keeps, later).sids == []
    assert played(tmp_path, keeps, 'http.uri; content:"/"; pktvar:name,"Mozilla";').sids == [2]


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    long = UA.replace(b"Mozilla", b"M" * (MAX_CAPTURED + 5))
    (alert,) = played(tmp_path, 'http.user_agent; pcre:"/^(M+)/, flow:a";', said=long).alerts
    assert len(alert["metadata"]["flowvars"][0]["a"]) == MAX_CAPTURED
    rules = [f'http.user_agent; pcre:"/^(M)/, flow:a{n}"; noalert;' for n in range(MAX_NAMES + 3)]
    session = played(tmp_path, *rules)
    assert session.counters["respond.state.names_refused"] == 3


@pytest.mark.parametrize(
    ("pcre", "why"),
    [
        ('"/(a)/, host:a"', "'host:a' are no names to keep groups as"),
        ('"/(a)/, flow:a, flow:b"', "it names 2 groups, and the regex has 1"),
        ('"/(a)(?P<flow_b>b)/"', "some groups are kept by their names, and others not"),
    ],
)
def test_names_that_are_none_and_groups_that_are_not_there_are_refused(pcre: str, why: str) -> None:
    assert fault_of(f"pcre:{pcre};")[1] == why
