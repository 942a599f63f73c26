"""Entries in columns say the same as networks one at a time."""

from __future__ import annotations

import ipaddress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ids.kernel import contract
from ids.kernel.lists.entries import Entries, keys_of, networks_from, networks_of
from ids.kernel.lists.networks import KEY_TYPES, is_exact, key_of
from ids.types import IPNetwork

V4 = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda p: ipaddress.ip_network(p, strict=False))
V6 = st.tuples(st.integers(2**64, 2**128 - 1), st.integers(0, 128)).map(lambda p: ipaddress.ip_network(p, strict=False))
FEW = st.tuples(st.integers(0, 15), st.integers(26, 32)).map(
    lambda p: ipaddress.ip_network((0xC0000200 + p[0], p[1]), strict=False)
)


def entries(networks: list[IPNetwork]) -> Entries:
    rows = [(network.version, network.prefixlen, int(network.network_address)) for network in networks]
    return Entries(networks_from(rows), np.zeros(len(rows), contract.BLOCK))


@given(st.lists(st.one_of(V4, V6, FEW), max_size=20))
def test_they_are_spelt_and_sorted_as_objects_are(networks: list[IPNetwork]) -> None:
    columns = entries(networks)
    assert columns.texts() == [str(network) for network in networks]
    ordered = sorted(networks, key=lambda n: (n.version, n.network_address, n.prefixlen))
    assert columns.chosen(columns.by_network()).texts() == [str(network) for network in ordered]


@given(st.lists(st.one_of(V4, V6, FEW), max_size=20), st.one_of(V4, V6, FEW))
def test_near_is_what_overlaps(networks: list[IPNetwork], asked: IPNetwork) -> None:
    near = entries(networks).near(asked).tolist()
    assert near == [network.version == asked.version and network.overlaps(asked) for network in networks]


@given(st.lists(st.one_of(V4, V6, FEW), max_size=20))
def test_keys_of_the_kernel_and_back(networks: list[IPNetwork]) -> None:
    columns = entries(networks)
    for kind, dtype in KEY_TYPES.items():
        ours = [network for network in networks if (network.version, is_exact(network)) == kind]
        keys, _ = columns.of_kind(kind)
        assert keys.tolist() == [key_of(network) for network in ours]
        again = networks_of(kind, keys.view(dtype))
        assert keys_of(kind, again).tolist() == keys.tolist()
