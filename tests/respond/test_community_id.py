"""Community ID: ours against the reference implementation."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from communityid import CommunityID, FlowTuple
from hypothesis import given
from hypothesis import strategies as st

from ids.respond.community_id import community_id, community_ids
from ids.respond.events import base
from ids.types import Flow, FlowColumns
from tests.factory import make_flow

MAKERS = {
    6: FlowTuple.make_tcp,
    17: FlowTuple.make_udp,
    132: FlowTuple.make_sctp,
    1: FlowTuple.make_icmp,
    58: FlowTuple.make_icmp6,
}
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6, network="2000::/3"))  # not ::ffff:0:0/96: that is IPv4


def ends(flow: Flow) -> tuple[tuple[int, int], tuple[int, int], int, int, int]:
    return flow.src, flow.dst, flow.sport, flow.dport, flow.proto


@given(addresses, addresses, st.sampled_from(sorted(MAKERS)), st.integers(0, 65535), st.integers(0, 65535))
def test_it_is_the_reference_implementations(
    source: ipaddress.IPv4Address | ipaddress.IPv6Address,
    target: ipaddress.IPv4Address | ipaddress.IPv6Address,
    proto: int, first: int, second: int,
) -> None:  # fmt: skip
    if source.version != target.version:
        target = source
    if proto in (1, 58):
        first, second = first % 256, second % 256
    flow = make_flow(str(source), str(target), proto=proto, sport=first, dport=second)
    assert community_id(*ends(flow)) == CommunityID().calc(MAKERS[proto](str(source), str(target), first, second))


@given(
    st.lists(st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4), st.sampled_from((6, 17, 1)))), st.integers(0, 65535)
)
def test_many_at_once_are_as_one_by_one(
    talks: list[tuple[ipaddress.IPv4Address, ipaddress.IPv4Address, int]], sport: int
) -> None:
    columns = FlowColumns(8)
    flows = [
        make_flow(str(source), str(target), columns, proto=proto, sport=sport % 256) for source, target, proto in talks
    ]
    slots = np.array([flow.slot for flow in flows], np.int64)
    assert community_ids(columns, slots) == [community_id(*ends(flow)) for flow in flows]


@given(st.integers(0, 65535), st.integers(0, 65535), st.sampled_from(("192.0.2.1", "2001:db8::1")))
def test_of_two_ends_with_one_address_the_ports_may_be_read_the_other_way_round(
    sport: int, dport: int, address: str
) -> None:
    """The id is then that of the same ends in the order that their turned ports have."""
    columns = FlowColumns(2)
    columns.community_turned = True
    flow = make_flow(address, address, columns, sport=sport, dport=dport)
    low, high = sorted((sport, dport), key=lambda port: port.to_bytes(2, "little"))
    turned = community_id(*ends(flow), turned_ports=True)
    assert community_ids(columns, np.array([flow.slot], np.int64)) == [turned]
    assert base("flow", flow, 0, 0)["community_id"] == turned
    assert turned == community_id(flow.src, flow.dst, high, low, 6, turned_ports=True)
    if low < high:
        assert turned == community_id(*ends(flow))


def test_two_addresses_are_in_the_order_of_the_specification_however_ports_are_read() -> None:
    flow = make_flow("192.0.2.9", "192.0.2.1", sport=0x0100, dport=0x0001)
    assert community_id(*ends(flow), turned_ports=True) == community_id(*ends(flow))


@given(st.integers(0, 65535), st.sampled_from((4, 6)), st.sampled_from((6, 17, 1)))
def test_a_seed_is_that_of_all_ids_of_an_engine(seed: int, version: int, proto: int) -> None:
    columns = FlowColumns(2)
    columns.community_seed = seed
    source, target = ("192.0.2.9", "192.0.2.1") if version == 4 else ("2001:db8::9", "2001:db8::1")
    flow = make_flow(source, target, columns, proto=proto)
    expected = community_id(*ends(flow), seed)
    assert community_ids(columns, np.array([flow.slot], np.int64)) == [expected]
    assert base("flow", flow, 0, 0)["community_id"] == expected
    if proto == 6:
        assert expected == CommunityID(seed=seed).calc(FlowTuple.make_tcp(source, target, flow.sport, flow.dport))


@pytest.mark.parametrize("proto", [47, 50, 253])
def test_protocols_without_ports(proto: int) -> None:
    flow = make_flow("192.0.2.9", "192.0.2.1", proto=proto)
    assert community_id(*ends(flow)) == CommunityID().calc(FlowTuple.make_ip("192.0.2.9", "192.0.2.1", proto))


def test_both_directions_are_one_flow() -> None:
    there = make_flow("192.0.2.1", "203.0.113.1", sport=1, dport=2)
    back = make_flow("203.0.113.1", "192.0.2.1", sport=2, dport=1)
    assert community_id(*ends(there)) == community_id(*ends(back))
