"""What rules ask of single packets, as tests on the axes of a batch (`ids.rules.match.clauses`)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ids.protocols import BY_NAME, meant
from ids.rules.match.clauses import FIRST, LAST, Column, Predicate, complement, runs
from ids.rules.model.buffers import PAYLOAD, TRANSPORT_PROTOCOLS
from ids.rules.model.chain import Chain, Content
from ids.rules.model.header import (
    AddressIn,
    Checksum,
    HeaderBits,
    HeaderNumber,
    HeaderTest,
    IpOption,
    Noted,
    SameAddress,
    Spoken,
)  # fmt: skip
from ids.rules.model.rule import All, Node, Rule, Traffic, leaves
from ids.rules.model.sets import AddressSet, Interval, PortSet, intersection
from ids.types import I64, IPV4_MAPPED_PREFIX, BitChange, CounterChange, CounterTest
from ids.types.state import TextTest

YES: tuple[Interval, ...] = ((1, 1),)
NO: tuple[Interval, ...] = ((0, 0),)
_BITS_OF = {"tcp.flags": 256, "ip.fragbits": 8}
_TCP, _UDP, _PORTLESS = 6, 17, -2
_VERSIONS = {"ip4": 4, "ipv4": 4, "ip6": 6, "ipv6": 6}
_NUMBERS = {"sctp": 132, "icmpv4": 1, "icmpv6": 58}

Clause = list[Predicate]


class AddressRanks:
    """Numbers addresses by where they lie among the ends of all intervals of a load of rules: order is kept."""

    def __init__(self, sets: Iterable[AddressSet]) -> None:
        self.bounds = sorted({bound for one in sets for first, last in one.intervals for bound in (first, last + 1)})
        """The rank of an address is the number of bounds up to it."""

    @cached_property
    def below_ipv4(self) -> int:
        """How many bounds are less than any IPv4 address."""
        return bisect_left(self.bounds, IPV4_MAPPED_PREFIX)

    @cached_property
    def ipv4(self) -> I64:
        """The bounds among IPv4 addresses, as these."""
        behind = bisect_left(self.bounds, IPV4_MAPPED_PREFIX + (1 << 32))
        return np.array([bound - IPV4_MAPPED_PREFIX for bound in self.bounds[self.below_ipv4 : behind]], np.int64)

    @cached_property
    def spelt(self) -> NDArray[np.bytes_]:
        """All bounds that are addresses, as their 16 bytes."""
        return np.array([bound.to_bytes(17, "big")[1:] for bound in self.bounds if bound < 1 << 128], "S16")

    def intervals(self, members: AddressSet) -> tuple[Interval, ...]:
        """Return a set as intervals of ranks."""
        return tuple(
            (bisect_left(self.bounds, first) + 1, bisect_left(self.bounds, last + 1))
            for first, last in members.intervals
        )


def alternatives(test: HeaderTest) -> tuple[tuple[Predicate, ...], ...]:
    """Return a test as tests on axes: all of one of the groups hold."""
    if isinstance(test, HeaderNumber):
        found = _intervals(test.intervals, test.negated)
        if test.negated and test.field == "payload.size":
            found = intersection(found, ((1, LAST),))  # a packet without any has none of another size
        return ((Predicate(test.field, found),),)
    if isinstance(test, HeaderBits):
        return ((Predicate(test.field, bit_values(test)),),)
    if isinstance(test, SameAddress):
        return ((Predicate("address.same", YES),),)
    if isinstance(test, IpOption):
        return ((Predicate(f"option:{test.name}", YES),),)
    if isinstance(test, Noted):
        return ((Predicate(f"noted:{test.stage}:{test.name}", YES),),)
    if isinstance(test, Spoken):
        return ((Predicate(f"spoken:{test.name}", NO if test.negated else YES),),)
    if isinstance(test, Checksum):
        return ((Predicate(f"checksum:{test.layer}", YES if test.valid else NO),),)
    if isinstance(test, AddressIn):
        wanted = NO if test.negated else YES
        return _of_sides(test.end, *(Predicate(f"listed:{end}:{test.name}", wanted) for end in ("src", "dst")))
    intervals = _intervals(test.intervals, test.negated)
    client, server = Predicate("stream:client", intervals), Predicate("stream:server", intervals)
    return _of_sides({"client": "src", "server": "dst"}.get(test.side, test.side), client, server)


def _of_sides(which: str, one: Predicate, other: Predicate) -> tuple[tuple[Predicate, ...], ...]:
    """Return what must hold where a test is of one side (``src``), the other (``dst``), ``both``, or any."""
    return {"src": ((one,),), "dst": ((other,),), "both": ((one, other),)}.get(which, ((one,), (other,)))


def _intervals(intervals: tuple[Interval, ...], negated: bool) -> tuple[Interval, ...]:
    return complement(intervals) if negated else _joined(intervals)


def _joined(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return intervals sorted, and overlapping ones as one."""
    found: list[Interval] = []
    for first, last in sorted(intervals):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return tuple(found)


