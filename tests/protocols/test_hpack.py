"""Compressed headers: as the library has them where it is content, and bounded and read on where it gives up."""

from __future__ import annotations

import pytest
from hpack import Decoder as Reference
from hpack import Encoder
from hpack.exceptions import HPACKError
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.http2.hpack import MAX_HEADERS, REFERRED_BYTES, Decoder

TEXT = st.binary(max_size=40)
HEADERS = st.lists(st.tuples(st.sampled_from([b":path", b"cookie", b"x", b"user-agent"]) | TEXT, TEXT), max_size=12)


def decoder(table_bytes: int = 65536) -> Decoder:
    return Decoder(table_bytes)


@given(st.lists(HEADERS, max_size=6), st.booleans(), st.lists(st.sampled_from([0, 64, 200, 4096]), max_size=3))
def test_what_is_encoded_is_decoded(blocks: list[list[tuple[bytes, bytes]]], huffman: bool, sizes: list[int]) -> None:
    encoder, ours = Encoder(), decoder()
    for number, headers in enumerate(blocks):
        if number < len(sizes):
            encoder.header_table_size = sizes[number]
        block = ours.decode(bytes(encoder.encode(headers, huffman=huffman)))
        assert block.headers == headers
        assert (block.unknown, block.left_out, block.fault) == (0, 0, None)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_it_agrees_with_the_library_as_long_as_that_goes_on(blocks: list[bytes]) -> None:
    reference, ours = Reference(), decoder(4096)
    for raw in blocks:
        block = ours.decode(raw)
        try:
            expected = [(bytes(name), bytes(value)) for name, value in reference.decode(raw, raw=True)]
        except (HPACKError, IndexError):
            return
        assert block.headers == expected
        assert block.fault is None


@given(st.binary(max_size=400))
def test_it_never_raises(raw: bytes) -> None:
    block = decoder().decode(raw)
    assert len(block.entries) <= len(raw)


def test_an_unknown_number_costs_that_header_alone() -> None:
    block = decoder().decode(b"\x82\xfe\x84")
    assert block.headers == [(b":method", b"GET"), (b":path", b"/")]
    assert (block.unknown, block.fault) == (1, None)


def test_a_literal_with_an_unknown_name_keeps_its_value() -> None:
    block = decoder().decode(b"\x7e\x03abc")
    assert block.headers == [(b"", b"abc")]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"\x82\xff" + b"\xff" * 9 + b"\x01", "header_integer_overflow"),
        (b"\x82\xff", "invalid_header"),
        (b"\x82\x00\x05ab", "invalid_header"),
        (b"\x82\x00\x01a", "invalid_header"),
        (b"\x82\x00\x01a\x84\xff\xff\xff\xff", "invalid_header"),  # the end of the code within a string
    ],
)
def test_of_a_broken_block_what_comes_before_is_kept(raw: bytes, fault: str) -> None:
    block = decoder().decode(raw)
    assert block.headers == [(b":method", b"GET")]
    assert block.fault == fault


def test_integers_as_long_as_they_may_be_are_read() -> None:
    assert decoder().decode(b"\x3f\xe1\xff\x03").entries == [65536]
    assert decoder().decode(b"\x3f\x80\x80\x80\x00").entries == [31]


def test_a_table_that_is_to_be_larger_than_ours_keeps_the_newest() -> None:
    ours, encoder = decoder(4096), Encoder()
    encoder.header_table_size = 1 << 20
    many = [(b"x-%d" % n, b"y" * 200) for n in range(40)]
    assert ours.decode(bytes(encoder.encode(many))).headers == many
    assert ours.held <= 4096
    again = ours.decode(bytes(encoder.encode(many)))
    assert 0 < again.unknown < 40
    assert again.headers == many[-len(again.headers) :]


def test_references_cost_no_more_than_they_may() -> None:
    ours = decoder()
    planted = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000
    assert ours.decode(planted).left_out == 0
    block = ours.decode(b"\xbe" * 16384)
    assert sum(len(name) + len(value) for name, value in block.headers) <= REFERRED_BYTES
    assert len(block.headers) + block.left_out == 16384


def test_names_cost_as_well() -> None:
    ours = decoder()
    ours.decode(b"\x40\x7f\xa1\x1e" + b"n" * 4000 + b"\x00")
    block = ours.decode(b"\x0f\x2f\x00" * 5000)
    assert sum(len(name) for name, _ in block.headers) <= REFERRED_BYTES


@pytest.mark.parametrize("one", [b"\x82", b"\x10\x00\x00", b"\x20", b"\x00\x01a\x01b"])
def test_there_are_no_more_headers_than_there_may_be(one: bytes) -> None:
    block = decoder().decode(one * 20_000)
    assert len(block.entries) == MAX_HEADERS
