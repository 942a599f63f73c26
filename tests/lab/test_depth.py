"""An exploit behind a long conversation, at the gate's own depth of 1 MiB, is blocked like one at the beginning."""

from __future__ import annotations

import socket

import pytest

from ids.kernel.settings import FastPathSettings
from ids.lab.actors import LOG4SHELL, PAGE, Request, connect
from ids.lab.topology import ATTACKERS, ATTACKERS6, Lab
from tests.lab.test_guard import alert_of, started

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

DEPTH = FastPathSettings().depth_tcp_bytes
KEPT = {"Connection": "keep-alive"}
LONG = Request("a page for somebody with much history", PAGE.target, {**KEPT, "Cookie": "seen=" + "rake," * 1200})


def asked(connection: socket.socket, request: Request) -> bool:
    """Send a request and read the answer's body; return whether the connection goes on."""
    connection.sendall(request.encode())
    answer = b""
    while b"</p>" not in answer:
        data = connection.recv(65536)
        if not data:
            return False
        answer += data
    return b"Connection: close" not in answer


@pytest.mark.parametrize("source", [ATTACKERS[0], ATTACKERS6[0]])
def test_an_exploit_behind_a_megabyte_of_requests_on_one_connection_is_blocked(site: Lab, source: str) -> None:
    if ":" in source and not site.ipv6:
        pytest.skip("this kernel has no IPv6")
    guard = started(site)
    with connect(site.attacker, source, 10) as connection:
        sent = 0
        while sent <= DEPTH * 5 // 4:
            if not asked(connection, LONG):
                pytest.skip("this web server ends connections that were to be kept")
            sent += len(LONG.encode())
        assert not [event for event in guard.events() if event["event_type"] == "alert"]
        connection.sendall(LOG4SHELL.encode())
        alert = alert_of(guard, source)
    assert alert["action"] == "blocked"
    assert "pass.depth" not in guard.kernel_packets()
