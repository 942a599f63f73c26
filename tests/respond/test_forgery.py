"""Nobody is blocked for what somebody else has forged.

A model of the world says who truly acknowledged what: a victim, a server, a host that did attack, and a forger off all
their paths. What the forger sends comes by one interface, under any source. It sees no answer, so it has to guess: any
number but the one that was acknowledged, and in a connection of the victim's any that misses the window, for what hits
it the server takes too. Whatever it sends, the only block is the one of the host that did attack, as it was ordered.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids import hookimpl
from ids.config import Config
from ids.counters import Counters
from ids.engine import Engine
from ids.plugin.host import PluginHost
from ids.respond.gate import Held
from ids.testing import make_signature
from ids.types import LIVE, BlockMode, BlockRequest, Datagrams, Direction, Flow, Match, PacketBatch, Streams
from tests.factory import T0
from tests.flow.traffic import ACK, FIN, PSH, RST, SYN
from tests.respond.test_policy import FakeGate

VICTIM, ATTACKER, SERVER = "192.0.2.1", "192.0.2.66", "203.0.113.1"
OUTSIDE, INSIDE = 2, 3
"""Interfaces: of everybody but the server, and of the server."""
EXPLOIT = b"EXPLOIT"
SERVER_ISN, CLIENT_ISN = 0x7000_0000, 0x1000
MASK = 0xFFFFFFFF
WINDOW = 1 << 21
"""More than a connection of the default settings takes ahead."""

TCP, UDP, ICMP = 6, 17, 1


class Finder:
    """A detector that wants whoever sends an exploit blocked, if that one is proven."""

    def __init__(self, require_proven: bool = True) -> None:
        block = BlockRequest("src_ip", 3600, BlockMode.ENFORCE, require_proven)
        self.signature = make_signature(block=block)
        self.found = 0

    @hookimpl
    def ids_streams(self, streams: Streams) -> list[Match]:
        return self._matches([(s.flow, s.direction, s.ts_ns, s.number) for s in streams if EXPLOIT in s.data])

    @hookimpl
    def ids_datagrams(self, datagrams: Datagrams) -> list[Match]:
        return self._matches([(d.flow, d.direction, d.ts_ns, d.number) for d in datagrams if EXPLOIT in d.data])

    def _matches(self, found: list[tuple[Flow, Direction, int, int]]) -> list[Match]:
        self.found += len(found)
        return [Match(self.signature, *of) for of in found]


def ip(source: str, target: str, proto: int, body: bytes, ident: int = 0, fragment: int = 0) -> bytes:
    """Return a frame; ``fragment`` is IPv4's flags and offset. Sums are left out: nobody asks for them."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), ident, fragment, 64, proto, 0)
    return bytes(12) + b"\x08\x00" + head + addresses + body


def tcp(sport: int, dport: int, flags: int, seq: int, ack: int, data: bytes = b"") -> bytes:
    return struct.pack(">HHIIBBHHH", sport, dport, seq & MASK, ack & MASK, 0x50, flags, 65535, 0, 0) + data


def udp(sport: int, dport: int, data: bytes) -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data


@dataclass
class World:
    """Who sends what, in the order in which the gate sees it."""

    one_armed: bool = False
    live: bool = True
    require_proven: bool = True
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    """By interface."""

    def send(self, interface: int, *frames: bytes) -> None:
        self.frames += [(OUTSIDE if self.one_armed else interface, frame) for frame in frames]

    def talk(self, client: str, port: int, *said: bytes) -> None:
        """A true connection: both ends see each other's numbers."""
        out, back = (client, SERVER, TCP), (SERVER, client, TCP)
        seq, ack = CLIENT_ISN + 1, SERVER_ISN + 1
        self.send(OUTSIDE, ip(*out, tcp(port, 80, SYN, CLIENT_ISN, 0)))
        self.send(INSIDE, ip(*back, tcp(80, port, SYN | ACK, SERVER_ISN, seq)))
        self.send(OUTSIDE, ip(*out, tcp(port, 80, ACK, seq, ack)))
        for data in said:
            self.send(OUTSIDE, ip(*out, tcp(port, 80, PSH | ACK, seq, ack, data)))
            seq += len(data)
            self.send(INSIDE, ip(*back, tcp(80, port, ACK, ack, seq)))

    def run(self, batch: int = 1 << 20) -> tuple[FakeGate, Finder]:
        """Have the engine inspect all of it."""
        counters, gate, finder = Counters(), FakeGate(), Finder(self.require_proven)
        host = PluginHost(counters)
        host.register("finder", finder)
        config = Config.model_validate({"decode": {"checksums": "none"}})
        engine = Engine(config, gate, counters=counters, live=self.live, plugins=host)
        for at in range(0, len(self.frames), batch):
            engine.process(batch_of(self.frames[at : at + batch], at, self.live))
        engine.drain()
        assert not counters["plugins.finder.failed"]
        return gate, finder


