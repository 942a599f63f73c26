"""Who is not on the path proves nothing about anybody, whatever he sends; on the model, which the program is held to.

He sends any packets, in the name of client and server alike, and sees none that go to them. All of his come in the way
that the client's come. The server answers for itself, with numbers that he does not know. Or there is none, and the
router inside sends back what is for it: such packets come a second time, by another way.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.kernel.contract import Flags, LimitKind, Reason
from ids.kernel.model.program import XDP_PASS, Model
from ids.kernel.model.state import ModelConfig

CLIENT, SERVER = bytes((192, 0, 2, 7)), bytes((198, 51, 100, 1))
CLIENTS_WAY, SERVERS_WAY = bytes.fromhex("020000000002020000000001"), bytes.fromhex("020000000001020000000002")
PORTS = (40000, 80)
SECRET_ISN = 0x5EC2E7AB
SYN, RST, ACK = 0x02, 0x04, 0x10
SYNACK = SYN | ACK
START_NS, SECOND_NS = 10**15, 10**9

flags = st.sampled_from([SYN, SYN, SYNACK, SYNACK, ACK, ACK, 0x18, 0x04, 0x14, 0x11, 0x00])
numbers = st.one_of(st.sampled_from([0, 1, 2, 5000, 5001, 0xFFFFFFFF]), st.integers(0, 0xFFFFFFFF))
forged_numbers = numbers.filter(lambda number: number != SECRET_ISN + 1)
waits = st.sampled_from([0, 1, SECOND_NS, 61 * SECOND_NS])


@dataclass(frozen=True)
class Forged:
    """What the attacker sends, in one's or the other's name."""

    as_client: bool
    flags: int
    seq: int
    ack: int
    fragment: int
    after_ns: int


forged = st.builds(
    Forged, st.booleans(), flags, forged_numbers, forged_numbers, st.sampled_from([0, 0, 0, 0x2000, 4]), waits
)


def both_parts(isn: int, answer: int, begin: int, pause: int) -> list[Forged]:
    """Return a handshake of which the attacker plays both parts, or the later steps of one."""
    steps = [(True, SYN, isn, 0), (False, SYNACK, answer, isn + 1), (True, ACK, isn + 1, answer + 1)]
    return [Forged(part, kind, seq, ack, 0, pause) for part, kind, seq, ack in steps[begin:]]


plays = st.builds(both_parts, st.integers(0, 2**31), st.integers(0, 2**31 - 2), st.integers(0, 2), waits)
attacks = st.lists(st.one_of(forged.map(lambda packet: [packet]), plays), max_size=12).map(
    lambda parts: [packet for part in parts for packet in part if packet.ack != SECRET_ISN + 1]
)


def frame(way: bytes, client: bool, kind: int, seq: int, ack: int, fragment: int = 0) -> bytes:
    """Return a segment from client to server, or back."""
    ends = CLIENT + SERVER if client else SERVER + CLIENT
    ports = PORTS if client else PORTS[::-1]
    tcp = struct.pack(">HHIIBBHHH", *ports, seq, ack, 5 << 4, kind, 64240, 0, 0) + bytes(16)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, fragment, 64, 6, 0)
    return way + b"\x08\x00" + head + ends + tcp


@dataclass
class Site:
    """A gate with a server behind it."""

    model: Model = field(default_factory=lambda: Model(site_config()))
    now_ns: int = START_NS

    def send(self, packet: Forged) -> None:
        """Let a packet of the attacker come, and the server answer where it is a SYN that passed."""
        self.now_ns += packet.after_ns
        sent = frame(CLIENTS_WAY, packet.as_client, packet.flags, packet.seq, packet.ack, packet.fragment)
        verdict = self.model.run(sent, self.now_ns)
        if verdict.action == XDP_PASS and packet.as_client and packet.flags == SYN and not packet.fragment:
            self.answer(packet.seq)

    def answer(self, isn: int) -> None:
        """Let the server answer a SYN."""
        answer = frame(SERVERS_WAY, client=False, kind=SYNACK, seq=SECRET_ISN, ack=(isn + 1) & 0xFFFFFFFF)
        self.model.run(answer, self.now_ns)

    def count(self, reason: Reason) -> int:
        """Return how often something was noted."""
        return self.model.counts[reason][0]


def site_config() -> ModelConfig:
    """Return the settings of a gate on a wire, with budgets of SYNs that do not bite."""
    config = ModelConfig(flags=Flags.APART | Flags.CHALLENGE, proven_ns=3600 * SECOND_NS, depth_tcp=1 << 20)
    config.limits[LimitKind.SRC_SYN] = config.limits[LimitKind.DST_SYN] = (SECOND_NS, 10**6 * SECOND_NS)
    return config


@settings(max_examples=400, deadline=None)
@given(attacks)
def test_nothing_that_is_forged_proves_its_source_or_gives_a_token_back(packets: list[Forged]) -> None:
    site = Site()
    for packet in packets:
        site.send(packet)
    assert CLIENT not in site.model.proven
    assert SERVER not in site.model.proven
    assert site.count(Reason.NOTE_PROVEN) == site.count(Reason.NOTE_ANSWERED) == 0


@dataclass
class LoopingSite(Site):
    """A gate with a router behind it that sends back what is for an address that nobody has."""

    coming_back: list[tuple[int, bytes]] = field(default_factory=list)
    """Frames, and behind how many more packets they come."""

    def send(self, packet: Forged, behind: int = 0) -> None:
        """Let a packet of the attacker come, and come back ``behind`` so many others; less than 0: its TTL ends."""
        self.now_ns += packet.after_ns % SECOND_NS  # what loops comes back within a second
        ends = (packet.as_client, packet.flags, packet.seq, packet.ack, packet.fragment)
        self.coming_back = [(left - 1, sent) for left, sent in self.coming_back]
        verdict = self.model.run(frame(CLIENTS_WAY, *ends), self.now_ns)
        if verdict.action == XDP_PASS and packet.as_client and behind >= 0:
            self.coming_back.append((behind, frame(SERVERS_WAY, *ends)))
        self.come_back()

    def come_back(self, left: int = 0) -> None:
        """Let those come back whose turn it is."""
        for _, sent in (due for due in self.coming_back if due[0] <= left):
            self.model.run(sent, self.now_ns)
        self.coming_back = [later for later in self.coming_back if later[0] > left]


def played(site: LoopingSite, *packets: tuple[bool, int, int, int, int]) -> None:
    """Send packets: as the client, flags, numbers, and behind how many others it comes back."""
    for as_client, kind, seq, ack, behind in packets:
        site.send(Forged(as_client, kind, seq, ack, 0, 1), behind)


BACK_AT_ONCE, BACK_LATER, ENDS = 0, 1, -1
BOTH_PARTS = ((False, SYNACK, 500, 100, ENDS), (True, ACK, 100, 501, BACK_AT_ONCE))
"""The forger's own answer to a SYN of number 99, and what he makes of it."""


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param([(True, SYN, 99, 0, BACK_AT_ONCE)], id="comes back"),
        pytest.param([(True, SYN, 98, 0, BACK_AT_ONCE), (True, SYN, 99, 0, BACK_AT_ONCE)], id="several come back"),
        pytest.param(
            [(True, SYN, 99, 0, BACK_LATER), (True, RST, 100, 0, ENDS)], id="comes back to a connection that was reset"
        ),
        pytest.param([(True, SYN, 99, 0, BACK_LATER), (False, RST | ACK, 0, 100, ENDS)], id="to one that was refused"),
        pytest.param(
            [
                (False, SYN, 7, 0, ENDS),
                (False, RST, 8, 0, ENDS),
                (True, SYN, 99, 0, BACK_LATER),
                (True, RST, 100, 0, ENDS),
            ],
            id="to one of which the other end was the client",
        ),
        pytest.param(
            [
                (True, SYN, 1, 0, ENDS),
                (False, SYNACK, 9, 2, ENDS),
                (True, ACK, 2, 10, ENDS),
                (True, SYN, 99, 0, BACK_LATER),
                (True, RST, 2, 0, ENDS),
            ],
            id="to one that began before it",
        ),
        pytest.param(
            [
                (False, SYNACK, 9, 2, ENDS),
                (True, ACK, 2, 10, ENDS),
                (True, SYN, 99, 0, BACK_LATER),
                (False, RST, 10, 0, ENDS),
            ],
            id="to one that began with its answer",
        ),
    ],
)
def test_a_route_that_loops_behind_us_lets_nobody_play_both_parts(
    begun: list[tuple[bool, int, int, int, int]],
) -> None:
    """The forger's SYN comes back from inside, by itself; his SYN/ACK is no other's for that."""
    site = LoopingSite()
    played(site, *begun)
    site.come_back(BACK_LATER)
    played(site, *BOTH_PARTS)
    assert not site.model.proven
    assert site.count(Reason.NOTE_PROVEN) == site.count(Reason.NOTE_ANSWERED) == 0


