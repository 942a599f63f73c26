"""SYN budgets bound what is not answered: a completed handshake gives its token back, and nothing else does."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP

from ids.kernel.contract import Flags, LimitKind, Reason
from tests.kernel import packets as p
from tests.kernel.gate import SHOWN, Gate
from tests.kernel.packets import HANDSHAKE, HANDSHAKE6
from tests.kernel.test_floods import challenge

pytestmark = [pytest.mark.root, pytest.mark.xdp]
SECOND_NS = 10**9
GIVEN_BACK = Reason.NOTE_ANSWERED


def opening(sport: int, source: str = p.CLIENT, isn: int = 1000) -> list[bytes]:
    """Return SYN, SYN/ACK and ACK of one connection."""
    there, back = IP(src=source, dst=p.SERVER), IP(src=p.SERVER, dst=source)
    return [
        p.wire(there, p.tcp("S", sport=sport, seq=isn)),
        p.wire(back, p.reply("SA", dport=sport, seq=5000, ack=isn + 1)),
        p.wire(there, p.tcp("A", sport=sport, seq=isn + 1, ack=5001)),
    ]


@pytest.fixture(params=[LimitKind.SRC_SYN, LimitKind.DST_SYN])
def tight(request: pytest.FixtureRequest, gate: Gate) -> Gate:
    """A gate with one budget of SYNs, of two tokens that never come back by themselves, and without challenges."""
    gate.fastpath.config["flags"] = 0
    if request.param == LimitKind.SRC_SYN:
        gate.send_all(opening(999))  # what is charged before the first proof is forgiven
    else:
        gate.fastpath.config["proven_ns"] = 0  # a source that is proven is not charged to a destination
    gate.limit(request.param, per_s=0.001, burst=2)
    return gate


def tokens(gate: Gate) -> int:
    """Return how many unanswered SYNs get through; they are gone then."""
    for number in range(10):
        if gate.send(opening(60000 + number, "192.0.2.7")[0]).reason != SHOWN:
            return number
    return 10


def test_a_client_whose_connections_are_answered_has_no_limit(tight: Gate) -> None:
    for sport in range(1000, 1050):
        assert tight.send_all(opening(sport)) == [SHOWN] * 3
    assert tokens(tight) == 2, "and it has no more than the burst for all that"


@pytest.mark.parametrize("packets", [HANDSHAKE, HANDSHAKE6], ids=["IPv4", "IPv6"])
def test_the_handshake_that_gives_back_is_noted(tight: Gate, packets: list[bytes]) -> None:
    assert [GIVEN_BACK in tight.send(packet).notes for packet in packets] == [False, False, True]


def test_an_acknowledgement_gives_back_once(tight: Gate) -> None:
    syn, answer, acknowledgement = opening(1000)
    tight.send(opening(2000)[0])
    tight.send_all([syn, answer, *[acknowledgement] * 9])
    tight.send_all([answer, acknowledgement] * 5)
    assert tokens(tight) == 1


def test_of_a_syn_that_was_repeated_one_comes_back(tight: Gate) -> None:
    syn, answer, acknowledgement = opening(1000)
    tight.send_all([syn, syn, answer, acknowledgement])
    assert tokens(tight) == 1


FORGED = [
    ("an acknowledgement without an answer", lambda: opening(1000)[2:]),
    ("of another number", lambda: [opening(1000)[1], p.wire(p.IP4, p.tcp("A", sport=1000, seq=1001, ack=5002))]),
    ("a guess in the window", lambda: [opening(1000)[1], p.wire(p.IP4, p.tcp("A", sport=1000, seq=1001, ack=5000))]),
    ("data with a wrong number", lambda: [opening(1000)[1], p.wire(p.IP4, p.tcp("PA", sport=1000, ack=9), b"x")]),
    ("the server's own", lambda: [opening(1000)[1], p.wire(p.IP4_BACK, p.reply("A", dport=1000, ack=5001))]),
    ("a reset", lambda: [opening(1000)[1], p.wire(p.IP4, p.tcp("RA", sport=1000, seq=1001, ack=5001))]),
    ("the server's reset", lambda: [p.wire(p.IP4_BACK, p.reply("RA", dport=1000, ack=1001))]),
]


@pytest.mark.parametrize("packets", [row[1] for row in FORGED], ids=[row[0] for row in FORGED])
def test_nothing_else_gives_back(tight: Gate, packets: object) -> None:
    tight.send(opening(1000)[0])
    sent = packets()  # type: ignore[operator]
    assert not any(GIVEN_BACK in tight.send(packet).notes for packet in sent * 3)
    assert tokens(tight) == 1


def test_who_paid_nothing_gets_nothing_back(gate: Gate) -> None:
    """Or connections of somebody who is let in would pay for forged SYNs."""
    gate.fastpath.config["flags"] = 0
    gate.fastpath.config["proven_ns"] = 0
    gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=2)
    assert tokens(gate) == 2
    gate.allow("192.0.2.99")
    for sport in range(1000, 1010):
        notes = [gate.send(packet).notes for packet in opening(sport, "192.0.2.99")]
        assert Reason.NOTE_PROVEN in notes[2]
        assert GIVEN_BACK not in notes[2]
    assert tokens(gate) == 0


def relayed(number: int) -> list[bytes]:
    """Return what somebody sends who plays both client and server, from where the client's packets come."""
    return [bytes(p.ETHER)[:12] + packet[12:] for packet in opening(number)]


