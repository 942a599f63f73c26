"""Whether a condition that holds of the beginning of a buffer still holds once the buffer has grown."""

from __future__ import annotations

import re
from collections.abc import Collection

from ids.rules.model.rule import Anchor, Literal, Node, NotAny, Regex, Size, leaves

_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_OTHER_ESCAPE = re.compile(r"\\[^zZbBKQE]", re.DOTALL)
_LOOKS_BEHIND_ITS_END = re.compile(r"[$\\]|\(\?(?:[=!(]|<[=!])|\(\*")
"""What asks for an end, for what follows, or is too odd to be sure."""


def may_cease_to_hold(node: Node, growing: Collection[str]) -> bool:
    """Return whether a condition may hold now and not later, while buffers of these names grow at their end.

    It errs on that side: such a condition is judged later, which is never wrong.
    """
    if isinstance(node, NotAny):
        return any(leaf.buffer in growing for leaf in leaves(node) if isinstance(leaf, Literal | Regex | Size))
    if isinstance(node, Literal):
        return node.buffer in growing and node.anchor in (Anchor.END, Anchor.WHOLE)
    if isinstance(node, Size):
        return node.buffer in growing and node.most is not None
    if isinstance(node, Regex):
        return node.buffer in growing and _asks_for_an_end(node.pattern.text)
    return any(may_cease_to_hold(part, growing) for part in getattr(node, "parts", ()))


def _asks_for_an_end(text: str) -> bool:
    return _LOOKS_BEHIND_ITS_END.search(_OTHER_ESCAPE.sub("", _CLASS.sub("", text))) is not None
