"""What is odd about rules that load: costly, too wide, without direction, or said already by another rule."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from ids.authoring.likeness import plain
from ids.errors import Location, RuleError
from ids.protocols import BY_NAME
from ids.rules.language.loader import YAML_SUFFIXES
from ids.rules.language.suricata.files import CLASSES
from ids.rules.model.buffers import CATALOGUE, PAYLOAD
from ids.rules.model.chain import Chain, Expression
from ids.rules.model.literals import cover, weakest, worth
from ids.rules.model.patterns import Pattern
from ids.rules.model.rarity import WEAK_SCORE
from ids.rules.model.rule import Regex, Rule, Traffic, leaves
from ids.rules.model.ruleset import RuleSet
from ids.types import Action, Direction

LINTS = {
    "no-literal": "no literal lets the prefilter skip the rule: it is checked on all of its traffic",
    "common-literal": "its best literal stands in much innocent traffic: it is checked often",
    "unbounded-regex": "a regular expression that backtracks may go on to the end of a long buffer",
    "slow-regex": "a regular expression backtracks",
    "no-direction": "it looks at what both sides send, without saying that it means to",
    "shadowed": "another rule alerts wherever this one does",
    "dead-protocol": "nothing recognises the protocol of its traffic",
    "duplicate-sid": "two rules have one sid",
    "never-matches": "something in it can never hold",
    "matches-everything": "it alerts on all of its traffic",
    "odd-text": "a text looks as another language spells something, and here stands for itself",
    "block": "its block is refused, or blocks the wrong side",
    "other": "what has no name of its own",
}
"""By name: what is odd."""

_MESSAGES = (
    ("no-literal", "no literal to look for"), ("common-literal", "is common, so"), ("slow-regex", "slow regex"),
    ("matches-everything", "without match:"), ("dead-protocol", "recognises"), ("dead-protocol", "is recognised over"),
    ("duplicate-sid", "is already used"), ("duplicate-sid", "stands at"), ("block", "block"),
    ("never-matches", "never"), ("never-matches", "count in"), ("never-matches", "lower case"),
    ("never-matches", "which no rule sets"), ("odd-text", "is text here"), ("odd-text", "it has U+"),
    ("odd-text", "the slashes around it"), ("odd-text", "it has the control character"),
)  # fmt: skip
"""Names of the faults and warnings of loading, by words in them; the first that fits."""

_UNBOUNDED = re.compile(r"(?<!\\)\.[*+]|(?<!\\)\.\{\d+,\}|\[\^[^\]]{1,8}\][*+]")
_BACKTRACKS = re.compile(r"\(\?(?:[=!>]|<[=!]|P=)|(?<!\\)\\[1-9]|[*+?}]\+")
"""What only PCRE does: look-around, atomic groups, references to groups, possessive repeats."""
_LONG_BUFFERS = frozenset((PAYLOAD, "file.data", "http.request_body", "http.response_body"))


_SWALLOWED = re.compile(r'" *[a-z][a-z0-9_.]*:"?')
"""An option behind a quote, within a text."""


@dataclass(frozen=True, slots=True)
class Lint:
    """Something odd about a rule."""

    name: str
    message: str
    place: Location
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f" ({self.remedy})" if self.remedy else "") + f" [{self.name}]"


def named(warning: RuleError) -> Lint:
    """Return a fault or a warning of loading under its name."""
    name = next((name for name, words in _MESSAGES if words in warning.message), "other")
    return Lint(name, warning.message, warning.location, warning.remedy)


def lints(loaded: RuleSet) -> Iterator[Lint]:
    """Yield what is odd about rules, beside what loading has warned of."""
    for rule in loaded.rules:
        if not rule.source.path.endswith(YAML_SUFFIXES):  # of the others, loading has warned
            yield from _cost(rule)
        yield from _regexes(rule)
        yield from _direction(rule)
        yield from _class(rule)
        yield from _reach(rule)
        yield from _early(rule)
    yield from shadows(loaded.rules)


def _lint(name: str, rule: Rule, message: str, remedy: str) -> Lint:
    return Lint(name, f"sid {rule.signature.sid}: {message}", rule.source, remedy)


def _cost(rule: Rule) -> Iterator[Lint]:
    if not rule.buffers and not rule.scripts:
        return
    needles = cover(rule.condition)
    if needles is None:
        names = (
            ", ".join(sorted(rule.buffers))
            or ", ".join(f"exchange of {name}" for name in sorted(rule.exchanges))
            or "packet"
        )
        message = f"no literal to look for, so it is evaluated on every {names}"
        yield _lint("no-literal", rule, message, "add a content that every match has")
    elif worth(needles) < WEAK_SCORE:
        message = f"its best literal {weakest(needles).value!r} is common, so it is evaluated often"
        yield _lint("common-literal", rule, message, "add a longer content that every match has")


def _regexes(rule: Rule) -> Iterator[Lint]:
    for buffer, pattern in _patterns(rule):
        backtracks = pattern.slow or _BACKTRACKS.search(pattern.text)  # all else takes time linear in the data
        if backtracks and buffer in _LONG_BUFFERS and (found := _UNBOUNDED.search(pattern.text)) is not None:
            message = f"regex /{pattern.text[:80]}/ backtracks, and has {found[0]} on {buffer}, of up to a megabyte"
            yield _lint("unbounded-regex", rule, message, f"bound it: {found[0][:-1]}{{0,200}}")


def _patterns(rule: Rule) -> Iterator[tuple[str, Pattern]]:
    for leaf in leaves(rule.condition):
        if isinstance(leaf, Regex):
            yield leaf.buffer, leaf.pattern
        elif isinstance(leaf, Chain):
            yield from ((leaf.buffer, step.pattern) for step in leaf.steps if isinstance(step, Expression))


def _direction(rule: Rule) -> Iterator[Lint]:
    """Lint rules on streams that name no direction, by flow or by the addresses of their traffic."""
    traffic = rule.traffic
    sided = not all(each.everything for each in (traffic.src, traffic.sport, traffic.dst, traffic.dport))
    on_streams = PAYLOAD in rule.buffers and traffic.carried_by(6) and traffic.protocol != "ip"
    if on_streams and rule.flow.direction is None and (not sided or traffic.both_ways):
        message = "it looks at what clients send and at what servers send"
        yield _lint("no-direction", rule, message, "add flow: [to_server] or [to_client]")


def _early(rule: Rule) -> Iterator[Lint]:
    """Lint rules on what clients say in datagrams that ask for an established flow: the first comes before."""
    of_clients = sorted(
        name for name in rule.buffers if name in CATALOGUE and CATALOGUE[name].side == Direction.TO_SERVER
    )
    known = BY_NAME.get(CATALOGUE[of_clients[0]].protocol or "") if of_clients else None
    if rule.flow.established and known is not None and known.datagram is not None and rule.traffic.protocol != "tcp":
        message = f"over UDP, the first {of_clients[0]} comes before an answer, so before its flow is established"
        yield _lint("other", rule, message, "leave established out")


def _reach(rule: Rule) -> Iterator[Lint]:
    """Lint rules in Suricata's language that ask for nothing; of YAML rules, loading has warned."""
    if rule.source.path.endswith(YAML_SUFFIXES):
        return
    if (found := _SWALLOWED.search(rule.signature.title)) is not None:
        yield _lint("other", rule, f"its msg has {found[0]!r} in it", "put a ; behind the msg, if that is an option")
    traffic, state = rule.traffic, rule.signature.state
    anywhere = all(each.everything for each in (traffic.src, traffic.sport, traffic.dst, traffic.dport))
    if anywhere and not rule.condition.parts and _heard_alone(rule) and not state.silent:
        yield _lint("matches-everything", rule, "it alerts on all of its traffic", "ask for something")


