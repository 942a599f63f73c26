"""How hosts put overlapping bytes together: which of two copies an application gets.

THEORY. A host keeps what it has not delivered yet in pieces. When a new segment overlaps a piece, whose copy of the
common bytes stays depends on which of the two begins first, and which ends first. This is the table of Novak and
Sturges, "Target-Based TCP Stream Reassembly" (2007), and, for fragments, of Novak, "Target-Based Fragmentation
Reassembly" (2005). `linux` is what kernels since 2.4 do with segments, and since 4.20 with fragments, where it gives up
datagrams with overlaps (RFC 5722, RFC 8200 section 4.5) and ignores a fragment that brings nothing new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

Piece: TypeAlias = tuple[int, bytes]
"""Offset and content."""
Newer: TypeAlias = Callable[[tuple[int, int], tuple[int, int]], bool]
"""Says of two overlapping pieces, given by begin and end, whether the later one keeps the bytes they share."""

POLICIES = (
    "first", "last", "bsd", "bsd-right", "linux", "old-linux", "windows", "vista", "solaris", "hpux", "irix", "macos",
)  # fmt: skip
ALL = frozenset(POLICIES)

_FIRST = frozenset({"first", "vista"})
"""Segments: the copy that came first stays, whatever its place."""
_LATEST_WHERE_LONGER = frozenset({"solaris", "hpux"})
"""Segments: the later copy stays where it ends later."""

_FRAGMENT_KINDS = {
    "first": "first", "macos": "first", "hpux": "first", "last": "last", "bsd": "bsd", "irix": "bsd",
    "bsd-right": "bsd-right", "old-linux": "linux", "windows": "windows", "vista": "windows", "solaris": "solaris",
}  # fmt: skip


def newer_wins(policy: str, old: tuple[int, int], new: tuple[int, int]) -> bool:
    """Return whether the later of two overlapping segments, given by begin and end, keeps the bytes they share."""
    if policy == "last":
        return True
    if policy in _FIRST:
        return False
    longer, as_long = new[1] > old[1], new[1] >= old[1]
    if new[0] < old[0]:
        return as_long if policy in _LATEST_WHERE_LONGER else True
    if new[0] == old[0]:
        if policy == "linux":
            return longer
        return as_long if policy in _LATEST_WHERE_LONGER | {"old-linux"} else False
    return longer if policy in _LATEST_WHERE_LONGER else False


def newer_fragment_wins(policy: str, old: tuple[int, int], new: tuple[int, int]) -> bool:
    """Return whether the later of two overlapping fragments keeps the bytes they share."""
    kind = _FRAGMENT_KINDS[policy]
    if kind in ("first", "last"):
        return kind == "last"
    if kind == "bsd":
        return new[0] < old[0]
    if kind == "bsd-right":
        return new[0] >= old[0]
    if kind == "linux":
        return new[0] <= old[0]
    covers = new[0] <= old[0] and new[1] > old[1]
    return (new[0] < old[0] and covers) if kind == "windows" else (new[0] <= old[0] and new[1] >= old[1])


def stream(policy: str, pieces: Iterable[Piece]) -> bytes:
    """Return what an application reads of segments that wait for the first byte, which comes last of all."""
    return _together(lambda old, new: newer_wins(policy, old, new), pieces)


def datagram(policy: str, pieces: Iterable[Piece]) -> bytes | None:
    """Return the payload that fragments make; None where the host gives it up."""
    if policy != "linux":
        return _together(lambda old, new: newer_fragment_wins(policy, old, new), pieces)
    runs: list[Piece] = []
    for begin, data in pieces:
        common = [run for run in runs if run[0] < begin + len(data) and begin < run[0] + len(run[1])]
        if not common:
            runs.append((begin, data))
        elif not any(start <= begin and begin + len(data) <= start + len(known) for start, known in common):
            return None
        runs = _joined(runs)
    return _together(lambda old, new: False, runs)


def _joined(pieces: list[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    for begin, data in sorted(pieces):
        if joined and joined[-1][0] + len(joined[-1][1]) == begin:
            joined[-1] = (joined[-1][0], joined[-1][1] + data)
        else:
            joined.append((begin, data))
    return joined


def _together(newer: Newer, pieces: Iterable[Piece]) -> bytes:
    """Return the bytes of pieces that arrive in this order, without those that nobody has; asks once a pair."""
    pieces = list(pieces)
    first = min((begin for begin, _ in pieces), default=0)
    size = max((begin + len(data) for begin, data in pieces), default=0) - first
    owners, content = [-1] * size, bytearray(size)
    for number, (begin, data) in enumerate(pieces):
        low, high = begin - first, begin - first + len(data)
        here = owners[low:high]
        keep = {one for one in set(here) if one >= 0 and not newer(_span(pieces[one]), _span(pieces[number]))}
        if keep:
            kept = content[low:high]
            data = bytes(old if one in keep else new for one, old, new in zip(here, kept, data, strict=True))
        owners[low:high] = [one if one in keep else number for one in here]
        content[low:high] = data
    return bytes(content) if -1 not in owners else bytes(b for b, one in zip(content, owners, strict=True) if one >= 0)


def _span(piece: Piece) -> tuple[int, int]:
    return piece[0], piece[0] + len(piece[1])
