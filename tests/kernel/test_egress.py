"""What leaves a host with one interface: seen by the same flows, shown whole, and never dropped but for a verdict."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from ids.counters import Counters
from ids.decode import Decoder
from ids.decode.settings import DecodeSettings
from ids.kernel import contract
from ids.kernel.contract import COUNTER_NAMES, FlowVerdict, KernelFlowState, Reason
from ids.kernel.flows.entries import FlowAddress
from ids.kernel.system import syscall
from tests.kernel import packets as p
from tests.kernel.gate import Gate
from tests.kernel.test_rings import crowd

pytestmark = [pytest.mark.root, pytest.mark.xdp]
GO_ON, SHOT = -1 & 0xFFFFFFFF, 2
_BY_NAME = {name: number for number, name in COUNTER_NAMES.items()}
_GSO_SEGS, _GSO_SIZE, _SK_BUFF = 164, 176, 192


@dataclass
class Exit:
    """The egress program, on the maps of a `Gate`."""

    gate: Gate
    program: int

    def send(self, packet: bytes, gso_size: int = 0) -> tuple[int, Reason]:
        """Run the program on one packet; return its action and the one reason it was counted under."""
        fastpath = self.gate.fastpath
        fastpath.config["now_ns"] = self.gate.now_ns
        ctx = bytearray(_SK_BUFF)
        struct.pack_into("=I", ctx, _GSO_SIZE, gso_size)
        before = fastpath.stats()
        action = syscall.prog_test_run(self.program, packet, ctx=bytes(ctx)).action
        counted = {_BY_NAME[name]: now[0] - before[name][0] for name, now in fastpath.stats().items()}
        (reason,) = (reason for reason, times in counted.items() if times and reason < contract.REASON_NOTE)
        return action, Reason(reason)

    def shown(self) -> list[bytes]:
        """Return the frames that were shown since the last call."""
        batch = self.gate.shown()
        if batch is None:
            return []
        return [batch.data[o : o + n].tobytes() for o, n in zip(batch.offset, batch.caplen, strict=True)]


@pytest.fixture(scope="module")
def _program(_session_gate: Gate) -> int:
    return _session_gate.fastpath.egress.load()


@pytest.fixture
def exit_(gate: Gate, _program: int) -> Exit:
    return Exit(gate, _program)


SYNACK = p.wire(p.IP4_BACK, p.reply("SA", seq=1000, ack=1))
REPLY = p.wire(p.IP4_BACK, p.reply("PA", seq=1001, ack=1), b"HTTP/1.1 200 OK\r\n\r\n")


def test_tunnels_are_shown_whatever_their_depth(exit_: Exit) -> None:
    inner = p.wire(p.IP4_BACK, p.reply("A"), bytes(1000))
    for kind in ("VXLAN", "GRE", "IP in IPv4", "IP in IPv6", "Geneve"):
        assert [exit_.send(p.tunnelled(inner)[kind])[1] for _ in range(9)] == [Reason.PASS_SHOWN] * 9
    plain = p.wire(p.IP4_BACK, UDP(sport=1, dport=2), bytes(1000))
    assert [exit_.send(plain)[1] for _ in range(3)][-1] == Reason.PASS_DEPTH


def test_the_reply_to_a_syn_lets_the_client_prove_itself(exit_: Exit) -> None:
    exit_.gate.send(p.SYN)
    assert exit_.send(SYNACK) == (GO_ON, Reason.PASS_SHOWN)
    verdict = exit_.gate.send(p.wire(p.IP4, p.tcp("A", seq=1, ack=1001)))
    assert Reason.NOTE_PROVEN in verdict.notes
    flow = exit_.gate.flow()
    assert flow["state"] == KernelFlowState.ESTABLISHED
    assert sorted(flow["packets"]) == [1, 2]


def test_ipv6_likewise(exit_: Exit) -> None:
    exit_.gate.send(p.SYN6)
    exit_.send(p.wire(p.IP6_BACK, p.reply("SA", seq=2**32 - 1, ack=1)))
    verdict = exit_.gate.send(p.wire(p.IP6, p.tcp("A", seq=1, ack=0)))
    assert Reason.NOTE_PROVEN in verdict.notes


def test_a_handshake_of_our_own_proves_nobody(exit_: Exit) -> None:
    exit_.send(p.SYN)
    exit_.gate.send(SYNACK)
    exit_.send(p.wire(p.IP4, p.tcp("A", seq=1, ack=1001)))
    assert exit_.gate.flow()["state"] == KernelFlowState.ESTABLISHED
    assert not list(exit_.gate.fastpath.maps["ids_proven4"])


def test_a_reply_is_shown_as_sent_and_not_as_received(exit_: Exit) -> None:
    exit_.send(REPLY)
    batch = exit_.gate.shown()
    assert batch is not None
    assert batch.unsummed is not None
    assert batch.unsummed.tolist() == [True]
    assert batch.data[batch.offset[0] :][: batch.caplen[0]].tobytes() == REPLY
    exit_.gate.send(p.DATA)
    received = exit_.gate.shown()
    assert received is not None
    assert received.unsummed is None


def test_the_decoder_does_not_ask_for_checksums_that_are_not_there_yet(exit_: Exit) -> None:
    wrong = p.wire(IP(src=p.SERVER, dst=p.CLIENT, chksum=1), TCP(sport=80, dport=40000, chksum=1), b"x")
    exit_.send(wrong)
    batch = exit_.gate.shown()
    assert batch is not None
    assert Decoder(DecodeSettings(), Counters()).decode(batch).usable.all()


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        pytest.param(p.ARP_REQUEST, Reason.PASS_NOT_IP, id="ARP"),
        pytest.param(p.DNS, Reason.PASS_SHOWN, id="UDP"),
        pytest.param(p.PING6, Reason.PASS_SHOWN, id="ICMPv6"),
        pytest.param(p.VLAN, Reason.PASS_SHOWN, id="a VLAN tag in the frame"),
        pytest.param(p.EIGHT_TAGS, Reason.PASS_SHOWN, id="eight VLAN tags"),
        pytest.param(p.NINE_TAGS, Reason.PASS_VLAN_TAGS, id="nine VLAN tags"),
        pytest.param(p.IP6_MANY_EXTENSIONS, Reason.PASS_SHOWN, id="IPv6 extension headers"),
        pytest.param(p.IP4_LATER_FRAGMENT, Reason.PASS_SHOWN, id="a later fragment"),
        pytest.param(p.SYN_FIN, Reason.PASS_SENT_MALFORMED, id="what would be dropped on its way in"),
        pytest.param(p.IP4_TOTAL_LENGTH, Reason.PASS_SENT_MALFORMED, id="a length beyond the frame"),
        pytest.param(p.LOOPBACK_SOURCE, Reason.PASS_SENT_MALFORMED, id="a loopback source"),
    ],
)
def test_what_is_sent_passes(exit_: Exit, packet: bytes, reason: Reason) -> None:
    assert exit_.send(packet) == (GO_ON, reason)


def test_no_blocklist_holds_what_is_sent(exit_: Exit) -> None:
    exit_.gate.block(f"{p.SERVER}/32")
    exit_.gate.block("192.0.2.0/24")
    assert exit_.send(REPLY) == (GO_ON, Reason.PASS_SHOWN)


def test_a_blocked_prefix_that_we_call_is_not_let_in_by_our_call(exit_: Exit) -> None:
    exit_.gate.block("198.51.100.0/24")
    exit_.send(p.SYN)
    assert exit_.gate.send(SYNACK).reason == Reason.DROP_BLOCKED_PREFIX


ADDRESS = FlowAddress((0, 0xFFFF_C000_0207), (0, 0xFFFF_C633_6401), 40000, 80, 6)


def test_a_condemned_flow_is_not_answered_and_the_allow_list_saves_it(exit_: Exit) -> None:
    exit_.gate.send(p.SYN)
    assert exit_.gate.fastpath.set_flow(ADDRESS, FlowVerdict.DROP)
    assert exit_.send(REPLY) == (SHOT, Reason.DROP_FLOW)
    exit_.gate.allow(f"{p.CLIENT}/32")
    assert exit_.send(REPLY) == (GO_ON, Reason.PASS_SHOWN)


def test_a_bypassed_flow_is_not_shown(exit_: Exit) -> None:
    exit_.gate.send(p.SYN)
    exit_.gate.fastpath.set_flow(ADDRESS, FlowVerdict.BYPASS)
    assert exit_.send(REPLY) == (GO_ON, Reason.PASS_BYPASS)


def test_depth_counts_by_itself_for_what_is_sent(exit_: Exit) -> None:
    exit_.gate.send(p.SYN)
    exit_.gate.fastpath.set_flow(ADDRESS, FlowVerdict.INSPECT, depth_bytes=10)
    assert exit_.send(REPLY)[1] == Reason.PASS_SHOWN
    assert exit_.send(REPLY)[1] == Reason.PASS_DEPTH
    assert exit_.gate.send(p.DATA).reason == Reason.PASS_SHOWN


def test_what_is_sent_gives_way_to_beginnings_too(exit_: Exit) -> None:
    config = exit_.gate.fastpath.config
    config["depth_tcp"], config["thin_after_bytes"] = 1 << 20, 100
    long = p.wire(p.IP4_BACK, p.reply("A"), bytes(600))
    assert exit_.send(long) == (GO_ON, Reason.PASS_SHOWN)
    crowd(exit_.gate, exit_.send)
    before = exit_.gate.fastpath.stats()["note.flow_cut.thinned"][0]
    assert [exit_.send(long) for _ in range(2)] == [(GO_ON, Reason.PASS_THINNED)] * 2
    assert exit_.gate.fastpath.stats()["note.flow_cut.thinned"][0] == before + 1
    assert exit_.send(p.wire(p.IP4_BACK, p.reply("A", dport=40001), bytes(600))) == (GO_ON, Reason.PASS_SHOWN)


def test_what_is_sent_beyond_the_depth_is_noted_once(exit_: Exit) -> None:
    before = exit_.gate.fastpath.stats()["note.flow_cut.depth"][0]
    long = p.wire(p.IP4_BACK, p.reply("A"), bytes(1500))
    assert [exit_.send(long)[1] for _ in range(4)] == [Reason.PASS_SHOWN] * 2 + [Reason.PASS_DEPTH] * 2
    assert exit_.gate.fastpath.stats()["note.flow_cut.depth"][0] == before + 1


BODY = bytes(np.random.default_rng(7).integers(0, 256, 3000, dtype=np.uint8))


@pytest.mark.parametrize("gso_size", [1448, 1000, 0])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("tagged", [False, True])
def test_a_segment_for_the_device_to_cut_is_shown_whole_in_pieces(
    exit_: Exit, version: int, gso_size: int, tagged: bool
) -> None:
    network = p.IP4_BACK if version == 4 else p.IP6_BACK
    tag = [Dot1Q(vlan=7)] if tagged else []
    exit_.send(p.wire(*tag, network, p.reply("FPA", seq=2**32 - 100, ack=1), BODY), gso_size)
    pieces = [Ether(frame) for frame in exit_.shown()]
    assert len(pieces) == -(-len(BODY) // (gso_size or 1721))
    assert b"".join(bytes(piece[TCP].payload) for piece in pieces) == BODY
    sequence = 2**32 - 100
    for piece in pieces:
        assert piece[TCP].seq == sequence % 2**32
        assert str(piece[TCP].flags) == ("FPA" if piece is pieces[-1] else "A")
        length = piece[IP].len if version == 4 else piece[IPv6].plen + 40
        assert length == len(piece) - (18 if tagged else 14)
        sequence += len(piece[TCP].payload)


def test_a_datagram_larger_than_a_slot_is_shown_in_part(exit_: Exit) -> None:
    before = exit_.gate.fastpath.stats()["note.shown_in_part"][0]
    exit_.send(p.wire(p.IP4_BACK, UDP(sport=53, dport=40000), BODY))
    (frame,) = exit_.shown()
    assert len(frame) == contract.LARGE_STRIDE - contract.RECORD_HEADER - contract.RING_HEADER
    assert exit_.gate.fastpath.stats()["note.shown_in_part"][0] == before + 1


def test_an_engine_long_gone_has_no_say(exit_: Exit) -> None:
    exit_.gate.send(p.SYN)
    exit_.gate.fastpath.set_flow(ADDRESS, FlowVerdict.DROP)
    config = exit_.gate.fastpath.config
    config["flags"] = contract.Flags.GONE_PASS
    config["gone_after_ns"], config["heartbeat_ns"] = 1, 1
    assert exit_.send(REPLY) == (GO_ON, Reason.PASS_ENGINE_GONE)
