"""Nanoseconds per packet of the XDP program by ``BPF_PROG_RUN``, beside an empty program and ``xdp-filter``.

Rounds are interleaved, figures are medians, and the empty program's cost is taken off before ratios are made. The
blocklist has a million addresses of each family while this runs.
"""

from __future__ import annotations

import os
import shutil
import statistics
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from ids.kernel import FastPath, FastPathSettings, FlowAddress, FlowVerdict, NetworkSet
from ids.kernel.system import syscall
from ids.kernel.system.netlink import query_xdp
from ids.types import address_halves
from tests.bench.report import CannotRun, Row, show
from tests.bench.scratch import scratch_bpffs, scratch_namespace
from tests.kernel import packets as p

ENTRIES = 1_000_000
ROUNDS = 15
REPEAT = 100_000
FRESH_FLOWS = 2000
EMPTY = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)

BLOCKED, BLOCKED6 = "198.18.255.7", "2001:db8:b::7"
Measure = Callable[[], float]


@contextmanager
def loaded(pins: Path) -> Iterator[FastPath]:
    """Load our program with a million blocked addresses of each family."""
    settings = FastPathSettings(pin_dir=pins, blocks_entries=ENTRIES + ENTRIES // 32, syn_per_source_per_s=1e7)
    fastpath = FastPath.open(settings, "bench")
    hosts4 = np.arange(0x0B000000, 0x0B000000 + ENTRIES - 1, dtype=np.uint32)
    hosts6 = [0x20010DB8_000A0000_00000000_00000000 + i for i in range(ENTRIES - 1)]
    blocked4, blocked6 = (int.from_bytes(address_bytes(address), "big") for address in (BLOCKED, BLOCKED6))
    fastpath.blocks.replace(
        "bench", NetworkSet.of_numbers(np.append(hosts4, np.uint32(blocked4)), (), [*hosts6, blocked6])
    )
    try:
        yield fastpath
    finally:
        fastpath.close("remove")


def address_bytes(text: str) -> bytes:
    """Return an address as bytes."""
    high, low = address_halves(text)
    return (high << 64 | low).to_bytes(16, "big")[0 if ":" in text else 12 :]


@contextmanager
def xdp_filter() -> Iterator[int]:
    """Load xdp-filter with all its features on a veth of a namespace; yield the attached program's descriptor."""
    tool = shutil.which("xdp-filter")
    if tool is None:
        raise CannotRun("xdp-filter is not installed (apt-get install xdp-tools)")
    script = f"""
        mount -t bpf bpf /sys/fs/bpf && {tool} load -p allow -f all bench0 &&
        {tool} ip -m src {BLOCKED} && {tool} ip -m src {BLOCKED6} && {tool} port 9 && {tool} ether 02:00:00:00:00:99
    """
    with scratch_namespace() as namespace:
        namespace.run("ip", "link", "add", "bench0", "type", "veth", "peer", "bench1")
        done = subprocess.run(
            ["nsenter", f"--net={namespace.path}", "unshare", "-m", "sh", "-c", script],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CannotRun(f"xdp-filter could not be loaded: {done.stderr.strip()[-300:]}")
        with namespace.entered():
            program = syscall.prog_fd_by_id(query_xdp("bench0").program_id)
        try:
            yield program
        finally:
            os.close(program)


def repeated(program: int, packet: bytes, action: int) -> Measure:
    """Measure one packet over and over; refuses a program that does something else with it than meant."""
    got = syscall.prog_test_run(program, packet).action
    if got != action:
        raise CannotRun(f"the packet met action {got}, not {action}")
    return lambda: float(syscall.prog_test_run(program, packet, repeat=REPEAT).duration_ns)


def fresh_flows(program: int) -> Measure:
    """Measure packets of flows never seen before, one run each."""
    counter = iter(range(1, 1 << 31))
    template = bytearray(p.wire(IP(src="192.0.2.9", dst=p.SERVER), TCP(flags="A")))

    def measure() -> float:
        durations = []
        for _ in range(FRESH_FLOWS):
            number = next(counter)
            template[30:38] = struct.pack(">IHH", 0xCB007100 | number & 0xFF, number >> 8 & 0xFFFF, 80)
            durations.append(syscall.prog_test_run(program, bytes(template)).duration_ns)
        return statistics.median(durations)

    return measure


def known_flow(fastpath: FastPath, packet: bytes, source: str, server: str, verdict: FlowVerdict) -> bytes:
    """Make a packet's flow known and give it a verdict; return the packet."""
    syscall.prog_test_run(fastpath.program, packet)
    fastpath.set_flow(FlowAddress(address_halves(source), address_halves(server), 40000, 80, 6), verdict)
    return packet


def deep_flow(fastpath: FastPath, there: IP | IPv6, back: IP | IPv6) -> bytes:
    """Open a connection that has been shown as far as its depth; return a packet of data that lies beyond."""
    ports = {"sport": 40001, "dport": 80}
    for packet in (
        p.wire(there, p.tcp("S", seq=1000, **ports)),
        p.wire(back, p.reply("SA", dport=40001, seq=5000, ack=1001)),
        p.wire(there, p.tcp("A", seq=1001, ack=5001, **ports), bytes(100)),
    ):
        syscall.prog_test_run(fastpath.program, packet)
    ends = address_halves(str(there.src)), address_halves(str(there.dst))
    fastpath.set_flow(FlowAddress(*ends, 40001, 80, 6), FlowVerdict.INSPECT, depth_bytes=100)
    return p.wire(there, p.tcp("A", seq=1101, ack=5001, **ports), bytes(10))


def contenders(fastpath: FastPath, peer: int | None, empty: int) -> dict[str, Measure]:
    """Return what is measured, by name."""
    drop4 = p.wire(IP(src=BLOCKED, dst=p.SERVER), p.tcp("A"))
    drop6 = p.wire(IPv6(src=BLOCKED6, dst=p.SERVER6), p.tcp("A"))
    pass4, pass6 = p.wire(p.IP4, p.tcp("A")), p.wire(p.IP6, p.tcp("A"))
    for packet, source, server in ((pass4, p.CLIENT, p.SERVER), (pass6, p.CLIENT6, p.SERVER6)):
        known_flow(fastpath, packet, source, server, FlowVerdict.BYPASS)
    deep4, deep6 = deep_flow(fastpath, p.IP4, p.IP4_BACK), deep_flow(fastpath, p.IP6, p.IP6_BACK)
    ours = fastpath.program
    measures = {
        "empty program": repeated(empty, pass4, 2),
        "ours: blocked, IPv4": repeated(ours, drop4, 1),
        "ours: blocked, IPv6": repeated(ours, drop6, 1),
        "ours: known flow, IPv4": repeated(ours, pass4, 2),
        "ours: known flow, IPv6": repeated(ours, pass6, 2),
        "ours: beyond the depth, IPv4": repeated(ours, deep4, 2),
        "ours: beyond the depth, IPv6": repeated(ours, deep6, 2),
        "ours: malformed": repeated(ours, p.SYN_FIN, 1),
    }
    if peer is not None:
        measures["xdp-filter: drop, IPv4"] = repeated(peer, drop4, 1)
        measures["xdp-filter: drop, IPv6"] = repeated(peer, drop6, 1)
        measures["xdp-filter: pass, IPv4"] = repeated(peer, pass4, 2)
        measures["xdp-filter: pass, IPv6"] = repeated(peer, pass6, 2)
    measures["empty program, one run a packet"] = fresh_flows(empty)
    measures["ours: new flow, one run a packet, shown"] = fresh_flows(ours)
    return measures


RATIOS = {
    "ours: blocked, IPv4": "xdp-filter: drop, IPv4",
    "ours: blocked, IPv6": "xdp-filter: drop, IPv6",
    "ours: known flow, IPv4": "xdp-filter: pass, IPv4",
    "ours: known flow, IPv6": "xdp-filter: pass, IPv6",
    "ours: beyond the depth, IPv4": "xdp-filter: pass, IPv4",
    "ours: beyond the depth, IPv6": "xdp-filter: pass, IPv6",
}


def main() -> None:
    """Measure in interleaved rounds and print."""
    with ExitStack() as stack:
        fastpath = stack.enter_context(loaded(stack.enter_context(scratch_bpffs())))
        note = ""
        try:
            peer = stack.enter_context(xdp_filter())
        except CannotRun as reason:
            peer, note = None, str(reason)
        empty = syscall.prog_load("empty", EMPTY)
        stack.callback(os.close, empty)
        measures = contenders(fastpath, peer, empty)
        figures: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(ROUNDS):
            for name, measure in measures.items():
                figures[name].append(measure())
    medians = {name: statistics.median(values) for name, values in figures.items()}
    rows = []
    for name, values in figures.items():
        against = RATIOS.get(name, "")
        base = medians["empty program"]
        ratio = (medians[name] - base) / (medians[against] - base) if against in medians else None
        rows.append(Row(name, medians[name], "ns", min(values), max(values), ratio, against, note if against else ""))
    show("XDP program, a million blocked addresses of each family", rows, "python -m tests.bench xdp")


if __name__ == "__main__":
    try:
        main()
    except CannotRun as reason:
        sys.exit(f"not run: {reason}")
