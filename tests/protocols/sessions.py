"""What tests of protocols with sessions have in common: turns of both sides, cut anywhere; rules on them; events."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from ids.protocols import Protocols, ProtocolSettings
from ids.testing import Session, to_client
from ids.types import Transaction
from plugins.rules import Rules
from tests.protocols.wire import CLIENT, SERVER, Wire
from tests.shared import event_validator

Turn = tuple[int, bytes]
"""Who says what: 0 is the client, 1 the server."""


def limited(name: str, **settings: Any) -> Wire:
    """Return a connection that is read with these settings of a protocol."""
    wire = Wire()
    wire.stage = Protocols(ProtocolSettings.model_validate({name: settings}), wire.counters, wire.flow.columns)
    return wire


def said(*turns: Turn, step: int = 0, wire: Wire | None = None) -> Wire:
    """Return a connection on which this was said, whole or ``step`` bytes at a time."""
    wire = wire or Wire()
    for side, data in turns:
        wire.send((CLIENT, SERVER)[side], data, step=step)
    return wire


def said_in_pieces(turns: tuple[Turn, ...], cuts: list[int]) -> Wire:
    """Return a connection on which this was said, each turn cut at these places, modulo its length."""
    wire = Wire()
    for side, data in turns:
        for start, end in pairwise(sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})):
            wire.send((CLIENT, SERVER)[side], data[start:end])
    return wire


def held(wire: Wire, name: str) -> int:
    """Return how many bytes the parsers of a protocol hold."""
    return wire.pool(name).held


def values(wire: Wire, name: str) -> list[bytes]:
    """Return all instances of a buffer."""
    return [value for one in wire.seen for value in one.instances(name)]


def events(wire: Wire) -> list[dict[str, Any]]:
    """Return what is logged of the transactions that are complete."""
    return [dict(one.fields) for one in complete(wire)]


def complete(wire: Wire) -> list[Transaction]:
    """Return the transactions of which an event is written."""
    return [one for one in wire.seen if one.complete]


def played(tmp_path: Path, rules: str, turns: tuple[Turn, ...], *settings: str, dport: int = 4242) -> Session:
    """Return a session with rules in Suricata's language on which this was said."""
    path = tmp_path / "r.rules"
    path.write_text(rules)
    session = Session(f"rules.paths=[{path}]", *settings, rules=Rules())
    session.tcp(*(to_client(data) if side else data for side, data in turns), dport=dport)
    session.end()
    return session


def faults(events: list[dict[str, Any]]) -> list[str]:
    """Return what the schema has against events."""
    validator = event_validator()
    known = [{key: value for key, value in one.items() if key != "ids"} for one in events]
    return [error.message for one in known for error in validator.iter_errors(one)]
