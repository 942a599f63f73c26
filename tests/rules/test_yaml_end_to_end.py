"""YAML rules in their fuller language on whole conversations, packet by packet and all at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import Ether

from ids.testing import Session, to_client, to_server
from plugins.rules import Rules
from tests.rules.builders import rule_text

CLIENT, OTHER, SERVER = "192.0.2.1", "192.0.2.9", "203.0.113.80"


@pytest.fixture(params=[1, None], ids=["a packet a batch", "all in one batch"])
def batch(request: pytest.FixtureRequest) -> int | None:
    """Packets a batch."""
    size: int | None = request.param
    return size


class Played(Session):
    """A session with rules."""

    def __init__(self, directory: Path, *rules: str) -> None:
        path = directory / "r.yaml"
        path.write_text("rules:\n" + "".join(rules))
        super().__init__(f"rules.paths=[{path}]", rules=Rules())

    def probes(self, *ports: int, flags: str = "S", dst: str = SERVER, batch: int | None = None) -> None:
        """Send a packet to each port."""
        make = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=CLIENT, dst=dst)
        self.frames(*[bytes(make / TCP(sport=50000, dport=port, flags=flags)) for port in ports], batch=batch)


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Any]:
    """Return what begins a session with rules; sessions end with the test."""
    begun: list[Played] = []

    def begin(*rules: str) -> Played:
        begun.append(Played(tmp_path, *rules))
        return begun[-1]

    yield begin
    for session in begun:
        session.end()


RECORD = (
    "[payload: [{contains: {hex: '17 03'}, at: 0}, {extract: {size: 2, after: 0, as: len}},"
    " {contains: secret, after: 0, within: len}, {data_at_least: 2}]]"
)


@pytest.mark.parametrize(
    ("data", "alerts"),
    [
        (b"\x17\x03\x00\x10....secret......", 1),
        (b"\x17\x03\x00\x08....secret......", 0),
        (b"\x17\x03\x00\x10..........secret.", 0),
        (b".\x17\x03\x00\x10....secret......", 0),
    ],
    ids=["within the record", "behind the record", "at the very end", "not at the start"],
)
def test_a_chain_with_a_length_of_the_traffic(data: bytes, alerts: int, play: Any, batch: int | None) -> None:
    session = play(rule_text(RECORD))
    session.tcp(data[:5], data[5:], batch=batch)
    assert len(session.alerts) == alerts


def test_transforms_and_decoded_base64(play: Any, batch: int | None) -> None:
    session = play(
        rule_text("[http.uri|strip_whitespace|lower: {contains: unionselect}]", 1, traffic="http"),
        rule_text(
            "[http.header: [{contains: 'Basic '}, {decode_base64: {after: 0}}], base64_data: {startswith: 'root:'}]",
            2, traffic="http",
        ),
    )  # fmt: skip
    for line, header in ((b"/?q=UNION%20%20SELECT", b"Basic cm9vdDpyb290"), (b"/", b"Basic YW5uOnJvb3Q6")):
        session.tcp(b"GET %s HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\n\r\n" % (line, header), batch=batch)
    assert sorted(session.sids) == [1, 2]


def test_headers_of_packets(play: Any, batch: int | None) -> None:
    session = play(
        rule_text("[ip.ttl: {lt: 10}]", 1, "ip"),
        rule_text("[{icmp.type: 8, payload.size: {gt: 1000}}]", 2, "icmp"),
        rule_text("[same_address: true]", 3, "ip"),
        rule_text("[tcp.flags: {all: [syn, fin]}]", 4, "tcp"),
        rule_text("[none: [tcp.flags: {any: [syn, ack, rst]}]]", 5, "tcp"),
    )
    link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    ordinary = IP(src=CLIENT, dst=SERVER)
    session.frames(
        *map(bytes, (
            link / IP(src=CLIENT, dst=SERVER, ttl=3) / ICMP(type=0),
            link / ordinary / ICMP() / bytes(1400),
            link / IP(src=SERVER, dst=SERVER) / ICMP(),
            link / ordinary / TCP(sport=1, dport=2, flags="SF"),
            link / ordinary / TCP(sport=3, dport=4, flags="FPU"),
            link / ordinary / TCP(sport=5, dport=6, flags="S"),
        )),
        batch=batch,
    )  # fmt: skip
    assert sorted(session.sids) == [1, 2, 3, 4, 5]


def test_what_one_rule_sets_another_asks_for(play: Any, batch: int | None) -> None:
    session = play(
        rule_text("[payload: {contains: LOGIN root}]", 1, more="set: [{flow: login}, {src: root, for: 1m}]\nsilent: true"),  # noqa: E501
        rule_text("[payload: {contains: DELETE}]", 2, more="when: [{flow: login}]"),
        rule_text("[payload: {contains: DELETE}]", 3, more="when: [{not_flow: login, src: root}]"),
    )  # fmt: skip
    session.tcp(b"DELETE all", b"LOGIN root", b"DELETE some", batch=batch)
    assert session.sids == [2], "the first one came before the login"
    session.tcp(b"DELETE more", batch=batch)
    assert session.sids == [2, 3], "the host is remembered, in another flow"
    session.wait(61)
    session.tcp(b"DELETE more", batch=batch)
    assert session.sids == [2, 3], "for a minute"


def test_a_counter_of_the_flow(play: Any, batch: int | None) -> None:
    session = play(
        rule_text("[payload: {contains: 'USER '}]", 1, more="counters: {tries: {add: 1}}\nsilent: true\nrepeats: true"),
        rule_text("[payload: {contains: 'PASS '}]", 2, more="when: [{counter: {tries: {min: 3}}}]"),
    )
    for tries in (2, 4):
        said = [part for number in range(tries) for part in (b"USER u%d\r\n" % number, to_client(b"no\r\n"))]
        session.tcp(*said, b"PASS p\r\n", batch=batch)
        assert len(session.alerts) == (tries > 3)


LOGINS = (
    rule_text("[payload: {startswith: '530 '}]", 1, more="flow: [to_client]\nsilent: true"),
    rule_text(
        "[payload: {startswith: '230 '}]", 2,
        more="flow: [to_client]\nafter: {rules: 1, by: client, times: 3, within: 60s}",
    ),
)  # fmt: skip
WRONG, RIGHT = to_client(b"530 Login incorrect\r\n"), to_client(b"230 Welcome\r\n")


def test_three_failed_logins_then_one_that_succeeds(play: Any, batch: int | None) -> None:
    session = play(*LOGINS)
    for answer in (WRONG, WRONG, RIGHT, WRONG):
        session.tcp(to_server(b"PASS x\r\n"), answer, dport=21, batch=batch)
    assert session.sids == []
    session.tcp(to_server(b"PASS x\r\n"), RIGHT, dport=21, src=OTHER, batch=batch)
    assert session.sids == [], "somebody else"
    session.tcp(to_server(b"PASS x\r\n"), RIGHT, dport=21, batch=batch)
    assert session.sids == [2]


def test_failures_that_are_long_ago_do_not_count(play: Any) -> None:
    session = play(*LOGINS)
    for _ in range(3):
        session.tcp(to_server(b"PASS x\r\n"), WRONG, dport=21)
    session.wait(61)
    session.tcp(to_server(b"PASS x\r\n"), RIGHT, dport=21)
    assert session.sids == []


def test_a_scan_of_ports_is_one_alert(play: Any, batch: int | None) -> None:
    scan = rule_text(
        "[tcp.flags: {all: [syn], none: [ack]}]",
        more="count: {distinct: dst_port, by: pair, at_least: 20, within: 10s}",
    )
    session = play(scan)
    session.probes(*range(1, 20), batch=batch)
    session.probes(*range(1, 20), dst="203.0.113.81", batch=batch)
    assert session.sids == []
    session.probes(*range(20, 60), batch=batch)
    assert session.sids == [1]
    assert session.alerts[0]["dest_ip"] == SERVER


@pytest.mark.parametrize(
    ("data", "alerts"),
    [(b"the quick brown fox " * 10, 0), (bytes(range(256)), 1), (b"", 0)],
    ids=["text", "all", "none"],
)
def test_entropy(data: bytes, alerts: int, play: Any) -> None:
    session = play(rule_text("[http.request_body: {entropy: {gt: 7}}]", traffic="http"))
    session.tcp(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
    assert len(session.alerts) == alerts


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scan_is_the_same_with_any_number_of_workers(workers: int, tmp_path: Path) -> None:
    """Its flows are spread over all of them; it is counted where all are decided."""
    from ids.config import load_config
    from ids.replay import replay
    from tests.shared import ROOT

    config = load_config(None, [f"rules.paths=[{ROOT / 'rules/base/scanning.yaml'}]", f"engine.workers={workers}"])
    (report,) = replay([ROOT / "pcaps/scanning.pcap"], config).captures
    assert report.alerts == dict.fromkeys(range(1000261, 1000269), 1)