def bit_values(test: HeaderBits) -> tuple[Interval, ...]:
    """Return the values of a field of bits for which a test holds; none where none does."""
    care, bits = ~test.ignored, test.bits & ~test.ignored
    holds: dict[str, Callable[[int], bool]] = {
        "exactly": lambda value: value & care == bits,
        "all": lambda value: value & bits == bits,
        "any": lambda value: value & bits != 0,
        "none": lambda value: value & bits == 0,
        "lacking": lambda value: value & bits != bits,
    }
    judge = holds[test.mode]
    return runs(value for value in range(_BITS_OF[test.field]) if judge(value))


def header_tests(condition: Node) -> list[HeaderTest]:
    """Return the tests on headers of a condition, wherever they stand in it."""
    return [leaf for leaf in leaves(condition) if isinstance(leaf, HeaderTest)]


def demanded(condition: All) -> Iterator[HeaderTest]:
    """Yield the tests on headers that must hold, whatever else does."""
    for part in condition.parts:
        if isinstance(part, HeaderTest):
            yield part
        elif isinstance(part, All):
            yield from demanded(part)


def fixed_bytes(condition: All) -> Predicate | None:
    """Return what a condition says of bytes at one place of the payload, of as many as it does; None: of none.

    They are read as a number of 1, 2 or 4 bytes; the condition compares the literal whole.
    """
    best: tuple[int, Predicate] | None = None
    for step in _contents(condition):
        if step.negated or step.relative or step.depth != len(step.value) or not isinstance(step.offset, int | None):
            continue
        size = next(size for size in (4, 2, 1) if size <= len(step.value))
        value = int.from_bytes(step.value[:size], "big")
        name = f"bytes:{step.offset or 0}:{size}:{'lower' if step.nocase else 'as is'}"
        if best is None or size > best[0]:
            best = size, Predicate(name, ((value, value),))
    return best[1] if best is not None else None


def _contents(condition: All) -> Iterator[Content]:
    """Yield the literals of the payload that must be there."""
    for part in condition.parts:
        if isinstance(part, All):
            yield from _contents(part)
        elif isinstance(part, Chain) and part.buffer == PAYLOAD:
            yield from (step for step in part.steps if isinstance(step, Content) and step.value)


def once_a_direction(rule: Rule) -> bool:
    """Return whether a rule asks nothing but what is the same for all packets of one direction of a flow.

    Of those that may match at each packet, Suricata judges such a rule at the first one of a direction only; but not
    where it names addresses that it is not on.
    """
    if not rule.repeats or rule.buffers or rule.traffic.app_proto is not None or rule.traffic.excepts:
        return False
    flow = rule.flow
    if flow.established is not None or flow.direction is not None or flow.payload_of is not None or flow.any_state:
        return False
    if not all(_is_of_direction(test) for test in leaves(rule.condition)):
        return False
    state = rule.signature.state
    asks = any(isinstance(test, CounterTest | TextTest) or test.scope == "flow" for test in state.tests)
    alters = any(
        isinstance(change, CounterChange) or (isinstance(change, BitChange) and _alters(change))
        for change in state.changes
    )
    return not asks and not alters


def _is_of_direction(test: object) -> bool:
    if isinstance(test, AddressIn):
        return test.lasting
    return isinstance(test, HeaderNumber) and test.field == "ip.proto"


def _asks_flow(rule: Rule) -> bool:
    """Return whether a rule asks what is remembered of a flow: of what is no flow's packet, nothing is."""
    tests = rule.signature.state.tests
    return any(isinstance(test, CounterTest | TextTest) or test.scope == "flow" for test in tests)


