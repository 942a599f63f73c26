"""Moves that read a number in the buffer: compare it, jump by it, or keep it in a variable.

Numbers are unsigned and have 64 bits; what goes beyond wraps, as in Suricata (detect-bytetest.c, detect-bytejump.c,
detect-byte-extract.c, detect-bytemath.c, util-byte.c).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Literal, TypeAlias

from ids.later import late_pattern
from ids.rules.match.reading import Move, Reading, value_of
from ids.rules.model.chain import Compare, Compute, Extract, Jump, Number

MAX_BINARY = 8
MAX_DIGITS = 23
"""Bytes of a number: what fills 64 bits, in binary and as octal digits with a leading zero."""

_ALL = (1 << 64) - 1
_SIGN = 1 << 63

_Read: TypeAlias = Callable[[Reading, int], tuple[int, int, int] | None]
"""Returns the number, where it starts and where it ends; None where there is none."""

_DIGITS = {
    8: re.compile(rb"[ \t-\r]*([+-]?)([0-7]+)"),
    10: re.compile(rb"[ \t-\r]*([+-]?)([0-9]+)"),
    16: re.compile(rb"[ \t-\r]*([+-]?)(?:0[xX](?=[0-9A-Fa-f]))?([0-9A-Fa-f]+)"),
}
_PREFIXED = late_pattern(rb"[ \t-\r]*[+-]?(0[xX][0-9A-Fa-f]|0)?")


def read_digits(text: bytes, base: int) -> tuple[int, int] | None:
    """Return the number that digits spell and how many bytes they take, as C's strtoull; None where they spell none."""
    if base == 0:
        prefix = _PREFIXED.match(text)
        base = 10 if prefix is None or not prefix[1] else 8 if prefix[1] == b"0" else 16
    found = _DIGITS[base].match(text)
    if found is None:
        return None
    value = int(found[2], base)
    if value > _ALL:
        return None
    return -value & _ALL if found[1] == b"-" else value, found.end()


def _reader(number: Number) -> _Read:
    """Return what reads a number."""
    size_of, offset_of, relative, base = value_of(number.size), value_of(number.offset), number.relative, number.base
    order: Literal["big", "little"] = "little" if number.order == "little" else "big"
    limit = MAX_BINARY if base is None else MAX_DIGITS

    def read(at: Reading, cursor: int) -> tuple[int, int, int] | None:
        data = at.data
        begin = (cursor if relative else at.origin) + offset_of(at)
        size = size_of(at) or (0 if base is None else max(0, min(limit, len(data) - begin)))  # all digits there are
        end = begin + size
        if begin < 0 or end > len(data) or size > limit or not data or (relative and size and begin >= len(data)):
            return None
        if base is None:
            return int.from_bytes(data[begin:end], order), begin, end
        found = read_digits(data[begin:end], base)
        return None if found is None else (found[0], begin, begin + found[1])

    return read


def _masked(value: int, bits: int | None) -> int:
    """Return the bits of a mask, shifted right by the mask's trailing zeros."""
    if bits is None:
        return value
    return (value & bits) >> ((bits & -bits).bit_length() - 1) if bits else 0


_COMPARE: dict[str, Callable[[int, int], object]] = {
    "=": operator.eq, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
    "&": operator.and_, "^": operator.xor,
}  # fmt: skip


def compare_move(step: Compare, k: int) -> Move:
    """Return the move of ``byte_test``."""
    read, value_at, compare = _reader(step.number), value_of(step.value), _COMPARE[step.operator]
    bits, wanted = step.number.bits, not step.negated

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        found = read(at, cursor)
        if found is None or bool(compare(_masked(found[0], bits), value_at(at))) is not wanted:
            return None
        at.spans[k] = found[1:]
        return cursor

    return move


def jump_move(step: Jump, k: int) -> Move:
    """Return the move of ``byte_jump``. A jump before the buffer leads to its start, one behind its end nowhere."""
    read, post_at = _reader(step.number), value_of(step.post_offset)
    multiplier, align, origin, bits = step.multiplier, step.align, step.origin, step.number.bits

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        found = read(at, cursor)
        if found is None:
            return None
        by = (_masked(found[0], bits) * multiplier) & _ALL
        if align:
            by = (by + 3) & ~3
        by = (by + post_at(at)) & _ALL
        by -= (by & _SIGN) << 1
        size = len(at.data)
        place = by + (at.origin if origin == "begin" else size if origin == "end" else found[2])
        if place > size:
            return None
        at.spans[k] = found[1:]
        return max(place, 0)

    return move


def extract_move(step: Extract, k: int) -> Move:
    """Return the move of ``byte_extract``."""
    read, name, multiplier, align, bits = _reader(step.number), step.name, step.multiplier, step.align, step.number.bits

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        found = read(at, cursor)
        if found is None:
            return None
        value = _masked(found[0], bits) * multiplier
        if align:
            value += -value % align
        at.values[name] = value & _ALL
        at.spans[k] = found[1:]
        return found[2]

    return move


_COMPUTE: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
    "<<": lambda value, by: value << by if by < 64 else 0,
    ">>": lambda value, by: value >> by if by < 64 else 0,
}


def compute_move(step: Compute, k: int) -> Move:
    """Return the move of ``byte_math``: the mask is laid on the result. Nothing is divided by 0."""
    read, name, value_at, compute = _reader(step.number), step.name, value_of(step.value), _COMPUTE[step.operator]
    divides, bits = step.operator == "/", step.number.bits

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        found = read(at, cursor)
        by = value_at(at)
        if found is None or (divides and not by):
            return None
        at.values[name] = _masked(compute(found[0], by) & _ALL, bits)
        at.spans[k] = found[1:]
        return found[2]

    return move
