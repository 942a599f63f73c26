"""Two versions of a byte: segments that overlap, in every shape, and retransmissions with other content.

The victim's first byte comes last, so all that overlaps waits in its queue, where its policy decides. What each policy
makes of it is not claimed here but computed, by `ids.testing.evade.policies`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ids.testing.evade.conversation import MSS, Conversation, junk
from ids.testing.evade.policies import ALL, POLICIES, stream
from ids.testing.evade.segments import pieces
from ids.testing.evade.steps import ACK, FIN, PSH, Await, Evasion, Event, Segment, Step

FAMILY = "overlaps"
HEAD = 4
"""Bytes that come last of all."""
MARGIN = 4
STARTS = {"before": -MARGIN, "with": 0, "after": MARGIN}
"""Where the later segment begins, relative to the earlier one; likewise for its end."""


def overlaps(talk: Conversation) -> Iterator[Evasion]:
    """Give all overlaps for which there is a policy under which the victim's view is unchanged."""
    data = talk.attack
    if 2 * (HEAD + 4 * MARGIN) <= len(data) <= MSS:
        for start in STARTS:
            for end in STARTS:
                for junk_first in (True, False):
                    yield from _shape(talk, start, end, junk_first)
        yield from _many(talk)
    yield from _again(talk)
    yield from _straddling(talk)
    yield from _beside_what_does_not_arrive(talk)


def queued(talk: Conversation, name: str, arrived: list[tuple[int, bytes]]) -> Iterator[Evasion]:
    """Give the evasion in which these pieces wait for the first byte, if any host gets the attack by it."""
    data = talk.attack
    covered = {place for at, piece in arrived for place in range(at, at + len(piece))}
    missing = [place for place in range(len(data)) if place not in covered]
    rest = [(at, data[at:end]) for at, end in _runs(missing)]
    late = sorted(rest, reverse=True)
    everything = [*arrived, *late]
    policies = [policy for policy in POLICIES if stream(policy, everything) == data]
    if policies:
        yield talk.evasion(FAMILY, name, [Segment(at, piece) for at, piece in everything], policies)


def _shape(talk: Conversation, start: str, end: str, junk_first: bool) -> Iterator[Evasion]:
    data = talk.attack
    old = (HEAD + 2 * MARGIN, len(data) - 2 * MARGIN)
    new = (old[0] + STARTS[start], old[1] + STARTS[end])
    common = (max(old[0], new[0]), min(old[1], new[1]))
    spoilt = data[: common[0]] + junk(common[1] - common[0]) + data[common[1] :]
    versions = (spoilt, data) if junk_first else (data, spoilt)
    arrived = [(low, version[low:high]) for version, (low, high) in zip(versions, (old, new), strict=True)]
    order = "junk first" if junk_first else "junk last"
    yield from queued(talk, f"overlap that begins {start} and ends {end} the other, {order}", arrived)


def _many(talk: Conversation) -> Iterator[Evasion]:
    """Overlap many small segments with one large one, and the other way round."""
    data = talk.attack
    # With holes between them, for Linux joins what adjoins.
    small = [(at, data[at : at + 7]) for at in range(HEAD, len(data), 8)]
    spoilt = [(at, junk(len(piece))) for at, piece in small]
    for name, first, second in (
        ("many small segments under a large one of junk", small, [(HEAD, junk(len(data) - HEAD))]),
        ("many small segments of junk under a large one", spoilt, [(HEAD, data[HEAD:])]),
        ("a large segment under many small ones of junk", [(HEAD, data[HEAD:])], spoilt),
        ("a large segment of junk under many small ones", [(HEAD, junk(len(data) - HEAD))], small),
        ("three versions, the true one in the middle", spoilt, [*small, *spoilt]),
        ("three versions, the true one last", spoilt, [*spoilt, *small]),
    ):
        yield from queued(talk, name, [*first, *second])


