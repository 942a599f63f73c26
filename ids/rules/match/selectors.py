"""Which flows a rule looks at, asked of many rows at once: its traffic and its flow options as one selector.

Rules with the same traffic and options share a selector, so that each is asked once a batch, on columns, and only when
one of its rules is in question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ids.protocols import meant
from ids.rules.model.buffers import TRANSPORT_PROTOCOLS
from ids.rules.model.rule import FlowOptions, Traffic
from ids.rules.model.sets import AddressSet
from ids.types import I64, U8, Bool, Direction, Flow, FlowColumns, FlowState, ascending

_TCP = 6
_WITH_PORTS: Bool = np.isin(np.arange(256), (6, 17, 132))
"""By IP protocol number: the ports of a rule mean something. Of ICMP the columns hold type and code."""


class Ends:
    """The two ends of some flows, a row each; which lie in a set of addresses is found out once for each set."""

    def __init__(self, flows: FlowColumns, slots: I64) -> None:
        self._flows = flows
        self._slots = ascending(slots)
        self._of = np.searchsorted(self._slots, slots)
        self._lie: dict[tuple[int, bool], Bool] = {}

    def lie_in(self, addresses: AddressSet, of_client: Bool, rows: I64) -> Bool:
        """Return for each of the rows whether an end lies in the set: the client's, or else the server's."""
        of = self._of[rows]
        found: Bool = np.where(of_client, self._all(addresses, True)[of], self._all(addresses, False)[of])
        return found

    def _all(self, addresses: AddressSet, client: bool) -> Bool:
        key = id(addresses), client
        lie = self._lie.get(key)
        if lie is None:
            column = self._flows.src if client else self._flows.dst
            lie = self._lie[key] = addresses.mask(column[self._slots])
        return lie


class Selector:
    """The traffic and the flow options of one or several rules."""

    def __init__(self, traffic: Traffic, options: FlowOptions) -> None:
        self.traffic = traffic
        self.options = options
        numbers = TRANSPORT_PROTOCOLS.get(traffic.protocol)
        self._protocols: Bool = np.isin(np.arange(256), sorted(numbers)) if numbers else np.ones(256, bool)
        name = traffic.app_proto
        self._spoken = meant(name) if name is not None else ()
        """The application protocols that a flow must have one of; empty: none."""
        self._anywhere = traffic.src.everything and traffic.dst.everything
        self._any_port = traffic.sport.everything and traffic.dport.everything

    def takes_all(self, direction: Direction) -> bool:
        """Return whether it takes every TCP flow, for what one side sends."""
        wanted = self.options.direction
        if self.options.established is not None or self.traffic.app_proto is not None:
            return False
        return bool(self._protocols[_TCP]) and self._anywhere and self._any_port and wanted in (None, direction)

    def fits(self, flows: FlowColumns, slots: I64, directions: U8, ends: Ends, rows: I64) -> Bool:
        """Judge what stays the same while a flow lives: protocol, direction, addresses and ports.

        The sender is the client where the direction is to the server. ``rows`` says where in ``ends`` each slot is.
        """
        protocols = flows.proto[slots]
        mask = self._protocols[protocols]
        if self.options.direction is not None:
            mask &= directions == self.options.direction
        if (self._anywhere and self._any_port) or not np.count_nonzero(mask):
            return mask
        forward = directions == 0
        meets = self._meets(flows, slots, forward, ends, rows)
        if self.traffic.both_ways:
            meets |= self._meets(flows, slots, ~forward, ends, rows)
        return mask & meets

    def _meets(self, flows: FlowColumns, slots: I64, from_client: Bool, ends: Ends, rows: I64) -> Bool:
        """Return which flows have the rule's source and destination, as packets ``from_client``, or else back, do."""
        traffic, mask = self.traffic, np.ones(len(slots), bool)
        if not self._any_port:
            sport, dport = flows.sport[slots], flows.dport[slots]
            mask = traffic.sport.mask(np.where(from_client, sport, dport))
            mask &= traffic.dport.mask(np.where(from_client, dport, sport))
            mask |= ~_WITH_PORTS[flows.proto[slots]]
        if not traffic.src.everything:
            mask &= ends.lie_in(traffic.src, from_client, rows)
        if not traffic.dst.everything:
            mask &= ends.lie_in(traffic.dst, ~from_client, rows)
        return mask

    def open(
        self, flows: FlowColumns, slots: I64, spoken: Sequence[str] | None = None, numbers: I64 | None = None
    ) -> Bool:
        """Judge what may change while a flow lives: its state, and the protocol recognised in it.

        ``spoken`` has the protocol of the transaction at hand for each row, ``numbers`` the number of its packet; None:
        what the flow is by now, at the end of the batch, is judged: it may have spoken another protocol before.
        """
        mask = np.ones(len(slots), bool)
        if self.options.established is not None:
            known = flows.state[slots] != FlowState.NEW
            if numbers is not None:
                known = flows.established(slots, numbers)
            mask &= known == self.options.established
        names = self._spoken
        if names:
            if spoken is None:
                codes = [flows.app_code(name) for name in names]
                mask &= np.isin(flows.app_proto[slots], codes) if len(codes) > 1 else flows.app_proto[slots] == codes[0]
            else:
                mask &= np.fromiter((protocol in names for protocol in spoken), bool, len(slots))
        return mask

    def is_open(self, flow: Flow, spoken: str | None = None) -> bool:
        """Judge one flow as `open` does."""
        established = self.options.established
        if established is not None and established == (flow.state is FlowState.NEW):
            return False
        return not self._spoken or (flow.app_proto if spoken is None else spoken) in self._spoken


