"""Rules meet transactions and packets."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ids.counters import Counters
from ids.rules.settings import RulesSettings
from ids.types import Direction, FlowState, Match
from tests.factory import make_flow
from tests.rules.builders import chunks, matcher, rule_text, sids, transaction


def test_a_transaction_matches_once_a_side() -> None:
    """A request fires its rule once, also when the parser hands it on again."""
    m = matcher(rule_text("[http.uri: {contains: attack}]", traffic="http"))
    flow = make_flow(app_proto="http")
    request = transaction(flow, uri=b"/attack")
    (match,) = m.transaction(request)
    assert (match.direction, match.number, match.transaction, match.detector) == (0, 7, request, "test")
    assert (match.evidence[0].buffer, match.evidence[0].offset, match.evidence[0].excerpt) == (
        "http.uri",
        1,
        b"/attack",
    )
    assert m.transaction(request) == []
    assert sids(m.transaction(transaction(flow, tx_id=1, uri=b"/attack"))) == [1]


def test_evidence_is_short() -> None:
    """At most 256 bytes around what was found."""
    m = matcher(rule_text("[http.uri: {contains: needle}]", traffic="http"))
    (match,) = m.transaction(transaction(make_flow(), uri=b"x" * 1000 + b"needle" + b"y" * 1000))
    assert match.evidence[0].offset == 1000
    assert match.evidence[0].excerpt == b"x" * 32 + b"needle" + b"y" * 32


def test_request_and_response_together() -> None:
    """A rule on both sides waits for the response, and is judged with the request's buffers."""
    m = matcher(rule_text("[http.uri: {contains: login}, http.stat_code: 200]", traffic="http"))
    flow = make_flow(app_proto="http")
    for tx_id, uri in enumerate((b"/login", b"/login", b"/other")):
        assert m.transaction(transaction(flow, tx_id=tx_id, uri=uri)) == []
    found = [
        sids(m.transaction(transaction(flow, Direction.TO_CLIENT, tx_id, stat_code=code)))
        for tx_id, code in enumerate((b"403", b"200", b"200"))
    ]
    assert found == [[], [1], []]


def test_a_rule_on_both_sides_is_seen_from_the_client() -> None:
    """Its source is who asked, so that a block of src_ip hits the attacker; `to_client` turns it round."""
    match = "[http.uri: {contains: login}, http.stat_code: 200]"
    m = matcher(
        rule_text(match, 1, "http 192.0.2.1 any -> any 80"),
        rule_text(match, 2, "http any 80 -> 192.0.2.1 any", more="flow: to_client"),
        rule_text(match, 3, "http any 80 -> 192.0.2.1 any"),
    )
    flow = make_flow("192.0.2.1", app_proto="http")
    m.transaction(transaction(flow, uri=b"/login"))
    found = m.transaction(transaction(flow, Direction.TO_CLIENT, stat_code=b"200"))
    assert [(match.signature.sid, match.direction) for match in found] == [(1, 0), (2, 1)]


def test_unanswered_requests_are_bounded() -> None:
    """The oldest go first, and are counted; their responses do not match."""
    counters = Counters()
    m = matcher(
        rule_text("[http.uri: {contains: login}, http.stat_code: 200]", traffic="http"),
        settings=RulesSettings(transactions_per_flow=4), counters=counters,
    )  # fmt: skip
    flow = make_flow(app_proto="http")
    for tx_id in range(6):
        m.transaction(transaction(flow, tx_id=tx_id, uri=b"/login"))
    assert counters["rules.transactions.evicted"] == 2
    found = [sids(m.transaction(transaction(flow, Direction.TO_CLIENT, i, stat_code=b"200"))) for i in range(6)]
    assert found == [[], [], [1], [1], [1], [1]]
    m.flow_end(flow)
    assert (m.retained.total, len(m.retained)) == (0, 0)


