"""Which copies of contested bytes a host may have, where it got only some of those that came by.

THEORY. What makes a host choose is its rule (`ids.flow.policies`), but it chooses among what reached it: a packet whose
TTL ends on the way, or that is too large for a link, takes part here and not there. So any copy may be the host's, and
where k places are contested, any of 2**k combinations and more. These are tried, each a list of one copy a place:

(1) *Cuts*: what each rule makes of the copies whose TTL is at least some value, or which were sent in segments of at
    most some size. Whatever was sent in order not to arrive lies below what was to arrive: the sender cannot mix that,
    and no number of places and copies hides the right cut, as long as it is among the `MAX_CUTS`. The lowest TTLs are
    cut first, as few hops are behind us, and all but the highest.
(2) What each rule makes of all copies.
(3) All combinations, up to `MAX_COMBINATIONS`: those of three places with two copies each are 8.
(4) The n-th copy of each place, counted from the first and from the last: so each copy is in one of them, with what is
    not contested around it. And the first here, the last there, in turns.

COST. At most `MAX_CHOICES`, each a step a place. A place has at most `MAX_COPIES` copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
from typing import Protocol, TypeAlias

from ids.flow.policies import RULES
from ids.pieces import Copy, Favours

MAX_COPIES = 16
"""Copies with different contents that are kept of one place."""
MAX_CUTS = 4
"""Cuts by TTL, and by size."""
MAX_COMBINATIONS = 16
COUNTED_BACK = 3
"""How far copies are counted from the last one."""
CUT_RULES = RULES[:2]
"""Those that see the first of two like copies, and the last."""
MAX_CHOICES = 2 * MAX_CUTS * len(CUT_RULES) + len(RULES) + MAX_COMBINATIONS + MAX_COPIES + COUNTED_BACK + 2

Choice: TypeAlias = tuple[Copy | None, ...]
"""A copy for each place; None: what was delivered."""


class Place(Protocol):
    """Bytes of which there are several copies."""

    chosen: tuple[Copy, ...]
    """By rule: what it makes of all copies."""
    copies: list[Copy]
    """Those with different contents, in the order in which they came."""


def choices(places: Sequence[Place]) -> Iterator[Choice]:
    """Give the choices, those first that most likely are a host's; some of them may be the same."""
    cuts = [*_cuts(places, lambda copy: copy.ttl), *_cuts(places, lambda copy: copy.first - copy.last)]
    for key, least in cuts:
        for rule in CUT_RULES:
            yield tuple(_folded([copy for copy in place.copies if key(copy) >= least], rule) for place in places)
    for number in range(len(RULES)):
        yield tuple(place.chosen[number] for place in places)
    counts = [len(place.copies) for place in places]
    if len(counts) <= MAX_COMBINATIONS and prod(counts) <= MAX_COMBINATIONS:
        yield from product(*(place.copies for place in places))
    most = max(counts)
    for number in range(most):
        yield tuple(place.copies[min(number, count - 1)] for place, count in zip(places, counts, strict=True))
    for number in range(2, min(COUNTED_BACK, most) + 1):
        yield tuple(place.copies[-min(number, count)] for place, count in zip(places, counts, strict=True))
    for odd in (0, 1):
        yield tuple(place.copies[0 if at % 2 == odd else -1] for at, place in enumerate(places))


_Key: TypeAlias = Callable[[Copy], int]


def _cuts(places: Sequence[Place], key: _Key) -> list[tuple[_Key, int]]:
    """Return where to cut: above all that does not arrive, which is what a key is lowest of."""
    values = sorted({key(copy) for place in places for copy in place.copies} - {0})  # 0: a TTL that is not known
    if len(values) < 2:
        return []
    return [(key, least) for least in dict.fromkeys([values[-1], *values[1:MAX_CUTS]])]


def _folded(copies: list[Copy], rule: Favours) -> Copy | None:
    """Return what a rule makes of copies that come one after the other."""
    kept: Copy | None = None
    for copy in copies:
        if kept is None or rule(kept.first, kept.last, copy.first, copy.last):
            kept = copy
    return kept
