"""What a `flow` event says was sent, was sent: the kernel counts what it does not show."""

from __future__ import annotations

import socket
import time
from datetime import datetime, timezone
from typing import Any

import pytest
from scapy.layers.inet import ICMP

from ids.lab.actors import Request, connect, fetch
from ids.lab.guard import Guard
from ids.lab.removal import wait_until
from ids.lab.topology import BENIGN, BENIGN6, SERVER, Lab
from tests.lab.clients import PATIENCE_S, SILENCE_S, has_inspected
from tests.lab.test_guard import started
from tests.shared import event_validator

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

DEPTH = 64 << 10
SIZE = 900_000
DOWNLOAD = Request("a download", "/big.bin")
SHALLOW = {"depth_tcp_bytes": DEPTH, "depth_udp_bytes": 4096}


@pytest.fixture
def stocked(site: Lab) -> Lab:
    """A lab whose web server has a file that is larger than the depth."""
    (site.directory / "web-server" / "pages" / "big.bin").write_bytes(bytes(SIZE))
    return site


def flow_events(guard: Guard, port: int) -> list[dict[str, Any]]:
    flows = [event for event in guard.events() if event["event_type"] == "flow" and "dest_port" in event]
    return [event for event in flows if port in (event["src_port"], event["dest_port"])]


@pytest.mark.parametrize("source", [BENIGN, BENIGN6])
def test_a_download_beyond_the_depth_is_counted_to_its_end(stocked: Lab, source: str) -> None:
    if ":" in source and not stocked.ipv6:
        pytest.skip("this kernel has no IPv6")
    guard = started(stocked, fastpath=SHALLOW, flow={"tcp_closed_timeout_s": 1})
    assert fetch(stocked.attacker, source, DOWNLOAD, PATIENCE_S).length > SIZE
    assert guard.kernel_packets()["pass.depth"] > 0

    assert wait_until(lambda: bool(flow_events(guard, 80)), PATIENCE_S)
    (event,) = flow_events(guard, 80)
    assert event["src_ip"] == source
    flow, unseen = event["flow"], event["flow"]["bypassed"]
    assert SIZE < flow["bytes_toclient"] < SIZE * 1.1
    assert unseen["bytes_toclient"] > SIZE - 2 * DEPTH
    assert 0 < unseen["pkts_toclient"] < flow["pkts_toclient"]
    assert (flow["state"], flow["reason"]) == ("closed", "timeout"), "its last acknowledgements were shown"
    validator = event_validator()
    assert [error.message for error in validator.iter_errors(event)] == []


def test_a_flow_that_lives_beyond_its_depth_is_not_idle_and_an_engine_that_stops_reports_it(stocked: Lab) -> None:
    guard = started(stocked, fastpath=SHALLOW, flow={"tcp_established_timeout_s": 2})
    with connect(stocked.attacker, BENIGN, PATIENCE_S) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        connection.sendall(DOWNLOAD.encode())
        got, until = 0, time.monotonic() + 5
        while time.monotonic() < until or got < DEPTH * 4:
            got += len(connection.recv(8192))
            time.sleep(0.06)
        assert got < SIZE, "still at it, long beyond the depth"
        assert flow_events(guard, 80) == []
        assert guard.stop() == 0
    (event,) = flow_events(guard, 80)
    assert event["flow"]["reason"] == "shutdown"
    assert event["flow"]["bytes_toclient"] >= got
    assert event["flow"]["age"] >= 3


def test_what_comes_after_a_timeout_is_counted_from_nothing_and_shown_from_its_beginning(lab: Lab) -> None:
    guard = started(lab, fastpath=SHALLOW, flow={"udp_new_timeout_s": 1})
    with lab.attacker.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((BENIGN, 40000))
        for times in (1, 2):
            for _ in range(10):
                sender.sendto(bytes(1000), (SERVER, 9))
            assert wait_until(lambda times=times: len(flow_events(guard, 9)) == times, PATIENCE_S)  # type: ignore[misc]
    for event in flow_events(guard, 9):
        flow = event["flow"]
        assert (flow["pkts_toserver"], flow["bytes_toserver"]) == (10, 10 * (14 + 20 + 8 + 1000))
        assert flow["bypassed"]["pkts_toserver"] == 10 - 4, "four frames are as many as the depth holds"


