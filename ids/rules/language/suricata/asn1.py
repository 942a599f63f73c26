"""``asn1``: structures of ASN.1 in the payload whose lengths decoders ran over."""

from __future__ import annotations

from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.words import commas, number, required
from ids.rules.model.ber import Faults
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.chain import Structure

_WORDS = "oversize_length, bitstring_overflow, double_overflow, absolute_offset and relative_offset"


def asn1(draft: Draft, value: str | None) -> None:
    """``asn1:bitstring_overflow, oversize_length 500, relative_offset 4``: any of these faults, from there on."""
    longer: int | None = None
    flags: set[str] = set()
    offset, relative = 0, False
    for word in commas(required(value)):
        key, _, rest = word.strip().partition(" ")
        if key == "oversize_length":
            longer = number(rest.strip())
        elif key in ("bitstring_overflow", "double_overflow") and not rest.strip():
            flags.add(key)
        elif key in ("absolute_offset", "relative_offset"):
            relative = key == "relative_offset"
            offset = number(rest.strip(), -0xFFFF if relative else 0, 0xFFFF)
        elif word.strip():
            raise Malformed(f"unknown word {word[:40]!r}", f"known are {_WORDS}")
    if draft.sticky not in (None, PAYLOAD):
        raise Malformed("it is a test on the payload", "put it before the first buffer")
    faults = Faults(longer, "bitstring_overflow" in flags, "double_overflow" in flags)
    draft.add(Structure(faults, offset, relative), near=relative)