def _again(talk: Conversation) -> Iterator[Evasion]:
    """Send bytes again, with other content, that the host has delivered to its application: it keeps the first."""
    data, half = talk.attack, len(talk.attack) // 2
    parts = pieces(data, 16)
    spoilt = [Segment(each.at, junk(len(each.data))) for each in parts]
    yield talk.evasion(
        FAMILY,
        "retransmission with other content at once",
        [each for pair in zip(parts, spoilt, strict=True) for each in pair],
    )
    acked: list[Step] = []
    for part, bad in zip(parts, spoilt, strict=True):
        acked += [part, Await(Event.TAKEN, part.at + len(part.data)), bad]
    yield talk.evasion(FAMILY, "retransmission with other content after it was acknowledged", acked)
    yield talk.evasion(
        FAMILY,
        "the first half again, as junk",
        [Segment(0, data[:half]), Segment(0, junk(half)), Segment(half, data[half:])],
    )
    yield talk.evasion(
        FAMILY, "a retransmission of junk goes on with the true bytes",
        [Segment(0, data[:half]), Segment(0, junk(half) + data[half:])],
    )  # fmt: skip
    closing = [Segment(0, data[:half]), Segment(0, junk(half - 4), PSH | ACK | FIN), Segment(half, data[half:])]
    yield talk.evasion(FAMILY, "a retransmission of junk with an old FIN", closing)


def _straddling(talk: Conversation) -> Iterator[Evasion]:
    """Fill the hole with a segment that reaches into what waits behind it."""
    data, third = talk.attack, len(talk.attack) // 3
    if third < 4:
        return
    waiting = (third, data[third:])
    spoilt = (third, junk(2 * third - third) + data[2 * third :])
    for name, held, filler in (
        ("the hole's filler reaches into junk that waits", spoilt, data[: 2 * third]),
        ("the hole's filler brings junk for what waits", waiting, data[:third] + junk(third)),
    ):
        policies = [policy for policy in ALL if stream(policy, [held, (0, filler)]) == data]
        yield talk.evasion(FAMILY, name, [Segment(*held), Segment(0, filler)], policies)


def _beside_what_does_not_arrive(talk: Conversation) -> Iterator[Evasion]:
    """Send true bytes among junk whose TTL ends before the host: no rule of a host chooses the true ones everywhere."""
    data, half = talk.attack, len(talk.attack) // 2
    if not 2 * HEAD <= len(data) <= MSS:
        return
    first, rest = Segment(0, data[:HEAD]), Segment(HEAD, data[HEAD:])
    spoilt = [replace(rest, data=byte * len(rest.data), ttl=1) for byte in (b"x", b"y", b"z")]
    yield talk.evasion(
        FAMILY, "junk that does not arrive, true bytes, and such junk", [spoilt[0], rest, spoilt[1], first]
    )
    yield talk.evasion(FAMILY, "the same in order", [first, spoilt[0], rest, *spoilt[1:]])
    for name, size in (("bytes", 1), ("pieces of 8 bytes", 8)):
        places = [Segment(at, data[at : min(at + size, half)]) for at in range(HEAD, half, size)]
        pairs = [(each, replace(each, data=junk(len(each.data)), ttl=1)) for each in places]
        for order, factor, modulus in (("in turns", 1, 2), ("in no order", 7, 11)):
            turned = [pair if at * factor % modulus < modulus // 2 else pair[::-1] for at, pair in enumerate(pairs)]
            sent = [each for pair in turned for each in pair]
            steps = [*sent, Segment(half, data[half:]), first]
            yield talk.evasion(FAMILY, f"{name} before and behind junk that does not arrive, {order}", steps)
            steps = [first, *sent, Segment(half, data[half:])]
            yield talk.evasion(FAMILY, f"{name} before and behind junk that does not arrive, {order}, no hole", steps)


def _runs(places: list[int]) -> Iterator[tuple[int, int]]:
    """Give begin and end of each run of consecutive numbers."""
    begin = end = None
    for place in places:
        if end is None or place != end:
            if begin is not None and end is not None:
                yield begin, end
            begin = place
        end = place + 1
    if begin is not None and end is not None:
        yield begin, end