def test_a_flow_that_outlives_its_engine_is_as_old_and_as_large_as_it_is(stocked: Lab) -> None:
    guard = started(stocked, fastpath=SHALLOW)
    with connect(stocked.attacker, BENIGN, PATIENCE_S) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        connection.sendall(DOWNLOAD.encode())
        got = 0
        while got < 4 * DEPTH:
            got += len(connection.recv(8192))
        guard.kill()
        killed = datetime.now(timezone.utc)
        guard.start()
        while data := connection.recv(65536):
            got += len(data)
    assert guard.kernel_packets()["pass.depth"] > 0
    assert guard.stop() == 0
    (event,) = flow_events(guard, 80)
    assert datetime.strptime(event["flow"]["start"], "%Y-%m-%dT%H:%M:%S.%f%z") < killed
    sizes = event["flow"]["bytes_toclient"], event["flow"]["bytes_toserver"]
    assert max(sizes) > got > SIZE, "the server is taken for the client when its FIN is all that was shown"


def test_the_next_connection_on_the_same_ports_takes_nothing_away_from_the_one_before(stocked: Lab) -> None:
    guard = started(stocked, fastpath=SHALLOW)
    for _ in range(2):
        with stocked.attacker.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE_S)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind((BENIGN, 40000))
            connection.connect((SERVER, 80))
            connection.sendall(DOWNLOAD.encode())
            while connection.recv(65536):
                pass
        assert guard.kernel_packets()["pass.depth"] > 0
        assert wait_until(lambda: has_inspected(guard), PATIENCE_S)
    assert guard.stop() == 0
    assert [event["flow"]["reason"] for event in flow_events(guard, 80)] == ["tcp_reuse", "shutdown"]
    for event in flow_events(guard, 80):
        assert SIZE < event["flow"]["bytes_toclient"] < SIZE * 1.1


PING_RULE = """
rules:
  - title: a word in a ping
    id: 3f1f6a52-6c0e-4a57-9d0e-0b7c5a1e2f12
    sid: 9000002
    level: high
    description: a rule of the tests
    then: drop
    traffic: icmp any any -> any any
    match:
      - payload: {contains: "exfiltrate"}
"""


def test_a_condemned_ping_gets_no_more_answers_and_another_ping_does(lab: Lab) -> None:
    rules = lab.directory / "ping.yaml"
    rules.write_text(PING_RULE)
    guard = Guard(lab, rules={"paths": [str(rules)]})
    guard.start()
    with lab.attacker.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pinger:
        pinger.bind((BENIGN, 0))
        assert answered(pinger, 7, 1, b"harmless")
        answered(pinger, 7, 2, b"exfiltrate", SILENCE_S)
        alert = guard.wait_for(lambda event: event["event_type"] == "alert", PATIENCE_S)
        assert alert is not None
        assert alert["alert"]["action"] == "blocked"
        assert not answered(pinger, 7, 3, b"harmless", SILENCE_S)
        assert answered(pinger, 8, 1, b"harmless")
    assert guard.kernel_packets()["drop.flow"] > 0
    assert guard.stop() == 0
    dropped = [
        event["flow"]["action"]
        for event in guard.events()
        if event["event_type"] == "flow" and "action" in event["flow"]
    ]
    assert dropped == ["drop"]


def answered(
    pinger: socket.socket, identifier: int, number: int, payload: bytes, patience_s: float = PATIENCE_S
) -> bool:
    """Send an echo and wait for its own reply, rather than a late one."""
    pinger.settimeout(patience_s)
    pinger.sendto(bytes(ICMP(id=identifier, seq=number) / payload), (SERVER, 0))
    try:
        while (reply := ICMP(pinger.recv(2048)[20:])).id != identifier or reply.seq != number:
            pass
    except TimeoutError:
        return False
    return True
