"""Behind a reverse proxy: it is never blocked, its flow is, and the client for whom it speaks is named and counted."""

from __future__ import annotations

import ipaddress
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.cli import main
from ids.respond import forwarded
from ids.respond.proxies import (
    MAX_VALUE_BYTES,
    Proxies,
    announced_source,
    forwarded_nodes,
    may_be_proxy_header,
    plain_nodes,
)
from ids.settings.respond import RespondSettings
from ids.testing import Session
from ids.testing.session import to_client
from ids.types import address_halves, address_text
from plugins.rules import Rules

PROXY, FRONT, CLIENT, OTHER = "192.0.2.1", "192.0.2.2", "198.51.100.9", "198.51.100.10"
HEARD = "respond.forwarded_headers=[x-forwarded-for, forwarded, proxy-protocol]"
TRUSTED = "respond.trusted_proxies=[192.0.2.0/28, 2001:db8:9::/64]"
OUTSIDE = "vars.HOME_NET=[203.0.113.0/24]"
OK = to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def asked(*headers: str, path: str = "/needle") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{''.join(header + chr(13) + chr(10) for header in headers)}\r\n".encode()


def session(folder: Path, *settings: str, more: str = "", block: str = "{require: any}") -> Session:
    rule = folder / "r.yaml"
    rule.write_text(
        "rules:\n  - title: a needle\n    sid: 9000001\n    traffic: http\n    match: [http.uri: {contains: needle}]\n"
        f"    block: {block}\n{more}"
    )
    return Session(f"rules.paths=[{rule}]", TRUSTED, HEARD, OUTSIDE, *settings, rules=Rules())


def client_of(played: Session) -> list[str | None]:
    return [alert["ids"].get("client", {}).get("ip") for alert in played.alerts]


def test_a_proxy_is_not_blocked_and_its_flow_is_dropped_though_the_rule_asks_only_for_a_block(tmp_path: Path) -> None:
    played = session(tmp_path)
    played.tcp(asked(f"X-Forwarded-For: {CLIENT}"), src=PROXY)
    assert played.blocks == []
    (alert,) = played.alerts
    assert alert["alert"]["action"] == "blocked"
    assert alert["alert"]["xff"] == CLIENT
    assert alert["src_ip"] == PROXY, "the packet is the proxy's"
    assert alert["ids"]["client"] == {"ip": CLIENT, "via": "x-forwarded-for", "proxy": PROXY}
    block = alert["ids"]["block"]
    assert (block["refused"], block["instead"]) == ("proxy", "drop")
    assert CLIENT in block["detail"]
    (drop,) = [event for event in played.events if event["event_type"] == "drop"]
    assert drop["ids"]["client"]["ip"] == CLIENT
    assert played.counters["respond.flows_dropped"] == played.counters["respond.refused.proxy"] == 1


def test_whoever_comes_without_a_proxy_is_blocked_and_its_header_says_nothing(tmp_path: Path) -> None:
    played = session(tmp_path)
    played.tcp(asked(f"X-Forwarded-For: {OTHER}"), src=CLIENT)
    assert played.blocks == [f"{CLIENT}/32"]
    assert client_of(played) == [None]
    assert "xff" not in played.alerts[0]["alert"]


def test_a_rule_that_only_counts_drops_nothing(tmp_path: Path) -> None:
    played = session(tmp_path, block="{require: any, mode: shadow}")
    played.tcp(asked(f"X-Forwarded-For: {CLIENT}"), src=PROXY)
    assert played.alerts[0]["alert"]["action"] == "allowed"
    assert played.counters["respond.flows_dropped"] == 0


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ([f"X-Forwarded-For: {CLIENT}"], CLIENT),
        ([f"X-Forwarded-For: 203.0.113.7, {CLIENT}"], CLIENT),  # what the client sent stands before its own address
        ([f"X-Forwarded-For: {OTHER}", f"X-Forwarded-For: {CLIENT}"], CLIENT),
        ([f"X-Forwarded-For: {CLIENT}, {FRONT}"], CLIENT),  # two proxies, one behind the other
        ([f"X-Forwarded-For: {PROXY}, {CLIENT}"], CLIENT),  # a client that pretends to be a proxy
        ([f"X-Forwarded-For: {CLIENT}, unknown, {FRONT}"], None),
        (["X-Forwarded-For: nobody"], None),
        ([f"X-Forwarded-For: {FRONT}"], None),
        ([f"X-Forwarded-For: {'203.0.113.7, ' * 300}{CLIENT}"], CLIENT),
        (["X-Forwarded-For: 2001:db8::5"], "2001:db8::5"),
        ([f"X-Forwarded-For: ::ffff:{CLIENT}"], CLIENT),
        ([f"X-Forwarded-For: {CLIENT}:4711"], CLIENT),
        ([f"Forwarded: for={CLIENT};proto=https"], CLIENT),
        ([f"Forwarded: by=203.0.113.9; For={CLIENT}"], CLIENT),
        (['Forwarded: for="[2001:db8::5]:4711"'], "2001:db8::5"),
        ([f'Forwarded: for="unclosed, for={CLIENT}'], CLIENT),  # a quote that the client left open
        ([f"Forwarded: for={OTHER}, for={CLIENT}, for={FRONT}"], CLIENT),
        (["Forwarded: for=_hidden"], None),
        (["Forwarded: for=unknown"], None),
        (["Forwarded: proto=https"], None),
        ([f"X-Forwarded-For: {CLIENT}", f"Forwarded: for={CLIENT}"], CLIENT),
        ([f"X-Forwarded-For: {CLIENT}", f"Forwarded: for={OTHER}"], None),  # one of them is not the proxy's
        ([], None),
    ],
)
def test_the_rightmost_address_that_is_not_trusted_is_the_client(
    tmp_path: Path, headers: list[str], client: str | None
) -> None:
    played = session(tmp_path)
    played.tcp(asked(*headers), src=PROXY)
    assert client_of(played) == [client]
    assert played.blocks == []