@pytest.mark.parametrize(
    ("traffic", "more", "fires"),
    [
        ("http any any -> any any", "", True),
        ("http 192.0.2.1 any -> 203.0.113.1 80", "", True),
        ("http 203.0.113.1 any -> 192.0.2.1 any", "", False),
        ("http 203.0.113.1 any <> 192.0.2.1 any", "", True),
        ("http any any -> any !80", "", False),
        ("dns any any -> any any", "", False),
        ("tcp any any -> any any", "", True),
        ("udp any any -> any any", "", False),
        ("http", "flow: to_client", False),
        ("http", "flow: [to_server, established]", True),
        ("http", "flow: not_established", False),
        ("http", "exceptions: [{name: x, src_ip: 192.0.2.0/24}]", False),
        ("http", "exceptions: [{name: x, src_ip: 192.0.2.0/24, dst_ip: 192.0.2.9}]", True),
        ("http", "exceptions: [{name: x, http.host: [a.example, b.example]}]", False),
        ("http", "exceptions: [{name: x, http.host: [c.example]}]", True),
    ],
)
def test_traffic_flow_and_exceptions(traffic: str, more: str, fires: bool) -> None:
    """A candidate is judged by where it comes from, the sender being the source."""
    match = "[http.host: {contains: example}]" if not traffic.startswith("dns") else "[file.data: a]"
    m = matcher(rule_text(match, traffic=traffic, more=more))
    found = m.transaction(transaction(make_flow(app_proto="http"), host=b"a.example"))
    assert bool(found) is fires


@pytest.mark.parametrize(
    ("match", "fires"),
    [
        ("[http.uri: /A]", True),
        ("[http.uri: /a]", False),
        ("[http.uri: {equals: /a, nocase: true}]", True),
        ("[http.uri: {startswith: /}]", True),
        ("[http.uri: {startswith: A}]", False),
        ("[http.uri: {endswith: A}]", True),
        ("[http.uri: {endswith: /}]", False),
        ("[http.uri: {size: 2}]", True),
        ("[http.uri: {size: {gt: 2}}]", False),
        ("[http.uri: {regex: '^/[A-Z]$'}]", True),
        ("[none: [http.uri: {contains: A}]]", False),
        ("[none: [http.uri: {contains: B}]]", True),
        ("[none: [http.user_agent: {contains: B}], http.uri: /A]", True),
        ("[http.user_agent: {size: {min: 0}}]", False),
        ("[any: [http.uri: /B, all: [http.uri: {contains: A}, http.method: GET]]]", True),
    ],
)
def test_tests(match: str, fires: bool) -> None:
    """Each operator on a request for /A; a test on a buffer that is not there does not hold."""
    m = matcher(rule_text(match, traffic="http"))
    assert bool(m.transaction(transaction(make_flow(app_proto="http"), uri=b"/A", method=b"GET"))) is fires


def batch(flow: object, payloads: list[bytes], proto: int = 17, direction: int = 0) -> tuple[object, object]:
    """Return packets of one flow as the matcher needs them: columns over one buffer, with rubbish between payloads."""
    client, server = ((flow.src, flow.sport), (flow.dst, flow.dport))  # type: ignore[attr-defined]
    src, dst = (client, server) if direction == 0 else (server, client)
    n = len(payloads)
    data, offsets = b"", []
    for payload in payloads:
        data += b"header"
        offsets.append(len(data))
        data += payload
    packets = SimpleNamespace(
        batch=SimpleNamespace(
            data=np.frombuffer(data, np.uint8), ts_ns=np.arange(n, dtype=np.int64), number=np.arange(1, n + 1)
        ),
        usable=np.ones(n, bool), proto=np.full(n, proto, np.uint8),
        src=np.full((n, 2), src[0], np.uint64), dst=np.full((n, 2), dst[0], np.uint64),
        sport=np.full(n, src[1], np.uint16), dport=np.full(n, dst[1], np.uint16),
        payload=np.array(offsets, np.int64), payload_len=np.array([len(p) for p in payloads], np.int64),
    )  # fmt: skip
    flows = SimpleNamespace(flows=[flow], index=np.zeros(n, np.int64), direction=np.full(n, direction, np.uint8))
    return packets, flows