def _class(rule: Rule) -> Iterator[Lint]:
    """Lint classes that are not defined: of rules in Suricata's language all, as they have their severity by them."""
    name, known = rule.signature.classtype, rule.signature.category or rule.signature.classtype in CLASSES
    by_class = not rule.source.path.endswith(YAML_SUFFIXES)
    near = difflib.get_close_matches(name, CLASSES, n=1)
    if name and not known and (by_class or near):
        remedy = f"did you mean {near[0]!r}?" if near else "name the file of your classes: rules.classification_file"
        yield _lint("other", rule, f"no class is called {name!r}", remedy)


# Shadows.


def shadows(rules: Iterable[Rule]) -> Iterator[Lint]:
    """Yield rules that alert nowhere but where another one does: its traffic is as wide, its tests are some of theirs.

    Costs about as many look-ups as there are tests; a chain is wider than another that goes on behind it.
    """
    numbered = list(rules)
    wider: dict[Hashable, list[int]] = defaultdict(list)
    asked: list[frozenset[int]] = []
    codes: dict[Hashable, int] = {}
    for number, rule in enumerate(numbered):
        keys = [codes.setdefault(plain(part), len(codes)) for part in rule.condition.parts]
        asked.append(frozenset(keys))
        if keys and _heard_alone(rule):
            wider[max(keys)].append(number)  # the newest is the rarest
    for number, rule in enumerate(numbered):
        state = rule.signature.state
        if state.changes or state.silent or not asked[number] or rule.signature.action is not Action.ALERT:
            continue
        said = asked[number] | frozenset(_beginnings(rule, codes))
        for key in said:
            other = next(
                (o for o in wider.get(key, ()) if o != number and _covers(numbered, asked, o, number, said)), None
            )
            if other is not None:
                yield _shadow(rule, numbered[other])
                break


