"""Rules from text, chunks and transactions from bytes: what the tests of this package are made of."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ids.counters import Counters
from ids.rules.language.loader import load_rules
from ids.rules.language.yara_loader import load_yara
from ids.rules.match.matcher import Matcher
from ids.rules.model.ruleset import RuleSet
from ids.rules.model.yara import YaraSet
from ids.rules.settings import RulesSettings
from ids.types import Direction, Flow, FlowColumns, Match, StreamChunk, Transaction, Transactions
from tests.factory import T0, make_flow, make_streams


def load(text: str, **options: Any) -> RuleSet:
    """Load rules from the text of one file called ``r.yaml``."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "r.yaml"
        path.write_text(text)
        return load_rules([path], **options)


def load_errors(text: str, **options: Any) -> list[str]:
    """Return the errors of a file, with the directory taken off."""
    return [f"{'r.yaml'}{str(e).partition('r.yaml')[2]}" for e in load(text, **options).errors]


def rule_text(match: str, sid: int = 1, traffic: str = "tcp", more: str = "") -> str:
    """Spell a rule; ``match`` is the YAML of the list, in flow style, and ``more`` lines of further keys."""
    lines = [f"  - title: rule {sid}", f"    sid: {sid}", f"    traffic: {traffic}", f"    match: {match}"]
    return "\n".join(lines + [f"    {line}" for line in more.splitlines()]) + "\n"


def load_yara_text(text: str) -> YaraSet:
    """Load YARA rules from the text of one file; every one must load."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "r.yar"
        path.write_text(text)
        loaded = load_yara([str(path)])
        assert not loaded.errors, [str(error) for error in loaded.errors]
        return loaded


def matcher(
    *rules: str,
    yara: str = "",
    settings: RulesSettings | None = None,
    counters: Counters | None = None,
    previous: Matcher | None = None,
    repeats: bool = False,
) -> Matcher:
    """Return a matcher of rules as `rule_text` spells them, and of YARA rules; every one must load.

    ``repeats``: they match again and again, as imported rules do.
    """
    loaded = load("rules:\n" + "".join(rules)) if rules else RuleSet()
    assert not loaded.errors, [str(error) for error in loaded.errors]
    if repeats:
        loaded = replace(loaded, rules=tuple(replace(rule, repeats=True) for rule in loaded.rules))
    if yara:
        loaded = replace(loaded, yara=load_yara_text(yara))
    counters = counters if counters is not None else Counters()
    return Matcher(loaded, FlowColumns(4), counters, settings, "test", previous=previous)


def flow_of(m: Matcher, src: str = "192.0.2.1", **changes: Any) -> Flow:
    """Return a new flow in the columns that a matcher looks at."""
    return make_flow(src, columns=m.memory.flows, **changes)


def end(m: Matcher, *flows: Flow) -> None:
    """End flows, as the engine does after the batch in which they closed."""
    m.memory.flows.clear(np.array([flow.slot for flow in flows], np.int64))


def chunks(
    flow: Flow, pieces: Iterable[bytes], direction: Direction = Direction.TO_SERVER, closed: bool = True
) -> list[StreamChunk]:
    """Return the pieces as the chunks of one direction; the last one, without bytes, closes it."""
    result, offset = [], 0
    for number, piece in enumerate(pieces, 1):
        result.append(StreamChunk(flow, direction, offset, piece, T0 + number, number))
        offset += len(piece)
    if closed:
        result.append(StreamChunk(flow, direction, offset, b"", T0 + 999, len(result) + 1, closed=True))
    return result


def feed(m: Matcher, *batch: StreamChunk) -> list[Match]:
    """Match one batch of chunks."""
    return m.streams(make_streams(batch))


def stream(m: Matcher, pieces: list[bytes], flow: Flow | None = None, closed: bool = True) -> list[Match]:
    """Match one direction of a flow, each piece in a batch of its own."""
    return [found for chunk in chunks(flow or flow_of(m), pieces, closed=closed) for found in feed(m, chunk)]


def transaction(
    flow: Flow, direction: Direction = Direction.TO_SERVER, tx_id: int = 0, **buffers: bytes
) -> Transaction:
    """Return one side of an HTTP exchange; ``uri=b"/"`` is the buffer ``http.uri``."""
    named = {f"http.{name}": data for name, data in buffers.items()}
    complete = direction == Direction.TO_CLIENT
    return Transaction(flow.columns, flow.slot, "http", tx_id, direction, named, {}, T0, 7, complete)


def exchange(m: Matcher, *batch: Transaction) -> list[Match]:
    """Match one batch of transactions."""
    return m.transactions(Transactions(batch))


def sids(matches: Iterable[Match]) -> list[int]:
    """Return the sids of matches, in order."""
    return [match.signature.sid for match in matches]
