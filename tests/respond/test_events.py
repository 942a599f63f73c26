"""EVE events: key for key what Suricata's schema allows, our own additions apart."""

from __future__ import annotations

from typing import Any

import jsonschema
import numpy as np
import pytest

from ids.events import Events
from ids.respond import events
from ids.respond.lines import EventLines
from ids.types import Direction, EndReason, Evidence, Flow, FlowState, Transaction, address_halves
from tests.factory import T0, make_flow, make_match, make_signature
from tests.shared import event_validator

RICH_SIGNATURE = make_signature(
    metadata={"tag": ["attack.t1190"]}, references=("https://example.org/",), classtype="web-application-attack"
)
FLOW = make_flow()
HTTP = Transaction(
    FLOW.columns, FLOW.slot, "http", 0, Direction.TO_SERVER, {},
    {"hostname": "www.example.org", "url": "/", "http_method": "GET"}, T0, 7, complete=True,
)  # fmt: skip


def flow_event(flow: Flow) -> dict[str, Any]:
    event: dict[str, Any]
    (event,) = Events(lines=[EventLines(flow.columns).flows(np.array([flow.slot]))])
    return event


EVENTS = {
    "alert": events.alert_event(make_match(signature=RICH_SIGNATURE, transaction=HTTP), blocked=True),
    "alert on ICMPv6": events.alert_event(
        make_match(make_flow("2001:db8::1", "2001:db8::2", proto=58, sport=128, dport=0)), blocked=False
    ),
    "alert of a packet without a flow": events.alert_event(
        make_match(make_flow(id=0, sport=0, dport=0)), blocked=False
    ),
    "alert of a packet without an IP header": events.alert_event(
        make_match(make_flow(id=0, ip_version=0, sport=0, dport=0)), blocked=False
    ),
    "flow": flow_event(make_flow(app_proto="http", vlan=5 | 7 << 16, tcp_flags=[0x1B, 0x13], reason=EndReason.TIMEOUT)),
    "flow of a live interface": flow_event(make_flow(source="live", interface=1, state=FlowState.NEW)),
    "alert in a tunnel": events.alert_event(
        make_match(
            make_flow(
                depth=1,
                outer_src=address_halves("198.51.100.1"),
                outer_dst=address_halves("198.51.100.2"),
                outer_sport=7,
                outer_dport=4789,
                outer_proto=17,
            )
        ),
        blocked=False,
    ),
    "flow in a tunnel": flow_event(make_flow(depth=2, outer_proto=47, vlan=1 | 10 << 16 | 100 << 32)),
    "flow of an unknown protocol": flow_event(make_flow(proto=253)),
    "http": Events(lines=EventLines(FLOW.columns).transactions([HTTP]))[0],
    "drop": events.drop_event(make_match(), "rules", {"network": "192.0.2.1/32"}),
}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return event_validator()


@pytest.mark.parametrize("name", EVENTS)
def test_events_fit_the_schema(name: str, validator: jsonschema.Draft202012Validator) -> None:
    event = {key: value for key, value in EVENTS[name].items() if key != "ids"}
    assert [error.message for error in validator.iter_errors(event)] == []


def test_events_in_a_tunnel_name_the_outer_packet() -> None:
    assert EVENTS["alert in a tunnel"]["tunnel"] == {
        "src_ip": "198.51.100.1",
        "src_port": 7,
        "dest_ip": "198.51.100.2",
        "dest_port": 4789,
        "proto": "UDP",
        "depth": 1,
        "pcap_cnt": 7,
        "pkt_src": "wire/pcap",
    }
    assert EVENTS["alert in a tunnel"]["src_ip"] == "192.0.2.1"
    assert "src_port" not in EVENTS["flow in a tunnel"]["tunnel"]
    assert EVENTS["flow in a tunnel"]["vlan"] == [1, 10, 100]


def test_the_addresses_of_an_alert_are_those_of_the_matching_packet() -> None:
    event = events.alert_event(make_match(direction=Direction.TO_CLIENT), blocked=False)
    assert (event["src_ip"], event["src_port"], event["dest_ip"]) == ("203.0.113.1", 80, "192.0.2.1")
    assert (event["flow"]["src_ip"], event["direction"]) == ("192.0.2.1", "to_client")


def test_a_packet_without_a_flow_has_no_flow() -> None:
    bare = EVENTS["alert of a packet without a flow"]
    assert not {"flow_id", "flow", "community_id"} & bare.keys()
    assert (bare["src_ip"], bare["proto"], bare["pcap_cnt"]) == ("192.0.2.1", "TCP", 7)
    assert not {"src_ip", "dest_ip", "proto"} & EVENTS["alert of a packet without an IP header"].keys()


@pytest.mark.parametrize(("proto", "asked", "answered"), [(1, 8, 0), (1, 13, 14), (58, 128, 129), (1, 3, 3)])
def test_an_alert_of_an_icmp_answer_has_the_type_of_the_answer(proto: int, asked: int, answered: int) -> None:
    flow = make_flow(proto=proto, sport=asked, dport=0)
    sides = [events.alert_event(make_match(flow, direction=side), blocked=False)["icmp_type"] for side in Direction]
    assert sides == [asked, answered]


def test_evidence_survives_any_bytes() -> None:
    evidence = Evidence("payload", 3, bytes(range(256)))
    event = events.alert_event(make_match(evidence=(evidence,)), blocked=False)
    assert event["ids"]["evidence"][0]["excerpt"].encode("latin-1") == bytes(range(256))


@pytest.mark.parametrize(
    ("ts_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000+0000"),
        (T0 + 123_456_789, "2023-11-14T22:13:20.123456+0000"),
        (10**30, "1970-01-01T00:00:00"),
    ],
)
def test_timestamps(ts_ns: int, text: str) -> None:
    assert events.timestamp(ts_ns).startswith(text)


def test_flow_flags_are_spelt_as_suricata_does() -> None:
    tcp: dict[str, Any] = EVENTS["flow"]["tcp"]
    assert (tcp["tcp_flags"], tcp["tcp_flags_ts"], tcp["tcp_flags_tc"]) == ("1b", "1b", "13")
    assert {"syn", "ack", "fin", "psh"} <= tcp.keys()


def test_a_renamed_interface_has_its_new_name_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    names, now = {7: "outside"}, [100.0]
    monkeypatch.setattr("socket.if_indextoname", names.__getitem__)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    assert events.interface_name(7) == "outside"
    names[7] = "wan"
    now[0] += 1
    assert events.interface_name(7) == "wan"
