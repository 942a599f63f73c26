"""Judges a condition as the matcher does, and keeps what became of every test and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from ids.authoring.words import condition_in_words, header_in_words, other_in_words, step_in_words
from ids.rules.match.chains import judge
from ids.rules.match.conditions import View, asked, instances_of, literal_in
from ids.rules.match.reading import Variables
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.chain import Chain
from ids.rules.model.lua import ScriptError
from ids.rules.model.rule import (
    Address,
    All,
    Any_,
    Instance,
    Literal,
    Node,
    NotAny,
    Regex,
    ScapyField,
    Size,
)
from ids.rules.model.script import Script

MARK_BYTES = 4096
"""Bytes of a buffer that are kept to be shown."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Bytes of a buffer, of which some are what a test found."""

    buffer: str
    offset: int
    """Of ``data`` in the buffer; of a payload, in its stream."""
    data: bytes
    start: int = 0
    """Where in ``data`` that begins which was found."""
    end: int = 0
    size: int = 0
    """Bytes of the whole buffer."""


@dataclass(slots=True)
class Finding:
    """What became of one test, or of a group of tests."""

    text: str
    held: bool
    mark: Mark | None = None
    parts: list[Finding] = field(default_factory=list)
    progress: float = 0.0
    """How much of it holds, from 0 to 1."""

    def failed(self) -> Iterator[Finding]:
        """Yield the innermost findings that keep this one from holding."""
        if self.held:
            return
        inner = [part for part in self.parts if not part.held]
        if not inner:
            yield self
        for part in inner:
            yield from part.failed()


def trace(condition: Node, view: View) -> Finding:
    """Judge a condition; every test of it is judged, also behind one that fails."""
    view.begin()
    return _trace(condition, view, None)


def _trace(node: Node, view: View, only: int | None) -> Finding:
    if isinstance(node, All):
        return _group("all of", [_trace(part, view, only) for part in node.parts], all_of=True)
    if isinstance(node, Any_):
        return _group("any of", [_trace(part, view, only) for part in node.parts], all_of=False)
    if isinstance(node, NotAny):
        parts = [_trace(part, view, only) for part in node.parts]
        held = not any(part.held for part in parts)
        return Finding("none of", held, parts=parts, progress=float(held))
    if isinstance(node, Instance):
        return _instance(node, view)
    if isinstance(node, Chain):
        return _best([_chain(node, view, data, number) for number, data in instances_of(node.buffer, view, only)], node)
    if isinstance(node, Literal | Regex | Size):
        return _best([_test(node, view, data, number) for number, data in instances_of(node.buffer, view, only)], node)
    if isinstance(node, Address):
        return _plain(other_in_words(node), view.ends()[node.end] in node.members)
    if isinstance(node, ScapyField):
        return _plain(other_in_words(node), True)
    if isinstance(node, Script):
        return _script(node, view, only)
    return _plain(header_in_words(node), view.header is None or view.header(node))


def _plain(text: str, held: bool) -> Finding:
    return Finding(text, held, progress=float(held))


def _script(script: Script, view: View, only: int | None) -> Finding:
    try:
        return _plain(other_in_words(script), asked(script, view, [], only))
    except ScriptError as error:
        return _plain(f"{other_in_words(script)}: {error}", False)


def _group(text: str, parts: list[Finding], all_of: bool) -> Finding:
    values = [part.progress for part in parts] or [1.0]
    if all_of:
        return Finding(text, all(part.held for part in parts), parts=parts, progress=sum(values) / len(values))
    return Finding(text, any(part.held for part in parts), parts=parts, progress=max(values))


def _instance(node: Instance, view: View) -> Finding:
    text = f"one {node.buffer} with all of"
    tries = [
        _group(text, [_trace(part, view, number) for part in node.parts], all_of=True)
        for number, _ in instances_of(node.buffer, view, None)
    ]
    if tries:
        return max(tries, key=lambda one: (one.held, one.progress))
    return Finding(f"{text} …", False, parts=[_absent(node.buffer)])


def _best(tries: list[Finding], node: Chain | Literal | Regex | Size) -> Finding:
    """Return what became of a test in the instance where it came farthest."""
    if tries:
        return max(tries, key=lambda one: (one.held, one.progress))
    if isinstance(node, Chain):
        return Finding(f"{node.buffer}", False, parts=[_absent(node.buffer)])
    return Finding(f"{condition_in_words(node)}: there is no {node.buffer}", False)


def _absent(buffer: str) -> Finding:
    return Finding(f"there is no {buffer}", False)


def _chain(chain: Chain, view: View, data: bytes, number: int) -> Finding:
    """Judge a chain step by step: of each step, whether all up to it hold together."""
    base = view.base if chain.buffer == PAYLOAD else 0
    origin = -base if not view.complete else 0
    lowered = partial(view.lower, chain.buffer, number)
    held_up_to, spans = 0, {}
    for size in range(1, len(chain.steps) + 1):
        head = Chain(chain.buffer, chain.steps[:size])
        at = judge(head, data, lowered, Variables(view.variables), origin)
        if at.held is None:
            break
        held_up_to, spans = size, dict(at.spans)
    parts: list[Finding] = []
    for place, step in enumerate(chain.steps):
        held = place < held_up_to
        text = step_in_words(step) + ("" if place <= held_up_to else " (not reached)")
        span = spans.get(place)
        mark = None
        if held and span is not None and span[0] >= 0:
            mark = _mark(chain.buffer, data, span, base)
        elif place == held_up_to:
            mark = _whole(chain.buffer, data, base)
        parts.append(Finding(text, held, mark, progress=float(held)))
    held = held_up_to == len(chain.steps)
    if held:  # the whole chain sets the variables and what was decoded, for those behind it
        at = judge(chain, data, lowered, view.variables, origin)
        view.decoded += at.decoded
    return Finding(chain.buffer, held, parts=parts, progress=held_up_to / max(1, len(chain.steps)))


def _test(test: Literal | Regex | Size, view: View, data: bytes, number: int) -> Finding:
    base = view.base if test.buffer == PAYLOAD else 0
    if isinstance(test, Size):
        held = test.least <= len(data) and (test.most is None or len(data) <= test.most)
        return Finding(f"{condition_in_words(test)}: it has {len(data)}", held, progress=float(held))
    span = test.pattern.search(data) if isinstance(test, Regex) else literal_in(test, view, data, number)
    if span is None:
        return Finding(condition_in_words(test), False, _whole(test.buffer, data, base))
    return Finding(
        condition_in_words(test), True, _mark(test.buffer, data, span, base) if span[0] >= 0 else None, progress=1
    )


def _mark(buffer: str, data: bytes, span: tuple[int, int], base: int) -> Mark:
    start, end = span
    first = max(0, start - 32) & ~15
    kept = data[first : min(end + 32, first + MARK_BYTES)]
    return Mark(buffer, base + first, kept, start - first, min(end - first, len(kept)), len(data) + base)


def _whole(buffer: str, data: bytes, base: int) -> Mark:
    return Mark(buffer, base, data[:MARK_BYTES], 0, 0, len(data) + base)
