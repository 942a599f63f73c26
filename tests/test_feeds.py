"""Blocklist feeds: what the formats hold, and that aggregation changes the spelling but never the set."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids import feeds
from ids.errors import SourceError
from ids.feeds import Feed, parse_feed, refuse_nonsense


def spelt(feed: Feed) -> list[str]:
    return [str(network) for network in feed.networks()]


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("192.0.2.1\n\n# comment\n192.0.2.1\n", {}, ["192.0.2.1/32"]),
        ("192.0.2.0/25 ; SBL1\n192.0.2.128/25 ; SBL2\n", {}, ["192.0.2.0/24"]),
        ("192.0.2.0/24\n192.0.2.77\n", {}, ["192.0.2.0/24"]),
        ("192.0.2.9-192.0.2.12\n", {}, ["192.0.2.9/32", "192.0.2.10/31", "192.0.2.12/32"]),
        ("2001:db8::1\n2001:db8:1::/48 # x\n", {}, ["2001:db8::1/128", "2001:db8:1::/48"]),
        ('{"cidr":"192.0.2.0/24","sblid":"SBL1"}\n{"type":"metadata","records":1}\n', {}, ["192.0.2.0/24"]),
        ("::ffff:192.0.2.1\n192.0.2.1\n::FFFF:c000:202\n", {}, ["192.0.2.1/32", "192.0.2.2/32"]),
        ("::ffff:192.0.2.0/121\n192.0.2.128/25\n", {}, ["192.0.2.0/24"]),
        ("::ffff:192.0.2.2-::ffff:192.0.2.3\n", {}, ["192.0.2.2/31"]),
        ('["192.0.2.1", {"ip": "192.0.2.2"}]', {}, ["192.0.2.1/32", "192.0.2.2/32"]),
        ('# abuse\nseen,dst_ip,port\n"a, b",192.0.2.7,443\n', {"column": "dst_ip"}, ["192.0.2.7/32"]),
        ("192.0.2.7;443\n".replace(";", ","), {"column": "1"}, ["192.0.2.7/32"]),
    ],
)
def test_formats(text: str, options: dict[str, str], expected: list[str]) -> None:
    assert sorted(spelt(parse_feed(text.encode(), "feed", **options))) == sorted(expected)


def test_what_cannot_be_used_is_reported_with_its_line_and_the_rest_is_kept() -> None:
    feed = parse_feed(b"192.0.2.1\nexample.org\n0.0.0.0/0\n192.0.2.300\n1.2\n", "feed.txt")
    assert spelt(feed) == ["192.0.2.1/32"]
    assert feed.refused == 4
    assert (
        str(feed.problems[0])
        == "feed.txt:2: 'example.org' is not usable (expected an address, a prefix or a range a-b)"
    )
    assert "cut off a continent" in str(feed.problems[1])


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"a,b\n1,2\n", {"column": "ip"}, "feed:1: no column 'ip'"),
        (b"a,b\n", {"form": "csv"}, "which column"),
        (b'{"cidr": \n', {}, "feed:1: is not JSON"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_as_a_whole(data: bytes, options: dict[str, str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        parse_feed(data, "feed", **options)


networks4 = st.builds(
    lambda number, length: str(ipaddress.ip_network((number & 0xFFFF | 0xC0000000, length), strict=False)),
    st.integers(0, 2**16 - 1), st.integers(16, 32),
)  # fmt: skip
networks6 = st.builds(
    lambda number, length: str(ipaddress.ip_network((number | 0x20010DB8 << 96, length), strict=False)),
    st.integers(0, 255), st.integers(116, 128),
)  # fmt: skip


@given(st.lists(st.one_of(networks4, networks6), max_size=40), st.one_of(networks4, networks6))
def test_a_network_that_a_feed_overlaps_is_found(texts: list[str], other: str) -> None:
    network: Any = ipaddress.ip_network(other)
    found = parse_feed("\n".join(texts).encode(), "feed").meeting(network)
    wanted: Any = [one for one in map(ipaddress.ip_network, texts) if one.version == network.version]
    assert (found is not None) == any(network.overlaps(one) for one in wanted)
    assert found is None or found.overlaps(network)


@given(st.lists(st.one_of(networks4, networks6), max_size=40))
def test_aggregation_covers_the_same_addresses_exactly_once(texts: list[str]) -> None:
    found = list(parse_feed("\n".join(texts).encode(), "feed").networks())
    for version in (4, 6):
        wanted: Any = [network for network in map(ipaddress.ip_network, texts) if network.version == version]
        mine: Any = [network for network in found if network.version == version]
        collapsed = list(ipaddress.collapse_addresses(wanted))
        assert list(ipaddress.collapse_addresses(mine)) == collapsed
        assert sum(network.num_addresses for network in mine) == sum(network.num_addresses for network in collapsed)


@given(st.binary(max_size=300))
def test_hostile_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        feed = parse_feed(data, "feed")
    except SourceError:
        return
    assert len(feed.problems) <= feed.refused <= feed.read


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b"\n" * 21, {}), (b"192.0.2.1\r\n" * 21, {}), (b"#\x0c" * 21, {}), (b"ip\n" + b"x\n" * 21, {"column": "ip"}),
        (b"[" + b"{},[]," * 21 + b"0]", {}), (b'{"ip":"192.0.2.1"}\n' * 21, {}),
    ],
)  # fmt: skip
def test_a_feed_of_more_entries_than_any_has_is_refused_before_they_take_memory(
    data: bytes, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MAX_ENTRIES", 20)
    with pytest.raises(SourceError, match="more than 20 entries"):
        parse_feed(data, "feed", **options)


def test_a_feed_of_as_many_entries_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "MAX_ENTRIES", 20)
    assert parse_feed(b"192.0.2.1\r\n" * 20, "feed").read == 20
    assert parse_feed(b"[" + b'{"ip":"192.0.2.1","x":1},' * 19 + b"0]", "feed").read == 19


@pytest.mark.parametrize("data", [b'ip\n"' + b"1" * 200_000, b'"' + b"1" * 200_000])
def test_a_csv_that_opens_a_quote_and_never_closes_it_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match="is not CSV"):
        parse_feed(data, "feed", column="ip")


def test_all_of_ipv4_in_the_spelling_of_ipv6_is_too_wide_as_well() -> None:
    feed = parse_feed(b"::ffff:0:0/96\n192.0.2.1\n", "feed")
    assert (spelt(feed), feed.refused) == (["192.0.2.1/32"], 1)


@pytest.mark.parametrize("entry", ["0.0.0.0", "::", "0.0.0.0/32", "::/128", "::ffff:0.0.0.0", "0.0.0.0-0.0.0.0"])
def test_the_address_of_hosts_without_one_is_not_blocked(entry: str) -> None:
    """Whoever asks for an address by DHCP has it, and whoever asks whether anybody has theirs."""
    feed = parse_feed(f"192.0.2.1\n{entry}\n".encode(), "feed")
    assert spelt(feed) == ["192.0.2.1/32"]
    assert feed.refused == 1
    assert "without an address" in str(feed.problems[0])


@pytest.mark.parametrize("entry", ["0.0.0.0/8", "::/16", "0.0.0.0-0.255.255.255"])
def test_networks_are_blocked_without_it(entry: str) -> None:
    """Lists of networks that nobody should come from hold these."""
    feed = parse_feed(entry.encode(), "feed")
    version = 6 if ":" in entry else 4
    addresses = [ipaddress.ip_address(number) for number in ([0, 1, 1 << 24 - 1] if version == 4 else [])]
    addresses += [ipaddress.IPv6Address(number) for number in ([0, 1, 1 << 100] if version == 6 else [])]
    assert [feed.covering(address) is not None for address in addresses] == [False, True, True]
    assert not feed.refused


def test_narrow_networks_that_are_the_world_together_are_no_feed() -> None:
    refuse_nonsense(parse_feed("".join(f"{n}.0.0.0/8\n" for n in range(1, 127)).encode(), "feed"), "feed")
    refuse_nonsense(parse_feed("".join(f"2{n:03x}::/16\n" for n in range(2047)).encode(), "feed"), "feed")
    for entries in ((f"{n}.0.0.0/8\n" for n in range(1, 200)), (f"{n:x}::/16\n" for n in range(0x2000, 0x3FFF))):
        with pytest.raises(SourceError, match="more than half"):
            refuse_nonsense(parse_feed("".join(entries).encode(), "feed"), "feed")
