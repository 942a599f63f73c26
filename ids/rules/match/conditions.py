"""Decides whether a rule's condition holds on the buffers at hand, and where.

A buffer may have several instances (the names of a DNS answer). A test holds where one instance satisfies it, and an
`Instance` where one satisfies all that is asked of it; the evidence is from that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ids.rules.match.chains import judge, program_of
from ids.rules.match.facts import Scene
from ids.rules.match.reading import Span, Variables
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.chain import DECODED, Chain, Expression
from ids.rules.model.header import HeaderTest
from ids.rules.model.lua import says_yes
from ids.rules.model.patterns import search_groups
from ids.rules.model.rarity import MAX_LITERAL, score
from ids.rules.model.rule import (
    ENDS,
    Address,
    All,
    Anchor,
    Any_,
    Instance,
    Literal,
    Node,
    NotAny,
    Regex,
    ScapyField,
    Size,
    base_of,
)
from ids.rules.model.script import PACKET, Script
from ids.rules.model.transforms import transform_of
from ids.types import Captured, Evidence

EXCERPT_BYTES = 256
CONTEXT_BYTES = 32
"""Bytes shown before and after what matched."""

MAX_CAPTURED = 1024
"""Bytes of a text that a regex captured; what is behind them is let go."""

MAX_EVIDENCE = 16
"""Places reported for one match; a rule with more tests shows those that say most."""


def _no_addresses() -> Sequence[tuple[int, int]]:
    return [(0, 0)] * len(ENDS)


@dataclass(slots=True)
class View:
    """Buffers as a condition sees them, with the addresses of both ends."""

    instances: Callable[[str], Sequence[bytes]]
    """Returns all instances of a buffer as the traffic has it; none where it lacks it. `of` knows more names."""
    addresses: Callable[[], Sequence[tuple[int, int]]] = _no_addresses
    """Returns those that `ENDS` names, in its order."""
    complete: bool = True
    """The buffers start where they start on the wire; False once the head of a stream was let go."""
    base: int = 0
    """Stream offset of the first byte of ``payload``."""
    header: Callable[[HeaderTest], bool] | None = None
    """Judges a test on the headers of the packet at hand. None: these were judged before."""
    scene: Callable[[], Scene] | None = None
    """Returns what is known besides, for scripts."""
    exhausted: int = 0
    """Chains that were given up, because they took too many steps."""
    variables: Variables = field(default_factory=Variables)
    """Those of the rule that is judged."""
    decoded: list[bytes] = field(default_factory=list)
    """The instances of `DECODED`, of the rule that is judged."""
    captured: list[Captured] = field(default_factory=list)
    """Texts that groups of its regexes captured."""
    _made: dict[str, Sequence[bytes | None]] = field(default_factory=dict)
    """Buffers under transforms."""
    _lower: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget what the rule that was judged before has left."""
        if self.variables:
            self.variables.clear()
        if self.decoded:
            self.decoded = []
        if self.captured:
            self.captured = []

    def of(self, name: str) -> Sequence[bytes | None]:
        """Return all instances of a buffer, also under transforms; None in place of one that they make nothing of."""
        if name == DECODED:
            return self.decoded
        if "|" not in name:
            return self.instances(name)
        made = self._made.get(name)
        if made is None:
            transform, base = transform_of(name), base_of(name)
            made = [None if one is None else transform(one) for one in self.of(base)]
            if base != DECODED:  # which is another one for each rule
                self._made[name] = made
        return made

    def content(self, name: str, number: int) -> bytes:
        """Return one instance of a buffer."""
        return self.of(name)[number] or b""

    def ends(self) -> dict[str, tuple[int, int]]:
        """Return the addresses by the names that rules have for them."""
        return dict(zip(ENDS, self.addresses(), strict=True))

    def lower(self, name: str, number: int) -> bytes:
        """Return an instance in ASCII lower case; computed once."""
        data = self._lower.get((name, number))
        if data is None:
            data = self.content(name, number).lower()
            if not name.startswith(DECODED):
                self._lower[name, number] = data
        return data


Found = tuple[str, int, int, int]
"""Buffer, number of its instance, start and end of what a test found; the start is -1 where that is a mere size."""


def holds(node: Node, view: View, found: list[Found]) -> bool:
    """Judge a condition; append to ``found`` where the tests that hold found what they look for."""
    view.begin()
    return _holds(node, view, found, None)


def _holds(node: Node, view: View, found: list[Found], only: int | None) -> bool:
    """Judge a part of a condition. With ``only``, tests look at the instance of this number."""
    if isinstance(node, Chain):
        return _chain(node, view, found, only)
    if isinstance(node, All):
        return all(_holds(part, view, found, only) for part in node.parts)
    if isinstance(node, Literal | Regex | Size):
        return any(_holds_in(node, view, data, number, found) for number, data in instances_of(node.buffer, view, only))
    if isinstance(node, Any_):
        return any(_holds(part, view, found, only) for part in node.parts)
    if isinstance(node, NotAny):
        return not any(_holds(part, view, [], only) for part in node.parts)
    if isinstance(node, Instance):
        return any(_one_instance(node, view, found, number) for number, _ in instances_of(node.buffer, view, None))
    if isinstance(node, Address):
        return view.ends()[node.end] in node.members
    if isinstance(node, ScapyField):
        return True  # only dissection can decide, which is `FlaggedMatcher`'s
    if isinstance(node, Script):
        return asked(node, view, found, only)
    return view.header is None or view.header(node)


