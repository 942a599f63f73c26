"""Whether the answers that XDP sends in a flood arrive: there are interfaces that lose them, and say nothing."""

from __future__ import annotations

from collections.abc import Mapping

REPEATED = 8
"""Clients that come again in vain before it is said: one or two have a firewall that lets no reset out."""

Counts = Mapping[str, tuple[int, int]]
"""As `ids.kernel.FastPath.stats`."""


class AnswerWatch:
    """Compares those who answered a challenge with those who only sent their SYN again."""

    def __init__(self) -> None:
        self._seen = {"note.syn_repeated": 0, "note.syn_admitted": 0}
        self._fresh = True
        self._said = False

    def check(self, counts: Counts) -> str:
        """Return a warning where clients came again and not one answered, once until somebody answers; else nothing.

        Counters go on over restarts, so the first call only takes note of them.
        """
        now = {name: counts[name][0] for name in self._seen}
        if self._fresh:
            self._seen, self._fresh = now, False
        if now["note.syn_admitted"] > self._seen["note.syn_admitted"]:
            self._seen, self._said = now, False
        repeated = now["note.syn_repeated"] - self._seen["note.syn_repeated"]
        if self._said or repeated < REPEATED:
            return ""
        self._said = True
        return (
            f"{repeated} clients sent their SYN again, and not one answered the challenge of its first: what XDP sends"
            " back seems to be lost, and each connection takes a second. On a veth the other end needs an XDP program;"
            " or set fastpath.mode to generic, or fastpath.challenge_syns and fastpath.syn_cookies to false"
        )
