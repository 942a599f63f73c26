"""Names in messages of SMB 1, which servers take without a login, and the longest of which have eight megabytes."""

from __future__ import annotations

import tracemalloc
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.smb import wire1
from ids.protocols.smb.wire1 import MAX_NAME, Block
from tests.cost import FACTOR, growth

MIB = 1 << 20
ODD = b"\0xx\0"
"""Two zeros in a row, and never where a character of UTF-16 begins."""


def block(data: bytes, command: int = wire1.SESSION_SETUP, start: int = 0) -> Block:
    return Block(command, bytes(26), data, start, data)


def chained(commands: int, size: int) -> bytes:
    """Return a message of session setups, one behind the other, each with all of the rest for its bytes."""
    message = b"\xffSMB" + bytes([wire1.SESSION_SETUP]) + bytes(27)
    for number in range(commands):
        following = wire1.SESSION_SETUP if number < commands - 1 else wire1.NONE
        message += b"\x0d" + pack("<BBH", following, 0, len(message) + 29) + bytes(22 + 2)
    return message + bytes(size)


def test_a_chain_of_commands_holds_one_of_them_at_a_time() -> None:
    message = chained(32, MIB)
    tracemalloc.start()
    count = sum(1 for _ in wire1.blocks(message, wire1.SESSION_SETUP, 32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 32
    assert peak < 4 * MIB


def test_what_a_name_costs_does_not_grow_with_what_follows_it() -> None:
    blocks = {size: block(ODD * (size // 4)) for size in (MIB // 2, FACTOR * MIB // 2)}
    assert growth(lambda size: wire1.text(blocks[size], 0, True), MIB // 2) < 4
    assert growth(lambda size: wire1.dialects(blocks[size]), MIB // 2) < 4


@given(st.text(max_size=20), st.binary(max_size=20), st.integers(0, 3))
def test_a_name_ends_with_its_zero(name: str, rest: bytes, start: int) -> None:
    name = name.replace("\0", "").encode("utf-16-le", "ignore").decode("utf-16-le")
    raw = name.encode("utf-16-le") + b"\0\0"
    pad = start % 2
    found, end = wire1.text(block(bytes(pad) + raw + rest, start=start), 0, True)
    assert (found, end) == (name.encode(), pad + len(raw))


@pytest.mark.parametrize("unicode", [True, False])
def test_a_name_without_an_end_is_all_there_is_as_far_as_names_are_kept(unicode: bool) -> None:
    for size in (0, 1, MAX_NAME - 1, MAX_NAME, MAX_NAME + 1, 3 * MAX_NAME):
        found, end = wire1.text(block(b"a" * size), 0, unicode)
        assert len(found) <= (3 if unicode else 1) * MAX_NAME
        assert end >= size, "nothing follows it"
        assert wire1.text(block(b"a" * size), end, unicode)[0] == b""


def test_a_rename_keeps_no_more_of_its_names() -> None:
    old, new = b"a" * MIB, b"b" * MIB
    found = wire1.pairs(block(b"\x04" + old + b"\0\x04" + new))
    assert found is not None
    assert [len(name) for name in found] == [MAX_NAME, MAX_NAME]
    assert wire1.pairs(block(b"\x04old\0\x04new\0")) == (b"old\0", b"new\0")


def test_no_more_dialects_are_read_than_clients_offer() -> None:
    assert wire1.dialects(block(b"\x02NT LM 0.12\0\x02SMB 2.002\0")) == [b"NT LM 0.12", b"SMB 2.002"]
    assert len(wire1.dialects(block(b"\x02a\0" * 1000))) == 64
