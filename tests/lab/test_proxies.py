"""A trusted proxy is not blocked for what comes through it: the flow with the attack dies, the next one is served."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ids.lab.actors import LOG4SHELL, PAGE, Request, connect, fetch
from ids.lab.topology import BENIGN, Lab
from tests.lab.clients import PATIENCE_S, SILENCE_S
from tests.lab.test_guard import started

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

CLIENT = "198.51.100.9"


def test_the_flow_of_an_attacker_behind_a_proxy_dies_and_the_proxy_is_served(site: Lab) -> None:
    guard = started(site, respond={"trusted_proxies": [f"{BENIGN}/32"], "forwarded_headers": ["x-forwarded-for"]})
    attack = Request("an attack", "/", {**LOG4SHELL.headers, "X-Forwarded-For": CLIENT, "Connection": "keep-alive"})
    with connect(site.attacker, BENIGN, PATIENCE_S) as connection:
        connection.sendall(attack.encode())
        alert = guard.wait_for(lambda event: event["event_type"] == "alert", PATIENCE_S)
        assert alert is not None
        assert guard.wait_for(lambda event: event["event_type"] == "drop", PATIENCE_S) is not None
        connection.settimeout(SILENCE_S)
        with suppress(TimeoutError):
            while True:  # what came before the verdict
                assert connection.recv(65536), "the connection was closed, not dropped"
        connection.sendall(PAGE.encode())
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert (alert["src_ip"], alert["alert"]["xff"]) == (BENIGN, CLIENT)
    assert alert["ids"]["block"]["refused"] == "proxy"
    assert guard.rows("block", "list") == []
    assert guard.kernel_packets()["drop.flow"] > 0
    assert fetch(site.attacker, BENIGN, PAGE, PATIENCE_S).status == 200
