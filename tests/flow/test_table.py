"""A batch of packets becomes flows and chunks."""

from __future__ import annotations

import numpy as np

from ids.types import Direction, FlowState
from tests.flow.traffic import ACK, CLIENT, ICMP, RST, SECOND, SERVER, SYN, TCP, UDP, Pkt, Run, Talk, interleave
from tests.factory import T0


def test_whole_conversation_in_one_batch() -> None:
    talk = Talk().open().client(b"hello ").client(b"world").server(b"fine").close()
    run = Run(talk.pkts, drain=False)
    (flow,) = run.started
    assert run.stream(Direction.TO_SERVER) == b"hello world"
    assert run.stream(Direction.TO_CLIENT) == b"fine"
    assert flow.state is FlowState.CLOSED
    assert flow.packets == [6, 3]
    assert [chunk.closed for chunk in run.chunks] == [True, True]
    assert [chunk.number for chunk in run.chunks] == [5, 6]


def test_one_packet_a_batch() -> None:
    talk = Talk().open().client(b"hello ").client(b"world").server(b"fine").close()
    assert Run(talk.pkts, batch=1).summary() == Run(talk.pkts).summary()
