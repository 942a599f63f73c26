"""What can never hold in a rule that loads, whatever language it is in: each would be silent without a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ids.authoring.contradictions import contradictions, unheard, unlearned
from ids.errors import RuleError
from ids.rules.language.impossible import impossible
from ids.rules.language.loader import YAML_SUFFIXES
from ids.rules.language.sequence import never_set
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.chain import Chain, Content
from ids.rules.model.header import HeaderBits, HeaderNumber, HeaderTest
from ids.rules.model.rule import Anchor, Instance, Literal, Node, Rule
from ids.rules.model.ruleset import RuleSet

TCP, ICMP, ICMPV6 = 6, 1, 58

_CARRIERS = {"tcp": (TCP,), "icmp": (ICMP, ICMPV6), "icmpv6": (ICMPV6,)}
"""Of fields by what stands before their dot: protocols of IP whose packets have them."""


def nevers(loaded: RuleSet) -> Iterator[RuleError]:
    """Yield a warning for each thing that never holds; of YAML rules, loading has warned of literals and state."""
    imported = [rule for rule in loaded.rules if not rule.source.path.endswith(YAML_SUFFIXES)]
    for rule in loaded.rules:
        faults = [*_headers(rule), *_contradictions(rule), *contradictions(rule)]
        if not rule.source.path.endswith(YAML_SUFFIXES):
            faults += _literals(rule)
        for message, remedy in dict.fromkeys(faults):
            yield RuleError(f"sid {rule.signature.sid}: {message}", rule.source, remedy)
    for waiting, (message, remedy) in (*unheard((*loaded.rules, *loaded.yara.rules)), *unlearned(loaded.rules)):
        yield RuleError(f"sid {waiting.signature.sid}: {message}", waiting.source, remedy)
    yield from never_set(imported, (*loaded.rules, *loaded.yara.rules))


def _asked(parts: Iterable[Node]) -> Iterator[Node]:
    """Yield the tests all of which must hold, so that one of them alone makes the rule silent."""
    for part in parts:
        if isinstance(part, Instance):
            yield from _asked(part.parts)
        else:
            yield part


def _contents(rule: Rule) -> Iterator[tuple[str, Content]]:
    """Yield the contents that must be found, each with its buffer."""
    for part in _asked(rule.condition.parts):
        if isinstance(part, Chain):
            yield from ((part.buffer, step) for step in part.steps if isinstance(step, Content) and not step.negated)
        elif isinstance(part, Literal):
            yield part.buffer, Content(part.value, part.nocase)


def _literals(rule: Rule) -> Iterator[tuple[str, str]]:
    """Find literals that a buffer never has, for its parser writes it otherwise."""
    for buffer, content in _contents(rule):
        first = content.offset in (None, 0) and content.depth == len(content.value)
        anchor = Anchor.START if first else Anchor.ANYWHERE
        if buffer == "http.method" and content.value.lower() != content.value:
            continue  # GeT and Post are what some malware sends: whoever writes them knows
        if (why := impossible(buffer, content.value, content.nocase, anchor)) is not None:
            yield why


def _headers(rule: Rule) -> Iterator[tuple[str, str]]:
    """Find fields of packets that the rule's traffic does not have, and bytes that its packets have no room for."""
    longest = max((len(content.value) for buffer, content in _contents(rule) if buffer == PAYLOAD), default=0)
    for part in _asked(rule.condition.parts):
        if not isinstance(part, HeaderTest):
            continue
        field = part.field if isinstance(part, HeaderBits | HeaderNumber) else ""
        carriers = _CARRIERS.get(field.partition(".")[0])
        if carriers is not None and not any(map(rule.traffic.carried_by, carriers)):
            protocol = rule.traffic.protocol
            yield f"{field} never stands in a packet of {protocol}", f"write {field.partition('.')[0]} for {protocol}"
        if isinstance(part, HeaderNumber) and field == "payload.size" and longest and not part.negated:
            most = max((last for _, last in part.intervals), default=0)
            if most < longest:
                message = f"a payload of at most {most} bytes never has the {longest} of its longest content"
                yield message, "correct dsize (payload.size), or shorten the content"


def _contradictions(rule: Rule) -> Iterator[tuple[str, str]]:
    """Find a content that is asked for and ruled out in one chain, anywhere in the buffer."""
    for part in _asked(rule.condition.parts):
        if not isinstance(part, Chain):
            continue
        unbound = [step for step in part.steps if isinstance(step, Content) and not _bound(step)]
        wanted = [step for step in part.steps if isinstance(step, Content) and not step.negated]
        for step in unbound:
            if step.negated and any(_includes(other, step) for other in wanted):
                message = f"{part.buffer} is to have {step.value!r} and not to have it, which never holds"
                yield message, "leave one of the two out, or bind the negated one to a place"


def _bound(step: Content) -> bool:
    return step.at_end or any(each is not None for each in (step.offset, step.depth, step.distance, step.within))


def _includes(wanted: Content, ruled_out: Content) -> bool:
    """Return whether the bytes that are wanted cannot be there without those that are ruled out."""
    if ruled_out.nocase:
        return ruled_out.value.lower() in wanted.value.lower()
    return not wanted.nocase and ruled_out.value in wanted.value
