"""Thins out the matches of rules that count distinct things (`Signature.distinct`), before Python runs for each.

A flood of packets to all ports matches such a rule at each. What the count needs of a batch is less: of each thing of a
party the first and the last sight, and of a party no more things than the rule asks for; it is then heard, and silent.
So the first alert about a party is the same as without this; the next one may come a batch later. Where even that is
too much, the parties with the most things go first, as a scanner has many and a forged source has one; the rest is
counted as ``rules.packets.uncounted``.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import numpy as np

from ids.counters import Counters
from ids.rules.match.packet_columns import PacketColumns
from ids.types import I64, U64, Bool, Direction, Distinct, ascending

FEW = 256
"""Matches of one rule in a batch that are left as they are: ordinary traffic has no more."""

MOST_COUNTED = 4096
"""Matches of one rule in a batch; each takes some 30 µs until it is counted."""

_MULTIPLIERS = tuple(np.uint64(secrets.randbits(64) | 1) for _ in range(3))
_FOLD = np.uint64(29)


class Counted:
    """The rules that count distinct things, by their numbers."""

    def __init__(self, rules: Mapping[int, Distinct], counters: Counters) -> None:
        self._rules = rules
        self._counters = counters

    def thinned(self, rows: I64, rules: I64, columns: PacketColumns) -> tuple[I64, I64]:
        """Leave of the matches those that the counts need."""
        if not self._rules or len(rows) <= FEW:
            return rows, rules
        keep = np.ones(len(rows), np.bool_)
        for number in ascending(rules).tolist():
            wanted = self._rules.get(number)
            places = np.flatnonzero(rules == number) if wanted is not None else rows[:0]
            if wanted is not None and len(places) > FEW:
                keep[places] = self._needed(rows[places], wanted, columns)
        return rows[keep], rules[keep]

    def _needed(self, rows: I64, wanted: Distinct, columns: PacketColumns) -> Bool:
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        party = _party(ordered, wanted.by, columns)
        thing = _mixed(_thing(ordered, wanted.thing, columns), party)
        _, first, of = np.unique(thing, return_index=True, return_inverse=True)
        last = np.zeros(len(first), np.int64)
        np.maximum.at(last, of, np.arange(len(ordered)))
        rank, many = _ranks(party[first], first)
        times = columns.packets.batch.ts_ns[ordered]
        chosen = np.ones(len(first), np.bool_)
        keep = np.ones(len(ordered), np.bool_)
        if int(times.max() - times.min()) < wanted.seconds * 1_000_000_000:  # all within one window
            chosen = rank < wanted.at_least
            keep[:] = False
            keep[first[chosen]] = True
            keep[last[chosen]] = True
        over = int(np.count_nonzero(keep)) - MOST_COUNTED
        if over > 0:
            fewest = np.argsort(-many[of[keep]], kind="stable")[MOST_COUNTED:]
            keep[np.flatnonzero(keep)[fewest]] = False
            self._counters.add("rules.packets.uncounted", over)
        needed = np.zeros(len(rows), np.bool_)
        needed[order] = keep
        return needed


def _ranks(parties: U64, first: I64) -> tuple[I64, I64]:
    """Return the place of each thing among those of its party, by first sight, and how many that party has."""
    order = np.lexsort((first, parties))
    ordered = parties[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sizes = np.diff(np.append(starts, len(ordered)))
    rank, many = np.empty(len(parties), np.int64), np.empty(len(parties), np.int64)
    rank[order] = np.arange(len(ordered)) - np.repeat(starts, sizes)
    many[order] = np.repeat(sizes, sizes)
    return rank, many


def _party(rows: I64, by: str, columns: PacketColumns) -> U64:
    """Return a number for whom is counted by, which hardly two parties share."""
    packets, flows = columns.packets, columns.flows
    src, dst = _address(packets.src[rows]), _address(packets.dst[rows])
    if by == "pair":
        pair: U64 = src + dst
        return pair
    if by in ("src", "dst"):
        return src if by == "src" else dst
    forward = (flows.slot[rows] < 0) | (flows.direction[rows] == Direction.TO_SERVER)
    return np.where(forward == (by == "client"), src, dst)


def _thing(rows: I64, thing: str, columns: PacketColumns) -> U64:
    packets = columns.packets
    if thing.endswith("_ip"):
        return _address((packets.src if thing == "src_ip" else packets.dst)[rows])
    return (packets.sport if thing == "src_port" else packets.dport)[rows].astype(np.uint64)


def _address(addresses: U64) -> U64:
    return _mixed(addresses[:, 1], addresses[:, 0])


def _mixed(one: U64, other: U64) -> U64:
    """Return a number made of two, by factors that nobody outside knows."""
    value = (one + _MULTIPLIERS[0]) * _MULTIPLIERS[1] + other * _MULTIPLIERS[2]
    value ^= value >> _FOLD
    result: U64 = value * _MULTIPLIERS[1]
    return result ^ (result >> _FOLD)