def test_only_the_headers_that_the_settings_name_count(tmp_path: Path) -> None:
    played = session(tmp_path, "respond.forwarded_headers=[forwarded]")
    played.tcp(asked(f"X-Forwarded-For: {OTHER}", f"Forwarded: for={CLIENT}"), src=PROXY)
    assert client_of(played) == [CLIENT]


ALL_SAY = f"PROXY TCP4 {OTHER} 203.0.113.1 40000 80\r\n".encode() + asked(
    f"X-Forwarded-For: {OTHER}", f"Forwarded: for={OTHER}"
)


def test_nothing_is_believed_that_the_settings_do_not_name(tmp_path: Path) -> None:
    played = session(tmp_path, "respond.forwarded_headers=[]")
    played.tcp(ALL_SAY, src=PROXY)
    assert client_of(played) == [None]
    assert (played.blocks, played.alerts[0]["alert"]["action"]) == ([], "blocked"), "the flow is dropped all the same"
    assert Proxies(RespondSettings()).headers == [], "that is the default"


@pytest.mark.parametrize("named", ["x-forwarded-for", "forwarded"])
def test_a_client_neither_names_another_nor_unnames_himself_by_what_is_not_named(tmp_path: Path, named: str) -> None:
    appended = {"x-forwarded-for": f"X-Forwarded-For: {CLIENT}", "forwarded": f"Forwarded: for={CLIENT}"}
    forged = (
        "X-Forwarded-For", "Forwarded: for=unknown", f"Forwarded: for={OTHER}", f"X-Forwarded-For: {OTHER}",
        f"Forwarded : for={OTHER}", f"X-Forwarded-For : {OTHER}",
    )  # fmt: skip
    played = session(tmp_path, f"respond.forwarded_headers=[{named}]")
    for header in forged:
        if not header.lower().startswith(named):  # of the one that is named, a blank before the colon is another matter
            played.tcp(asked(header, appended[named]), src=PROXY)
            played.tcp(asked(appended[named], header), src=PROXY)
    assert set(client_of(played)) == {CLIENT}


def test_a_request_whose_method_is_proxy_announces_nobody(tmp_path: Path) -> None:
    played = session(tmp_path)
    for start in (f"PROXY TCP4 {OTHER} x HTTP/1.1", f"PROXY TCP4 {OTHER} 203.0.113.1 1 2 HTTP/1.1"):
        played.tcp(start.encode() + b"\r\n" + asked(f"X-Forwarded-For: {CLIENT}"), src=PROXY)
    assert OTHER not in client_of(played)


def test_proxies_of_whom_nothing_is_believed_are_odd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for heard, odd in (("[]", True), ("[forwarded]", False)):
        with pytest.raises(SystemExit):
            main(["config", "check", "--set", TRUSTED, "--set", f"respond.forwarded_headers={heard}"])
        assert ("respond.forwarded_headers is not" in capsys.readouterr().err) is odd


def version_2(source: str, family: int = 0x11, command: int = 0x21) -> bytes:
    packed = ipaddress.ip_address(source).packed
    addresses = packed + bytes(len(packed)) + struct.pack("!HH", 40000, 80)
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes((command, family)) + struct.pack("!H", len(addresses)) + addresses