def _heard_alone(rule: Rule) -> bool:
    """Return whether a rule alerts wherever its condition holds."""
    signature = rule.signature
    state = signature.state
    waits = state.tests or signature.threshold or signature.distinct is not None or signature.after is not None
    return not (waits or state.silent) and signature.action is not Action.PASS


def _beginnings(rule: Rule, codes: dict[Hashable, int]) -> Iterator[int]:
    """Yield the known conditions that are the beginning of a chain of a rule."""
    for part in rule.condition.parts:
        if isinstance(part, Chain):
            for size in range(1, len(part.steps)):
                code = codes.get(plain(Chain(part.buffer, part.steps[:size])))
                if code is not None:
                    yield code


def _covers(rules: list[Rule], asked: list[frozenset[int]], other: int, number: int, said: frozenset[int]) -> bool:
    wide, narrow = rules[other], rules[number]
    if not asked[other] <= said or wide.repeats != narrow.repeats:
        return False
    if asked[other] == asked[number] and _same_traffic(wide, narrow) and other > number:
        return False  # of two alike, the later one is the shadow
    return _wider_flow(wide, narrow) and _wider_traffic(wide.traffic, narrow.traffic)


def _same_traffic(one: Rule, other: Rule) -> bool:
    return plain(one.traffic) == plain(other.traffic) and one.flow == other.flow


def _wider_flow(wide: Rule, narrow: Rule) -> bool:
    one, other = wide.flow, narrow.flow
    return (
        one.established in (None, other.established)
        and one.direction in (None, other.direction)
        and one.payload_of in (None, other.payload_of)
        and one.any_state <= other.any_state
    )


def _wider_traffic(wide: Traffic, narrow: Traffic) -> bool:
    if wide.protocol not in (narrow.protocol, "ip") or wide.both_ways < narrow.both_ways:
        return False
    pairs = (
        (wide.src, narrow.src), (wide.sport, narrow.sport), (wide.dst, narrow.dst), (wide.dport, narrow.dport)
    )  # fmt: skip
    return all(_within(few.intervals, many.intervals) for many, few in pairs)


def _within(few: tuple[tuple[int, int], ...], many: tuple[tuple[int, int], ...]) -> bool:
    return few == many or all(any(a <= first and last <= b for a, b in many) for first, last in few)


def _shadow(rule: Rule, other: Rule) -> Lint:
    message = f"sid {other.signature.sid} at {other.source} alerts wherever this rule does"
    return _lint("shadowed", rule, message, "leave one of them out, or have this one ask for more")
