"""The moves that chains are made of: each step of a chain as a closure over what is known when it is compiled.

A move takes the cursor, and where it is to go on when it is tried again (-1: the first time). It returns the cursor
behind what it found, or None where it does not hold. What it found goes to ``at.spans``; where it may be looked for
again, to ``at.next``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ids.rules.match.numbers import compare_move, compute_move, extract_move, jump_move
from ids.rules.match.reading import FAR, Move, Reading, value_of
from ids.rules.model.chain import (
    Compare,
    Compute,
    Content,
    DataAt,
    Decode,
    Entropy,
    Expression,
    Extract,
    Jump,
    Length,
    Listed,
    Step,
    Structure,
)
from ids.rules.model.entropy import MAX_BYTES, entropy_of
from ids.rules.model.lists import Learned
from ids.rules.model.patterns import Pattern
from ids.rules.model.transforms import base64_prefix

FAR_EXPRESSION = 12
"""A search of an expression counts for one move per 2**12 bytes."""

FAR_SEARCH = 14
"""A search of a literal counts for one move per 2**14 bytes, where it may be made again and again."""

NEAR = 1024
"""Bytes that are brought to lower case by themselves, where the buffer is much longer."""

ASIDE_MOVES = 100
"""Moves that a search by PCRE counts for: it takes some 80 µs, and in the worst case a tenth of a second."""

STRUCTURE_MOVES = 50
"""Moves that a structure of ASN.1 counts for: one of `ids.rules.model.ber.MAX_ELEMENTS` elements takes 100 µs."""

_Bounds: TypeAlias = Callable[[Reading, int], tuple[int, int]]
"""Returns where a literal may start at the earliest, and end at the latest."""


def move_of(step: Step, k: int, read_on: bool, repeated: bool) -> Move:
    """Return the move of the step number ``k``.

    ``read_on``: a later one looks from the cursor that it leaves; ``repeated``: it may come from several cursors.
    """
    if isinstance(step, Content):
        return _absent_move(step, repeated) if step.negated else _content_move(step, k, repeated)
    if isinstance(step, Expression):
        return _expression_move(step, k, read_on)
    if isinstance(step, Entropy):
        return _entropy_move(step, k)
    if isinstance(step, Compare):
        return compare_move(step, k)
    if isinstance(step, Jump):
        return jump_move(step, k)
    if isinstance(step, Extract):
        return extract_move(step, k)
    if isinstance(step, Compute):
        return compute_move(step, k)
    if isinstance(step, DataAt):
        return _data_at_move(step, k)
    if isinstance(step, Length):
        return _length_move(step, k)
    if isinstance(step, Structure):
        return _structure_move(step, k)
    return _decode_move(step) if isinstance(step, Decode) else _listed_move(step, k)


def _bounds(step: Content) -> _Bounds:
    """Return the bounds of a literal, as the cursor and variables have them."""
    offset_at, distance_at = value_of(step.offset or 0), value_of(step.distance or 0)
    depth_at = None if step.depth is None else value_of(step.depth)
    within_at = None if step.within is None else value_of(step.within)
    relative, placed = step.relative, step.offset is not None or step.depth is not None

    def bounds(at: Reading, cursor: int) -> tuple[int, int]:
        start, end = 0, len(at.data)
        if relative:
            start = max(0, cursor + distance_at(at))
            if within_at is not None:
                last = cursor + distance_at(at) + within_at(at)
                if last >= at.origin:  # else it is no bound: Suricata takes it as an unsigned number
                    end = min(end, max(last, 0))
        if placed:
            first = at.origin + offset_at(at)
            start = max(start, first)
            if depth_at is not None:
                end = min(end, max(0, first + depth_at(at)))
        return start, end

    return bounds


def _fixed_bounds(step: Content) -> _Bounds | None:
    """Return the bounds of a literal that is not looked for from the cursor, nor by variables."""
    offset, depth = step.offset or 0, step.depth
    if step.relative or isinstance(offset, str) or isinstance(depth, str):
        return None
    if not offset and depth is None:
        return lambda at, _cursor: (0, len(at.data))
    last = FAR if depth is None else offset + depth
    return lambda at, _cursor: (max(0, at.origin + offset), max(0, at.origin + last))


def _caseless(step: Content) -> bool:
    """Return whether the case of letters must be looked past."""
    return step.nocase and step.value.lower() != step.value.upper()


def _find_caseless(at: Reading, value: bytes, start: int, end: int) -> int:
    """Find a literal in lower case; of much data, only what is looked at is brought to lower case."""
    if end - start <= NEAR < len(at.data) >> 2:
        place = at.data[start:end].lower().find(value)
        return place + start if place >= 0 else place
    return at.lowered().find(value, start, end)


def _ends(at: Reading, value: bytes, caseless: bool, start: int, end: int) -> bool:
    """Return whether the buffer ends in a literal that lies within the bounds."""
    place = len(at.data) - len(value)
    if place < max(start, 0) or end < len(at.data):
        return False
    there = at.data[place:]
    return (there.lower() if caseless else there) == value


def _content_move(step: Content, k: int, repeated: bool) -> Move:
    value, size, caseless, at_end = step.value, len(step.value), _caseless(step), step.at_end
    bounds = _fixed_bounds(step) or _bounds(step)
    open_ended = repeated and step.within is None and step.depth is None

    def move(at: Reading, cursor: int, again: int) -> int | None:
        start, end = bounds(at, cursor)
        if again > start:
            start = again
        data = at.data
        if at_end:
            if not _ends(at, value, caseless, start, end):
                return None
            place = len(data) - size
        else:
            if open_ended and at.missing.get(k, FAR) <= start:
                return None
            place = _find_caseless(at, value, start, end) if caseless else data.find(value, start, end)
            if repeated:
                at.left -= max(0, (min(end, len(data)) if place < 0 else place) - start) >> FAR_SEARCH
            if place < 0:
                if open_ended:
                    at.missing[k] = start
                return None
        at.next = place + 1
        at.spans[k] = place, place + size
        return place + size

    return move


def _absent_move(step: Content, repeated: bool) -> Move:
    value, caseless, at_end = step.value, _caseless(step), step.at_end
    bounds = _fixed_bounds(step) or _bounds(step)

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        start, end = bounds(at, cursor)
        if at_end:
            return None if _ends(at, value, caseless, start, end) else cursor
        if repeated:
            at.left -= max(0, min(end, len(at.data)) - start) >> FAR_SEARCH
        place = _find_caseless(at, value, start, end) if caseless else at.data.find(value, start, end)
        return cursor if place < 0 else None

    return move


def _expression_move(step: Expression, k: int, read_on: bool) -> Move:
    pattern, relative, wanted = step.pattern, step.relative, not step.negated
    search = _leftmost(pattern) if read_on and wanted else _any(pattern)

    def move(at: Reading, cursor: int, again: int) -> int | None:
        start = max(0, cursor) if relative else 0
        if again > start:
            if pattern.anchored:
                return None
            start = again
        at.left -= (len(at.data) - start) >> FAR_EXPRESSION
        found = search(at, start, again >= 0)
        if (found is not None) is not wanted:
            return None
        if found is None:
            return cursor
        first, last = found
        at.next = first + 1
        at.spans[k] = found
        return last

    return move


def _any(pattern: Pattern) -> Callable[[Reading, int, bool], tuple[int, int] | None]:
    """Return a search that finds any match: nothing depends on where it ends."""
    search = pattern.search

    def find(at: Reading, start: int, _later: bool) -> tuple[int, int] | None:
        found = search(memoryview(at.data)[start:] if start else at.data)
        at.left -= ASIDE_MOVES if pattern.slow else 0
        return (found[0] + start, found[1] + start) if found is not None and start else found

    return find


def _leftmost(pattern: Pattern) -> Callable[[Reading, int, bool], tuple[int, int] | None]:
    """Return a search that finds the match that PCRE finds.

    Where a match is looked for behind another, what lies before ``start`` is not seen: so of a pattern that looks back,
    one that begins at ``start`` is passed over.
    """

    def find(at: Reading, start: int, later: bool) -> tuple[int, int] | None:
        while at.left > 0 and start <= len(at.data):
            found, aside = pattern.leftmost(memoryview(at.data)[start:] if start else at.data)
            at.left -= ASIDE_MOVES if aside else 0
            if found is None:
                return None
            if not (later and pattern.looks_back and not found[0]):
                return found[0] + start, found[1] + start
            start += 1
            at.left -= 1 + ((len(at.data) - start) >> FAR_EXPRESSION)
        return None

    return find


def _data_at_move(step: DataAt, k: int) -> Move:
    """Behind the cursor that many bytes suffice; from the start there must be one more, as in detect-isdataat.c."""
    count_at, relative, wanted = value_of(step.count), step.relative, not step.negated

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        needed = cursor + count_at(at) if relative else at.origin + count_at(at) + 1
        if (needed <= len(at.data)) is not wanted:
            return None
        if wanted:
            at.spans[k] = -1, max(0, needed)
        return cursor

    return move


def _length_move(step: Length, k: int) -> Move:
    least, most, wanted = step.least, FAR if step.most is None else step.most, not step.negated

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        size = len(at.data) - at.origin
        if (least <= size <= most) is not wanted:
            return None
        if least and wanted:
            at.spans[k] = -1, max(0, least + at.origin)
        return cursor

    return move


def _decode_move(step: Decode) -> Move:
    size, offset, relative = step.size, step.offset, step.relative

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        start = (cursor if relative else at.origin) + offset
        if start < 0 or start >= len(at.data):
            return None
        decoded = base64_prefix(at.data[start : len(at.data) if size is None else start + size])
        at.left -= len(decoded) >> FAR_EXPRESSION
        if not decoded:
            return None
        at.decoded.append(decoded)
        return cursor

    return move


def _structure_move(step: Structure, k: int) -> Move:
    offset, relative, faults = step.offset, step.relative, step.faults

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        start = (cursor if relative else at.origin) + offset
        at.left -= STRUCTURE_MOVES
        found = faults.found(at.data, start) if start >= 0 else None
        if found is None:
            return None
        at.spans[k] = found
        return cursor

    return move


def _entropy_move(step: Entropy, k: int) -> Move:
    least, most, wanted = step.least, step.most, not step.negated

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        at.left -= min(len(at.data), MAX_BYTES) >> FAR_EXPRESSION
        if (least <= entropy_of(at.data) <= most) is not wanted:
            return None
        if wanted:
            at.spans[k] = 0, len(at.data)
        return cursor

    return move


def _listed_move(step: Listed, k: int) -> Move:
    members, wanted = step.members, not step.negated

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        if (members is not None and at.data in members) is not wanted:
            return None
        if wanted:
            at.spans[k] = 0, len(at.data)
        return cursor

    return _learning_move(members, step.change, k) if isinstance(members, Learned) and step.change else move


def _learning_move(members: Learned, change: str, k: int) -> Move:
    change_by = members.add if change == "add" else members.remove

    def move(at: Reading, cursor: int, _again: int) -> int | None:
        if not change_by(at.data):
            return None
        at.spans[k] = 0, len(at.data)
        return cursor

    return move
