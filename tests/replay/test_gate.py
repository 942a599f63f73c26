"""The gate of a replay: orders take effect behind the packets that caused them, whatever the batches."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest
from scapy.packet import Packet

from ids.counters import Counters
from ids.decode import Decoder, DecodeSettings
from ids.errors import KernelError
from ids.kernel.contract import Reason
from ids.kernel.offline import Judge, OfflineModel, OfflineProgram
from ids.kernel.settings import FastPathSettings
from ids.replay import ReplayGate
from ids.replay.gate import SECOND_NS
from ids.respond.gate import BlockOrder
from ids.types import U8, BlockMode, PacketBatch
from tests.factory import T0, make_flow
from tests.kernel import packets as p
from tests.kernel.conftest import SMALL
from tests.replay.batches import STEP_NS, batch_of

SETTINGS = FastPathSettings.model_validate({**SMALL, "depth_tcp_bytes": 1 << 20})
Make = Callable[[], Judge]


@pytest.fixture(scope="module")
def program() -> Iterator[OfflineProgram]:
    try:
        opened = OfflineProgram(SETTINGS)
    except KernelError as error:
        pytest.skip(str(error))
    with opened:
        yield opened


@pytest.fixture(params=["model", pytest.param("kernel", marks=[pytest.mark.root, pytest.mark.xdp])])
def judge(request: pytest.FixtureRequest) -> Judge:
    """Either of the two, having seen nothing."""
    if request.param == "model":
        return OfflineModel(SETTINGS)
    program: OfflineProgram = request.getfixturevalue("program")
    program.reset()
    return program


class Watched:
    """A gate, with the reason of every packet that it has seen."""

    def __init__(self, judge: Judge | None) -> None:
        self.reasons: list[int] = []
        self.gate = ReplayGate(judge, self._note)
        self._decoder = Decoder(DecodeSettings(), Counters())

    def _note(self, batch: PacketBatch, actions: U8, reasons: U8) -> None:
        self.reasons += reasons.tolist()

    def send(self, frames: Sequence[bytes], first: int = 1) -> list[int]:
        """Let frames meet the gate as one batch; return the reasons of all so far."""
        return self.send_batch(batch_of(frames, first=first))

    def send_batch(self, batch: PacketBatch) -> list[int]:
        """As `send`."""
        self.gate.observe(batch, lambda: self._decoder.decode(batch))
        return self.reasons


def order(
    number: int, network: str = "192.0.2.7/32", *, ttl_s: int = 60, mode: BlockMode = BlockMode.ENFORCE
) -> BlockOrder:
    """Return an order that packet ``number`` caused."""
    ts_ns = T0 + number * STEP_NS
    return BlockOrder(ipaddress.ip_network(network), ttl_s, mode, 1000001, "rule", ts_ns, number)


SHOWN, BLOCKED, PREFIX = Reason.PASS_SHOWN, Reason.DROP_BLOCKED, Reason.DROP_BLOCKED_PREFIX


def test_a_block_holds_from_the_next_packet_on(judge: Judge) -> None:
    watched = Watched(judge)
    watched.gate.block(order(3))
    assert watched.send([p.DATA] * 6) == [SHOWN] * 3 + [BLOCKED] * 3
    (block,) = watched.gate.blocks
    assert (block.ordered_at, block.cut_off_from, block.packets) == (3, 4, 3)


@pytest.mark.parametrize("cut", range(1, 6))
def test_where_batches_end_makes_no_difference(judge: Judge, cut: int) -> None:
    watched = Watched(judge)
    if cut >= 3:
        watched.gate.block(order(3))
    watched.send([p.DATA] * cut)
    if cut < 3:
        watched.gate.block(order(3))
    assert watched.send([p.DATA] * (6 - cut), first=cut + 1) == [SHOWN] * 3 + [BLOCKED] * 3
    assert (watched.gate.blocks[0].cut_off_from, watched.gate.blocks[0].packets) == (4, 3)


def test_several_orders_in_one_batch(judge: Judge) -> None:
    watched = Watched(judge)
    watched.gate.block(order(4, "198.51.100.1"))
    watched.gate.block(order(2))
    answer = p.wire(p.IP4_BACK, p.reply("A"))
    assert watched.send([p.DATA, answer] * 3) == [SHOWN, SHOWN, BLOCKED, SHOWN, BLOCKED, BLOCKED]
    assert [(block.cut_off_from, block.packets) for block in watched.gate.blocks] == [(6, 1), (3, 2)]


def test_a_block_expires_by_the_packets_time(judge: Judge) -> None:
    watched = Watched(judge)
    watched.gate.block(order(1, ttl_s=2))
    start = T0 + STEP_NS
    late = batch_of([p.DATA] * 3, ts_ns=[start, start + 2 * SECOND_NS - 1, start + 2 * SECOND_NS])
    assert watched.send_batch(late) == [SHOWN, BLOCKED, SHOWN]
    assert watched.gate.blocks[0].packets == 1


def test_the_clock_never_goes_back(judge: Judge) -> None:
    watched = Watched(judge)
    watched.gate.block(order(1, ttl_s=1))
    early = batch_of([p.DATA] * 3, ts_ns=[T0 + STEP_NS, T0 + 5 * SECOND_NS, T0])
    assert watched.send_batch(early) == [SHOWN] * 3


def test_time_before_the_epoch_is_as_good_as_any(judge: Judge) -> None:
    assert Watched(judge).send_batch(batch_of([p.DATA] * 2, ts_ns=[0, -5])) == [SHOWN] * 2


def test_prefixes_and_shadow_blocks(judge: Judge) -> None:
    watched = Watched(judge)
    watched.gate.block(order(1, "2001:db8::/64"))
    watched.gate.block(order(1, mode=BlockMode.SHADOW))
    assert watched.send([p.DATA, p.DATA6, p.DATA, p.QINQ, p.DATA6]) == [SHOWN, PREFIX, SHOWN, SHOWN, PREFIX]
    assert [(block.cut_off_from, block.packets) for block in watched.gate.blocks] == [(2, 2), (3, 2)]


def test_the_allow_list_wins(judge: Judge) -> None:
    judge.allow([ipaddress.ip_network("192.0.2.0/24")])
    watched = Watched(judge)
    watched.gate.block(order(1))
    assert watched.send([p.DATA] * 3) == [SHOWN] * 3
    assert (watched.gate.blocks[0].cut_off_from, watched.gate.blocks[0].packets) == (None, 0)


def test_the_rest_of_a_condemned_flow_is_dropped(judge: Judge) -> None:
    watched = Watched(judge)
    flow = make_flow(p.CLIENT, p.SERVER)
    watched.gate.condemn(flow, 2)
    other = p.wire(p.IP4, p.tcp("A", sport=40001))
    answer = p.wire(p.IP4_BACK, p.reply("A"))
    drop = Reason.DROP_FLOW
    assert watched.send([p.SYN, p.DATA, p.DATA, other, answer]) == [SHOWN, SHOWN, drop, SHOWN, drop]
    (dropped,) = watched.gate.dropped_flows
    assert (dropped.src_ip, dropped.ordered_at, dropped.cut_off_from, dropped.packets) == (p.CLIENT, 2, 3, 2)


@pytest.mark.parametrize(
    ("ends", "proto", "kinds", "layers"),
    [
        ((p.CLIENT, p.SERVER), 1, (8, 0), (p.IP4 / ICMP(id=77), p.IP4_BACK / ICMP(type=0, id=77), p.IP4 / ICMP(id=78))),
        (
            (p.CLIENT6, p.SERVER6),
            58,
            (128, 0),
            (p.IP6 / ICMPv6EchoRequest(id=77), p.IP6_BACK / ICMPv6EchoReply(id=77), p.IP6 / ICMPv6EchoRequest(id=78)),
        ),
    ],
)
def test_the_rest_of_a_condemned_ping_is_dropped_and_no_other(
    judge: Judge, ends: tuple[str, str], proto: int, kinds: tuple[int, int], layers: tuple[Packet, Packet, Packet]
) -> None:
    watched = Watched(judge)
    assert watched.gate.condemn(make_flow(*ends, proto=proto, sport=kinds[0], dport=kinds[1], echo_id=77), 1)
    ping, pong, other = (p.wire(layer, b"data") for layer in layers)
    drop = Reason.DROP_FLOW
    assert watched.send([ping, pong, other, ping]) == [SHOWN, drop, SHOWN, drop]
    (dropped,) = watched.gate.dropped_flows
    assert (dropped.cut_off_from, dropped.packets) == (2, 2)


def test_icmp_that_shares_an_entry_is_not_condemned(judge: Judge) -> None:
    watched = Watched(judge)
    assert not watched.gate.condemn(make_flow(p.CLIENT, p.SERVER, proto=1, sport=13, dport=0), 1)
    timestamp, unreachable = (p.wire(p.IP4, ICMP(type=kind), bytes(28)) for kind in (13, 3))
    assert watched.send([timestamp, timestamp, unreachable]) == [SHOWN] * 3
    assert watched.gate.dropped_flows == []


def test_every_packet_is_counted_once_with_its_bytes_on_the_wire(judge: Judge) -> None:
    watched = Watched(judge)
    watched.gate.block(order(2))
    watched.send([p.DATA, p.ARP_REQUEST, p.DATA, p.DATA])
    verdicts = {name: (tally.packets, tally.bytes) for name, tally in watched.gate.verdicts().items()}
    size = len(p.DATA)
    assert verdicts == {
        "pass.not_ip": (1, len(p.ARP_REQUEST)),
        "pass.shown": (1, size),
        "drop.blocked": (2, 2 * size),
    }


def test_many_packets_in_one_batch(judge: Judge) -> None:
    watched = Watched(judge)
    watched.gate.block(order(1500))
    reasons = watched.send([p.DATA] * 5000)
    assert np.flatnonzero(np.array(reasons) == BLOCKED)[0] == 1500
    assert watched.gate.blocks[0].packets == 3500


def test_a_reset_judge_has_forgotten_everything(judge: Judge) -> None:
    Watched(judge).send([p.SYN] * 3)
    judge.block(ipaddress.ip_network("192.0.2.0/24"))
    judge.reset()
    assert Watched(judge).send([p.DATA]) == [SHOWN]


def test_without_a_judge_blocks_are_counted_by_address() -> None:
    watched = Watched(None)
    watched.gate.block(order(3))
    assert watched.send([p.DATA] * 6) == []
    assert (watched.gate.blocks[0].cut_off_from, watched.gate.blocks[0].packets) == (4, 3)
    assert watched.gate.verdicts() == {}
