"""What events show of packets: payload, frame, addresses, verdict, and the packets that follow on a match."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Dot1Q
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from ids.config import Config
from ids.replay import replay
from tests.replay.batches import conversation
from tests.respond.frames import BACK, DATAGRAMS, ETHER, INLINE, THERE, decoded, events_of, of_type
from tests.shared import event_validator

EVERYTHING = {"payload": True, "payload_printable": True, "packet": True, "ethernet": True, "verdict": True}
SHOWN = ("payload", "payload_printable", "stream", "packet", "packet_info", "ether", "verdict")

# ---- payload and packet ---------------------------------------------------------------------------------------------


def test_nothing_of_it_is_shown_unless_it_is_asked_for(tmp_path: Path) -> None:
    frames = [THERE / UDP(sport=5000, dport=9) / b"evil\x00"]
    rule = 'alert udp any any -> any any (msg:"x"; content:"evil"; sid:1;)'
    (alert,) = of_type(events_of(tmp_path, frames, rule), "alert")
    assert not alert.keys() & set(SHOWN)
    assert alert["pkt_src"] == "wire/pcap"
    (alert,) = of_type(events_of(tmp_path, frames, rule, eve=EVERYTHING), "alert")
    assert decoded(alert, "payload") == b"evil\x00"
    assert alert["payload_printable"] == "evil."
    assert alert["stream"] == 0
    assert decoded(alert, "packet") == bytes(frames[0])
    assert alert["packet_info"] == {"linktype": 1}
    assert alert["ether"] == {"src_mac": "02:00:00:00:00:01", "dest_mac": "02:00:00:00:00:02"}
    assert alert["verdict"] == {"action": "alert"}


@pytest.mark.parametrize("workers", [1, 2])
def test_of_a_stream_what_its_side_has_said_up_to_then_is_shown(tmp_path: Path, workers: int) -> None:
    frames = conversation(b"one " * 500 + b"evil two", b"answer", dport=9)
    rule = 'alert tcp any any -> any any (msg:"x"; content:"evil"; flow:to_server; sid:1;)'
    events = events_of(tmp_path, frames, rule, eve={**EVERYTHING, "payload_bytes": 64}, workers=workers)
    (alert,) = of_type(events, "alert")
    assert alert["stream"] == 1
    assert decoded(alert, "payload").endswith(b"one evil two")
    assert len(decoded(alert, "payload")) == 64
    assert decoded(alert, "packet") == frames[alert["pcap_cnt"] - 1]


def test_an_alert_says_how_much_of_its_flow_had_come_by_then(tmp_path: Path) -> None:
    frames = conversation(b"evil", b"answer", dport=9, close=True)
    rule = 'alert tcp any any -> any any (msg:"x"; content:"evil"; sid:1;)'
    events = events_of(tmp_path, frames, rule)
    (alert,), (flow,) = of_type(events, "alert"), of_type(events, "flow")
    assert alert["pcap_cnt"] == 4
    assert (alert["flow"]["pkts_toserver"], alert["flow"]["pkts_toclient"]) == (3, 1)
    assert alert["flow"]["bytes_toserver"] == sum(len(frames[at]) for at in (0, 2, 3))
    assert flow["flow"]["pkts_toserver"] > 3


def test_the_packet_of_a_tunnel_is_shown_without_the_tunnel(tmp_path: Path) -> None:
    inner = IP(src="198.51.100.1", dst="198.51.100.2") / UDP(sport=5000, dport=9) / b"evil"
    rule = 'alert udp any any -> any any (msg:"x"; content:"evil"; sid:1;)'
    (alert,) = of_type(events_of(tmp_path, [THERE / GRE() / inner], rule, eve=EVERYTHING), "alert")
    assert alert["pkt_src"] == "gre tunnel"
    assert decoded(alert, "packet") == bytes(inner)
    assert alert["packet_info"] == {"linktype": 12}
    assert "ether" not in alert, "it is the tunnel's"
    assert alert["tunnel"] == {
        "src_ip": "192.0.2.1", "src_port": 0, "dest_ip": "203.0.113.1", "dest_port": 0, "proto": "GRE", "depth": 1,
        "pcap_cnt": 1, "pkt_src": "wire/pcap",
    }  # fmt: skip


def test_the_tunnel_of_an_alert_is_that_of_its_side(tmp_path: Path) -> None:
    def inner(src: str, dst: str, data: bytes) -> Packet:
        return IP(src=src, dst=dst) / UDP(sport=5000, dport=5000) / data

    there = THERE / GRE() / inner("198.51.100.1", "198.51.100.2", b"hello")
    back = BACK / GRE() / inner("198.51.100.2", "198.51.100.1", b"evil")
    rule = 'alert udp any any -> any any (msg:"x"; content:"evil"; sid:1;)'
    (alert,) = of_type(events_of(tmp_path, [there, back], rule), "alert")
    assert (alert["tunnel"]["src_ip"], alert["tunnel"]["dest_ip"]) == ("203.0.113.1", "192.0.2.1")
    assert alert["tunnel"]["pcap_cnt"] == 2


# ---- the exchange of what matched on bytes ---------------------------------------------------------------------------

GET = b"GET /evil HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer"
QUERY = bytes.fromhex("12340100000100000000000003777777076578616d706c6503636f6d0000010001")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("said", "direction"), [("evil", "to_server"), ("answer", "to_client")])
def test_an_alert_on_bytes_of_a_stream_shows_the_exchange_that_they_are_in(
    tmp_path: Path, said: str, direction: str, workers: int
) -> None:
    rule = f'alert tcp any any -> any any (msg:"x"; content:"{said}"; sid:1;)'
    events = events_of(tmp_path, conversation(GET, OK, close=True), rule, workers=workers)
    (alert,) = of_type(events, "alert")
    assert alert["direction"] == direction
    assert (alert["tx_id"], alert["tx_guessed"]) == (0, True)
    assert (alert["http"]["hostname"], alert["http"]["url"], alert["http"]["status"]) == (
        "www.example.com",
        "/evil",
        200,
    )
    assert alert["files"][0]["filename"] == "/evil"


def test_of_several_exchanges_it_is_the_one_whose_message_goes_on_there(tmp_path: Path) -> None:
    frames = conversation(GET * 2 + GET.replace(b"evil", b"good"), OK * 3)
    for said, tx_id in (("evil", 0), ("good", 0)):  # in one packet: the first, as in Suricata
        rule = f'alert tcp any any -> any any (msg:"x"; content:"{said}"; sid:1;)'
        assert {alert["tx_id"] for alert in of_type(events_of(tmp_path, frames, rule), "alert")} == {tx_id}


def test_who_drops_packets_says_what_was_known_at_each(tmp_path: Path) -> None:
    rule = 'alert tcp any any -> any any (msg:"x"; content:"evil"; sid:1;)'
    inline = {"drop_packets": True, "inspect_dropped": False}
    (alert,) = of_type(events_of(tmp_path, conversation(GET, OK), rule, respond=inline), "alert")
    assert alert["http"]["url"] == "/evil"
    assert "status" not in alert["http"]


def test_a_rule_on_the_datagrams_of_a_protocol_shows_the_exchange_and_one_on_any_does_not(tmp_path: Path) -> None:
    frames = [THERE / UDP(sport=5000, dport=53) / QUERY]
    for traffic, shown in (("dns", True), ("udp", False)):
        rule = f'alert {traffic} any any -> any any (msg:"x"; content:"example"; sid:1;)'
        (alert,) = of_type(events_of(tmp_path, frames, rule), "alert")
        assert ("dns" in alert, "tx_id" in alert) == (shown, shown)
        assert "tx_guessed" not in alert
    rule = 'alert udp any any -> any any (msg:"x"; content:"example"; sid:1;)'
    (alert,) = of_type(events_of(tmp_path, frames, rule, eve={"guess_exchange": True}), "alert")
    assert alert["dns"]["query"][0]["rrname"] == "www.example.com"


def test_bytes_outside_of_all_exchanges_have_none(tmp_path: Path) -> None:
    rule = 'alert tcp any any -> any any (msg:"x"; content:"evil"; sid:1;)'
    (alert,) = of_type(events_of(tmp_path, conversation(b"evil", b"answer", dport=9), rule), "alert")
    assert not alert.keys() & {"tx_id", "tx_guessed", "http"}


def test_a_datagram_of_fragments_is_shown_whole_in_the_frame_of_the_last(tmp_path: Path) -> None:
    whole = IP(src="192.0.2.1", dst="203.0.113.1", id=9) / UDP(sport=5000, dport=9) / (b"evil" + bytes(60))
    raw = bytes(whole)[20:]
    frames = [
        ETHER / Dot1Q(vlan=5) / IP(src="192.0.2.1", dst="203.0.113.1", id=9, proto=17, flags="MF") / raw[:32],
        ETHER / Dot1Q(vlan=5) / IP(src="192.0.2.1", dst="203.0.113.1", id=9, proto=17, frag=4) / raw[32:],
    ]
    rule = 'alert udp any any -> any any (msg:"x"; content:"evil"; sid:1;)'
    (alert,) = of_type(events_of(tmp_path, frames, rule, eve=EVERYTHING), "alert")
    assert alert["pkt_src"] == "defrag"
    assert alert["pcap_cnt"] == 2
    shown = decoded(alert, "packet")
    assert shown[:18] == bytes(frames[1])[:18]
    assert shown.endswith(raw)
    assert alert["payload_printable"].startswith("evil")


def test_an_alert_on_the_answer_has_the_type_of_the_answer(tmp_path: Path) -> None:
    frames = [THERE / ICMP(type=8, id=5) / b"ping", BACK / ICMP(type=0, id=5) / b"evil"]
    rule = 'alert icmp any any -> any any (msg:"x"; content:"evil"; sid:1;)'
    events = events_of(tmp_path, frames, rule)
    (alert,), (flow,) = of_type(events, "alert"), of_type(events, "flow")
    assert (alert["icmp_type"], alert["icmp_code"]) == (0, 0)
    assert (flow["icmp_type"], flow["icmp_code"]) == (8, 0)
    assert (flow["response_icmp_type"], flow["response_icmp_code"]) == (0, 0)


def test_the_class_is_called_by_its_description_and_the_attacked_end_by_its_address(tmp_path: Path) -> None:
    rule = 'alert udp any any -> any any (msg:"x"; content:"evil"; classtype:trojan-activity; target:dest_ip; sid:1;)'
    (alert,) = of_type(events_of(tmp_path, [THERE / UDP(sport=5000, dport=9) / b"evil"], rule), "alert")
    assert alert["alert"]["category"] == "A Network Trojan was detected"
    assert alert["alert"]["source"] == {"ip": "192.0.2.1", "port": 5000}
    assert alert["alert"]["target"] == {"ip": "203.0.113.1", "port": 9}


# ---- tags -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("tag", "numbers"),
    [
        ("session", [3, 4, 5]),
        ("session,3,packets", [3, 4]),  # the packet that matched counts
        ("session,100,bytes", [3]),
        ("session,2,seconds", [3, 4]),
        ("host,10,packets,src", [3, 4, 5, 6]),
        ("host,10,packets,dst", [3, 4, 5, 6]),
    ],
)
def test_tagged_packets(tmp_path: Path, tag: str, numbers: list[int], workers: int) -> None:
    rule = f'alert udp any any -> any any (msg:"x"; content:"evil"; tag:{tag}; sid:1;)'
    events = events_of(tmp_path, DATAGRAMS, rule, eve={"tagged_packets": True}, workers=workers)
    packets = of_type(events, "packet")
    assert [packet["pcap_cnt"] for packet in packets] == numbers
    assert [decoded(packet, "packet") for packet in packets] == [bytes(DATAGRAMS[at - 1]) for at in numbers]
    assert not of_type(events_of(tmp_path, DATAGRAMS, rule), "packet"), "nobody asked for them"


def test_what_is_watched_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ids.respond.trailing.MAX_WATCHED", 2)
    monkeypatch.setattr("ids.respond.trailing.MAX_PACKETS", 3)
    frames = [THERE / UDP(sport=sport, dport=9) / b"evil" for sport in range(5000, 5010)] * 8
    rule = 'alert udp any any -> any any (msg:"x"; content:"evil"; tag:session,1000,seconds; sid:1;)'
    events = events_of(tmp_path, frames, rule, eve={"tagged_packets": True})
    counters = of_type(events, "stats")[-1]["ids"]
    assert counters["events"]["packets_unwatched"] > 0
    assert len(of_type(events, "packet")) <= 2 * 10 * 3


# ---- bits of the flow -----------------------------------------------------------------------------------------------


def test_bits_and_counters_of_a_flow_are_shown(tmp_path: Path) -> None:
    rule = (
        'alert udp any any -> any any (msg:"x"; content:"evil"; flowbits:set,seen; flowbits:set,again;'
        " flowbits:set,traffic/id/odd; flowbits:set,traffic/label/bad; flowint:times,+,1; sid:1;)"
    )
    events = events_of(tmp_path, DATAGRAMS[1:3], rule)
    (alert,), (flow,) = of_type(events, "alert"), of_type(events, "flow")
    for event in (alert, flow):
        assert event["metadata"] == {"flowbits": ["seen", "again"], "flowints": {"times": 1}}
        assert event["traffic"] == {"id": ["odd"], "label": ["bad"]}
    plain = 'alert udp any any -> any any (msg:"x"; content:"evil"; sid:1;)'
    assert all("metadata" not in event for event in events_of(tmp_path, DATAGRAMS, plain))


# ---- SCTP -----------------------------------------------------------------------------------------------------------


def test_sctp_has_ports_in_rules_and_events(tmp_path: Path) -> None:
    chunk = SCTP(sport=7, dport=9) / b"evil"
    frames = [THERE / chunk, BACK / SCTP(sport=9, dport=7) / b"answer"]
    rules = "\n".join(
        (
            'drop sctp any 7 -> any 9 (msg:"x"; content:"evil"; sid:1;)',
            'alert sctp any 8 -> any 9 (msg:"y"; sid:2;)',
            'alert sctp any 7 -> any 9 (msg:"z"; sid:3;)',
        )
    )
    events = events_of(tmp_path, frames, rules, eve={"drop_flows": "all"})
    alerts = of_type(events, "alert")
    assert sorted(alert["alert"]["signature_id"] for alert in alerts) == [1, 3]
    for event in (*alerts, *of_type(events, "flow")):
        assert (event["proto"], event["src_port"], event["dest_port"]) == ("SCTP", 7, 9)
    assert [drop["pcap_cnt"] for drop in of_type(events, "drop")] == [1, 2]


def test_the_gate_drops_the_rest_of_a_condemned_sctp_flow(tmp_path: Path) -> None:
    wrpcap(
        str(tmp_path / "x.pcap"), [THERE / SCTP(sport=7, dport=9) / b"evil", BACK / SCTP(sport=9, dport=7) / b"more"]
    )
    (tmp_path / "x.rules").write_text('drop sctp any 7 -> any 9 (msg:"x"; content:"evil"; sid:1;)\n')
    config = Config.model_validate({"rules": {"paths": [str(tmp_path / "x.rules")]}, "fastpath": {"replay": "model"}})
    (flow,) = replay([tmp_path / "x.pcap"], config).captures[0].dropped_flows
    assert (flow.cut_off_from, flow.packets) == (2, 1)


# ---- hostile packets ------------------------------------------------------------------------------------------------

RAW = [
    bytes(frame)
    for frame in (
        *DATAGRAMS[:2],
        THERE / TCP(sport=1, dport=2, flags="S") / b"evil",
        THERE / ICMP(type=8, id=5) / b"evil",
        THERE / GRE() / IP(src="198.51.100.1", dst="198.51.100.2") / UDP(sport=5000, dport=9) / b"evil",
        ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=5000, dport=9) / b"evil",
        ETHER / IP(src="192.0.2.1", dst="203.0.113.1", proto=17, frag=4) / b"evil",
        THERE / SCTP(sport=7, dport=9) / b"evil",
    )
]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(RAW), st.integers(1, 200), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)))
        ),
        min_size=1,
        max_size=20,
    )
)
def test_no_packet_breaks_it(tmp_path: Path, cuts: list[tuple[bytes, int, list[tuple[int, int]]]]) -> None:
    frames = []
    for frame, size, changes in cuts:
        changed = bytearray(frame)
        for at, value in changes:
            if at < len(changed):
                changed[at] = value
        frames.append(Raw(bytes(changed[:size])))
    rules = (
        'reject ip any any -> any any (msg:"x"; tag:host,1000,seconds,src; tag:session; target:src_ip; sid:1;)\n'
        'drop pkthdr any any -> any any (msg:"y"; decode-event:ipv4.trunc_pkt; sid:2;)'
    )
    eve = {**EVERYTHING, "tagged_packets": True, "drop_flows": "all", "drop_alert": True}
    events = events_of(tmp_path, frames, rules, eve=eve, respond=INLINE, linktype=1, checksums="none")
    assert of_type(events, "stats")


# ---- the schema -----------------------------------------------------------------------------------------------------


def test_everything_fits_the_schema(tmp_path: Path) -> None:
    validator = event_validator()
    frames = [
        *DATAGRAMS,
        ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=60, fl=5, tc=8) / TCP(sport=1, dport=2, flags="S"),
        THERE / ICMP(type=8, id=5) / b"evil",
        BACK / ICMP(type=0, id=5),
        *conversation(b"evil", b"answer", dport=9),
        THERE / GRE() / IP(src="198.51.100.1", dst="198.51.100.2") / UDP(sport=5000, dport=9) / b"evil",
    ]
    rules = (
        'reject ip any any -> any any (msg:"x"; content:"evil"; tag:session; target:src_ip; flowbits:set,a;'
        " flowint:b,+,1; flowbits:set,traffic/id/c; sid:1;)\n"
        'drop tcp any any -> any any (msg:"y"; flags:S; sid:2;)'
    )
    eve = {**EVERYTHING, "tagged_packets": True, "drop_flows": "all", "drop_alert": True}
    events = events_of(tmp_path, frames, rules, eve=eve)
    assert {event["event_type"] for event in events} >= {"alert", "drop", "packet", "flow"}
    for event in events:
        if event["event_type"] != "stats":
            event.pop("ids", None)
            if "reject-target" in event.get("verdict", {}):  # Suricata 7; the schema is of a later version
                event["verdict"]["reject_target"] = event["verdict"].pop("reject-target")
            assert [error.message for error in validator.iter_errors(event)] == [], event
