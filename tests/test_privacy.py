"""What an output does not pass on: no address survives, wherever it stands, and equal ones stay equal."""

from __future__ import annotations

import ipaddress
import json
import stat
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ids.errors import UsageError
from ids.privacy import Privacy, PrivacySettings

EVENT = {
    "timestamp": "2026-11-22T03:59:54.000001+0000", "event_type": "alert", "src_ip": "192.0.2.77",
    "dest_ip": "2001:db8:1:2::5", "flow_id": 1922277, "community_id": "1:abc=", "packet": "AAAA",
    "packet_info": {"linktype": 1}, "payload": "R0VU", "payload_printable": "GET http://192.0.2.77/",
    "ether": {"src_mac": "02:00:5e:10:00:01"},
    "http": {"hostname": "192.0.2.77", "url": "/?a=[2001:db8:1:2::5]:80", "http_response_body": "eA=="},
    "dns": {"answers": [{"rrname": "77.2.0.192.in-addr.arpa", "rdata": "::ffff:192.0.2.77"}]},
    "ids": {
        "block": {"network": "192.0.2.77/32", "detail": "192.0.2.77 is on the allow-list"},
        "evidence": [{"buffer": "x", "offset": 3, "excerpt": "${jndi:ldap://192.0.2.77/a}"}],
    },
}  # fmt: skip


def shown(event: dict[str, Any], tmp_path: Path | None = None, **settings: Any) -> dict[str, Any]:
    if tmp_path is not None:
        settings["key_file"] = tmp_path / "key"
    line = Privacy(PrivacySettings(**settings), "x").lines(json.dumps(event).encode() + b"\n")
    made: dict[str, Any] = json.loads(line)
    return made


def test_by_default_nothing_changes() -> None:
    assert shown(EVENT) == EVENT


def test_truncated_addresses_leave_the_network() -> None:
    made = shown(EVENT, mask="truncate")
    assert (made["src_ip"], made["dest_ip"]) == ("192.0.2.0", "2001:db8:1::")
    assert made["http"]["hostname"] == "192.0.2.0"
    assert made["http"]["url"] == "/?a=[2001:db8:1::]:80"
    assert made["dns"]["answers"] == [{"rrname": "0.2.0.192.in-addr.arpa", "rdata": "192.0.2.0"}]
    assert made["ids"]["block"]["detail"] == "192.0.2.0 is on the allow-list"
    assert made["ether"]["src_mac"] == "02:00:5e:00:00:00"
    assert (made["timestamp"], made["flow_id"]) == (EVENT["timestamp"], EVENT["flow_id"])
    assert not {"community_id", "packet", "packet_info"} & made.keys(), "they give addresses away"
    assert "192.0.2.77" not in json.dumps(made)


def test_hashed_addresses_are_equal_where_they_were_and_differ_with_the_key(tmp_path: Path) -> None:
    first, again = (shown(EVENT, tmp_path, mask="hash") for _ in range(2))
    assert first == again
    assert first["src_ip"] == first["http"]["hostname"] == first["dns"]["answers"][0]["rdata"] != EVENT["src_ip"]
    assert ipaddress.ip_address(first["src_ip"]) in ipaddress.ip_network("fd00::/8")
    assert first["src_ip"] != first["dest_ip"]
    assert "192.0.2" not in json.dumps(first)
    assert "77.2.0.192" not in json.dumps(first)
    (tmp_path / "key").write_bytes(b"another key, long enough")
    assert shown(EVENT, tmp_path, mask="hash")["src_ip"] != first["src_ip"]


def test_the_key_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    shown(EVENT, tmp_path, mask="hash")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert len((tmp_path / "key").read_text().strip()) == 64


@pytest.mark.parametrize("content", [None, b"short"])
def test_hashes_without_a_key_are_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(UsageError, match="key_file"):
        shown(EVENT, tmp_path if content is not None else None, mask="hash")
    with pytest.raises(UsageError, match="key_file"):
        shown(EVENT, mask="none", payload="hash", key_file=tmp_path / "no" / "key")


