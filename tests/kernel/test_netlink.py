"""What is said to rtnetlink and what comes back, in its own words."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.kernel.system.netlink import NetlinkError, attribute, attributes, query_xdp, request

_RTM_GETLINK, _RTM_GETQDISC = 18, 38
LINK = struct.Struct("=BxHiII")


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_are_read_as_they_were_written(sent: list[tuple[int, bytes]]) -> None:
    assert list(attributes(b"".join(attribute(*one) for one in sent))) == sent


@given(st.binary(max_size=64))
def test_attributes_that_are_none_end_the_reading(data: bytes) -> None:
    assert sum(4 + len(value) for _, value in attributes(data)) <= len(data) + 3


def test_a_dump_is_read_to_its_end() -> None:
    names = {dict(attributes(body[LINK.size :]))[3] for body in request(_RTM_GETLINK, bytes(LINK.size), 0x300)}
    assert b"lo\0" in names


def test_loopback_has_no_program_and_an_mtu() -> None:
    lo = query_xdp("lo")
    assert (lo.program_id, lo.mode) == (0, "")
    assert lo.mtu > 1000


def test_a_refusal_has_the_number_and_the_words_of_the_kernel() -> None:
    with pytest.raises(NetlinkError) as unknown:
        request(_RTM_GETLINK, LINK.pack(0, 0, 1 << 30, 0, 0))
    assert unknown.value.errno == errno.ENODEV
    with pytest.raises(NetlinkError, match="qdisc") as missing:
        request(_RTM_GETQDISC, struct.pack("=BxxxiIII", 0, 1, 0, 0x77770000, 0))
    assert missing.value.errno == errno.ENOENT
