"""Flows are spread over workers: what belongs together comes to one, by the same function in C and NumPy."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP

from ids.counters import Counters
from ids.decode import Decoder
from ids.decode.settings import DecodeSettings
from ids.errors import KernelError
from ids.flow.share import Share
from ids.kernel import Block, FastPath, contract, worker_of
from ids.kernel.contract import LimitKind, Reason
from ids.kernel.maps.configuration import ring_bytes
from ids.kernel.rings.pairs import STRIDES
from ids.kernel.rings.reader import LINKTYPE_ETHERNET
from ids.kernel.settings import FastPathSettings
from ids.kernel.system import syscall
from ids.types import PacketBatch, Packets
from tests.kernel import packets as p
from tests.kernel import traffic
from tests.kernel.conftest import settings
from tests.kernel.gate import Gate, Verdict
from tests.replay.batches import batch_of

WORKERS = 4
SEED = 0x0123456789ABCDEF
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
PORTS = st.integers(0, 65535)
TUNNELS = {3544, 4789, 6081}
"""Ports of Teredo, VXLAN and Geneve."""
kernel_side = pytest.mark.usefixtures("bpffs")


def halves(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> tuple[int, int]:
    """Return an address as `ids.types` has it."""
    number = int(address) | (0xFFFF << 32 if address.version == 4 else 0)
    return number >> 64, number & (1 << 64) - 1


def one_of(src: Any, dst: Any, sport: int, dport: int, proto: int, workers: int = WORKERS, seed: int = SEED) -> int:
    """Return the worker of one packet."""
    first, second = (np.array([halves(address)], dtype=np.uint64) for address in (src, dst))
    one, other = (np.array([port], dtype=np.uint16) for port in (sport, dport))
    return int(worker_of(first, second, one, other, np.array([proto], dtype=np.uint8), workers, seed)[0])


def of_rows(packets: Packets, seed: int) -> Any:
    """Return the worker of each row of a decoded batch."""
    return worker_of(packets.src, packets.dst, packets.sport, packets.dport, packets.proto, WORKERS, seed)


class Crew(Gate):
    """A gate whose program spreads flows over `WORKERS`, read by their numbers."""

    def __init__(self, fastpath: FastPath) -> None:
        super().__init__(fastpath)
        self.readers = [fastpath.reader(worker) for worker in range(fastpath.workers)]
        self.decoders = [Decoder(DecodeSettings(checksums="none"), Counters()) for _ in self.readers]

    def reset(self) -> None:
        super().reset()
        self.fastpath.config["workers"] = WORKERS
        self.fastpath.show_all([])
        self.seen()

    def shown(self) -> PacketBatch | None:
        batches = [reader.poll(0) for reader in self.readers]
        return next((batch for batch in batches if batch is not None), None)

    def seen(self) -> list[list[bytes]]:
        """Return the frames that each worker was shown since the last call."""
        frames: list[list[bytes]] = [[] for _ in self.readers]
        for worker, reader in enumerate(self.readers):
            while (batch := reader.poll(0)) is not None:
                ends = zip(batch.offset.tolist(), batch.caplen.tolist(), strict=True)
                frames[worker] += [batch.data[at : at + length].tobytes() for at, length in ends]
        return frames

    def whose(self, frame: bytes) -> list[int]:
        """Run the program on a frame; return the workers that are shown it."""
        self.fastpath.config["now_ns"] = self.now_ns
        syscall.prog_test_run(self.fastpath.program, frame)
        return [worker for worker, frames in enumerate(self.seen()) if frames]

    def decoded(self) -> list[Packets | None]:
        """Return what each worker makes of what it was shown since the last call."""
        batches = [reader.poll(0) for reader in self.readers]
        return [
            None if batch is None else decoder.decode(batch)
            for batch, decoder in zip(batches, self.decoders, strict=True)
        ]


@pytest.fixture(scope="module")
def _crew(bpffs: Path) -> Iterator[Crew]:
    crew = Crew(FastPath.open(settings(bpffs), "crew", workers=WORKERS))
    yield crew
    for reader in crew.readers:
        reader.close()
    crew.fastpath.close("remove")


@pytest.fixture
def crew(_crew: Crew) -> Crew:
    _crew.reset()
    return _crew


# ---- the function ----------------------------------------------------------------------------------------------------


@given(ADDRESSES, ADDRESSES, PORTS, PORTS, st.sampled_from((1, 6, 17, 50, 58)), st.integers(1, 16))
def test_both_directions_have_one_worker(src: Any, dst: Any, sport: int, dport: int, proto: int, workers: int) -> None:
    there = one_of(src, dst, sport, dport, proto, workers)
    assert there == one_of(dst, src, dport, sport, proto, workers)
    assert 0 <= there < workers


@given(ADDRESSES, ADDRESSES, PORTS, PORTS, st.sampled_from((0, 1, 2, 47, 50, 58, 132)))
def test_what_has_no_ports_stays_together(src: Any, dst: Any, sport: int, dport: int, proto: int) -> None:
    assert one_of(src, dst, sport, dport, proto) == one_of(src, dst, 0, 0, 1)


@pytest.mark.parametrize("seed", [0, 1, SEED])
@pytest.mark.parametrize("changes", ["the client's port", "the client's address", "an IPv6 address's low half"])
def test_workers_have_equal_shares(changes: str, seed: int) -> None:
    count = 20_000
    src, dst = np.zeros((count, 2), dtype=np.uint64), np.zeros((count, 2), dtype=np.uint64)
    sport, proto = np.full(count, 40000, dtype=np.uint16), np.full(count, 6, dtype=np.uint8)
    numbers = np.arange(count, dtype=np.uint64)
    src[:, 1] = dst[:, 1] = 0xFFFF_C000_0201
    if changes == "the client's port":
        sport = numbers.astype(np.uint16)
    elif changes == "the client's address":
        src[:, 1] += numbers
    else:
        src[:, 0], src[:, 1] = 0x20010DB8 << 32, numbers << np.uint64(40)
    dport = np.full(count, 80, dtype=np.uint16)
    for workers in (2, 3, 5, 16):
        shares = np.bincount(worker_of(src, dst, sport, dport, proto, workers, seed), minlength=workers)
        assert abs(shares / count * workers - 1).max() < 0.12, "four standard deviations of a fair draw, at 16 workers"


def test_another_seed_is_another_order() -> None:
    """Who knows what one engine does cannot aim at a worker of another, or of this one after its pins have gone."""
    hosts = [ipaddress.ip_address(f"192.0.2.{number}") for number in range(256)]
    server = ipaddress.ip_address("198.51.100.1")
    first, second = ([one_of(host, server, 1, 2, 6, 16, seed) for host in hosts] for seed in (SEED, SEED + 1))
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 48, "16 would be chance"


# ---- the program -----------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.xdp
@kernel_side
class TestProgram:
    """What the program does, by its rings."""

    def test_program_and_columns_are_one_function(self, crew: Crew) -> None:
        @hypothesis(max_examples=300, deadline=None)
        @given(
            st.one_of(st.tuples(*[st.ip_addresses(v=4)] * 2), st.tuples(*[st.ip_addresses(v=6)] * 2)),
            PORTS,
            PORTS,
            st.sampled_from((TCP, UDP, ESP)),
            st.integers(0, (1 << 64) - 1),
            st.integers(2, WORKERS),
        )
        def check(ends: Any, sport: int, dport: int, kind: Any, seed: int, workers: int) -> None:
            src, dst = ends
            if src.packed[0] in (127, 255) or src.is_multicast:
                return  # forged: dropped
            if kind is UDP and not TUNNELS.isdisjoint((sport, dport)):
                return  # by the addresses alone: see the next test
            crew.fastpath.config["worker_seed"], crew.fastpath.config["workers"] = seed, workers
            for name in ("depth_tcp", "depth_udp", "depth_other"):
                crew.fastpath.config[name] = 1 << 30
            ip = (IP if src.version == 4 else IPv6)(src=str(src), dst=str(dst))
            l4 = ESP(spi=1, data=bytes(24)) if kind is ESP else kind(sport=sport, dport=dport)
            proto = {TCP: 6, UDP: 17, ESP: 50}[kind]
            assert crew.whose(p.wire(ip, l4)) == [one_of(src, dst, sport, dport, proto, workers, seed)]

        before = int(crew.fastpath.config["worker_seed"][0])
        try:
            check()
        finally:
            crew.fastpath.config["worker_seed"] = before

    def test_user_space_finds_its_own_in_all_kinds_of_traffic(self, crew: Crew) -> None:
        """Whatever the decoder takes for a flow came to the worker that its columns give it to."""
        random = Random(7)
        crew.fastpath.config["depth_other"] = crew.fastpath.config["depth_udp"] = 1 << 30
        for _ in range(3000):
            frame = traffic.frame(random)
            if len(frame) >= 14:
                syscall.prog_test_run(crew.fastpath.program, frame)
        checked = np.zeros(WORKERS, dtype=np.int64)
        for worker, packets in enumerate(crew.decoded()):
            assert packets is not None
            arrived = packets.batch.linktype == LINKTYPE_ETHERNET  # rather than was put together here
            whole = packets.usable & arrived & ~packets.fragment
            astray = whole & (of_rows(packets, crew.fastpath.worker_seed) != worker)
            assert not astray.any()
            checked[worker] = whole.sum()
        assert checked.min() > 100

    def test_icmp_of_two_hosts_stays_together(self, crew: Crew) -> None:
        pings = [p.wire(p.IP4, ICMP(id=number), b"ping") for number in range(20)]
        answers = [p.wire(p.IP4_BACK, ICMP(type=0, id=number), b"ping") for number in range(20)]
        error = p.wire(p.IP4_BACK, ICMP(type=3, code=1), bytes(p.DNS[14:42]))
        assert len({tuple(crew.whose(frame)) for frame in (*pings, *answers, error)}) == 1

    def test_a_fragment_behind_a_header_that_the_decoder_stops_at_is_a_packet_like_others(self, crew: Crew) -> None:
        mobility = bytes([44, 0, 0, 0, 0, 0, 0, 0])
        later = bytes([17, 0, 0, 8, 0, 0, 0, 1]) + bytes(32)
        assert len(crew.whose(p.wire(IPv6(src=p.CLIENT6, dst=p.SERVER6, nh=135), mobility + later))) == 1

    def test_ports_behind_a_header_that_the_decoder_stops_at_do_not_count(self, crew: Crew) -> None:
        """RFC 6275's mobility header, as a hostile sender might put it in front of TCP."""
        mobility = bytes([6, 0, 0, 0, 0, 0, 0, 0])
        flows = [
            p.wire(IPv6(src=p.CLIENT6, dst=p.SERVER6, nh=135), mobility + bytes(p.tcp("A", sport=number)))
            for number in range(1024, 1044)
        ]
        assert len({tuple(crew.whose(frame)) for frame in flows}) == 1

    @pytest.mark.parametrize(
        "frame", [p.IP4_FIRST_FRAGMENT, p.IP4_LATER_FRAGMENT, p.IP6_FIRST_FRAGMENT, p.IP6_LATER_FRAGMENT]
    )
    def test_a_fragment_is_shown_to_all_and_its_copies_are_counted(self, crew: Crew, frame: bytes) -> None:
        before = crew.fastpath.stats()["note.shown_to_another_worker"]
        verdict = crew.send(frame)
        assert verdict.reason == Reason.PASS_SHOWN
        assert Reason.NOTE_COPIED in verdict.notes
        copies, size = crew.fastpath.stats()["note.shown_to_another_worker"]
        assert (copies - before[0], size - before[1]) == (WORKERS - 1, (WORKERS - 1) * len(frame))
        assert crew.seen() == [[frame]] * WORKERS

    @pytest.mark.parametrize(
        "frame", [p.wire(p.IP4, p.tcp("A", dport=2121)), p.wire(p.IP4_BACK, p.reply("A", sport=21))]
    )
    def test_a_connection_that_announces_others_is_shown_to_all(self, crew: Crew, frame: bytes) -> None:
        crew.fastpath.show_all([21, 2121])
        before = crew.fastpath.stats()["note.shown_to_another_worker"][0]
        assert crew.send(frame).reason == Reason.PASS_SHOWN
        assert crew.seen() == [[frame]] * WORKERS
        assert crew.fastpath.stats()["note.shown_to_another_worker"][0] - before == WORKERS - 1

    def test_ports_that_are_not_shared_are_not(self, crew: Crew) -> None:
        crew.fastpath.show_all([21])
        for dport in (0, 22, 21 << 8, 2121):
            assert len(crew.whose(p.wire(p.IP4, p.tcp("A", dport=dport)))) == 1
        assert len(crew.whose(p.wire(p.IP4, UDP(sport=40000, dport=21), b"x"))) == 1

    def test_what_a_worker_overhears_gives_way_to_its_own(self, crew: Crew) -> None:
        """Who floods a shared port fills one ring, as at any other port."""
        crew.fastpath.show_all([21])
        config = crew.fastpath.config
        config["depth_tcp"] = config["thin_after_bytes"] = 1 << 30
        frame = p.wire(p.IP4, p.tcp("A", dport=21), bytes(600))
        (owner,) = self._owner(crew, 21)
        while crew.send_unshared(frame).reason == Reason.PASS_SHOWN:
            pass
        filled = [reader.rings[1].backlog_bytes for reader in crew.readers]
        crowded = int(config["thin_large_bytes"][0])
        assert filled[owner] > crowded
        assert all(size <= crowded + 4096 for worker, size in enumerate(filled) if worker != owner)

    @staticmethod
    def _owner(crew: Crew, dport: int) -> list[int]:
        """Return whose flow `packets.tcp` makes to a port, while no port is shared."""
        shared = crew.fastpath.config["shared_port_be"].copy()
        crew.fastpath.show_all([])
        found = crew.whose(p.wire(p.IP4, p.tcp("A", dport=dport)))
        crew.fastpath.config["shared_port_be"] = shared
        return found

    def test_one_worker_alone_keeps_a_datagram_that_all_put_together(self, crew: Crew) -> None:
        whole = p.wire(p.IP4, UDP(sport=40000, dport=53), b"question")
        (owner,) = crew.whose(whole)
        datagram = p.IP4 / UDP(sport=40000, dport=53) / bytes(600)
        for part in fragment(datagram, fragsize=200):
            crew.send(p.wire(part))
        keepers = []
        for worker, packets in enumerate(crew.decoded()):
            assert packets is not None
            rows = np.flatnonzero(packets.usable & (packets.sport == 40000))
            assert len(rows) == 1, "put together by everybody"
            keepers += [worker] * int((of_rows(packets, crew.fastpath.worker_seed)[rows] == worker).sum())
        assert keepers == [owner]

    def test_a_fragment_that_one_worker_has_no_room_for_counts_as_not_shown(self, crew: Crew) -> None:
        crew.fastpath.config["depth_udp"] = crew.fastpath.config["thin_after_bytes"] = 1 << 30
        (owner,) = crew.whose(p.DNS)
        while crew.send_unshared(p.DNS).reason == Reason.PASS_SHOWN:
            pass
        assert crew.send(p.IP4_LATER_FRAGMENT).reason == Reason.PASS_THINNED, "it begins a flow, and these give way"
        assert [frames.count(p.IP4_LATER_FRAGMENT) for frames in crew.seen()] == [
            int(worker != owner) for worker in range(WORKERS)
        ]

    def test_a_flow_gives_way_in_its_own_ring_alone(self, crew: Crew) -> None:
        config = crew.fastpath.config
        config["depth_tcp"], config["thin_after_bytes"] = 1 << 20, 100
        long, other = (p.wire(p.IP4, p.tcp("A", sport=port), bytes(600)) for port in self._ports_apart(crew))
        large = crew.readers[crew.whose(long)[0]].rings[1]
        crew.send_all([long, other])
        while large.backlog_bytes <= int(config["thin_large_bytes"][0]):
            config["thin_after_bytes"] = 1 << 30
            crew.send_unshared(long)
        config["thin_after_bytes"] = 100
        noted = frozenset({Reason.NOTE_CUT_THINNED})
        assert crew.send(long) == Verdict(2, Reason.PASS_THINNED, noted)
        assert crew.send(other).reason == Reason.PASS_SHOWN

    def test_a_full_ring_cuts_its_own_flows_alone(self, crew: Crew) -> None:
        crew.fastpath.config["depth_tcp"] = crew.fastpath.config["thin_after_bytes"] = 1 << 30
        full, other = (p.wire(p.IP4, p.tcp("A", sport=port), b"x") for port in self._ports_apart(crew))
        reasons: list[Reason] = []
        while not reasons or reasons[-1] == Reason.PASS_SHOWN:
            reasons.append(crew.send_unshared(full).reason)
        assert reasons[-1] == Reason.PASS_RING_FULL
        assert crew.send(full).reason == Reason.PASS_THINNED, "what has a hole gives way"
        assert crew.send(other).reason == Reason.PASS_SHOWN

    @staticmethod
    def _ports_apart(crew: Crew) -> tuple[int, int]:
        """Return two ports whose flows have different workers."""
        whose = {port: crew.whose(p.wire(p.IP4, p.tcp("A", sport=port))) for port in range(40000, 40032)}
        return 40000, next(port for port, workers in whose.items() if workers != whose[40000])

    def test_what_this_host_answers_comes_to_the_same_worker(self, crew: Crew) -> None:
        egress = crew.fastpath.egress.load()
        ctx = bytes(192)  # struct __sk_buff: not from an interface
        try:
            for port in range(40000, 40020):
                owner = crew.whose(p.wire(p.IP4, p.tcp("S", sport=port)))
                syscall.prog_test_run(egress, p.wire(p.IP4_BACK, p.reply("SA", dport=port)), ctx=ctx)
                assert [worker for worker, frames in enumerate(crew.seen()) if frames] == owner
            syscall.prog_test_run(egress, p.IP4_LATER_FRAGMENT, ctx=ctx)
            assert crew.seen() == [[p.IP4_LATER_FRAGMENT]] * WORKERS
        finally:
            os.close(egress)

    def test_a_limit_is_noted_once_for_all(self, crew: Crew) -> None:
        crew.fastpath.limits()
        crew.limit(LimitKind.SRC_ICMP, per_s=1, burst=1)
        crew.send_all([p.PING] * 5)
        assert [limit.kind for limit in crew.fastpath.limits()] == [LimitKind.SRC_ICMP]
        assert sum(map(len, crew.seen())) == 1, "the first ping, and nothing else"

    def test_a_child_reads_the_rings_of_its_worker(self, crew: Crew) -> None:
        (owner,) = crew.whose(p.DATA)
        reader = crew.readers[owner]
        crew.send(p.DATA)
        incoming, outgoing = os.pipe()
        child = os.fork()
        if child == 0:  # no assertion in here: the test runner must not go on twice
            batch = crew.fastpath.reader(owner).poll(1)
            os.write(outgoing, b"none" if batch is None else batch.data[batch.offset[0] :][: batch.caplen[0]].tobytes())
            os._exit(0)
        os.close(outgoing)
        with os.fdopen(incoming, "rb") as pipe:
            assert pipe.read() == p.DATA
        assert os.waitpid(child, 0)[1] == 0
        assert reader.poll(0) is None, "what the child has read is read"


