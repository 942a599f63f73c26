"""Traffic and flow options on columns mean what they mean for one flow."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ids.rules.language.traffic import parse_flow, parse_traffic
from ids.rules.language.variables import Variables
from ids.rules.match.selectors import Selectors
from ids.rules.model.buffers import TRANSPORT_PROTOCOLS
from ids.rules.model.rule import FlowOptions, Traffic
from ids.rules.settings import DEFAULT_VARIABLES
from ids.types import Direction, Flow, FlowColumns, FlowState
from tests.factory import make_flow

VARIABLES = Variables(DEFAULT_VARIABLES)
ADDRESSES = ("192.0.2.1", "192.0.2.200", "10.1.2.3", "2001:db8::1")
PORTS = (0, 80, 8080, 40000)
GROUPS = ("any", "$HOME_NET", "$EXTERNAL_NET", "192.0.2.0/25", "![10.0.0.0/8,2001:db8::/32]", "2001:db8::/64")
PORT_GROUPS = ("any", "80", "1024:", "![80,8080]")


def traffic_of(protocol: str, a: str, b: str, arrow: str, c: str, d: str) -> Traffic:
    """Read traffic; that of ICMP has no ports."""
    b, d = ("any", "any") if protocol == "icmp" else (b, d)
    return parse_traffic(f"{protocol} {a} {b} {arrow} {c} {d}", VARIABLES)


traffic = st.builds(
    traffic_of,
    st.sampled_from(["ip", "tcp", "udp", "icmp", "http", "ssh"]), st.sampled_from(GROUPS), st.sampled_from(PORT_GROUPS),
    st.sampled_from(["->", "<>"]), st.sampled_from(GROUPS), st.sampled_from(PORT_GROUPS),
)  # fmt: skip
options = st.lists(
    st.sampled_from([[], ["established"], ["not_established"]]).flatmap(
        lambda words: st.sampled_from([words, [*words, "to_server"], [*words, "to_client"]])
    ),
    min_size=1,
    max_size=1,
).map(lambda found: parse_flow(found[0]))
flows = st.fixed_dictionaries(
    {
        "src": st.sampled_from(ADDRESSES),
        "dst": st.sampled_from(ADDRESSES),
        "sport": st.sampled_from(PORTS),
        "dport": st.sampled_from(PORTS),
        "proto": st.sampled_from([6, 17, 1, 58, 132, 47]),
        "state": st.sampled_from(list(FlowState)),
        "app_proto": st.sampled_from([None, "http", "http2", "ssh"]),
    }
)


def fits(wanted: Traffic, flow: Flow, direction: Direction) -> bool:
    """Say of one flow what `Traffic` means."""
    numbers = TRANSPORT_PROTOCOLS.get(wanted.protocol)
    if numbers and flow.proto not in numbers:
        return False
    ends = [(flow.src, flow.sport), (flow.dst, flow.dport)]
    sender, receiver = ends if direction == Direction.TO_SERVER else ends[::-1]
    ways = [(sender, receiver), (receiver, sender)] if wanted.both_ways else [(sender, receiver)]
    ports = flow.proto in (6, 17, 132)
    return any(
        a[0] in wanted.src and b[0] in wanted.dst and (not ports or (a[1] in wanted.sport and b[1] in wanted.dport))
        for a, b in ways
    )


def is_open(wanted: Traffic, asked: FlowOptions, flow: Flow, spoken: str | None) -> bool:
    """Say of one flow what flow options and application protocols mean."""
    if asked.established is not None and asked.established == (flow.state is FlowState.NEW):
        return False
    known = flow.app_proto if spoken is None else spoken
    meant = {"http": ("http", "http2"), "http1": ("http",)}.get(str(wanted.app_proto), (wanted.app_proto,))
    return wanted.app_proto is None or known in meant


@given(
    st.lists(st.tuples(traffic, options), min_size=1, max_size=4),
    st.lists(st.tuples(flows, st.sampled_from(Direction), st.sampled_from(["http", "dns"])), min_size=1, max_size=6),
)
def test_columns_agree_with_single_flows(rules: list[tuple[Traffic, FlowOptions]], rows: list[tuple]) -> None:  # type: ignore[type-arg]
    """For every rule and row: what fits, what is open, and both together."""
    columns = FlowColumns(8)
    views = [make_flow(columns=columns, **values) for values, _, _ in rows]
    selectors = Selectors(rules)
    pairs = [(rule, row) for rule in range(len(rules)) for row in range(len(rows))]
    numbers = np.array([rule for rule, _ in pairs])
    slots = np.array([views[row].slot for _, row in pairs])
    directions = np.array([rows[row][1] for _, row in pairs], np.uint8)
    spoken = [rows[row][2] for _, row in pairs]
    fit = [
        fits(rules[rule][0], views[row], rows[row][1]) and rules[rule][1].direction in (None, rows[row][1])
        for rule, row in pairs
    ]
    for with_protocol in (None, spoken):
        now = [is_open(*rules[rule], views[row], rows[row][2] if with_protocol else None) for rule, row in pairs]
        assert selectors.open(columns, slots, numbers, with_protocol).tolist() == now
        one = [selectors.of(rule).is_open(views[row], rows[row][2] if with_protocol else None) for rule, row in pairs]
        assert one == now
    assert selectors.fits(columns, slots, directions, numbers).tolist() == fit
    each = np.arange(len(rows))
    found, always = selectors.admitted(
        columns,
        np.array([view.slot for view in views]),
        np.array([row[1] for row in rows], np.uint8),
        range(len(rules)),
    )
    both = {
        pair
        for pair, a, b in zip(pairs, fit, [is_open(*rules[r], views[w], None) for r, w in pairs], strict=True)
        if a and b
    }
    assert set(zip(always.tolist(), each[found].tolist(), strict=True)) == both
