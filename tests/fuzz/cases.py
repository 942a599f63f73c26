"""Inputs of one parser: what both sides say, and what fuzzing does to it. Made to cost less than what they are fed to.

A `Case` is a seed: turns, each of a side and its bytes. `varied` makes `Step`s of it, as a parser is fed: changed in
their bytes (numbers, lengths, words, spans), in their turns (missing, repeated, of another seed), and cut into pieces.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

Case = tuple[tuple[int, bytes], ...]
"""Turns: side and bytes."""

MOST_BYTES = 16 * 1024
"""Of one turn after it was changed."""
MANY_TURNS = 6
"""Of longer cases, most often the beginning is taken."""
LONG_BYTES = 128 * 1024
"""Of a long input, about."""
SEGMENT = 1448
"""Bytes of a full segment."""

_ODD = bytes((0, 1, 2, 4, 9, 10, 13, 32, 34, 37, 40, 44, 46, 47, 58, 59, 61, 92, 0x30, 0x7F, 0x80, 0x84, 0xFE, 0xFF))
"""Bytes at which parsers turn: ends of ranges, separators, lengths of lengths."""
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x3FFF, 0x4000, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, -1)
_DECIMALS = (
    b"0", b"1", b"-1", b"65536", b"4294967295", b"18446744073709551616", b"00000000000000000010", b"1e9", b"",
    b"9" * 5000,
)  # fmt: skip
_DIGITS = frozenset(b"0123456789")


class Step(NamedTuple):
    """What a parser is fed at once."""

    side: int
    data: bytes
    gap: int = 0
    closed: bool = False


def varied(case: Case, other: Case, rng: Random, *, whole: bool = False) -> list[Step]:
    """Return the steps of a changed case; ``other`` lends it turns and bytes. ``whole``: no turn is cut, none missing,
    and there is no end: they are datagrams."""
    draw = rng.random
    turns = list(case)
    if draw() < 0.45:
        _reorder(turns, other, rng)
    if len(turns) > MANY_TURNS and draw() < 0.8:
        del turns[1 + int(draw() ** 2 * 3 * MANY_TURNS) :]
    lent = other[int(draw() * len(other))][1] if other else b""
    for _ in range(1 + int(4 * draw() ** 2) if turns else 0):
        at = int(draw() * len(turns))
        turns[at] = turns[at][0], changed(turns[at][1], lent, rng)
    if whole or draw() < 0.5:
        steps = [Step(side, data) for side, data in turns]
    else:
        steps = []
        for side, data in turns:
            if len(data) > 1 and draw() < 0.35:
                steps += _cut(side, data, rng)
            else:
                steps.append(Step(side, data))
    if whole:
        return steps
    if draw() < 0.05 and steps:
        at = int(draw() * len(steps))
        steps[at] = steps[at]._replace(gap=1 + int(draw() * 3000))
    if draw() < 0.8:
        steps += (Step(0, b"", 0, True), Step(1, b"", 0, True))
    return steps


def _reorder(turns: list[tuple[int, bytes]], other: Case, rng: Random) -> None:
    """Leave turns out, repeat, exchange or turn them, or go on with those of another case."""
    draw = rng.random
    kind, at = int(draw() * 7), int(draw() * len(turns))
    if kind == 0:
        del turns[at + 1 :]
    elif kind == 1:
        del turns[at]
    elif kind == 2:
        turns[at:at] = turns[at : at + 1 + int(draw() * 3)] * (1 + int(draw() * 4))
    elif kind == 3:
        turns[at + 1 :] = other[int(draw() * len(other)) :]
    elif kind == 4:
        to = int(draw() * len(turns))
        turns[at], turns[to] = turns[to], turns[at]
    elif kind == 5:
        turns[at] = (1 - turns[at][0], turns[at][1])
    else:
        turns.sort(key=lambda turn: turn[0], reverse=draw() < 0.5)


def changed(data: bytes, other: bytes, rng: Random) -> bytes:
    """Return bytes with one to four changes."""
    made = bytearray(data[:MOST_BYTES])
    draw = rng.random
    for _ in range(1 + int(4 * draw() * draw())):
        size = len(made)
        at = int(size * (draw() if draw() < 0.6 else draw() ** 3))
        kind = int(draw() * 14)
        if kind >= 10 or not size:  # most is done to spans
            _change_span(made, other, at, kind, rng)
        elif kind < 2:
            made[at] ^= 1 << int(draw() * 8)
        elif kind < 4:
            made[at] = _ODD[int(draw() * len(_ODD))]
        elif kind == 4:
            made[at] = made[at] + int(draw() * 9) - 4 & 0xFF  # a length that is nearly right
        elif kind < 7:
            width = 1 << int(draw() * 4)
            number = _NUMBERS[int(draw() * len(_NUMBERS))] & (1 << 8 * width) - 1
            made[at : at + width] = number.to_bytes(width, "big" if kind == 5 else "little")
        elif kind == 7:
            _change_decimal(made, at, rng)
        elif kind == 8:
            del made[at:]
        else:
            del made[at : at + 1 + int(draw() ** 2 * 64)]
    return bytes(made if len(made) <= MOST_BYTES else made[:MOST_BYTES])


def _change_span(made: bytearray, other: bytes, at: int, kind: int, rng: Random) -> None:
    draw = rng.random
    length = 1 + int(draw() ** 2 * 64)
    if kind == 10:
        made[at:at] = made[at : at + length] * (1 + int(draw() ** 2 * 20))
    elif kind == 11 and other:
        start = int(draw() * len(other))
        made[at : at + (length if draw() < 0.5 else 0)] = other[start : start + 4 * length]
    elif kind == 12:
        made[at:at] = rng.randbytes(length)
    else:
        made[at:at] = bytes((_ODD[int(draw() * len(_ODD))],)) * (length * (1 + int(draw() ** 4 * 40)))


def _change_decimal(made: bytearray, at: int, rng: Random) -> None:
    """Change the first decimal number behind a place, where there is one near."""
    for start in range(at, min(at + 64, len(made))):
        if made[start] in _DIGITS:
            end = start
            while end < len(made) and made[end] in _DIGITS:
                end += 1
            made[start:end] = _DECIMALS[int(rng.random() * len(_DECIMALS))]
            return


def _cut(side: int, data: bytes, rng: Random) -> list[Step]:
    """Return bytes in pieces, a few, of which one may be lost; or the first ones each by itself."""
    draw = rng.random
    if draw() < 0.06:
        single = min(len(data), 48)
        return [*(Step(side, data[at : at + 1]) for at in range(single)), Step(side, data[single:])]
    cuts = sorted(int(draw() * len(data)) for _ in range(1 + int(draw() * 3)))
    pieces = [Step(side, data[start:end]) for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    if len(pieces) > 2 and draw() < 0.15 and (lost := len(pieces.pop(1).data)):
        pieces[1] = pieces[1]._replace(gap=lost)
    return pieces


def lengthy(case: Case, other: Case, rng: Random) -> list[Step]:
    """Return the steps of a long input: a case, or a piece of it, that comes again until it is `LONG_BYTES` long.

    What takes the square of its size, or is kept without bound, shows by it.
    """
    draw = rng.random
    kind = int(draw() * 5)
    if kind == 0:  # a whole conversation, again and again
        turns = [(side, said) for side, said in case if said] or [(0, b"\0")]
        times = 1 + LONG_BYTES // sum(len(said) for _, said in turns)
        return [Step(side, said) for _ in range(min(times, 400)) for side, said in turns]
    side, said = case[int(draw() * len(case))]
    said = changed(said, other[0][1] if other else b"", rng) or b"\0"
    start = int(draw() * len(said))
    piece = said[start : start + 1 + int(draw() ** 3 * 256)]
    head = said[:start] if draw() < 0.8 else b""
    before = [Step(*turn) for turn in case[: int(draw() * 3)]]
    if kind == 1:  # one turn, again and again
        return [*before, *(Step(side, said) for _ in range(min(1 + LONG_BYTES // len(said), 2000)))]
    size = LONG_BYTES if kind < 4 else 4096
    step = SEGMENT if kind < 4 else 1 + int(draw() * 2)
    stream = head + piece * (size // len(piece))
    return [*before, *(Step(side, stream[at : at + step]) for at in range(0, len(stream), step))]


def as_file(path: Path, target: str, steps: Sequence[Step]) -> None:
    """Write an input."""
    rows = [[step.side, step.data.hex(), step.gap, step.closed] for step in steps]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"target": target, "steps": rows}))


def of_file(path: Path) -> list[Step]:
    """Read an input that `as_file` wrote."""
    rows = json.loads(path.read_text())["steps"]
    return [Step(side, bytes.fromhex(data), gap, closed) for side, data, gap, closed in rows]
