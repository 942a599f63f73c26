"""Ready-made values for tests: a flow, a match, a signature, with what a test does not care about filled in."""

from __future__ import annotations

from typing import Any

from ids.types import Direction, Flow, FlowState, Match, Signature, address_halves

T0 = 1_700_000_000_000_000_000
"""A fixed moment, in nanoseconds since the UNIX epoch."""


def make_flow(src: str = "192.0.2.1", dst: str = "203.0.113.1", **changes: Any) -> Flow:
    """Return an established TCP flow from ``src`` to ``dst``."""
    values: dict[str, Any] = {
        "id": 1, "ip_version": 6 if ":" in src else 4, "proto": 6,
        "src": address_halves(src), "dst": address_halves(dst),
        "sport": 40000, "dport": 80, "vlan": 0, "interface": 0, "start_ns": T0, "last_ns": T0,
        "state": FlowState.ESTABLISHED, "source": "test.pcap",
    }  # fmt: skip
    return Flow(**(values | changes))


def make_signature(**changes: Any) -> Signature:
    """Return a signature that alerts and nothing else."""
    values: dict[str, Any] = {"sid": 1000001, "title": "a test rule"}
    return Signature(**(values | changes))


def make_match(flow: Flow | None = None, signature: Signature | None = None, **changes: Any) -> Match:
    """Return a match of a rule in the client's bytes."""
    values: dict[str, Any] = {
        "signature": signature or make_signature(), "flow": flow or make_flow(), "direction": Direction.TO_SERVER,
        "ts_ns": T0, "number": 7,
    }  # fmt: skip
    return Match(**(values | changes))