def _alters(change: BitChange) -> bool:
    return change.scope == "flow" and change.change != "set"


def clauses_of(
    rule: Rule, ranks: AddressRanks, app_code: Callable[[str], int], *, tcp_alone: bool = False
) -> list[Clause]:
    """Return what a rule asks of a packet's columns: one of the clauses holds. Each has a test at least."""
    tests = header_tests(rule.condition) if rule.asks_headers else ()
    common: Clause = [*_of_traffic(rule.traffic, app_code), *_of_flow(rule)]
    if not any(isinstance(test, Noted | Checksum) for test in tests):
        common.append(Predicate("whole", YES))
    if PAYLOAD in rule.buffers:
        common.append(Predicate("payload.size", ((1, LAST),)))
        fixed = fixed_bytes(rule.condition)
        common += [fixed] if fixed is not None else []
    if rule.flow.any_state or _asks_flow(rule):
        common.append(Predicate("flow", YES))
    if tcp_alone:
        common.append(Predicate("ip.proto", runs([_TCP])))
    if once_a_direction(rule):
        common.append(Predicate("first", YES))
    ways = [_of_ends(rule, ranks, turned) for turned in ((False, True) if rule.traffic.both_ways else (False,))]
    groups = [alternatives(test) for test in demanded(rule.condition)]
    found = [
        common + way + [predicate for group in chosen for predicate in group]
        for way in ways
        for chosen in product(*groups)
    ]
    return [clause or [Predicate("row", YES)] for clause in found]


def _of_traffic(traffic: Traffic, app_code: Callable[[str], int]) -> Iterator[Predicate]:
    name = traffic.protocol
    if name in _VERSIONS:
        yield Predicate("ip.version", runs([_VERSIONS[name]]))
    elif name in _NUMBERS:
        yield Predicate("ip.proto", runs([_NUMBERS[name]]))
    elif TRANSPORT_PROTOCOLS.get(name):
        yield Predicate("ip.proto", runs(sorted(TRANSPORT_PROTOCOLS[name])))
    elif traffic.app_proto is not None:
        known = [BY_NAME[one] for one in meant(name) if one in BY_NAME]
        over = [number for number in (_TCP, _UDP) if any(one.recognised_over(number) for one in known)]
        yield Predicate("ip.proto", runs(over or [_TCP, _UDP]))
        yield Predicate("app", runs(sorted(app_code(one) for one in meant(name))))


def _of_flow(rule: Rule) -> Iterator[Predicate]:
    if rule.flow.established is not None:
        yield Predicate("established", YES if rule.flow.established else NO)
    if rule.flow.direction is not None:
        yield Predicate("direction", runs([int(rule.flow.direction)]))


def _of_ends(rule: Rule, ranks: AddressRanks, turned: bool) -> Clause:
    """Return addresses and ports. What has no ports no port keeps out, but of Suricata's rules any."""
    traffic = rule.traffic
    names = ("dst", "src", "dport", "sport") if turned else ("src", "dst", "sport", "dport")
    clause = []
    for name, members in zip(names, (traffic.src, traffic.dst), strict=False):
        if not members.everything:
            clause.append(Predicate(name, ranks.intervals(members)))
    for name, ports in zip(names[2:], (traffic.sport, traffic.dport), strict=True):
        if not ports.everything:
            clause.append(Predicate(name, ports.intervals if rule.repeats else _or_none(ports)))
    return clause


def _or_none(ports: PortSet) -> tuple[Interval, ...]:
    return _joined([*ports.intervals, (_PORTLESS, _PORTLESS)])


def judge(test: HeaderTest, axis: Callable[[str], Column], row: int) -> bool:
    """Judge one test of one packet."""
    return any(all(_in(predicate, axis(predicate.axis), row) for predicate in group) for group in alternatives(test))


def _in(predicate: Predicate, column: Column, row: int) -> bool:
    at = int(column.rows.searchsorted(row))
    if at >= len(column.rows) or int(column.rows[at]) != row:
        return False
    value = int(column.values[at])
    return any(max(first, FIRST) <= value <= min(last, LAST) for first, last in predicate.intervals)
