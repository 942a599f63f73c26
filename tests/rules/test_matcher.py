"""Rules meet transactions and packets."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ids.counters import Counters
from ids.decode.columns import Columns
from ids.plugin.session import FlowSession, Frame
from ids.rules.match.evaluation import MAX_FAULTS
from ids.rules.match.flagged import MAX_LOOKED
from ids.rules.match.matcher import Matcher
from ids.rules.model.patterns import Pattern
from ids.rules.settings import RulesSettings
from ids.types import Datagram, Direction, Flow, FlowBatch, FlowState, Match, PacketBatch, Packets, Transaction
from tests.factory import T0, make_datagrams
from tests.rules.builders import chunks, end, exchange, feed, flow_of, matcher, rule_text, sids, transaction


def test_a_transaction_matches_once_a_side() -> None:
    """A request fires its rule once, also when the parser hands it on again."""
    m = matcher(rule_text("[http.uri: {contains: attack}]", traffic="http"))
    flow = flow_of(m, app_proto="http")
    request = transaction(flow, uri=b"/attack")
    (match,) = exchange(m, request)
    assert (match.direction, match.number, match.transaction, match.detector) == (0, 7, request, "test")
    assert (match.evidence[0].buffer, match.evidence[0].offset, match.evidence[0].excerpt) == (
        "http.uri",
        1,
        b"/attack",
    )
    assert exchange(m, request) == []
    assert sids(exchange(m, transaction(flow, tx_id=1, uri=b"/attack"))) == [1]


def test_evidence_is_short() -> None:
    """At most 256 bytes around what was found."""
    m = matcher(rule_text("[http.uri: {contains: needle}]", traffic="http"))
    (match,) = exchange(m, transaction(flow_of(m), uri=b"x" * 1000 + b"needle" + b"y" * 1000))
    assert match.evidence[0].offset == 1000
    assert match.evidence[0].excerpt == b"x" * 32 + b"needle" + b"y" * 32


def test_the_most_telling_evidence_comes_first() -> None:
    """The method, which the rule tests first, says nothing; of equal pieces the first test's comes first."""
    tests = ("http.method: GET", "http.uri: {contains: /a}", "http.header: {contains: '${jndi:'}", "http.cookie: /e")
    m = matcher(rule_text(f"[{', '.join(tests)}]", traffic="http"))
    flow = flow_of(m, app_proto="http")
    (found,) = exchange(m, transaction(flow, method=b"GET", uri=b"/a", header=b"A: ${jndi:x}", cookie=b"/e"))
    assert [piece.buffer for piece in found.evidence] == ["http.header", "http.uri", "http.cookie", "http.method"]