HEADERS = [
    (f"PROXY TCP4 {CLIENT} 203.0.113.1 40000 80\r\n".encode(), CLIENT),
    (b"PROXY TCP6 2001:db8::5 2001:db8::1 40000 80\r\n", "2001:db8::5"),
    (b"PROXY UNKNOWN\r\n", ""),
    (version_2(CLIENT), CLIENT),
    (version_2("2001:db8::5", 0x21), "2001:db8::5"),
    (version_2(CLIENT, command=0x20), ""),
    (b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0", ""),
]


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_the_source_in_a_proxy_header(header: bytes, source: str) -> None:
    assert announced_source(header + b"GET /") == source
    for cut in range(1, len(header)):
        assert announced_source(header[:cut]) in (None, source)
        assert may_be_proxy_header(header[:cut])


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize(("header", "source"), [row for row in HEADERS if row[1]])
def test_the_proxy_protocol_names_the_client(tmp_path: Path, header: bytes, source: str, batch: int | None) -> None:
    played = session(tmp_path)
    said = header + asked(f"X-Forwarded-For: {OTHER}")  # which its client made up: a proxy of this kind adds none
    played.tcp(said[:7], said[7:19], said[19:], src=PROXY, batch=batch)
    assert client_of(played) == [source]
    assert played.alerts[0]["ids"]["client"]["via"] == "proxy-protocol"
    assert played.blocks == []


def test_behind_a_balancer_with_the_proxy_protocol_stands_a_proxy_with_a_header(tmp_path: Path) -> None:
    played = session(tmp_path)
    said = f"PROXY TCP4 {FRONT} 203.0.113.1 40000 80\r\n".encode() + asked(f"X-Forwarded-For: {CLIENT}")
    played.tcp(said, src=PROXY)
    assert client_of(played) == [CLIENT]


def test_each_request_of_a_connection_has_its_own_client(tmp_path: Path) -> None:
    played = session(tmp_path, "respond.inspect_dropped=true")
    for batch in (None, 1):
        played.events.clear()
        played.tcp(
            asked(f"X-Forwarded-For: {CLIENT}"), asked(f"X-Forwarded-For: {OTHER}"), OK, OK, asked(), OK,
            src=PROXY, batch=batch,
        )  # fmt: skip
        assert client_of(played) == [CLIENT, OTHER, None]


def test_an_answer_is_that_to_its_own_request(tmp_path: Path) -> None:
    rule = tmp_path / "x.rules"
    rule.write_text('alert http any any -> any any (flow:to_client; http.stat_code; content:"404"; sid:7;)')
    played = Session(f"rules.paths=[{rule}]", TRUSTED, HEARD, "eve.xff=overwrite", rules=Rules())
    missing = to_client(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
    played.tcp(
        asked(f"X-Forwarded-For: {CLIENT}"), asked(f"X-Forwarded-For: {OTHER}"), missing, OK, src=PROXY
    )  # fmt: skip
    assert client_of(played) == [CLIENT]
    assert played.alerts[0]["dest_ip"] == CLIENT, "eve.xff puts it into the place of the address"


def test_thresholds_count_each_client_by_itself(tmp_path: Path) -> None:
    rule = tmp_path / "x.rules"
    rule.write_text(
        'alert http any any -> any any (http.uri; content:"needle"; sid:7;'
        " threshold:type threshold, track by_src, count 2, seconds 60;)"
    )
    played = Session(f"rules.paths=[{rule}]", TRUSTED, HEARD, rules=Rules())
    for client in (CLIENT, OTHER, CLIENT):
        played.tcp(asked(f"X-Forwarded-For: {client}"), src=PROXY)
    assert client_of(played) == [CLIENT]


def test_what_counts_distinct_things_and_sequences_counts_the_client(tmp_path: Path) -> None:
    rule = tmp_path / "x.rules"
    rule.write_text(
        'alert http any any -> any any (http.uri; content:"first"; xbits:set,seen,track ip_src,expire 60; noalert;'
        ' sid:1;)\nalert http any any -> any any (http.uri; content:"second"; xbits:isset,seen,track ip_src; sid:2;)\n'
    )
    played = Session(f"rules.paths=[{rule}]", TRUSTED, HEARD, rules=Rules())
    for path, client in (("/first", CLIENT), ("/second", OTHER), ("/second", CLIENT)):
        played.tcp(asked(f"X-Forwarded-For: {client}", path=path), src=PROXY)
    assert client_of(played) == [CLIENT]


def test_nothing_is_dropped_of_a_client_on_the_allow_list(tmp_path: Path) -> None:
    played = session(tmp_path, f"respond.allow=[{CLIENT}]")
    played.tcp(asked(f"X-Forwarded-For: {CLIENT}"), src=PROXY)
    played.tcp(asked(f"X-Forwarded-For: {OTHER}"), src=PROXY)
    assert [alert["alert"]["action"] for alert in played.alerts] == ["allowed", "blocked"]
    assert played.alerts[0]["ids"]["block"]["refused"] == "allowed"


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize(
    "between",
    [
        *[(f"A: {'a' * size}",) for size in (66_000, 140_000)],  # what the proxy appends is beyond what is read at once
        (f"X-Forwarded-For : {CLIENT}",),  # another header to the proxy, which hands it on
        (f"X-Forwarded-For\0: {CLIENT}",),
        (f"A: b\rX-Forwarded-For: {CLIENT}",),
    ],
    ids=["long", "longer", "space", "nul", "cr"],
)
def test_who_asks_a_proxy_does_not_pass_for_a_client_on_the_allow_list(
    tmp_path: Path, between: tuple[str], batch: int | None
) -> None:
    own = f"X-Forwarded-For: {OTHER}"
    played = session(tmp_path, f"respond.allow=[{CLIENT}]")
    long = len(between[0]) > 1000
    headers = (f"X-Forwarded-For: {CLIENT}", *between, own) if long else (own, *between)
    played.tcp(asked(*headers), OK, src=PROXY, batch=batch)
    assert [alert["alert"]["action"] for alert in played.alerts] == ["blocked"]
    assert set(client_of(played)) <= {OTHER, None}


def test_requests_whose_client_is_doubtful_are_remembered_only_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarded, "MAX_DOUBTFUL", 2)
    played = session(tmp_path, "respond.inspect_dropped=true")
    odd, plain = asked(f"X-Forwarded-For : {CLIENT}"), asked(f"X-Forwarded-For: {OTHER}")
    played.tcp(plain, odd, odd, plain, odd, plain, src=PROXY)
    assert client_of(played) == [OTHER, None, None, OTHER, None, None], "then no client is believed any more"


def test_a_neighbour_in_the_proxys_64_is_blocked_by_its_address_alone(tmp_path: Path) -> None:
    near = session(tmp_path, "respond.trusted_proxies=['2001:db8:9::7']", "vars.HOME_NET=['2001:db8:5::/48']")
    near.tcp(asked(), src="2001:db8:9::8", dst="2001:db8:5::1")
    near.tcp(asked(), src="2001:db8:a::8", dst="2001:db8:5::1")
    assert near.blocks == ["2001:db8:9::8/128", "2001:db8:a::/64"]


def test_a_reload_changes_who_is_trusted(tmp_path: Path) -> None:
    played = session(tmp_path)
    assert played.reload("respond.trusted_proxies=[]") == []
    played.tcp(asked(f"X-Forwarded-For: {CLIENT}"), src=PROXY)
    assert played.blocks == [f"{PROXY}/32"]


def test_without_proxies_the_header_is_shown_as_eve_xff_asks(tmp_path: Path) -> None:
    played = session(tmp_path, "respond.trusted_proxies=[]", "eve.xff=extra")
    played.tcp(asked(f"X-Forwarded-For: {OTHER}"), src=CLIENT)
    assert played.alerts[0]["alert"]["xff"] == OTHER
    assert client_of(played) == [None]
    assert played.blocks == [f"{CLIENT}/32"]


@given(st.binary(max_size=2 * MAX_VALUE_BYTES))
def test_any_bytes_are_addresses_or_nothing(data: bytes) -> None:
    nodes = plain_nodes(data) + forwarded_nodes(data) + [announced_source(data) or ""]
    for start in (b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11"):
        nodes.append(announced_source(start + data) or "")
    for node in filter(None, nodes):
        assert str(ipaddress.ip_address(node)) == node


ADDRESSES = st.sampled_from(["198.51.100.1", "198.51.100.2", "192.0.2.3", "192.0.2.4", "unknown", "10.0.0.1:80"])


@given(st.lists(ADDRESSES, max_size=6), st.binary(max_size=80))
def test_what_a_client_sends_through_changes_nothing_that_its_proxy_says(chain: list[str], forged: bytes) -> None:
    """As the definition reads: walk from the right while the speaker is trusted."""
    settings = RespondSettings(
        trusted_proxies=[ipaddress.ip_network("192.0.2.0/28")], forwarded_headers=["x-forwarded-for"]
    )
    proxies = Proxies(settings)
    honest = ", ".join([*chain, CLIENT]).encode()
    forged = forged.replace(b"\r", b"").replace(b"\n", b"")
    values = {"x-forwarded-for": forged + b", " + honest, "forwarded": forged}
    found = proxies.client(address_halves(PROXY), announced_source(forged), lambda name: values[name])
    assert found is not None
    assert address_text(found.address) == CLIENT
