"""Segments without a checksum are believed of those alone whose connections open without one, and of nobody else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from ids.counters import Counters
from ids.decode import Decoder, DecodeSettings, offload
from ids.types import Anomaly, Packets
from tests.decode.frames import T0, anomalies, batch_of, left_to_device

OUTSIDE, INSIDE, SENT = 2, 3, -2
"""Where a packet was seen: coming in on an interface, or sent by this host through the outer one."""
CLIENT, SERVER = "192.0.2.10", "203.0.113.80"
MAX = 0xFFFFFFFF
X, Y = 1000, MAX
"""Initial sequence numbers; that of the server is the last one there is."""
S, SA, A = "S", "SA", "PA"

Seen = tuple[bytes, int]


def segment(flags: str, seq: int, ack: int = 0, data: bytes = b"", *, back: bool = False, port: int = 4000) -> Packet:
    """Return a segment of the client, or ``back`` from the server."""
    src, dst, sport, dport = (SERVER, CLIENT, 80, port) if back else (CLIENT, SERVER, port, 80)
    return IP(src=src, dst=dst) / TCP(sport=sport, dport=dport, flags=flags, seq=seq & MAX, ack=ack & MAX) / data


def right(packet: Packet, where: int = OUTSIDE) -> Seen:
    return bytes(packet), where


def left_out(packet: Packet, where: int = OUTSIDE) -> Seen:
    return left_to_device(packet), where


class Engine:
    """The decoder of an engine on interfaces, and its counters."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.decoder = Decoder(DecodeSettings(), self.counters, live=True)
        self.now_ns = T0

    def see(self, *seen: Seen) -> list[bool]:
        """Return which packets of a batch are believed."""
        batch = batch_of([frame for frame, _ in seen], 101, ts_ns=[self.now_ns] * len(seen))
        where = np.array([where for _, where in seen])
        batch.interface[:] = np.abs(where)
        object.__setattr__(batch, "unsummed", where < 0)
        packets: Packets = self.decoder.decode(batch)
        refused = set(anomalies(packets)) - {Anomaly.NONE, Anomaly.FRAGMENT}
        assert refused <= {Anomaly.PARTIAL_L4_CHECKSUM}
        return [bool(usable) for usable in packets.usable]


@pytest.fixture
def engine() -> Engine:
    return Engine()


OPENING = left_out(segment(S, X))
ANSWER = right(segment(SA, Y, X + 1, back=True), INSIDE)
REQUEST = left_out(segment(A, X + 1, Y + 1, b"GET /"))


def test_an_answered_syn_shows_whose_checksums_are_left_out(engine: Engine) -> None:
    assert engine.see(OPENING) == [True]
    assert engine.see(REQUEST) == [False]
    assert engine.counters["decode.anomaly.partial_l4_checksum"] == 1
    assert engine.see(ANSWER) == [True]
    assert engine.see(REQUEST) == [True]
    assert engine.counters["decode.offload.senders"] == engine.counters["decode.offload.learned"] == 1
    assert engine.see(left_out(segment(A, 7, 7, b"another connection", port=4001))) == [True]


@pytest.mark.parametrize("order", [(OPENING, ANSWER, REQUEST), (REQUEST, ANSWER, OPENING), (ANSWER, REQUEST, OPENING)])
def test_within_a_batch_order_does_not_matter(engine: Engine, order: Sequence[Seen]) -> None:
    assert engine.see(*order) == [True] * 3


def test_an_answer_that_this_host_sends_will_do(engine: Engine) -> None:
    assert engine.see(OPENING, (ANSWER[0], SENT), REQUEST) == [True] * 3


def test_a_server_is_known_by_the_acknowledgement_of_its_answer(engine: Engine) -> None:
    reply = left_out(segment(A, Y + 1, X + 2, b"200", back=True), INSIDE)
    assert engine.see(right(segment(S, X)), left_out(segment(SA, Y, X + 1, back=True), INSIDE), reply) == [
        True,
        True,
        False,
    ]
    assert engine.see(right(segment(A, X + 1, Y + 1)), reply) == [True, True]
    assert engine.see(REQUEST) == [False], "nothing is known of the client"


def test_both_ends_may_leave_them_out_over_ipv6_too(engine: Engine) -> None:
    there, back = IPv6(src="2001:db8::1", dst="2001:db8::2"), IPv6(src="2001:db8::2", dst="2001:db8::1")
    assert engine.see(
        left_out(there / TCP(sport=1, dport=2, flags=S, seq=X)),
        left_out(back / TCP(sport=2, dport=1, flags=SA, seq=Y, ack=X + 1), INSIDE),
        left_out(there / TCP(sport=1, dport=2, flags=A, seq=X + 1, ack=0) / b"GET"),
        left_out(back / TCP(sport=2, dport=1, flags=A, seq=0, ack=X + 4) / b"200", INSIDE),
    ) == [True] * 4  # fmt: skip


@pytest.mark.parametrize("accepted", [0, 5])
def test_data_on_a_syn_is_accepted_or_not(engine: Engine, accepted: int) -> None:
    opening = left_out(segment(S, X, data=b"early"))
    assert engine.see(opening, right(segment(SA, Y, X + 1 + accepted, back=True), INSIDE), REQUEST) == [True] * 3


