"""Rules from text, chunks and transactions from bytes: what the tests of this package are made of."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ids.counters import Counters
from ids.rules.loader import RuleSet, load_rules
from ids.rules.matcher import Matcher
from ids.rules.settings import RulesSettings
from ids.types import Direction, Flow, Match, StreamChunk, Transaction
from tests.factory import T0


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


def matcher(*rules: str, settings: RulesSettings | None = None, counters: Counters | None = None) -> Matcher:
    """Return a matcher of rules as `rule_text` spells them; every one must load."""
    loaded = load("rules:\n" + "".join(rules))
    assert not loaded.errors, [str(error) for error in loaded.errors]
    return Matcher(loaded.rules, counters if counters is not None else Counters(), settings, "test")


def chunks(
    flow: Flow, pieces: Iterable[bytes], direction: Direction = Direction.TO_SERVER, closed: bool = True
) -> list[StreamChunk]:
    """Return the pieces as the chunks of one direction; the last call, without bytes, closes it."""
    result, offset = [], 0
    for number, piece in enumerate(pieces, 1):
        result.append(StreamChunk(flow, direction, offset, piece, T0 + number, number))
        offset += len(piece)
    if closed:
        result.append(StreamChunk(flow, direction, offset, b"", T0 + 999, len(result) + 1, closed=True))
    return result


def transaction(
    flow: Flow, direction: Direction = Direction.TO_SERVER, tx_id: int = 0, **buffers: bytes
) -> Transaction:
    """Return one side of an HTTP exchange; ``uri=b"/"`` is the buffer ``http.uri``."""
    named = {f"http.{name}": data for name, data in buffers.items()}
    return Transaction(flow, "http", tx_id, direction, named, {}, T0, 7, direction == Direction.TO_CLIENT)


def sids(matches: Iterable[Match]) -> list[int]:
    """Return the sids of matches, in order."""
    return [match.signature.sid for match in matches]
