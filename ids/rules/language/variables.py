"""Groups of addresses and ports in rules: ``any``, ``$HOME_NET``, ``[10.0.0.0/8, !10.1.0.0/16]``, ``1024:``.

A group is compiled once into sorted intervals (addresses, as 128-bit numbers) or a table (ports), so that membership
costs a bisection or an index, and a NumPy column is judged in a handful of operations.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ids.later import late_pattern
from ids.rules.language.remedies import nearest
from ids.rules.model.sets import (
    ANY_ADDRESS,
    ANY_PORT,
    LAST_ADDRESS,
    LAST_PORT,
    AddressSet,
    Interval,
    PortSet,
    intersection,
)
from ids.rules.settings import DEFAULT_VARIABLES
from ids.types import IPV4_MAPPED_PREFIX

MAX_DEPTH = 16
"""Groups within groups; deeper is a mistake or an attempt to exhaust the stack."""


class GroupError(ValueError):
    """A group of addresses or ports cannot be understood; ``remedy`` says what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        self.remedy = remedy
        super().__init__(message)


_Set = TypeVar("_Set", AddressSet, PortSet)


@dataclass(frozen=True)
class _Kind(Generic[_Set]):
    """What differs between addresses and ports."""

    last: int
    atom: Callable[[str], Interval]
    build: Callable[[tuple[Interval, ...]], _Set]


def home_net(given: Mapping[str, str | list[str]]) -> AddressSet:
    """Return the addresses of HOME_NET, where ``given`` are the variables of the settings; raises `GroupError`."""
    return Variables({**DEFAULT_VARIABLES, **given}).addresses("$HOME_NET")


class Variables:
    """Named groups, and the compiler of the expressions that use them. Equal expressions share one compiled set."""

    def __init__(self, values: Mapping[str, str | list[str]]) -> None:
        self._values = {
            name: value if isinstance(value, str) else "[" + ",".join(value) + "]" for name, value in values.items()
        }
        self._addresses: dict[str, AddressSet] = {"any": ANY_ADDRESS}
        self._ports: dict[str, PortSet] = {"any": ANY_PORT}

    def addresses(self, text: str) -> AddressSet:
        """Compile a group of addresses; raises `GroupError`."""
        return self._compiled(text, self._addresses, _ADDRESSES)

    def excepts(self, text: str) -> bool:
        """Return whether a group, or a variable in it, leaves members out (``!``)."""
        seen: set[str] = set()
        left = [text]
        while left:
            text = left.pop()
            if "!" in text:
                return True
            names = {name for name in _NAMES.findall(text) if name in self._values} - seen
            seen |= names
            left += [self._values[name] for name in names]
        return False

    def ports(self, text: str) -> PortSet:
        """Compile a group of ports; raises `GroupError`."""
        return self._compiled(text, self._ports, _PORTS)

    def check(self, name: str) -> None:
        """Raise `GroupError` where the variable is no group; without a kind in its name it may be either."""
        group = f"${name}"
        if name.endswith("_PORTS"):
            self.ports(group)
        elif name in DEFAULT_VARIABLES:
            self.addresses(group)
        else:
            try:
                self.ports(group)
            except GroupError:
                self.addresses(group)

    def _compiled(self, text: str, done: dict[str, _Set], kind: _Kind[_Set]) -> _Set:
        text = text.strip()
        if text not in done:
            intervals = self._intervals(text, kind, ())
            if not intervals:
                raise GroupError(f"{text!r} matches nothing", "a negation took away all that the group had")
            done[text] = kind.build(intervals)
        return done[text]

    def _intervals(self, text: str, kind: _Kind[_Set], path: tuple[str, ...]) -> tuple[Interval, ...]:
        """Return the merged intervals of an expression; ``path`` holds the variables and groups being expanded."""
        text = text.strip()
        if len(path) > MAX_DEPTH:
            raise GroupError(f"groups are nested deeper than {MAX_DEPTH} levels: {' > '.join(path[:4])} ...")
        if text.startswith("!"):
            return _complement(self._intervals(text[1:], kind, (*path, "!")), kind.last)
        if text.startswith("$"):
            name = text[1:]
            if name in path:
                raise GroupError(f"variable ${name} is defined by itself", "break the circle in vars:")
            if name not in self._values:
                raise GroupError(f"variable ${name} is not defined", nearest(name, list(self._values)) or "see vars:")
            return self._intervals(self._values[name], kind, (*path, name))
        if text.startswith("["):
            if not text.endswith("]"):
                raise GroupError(f"{text!r} has no closing bracket")
            return self._group(split_group(text[1:-1]), kind, (*path, "[]"))
        if text == "any":
            return ((0, kind.last),)
        return (kind.atom(text),)

    def _group(self, items: list[str], kind: _Kind[_Set], path: tuple[str, ...]) -> tuple[Interval, ...]:
        """A group is the union of its plain members without its negated ones; of only negated ones, all others."""
        taken: list[Interval] = []
        refused: list[Interval] = []
        plain = False
        for item in items:
            if item.startswith("!"):
                refused += self._intervals(item[1:], kind, path)
            else:
                plain = True
                taken += self._intervals(item, kind, path)
        others = _complement(_merged(refused), kind.last)
        return intersection(_merged(taken), others) if plain else others


def split_group(text: str) -> list[str]:
    """Split the inside of a group at its own commas, not at those of inner groups; raises `GroupError`."""
    items, depth, start = [], 0, 0
    for i, char in enumerate(text):
        if char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
        elif char == "," and depth == 0:
            items.append(text[start:i].strip())
            start = i + 1
    items.append(text[start:].strip())
    if depth or not all(items):
        raise GroupError(f"[{text}] is no list of members", "separate members by commas and close every bracket")
    return items


def _merged(intervals: list[Interval]) -> tuple[Interval, ...]:
    result: list[Interval] = []
    for first, last in sorted(intervals):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return tuple(result)


def _complement(intervals: tuple[Interval, ...], last: int) -> tuple[Interval, ...]:
    result, following = [], 0
    for first, end in intervals:
        if first > following:
            result.append((following, first - 1))
        following = end + 1
    if following <= last:
        result.append((following, last))
    return tuple(result)


def _address_atom(text: str) -> Interval:
    if "-" in text:
        first, last = (_address_atom(end) for end in text.split("-", 1))
        if first[0] > last[1]:
            raise GroupError(f"the range {text} runs backwards", "write the lower address first")
        return first[0], last[1]
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise GroupError(
            f"{text!r} is no address", "write an address, a network as 192.0.2.0/24, a range, any or $VARIABLE"
        ) from None
    base = IPV4_MAPPED_PREFIX if network.version == 4 else 0
    return base + int(network.network_address), base + int(network.broadcast_address)


def _port_atom(text: str) -> Interval:
    first, colon, last = text.partition(":")
    try:
        low = int(first) if first else 0
        high = (int(last) if last else LAST_PORT) if colon else low
    except ValueError:
        low, high = -1, -1
    if 0 <= high < low <= LAST_PORT:
        raise GroupError(f"the range {text} runs backwards", f"write {high}:{low}")
    if not (first or last) or not 0 <= low <= high <= LAST_PORT:
        raise GroupError(f"{text!r} is no port", "write a port from 0 to 65535, a range as 1024:2048, any or $VARIABLE")
    return low, high


_NAMES = late_pattern(r"\$(\w+)")
_ADDRESSES = _Kind(LAST_ADDRESS, _address_atom, AddressSet)
_PORTS = _Kind(LAST_PORT, _port_atom, PortSet)