def test_udp_has_no_handshake_to_judge_by(engine: Engine) -> None:
    assert engine.see(left_out(IP(src=CLIENT, dst=SERVER) / UDP(sport=1, dport=2) / b"data")) == [True]


def test_a_connection_that_began_with_a_syn_cookie_is_believed(engine: Engine) -> None:
    """The gate shows its opening afterwards, and nobody knows what checksum it had."""
    opening, answer = (bytes(segment(S, X)), SENT), (ANSWER[0], SENT)
    assert engine.see(opening, answer, REQUEST) == [True] * 3


class TestWhoIsNotBelieved:
    """A client on a wire, who wants to be taken for one that leaves checksums out."""

    def test_one_who_was_not_answered(self, engine: Engine) -> None:
        assert engine.see(right(segment(S, X)), ANSWER, REQUEST) == [True, True, False]

    @pytest.mark.parametrize("batches", [1, 2, 3])
    @pytest.mark.parametrize("first", ["right", "left out"])
    def test_one_who_sends_the_same_syn_with_a_right_checksum(self, engine: Engine, first: str, batches: int) -> None:
        syns = [right(segment(S, X)), OPENING]
        packets = [*(syns if first == "right" else syns[::-1]), ANSWER]
        for size in {1: [3], 2: [2, 1], 3: [1, 1, 1]}[batches]:
            engine.see(*packets[:size])
            del packets[:size]
        assert engine.see(REQUEST) == [False]

    def test_one_whose_right_syn_is_in_fragments(self, engine: Engine) -> None:
        parts = fragment(segment(S, X, data=b"data"), 16)
        seen = engine.see(OPENING, *(right(part) for part in parts), ANSWER)
        assert len(seen) > len(parts) + 2, "the datagram is a row of its own"
        assert engine.see(REQUEST) == [False]

    def test_one_who_has_fragments_put_together(self, engine: Engine) -> None:
        parts = fragment(IP(left_to_device(segment(A, X + 1, Y + 1, b"GET /index"))), 16)
        assert not any(engine.see(*(right(part) for part in parts)))

    def test_one_who_answers_himself(self, engine: Engine) -> None:
        assert engine.see(OPENING, (ANSWER[0], OUTSIDE), REQUEST) == [True, True, False]

    @pytest.mark.parametrize("flags", ["A", "RA"])
    def test_one_who_has_data_acknowledged_that_fits_a_later_syn(self, engine: Engine, flags: str) -> None:
        engine.see(right(segment(S, X)), ANSWER, right(segment(A, X + 1, Y + 1, b"GET")))
        engine.see(*[right(segment(S, X, port=port)) for port in range(5000, 5100)])
        engine.see(left_out(segment(S, X + 3)), right(segment(flags, Y + 1, X + 4, back=True), INSIDE))
        assert engine.see(REQUEST) == [False]

    def test_a_server_whose_greeting_is_acknowledged(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """However long after the opening."""
        monkeypatch.setattr(offload, "MAX_RECENT", 64)
        engine = Engine()
        engine.see(right(segment(S, X)), ANSWER, right(segment("A", X + 1, Y + 1)))
        engine.see(right(segment(A, Y + 1, X + 1, b"220", back=True), INSIDE))
        for port in range(5000, 5100):
            engine.see(right(segment(S, X, port=port)))
        engine.see(left_out(segment(SA, Y + 3, X + 1, back=True), INSIDE), right(segment("A", X + 1, Y + 4)))
        assert engine.see(left_out(segment(A, Y + 4, X + 1, b"junk", back=True), INSIDE)) == [False]


def test_who_is_silent_for_long_is_forgotten_and_who_is_not_stays(engine: Engine) -> None:
    engine.see(OPENING, ANSWER)
    for _ in range(3):
        engine.now_ns += offload.SENDER_TIMEOUT_NS
        assert engine.see(REQUEST) == [True]
    engine.now_ns += offload.SENDER_TIMEOUT_NS + 1
    assert engine.see(REQUEST) == [False]
    engine.see(OPENING, ANSWER)
    assert engine.see(REQUEST) == [True]
    assert engine.counters["decode.offload.senders"] == 1


def test_the_least_recently_used_sender_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offload, "MAX_SENDERS", 2)
    senders = offload.Senders(counters := Counters())
    one, two, three = (np.array([n], np.uint64) for n in (30, 20, 10))
    senders.add(one, 1)
    senders.add(two, 2)
    assert senders.has(one, 3).all()
    senders.add(three, 4)
    assert [bool(senders.has(sender, 5).all()) for sender in (one, two, three)] == [True, False, True]
    assert counters["decode.offload.evicted"] == 1
    assert counters["decode.offload.senders"] == 2


def test_an_opening_that_takes_anothers_place_is_counted(engine: Engine) -> None:
    engine.see(OPENING)
    engine.see(left_out(segment(S, X + offload.MAX_WAITING, port=4001)))
    assert engine.counters["decode.offload.displaced"] == 1
    assert engine.see(ANSWER, REQUEST) == [True, False]