# ---- another number of them -----------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.xdp
class TestRestart:
    """A restart with as many workers, more, or fewer."""

    def test_as_many_take_the_rings_over_with_what_waits_in_them(self, bpffs: Path) -> None:
        first = FastPath.open(settings(bpffs), "same", workers=3)
        seed = first.worker_seed
        syscall.prog_test_run(first.program, p.SYN)
        first.close("keep")
        again = FastPath.open(settings(bpffs), "same", workers=3)
        waiting = [again.reader(worker).poll(0) for worker in range(3)]
        assert sum(batch is not None for batch in waiting) == 1
        assert (again.worker_seed, again.notes) == (seed, [])
        again.close("remove")

    @pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (4, 2), (2, 16)])
    def test_more_or_fewer_exchange_the_rings_alone(self, bpffs: Path, before: int, after: int) -> None:
        blocked = ipaddress.ip_network("192.0.2.99/32")
        first = FastPath.open(settings(bpffs), "other", workers=before)
        seed = first.worker_seed
        first.blocks.add([Block(blocked)])
        syscall.prog_test_run(first.program, p.SYN)
        first.close("keep")
        again = FastPath.open(settings(bpffs), "other", workers=after)
        try:
            assert [block.network for block in again.blocks.list()] == [blocked]
            assert len(list(again.maps["ids_flows4"])) == 1
            assert (again.workers, again.worker_seed) == (after, seed)
            assert again.notes == ["1 packets that waited for other workers go uninspected"]
            pins = {path.name for path in again.pin_dir.glob("ids_*_*") if path.name.startswith(tuple(STRIDES))}
            assert pins == {f"{name}_{worker}" for name in STRIDES for worker in range(after)}
            syscall.prog_test_run(again.program, p.DATA)
            batches = [again.reader(worker).poll(0) for worker in range(after)]
            assert sum(batch is not None for batch in batches) == 1
        finally:
            again.close("remove")

    def test_a_program_that_runs_meanwhile_goes_by_the_new_number(self, bpffs: Path) -> None:
        """As after a kill: the old program is attached until the new one takes its place."""
        killed = FastPath.open(settings(bpffs), "meanwhile", workers=4)
        again = FastPath.open(settings(bpffs), "meanwhile", workers=2)
        readers = [again.reader(worker) for worker in range(2)]
        for port in range(40000, 40040):
            syscall.prog_test_run(killed.program, p.wire(p.IP4, p.tcp("S", sport=port)))
        shown = [0 if (batch := reader.poll(0)) is None else len(batch) for reader in readers]
        assert sum(shown) == 40
        assert min(shown) > 0
        for reader in readers:
            reader.close()
        killed.close("keep")
        again.close("remove")

    @pytest.mark.parametrize("workers", [-1, 0, contract.MAX_WORKERS + 1])
    def test_a_number_that_cannot_be_touches_nothing(self, bpffs: Path, workers: int) -> None:
        with pytest.raises(KernelError, match="Use 1 to 16"):
            FastPath.open(settings(bpffs), "none", workers=workers)
        assert not (bpffs / "none").exists()

    def test_several_workers_have_no_common_reader(self, bpffs: Path) -> None:
        fastpath = FastPath.open(settings(bpffs), "several", workers=2)
        with pytest.raises(KernelError, match="2 workers"):
            _ = fastpath.rings
        fastpath.close("remove")

    def test_smaller_rings_by_the_setting_are_noted(self, bpffs: Path) -> None:
        FastPath.open(settings(bpffs), "sizes", workers=2).close("keep")
        again = FastPath.open(settings(bpffs, ring_small_bytes=1 << 14), "sizes", workers=2)
        assert len(again.notes) == 1
        assert f"keeps rings of {1 << 17} bytes" in again.notes[0]
        again.close("remove")


