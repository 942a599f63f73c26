"""Suricata's threshold.config: which alerts are suppressed, and how often others come.

What it says of one rule goes before the rule's own ``threshold``; what it says of all rules does not. A suppressed rule
drops and changes state as before, and alerts not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ids.errors import Location, RuleError
from ids.rules.language.suricata.faults import Fault, Malformed
from ids.rules.language.suricata.state import threshold_of
from ids.rules.language.suricata.words import number
from ids.rules.language.variables import GroupError, Variables, split_group
from ids.rules.model.rule import Rule
from ids.rules.model.sets import AddressSet
from ids.types import Action, Rate, Suppression, Threshold

ENDS = {"by_src": ("src_ip",), "by_dst": ("dst_ip",), "by_either": ("src_ip", "dst_ip")}
KINDS = ("suppress", "threshold", "event_filter", "rate_filter")
RATE_TRACKS = ("by_src", "by_dst", "by_both", "by_rule")


@dataclass(frozen=True, slots=True)
class Directive:
    """One line of the file."""

    gid: int
    """0: of any group."""
    sid: int
    """0: of any rule."""
    threshold: Threshold | None = None
    """None: alerts are suppressed."""
    ends: tuple[str, ...] = ()
    """Whose address decides whether they are; none: all are."""
    members: AddressSet | None = None
    rate: Rate | None = None

    def means(self, rule: Rule) -> bool:
        """Return whether it is about a rule."""
        signature = rule.signature
        return self.gid in (0, signature.gid) and self.sid in (0, signature.sid)

    def applied(self, rule: Rule) -> Rule:
        """Return the rule as the line wants it."""
        signature = rule.signature
        if self.rate is not None:
            return replace(rule, signature=replace(signature, rate=signature.rate or self.rate))
        if self.threshold is not None:
            if signature.threshold is not None and not self.sid:
                return rule
            return replace(rule, signature=replace(signature, threshold=self.threshold))
        if self.members is None:
            return replace(rule, signature=replace(signature, state=replace(signature.state, silent=True)))
        suppressed = (*signature.suppressed, Suppression(self.ends, self.members.intervals))
        return replace(rule, signature=replace(signature, suppressed=suppressed))


def read_thresholds(path: str, text: str, variables: Variables, errors: list[RuleError]) -> list[Directive]:
    """Read the file; lines that are wrong go to ``errors``."""
    found = []
    for row, line in enumerate(text.replace("\\\n", "  ").split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            found.append(_directive(line, variables))
        except Fault as fault:
            errors.append(RuleError(fault.message, Location(path, row, 1), fault.remedy))
    return found


def apply(directives: Iterable[Directive], rules: dict[tuple[int, int], Rule]) -> None:
    """Change the rules that lines are about; those about one rule go first, as Suricata has it."""
    for directive in sorted(directives, key=lambda one: not one.sid):
        if directive.gid and directive.sid:
            keys = [(directive.gid, directive.sid)] if (directive.gid, directive.sid) in rules else []
        else:
            keys = [key for key, rule in rules.items() if directive.means(rule)]
        for key in keys:
            rules[key] = directive.applied(rules[key])


def _directive(line: str, variables: Variables) -> Directive:
    kind, _, rest = line.partition(" ")
    if kind not in KINDS:
        raise Malformed(f"{kind[:40]!r} is no directive", f"known are {', '.join(KINDS)}")
    try:
        words = split_group(rest)
    except GroupError as error:
        raise Malformed(str(error), error.remedy) from None
    given: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition(" ")
        if key in given:
            raise Malformed(f"{key[:40]} stands in it twice", "keep one of the two")
        given[key] = value.strip()
    missing = {"gen_id", "sig_id"} - given.keys()
    if missing:
        raise Malformed(f"it has no {' and no '.join(sorted(missing))}")
    gid, sid = (number(given.pop(key)) for key in ("gen_id", "sig_id"))
    if kind == "suppress":
        return _suppression(gid, sid, given, variables)
    if kind == "rate_filter":
        return Directive(gid, sid, rate=_rate(given))
    if given.keys() != {"type", "track", "count", "seconds"}:
        raise Malformed("it needs type, track, count and seconds")
    if given["type"] not in ("limit", "threshold", "both"):
        raise Malformed(f"unknown type {given['type'][:40]!r}", "known are limit, threshold and both")
    return Directive(gid, sid, threshold_of(given["type"], given))


def _rate(given: dict[str, str]) -> Rate:
    if given.keys() != {"track", "count", "seconds", "new_action", "timeout"}:
        raise Malformed("it needs track, count, seconds, new_action and timeout")
    if given["track"] not in RATE_TRACKS:
        raise Malformed(f"unknown track {given['track'][:40]!r}", f"known are {', '.join(RATE_TRACKS)}")
    actions = [action.value for action in Action]
    if given["new_action"] not in actions:
        raise Malformed(f"unknown action {given['new_action'][:40]!r}", f"known are {', '.join(actions)}")
    count, seconds, timeout = (number(given[word]) for word in ("count", "seconds", "timeout"))
    return Rate(given["track"], count, seconds, Action(given["new_action"]), timeout)


def _suppression(gid: int, sid: int, given: dict[str, str], variables: Variables) -> Directive:
    if not given:
        return Directive(gid, sid)
    if given.keys() != {"track", "ip"} or given["track"] not in ENDS:
        raise Malformed("it needs track and ip, or neither", f"tracks are {', '.join(ENDS)}")
    try:
        return Directive(gid, sid, None, ENDS[given["track"]], variables.addresses(given["ip"]))
    except GroupError as error:
        raise Malformed(str(error), error.remedy) from None