class Selectors:
    """The distinct selectors of a list of rules."""

    def __init__(self, wanted: Sequence[tuple[Traffic, FlowOptions]]) -> None:
        """Take traffic and options of each rule, in the order of the rules' numbers."""
        numbers: dict[tuple[Traffic, FlowOptions], int] = {}
        self._all: list[Selector] = []
        self._of_rule: I64 = np.array([numbers.setdefault(one, len(numbers)) for one in wanted], np.int64)
        shared: dict[AddressSet, AddressSet] = {}
        for traffic, options in numbers:
            src, dst = (shared.setdefault(ends, ends) for ends in (traffic.src, traffic.dst))
            self._all.append(Selector(replace(traffic, src=src, dst=dst), options))

    def __len__(self) -> int:
        return len(self._all)

    def of(self, rule: int) -> Selector:
        """Return the selector of a rule."""
        return self._all[int(self._of_rule[rule])]

    def fits(self, flows: FlowColumns, slots: I64, directions: U8, rules: I64) -> Bool:
        """Judge for each row whether the rule beside it looks at the flow and direction beside it."""
        mask = np.zeros(len(rules), bool)
        ends = Ends(flows, slots)
        for number, rows in self._grouped(rules):
            mask[rows] = self._all[number].fits(flows, slots[rows], directions[rows], ends, rows)
        return mask

    def open(
        self,
        flows: FlowColumns,
        slots: I64,
        rules: I64,
        spoken: Sequence[str] | None = None,
        numbers: I64 | None = None,
    ) -> Bool:
        """Judge for each row whether the flow is by now what the rule beside it asks for."""
        mask = np.zeros(len(rules), bool)
        for number, rows in self._grouped(rules):
            protocols = None if spoken is None else [spoken[row] for row in rows.tolist()]
            mask[rows] = self._all[number].open(
                flows, slots[rows], protocols, None if numbers is None else numbers[rows]
            )
        return mask

    def admitted(
        self, flows: FlowColumns, slots: I64, directions: U8, rules: Sequence[int], numbers: I64 | None = None
    ) -> tuple[I64, I64]:
        """Return ``(rows, rules)`` of all pairs that fit and are open: for rules that nothing else picks."""
        rows_of: dict[int, I64] = {}
        found_rows: list[I64] = []
        found_rules: list[I64] = []
        ends = Ends(flows, slots)
        for rule in rules:
            number = int(self._of_rule[rule])
            if number not in rows_of:
                selector = self._all[number]
                rows = np.flatnonzero(selector.open(flows, slots, numbers=numbers))
                rows_of[number] = rows[selector.fits(flows, slots[rows], directions[rows], ends, rows)]
            rows = rows_of[number]
            found_rows.append(rows)
            found_rules.append(np.full(len(rows), rule, np.int64))
        none = np.zeros(0, np.int64)
        return np.concatenate([none, *found_rows]), np.concatenate([none, *found_rules])

    def _grouped(self, rules: I64) -> list[tuple[int, I64]]:
        """Return the numbers of the selectors in question, each with its rows."""
        of_row = self._of_rule[rules]
        return [(number, np.flatnonzero(of_row == number)) for number in ascending(of_row).tolist()]