def test_payload_is_left_out_or_hashed(tmp_path: Path) -> None:
    made = shown(EVENT, payload="drop")
    assert not {"payload", "payload_printable", "packet"} & made.keys()
    assert "http_response_body" not in made["http"]
    assert made["ids"]["evidence"] == [{"buffer": "x", "offset": 3}]
    assert made["src_ip"] == EVENT["src_ip"]
    hashed = shown(EVENT, tmp_path, payload="hash")
    assert hashed["payload"].startswith("hmac-sha256:")
    assert hashed["payload"] == shown(EVENT, tmp_path, payload="hash")["payload"]
    assert "jndi" not in json.dumps(hashed)


def test_the_payload_of_a_protocol_is_no_bytes() -> None:
    event = {"event_type": "ike", "ike": {"payload": {"a": 1}}}
    assert shown(event, payload="drop") == event


@pytest.mark.parametrize(
    "text", ["std::string", "12:34:56", "1.2.3", "300.1.1.1", "::", "0.0.0.0", "deadbeef", "x:y:z:1"]
)
def test_what_is_no_address_stays(text: str) -> None:
    assert shown({"event_type": "x", "text": text}, mask="truncate")["text"] == text


def test_names_under_arpa_stand_for_addresses(tmp_path: Path) -> None:
    name = ipaddress.ip_address("2001:db8:1:2::5").reverse_pointer
    made = shown({"name": name, "ip": "2001:db8:1:2::5"}, mask="truncate")
    assert made["name"] == ipaddress.ip_address("2001:db8:1::").reverse_pointer
    hashed = shown({"name": name, "ip": "2001:db8:1:2::5"}, tmp_path, mask="hash")
    assert hashed["name"] == ipaddress.ip_address(hashed["ip"]).reverse_pointer


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
AROUND = st.text(st.sampled_from(" /[](),=\"'<>|@\n\\ü"), max_size=3)


@given(ADDRESSES, AROUND, AROUND, st.booleans())
@example(ipaddress.ip_address("::ffff:0:0"), "", "", False)
@example(ipaddress.ip_address("::ffff:0:1"), "", "", True)
def test_no_address_survives_wherever_it_stands(address: Any, before: str, behind: str, long: bool) -> None:
    text = address.exploded if long else str(address)
    made = shown({"a": [{"b": f"{before}{text}{behind}"}]}, mask="truncate")["a"][0]["b"]
    kept = ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False).network_address
    mapped = address.ipv4_mapped if address.version == 6 else None
    if mapped is not None:
        kept = ipaddress.ip_network((mapped, 24), strict=False).network_address
    if not (mapped or address).is_unspecified:
        assert made == f"{before}{kept}{behind}"


@given(ADDRESSES, st.text(st.sampled_from("0123456789abcdef:."), max_size=12), st.sampled_from(":."), st.booleans())
@example(ipaddress.ip_address("192.0.2.7"), "10:15", ":", False)
@example(ipaddress.ip_address("192.0.2.7"), "1", ".", False)
@example(ipaddress.ip_address("192.0.2.7"), "::ffff", ":", True)
def test_no_address_survives_behind_other_numbers(address: Any, before: str, between: str, port: bool) -> None:
    text = f"{before}{between}{address}" + ":80" * port
    made = shown({"a": text}, mask="truncate")["a"]
    if made == text:  # then it ended in the zeros of its network
        bits = 24 if address.version == 4 else 48
        assert int(address) & ((1 << (address.max_prefixlen - bits)) - 1) == 0


def test_a_mapped_address_under_arpa_stays_a_name() -> None:
    address = ipaddress.ip_address("::ffff:192.0.2.7")
    made = shown({"name": address.reverse_pointer}, mask="truncate")["name"]
    assert made == ipaddress.ip_address("::ffff:192.0.2.0").reverse_pointer


LEAVES = st.one_of(st.text(), st.integers(-(2**53), 2**53), st.none())


@given(st.recursive(LEAVES, lambda of: st.lists(of) | st.dictionaries(st.text(), of)))
def test_any_event_stays_json(value: Any) -> None:
    for mask, payload in (("truncate", "keep"), ("none", "drop"), ("truncate", "drop")):
        assert "event_type" in shown({"event_type": "x", "value": value}, mask=mask, payload=payload)


def test_what_is_remembered_of_long_texts_is_bounded() -> None:
    """Whoever sends requests chooses what stands in them, and makes each another one."""
    privacy = Privacy(PrivacySettings(mask="truncate"), "eve")
    tracemalloc.start()
    for number in range(60):
        privacy.event({"http": {"url": f"{number}." + "1." * 20_000 + "1"}})
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1 << 20