def test_request_and_response_together() -> None:
    """A rule on both sides waits for the response, and is judged with the request's buffers."""
    m = matcher(rule_text("[http.uri: {contains: login}, http.stat_code: 200]", traffic="http"))
    flow = flow_of(m, app_proto="http")
    for tx_id, uri in enumerate((b"/login", b"/login", b"/other")):
        assert exchange(m, transaction(flow, tx_id=tx_id, uri=uri)) == []
    found = [
        sids(exchange(m, transaction(flow, Direction.TO_CLIENT, tx_id, stat_code=code)))
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
    flow = flow_of(m, "192.0.2.1", app_proto="http")
    exchange(m, transaction(flow, uri=b"/login"))
    found = exchange(m, transaction(flow, Direction.TO_CLIENT, stat_code=b"200"))
    assert [(match.signature.sid, match.direction) for match in found] == [(1, 0), (2, 1)]


def test_unanswered_requests_are_bounded() -> None:
    """The oldest go first, and are counted; their responses do not match."""
    counters = Counters()
    m = matcher(
        rule_text("[http.uri: {contains: login}, http.stat_code: 200]", traffic="http"),
        settings=RulesSettings(transactions_per_flow=4), counters=counters,
    )  # fmt: skip
    flow = flow_of(m, app_proto="http")
    for tx_id in range(6):
        exchange(m, transaction(flow, tx_id=tx_id, uri=b"/login"))
    assert counters["rules.transactions.evicted"] == 2
    found = [sids(exchange(m, transaction(flow, Direction.TO_CLIENT, i, stat_code=b"200"))) for i in range(6)]
    assert found == [[], [], [1], [1], [1], [1]]
    end(m, flow)
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
    found = exchange(m, transaction(flow_of(m, app_proto="http"), host=b"a.example"))
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
    assert bool(exchange(m, transaction(flow_of(m, app_proto="http"), uri=b"/A", method=b"GET"))) is fires


def test_a_batch_of_transactions_is_judged_row_by_row() -> None:
    """Requests, their responses and other flows in one batch match as they would one by one, in their order."""
    m = matcher(
        rule_text("[http.uri: {contains: attack}]", 1, "http"),
        rule_text("[http.uri: {contains: login}, http.stat_code: 200]", 2, "http"),
        rule_text("[http.uri: {regex: '[0-9]+'}]", 3, "http any any -> any 8080"),
    )
    flows = [flow_of(m, app_proto="http", dport=dport) for dport in (80, 8080)]
    batch = [
        tx
        for flow in flows
        for tx in (
            transaction(flow, uri=b"/attack/1"),
            transaction(flow, tx_id=1, uri=b"/login"),
            transaction(flow, Direction.TO_CLIENT, 0, stat_code=b"200"),
            transaction(flow, Direction.TO_CLIENT, 1, stat_code=b"200"),
        )
    ]
    found = [(match.signature.sid, match.flow.dport) for match in exchange(m, *batch)]
    assert found == [(1, 80), (2, 80), (1, 8080), (3, 8080), (2, 8080)]


class Asked(dict[str, bytes]):
    """Buffers that note which of them were asked for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.names: set[str] = set()

    def get(self, name: str, *rest: Any) -> Any:
        """Note the name."""
        self.names.add(name)
        return super().get(name, *rest)


def test_only_buffers_that_rules_name_are_asked_for() -> None:
    """Asking may make a buffer, which costs."""
    m = matcher(rule_text("[http.uri: {contains: attack}, http.method: GET]", traffic="http"))
    flow = flow_of(m, app_proto="http")
    for uri, names in ((b"/", {"http.uri"}), (b"/attack", {"http.uri", "http.method"})):
        buffers = Asked({"http.uri": uri, "http.method": b"GET", "http.request_body": b"large"})
        exchange(m, Transaction(flow.columns, flow.slot, "http", 0, Direction.TO_SERVER, buffers, {}, T0, 7))
        assert buffers.names == names


@pytest.mark.parametrize(
    ("match", "fires"),
    [
        ("[dns.answer.name: {contains: bad}]", [b"bad"]),
        ("[dns.answer.name: {startswith: c, contains: bad}]", None),
        ("[dns.answer.name: {startswith: b, endswith: e}]", [b"b.bad.example", b"b.bad.example"]),
        ("[dns.answer.name: {startswith: c}, dns.answer.name: {contains: bad}]", [b"bad", b"c.example"]),
        ("[dns.answer.name: {contains: [zz, c.], size: 9}]", [b"c.example"]),
        ("[none: [dns.answer.name: {startswith: c, contains: bad}]]", []),
        ("[none: [dns.answer.name: {contains: bad}]]", None),
        ("[dns.answer.name: {contains: BAD, nocase: true, regex: 'b[.]'}]", [b"bad", b"b."]),
    ],
)
def test_tests_of_one_entry_meet_in_one_instance(match: str, fires: list[bytes] | None) -> None:
    """Of a buffer with several instances; the evidence is from that one."""
    text = match.replace("dns.answer.name", "http.cookie")
    m = matcher(rule_text(text, traffic="http"))
    flow = flow_of(m, app_proto="http")
    names = (b"a.example", b"b.bad.example", b"c.example")
    tx = Transaction(
        flow.columns, flow.slot, "http", 0, Direction.TO_CLIENT, {"http.cookie": names[0]}, {}, T0, 7,
        more={"http.cookie": names[1:]},
    )  # fmt: skip
    found = exchange(m, tx)
    assert bool(found) is (fires is not None)
    for match_ in found:
        assert len(match_.evidence) == len(fires or [])
        for evidence, piece in zip(match_.evidence, fires or [], strict=True):
            assert piece in evidence.excerpt
            assert evidence.excerpt in names


def packets_of(flow: Flow, directions: list[int]) -> tuple[Packets, FlowBatch]:
    """Return packets of a flow without payload, numbered from 1 on, as decoding and the flow table hand them on."""
    n = len(directions)
    numbers, none = np.arange(1, n + 1), np.zeros(n, np.int64)
    batch = PacketBatch(
        np.zeros(0, np.uint8), none, none, none, numbers + T0, numbers, np.ones(n, np.uint16), np.zeros(n, np.uint32),
        "t.pcap",
    )  # fmt: skip
    columns, there = Columns(batch), np.array(directions) == Direction.TO_SERVER
    columns.ip_version[:], columns.proto[:] = flow.ip_version, flow.proto
    columns.src[:] = np.where(there[:, None], flow.src, flow.dst)
    columns.dst[:] = np.where(there[:, None], flow.dst, flow.src)
    columns.sport[:] = np.where(there, flow.sport, flow.dport)
    columns.dport[:] = np.where(there, flow.dport, flow.sport)
    columns.l4[:] = 0
    slots = np.full(n, flow.slot, np.int64)
    flows = SimpleNamespace(flows=flow.columns, slot=slots, direction=np.array(directions, np.uint8), notes=())
    return columns.packets(), cast(FlowBatch, flows)


def headers(m: Matcher, flow: Flow, *directions: int) -> list[Match]:
    """Match one batch of packets of a flow."""
    return m.packets(*packets_of(flow, list(directions)))


def datagrams(m: Matcher, flow: Flow, payloads: list[bytes]) -> list[Match]:
    """Match one batch of datagrams to the server."""
    rows = [
        Datagram(flow, Direction.TO_SERVER, data, T0 + number, number)
        for number, data in enumerate(payloads, 1)
        if data
    ]
    return m.datagrams(make_datagrams(rows))


def test_datagrams_are_matched_one_by_one() -> None:
    """Every datagram with the needle matches, in order; none over the boundary of two."""
    m = matcher(rule_text("[payload: {contains: abcd}]", traffic="udp"))
    found = datagrams(m, flow_of(m, proto=17), [b"xabcd", b"ab", b"cd", b"", b"ABCD", b"abcd"])
    assert [match.number for match in found] == [1, 6]
    assert found[0].evidence[0].offset == 1


def test_datagram_rules_without_a_literal() -> None:
    """They are judged on what their traffic leaves."""
    m = matcher(rule_text("[payload: {size: 3}]", traffic="udp any any -> any 53"))
    assert [x.number for x in datagrams(m, flow_of(m, proto=17, dport=53), [b"abc", b"ab"])] == [1]
    assert datagrams(m, flow_of(m, proto=17, dport=54), [b"abc", b"ab"]) == []


@pytest.mark.parametrize("needle", ["abcd", None])
@pytest.mark.parametrize(
    ("traffic", "changes", "fires"),
    [
        ("udp any any -> any any", {}, True),
        ("udp 192.0.2.1 40000 -> 203.0.113.1 53", {}, True),
        ("udp 203.0.113.1 53 -> 192.0.2.1 any", {}, False),
        ("udp 203.0.113.1 53 <> 192.0.2.1 any", {}, True),
        ("udp ![192.0.2.0/24,2001:db8::/32] any -> any any", {}, False),
        ("ip any 9 -> any 9", {"proto": 1, "sport": 8, "dport": 0}, True),
        ("icmp 192.0.2.1 any -> any any", {"proto": 58}, True),
        ("tcp any any -> any any", {}, False),
        ("dns any any -> any any", {"app_proto": "dns"}, True),
        ("dns any any -> any any", {}, False),
    ],
)
def test_datagrams_and_their_traffic(traffic: str, changes: dict[str, Any], fires: bool, needle: str | None) -> None:
    """A rule looks at its traffic, whether a needle picks it or nothing does. ICMP has no ports."""
    match = f"[payload: {{contains: {needle}}}]" if needle else "[payload: {size: 4}]"
    m = matcher(rule_text(match, traffic=traffic))
    flow = flow_of(m, **({"proto": 17, "dport": 53} | changes))
    assert bool(datagrams(m, flow, [b"abcd"])) is fires


def test_a_rule_on_an_application_protocol_alone() -> None:
    """It fires once the protocol is recognised, at the close at the latest, whatever the bytes."""
    m = matcher(rule_text("[]", traffic="ssh any any -> any 80", more="flow: to_server"))
    flow = flow_of(m)
    first, last = chunks(flow, [b"SSH-2.0-x"])
    assert feed(m, first) == []
    flow.app_proto = "ssh"
    assert sids(feed(m, last)) == [1]
    assert headers(m, flow, 0) == []


def test_header_rules_fire_once_a_flow() -> None:
    """At the first packet of a direction that fits."""
    m = matcher(
        rule_text("[]", 1, "tcp any any -> any 23"), rule_text("[]", 2, "icmp any any -> any any"),
        rule_text("[]", 3, "ip any 23 -> any any"), rule_text("[]", 4, "tcp", more="flow: established"),
    )  # fmt: skip
    flow = flow_of(m, dport=23, state=FlowState.NEW)
    assert [(x.signature.sid, x.number) for x in headers(m, flow, 0, 0)] == [(1, 1)]
    flow.state = FlowState.ESTABLISHED
    assert sorted(sids(headers(m, flow, 1))) == [3, 4]
    assert headers(m, flow, 0) == []


def session(flow: Flow, *packets: Any, direction: Direction = Direction.TO_SERVER) -> FlowSession:
    """Return the packets of a flagged flow, numbered from 11 on."""
    return FlowSession(
        flow, [Frame(bytes(packet), 228, T0 + number, number, direction) for number, packet in enumerate(packets, 11)]
    )


def test_a_scapy_field_is_one_of_the_side_that_the_rule_looks_at() -> None:
    """The answer's field says nothing of the request: else the rule would accuse the server."""
    from scapy.layers.inet import IP, TCP

    m = matcher(
        rule_text("[http.uri: {contains: abcd}, scapy.TCP.window: 7]", 1, "http"),
        rule_text("[scapy.TCP.window: 7]", 2, "tcp any any -> any 80"), rule_text("[scapy.TCP.window: 7]", 3),
    )  # fmt: skip
    flow = flow_of(m, app_proto="http")
    packet = IP() / TCP(window=7)
    assert headers(m, flow, 0, 1) == []
    assert exchange(m, transaction(flow, uri=b"abcd")) == []
    answered = m.flagged(session(flow, packet, direction=Direction.TO_CLIENT))
    assert [(match.signature.sid, match.direction) for match in answered] == [(3, Direction.TO_CLIENT)]
    asked = m.flagged(session(flow, packet))
    assert [(match.signature.sid, match.direction) for match in asked] == [
        (2, Direction.TO_SERVER), (1, Direction.TO_SERVER)
    ]  # fmt: skip


def test_a_rule_waits_for_scapy_fields_only_so_long() -> None:
    """Dissecting is the most costly thing here, and a flow may have any number of packets."""
    from scapy.layers.inet import IP, TCP

    counters = Counters()
    m = matcher(rule_text("[scapy.TCP.window: 7]", traffic="tcp any any -> any 80"), counters=counters)
    flow = flow_of(m)
    for _ in range(MAX_LOOKED // 64 + 1):
        assert headers(m, flow, 0) == []
        assert m.flagged(session(flow, *[IP() / TCP(window=8)] * 64)) == []
    assert m.flagged(session(flow, IP() / TCP(window=7))) == []
    assert counters["rules.scapy.given_up"] == 1


def test_scapy_fields_wait_for_the_flagged_flow() -> None:
    """The rest of the rule flags the flow; its dissected packets decide, and the one with the field is shown."""
    from scapy.layers.inet import IP, TCP

    m = matcher(rule_text("[http.uri: {contains: abcd}, scapy.TCP.window: 7]", traffic="http"))
    flow = flow_of(m, app_proto="http")
    request = transaction(flow, uri=b"abcd")
    assert exchange(m, request) == []
    assert flow.flagged
    assert m.flagged(session(flow, IP() / TCP(window=8))) == []
    (match,) = m.flagged(session(flow, IP() / TCP(window=8), IP() / TCP(window=7), IP() / TCP(window=7)))
    assert (match.signature.sid, match.ts_ns, match.number, match.transaction) == (1, T0 + 12, 12, request)
    assert [(e.buffer, e.excerpt) for e in match.evidence] == [("http.uri", b"abcd"), ("scapy.TCP.window", b"7")]
    assert m.flagged(session(flow, IP() / TCP(window=7))) == []


def test_a_rule_on_scapy_fields_alone_fires_once_a_flow() -> None:
    """Every packet flags the flow anew, but the rule is done."""
    from scapy.layers.inet import IP, TCP

    m = matcher(rule_text("[scapy.IP.ttl: 9, scapy.TCP.window: 7]", traffic="tcp"))
    flow = flow_of(m)
    both = session(flow, IP(ttl=9) / TCP(window=8), IP(ttl=8) / TCP(window=7))
    found = []
    for _ in range(3):
        assert headers(m, flow, 0, 1) == []
        found += m.flagged(both)
    assert [match.number for match in found] == [12]


class Broken(Pattern):
    """An expression that fails on one word."""

    def search(self, data: bytes | memoryview) -> tuple[int, int] | None:
        """Fail."""
        if b"fail" in bytes(data):
            raise RuntimeError("broken")
        return (0, 1)


def test_a_fault_costs_its_rule_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, counted, and its rule set aside when it goes on failing; its neighbours match."""
    from dataclasses import replace

    from ids.rules.model.rule import All, Regex
    from ids.types import FlowColumns
    from tests.rules.builders import load

    counters = Counters()
    loaded = load("rules:\n" + "".join(rule_text("[payload: {contains: needle}]", sid, "ip") for sid in (1, 2, 3)))
    broken = Regex("payload", Broken("x", False))
    first, second, third = loaded.rules
    rules = (first, replace(second, condition=All((*second.condition.parts, broken))), third)
    m = Matcher(replace(loaded, rules=rules), FlowColumns(4), counters, detector="test")

    def found(text: bytes) -> list[int]:
        return sids(feed(m, *chunks(flow_of(m), [b"needle " + text])))

    assert found(b"") == [1, 2, 3]
    for _ in range(MAX_FAULTS):
        assert found(b"fail") == [1, 3]
    assert found(b"") == [1, 3]
    assert sids(datagrams(m, flow_of(m, proto=17), [b"needle"])) == [1, 3]
    assert (counters["rules.faults"], counters["rules.set_aside"]) == (MAX_FAULTS, 1)
    assert counters["rules.faulty.2"] == MAX_FAULTS
    assert counters["rules.skipped"] > 0
    named = [record for record in caplog.records if "rule 2" in record.message]
    assert [record.levelname for record in named] == ["WARNING", "ERROR"]
    m.memory.flows.epoch += 1
    assert found(b"") == [1, 2, 3], "what one capture provoked says nothing of the next"


def test_a_rule_that_was_set_aside_is_tried_again() -> None:
    """After a minute of traffic: nobody can switch it off for good."""
    m = matcher(rule_text("[payload: {contains: needle}]"))
    evaluator = m._streams._follower._evaluator
    rule, flow = m.rules[0], flow_of(m)

    def ask(ts_ns: int, action: Callable[[], int]) -> int | None:
        return evaluator.guarded(rule, flow, ts_ns, action)

    def fail() -> int:
        raise RuntimeError

    for _ in range(MAX_FAULTS):
        assert ask(T0, fail) is None
    assert ask(T0 + 59_000_000_000, lambda: 7) is None
    assert ask(T0 + 60_000_000_000, lambda: 7) == 7
