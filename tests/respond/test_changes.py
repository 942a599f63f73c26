"""What was done reaches plugins: a block whether its rule alerts or not, with what its match saw."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ids import hookimpl
from ids.testing import Session, make_match, make_signature
from ids.types import BlockMode, BlockRequest, Change, Evidence, Match, State, StreamChunk


class Blocks:
    """Asks for a block of whoever says ``attack``."""

    def __init__(self, *, silent: bool) -> None:
        request = BlockRequest("src_ip", 60, BlockMode.ENFORCE, require_proven=True)
        self._signature = make_signature(block=request, state=State(silent=silent), origin="rules/web.yaml:7")

    @hookimpl
    def ids_stream(self, chunk: StreamChunk) -> list[Match] | None:
        if b"attack" not in chunk.data:
            return None
        evidence = (Evidence("payload", 0, b"attack"),)
        return [make_match(chunk.flow, self._signature, evidence=evidence, ts_ns=chunk.ts_ns, number=chunk.number)]


class Record:
    """Keeps what was done, and how many alerts had come by then."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    @hookimpl
    def ids_changes(self, changes: Sequence[Change]) -> None:
        assert changes
        self.changes += changes


@pytest.mark.parametrize("silent", [False, True])
def test_a_block_is_a_change_with_all_that_explains_it(silent: bool) -> None:
    record = Record()
    session = Session(blocks=Blocks(silent=silent), record=record)
    session.tcp(b"attack", src="192.0.2.66")
    session.tcp(b"attack", src="192.0.2.66")
    session.tcp(b"peace", src="192.0.2.67")
    assert len(session.alerts) == (0 if silent else 2)
    (change,) = record.changes
    assert (change.kind, str(change.network), change.sid, change.label) == ("block", "192.0.2.66/32", 1000001, "rule")
    assert change.until_ns == change.ts_ns + 60 * 10**9
    assert change.flow_id > 0
    assert change.detail["signature"] == "a test rule"
    assert change.detail["rule"] == "rules/web.yaml:7"
    assert [(piece["buffer"], piece["excerpt"]) for piece in change.detail["evidence"]] == [("payload", "attack")]