def run(m: object, *args: object, **options: int) -> list[Match]:
    """Match one batch."""
    return m.packets(*batch(*args, **options))  # type: ignore[attr-defined,arg-type,no-any-return]


def test_datagrams_are_matched_one_by_one() -> None:
    """Every datagram with the needle matches, in order; none over the boundary of two."""
    m = matcher(rule_text("[payload: {contains: abcd}]", traffic="udp"))
    found = run(m, make_flow(proto=17), [b"xabcd", b"ab", b"cd", b"", b"ABCD", b"abcd"])
    assert [match.number for match in found] == [1, 6]
    assert found[0].evidence[0].offset == 1


def test_datagram_rules_without_a_literal() -> None:
    """They are judged on what their traffic leaves."""
    m = matcher(rule_text("[payload: {size: 3}]", traffic="udp any any -> any 53"))
    assert [x.number for x in run(m, make_flow(proto=17, dport=53), [b"abc", b"ab"])] == [1]
    assert run(m, make_flow(proto=17, dport=54), [b"abc", b"ab"]) == []


def test_tcp_payload_is_left_to_the_stream() -> None:
    """A rule on ip or tcp does not fire twice."""
    m = matcher(rule_text("[payload: {contains: abcd}]", traffic="ip"))
    assert run(m, make_flow(), [b"abcd"], proto=6) == []
    assert [match.number for match in run(m, make_flow(proto=1), [b"abcd"], proto=1)] == [1]


def test_a_rule_on_an_application_protocol_alone() -> None:
    """It fires once the protocol is recognised, at the close at the latest, whatever the bytes."""
    m = matcher(rule_text("[]", traffic="ssh any any -> any 80", more="flow: to_server"))
    flow = make_flow()
    first, last = chunks(flow, [b"SSH-2.0-x"])
    assert m.stream(first) == []
    flow.app_proto = "ssh"
    assert sids(m.stream(last)) == [1]
    assert run(m, flow, [b""], proto=6) == []


def test_header_rules_fire_once_a_flow() -> None:
    """At the first packet of a direction that fits."""
    m = matcher(
        rule_text("[]", 1, "tcp any any -> any 23"), rule_text("[]", 2, "icmp any any -> any any"),
        rule_text("[]", 3, "ip any 23 -> any any"), rule_text("[]", 4, "tcp", more="flow: established"),
    )  # fmt: skip
    flow = make_flow(dport=23, state=FlowState.NEW)
    assert [(x.signature.sid, x.number) for x in run(m, flow, [b"", b""], proto=6)] == [(1, 1)]
    flow.state = FlowState.ESTABLISHED
    assert sorted(sids(run(m, flow, [b""], proto=6, direction=1))) == [3, 4]
    assert run(m, flow, [b""], proto=6) == []


def test_scapy_fields_wait_for_the_flagged_flow() -> None:
    """The rest of the rule flags the flow; its dissected packets decide."""
    from scapy.layers.inet import IP, TCP

    m = matcher(rule_text("[http.uri: {contains: abcd}, scapy.TCP.window: 7]", traffic="http"))
    flow = make_flow(app_proto="http")
    assert m.transaction(transaction(flow, uri=b"abcd")) == []
    assert flow.flagged
    assert m.flagged(flow, [IP() / TCP(window=8)], (5, 6)) == []
    (match,) = m.flagged(flow, [IP(), IP() / TCP(window=7)], (5, 6))
    assert (match.signature.sid, match.ts_ns, match.number) == (1, 5, 6)
    assert m.flagged(flow, [IP() / TCP(window=7)], (5, 6)) == []
