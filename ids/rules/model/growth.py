"""What of a condition can be judged while buffers still grow at their end: what holds then, holds for good."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from ids.later import late_pattern
from ids.rules.model.chain import Chain, Compare, Compute, Content, DataAt, Expression, Extract, Jump, Length, Step
from ids.rules.model.patterns import Pattern
from ids.rules.model.rule import All, Anchor, Any_, Instance, Literal, Node, NotAny, Regex, Size, base_of, leaves
from ids.rules.model.script import Script

_CLASS = late_pattern(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_OTHER_ESCAPE = late_pattern(r"\\[^zZbBKQE]", re.DOTALL)
_WORD_END = late_pattern(r"\\[bB]")
_ASKS_FOR_AN_END = late_pattern(r"[$\\]|\(\?(?:[=!(]|<[=!])|\(\*")
"""What asks for an end, for what follows, or is too odd to be sure; but for borders of words."""


class Within(Pattern):
    """A pattern that asks whether a word ends: it finds nothing that ends where the data do."""

    def search(self, data: bytes | memoryview) -> tuple[int, int] | None:
        """Return start and end of a match that more data cannot undo, or None."""
        found = super().search(data)
        return found if found is not None and found[1] < len(data) else None


def lasting(node: Node, growing: Collection[str]) -> Node | None:
    """Return a condition that, once it holds, keeps holding while buffers of these names grow, and then this one holds
    too; None where there is none.

    The condition itself comes back where it is one. What is left out is judged later, which is never wrong.
    """
    if isinstance(node, NotAny):
        names = {
            base_of(leaf.buffer) for leaf in leaves(node) if isinstance(leaf, Literal | Regex | Size | Chain | Script)
        }
        return node if names.isdisjoint(growing) else None
    if isinstance(node, Any_):
        found = [one for part in node.parts if (one := lasting(part, growing)) is not None]
        return _with(node, found) if found or not node.parts else None
    if isinstance(node, All | Instance):
        kept = [lasting(part, growing) for part in node.parts]
        parts = [part for part in kept if part is not None]
        return _with(node, parts) if len(parts) == len(kept) else None
    if isinstance(node, Chain):
        return node if base_of(node.buffer) not in growing or _lasting_chain(node) else None
    if isinstance(node, Script):
        return node if base_of(node.buffer) not in growing else None
    if not isinstance(node, Literal | Regex | Size) or node.buffer not in growing:
        return node
    if isinstance(node, Literal):
        return node if node.anchor not in (Anchor.END, Anchor.WHOLE) else None
    if isinstance(node, Size):
        return node if node.most is None else None
    return _lasting_regex(node)


def _with(node: All | Any_ | Instance, parts: list[Node]) -> Node:
    same = len(parts) == len(node.parts) and all(new is old for new, old in zip(parts, node.parts, strict=True))
    return node if same else replace(node, parts=tuple(parts))


def _lasting_chain(chain: Chain) -> bool:
    """Return whether what all steps find stays where it is, and what they do not find is not asked for."""
    return base_of(chain.buffer) == chain.buffer and all(_lasting_step(step) for step in chain.steps)


def _lasting_step(step: Step) -> bool:
    if isinstance(step, Content):
        return not step.negated and not step.at_end
    if isinstance(step, Expression):
        text = _OTHER_ESCAPE.sub("", _CLASS.sub("", step.pattern.text))
        return not step.negated and _ASKS_FOR_AN_END.search(text) is None
    if isinstance(step, Length):
        return not step.negated and step.most is None
    if isinstance(step, DataAt):
        return not step.negated
    if isinstance(step, Jump) and step.origin == "end":
        return False
    return isinstance(step, Jump | Compare | Compute | Extract) and step.number.base is None  # more digits may follow


def _lasting_regex(node: Regex) -> Regex | None:
    text = _OTHER_ESCAPE.sub("", _CLASS.sub("", node.pattern.text))
    if _ASKS_FOR_AN_END.search(_WORD_END.sub("", text)) is not None:
        return None
    if _WORD_END.search(text) is None:
        return node
    known = node.pattern
    return replace(node, pattern=Within(known.text, known.nocase, known.slow, known._scanner))