def batch_of(frames: Sequence[tuple[int, bytes]], first: int, live: bool) -> PacketBatch:
    sizes = np.array([len(frame) for _, frame in frames], np.int64)
    number = np.arange(first + 1, first + len(frames) + 1)
    return PacketBatch(
        data=np.frombuffer(b"".join(frame for _, frame in frames), np.uint8),
        offset=np.cumsum(sizes) - sizes,
        caplen=sizes,
        wirelen=sizes,
        ts_ns=T0 + number * 1_000_000,
        number=number,
        linktype=np.ones(len(frames), np.uint16),
        interface=np.array([interface for interface, _ in frames], np.uint32),
        source=LIVE if live else "made.pcap",
    )


def blocked(gate: FakeGate) -> set[str]:
    return {str(network.network_address) for network in gate.held}


# ---- one by one -----------------------------------------------------------------------------------------------------


def test_who_completes_a_handshake_and_attacks_is_blocked() -> None:
    world = World()
    world.talk(ATTACKER, 4000, b"GET /", EXPLOIT)
    for batch in (1, 2, 100):
        assert blocked(world.run(batch)[0]) == {ATTACKER}


SYN_OF_VICTIM = (OUTSIDE, ip(VICTIM, SERVER, TCP, tcp(4000, 80, SYN, 99, 0)))
ANSWER = (INSIDE, ip(SERVER, VICTIM, TCP, tcp(80, 4000, SYN | ACK, SERVER_ISN, 100)))
FORGED_ANSWER = (OUTSIDE, ip(SERVER, VICTIM, TCP, tcp(80, 4000, SYN | ACK, 555, 100)))
BY_FORGED_ANSWER = (OUTSIDE, ip(VICTIM, SERVER, TCP, tcp(4000, 80, PSH | ACK, 100, 556, EXPLOIT)))


def said_by_server(data: bytes, seq: int) -> tuple[int, bytes]:
    return OUTSIDE, ip(SERVER, VICTIM, TCP, tcp(80, 4000, PSH | ACK, seq, 100, data))


def said_by_victim(ack: int) -> tuple[int, bytes]:
    return OUTSIDE, ip(VICTIM, SERVER, TCP, tcp(4000, 80, PSH | ACK, 100, ack, EXPLOIT))


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        ([SYN_OF_VICTIM, said_by_victim(SERVER_ISN + 1)], "the server did not answer"),
        ([SYN_OF_VICTIM, ANSWER, said_by_victim(SERVER_ISN + 2)], "one number beside the right one"),
        ([SYN_OF_VICTIM, said_by_server(b"hello", 1), said_by_victim(6)], "words of a server that never answered"),
        (
            [SYN_OF_VICTIM, ANSWER, said_by_server(b"hello", SERVER_ISN + 40_000), said_by_victim(SERVER_ISN + 999)],
            "words put into the server's mouth, and an acknowledgement somewhere in what they skip",
        ),
        ([SYN_OF_VICTIM, FORGED_ANSWER, BY_FORGED_ANSWER], "the answer is forged, too"),
        (
            [SYN_OF_VICTIM, FORGED_ANSWER, ANSWER, BY_FORGED_ANSWER],
            "the answer is forged, and comes before the real one",
        ),
        (
            [SYN_OF_VICTIM, ANSWER, FORGED_ANSWER, BY_FORGED_ANSWER],
            "the answer is forged, and comes after the real one",
        ),
    ],
)
def test_a_forged_connection_blocks_nobody(frames: list[tuple[int, bytes]], what: str) -> None:
    for batch in (1, 2, 100):
        assert blocked(World(frames=frames).run(batch)[0]) == set(), what


