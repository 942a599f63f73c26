"""Whom a proxy speaks for, in alerts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.respond.forwarded import listed_address
from ids.respond.proxies import MAX_VALUE_BYTES
from ids.testing import Session
from ids.testing.session import to_client, to_server
from plugins.rules import Rules

RULES = """
alert http any any -> any any (flow:to_server; http.uri; content:"/asked"; sid:1;)
alert http any any -> any any (flow:to_client; http.stat_code; content:"200"; sid:2;)
"""
HEADER = b"192.0.2.77, 2001:db8::5"


@pytest.mark.parametrize(
    ("value", "last", "address"),
    [
        (b"192.0.2.7", True, "192.0.2.7"),
        (b" 192.0.2.7 , 198.51.100.1", True, "198.51.100.1"),
        (b"192.0.2.7, 198.51.100.1", False, "192.0.2.7"),
        (b"192.0.2.7:4711", True, "192.0.2.7"),
        (b"[2001:db8::1]:80", True, "2001:db8::1"),
        (b"2001:db8::1", True, "2001:db8::1"),
        (b"unknown", True, ""),
        (b"", True, ""),
        (b"<script>", False, ""),
        (b"fe80::1%<script>", False, ""),
    ],
)
def test_addresses(value: bytes, last: bool, address: str) -> None:
    assert listed_address(value, last=last) == address


@given(st.binary(max_size=2 * MAX_VALUE_BYTES), st.booleans())
def test_any_header_is_an_address_or_nothing(value: bytes, last: bool) -> None:
    assert set(listed_address(value, last=last)) <= set("0123456789abcdef.:")


def play(folder: Path, *settings: str, header: bytes = b"X-Forwarded-For: " + HEADER) -> Session:
    (folder / "x.rules").write_text(RULES)
    session = Session(f"rules.paths=[{folder / 'x.rules'}]", *settings, rules=Rules())
    session.tcp(
        to_server(b"GET /asked HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % header),
        to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    )
    return session


def test_it_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    plain = play(tmp_path)
    assert plain.sids == [1, 2]
    assert not any("xff" in alert["alert"] for alert in plain.alerts)
    shown = play(tmp_path, "eve.xff=extra").alerts
    assert [alert["alert"]["xff"] for alert in shown] == ["2001:db8::5"] * 2
    shown = play(tmp_path, "eve.xff=extra", "eve.xff_deployment=forward").alerts
    assert [alert["alert"]["xff"] for alert in shown] == ["192.0.2.77"] * 2
    other = play(tmp_path, "eve.xff=extra", "eve.xff_header=True-Client-IP", header=b"true-client-ip: 192.0.2.9").alerts
    assert [alert["alert"]["xff"] for alert in other] == ["192.0.2.9"] * 2


def test_it_stands_in_the_place_of_the_clients_address(tmp_path: Path) -> None:
    asked, answered = play(tmp_path, "eve.xff=overwrite").alerts
    assert (asked["src_ip"], answered["dest_ip"]) == ("2001:db8::5", "2001:db8::5")
    assert asked["flow"]["src_ip"] != "2001:db8::5"


def test_what_is_no_address_is_not_shown(tmp_path: Path) -> None:
    shown = play(tmp_path, "eve.xff=extra", header=b"X-Forwarded-For: nobody").alerts
    assert len(shown) == 2
    assert not any("xff" in alert["alert"] for alert in shown)
