"""Spells rules of the model as YAML, one function for each kind of test: what `ids rules import` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ids.rules.language.schema import SEVERITY
from ids.rules.language.traffic import PAYLOADS
from ids.rules.language.yaml_headers import BITS, MODES, STREAM_SIZES
from ids.rules.model import chain as steps
from ids.rules.model import header as headers
from ids.rules.model import rule as nodes
from ids.rules.model.chain import Chain, Content, Number, Step
from ids.rules.model.rule import Anchor, Node, Rule
from ids.types import Direction
from ids.types.state import BitChange, BitTest, CounterChange, StateTest, TextChange, TextTest

Spelled = dict[str, Any]


class Unsayable(ValueError):
    """YAML has no words for something; the message is what."""


def rule_in_yaml(rule: Rule, traffic: str) -> Spelled:
    """Return a rule as a YAML file has it, in the order of its keys; raises `Unsayable`.

    ``traffic`` is spelt by who knows the names of the variables in it.
    """
    signature = rule.signature
    if signature.severity != SEVERITY.get(rule.level):
        raise Unsayable(f"priority {signature.severity}")
    if not signature.title:
        raise Unsayable("a rule without a msg")
    if rule.scripts:
        raise Unsayable("a script, which the keyword lua asks")
    if signature.bypass:
        raise Unsayable("a flow that is bypassed")
    spelled: Spelled = {"title": signature.title, "sid": signature.sid, "rev": signature.rev}
    if signature.gid != 1:
        spelled["gid"] = signature.gid
    spelled["level"] = rule.level
    if signature.classtype:
        spelled["classtype"] = signature.classtype
    if signature.references:
        spelled["references"] = list(signature.references)
    metadata = {key: value for key, value in signature.metadata.items() if key not in ("level", "status")}
    if metadata:
        spelled["metadata"] = metadata
    spelled["traffic"] = traffic
    if words := flow_words(rule.flow):
        spelled["flow"] = words
    if rule.condition.parts:
        spelled["match"] = [node_in_yaml(part) for part in rule.condition.parts]
    spelled |= _state(rule)
    spelled |= _set(unlogged=signature.unlogged)
    if rule.repeats:
        spelled["repeats"] = True
    threshold = signature.threshold
    if threshold is not None:
        spelled["threshold"] = {
            "type": threshold.type, "track": threshold.track, "count": threshold.count, "seconds": threshold.seconds
        }  # fmt: skip
    if signature.action.value != "alert":
        spelled["then"] = signature.action.value
    return spelled


def flow_words(flow: nodes.FlowOptions) -> list[str]:
    """Spell the flow options of a rule."""
    words = []
    if flow.established is not None:
        words.append("established" if flow.established else "not_established")
    if flow.direction is not None:
        words.append("to_server" if flow.direction == Direction.TO_SERVER else "to_client")
    if flow.any_state:
        words.append("stateless")
    return words + [word for word, payload_of in PAYLOADS.items() if payload_of == flow.payload_of]


def node_in_yaml(node: Node) -> Spelled:
    """Spell a condition; raises `Unsayable`."""
    return _NODES[type(node)](node)


def step_in_yaml(step: Step) -> Spelled:
    """Spell a step of a chain; raises `Unsayable`."""
    if isinstance(step, steps.Structure):
        raise Unsayable("structures of ASN.1")
    return _STEPS[type(step)](step)


def text_in_yaml(value: bytes) -> str | dict[str, str]:
    """Spell bytes as text where they are plain, and as pairs of digits else."""
    if value and all(32 <= byte < 127 for byte in value):
        return value.decode("ascii")
    return {"hex": value.hex(" ")}


def _chain(chain: Chain) -> Spelled:
    return {chain.buffer: [step_in_yaml(step) for step in chain.steps]}


def _literal(test: nodes.Literal) -> Spelled:
    return {test.buffer: {test.anchor.value: text_in_yaml(test.value), **_set(nocase=test.nocase)}}


def _regex(test: nodes.Regex) -> Spelled:
    return {test.buffer: {"regex": test.pattern.text, **_set(nocase=test.pattern.nocase)}}


def _instance(node: nodes.Instance) -> Spelled:
    merged: Spelled = {}
    for part in node.parts:
        if isinstance(part, nodes.Any_ | nodes.All | nodes.NotAny):
            raise Unsayable("alternatives in one instance of a buffer")
        (spelled,) = node_in_yaml(part).values()
        if not isinstance(spelled, dict) or spelled.keys() & merged.keys() - {"nocase"}:
            raise Unsayable("one test twice in one instance of a buffer")
        if merged and bool(spelled.get("nocase")) is not bool(merged.get("nocase")) and "size" not in spelled:
            raise Unsayable("nocase for one of the tests in one instance of a buffer")
        merged |= spelled
    return {node.buffer: merged}


def _address(_: nodes.Address) -> Spelled:
    raise Unsayable("a condition on addresses")


def _scapy(test: nodes.ScapyField) -> Spelled:
    return {f"scapy.{test.layer}.{test.name}": test.value}


def _group(word: str) -> Callable[[Any], Spelled]:
    return lambda node: {word: [node_in_yaml(part) for part in node.parts]}


def _size(least: int, most: int | None) -> int | dict[str, int]:
    if least == most:
        return least
    return {"min": least} if most is None else {"max": most} if not least else {"min": least, "max": most}


# Steps of chains.


def _content(step: Content) -> Spelled:
    at_start = step.offset == 0 and step.depth == len(step.value) and not step.relative
    anchor = (Anchor.WHOLE if step.at_end else Anchor.START) if at_start else Anchor.ANYWHERE
    if step.at_end and not at_start:
        anchor = Anchor.END
    spelled: Spelled = {anchor.value: text_in_yaml(step.value), **_set(nocase=step.nocase)}
    spelled |= _set(**{"not": step.negated})
    if not at_start:
        bounds = (
            ("from", step.offset),
            ("within_first", step.depth),
            ("after", step.distance),
            ("within", step.within),
        )
        spelled |= {word: value for word, value in bounds if value is not None}
    return spelled | _set(rarest=step.preferred)


def _expression(step: steps.Expression) -> Spelled:
    if step.captures:
        raise Unsayable("a regex whose groups are kept")
    flags = _set(nocase=step.pattern.nocase, here=step.relative, **{"not": step.negated})
    return {"regex": step.pattern.text, **flags}


def _data_at(step: steps.DataAt) -> Spelled:
    return {"data_at_least" if step.relative else "has_byte": step.count, **_set(**{"not": step.negated})}


def _length(step: steps.Length) -> Spelled:
    return {"size": _size(step.least, step.most), **_set(**{"not": step.negated})}


def _number(number: Number) -> Spelled:
    spelled: Spelled = {} if number.size == 0 else {"size": number.size}
    spelled["after" if number.relative else "at"] = number.offset
    if number.order != "big":
        spelled["order"] = number.order
    if number.base is not None:
        spelled["base"] = number.base or "any"
    if number.bits is not None:
        spelled["mask"] = number.bits
    return spelled


_COMPARE = {"=": "equals", ">=": "min", "<=": "max", ">": "gt", "<": "lt", "&": "any_bits"}


def _compare(step: steps.Compare) -> Spelled:
    if step.operator not in _COMPARE:
        raise Unsayable(f"bytes compared by {step.operator}")
    return {"bytes": {**_number(step.number), _COMPARE[step.operator]: step.value}, **_set(**{"not": step.negated})}


def _jump(step: steps.Jump) -> Spelled:
    reads = step.number != Number(0, relative=True)
    spelled = _number(step.number) if reads else {}
    if step.multiplier != 1:
        spelled["times"] = step.multiplier
    if step.align:
        spelled["align"] = 4
    if step.origin != "cursor":
        spelled["from"] = {"begin": "start", "end": "end"}[step.origin]
    if step.post_offset:
        spelled["plus"] = step.post_offset
    return {"jump": spelled}


def _extract(step: steps.Extract) -> Spelled:
    spelled = {**_number(step.number), "as": step.name}
    if step.multiplier != 1:
        spelled["times"] = step.multiplier
    return {"extract": spelled | ({"align": step.align} if step.align else {})}


_COMPUTE = {"+": "plus", "-": "minus", "*": "times", "/": "divided_by", "<<": "shifted_left", ">>": "shifted_right"}


def _compute(step: steps.Compute) -> Spelled:
    return {"compute": {**_number(step.number), _COMPUTE[step.operator]: step.value, "as": step.name}}


def _decode(step: steps.Decode) -> Spelled:
    size = {} if step.size is None else {"size": step.size}
    return {"decode_base64": {**size, "after" if step.relative else "at": step.offset}}


def _listed(_: steps.Listed) -> Spelled:
    raise Unsayable("a dataset")


def _entropy(step: steps.Entropy) -> Spelled:
    bounds = {"min": step.least} if step.least > 0 else {}
    bounds |= {"max": step.most} if step.most < 8 else {}
    return {"entropy": bounds, **_set(**{"not": step.negated})}


# Tests on headers.


def _values(intervals: Iterable[tuple[int, int]], negated: bool) -> Any:
    some = list(intervals)
    if all(first == last for first, last in some):
        values: Any = [first for first, _ in some]
        values = values[0] if len(values) == 1 else values
        return {"not": values} if negated else values
    if len(some) > 1 or negated:
        raise Unsayable("several ranges of one header field, or all but a range")
    return _size(*some[0])


def _header_number(test: headers.HeaderNumber) -> Spelled:
    if test.field == "ip.rebuilt":
        raise Unsayable("whether a packet was put together of fragments")
    return {test.field: _values(test.intervals, test.negated)}


def _stream_size(test: headers.StreamSize) -> Spelled:
    name = next(name for name, side in STREAM_SIZES.items() if side == test.side)
    return {name: _values(test.intervals, test.negated)}


def _bits(test: headers.HeaderBits) -> Spelled:
    word = next(word for word, mode in MODES.items() if mode == test.mode)
    spelled = {word: _names(test.field, test.bits)}
    return {test.field: spelled | ({"ignoring": _names(test.field, test.ignored)} if test.ignored else {})}


def _names(field: str, bits: int) -> list[str]:
    return [name for name, bit in BITS[field].items() if bits & bit]


def _spoken(test: headers.Spoken) -> Spelled:
    return {"app_protocol": {"not": test.name} if test.negated else test.name}


def _address_in(_test: headers.AddressIn) -> Spelled:
    raise Unsayable("a list that an address is looked up in")


def _checksum(test: headers.Checksum) -> Spelled:
    if test.valid:
        raise Unsayable("a checksum that is right")
    return {"bad_checksum": test.layer}


# State.

_BOUNDS = {"==": "equals", "!=": "differs", ">=": "min", "<=": "max", ">": "gt", "<": "lt"}
_CHANGES = {"+": "add", "-": "subtract", "=": "set"}


def _state(rule: Rule) -> Spelled:
    state = rule.signature.state
    spelled: Spelled = {}
    if state.tests:
        spelled["when"] = [_state_test(test) for test in state.tests]
    for change in state.changes:
        if isinstance(change, BitChange):
            lasts = {} if change.scope == "flow" else {"for": change.expires_s}
            spelled.setdefault(change.change, []).append({change.scope: change.name, **lasts})
        elif isinstance(change, CounterChange):
            counters = spelled.setdefault("counters", {})
            if change.name in counters:
                raise Unsayable("one counter changed twice")
            counters[change.name] = {_CHANGES[change.operator]: change.value}
        elif isinstance(change, TextChange):
            raise Unsayable("a regex whose groups are kept")
        elif "log_packets" in spelled:
            raise Unsayable("several tags")
        else:
            of = {} if change.kind == "session" else {"of": change.side}
            spelled["log_packets"] = {**of, "time" if change.metric == "seconds" else change.metric: change.count}
    return spelled | _set(silent=state.silent)


def _state_test(test: StateTest) -> Spelled:
    if isinstance(test, TextTest):
        raise Unsayable("a text that was captured")
    if isinstance(test, BitTest):
        return {f"not_{test.scope}" if test.negated else test.scope: list(test.names)}
    if test.operator in ("isset", "notset"):
        return {"counter": {test.name: {"is_set": test.operator == "isset"}}}
    return {"counter": {test.name: {_BOUNDS[test.operator]: test.value}}}


def _set(**flags: bool) -> Spelled:
    return {name: True for name, on in flags.items() if on}


_NODES: Mapping[type, Callable[[Any], Spelled]] = {
    Chain: _chain, nodes.Literal: _literal, nodes.Regex: _regex, nodes.Instance: _instance, nodes.Address: _address,
    nodes.Size: lambda test: {test.buffer: {"size": _size(test.least, test.most)}},
    nodes.ScapyField: _scapy, nodes.All: _group("all"), nodes.Any_: _group("any"), nodes.NotAny: _group("none"),
    headers.HeaderNumber: _header_number, headers.StreamSize: _stream_size, headers.HeaderBits: _bits,
    headers.SameAddress: lambda _: {"same_address": True}, headers.IpOption: lambda test: {"ip.option": test.name},
    headers.Noted: lambda test: {f"{test.stage}.event": test.name}, headers.Checksum: _checksum,
    headers.Spoken: _spoken, headers.AddressIn: _address_in,
}  # fmt: skip

_STEPS: Mapping[type, Callable[[Any], Spelled]] = {
    Content: _content, steps.Expression: _expression, steps.DataAt: _data_at, steps.Length: _length,
    steps.Compare: _compare, steps.Jump: _jump, steps.Extract: _extract, steps.Compute: _compute,
    steps.Decode: _decode, steps.Listed: _listed, steps.Entropy: _entropy,
}  # fmt: skip
