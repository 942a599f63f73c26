"""What two things that a rule asks for make of each other: nothing that could be there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import TypeAlias

from ids.rules.match.packet_tests import bit_values, demanded
from ids.rules.model.chain import Chain, Compare, Listed
from ids.rules.model.header import HeaderBits, HeaderNumber
from ids.rules.model.lists import Learned
from ids.rules.model.rule import Anchor, Instance, Literal, Node, Rule, Scoped, Size, leaves
from ids.rules.model.sets import Interval
from ids.types import BitTest, Direction, Distinct

Finding: TypeAlias = tuple[str, str]
"""What never holds, and what to do."""

_BINARY = 8
"""Bits of a byte."""

_DIGESTS = ("md5", "sha1", "sha256")
_TEXTS = ("http.", "dns.", "email.", "smtp.", "ftp.command", "tls.sni", "tls.cert_subject", "file.data", "file.name")
"""Buffers of text and content, which are no address and no digest, by how their names begin."""

_SENDER, _RECEIVER = "src", "dst"
_OF_PARTY = {_SENDER: "src_ip", _RECEIVER: "dst_ip"}
"""The address that a party is."""


def contradictions(rule: Rule) -> Iterator[Finding]:
    """Find what can never hold in one rule, for its parts rule each other out."""
    yield from _fields(rule)
    for part in rule.condition.parts:
        if isinstance(part, Instance):
            yield from _one_instance(part)
        elif isinstance(part, Chain):
            yield from _numbers(part)
            yield from _kinds(part)
    yield from _bits(rule)
    if rule.signature.distinct is not None:
        yield from _distinct(rule.signature.distinct, rule.flow.direction)


def _fields(rule: Rule) -> Iterator[Finding]:
    """Find fields of packets for whose values nothing is left."""
    left: dict[str, tuple[Interval, ...]] = {}
    for test in demanded(rule.condition):
        if isinstance(test, HeaderBits):
            found = bit_values(test)
        elif isinstance(test, HeaderNumber) and not test.negated:
            found = test.intervals
        else:
            continue
        before = left.get(test.field)
        left[test.field] = found if before is None else _common(before, found)
        if not left[test.field] and (before is None or before):
            yield f"no value of {test.field} is as all that is asked of it", "correct one of them"


def _common(some: Iterable[Interval], others: Iterable[Interval]) -> tuple[Interval, ...]:
    kept = [(max(a, c), min(b, d)) for a, b in some for c, d in others]
    return tuple((first, last) for first, last in kept if first <= last)


def _one_instance(part: Instance) -> Iterator[Finding]:
    """Find literals and sizes that one instance of a buffer never has together."""
    literals = [each for each in part.parts if isinstance(each, Literal)]
    sizes = [each for each in part.parts if isinstance(each, Size)]
    for literal in literals:
        size = len(literal.value)
        whole = literal.anchor is Anchor.WHOLE
        if any((each.most is not None and each.most < size) or (whole and each.least > size) for each in sizes):
            yield f"{part.buffer} of that size never has {literal.value!r}", "correct size, or the text"
    for one, other in combinations(literals, 2):
        if not (_together(one, other) and _together(other, one)):
            yield f"{part.buffer} never has both {one.value!r} and {other.value!r} there", "leave one of the two out"


def _together(one: Literal, other: Literal) -> bool:
    """Return whether the first leaves room for the second; True where that is not certain."""
    value, sought = one.value, other.value
    if one.nocase or other.nocase:
        value, sought = value.lower(), sought.lower()
    if one.anchor is Anchor.WHOLE:
        holds = {
            Anchor.ANYWHERE: sought in value, Anchor.WHOLE: sought == value, Anchor.START: value.startswith(sought),
            Anchor.END: value.endswith(sought),
        }  # fmt: skip
        return holds[other.anchor]
    if one.anchor is other.anchor is Anchor.START:
        return value.startswith(sought) or sought.startswith(value)
    if one.anchor is other.anchor is Anchor.END:
        return value.endswith(sought) or sought.endswith(value)
    return True


def _numbers(chain: Chain) -> Iterator[Finding]:
    """Find numbers that are compared with what no number of so many bytes is."""
    for step in chain.steps:
        if not isinstance(step, Compare) or step.negated or not isinstance(step.value, int):
            continue
        number = step.number
        if number.base is not None or not isinstance(number.size, int):
            continue
        most = (1 << (_BINARY * number.size)) - 1
        if number.bits is not None:
            most &= number.bits
            most >>= (number.bits & -number.bits).bit_length() - 1
        never = {
            ">": step.value >= most, ">=": step.value > most, "=": step.value > most, "<": step.value <= 0,
            "<=": step.value < 0, "&": not step.value & most,
        }  # fmt: skip
        if never.get(step.operator, False):
            what = f"a number of {number.size} byte{'s' * (number.size > 1)}, of at most {most},"
            yield f"{what} is never {step.operator} {step.value}", "give it more bytes, or correct the value"


def _kinds(chain: Chain) -> Iterator[Finding]:
    """Find lists of addresses and digests in which a text is looked for."""
    is_text = "|" not in chain.buffer and chain.buffer.startswith(_TEXTS)
    for step in chain.steps:
        if isinstance(step, Listed) and not step.negated and is_text and step.kind in (*_DIGESTS, "ip"):
            what = "an address" if step.kind == "ip" else f"a digest of {step.kind}"
            remedy = f"write {chain.buffer}|{step.kind}" if step.kind in _DIGESTS else "ask for src_ip or dst_ip"
            yield f"{chain.buffer} is never {what}, which the list {step.name} has", remedy


def _bits(rule: Rule) -> Iterator[Finding]:
    """Find bits that are to be set and not to be."""
    tests = [test for test in rule.signature.state.tests if isinstance(test, BitTest)]
    unset = {(test.scope, name) for test in tests if test.negated for name in test.names}
    for test in tests:
        if not test.negated and all((test.scope, name) in unset for name in test.names):
            names = ", ".join(test.names)
            yield f"the bit {names} is to be set and not to be, which is never so", "leave one of the two out"


def _distinct(asked: Distinct, direction: Direction | None) -> Iterator[Finding]:
    """Find a count of different addresses among those of one host."""
    party = asked.by
    if party in ("client", "server") and direction is not None:
        party = _SENDER if (party == "client") == (direction == Direction.TO_SERVER) else _RECEIVER
    few = {asked.by: 2} if asked.by == "pair" and asked.thing.endswith("_ip") else {}
    most = 1 if _OF_PARTY.get(party) == asked.thing else few.get(asked.by)
    if most is not None and most < asked.at_least:
        what = f"of {asked.by} there is never more than {most} {asked.thing}, and {asked.at_least} are asked for"
        yield what, "count another thing, or by another party"


# Of several rules.


def unheard(rules: Iterable[Scoped]) -> Iterator[tuple[Scoped, Finding]]:
    """Yield the rules that come after each other in a circle: none of them is heard first."""
    waiting = {rule.signature.sid: rule for rule in rules}
    heard = {sid for sid, rule in waiting.items() if rule.signature.after is None}
    while True:
        more = {
            sid for sid, rule in waiting.items()
            if sid not in heard and rule.signature.after is not None and not heard.isdisjoint(rule.signature.after.sids)
        }  # fmt: skip
        if not more:
            break
        heard |= more
    for sid, rule in waiting.items():
        after = rule.signature.after
        if sid not in heard and after is not None and waiting.keys() >= set(after.sids):
            others = ", ".join(map(str, after.sids))
            why = f"it comes after {others}, which comes after it: neither is ever heard"
            yield rule, (why, "begin with another rule")


def unlearned(rules: Iterable[Rule]) -> Iterator[tuple[Rule, Finding]]:
    """Yield the rules that ask for what is in a list that rules learn, where none of them puts anything in."""
    asked: list[tuple[Rule, Listed]] = []
    filled: set[str] = set()
    for rule in rules:
        for step in _listed(rule.condition):
            if step.change == "add":
                filled.add(step.name)
            elif isinstance(step.members, Learned) and not step.negated and not len(step.members):
                asked.append((rule, step))
    for rule, step in asked:
        if step.name not in filled:
            yield rule, (f"nothing is ever in the list {step.name}: no rule learns it", "say learn: in another rule")


def _listed(condition: Node) -> Iterator[Listed]:
    for leaf in leaves(condition):
        if isinstance(leaf, Chain):
            yield from (step for step in leaf.steps if isinstance(step, Listed))