MADE_UP = [
    ("all three", relayed(1000)),
    ("all but the SYN", relayed(1000)[1:]),
    ("the answer twice", [relayed(1000)[1], *relayed(1000)[1:]]),
    ("the answer of a connection that is there", [opening(1000)[0], *relayed(1000)[1:]]),
]


@pytest.mark.parametrize("packets", [row[1] for row in MADE_UP], ids=[row[0] for row in MADE_UP])
def test_who_plays_both_parts_proves_nothing_and_gets_nothing_back(gate: Gate, packets: list[bytes]) -> None:
    """Or anybody off the path could prove whom he likes, and have a rule block him."""
    gate.limit(LimitKind.SRC_SYN, per_s=0.001, burst=100)
    assert not any(gate.send(packet).notes & {Reason.NOTE_PROVEN, GIVEN_BACK} for packet in packets * 3)


def test_the_servers_own_answer_counts_whatever_somebody_made_up_before(gate: Gate) -> None:
    syn, answer, _ = opening(1000)
    forged = relayed(1000)[1]
    gate.send_all([syn, forged[:38] + bytes(4) + forged[42:], answer])
    assert Reason.NOTE_PROVEN in gate.send(opening(1000)[2]).notes


def test_a_flood_runs_dry_while_a_heavy_client_goes_on(gate: Gate) -> None:
    gate.limit(LimitKind.SRC_SYN, per_s=1, burst=20)
    gate.limit(LimitKind.DST_SYN, per_s=1, burst=20)
    gate.send_all(opening(999))
    passed = 0
    for number in range(200):
        assert gate.send_all(opening(1000 + number)) == [SHOWN] * 3
        for flood in range(5):
            passed += gate.send(opening(5 * number + flood, "192.0.2.99")[0]).reason == SHOWN
    assert passed <= 20 + 1


def test_a_proven_source_does_not_use_the_destinations_budget_up(gate: Gate) -> None:
    """Others, who are not proven, would have to prove themselves for its sake."""
    gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=2)
    gate.send_all(opening(999))
    for sport in range(1000, 1100):
        assert gate.send(opening(sport)[0]).reason == SHOWN
    stranger = p.wire(IP(src="192.0.2.99", dst=p.SERVER), TCP(flags="S"))
    assert gate.send(stranger).reason == SHOWN


def test_what_was_charged_before_the_first_proof_is_forgiven_once(gate: Gate) -> None:
    """It may have been forged; but who is proven answers for what comes from him."""
    gate.limit(LimitKind.SRC_SYN, per_s=0.001, burst=4)
    begun = opening(1000)
    gate.send_all(begun[:2])
    while gate.send(opening(2000)[0]).reason == SHOWN:
        pass
    gate.send(begun[2])
    assert [gate.send(opening(3000 + number)[0]).reason for number in range(5)] == [SHOWN] * 4 + [
        Reason.DROP_SYN_SOURCE
    ]
    assert gate.send(opening(1001)[0]).reason == Reason.DROP_SYN_SOURCE


def test_an_answered_challenge_gives_nothing_by_itself(gate: Gate) -> None:
    """It can be guessed, or sent again; the handshake that follows does."""
    gate.limit(LimitKind.SRC_SYN, per_s=0.001, burst=3)
    syn, answer, acknowledgement = opening(40000)
    cookie = challenge(gate, syn)[TCP].ack
    reset = p.wire(p.IP4, TCP(sport=40000, dport=80, flags="R", seq=cookie))
    assert [gate.send(reset).reason for _ in range(2)] == [Reason.DROP_CHALLENGE_ANSWER] * 2
    assert gate.send_all([syn, answer]) == [SHOWN] * 2
    assert gate.send(opening(41000)[0]).reason == Reason.DROP_SYN_SOURCE
    gate.send(acknowledgement)
    assert gate.send_all([opening(number)[0] for number in range(3)]) == [SHOWN] * 3


def test_limits_that_are_off_are_not_asked(gate: Gate) -> None:
    gate.fastpath.config["flags"] = int(Flags.CHALLENGE)
    assert not any(GIVEN_BACK in gate.send(packet).notes for packet in opening(1000))
