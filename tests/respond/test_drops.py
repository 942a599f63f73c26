"""What rules that drop, pass and bypass do to packets and flows, and what events say of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import UDP

from tests.replay.batches import conversation
from tests.respond.frames import DATAGRAMS, INLINE, THERE, events_of, of_type

DROP = 'drop udp any any -> any any (msg:"x"; content:"evil"; sid:1;)'


def test_a_drop_has_the_fields_of_the_packet(tmp_path: Path) -> None:
    (drop,) = of_type(events_of(tmp_path, DATAGRAMS, DROP, eve={"drop_alert": True, "verdict": True}), "drop")
    assert drop["drop"] == {"len": 32, "tos": 0, "ttl": 63, "ipid": 7, "udplen": 12, "reason": "rules"}
    assert drop["alert"]["signature_id"] == 1
    assert drop["alert"]["action"] == "blocked"
    assert drop["verdict"] == {"action": "drop"}
    assert drop["direction"] == "to_server"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("wanted", "numbers"), [("match", [2]), ("start", [2, 3, 4]), ("all", [2, 3, 4, 5])])
def test_which_packets_of_a_dropped_flow_have_an_event(
    tmp_path: Path, wanted: str, numbers: list[int], workers: int
) -> None:
    events = events_of(tmp_path, DATAGRAMS, DROP, eve={"drop_flows": wanted}, workers=workers)
    drops = of_type(events, "drop")
    assert [drop["pcap_cnt"] for drop in drops] == numbers
    assert [drop["drop"]["reason"] for drop in drops] == ["rules"] + ["flow drop"] * (len(numbers) - 1)
    assert [drop["direction"] for drop in drops[1:3]] == ["to_client", "to_server"][: len(numbers) - 1]
    assert len({drop["flow_id"] for drop in drops}) == 1


def test_nothing_is_dropped_where_that_is_off(tmp_path: Path) -> None:
    events = events_of(tmp_path, DATAGRAMS, DROP, eve={"drop_flows": "all"}, respond={"mode": "off"})
    assert not of_type(events, "drop")
    assert [alert["alert"]["action"] for alert in of_type(events, "alert")] == ["allowed"]


def test_a_silent_rule_drops_and_says_so(tmp_path: Path) -> None:
    events = events_of(tmp_path, DATAGRAMS, DROP.replace("sid:1", "noalert; sid:1"), eve={"drop_alert": True})
    assert not of_type(events, "alert")
    assert [drop["alert"]["signature_id"] for drop in of_type(events, "drop")] == [1]


def test_behind_a_drop_nothing_is_reported_where_the_settings_say_so(tmp_path: Path) -> None:
    rules = f'{DROP}\nalert udp any any -> any any (msg:"y"; content:"more"; sid:2;)'
    assert len(of_type(events_of(tmp_path, DATAGRAMS, rules), "alert")) == 2
    events = events_of(tmp_path, DATAGRAMS, rules, respond={"inspect_dropped": False})
    assert [alert["alert"]["signature_id"] for alert in of_type(events, "alert")] == [1]


def test_another_flow_on_the_same_ports_is_not_dropped(tmp_path: Path) -> None:
    frames = [
        *conversation(b"evil", b"answer", dport=9, close=True),
        *conversation(b"good", b"answer", dport=9, close=True),
    ]
    rule = 'drop tcp any any -> any any (msg:"x"; content:"evil"; sid:1;)'
    events = events_of(tmp_path, frames, rule, eve={"drop_flows": "all"})
    flows = {event["flow_id"]: event["flow"].get("action") for event in of_type(events, "flow")}
    assert sorted(flows.values(), key=str) == [None, "drop"]


def test_a_reject_names_who_would_be_sent_the_reset(tmp_path: Path) -> None:
    for action, target in (("reject", "to_client"), ("rejectdst", "to_server"), ("rejectboth", "both")):
        events = events_of(tmp_path, DATAGRAMS, DROP.replace("drop", action), eve={"verdict": True})
        (alert,) = of_type(events, "alert")
        assert alert["verdict"] == {"action": "drop", "reject-target": target, "reject": ["icmp-prohib"]}


# ---- packets alone --------------------------------------------------------------------------------------------------


def test_what_matches_in_single_packets_drops_these_alone_where_the_settings_say_so(tmp_path: Path) -> None:
    rule = 'drop udp any any -> any any (msg:"x"; dsize:5; sid:1;)'
    frames = [*DATAGRAMS, DATAGRAMS[0]]  # the first and the last have five bytes
    events = events_of(tmp_path, frames, rule, respond=INLINE, eve={"drop_flows": "all"})
    assert [alert["pcap_cnt"] for alert in of_type(events, "alert")] == [1, 7]
    assert [drop["pcap_cnt"] for drop in of_type(events, "drop")] == [1, 7]
    assert all("action" not in flow["flow"] for flow in of_type(events, "flow"))
    (alert,) = of_type(events_of(tmp_path, frames, rule, respond={"inspect_dropped": False}), "alert")
    assert alert["pcap_cnt"] == 1


@pytest.mark.parametrize(
    "rule",
    [
        'drop tcp any any -> any any (msg:"x"; sid:1;)',
        'drop tcp any any -> any any (msg:"x"; content:"evil"; sid:1;)',
        'drop http any any -> any any (msg:"x"; http.uri; content:"evil"; sid:1;)',
    ],
)
def test_what_asks_for_ends_or_matches_in_a_stream_drops_the_flow(tmp_path: Path, rule: str) -> None:
    frames = conversation(b"GET /evil HTTP/1.1\r\nHost: a.example\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", close=True)
    (flow,) = of_type(events_of(tmp_path, frames, rule, respond=INLINE), "flow")
    assert flow["flow"]["action"] == "drop"


def test_inline_a_rule_on_a_protocol_fits_the_packet_that_shows_it(tmp_path: Path) -> None:
    frames = conversation(b"GET /evil HTTP/1.1\r\nHost: a.example\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", close=True)
    rule = 'alert http any any -> any any (msg:"x"; sid:1;)'
    of_mode = {
        mode: of_type(events_of(tmp_path, frames, rule, respond=respond), "alert")[0]["pcap_cnt"]
        for mode, respond in (("inline", INLINE), ("beside", {}))
    }
    request = next(at for at, frame in enumerate(frames, 1) if b"evil" in bytes(frame))
    assert of_mode == {"inline": request, "beside": request + 1}


@pytest.mark.parametrize(
    ("threshold", "dropped"),
    [("limit", [1, 2, 3, 4]), ("threshold", [2, 4]), ("both", [2, 3, 4])],
)
def test_a_rule_drops_nothing_until_it_has_matched_often_enough(
    tmp_path: Path, threshold: str, dropped: list[int]
) -> None:
    rule = (
        'drop udp any any -> any any (msg:"x"; dsize:4; '
        f"threshold:type {threshold}, track by_src, count 2, seconds 60; sid:1;)"
    )
    frames = [THERE / UDP(sport=5000, dport=9) / b"evil" for _ in range(4)]
    events = events_of(tmp_path, frames, rule, respond=INLINE)
    drops = [drop["pcap_cnt"] for drop in of_type(events, "drop")]
    assert drops == dropped


def test_a_packet_that_passes_does_not_let_its_flow_pass(tmp_path: Path) -> None:
    rules = (
        'pass udp any any -> any any (msg:"p"; content:"hello"; sid:1;)\n'
        'alert udp any any -> any any (msg:"x"; dsize:<6; sid:2;)'
    )
    frames = DATAGRAMS[:2]
    assert [alert["pcap_cnt"] for alert in of_type(events_of(tmp_path, frames, rules), "alert")] == [2]


# ---- the order of actions -------------------------------------------------------------------------------------------

PASSED = f'{DROP}\npass udp any any -> any any (msg:"p"; content:"evil"; alert; sid:2;)'


def test_what_passes_comes_first_and_says_so_where_it_is_asked(tmp_path: Path) -> None:
    events = events_of(tmp_path, DATAGRAMS, PASSED, eve={"verdict": True})
    assert [(a["alert"]["signature_id"], a["verdict"]["action"]) for a in of_type(events, "alert")] == [(2, "pass")]
    rules = 'pass udp any any -> any 9 (msg:"p"; sid:1;)'
    (flow, *_) = of_type(events_of(tmp_path, DATAGRAMS[:2], rules), "flow")
    assert flow["flow"]["action"] == "pass"


def test_another_order_of_actions(tmp_path: Path) -> None:
    respond = {"action_order": ["drop", "reject", "alert", "pass"]}
    events = events_of(tmp_path, DATAGRAMS, PASSED, respond=respond)
    assert [alert["alert"]["signature_id"] for alert in of_type(events, "alert")] == [1, 2]
    assert "drop" in [flow["flow"].get("action") for flow in of_type(events, "flow")]


@pytest.mark.parametrize("action", ["alert", "pass"])
def test_nothing_is_heard_of_a_flow_behind_the_packet_for_which_it_is_bypassed(action: str, tmp_path: Path) -> None:
    """But of that packet everything, and of other flows."""
    rules = (
        f'{action} udp any any -> any any (content:"evil"; bypass; sid:1;)\n'
        "alert udp any any -> any any (dsize:>0; priority:4; sid:2;)"
    )
    events = events_of(tmp_path, DATAGRAMS, rules)
    heard = [(a["alert"]["signature_id"], a["pcap_cnt"]) for a in of_type(events, "alert")]
    assert heard == ([(2, 1), (1, 2), (2, 2), (2, 6)] if action == "alert" else [(2, 1), (2, 6)])
    states = {flow["src_port"]: flow["flow"]["state"] for flow in of_type(events, "flow")}
    assert states == {5000: "bypassed", 5001: "new"}


@pytest.mark.parametrize("action", ["pass", "drop"])
def test_what_became_of_a_packet_stands_in_all_its_alerts(action: str, tmp_path: Path) -> None:
    """Also in those that came before it was decided, and in none of another packet."""
    rules = f'alert udp any any -> any any (dsize:>0; sid:1;)\n{action} udp any any -> any any (content:"evil"; sid:2;)'
    respond = {"action_order": ["alert", "pass", "drop", "reject"]}
    events = of_type(events_of(tmp_path, DATAGRAMS, rules, eve={"verdict": True}, respond=respond), "alert")
    first = [alert for alert in events if alert["alert"]["signature_id"] == 1]
    assert {alert["verdict"]["action"] for alert in first} == {"alert", action}
    assert [alert["verdict"]["action"] for alert in first].count(action) == 1