@settings(max_examples=400, deadline=None)
@given(attacks, st.lists(st.integers(-1, 3), min_size=1, max_size=7))
def test_nothing_that_is_forged_and_comes_back_proves_anybody(packets: list[Forged], delays: list[int]) -> None:
    site = LoopingSite()
    for at, packet in enumerate(packets):
        if not packet.fragment:
            site.send(packet, delays[at % len(delays)])
    assert not site.model.proven
    assert site.count(Reason.NOTE_PROVEN) == site.count(Reason.NOTE_ANSWERED) == 0


def test_a_syn_that_is_sent_again_by_the_same_way_takes_no_proof_away() -> None:
    site = Site()
    for _ in range(3):
        site.model.run(frame(CLIENTS_WAY, True, SYN, 5, 0), site.now_ns)
    site.answer(5)
    site.model.run(frame(CLIENTS_WAY, True, ACK, 6, SECRET_ISN + 1), site.now_ns)
    assert CLIENT in site.model.proven


@settings(max_examples=200, deadline=None)
@given(attacks, numbers)
def test_a_client_that_is_there_can_prove_itself_after_all_of_it(packets: list[Forged], isn: int) -> None:
    """From ports of its own, which the attacker did not use meanwhile: at worst after they were silent for a minute."""
    site = Site()
    for packet in packets:
        site.send(packet)
    site.now_ns += 61 * SECOND_NS
    site.model.run(frame(CLIENTS_WAY, True, SYN, isn, 0), site.now_ns)
    site.answer(isn)
    site.model.run(frame(CLIENTS_WAY, True, ACK, (isn + 1) & 0xFFFFFFFF, SECRET_ISN + 1), site.now_ns)
    assert CLIENT in site.model.proven


@settings(max_examples=200, deadline=None)
@given(attacks)
def test_nothing_that_is_forged_lets_a_condemned_flow_go_on(packets: list[Forged]) -> None:
    site = Site()
    site.model.run(frame(CLIENTS_WAY, True, SYN, 1, 0), START_NS)
    (key,) = site.model.flows
    site.model.condemn(key)
    for packet in packets:
        site.now_ns += packet.after_ns % (60 * SECOND_NS)  # while it is not silent
        sent = frame(CLIENTS_WAY, packet.as_client, packet.flags, packet.seq, packet.ack)
        assert site.model.run(sent, site.now_ns).reason in (Reason.DROP_FLOW, Reason.PASS_STRAY_RESET)
