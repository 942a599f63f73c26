"""A connection may have several paths, each a connection of its own: that is noticed, and said."""

from __future__ import annotations

import pytest

from ids.flow.notes import Note
from ids.respond.uninspected import uninspected
from ids.types import Direction
from tests.flow.traffic import ACK, SYN, Pkt, Run, Talk

CAPABLE = bytes((30, 12, 0x01, 0x01)) + bytes(8)
"""RFC 8684 section 3.1, as in a SYN/ACK."""
JOIN = bytes((30, 16, 0x10, 1)) + bytes(12)
"""Section 3.2."""
BESIDE = bytes((2, 4, 5, 0xB4, 4, 2, 8, 10)) + bytes(8) + bytes((1, 3, 3, 7))
"""What stands before it, as Linux sends it."""


def opened(option: bytes, *, answer: bytes, port: int = 40000) -> list[Pkt]:
    talk = Talk(base=Pkt(sport=port)).add(False, SYN, options=option).add(True, SYN | ACK, options=answer)
    return talk.add(False, ACK).client(b"GET /").server(b"answer").close().pkts


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("orderly_lane", [True, False])
@pytest.mark.parametrize(
    ("option", "note", "name"), [(CAPABLE, Note.MULTIPATH, "agreed"), (JOIN, Note.FURTHER_PATH, "joined")]
)
def test_what_the_server_agrees_to_is_noted_once(
    option: bytes, note: Note, name: str, batch: int, orderly_lane: bool
) -> None:
    pkts = opened(BESIDE + option, answer=BESIDE + option)
    run = Run([*pkts[:2], pkts[1], *pkts[2:]], batch=batch, orderly_lane=orderly_lane)
    assert run.notes == [(note, Direction.TO_CLIENT, 2)]
    assert run.counters[f"flow.tcp.multipath.{name}"] == 1


def test_what_the_server_does_not_agree_to_is_not() -> None:
    for answer in (b"", BESIDE, bytes((30, 2, 0, 0)), bytes((30, 40, 0, 0))):
        assert Run(opened(BESIDE + CAPABLE, answer=answer)).notes == []


def test_further_paths_are_said_to_be_inspected_by_themselves() -> None:
    run = Run(opened(CAPABLE, answer=CAPABLE) + opened(JOIN, answer=JOIN, port=40001))
    (row,) = [row for row in uninspected(run.counters.values, live=False) if row.reason == "multipath"]
    assert row.flows == 1
    assert "net.mptcp.enabled" in row.remedy
