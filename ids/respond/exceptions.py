"""Exceptions of the settings: rules that are not heard of some addresses, whosever files the rules are in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ids.errors import ConfigError
from ids.respond.parties import Halves, ends_of
from ids.settings.respond import RuleException
from ids.types import Direction, IPNetwork, Match, Signature, address_object

ENGINE_GID = 20
"""Generator of what the engine itself finds, without a rule (`stream.on_conflict`, `stream.midstream_policy`)."""

MOST_UNKNOWN = 20
"""Exceptions that are warned of at a start; hundreds come of a set of rules that is not loaded."""


class Exceptions:
    """Knows which matches do not count."""

    def __init__(self, asked: Iterable[RuleException] = ()) -> None:
        """``asked`` are those of the settings (`respond.exceptions`)."""
        self._by_rule: dict[tuple[int, int], list[RuleException]] = {}
        for exception in asked:
            self._by_rule.setdefault((exception.gid, exception.sid), []).append(exception)

    def cover(self, match: Match) -> bool:
        """Return whether one is for the rule of a match and its addresses: also of a tunnel, or a proxy's client."""
        asked = self._by_rule.get((match.signature.gid, match.signature.sid)) if self._by_rule else None
        if asked is None:
            return False
        flow = match.flow
        plain = (flow.src, flow.dst) if match.direction is Direction.TO_SERVER else (flow.dst, flow.src)
        pairs = {plain, ends_of(match), flow.outer_ends(match.direction)}
        return any(
            _inside(sender, exception.src_ip) and _inside(receiver, exception.dst_ip)
            for sender, receiver in pairs
            for exception in asked
        )


def _inside(halves: Halves, networks: list[IPNetwork]) -> bool:
    """Return whether an address is in one of these; all are in none."""
    address = address_object(halves)
    return not networks or any(address in network for network in networks if network.version == address.version)


def unknown_rules(
    asked: Iterable[RuleException], loaded: Iterable[Signature], disabled: Iterable[int] = ()
) -> Iterator[str]:
    """Yield, for each exception from a rule that is not loaded, its place and the rule that may be meant.

    ``disabled``: sids that the settings leave out on purpose.
    """
    known = {(signature.gid, signature.sid): signature for signature in loaded}
    by_sid = {sid: signature for (_, sid), signature in known.items()}
    off = set(disabled)
    unknown = [one for one in asked if (one.gid, one.sid) not in known and one.sid not in off and one.gid != ENGINE_GID]
    for exception in unknown[:MOST_UNKNOWN]:
        name = f"sid {exception.sid}" + (f" and gid {exception.gid}" if exception.gid != 1 else "")
        near = by_sid.get(exception.sid) or _nearest(exception.sid, by_sid)
        group = f" (gid {near.gid})" if near is not None and near.gid != exception.gid else ""
        remedy = f"did you mean {near.sid}{group}, {near.title!r}?" if near is not None else ""
        text = f"respond.exceptions: no loaded rule has {name}, so this excepts nobody but from a plugin's finding"
        yield str(ConfigError(text, exception.place, remedy))
    if len(unknown) > MOST_UNKNOWN:
        yield f"respond.exceptions: no loaded rule has the sids of {len(unknown) - MOST_UNKNOWN:,} more exceptions"


def _nearest(sid: int, by_sid: Mapping[int, Signature]) -> Signature | None:
    """Return the rule whose sid differs by one slip of the fingers, or else by the least; None without rules."""
    text = str(sid)
    slips = {
        *(text[:at] + digit + text[at + 1 :] for at in range(len(text)) for digit in "0123456789"),
        *(text[:at] + digit + text[at:] for at in range(len(text) + 1) for digit in "0123456789"),
        *(text[:at] + text[at + 1 :] for at in range(len(text))),
        *(text[:at] + text[at : at + 2][::-1] + text[at + 2 :] for at in range(len(text) - 1)),
    }
    near = [number for slip in slips if slip and (number := int(slip)) in by_sid]
    chosen = min(near or by_sid, key=lambda number: (abs(number - sid), number), default=None)
    return by_sid[chosen] if chosen is not None else None
