"""Groups of addresses and ports mean what Suricata's users expect."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.rules.language.variables import GroupError, Variables
from ids.rules.settings import DEFAULT_VARIABLES
from ids.types import address_halves

VARIABLES = Variables(DEFAULT_VARIABLES)


@pytest.mark.parametrize(
    ("group", "inside", "outside"),
    [
        ("any", ["192.0.2.1", "2001:db8::1"], []),
        ("192.0.2.1", ["192.0.2.1"], ["192.0.2.2", "::c000:201"]),
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0"]),
        ("192.0.2.7-192.0.2.9", ["192.0.2.7", "192.0.2.9"], ["192.0.2.6", "192.0.2.10"]),
        ("2001:db8::/32", ["2001:db8::1"], ["2001:db9::1", "192.0.2.1"]),
        ("!192.0.2.0/24", ["192.0.3.1", "2001:db8::1"], ["192.0.2.1"]),
        ("[192.0.2.0/24, !192.0.2.128/25]", ["192.0.2.1"], ["192.0.2.200", "198.51.100.1"]),
        ("[!192.0.2.0/24, !198.51.100.0/24]", ["203.0.113.1"], ["192.0.2.1", "198.51.100.1"]),
        ("[192.0.2.0/24, ![192.0.2.128/25, !192.0.2.200]]", ["192.0.2.1", "192.0.2.200"], ["192.0.2.201"]),
        ("$HOME_NET", ["10.1.2.3", "192.168.0.1"], ["192.0.2.1"]),
        ("$EXTERNAL_NET", ["192.0.2.1", "2001:db8::1"], ["10.1.2.3"]),
        ("!$EXTERNAL_NET", ["10.1.2.3"], ["192.0.2.1"]),
        ("[192.0.2.0/25,192.0.2.128/25]", ["192.0.2.127", "192.0.2.128"], ["192.0.3.0"]),
    ],
)
def test_addresses(group: str, inside: list[str], outside: list[str]) -> None:
    """Membership of single addresses and of columns agree."""
    members = VARIABLES.addresses(group)
    column = np.array([address_halves(a) for a in inside + outside], np.uint64)
    assert [address_halves(a) in members for a in inside + outside] == [True] * len(inside) + [False] * len(outside)
    assert members.mask(column).tolist() == [True] * len(inside) + [False] * len(outside)


@pytest.mark.parametrize(
    ("group", "inside", "outside"),
    [
        ("any", [0, 80, 65535], []),
        ("80", [80], [79, 81]),
        ("1024:", [1024, 65535], [1023]),
        (":1023", [0, 1023], [1024]),
        ("!80", [79], [80]),
        ("[80, 8000:8999, !8080]", [80, 8000, 8999], [8080, 9000]),
        ("$HTTP_PORTS", [80], [81]),
        ("[$HTTP_PORTS,443]", [80, 443], [444]),
    ],
)
def test_ports(group: str, inside: list[int], outside: list[int]) -> None:
    """Membership of single ports and of columns agree."""
    members = VARIABLES.ports(group)
    column = np.array(inside + outside, np.uint16)
    assert [port in members for port in inside + outside] == [True] * len(inside) + [False] * len(outside)
    assert members.mask(column).tolist() == [True] * len(inside) + [False] * len(outside)


@pytest.mark.parametrize(
    ("group", "message", "remedy"),
    [
        ("$HOME_NTE", "variable $HOME_NTE is not defined", "did you mean 'HOME_NET'?"),
        ("192.0.2.300", "'192.0.2.300' is no address", "192.0.2.0/24"),
        ("[192.0.2.1", "'[192.0.2.1' has no closing bracket", ""),
        ("[192.0.2.1,]", "[192.0.2.1,] is no list of members", "separate members by commas"),
        ("!any", "'!any' matches nothing", "negation"),
        ("[192.0.2.1,!192.0.2.0/24]", "matches nothing", "negation"),
        ("192.0.2.9-192.0.2.1", "the range 192.0.2.9-192.0.2.1 runs backwards", ""),
        ("", "'' is no address", ""),
    ],
)
def test_bad_groups(group: str, message: str, remedy: str) -> None:
    """A group that cannot be meant says what is wrong and what to do."""
    with pytest.raises(GroupError) as caught:
        VARIABLES.addresses(group)
    assert message in str(caught.value)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("group", ["65536", "70000:80", "http", "-1", ":", "1.5"])
def test_bad_ports(group: str) -> None:
    """What is no port is refused."""
    with pytest.raises(GroupError, match="is no port"):
        VARIABLES.ports(group)


def test_circle_of_variables() -> None:
    """A variable that is defined by itself is refused, not followed."""
    with pytest.raises(GroupError, match="is defined by itself"):
        Variables({"A": "$B", "B": ["$A"]}).addresses("$A")


def test_deep_nesting() -> None:
    """Brackets without end do not exhaust the stack."""
    with pytest.raises(GroupError, match="nested deeper"):
        VARIABLES.addresses("[" * 5000 + "192.0.2.1" + "]" * 5000)


networks = st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.integers(0, 15).map(lambda last: f"192.0.2.{last}"),
    st.integers(28, 32),
)


@given(st.lists(st.tuples(st.booleans(), networks), min_size=1, max_size=6), st.integers(0, 17))
def test_a_list_is_its_plain_members_without_its_negated_ones(items: list[tuple[bool, str]], last: int) -> None:
    """Equal to the sentence above, spelled with `ipaddress`; of only negated members, all others."""
    address = ipaddress.ip_address(f"192.0.2.{last}")
    plain = [ipaddress.ip_network(text) for negated, text in items if not negated]
    refused = [ipaddress.ip_network(text) for negated, text in items if negated]
    expected = (not plain or any(address in net for net in plain)) and not any(address in net for net in refused)
    group = "[" + ",".join(("!" if negated else "") + text for negated, text in items) + "]"
    try:
        members = VARIABLES.addresses(group)
    except GroupError:
        assert not expected
    else:
        assert (address_halves(str(address)) in members) is expected