def instances_of(buffer: str, view: View, only: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield the instances that a test looks at, with their numbers."""
    instances = view.of(buffer)
    for number in range(len(instances)) if only is None else (only,) if only < len(instances) else ():
        data = instances[number]
        if data is not None:
            yield number, data


def _chain(chain: Chain, view: View, found: list[Found], only: int | None) -> bool:
    """Judge a chain on one instance after the other."""
    name = chain.buffer
    origin = -view.base if name == PAYLOAD and not view.complete else 0
    held = False
    for number, data in instances_of(name, view, only):
        at = judge(chain, data, partial(view.lower, name, number), view.variables, origin)
        view.exhausted += at.exhausted
        if at.held is None:
            continue
        if not held:
            found += [(name, number, start, end) for start, end in at.held]
            if program_of(chain).captures:
                view.captured += captured_in(chain, data, at.spans)
        held = True
        if not at.decoded:
            break
        view.decoded += at.decoded  # of other instances too: it is not known yet which one the rule is after
    return held


def captured_in(chain: Chain, data: bytes, spans: Mapping[int, Span]) -> Iterator[Captured]:
    """Yield what the groups of a chain that holds have captured, where it is to be kept."""
    for k, step in enumerate(chain.steps):
        if not isinstance(step, Expression) or not step.captures or k not in spans:
            continue
        read = data[spans[k][0] :] if step.relative else data
        for (scope, name), place in zip(step.captures, search_groups(step.pattern, read), strict=False):
            if place is not None:
                yield Captured(scope, name, read[place[0] : place[1]][:MAX_CAPTURED])


def asked(script: Script, view: View, found: list[Found], only: int | None) -> bool:
    """Ask a script; raises `ScriptError`. Of what is not there, or empty, it is not asked: then it does not hold."""
    scene = None if view.scene is None else view.scene()
    args: dict[bytes, bytes | int] = {}
    if script.buffer:
        data = view.content(script.buffer, only or 0)
        if not data:
            return False
        behind = [end for name, number, _, end in found if (name, number) == (script.buffer, only)]
        args = {need.encode(): data for need in script.needs} | {b"offset": (behind[-1] if behind else 0) + 1}
    elif script.protocol:
        tx = None if scene is None else scene.transaction
        if tx is None or tx.protocol != script.protocol:
            return False
    elif script.of_packet:
        for need, name in ((PACKET, PACKET), ("payload", PAYLOAD)):
            if need in script.needs:
                instances = view.of(name)
                if not instances or not instances[0]:
                    return False
                args[need.encode()] = instances[0]
    facts = {} if scene is None else scene.facts(script, view.instances, view.variables)
    if says_yes(script, args, facts) is script.negated:
        return False
    name, number = script.buffer or (PAYLOAD if script.of_payload else ""), only or 0
    if name:
        found.append((name, number, 0, len(view.content(name, number))))
    return True


def _one_instance(node: Instance, view: View, found: list[Found], number: int) -> bool:
    own: list[Found] = []
    if not all(_holds(part, view, own, number) for part in node.parts):
        return False
    found += own
    return True


def _holds_in(test: Literal | Regex | Size, view: View, data: bytes, number: int, found: list[Found]) -> bool:
    """Judge one test on one instance."""
    if isinstance(test, Size):
        held = test.least <= len(data) and (test.most is None or len(data) <= test.most)
        if held and test.least:
            found.append((test.buffer, number, -1, test.least))
        return held
    span = test.pattern.search(data) if isinstance(test, Regex) else literal_in(test, view, data, number)
    if span is not None:
        found.append((test.buffer, number, *span))
    return span is not None


def literal_in(test: Literal, view: View, data: bytes, number: int) -> tuple[int, int] | None:
    if test.nocase:
        data = view.lower(test.buffer, number)
    value, anchor = test.value, test.anchor
    if anchor is Anchor.ANYWHERE:
        at = data.find(value)
        held = at >= 0
    elif anchor is Anchor.END:
        at = len(data) - len(value)
        held = data.endswith(value)
    else:
        at = 0
        held = view.complete and (data.startswith(value) if anchor is Anchor.START else data == value)
    return (at, at + len(value)) if held else None


def evidence(found: list[Found], view: View) -> tuple[Evidence, ...]:
    """Show what was found, with a little of its surroundings; what says most first, in the order of the tests else."""

    def telling(place: Found) -> float:
        name, number, start, end = place
        return score(view.content(name, number)[max(start, end - MAX_LITERAL) : end], False)

    places = sorted((place for place in found if place[2] >= 0), key=telling, reverse=True)
    return tuple(
        shown(name, view.content(name, number), start, end, view.base if name == PAYLOAD else 0)
        for name, number, start, end in places[:MAX_EVIDENCE]
    )


def shown(name: str, data: bytes, start: int, end: int, base: int = 0) -> Evidence:
    """Show ``data[start:end]`` of a buffer; ``base`` is the stream offset of ``data``."""
    first = max(0, start - CONTEXT_BYTES)
    excerpt = data[first : min(end + CONTEXT_BYTES, first + EXCERPT_BYTES)]
    return Evidence(name, start + base, excerpt, (start - first, min(end - first, len(excerpt))))