@pytest.mark.parametrize("workers", range(1, contract.MAX_WORKERS + 1))
def test_all_rings_together_are_no_larger_than_the_settings(workers: int) -> None:
    sizes = FastPathSettings()
    each = ring_bytes(sizes, workers)
    totals = {"ids_small": sizes.ring_small_bytes, "ids_large": sizes.ring_large_bytes}
    for name, size in each.items():
        assert totals[name] / 2 < size * workers <= totals[name]
        assert size & size - 1 == 0
        assert size % STRIDES[name] == 0
    least = ring_bytes(FastPathSettings(ring_small_bytes=4096, ring_large_bytes=4096), workers)
    assert set(least.values()) == {4096}, "a ring is a page at least"


@kernel_side
def test_both_directions_of_a_tunnel_over_udp_meet_in_one_worker(crew: Crew) -> None:
    """Whole or in fragments, whatever the ports by which routers spread it."""
    vni = b"\x08\0\0\0\0\0\x2a\0"
    there = [p.over_udp(4789, vni, p.DATA, sport=50000 + number) for number in range(8)]
    back = [
        p.wire(IP(src=p.OTHER_VTEP, dst=p.VTEP), UDP(sport=60000 + number, dport=4789), vni + p.DATA)
        for number in range(8)
    ]
    owners = {tuple(crew.whose(frame)) for frame in there + back}
    assert len(owners) == 1
    ((owner,),) = owners
    packets = crew.decoders[0].decode(batch_of(there + back))
    shares = [Share(number, WORKERS, crew.fastpath.worker_seed, True, (4789,)) for number in range(WORKERS)]
    kept = [int(np.count_nonzero(share.of_packets(packets).usable)) for share in shares]
    assert kept == [len(packets.src) if number == owner else 0 for number in range(WORKERS)]
    assert np.count_nonzero(packets.depth) == 16
