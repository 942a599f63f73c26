"""What to do about a name that no rule knows: the nearest one, or what stands in its place here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ids.rules.model import buffers

_NONE_OF = "negate with none:, such as `- none: [http.uri: {contains: abc}]`"
_REGEX = "use regex, such as '(?s)^.{4}abc' for an offset and '(?s)abc.{0,9}def' for a distance"
_STATE = "rules share no state: test a request and its response in one rule, or count alerts with threshold:"
_INSTEAD = {
    "not": _NONE_OF,
    "pcre": "use regex",
    "content": "test a buffer with contains",
    "bsize": "use size",
    "dsize": "use size",
    **dict.fromkeys(("offset", "depth", "distance", "within"), _REGEX),
    **dict.fromkeys(("flowbits", "flowint", "xbits", "hostbits"), _STATE),
}
"""Words of Suricata and Sigma, of which the nearest name here would mean something else."""


def remedy_for(word: str, known: Iterable[str]) -> str:
    """Return what to do about an unknown operator, buffer or key; case does not count."""
    name = word.lower()
    if name in _INSTEAD:
        return _INSTEAD[name]
    if name.startswith(("not_", "not-", "!")):
        return _NONE_OF
    return nearest(word, known)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the nearest of the known names, whatever the case, or all when they are few; see `buffers.nearest`."""
    spelled = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), spelled, n=1)
    return buffers.nearest(spelled[near[0]] if near else word, list(spelled.values()))


def refusal(name: str, others: list[str]) -> tuple[str, str] | None:
    """Return what `buffers.refusal` does, with the remedy of `remedy_for` for an unknown buffer."""
    refused = buffers.refusal(name, others)
    if refused is None or name in buffers.CATALOGUE:
        return refused
    return refused[0], remedy_for(name, [*buffers.CATALOGUE, *others])
