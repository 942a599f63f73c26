"""The spare flooder sends SYNs that a server believes, and stops by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP

from ids.lab.flood import checksum, syn

ports = st.integers(1, 65535)
addresses = st.integers(0, 2**32 - 1).map(lambda n: ".".join(str(n >> shift & 255) for shift in (24, 16, 8, 0)))


@given(addresses, addresses, ports, ports)
def test_a_syn_is_what_scapy_would_have_built(source: str, target: str, sport: int, dport: int) -> None:
    ours = IP(syn(source, target, sport, dport))
    theirs = IP(
        bytes(IP(src=source, dst=target) / TCP(sport=sport, dport=dport, flags="S", seq=ours.seq, window=64240))
    )
    assert (ours.src, ours.dst) == (source, target)
    assert bytes(ours[TCP]) == bytes(theirs[TCP])


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2  # the example of its section 3
