"""Options on calls of DCE/RPC: which interface and operation, and numbers in the byte order of the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ids.later import late_pattern
from ids.rules.language.suricata.buffers import require
from ids.rules.language.suricata.draft import Draft, Part
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.words import commas, intervals, number, required
from ids.rules.model.chain import Chain, Compare, Compute, Content, Extract, Jump, Number, Step
from ids.rules.model.rule import All, Any_, Instance, Node

DCE = "dce"
"""The byte order of the call, in the steps of a draft."""
_IFACE, _OPNUM, _ORDER = "dcerpc.iface", "dcerpc.opnum", "dcerpc.byte_order"
_UUID = late_pattern(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MOST = 0xFFFF
MAX_RANGES = 64
"""Operations, and ranges of them, that one rule may list."""


def iface(draft: Draft, value: str | None) -> None:
    """``dce_iface:UUID,>2,any_frag``: the interface that is called, and its version.

    Calls are put together of their fragments before they are looked at, so that ``any_frag`` changes nothing.
    """
    uuid, *rest = commas(required(value).lower())
    if _UUID.fullmatch(uuid) is None:
        raise Malformed(f"{uuid[:40]!r} is no UUID", "write it as 367abb81-9844-35f1-ad32-98f038001003")
    if rest[-1:] == ["any_frag"]:
        rest.pop()
    if len(rest) > 1:
        raise Malformed("it has more than a UUID, a version and any_frag")
    part = Part(require(_IFACE))
    named = uuid.encode() + b" "
    part.steps.append(Content(named, offset=0, depth=len(named)))
    if rest:
        ((least, most),), negated = intervals(rest[0], _MOST)
        part.steps += _within(Number(0, relative=True, base=10), least, most, negated)
    draft.parts.append(part)


def opnum(draft: Draft, value: str | None) -> None:
    """``dce_opnum:15,17-19``: one of these operations is called."""
    words = commas(required(value))
    if len(words) > MAX_RANGES:
        raise Malformed(f"it lists {len(words)} operations", f"at most {MAX_RANGES}")
    require(_OPNUM)
    draft.conditions.append(Any_(tuple([_called(word) for word in words])))


def _called(word: str) -> Node:
    first, dash, last = word.partition("-")
    if dash or word.isdigit():
        (least, most), negated = (number(first, 0, _MOST), number(last or first, 0, _MOST)), False
        if most < least:
            raise Malformed(f"nothing lies between {least} and {most}")
    else:
        ((least, most),), negated = intervals(word, _MOST)
    return Chain(_OPNUM, tuple(_within(Number(0, base=10), least, most, negated)))


def _within(digits: Number, least: int, most: int, negated: bool) -> list[Step]:
    if least == most:
        return [Compare(digits, "=", least, negated)]
    # The second test reads from where the first did: a comparison moves no cursor.
    return [Compare(digits, ">=", least), Compare(digits, "<=", most)]


def in_either_order(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return the tests of a rule; where a number is in the order of the call, once for each order."""
    if not any(map(_asks_order, nodes)):
        return tuple(nodes)
    orders: list[Node] = []
    for order in ("little", "big"):
        word = order.encode()
        said = Chain(require(_ORDER), (Content(word, offset=0, depth=len(word), at_end=True),))
        orders.append(All((said, *(_in_order(node, order) for node in nodes))))
    return (Any_(tuple(orders)),)


def _asks_order(node: Node) -> bool:
    if isinstance(node, Instance):
        return any(map(_asks_order, node.parts))
    return isinstance(node, Chain) and any(map(_ordered, node.steps))


def _ordered(step: Step) -> bool:
    return isinstance(step, Compare | Jump | Extract | Compute) and step.number.order == DCE


def _in_order(node: Node, order: str) -> Node:
    if isinstance(node, Instance):
        return replace(node, parts=tuple([_in_order(part, order) for part in node.parts]))
    if not isinstance(node, Chain):
        return node
    return Chain(
        node.buffer,
        tuple([
            replace(step, number=replace(step.number, order=order))
            if isinstance(step, Compare | Jump | Extract | Compute) and _ordered(step)
            else step
            for step in node.steps
        ]),
    )  # fmt: skip
