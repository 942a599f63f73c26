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
    owners: dict[int, tuple[tuple[int, int], int]] = {}
    for begin, data in pieces:
        new = (begin, begin + len(data))
        for place, byte in enumerate(data, begin):
            if place not in owners or newer(owners[place][0], new):
                owners[place] = (new, byte)
    return bytes(owners[place][1] for place in sorted(owners))
