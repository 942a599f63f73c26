"""A protocol at the port of another is an event."""

from __future__ import annotations

import pytest

from ids.protocols import PROTOCOLS
from ids.protocols.ports import HOMES
from ids.testing import Session
from ids.testing.session import to_client, to_server
from tests.protocols import said

GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
SSH = (b"SSH-2.0-x\r\n", to_client(b"SSH-2.0-y\r\n"))


def strangers(session: Session) -> list[tuple[str, int]]:
    """Return protocol and port of each such event."""
    return [
        (event["anomaly"]["app_proto"], event["dest_port"])
        for event in session.events
        if event["event_type"] == "anomaly" and event["anomaly"]["event"] == "APPLAYER_PROTOCOL_AT_ANOTHERS_PORT"
    ]


@pytest.mark.parametrize(
    ("turns", "port", "found"),
    [
        ((GET,), 22, [("http", 22)]),
        ((GET,), 443, [("http", 443)]),
        ((GET,), 80, []),
        ((GET,), 8080, []),
        ((GET,), 12345, []),
        (SSH, 443, [("ssh", 443)]),
        (SSH, 22, []),
        (SSH, 2222, []),
        ((b"\x01" * 300,), 80, []),
        ((to_client(b"220 mx ESMTP\r\n"), b"EHLO a\r\n"), 80, [("smtp", 80)]),
        ((to_client(b"220 mx ESMTP\r\n"), b"EHLO a\r\n"), 587, []),
    ],
)
def test_a_protocol_at_anothers_port_is_an_event(
    turns: tuple[object, ...], port: int, found: list[tuple[str, int]]
) -> None:
    session = Session("eve.types=[anomaly]")
    session.tcp(*turns, dport=port)  # type: ignore[arg-type]
    assert strangers(session) == found
    assert session.counters["app_layer.strangers"] == len(found)


def test_of_datagrams_as_well() -> None:
    session = Session("eve.types=[anomaly]")
    session.udp(said.DHCP_DISCOVER, dport=53)
    session.udp(said.DHCP_DISCOVER, dport=67)
    assert strangers(session) == [("dhcp", 53)]


def test_what_both_sides_agreed_on_is_at_home_anywhere() -> None:
    session = Session("eve.types=[anomaly]")
    tunnelled = b"SSH-2.0-x\r\n"
    session.tcp(
        to_server(b"CONNECT a:22 HTTP/1.1\r\nHost: a\r\n\r\n"),
        to_client(b"HTTP/1.1 200 OK\r\n\r\n"),
        tunnelled,
        dport=80,
    )
    assert strangers(session) == []


def test_each_port_is_in_one_row_and_each_name_is_known() -> None:
    ports = [port for row, _ in HOMES for port in row]
    assert len(ports) == len(set(ports))
    assert {name for _, names in HOMES for name in names} <= {protocol.name for protocol in PROTOCOLS}