def test_a_forged_datagram_blocks_nobody_who_has_just_completed_a_handshake_unless_the_rule_waives_the_proof() -> None:
    for require_proven, expected in ((True, set()), (False, {VICTIM})):
        world = World(require_proven=require_proven)
        world.talk(VICTIM, 4000, b"GET /")
        world.send(OUTSIDE, ip(VICTIM, SERVER, UDP, udp(5000, 53, EXPLOIT)))
        gate, finder = world.run()
        assert (finder.found, blocked(gate)) == (1, expected)


def test_a_forged_answer_does_not_shield_who_completes_the_real_handshake() -> None:
    world = World()
    out, back = (ATTACKER, SERVER, TCP), (SERVER, ATTACKER, TCP)
    world.send(OUTSIDE, ip(*out, tcp(4000, 80, SYN, 99, 0)), ip(*back, tcp(80, 4000, SYN | ACK, 555, 100)))
    world.send(INSIDE, ip(*back, tcp(80, 4000, SYN | ACK, SERVER_ISN, 100)))
    world.send(OUTSIDE, ip(*out, tcp(4000, 80, ACK, 100, SERVER_ISN + 1)))
    world.send(OUTSIDE, ip(*out, tcp(4000, 80, PSH | ACK, 100, SERVER_ISN + 1, EXPLOIT)))
    assert blocked(world.run()[0]) == {ATTACKER}


