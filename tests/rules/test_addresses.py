"""Addresses that are looked up: countries, reputations, lists."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from ids.errors import RuleError
from ids.rules.language.loader import load_rules
from ids.rules.language.suricata.files import ConfigPaths, read_config_files
from ids.rules.language.suricata.loader import SuricataLoader
from ids.rules.language.variables import Variables
from ids.rules.model.geoip import Countries, InCountries, countries_of
from ids.rules.model.reputation import Scored, read_reputation
from ids.rules.settings import DEFAULT_VARIABLES
from ids.types import IPV4_MAPPED_PREFIX, U64
from tests.rules.countries import MARKER, database
from tests.rules.countries import value as spelt
from tests.rules.packetwise import Bench

COUNTRIES = {
    "192.0.2.0/25": "DE", "192.0.2.128/25": "FR", "198.51.100.0/24": "US", "203.0.113.7/32": "CN",
    "2001:db8::/33": "SE",
}  # fmt: skip
CATEGORIES = "1,BadHosts,Known bad\n2,Good,Fine ones\n# a comment\n3,CnC,x\n"
SCORES = """
192.0.2.1,1,50
192.0.2.0/24,1,20
198.51.100.2,2,100
203.0.113.0/24,1,127
203.0.113.7,1,5
203.0.113.7,3,99
2001:db8::/32,1,77
"""
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def columns(*addresses: str) -> U64:
    """Return addresses as `Packets.src` has them."""
    numbers = [int(one) | (IPV4_MAPPED_PREFIX if one.version == 4 else 0) for one in map(ip_address, addresses)]
    return np.array([(number >> 64, number & (1 << 64) - 1) for number in numbers], np.uint64).reshape(-1, 2)


def files(folder: Path) -> ConfigPaths:
    (folder / "c.mmdb").write_bytes(database(COUNTRIES))
    (folder / "categories.txt").write_text(CATEGORIES)
    (folder / "scores.list").write_text(SCORES)
    (folder / "bad.lst").write_text("192.0.2.1\n203.0.113.7\n2001:db8::1\n")
    return ConfigPaths(
        countries=str(folder / "c.mmdb"),
        reputation_categories=str(folder / "categories.txt"),
        reputation=(str(folder / "scores.list"),),
    )


PACKETS = [
    ("192.0.2.1", "198.51.100.2"), ("198.51.100.2", "192.0.2.1"), ("192.0.2.200", "203.0.113.7"),
    ("203.0.113.7", "203.0.113.8"), ("10.0.0.1", "10.0.0.2"), ("10.0.0.1", "198.51.100.9"),
    ("2001:db8::1", "2001:db9::1"),
]  # fmt: skip
CASES = [
    ("geoip:src,DE;", [1]),
    ("geoip:dst,US;", [1, 6]),
    ("geoip:any,CN;", [3, 4]),
    ("geoip:both,CN;", []),
    ("geoip:DE,FR;", [1, 2, 3]),
    ("geoip:src,!DE;", [2, 3, 4, 7]),
    ("geoip:dst,!US,!CN;", [2]),
    ("geoip:src,SE;", [7]),
    ("iprep:src,BadHosts,>,10;", [1, 3, 7]),
    ("iprep:src,BadHosts,>,30;", [1, 7]),
    ("iprep:dst,Good,=,100;", [1]),
    ("iprep:both,BadHosts,>,1;", [3, 4]),
    ("iprep:any,CnC,>,98;", [3, 4]),
    ("iprep:any,BadHosts,<,6;", [1, 2, 3, 4]),
    ("ip.src; dataset:isset,bad,type ip,load bad.lst;", [1, 4, 7]),
    ("ip.dst; dataset:isset,bad,type ip,load bad.lst;", [2, 3]),
    ("ip.src; dataset:isnotset,bad,type ip,load bad.lst;", [2, 3, 5, 6]),
    ('content:"abc"; geoip:src,DE;', [1]),
]  # fmt: skip


def test_rules_that_look_addresses_up(tmp_path: Path) -> None:
    """Of IPv4 this is what Suricata 7.0.10 says of the same files; it looks up no addresses of IPv6."""
    loader = SuricataLoader(Variables(DEFAULT_VARIABLES), read_config_files(files(tmp_path), []))
    rules = "".join(f"alert ip any any -> any any ({options} sid:{n};)\n" for n, (options, _) in enumerate(CASES, 1))
    loader.take(str(tmp_path / "x.rules"), rules)
    assert not loader.left_out, [str(one) for one in loader.left_out]
    assert loader.looks_up
    frames = [
        ETHER / (IPv6 if ":" in src else IP)(src=src, dst=dst) / UDP(sport=1000 + n, dport=9) / b"abc"
        for n, (src, dst) in enumerate(PACKETS)
    ]
    found = Bench(*loader.rules()).numbers(frames)
    assert [found.get(n, []) for n in range(1, len(CASES) + 1)] == [numbers for _, numbers in CASES]


def test_without_files_such_rules_are_left_out_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.rules"
    path.write_text(
        "alert ip any any -> any any (geoip:src,DE; sid:1;)\nalert ip any any -> any any (iprep:src,A,>,1; sid:2;)\n"
        'alert ip any any -> any any (ip.src; content:"a"; sid:3;)\n'
    )
    loaded = load_rules([path])
    assert sorted(one.cause for one in loaded.refused) == ["buffer ip.src", "keyword geoip", "keyword iprep"]


@pytest.mark.parametrize("bits", [24, 28, 32])
@pytest.mark.parametrize("version", [4, 6])
def test_countries(bits: int, version: int) -> None:
    known = {net: code for net, code in COUNTRIES.items() if version == 6 or ":" not in net}
    countries = Countries(database(known, bits, version))
    for address in ("192.0.2.1", "192.0.2.129", "198.51.100.255", "203.0.113.7", "203.0.113.8", "2001:db8::1", "::1"):
        codes = [code for net, code in known.items() if ip_address(address) in ip_network(net)]
        for code in ("DE", "FR", "US", "CN", "SE", "ZZ"):
            here = InCountries(countries, frozenset({code}), False).among(columns(address)).tolist()
            assert here == [code in codes], (address, code)
            there = InCountries(countries, frozenset({code}), True).among(columns(address)).tolist()
            assert there == [bool(codes) and code not in codes], "of an unknown country nothing is said"


@given(st.data())
def test_a_torn_file_of_countries_is_refused_or_knows_less(data: st.DataObject) -> None:
    raw = bytearray(database(COUNTRIES))
    for _ in range(data.draw(st.integers(0, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        countries = Countries(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    except ValueError:
        return
    countries.of(columns("192.0.2.1", "2001:db8::1", "255.255.255.255"))


def test_pointers_to_each_other_spell_no_endless_record() -> None:
    """Four arrays of 28 pointers, each to the next array: 600,000 values in 250 bytes. With ten it would take years."""

    def pointer(to: int) -> bytes:
        return bytes([1 << 5 | to >> 8, to & 255])

    head = bytes([7 << 5 | 2]) + spelt("country") + spelt({"iso_code": "DE"}) + spelt("x")
    first, size = len(head) + 2, 58
    arrays = b"".join(bytes([28, 11 - 7]) + pointer(first + size * level) * 28 for level in range(1, 5))
    data = database({"192.0.2.0/25": "FR"})
    start = len(Countries(data)._tree) * 24 // 4 + 16
    end = data.rindex(MARKER)
    harmless, bomb = head + spelt("y"), head + pointer(first) + arrays + spelt("y")
    found = [
        Countries(data[:start] + record + data[end:]).of(columns("192.0.2.1")).tolist() for record in (harmless, bomb)
    ]
    assert found == [[ord("D") << 8 | ord("E")], [-1]]


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.mmdb").write_bytes(b"no such file")
    with pytest.raises(RuleError, match="no MaxMind DB"):
        countries_of(tmp_path / "c.mmdb")
    with pytest.raises(RuleError, match="cannot be read"):
        countries_of(tmp_path / "absent.mmdb")


def test_faults_of_reputation_files_have_their_line(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("1,A,a\nx,B\n99,C,c\n")
    (tmp_path / "r").write_text("192.0.2.1,1,5\nnowhere,1,5\n192.0.2.2,1,128\n192.0.2.3,1\n")
    errors: list[RuleError] = []
    found = read_reputation(str(tmp_path / "c"), [str(tmp_path / "r")], errors)
    assert [error.location.line for error in errors if error.location is not None] == [2, 3, 2, 3, 4]
    assert found.categories == {"A": 1}


networks = st.tuples(st.integers(0, 255), st.integers(24, 32), st.integers(0, 127))


@given(st.lists(networks, max_size=12))
def test_of_networks_in_networks_the_narrowest_counts(entries: list[tuple[int, int, int]]) -> None:
    with_nets = {ip_network(f"192.0.2.{last}/{length}", strict=False): score for last, length, score in entries}
    lines = "".join(f"{net},1,{score}\n" for net, score in with_nets.items())
    found = _read(lines)
    addresses = [f"192.0.2.{n}" for n in range(256)]
    for value in (1, 64):
        scored = Scored(found.of.get(1), found.known, ">=", value).among(columns(*addresses)).tolist()
        for address, there in zip(addresses, scored, strict=True):
            around = [net for net in with_nets if ip_address(address) in net]
            score = with_nets[max(around, key=lambda net: net.prefixlen)] if around else 0
            assert there == (score >= value), address


def _read(lines: str):  # type: ignore[no-untyped-def]
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        path.write_text(lines)
        return read_reputation(None, [str(path)], [])
