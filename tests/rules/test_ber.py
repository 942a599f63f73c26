"""Structures of ASN.1 (``asn1``): as Suricata finds their faults, and within bounds whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.rules.model.ber import MAX_ELEMENTS, Faults
from ids.rules.model.chain import Chain, Content, Structure
from tests.rules.suricata.making import fault_of, parts_of
from tests.rules.test_chains import found

LONGER, BITS, REAL = Faults(longer=1024), Faults(bits=True), Faults(real=True)


def ber(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes([tag]) + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + content


BAD_BITS = ber(3, b"\xffa")


@pytest.mark.parametrize(
    ("faults", "data", "odd"),
    [
        (LONGER, ber(4, b"a" * 1024), False),
        (LONGER, ber(4, b"a" * 1025), True),
        (LONGER, ber(0x30, ber(4, b"a" * 1025)), True),
        (LONGER, ber(2, b"\1") + ber(4, b"a" * 1025), True),
        (LONGER, ber(4, b"a" * 1025)[:-1], False),
        (LONGER, ber(0x30, b"a" * 1100), False),
        (BITS, ber(3, b"\x08"), False),
        (BITS, ber(3, b"\x09"), True),
        (BITS, ber(3, b"\x10a"), False),
        (BITS, ber(3, b"\x11a"), True),
        (BITS, ber(0x23, b"\xffa"), False),
        (BITS, ber(0x83, b"\xffa"), False),
        (BITS, ber(0x30, ber(2, b"\1") + BAD_BITS), True),
        (BITS, b"\x30\x80" + BAD_BITS + b"\0\0", True),
        (BITS, b"\x30\x80" + BAD_BITS, False),
        (BITS, ber(0xA0, BAD_BITS), True),
        (BITS, ber(0xA0, b"no element") + BAD_BITS, True),
        (BITS, ber(0x30, b"no element") + BAD_BITS, False),
        (REAL, ber(9, b"\0" * 256), False),
        (REAL, ber(9, b"\0" * 257), True),
        (REAL, ber(9, b"\x80" * 300), False),
        (REAL, ber(0x30, ber(9, b"\0" * 300)), True),
    ],
)
def test_faults_are_what_suricata_finds(faults: Faults, data: bytes, odd: bool) -> None:
    """But for those in context-specific elements, into which it does not look."""
    assert (faults.found(data, 0) is not None) is odd


@given(st.binary(max_size=200), st.integers(0, 20))
def test_any_bytes_are_read_to_an_end(data: bytes, start: int) -> None:
    Faults(longer=3, bits=True, real=True).found(data, start)


def test_structures_are_bounded() -> None:
    assert BITS.found(ber(2, b"\1") * (MAX_ELEMENTS - 1) + BAD_BITS, 0) is not None
    assert BITS.found(ber(2, b"\1") * MAX_ELEMENTS + BAD_BITS, 0) is None
    assert BITS.found(b"\x30\x80" * 100_000, 0) is None
    assert BITS.found(b"\xa0\x80" * 100_000, 0) is None
    assert BITS.found(b"\x1f" + b"\xff" * 100_000, 0) is None


def test_it_is_looked_for_from_the_start_or_behind_the_test_before() -> None:
    assert found(b"PRE" + BAD_BITS, Content(b"PRE"), Structure(BITS, 0, relative=True)) == ((0, 3), (3, 7))
    assert found(b"PRE" + BAD_BITS, Content(b"PRE"), Structure(BITS, -1, relative=True)) is None
    assert found(b"PRE" + BAD_BITS, Structure(BITS)) is None
    assert found(b"PRE" + BAD_BITS, Structure(BITS, 3)) == ((3, 7),)


def test_the_keyword() -> None:
    (chain,) = parts_of('content:"a"; asn1:double_overflow, bitstring_overflow, relative_offset 27, oversize_length 9;')
    assert isinstance(chain, Chain)
    assert chain.steps[-1] == Structure(Faults(9, bits=True, real=True), 27, relative=True)
    (chain,) = parts_of("asn1:bitstring_overflow,absolute_offset 4;")
    assert isinstance(chain, Chain)
    assert chain.steps == (Structure(BITS, 4),)


@pytest.mark.parametrize(
    "options",
    ["asn1;", "asn1:oversize_length;", "asn1:oversize_length -1;", "asn1:nonsense;", "asn1:relative_offset 99999;",
     "asn1:bitstring_overflow 2;", 'http.uri; content:"a"; asn1:bitstring_overflow;'],
)  # fmt: skip
def test_what_it_cannot_be_is_refused(options: str) -> None:
    fault_of(options, "alert tcp any any -> any any")