@pytest.mark.parametrize("syns", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("batch", [1, 1 << 20])
def test_a_route_that_loops_behind_us_lets_nobody_play_both_parts(syns: int, batch: int) -> None:
    """A SYN to an address that nobody has comes back from the router inside: by itself, another way."""
    world = World()
    out, back = (VICTIM, SERVER, TCP), (SERVER, VICTIM, TCP)
    begun = [ip(*out, tcp(4000, 80, SYN, 99 + n, 0)) for n in range(syns)]
    world.send(OUTSIDE, *begun)
    world.send(INSIDE, *begun)
    seq = 99 + syns
    world.send(OUTSIDE, ip(*back, tcp(80, 4000, SYN | ACK, 555, seq)))
    world.send(OUTSIDE, ip(*out, tcp(4000, 80, ACK, seq, 556)))
    world.send(OUTSIDE, ip(*out, tcp(4000, 80, PSH | ACK, seq, 556, EXPLOIT)))
    gate, finder = world.run(batch)
    assert (finder.found, blocked(gate)) == (1, set())


def test_a_router_on_a_stick_says_so_and_a_capture_shows_no_interfaces() -> None:
    world = World(one_armed=True)
    world.talk(ATTACKER, 4000, EXPLOIT)
    gate, finder = world.run()
    assert (finder.found, blocked(gate)) == (1, set())
    world.live = False
    assert blocked(world.run()[0]) == {ATTACKER}


# ---- all of it ------------------------------------------------------------------------------------------------------

PORTS = (4000, 4001, 4002)
"""Few, so that forged packets meet each other, and connections of the victim (4001) and of the attacker (4002)."""


def missing(right: int, by: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    """Guesses that miss ``right``."""
    return by.map(lambda off: (right + off) & MASK)


NEAR = st.integers(1, 70_000) | st.integers(-70_000, -1)
FAR = st.integers(WINDOW, MASK - WINDOW)
DATA = st.sampled_from([b"", b"x", EXPLOIT, b"y" * 1000 + EXPLOIT])
FLAGS = st.sampled_from([SYN, SYN | ACK, ACK, PSH | ACK, FIN | ACK, RST, RST | ACK, 0, 0x3F])


@st.composite
def segments(draw: st.DrawFn) -> tuple[int, bytes]:
    """A segment under the victim's, the attacker's or the server's address."""
    port, back, flags = draw(st.sampled_from(PORTS)), draw(st.booleans()), draw(FLAGS)
    client = draw(st.sampled_from([VICTIM, ATTACKER]))
    guess = FAR if port != PORTS[0] else NEAR | FAR
    own, other = (SERVER_ISN, CLIENT_ISN) if back else (CLIENT_ISN, SERVER_ISN)
    known = CLIENT_ISN + draw(st.integers(0, 20)) if port == PORTS[0] else None  # the forger's own SYN
    seq = draw(missing(own + 1, guess)) if back or known is None else known
    ack = draw(missing(other + 1, guess)) if not back or known is None else known
    ends = (80, port) if back else (port, 80)
    source, target = (SERVER, client) if back else (client, SERVER)
    return OUTSIDE, ip(source, target, TCP, tcp(*ends, flags, seq, ack, draw(DATA)))


@st.composite
def forged_handshakes(draw: st.DrawFn) -> tuple[int, bytes]:
    """A piece of a handshake that is forged from both ends, and fits together; the server has other numbers."""
    isn = 0x100 + draw(st.integers(0, 1))
    back, flags = draw(
        st.sampled_from([(False, SYN), (True, SYN | ACK), (False, ACK), (False, PSH | ACK), (True, PSH | ACK)])
    )
    seq = (isn if flags & SYN else isn + 1) if back else (CLIENT_ISN if flags & SYN else CLIENT_ISN + 1)
    ack = 0 if flags == SYN else CLIENT_ISN + 1 if back else isn + 1
    source, target, ends = (SERVER, VICTIM, (80, PORTS[0])) if back else (VICTIM, SERVER, (PORTS[0], 80))
    data = draw(DATA) if flags & PSH else b""
    return OUTSIDE, ip(source, target, TCP, tcp(*ends, flags, seq, ack, data))


@st.composite
def datagrams(draw: st.DrawFn) -> tuple[int, bytes]:
    """UDP, ICMP and its errors about the connections, and fragments of anything."""
    source = draw(st.sampled_from([VICTIM, ATTACKER]))
    port, data = draw(st.sampled_from(PORTS)), draw(DATA)
    inner = ip(SERVER, source, TCP, tcp(80, port, ACK, SERVER_ISN + 1, CLIENT_ISN + 1))[14:42]
    proto, body = draw(
        st.sampled_from(
            [
                (UDP, udp(port, 53, data)),
                (UDP, udp(port, 80, data)),
                (ICMP, struct.pack(">BBHI", 8, 0, 0, port) + data),
                (ICMP, struct.pack(">BBHI", 3, 1, 0, 0) + inner + data),
                (ICMP, struct.pack(">BBHI", 5, 0, 0, 0) + inner + data),
                (TCP, tcp(port, 80, PSH | ACK, CLIENT_ISN + WINDOW, 5, data)),
                (99, data),
            ]
        )
    )
    more, offset = draw(st.sampled_from([(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]))
    return OUTSIDE, ip(source, SERVER, proto, body, draw(st.integers(0, 2)), more << 13 | offset)


TRUE = ("the victim speaks", "the server answers a forged SYN", "the victim refuses the answer")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(segments() | forged_handshakes() | datagrams() | st.sampled_from(TRUE), max_size=40),
    st.sampled_from([1, 3, 1000]),
)
def test_forged_traffic_never_causes_a_block_nor_shortens_or_removes_one(
    steps: list[str | tuple[int, bytes]], batch: int
) -> None:
    world = World()
    world.talk(ATTACKER, PORTS[2], b"GET /", EXPLOIT)
    (network,) = world.run()[0].held.values()
    world.talk(VICTIM, PORTS[1], b"GET /")
    for step in steps:
        if step == TRUE[0]:
            seq = CLIENT_ISN + 1 + len(b"GET /")
            world.send(OUTSIDE, ip(VICTIM, SERVER, TCP, tcp(PORTS[1], 80, ACK, seq, SERVER_ISN + 1)))
        elif step == TRUE[1]:
            answer = tcp(80, PORTS[0], SYN | ACK, SERVER_ISN, CLIENT_ISN + 1)
            world.send(INSIDE, ip(SERVER, VICTIM, TCP, answer))
        elif step == TRUE[2]:
            world.send(OUTSIDE, ip(VICTIM, SERVER, TCP, tcp(PORTS[0], 80, RST, CLIENT_ISN + 1, 0)))
        elif not isinstance(step, str):
            world.frames.append(step)
    gate, _ = world.run(batch)
    assert gate.held == {ipaddress.ip_network(ATTACKER): Held(network.mode, network.until_ns)}
