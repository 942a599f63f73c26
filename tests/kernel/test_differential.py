"""The XDP program and its Python model are one thing: on made-up and mutated packets, in made-up states, they agree.

Each sequence starts from random lists, limits and flags, and mixes packets with what user space does meanwhile. After
it, every verdict and reason, every counter and every entry of every table has to be the same on both sides. A sequence
on which they differ is cut down to the fewest steps that still do, which are then shown.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pytest

from ids.capture import open_capture
from ids.kernel import contract
from ids.kernel.contract import COUNTER_NAMES, REASON_NAMES, Flags, FlowVerdict, Reason
from ids.kernel.maps.counts import reason_counts
from ids.kernel.maps.tunnels import port_kinds
from ids.kernel.model.program import Model
from ids.kernel.model.state import BlockEntry, ModelConfig
from ids.kernel.offline import DEFINES, MIN_FRAME, Frames, OfflineProgram
from ids.kernel.program import loader
from ids.kernel.settings import FastPathSettings
from ids.kernel.system import syscall
from ids.paths import bpf_dir
from ids.types import IPNetwork
from tests.kernel import traffic
from tests.kernel.conftest import SMALL
from tests.shared import ROOT, SHARED

pytestmark = [pytest.mark.root, pytest.mark.xdp]

SEQUENCES = 360
PACKETS = 500
CONVERSATIONS = 8
WORKERS = 3
START_NS = 10**15
SECOND_NS = 10**9
NETWORKS = [
    ipaddress.ip_network(text)
    for text in (
        "192.0.2.1", "192.0.3.9", "198.51.100.4", "192.0.2.0/24", "192.0.2.0/31", "192.0.0.0/16", "0.0.0.0/0",
        "2001:db8::1", "2001:db8:1::1", "2001:db8::/64", "2001:db8::/32", "2001:db8::2/127", "::/0",
    )
]  # fmt: skip
COUNTERS = {name: number for number, name in COUNTER_NAMES.items()}
UNMET = (
    Reason.PASS_SENT_MALFORMED,
    Reason.PASS_RING_FULL,
    Reason.PASS_THINNED,
    Reason.PASS_UNFAIR,
    Reason.DROP_SYN_COOKIE,
    Reason.NOTE_FLOW_LOST,
    Reason.NOTE_BUDGET_LOST,
    Reason.NOTE_EVENT_LOST,
    Reason.NOTE_CUT_RING_FULL,
    Reason.NOTE_CUT_THINNED,
    contract.REASON_WOULD + Reason.DROP_SYN_COOKIE,
    contract.REASON_WOULD + Reason.DROP_CHALLENGE_ANSWER,
    Reason.NOTE_CUT_UNFAIR,
    contract.REASON_WOULD + Reason.DROP_SYN_DESTINATION,
)
"""What only the egress program, or a full ring or table, brings about; here both are always large enough. And what is
rare: in shadow mode, a flood at one destination that no source's budget has met before."""
FLOW_FIELDS = [name for name in contract.FLOW.names or () if name != "spare"]
STEPS_NS = (0, 0, 0, 1, 1000, 10**6, 10**8, SECOND_NS, 9 * SECOND_NS, 60 * SECOND_NS, 61 * SECOND_NS)


@dataclass(frozen=True)
class Send:
    """A frame arrives."""

    after_ns: int
    frame: bytes


@dataclass(frozen=True)
class Block:
    """User space blocks a network."""

    network: IPNetwork
    expires_ns: int
    mode: int


@dataclass(frozen=True)
class Allow:
    """User space allows a network."""

    network: IPNetwork


@dataclass(frozen=True)
class Judge:
    """User space gives a flow its verdict and depth; which flow, by its place among those there are."""

    place: int
    verdict: int
    depth: int


@dataclass(frozen=True)
class Condemn:
    """User space condemns the flow of a frame, known or not."""

    key: bytes


Step = Send | Block | Allow | Judge | Condemn


def random_config(random: Random) -> dict[str, Any]:
    """Return settings of the program under which things happen."""
    limits = [
        (interval, random.choice((0, 1, 3)) * interval)
        for interval in (random.choice((0, 0, SECOND_NS // 100, SECOND_NS)) for _ in range(8))
    ]
    return {
        "depth_tcp": random.choice((0, 100, 1500, 1 << 20)),
        "depth_udp": random.choice((100, 2000)),
        "depth_other": random.choice((100, 2000)),
        "flags": random.choice((0, Flags.CHALLENGE, Flags.CHALLENGE, Flags.CHALLENGE | Flags.GONE_PASS))
        | random.choice((0, Flags.COOKIES))
        | random.choice((0, 0, Flags.SHADOW))
        | random.choice((0, Flags.DROP_UNPARSED))
        | random.choice((0, Flags.APART))
        | random.choice((0, Flags.TUNNELS, Flags.TUNNELS)),
        "gone_after_ns": random.choice((0, 50 * SECOND_NS, 5000 * SECOND_NS)),
        "heartbeat_ns": START_NS,
        "proven_ns": random.choice((1, SECOND_NS, 3600 * SECOND_NS)),
        "reflection_bytes": random.choice((0, 142, 442, 1000)),  # among them the lengths of frames that are sent
        "secret": (random.getrandbits(64), random.getrandbits(64)),
        "limits": limits,
        "repeats": SMALL["repeats_entries"],
        "workers": random.choice((1, WORKERS)),
        "generation": random.choice((1, 0xFFFFFFFF, 1 << 32)),
    }


def random_steps(random: Random, config: dict[str, Any], captured: list[bytes]) -> list[Step]:
    """Return what happens in one sequence."""
    now_ns = START_NS
    steps: list[Step] = [_list_entry(random, now_ns) for _ in range(random.randrange(6))]
    frame = b""
    for _ in range(PACKETS):
        after_ns = random.choice(STEPS_NS) if random.random() < 0.1 else random.choice(STEPS_NS[:6])
        gone_ns = config["heartbeat_ns"] + config["gone_after_ns"]
        if random.random() < 0.02 and gone_ns > now_ns:
            after_ns = gone_ns - now_ns
        now_ns += after_ns
        choice = random.random()
        if choice < 0.02:
            steps.append(_list_entry(random, now_ns))
        elif choice < 0.06:
            steps.append(Judge(random.randrange(50), random.choice((0, 1, 3, 2)), random.choice((0, 0, 300))))
        if choice > 0.97 and frame:  # the same once more, as senders repeat what is not answered
            if random.random() < 0.6:
                after_ns, now_ns = after_ns + SECOND_NS, now_ns + SECOND_NS
        elif choice > 0.94 and frame:
            frame = traffic.answer(random, frame, config["secret"], now_ns)
        elif choice > 0.90 and frame:
            frame = traffic.reply(frame)
        elif choice > 0.87 and frame:
            if random.random() < 0.3 and (key := traffic.key_of(frame)):
                steps.append(Condemn(key))
            frame = traffic.fragmented(random, frame)
        elif choice > 0.80:
            frame = traffic.tunnelled(random, frame or traffic.frame(random))
        elif choice > 0.70:
            frame = traffic.mutated(random, random.choice(captured))
        else:
            frame = traffic.frame(random)
        if len(frame) < MIN_FRAME:  # BPF_PROG_RUN takes none of these
            frame = frame.ljust(MIN_FRAME, b"\x81")
        steps.append(Send(after_ns, frame))
    return steps


def woven(random: Random, steps: list[Step]) -> list[Step]:
    """Return the steps with conversations between them: made up packet by packet, hardly any would be whole."""
    steps = [*steps]
    for _ in range(CONVERSATIONS):
        places = sorted(random.sample(range(len(steps)), 20), reverse=True)
        frames = [frame.ljust(MIN_FRAME, b"\x81") for frame in traffic.conversation(random)]
        for frame in frames:
            steps.insert(places.pop(), Send(0, frame))
    return steps


def _list_entry(random: Random, now_ns: int) -> Step:
    network = random.choice(NETWORKS)
    if random.random() < 0.2:
        return Allow(network)
    expires_ns = now_ns + random.choice((1, SECOND_NS, 100 * SECOND_NS))
    return Block(network, random.choice((0, expires_ns)), random.choice((0, 0, 1)))


def by_model(config: dict[str, Any], steps: list[Step]) -> tuple[list[tuple[int, int]], dict[str, Any]]:
    """Return the verdicts and the state that the model comes to."""
    model = Model(ModelConfig(**config))
    model.tunnels = port_kinds(traffic.TUNNEL_PORTS)
    now_ns = START_NS
    verdicts: list[tuple[int, int]] = []
    for step in steps:
        if isinstance(step, Send):
            now_ns += step.after_ns
            verdicts.append(model.run(step.frame, now_ns))
        elif isinstance(step, Block):
            model.block(step.network, BlockEntry(step.expires_ns, step.mode))
        elif isinstance(step, Allow):
            model.allow(step.network)
        elif isinstance(step, Condemn):
            model.condemn(step.key)
        elif model.flows:
            flow = model.flows[sorted(model.flows)[step.place % len(model.flows)]]
            flow.verdict, flow.depth = step.verdict, step.depth
    return verdicts, model_state(model)


def model_state(model: Model) -> dict[str, Any]:
    """Return everything that the model remembers, as plain values."""
    state: dict[str, Any] = {
        "counts": {name: tuple(model.counts[number]) for number, name in COUNTER_NAMES.items()},
        "flows": {key: dataclasses.asdict(flow) for key, flow in model.flows.items()},
        "proven": dict(model.proven),
        "budgets": {
            (name, key): dataclasses.asdict(budget)
            for name, table in (("src", model.src_budgets), ("dst", model.dst_budgets))
            for key, budget in table.items()
        },
        "fragments": dict(model.fragments),
        "repeats": {place: seen for place, seen in model.repeats.items() if seen != (0, 0)},
        "blocks": {(32 if len(key) == 4 else 128, key): _block(entry) for key, entry in model.blocks.items()},
        "allowed": {},
    }
    for version, bits in ((4, 32), (6, 128)):
        for length, head, entry in model.prefixes[version].entries():
            state["blocks"][length, (head << bits - length).to_bytes(bits // 8, "big")] = _block(entry)
        for length, head, allowed in model.allowed[version].entries():
            key = (head << bits - length).to_bytes(bits // 8, "big")
            state["allowed"][length, key] = (allowed.packets, allowed.bytes)
    return state


def _block(entry: Any) -> tuple[int, ...]:
    """Return an entry of either side."""
    names = ("expires_ns", "mode", "packets", "bytes", "last_hit_ns")
    values = (entry[name] if isinstance(entry, np.void) else getattr(entry, name) for name in names)
    return tuple(map(int, values))


class Kernel:
    """The program, started over for each sequence."""

    def __init__(self, program: OfflineProgram, orders: int) -> None:
        self.program = program
        self.orders = orders
        """The program `xdp_set_flow`."""

    def play(self, config: dict[str, Any], steps: list[Step]) -> tuple[list[tuple[int, int]], dict[str, Any]]:
        """Return the verdicts and the state that the program comes to."""
        program = self.program
        program.reset()
        for name, value in config.items():
            program.config[name][0] = value
        program.config["allow_generation"][0] = config["generation"]
        before = reason_counts(program.maps["ids_counts"])
        answers: list[int] = []
        waiting: list[tuple[int, bytes]] = []
        now_ns = START_NS
        for step in steps:
            if isinstance(step, Send):
                now_ns += step.after_ns
                waiting.append((now_ns, step.frame))
                continue
            answers += self._send(waiting)
            waiting = []
            if isinstance(step, Block):
                program.block(step.network, expires_ns=step.expires_ns, mode=step.mode)
            elif isinstance(step, Allow):
                program.allow([step.network])
                program.config["allow_generation"][0] += 1
            elif isinstance(step, Condemn):
                self._condemn(step.key, now_ns)
            else:
                self._judge(step)
        answers += self._send(waiting)
        counts = reason_counts(program.maps["ids_counts"])
        state = self._state()
        state["counts"] = {name: (n - before[name][0], size - before[name][1]) for name, (n, size) in counts.items()}
        return [(answer & 0xFF, answer >> 8) for answer in answers], state

    def _send(self, packets: list[tuple[int, bytes]]) -> list[int]:
        times_ns = np.array([now_ns for now_ns, _ in packets], dtype=np.int64)
        return self.program.run(Frames.of([frame for _, frame in packets]), times_ns)

    def _judge(self, step: Judge) -> None:
        keys = sorted(key for name in ("ids_flows4", "ids_flows6") for key in self.program.maps[name])
        if keys:
            key = keys[step.place % len(keys)]
            table = self.program.maps["ids_flows4" if len(key) == 16 else "ids_flows6"]
            raw = table.get(key)
            assert raw is not None
            value = np.frombuffer(bytearray(raw), dtype=contract.FLOW)
            value["verdict"], value["depth"] = step.verdict, step.depth
            table.set(key, value.tobytes())

    def _condemn(self, key: bytes, now_ns: int) -> None:
        self.program.config["now_ns"][0] = now_ns
        order = np.zeros(1, dtype=contract.FLOW_ORDER)
        order["verdict"], order["version"] = FlowVerdict.DROP, 4 if len(key) == 16 else 6
        order["key"][0, : len(key)] = np.frombuffer(key, dtype=np.uint8)
        raw = self.program.maps["ids_flows4" if len(key) == 16 else "ids_flows6"].get(key)
        if raw is not None:  # an order sets the depth too
            order["depth"] = np.frombuffer(raw, dtype=contract.FLOW)["depth"]
        assert syscall.prog_test_run(self.orders, order.tobytes()).action == 1

    def _entries(self, name: str, dtype: Any) -> Iterator[tuple[bytes, Any]]:
        table = self.program.maps[name]
        keys, values = table.entries(np.dtype(f"V{table.spec.key_bytes}"), np.dtype(dtype))
        return ((key.tobytes(), value) for key, value in zip(keys, values, strict=True))

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"flows": {}, "proven": {}, "budgets": {}, "blocks": {}, "allowed": {}}
        state["fragments"] = {
            key: (int(value["seen_ns"]), int(value["fate"]), int(value["later"]))
            for key, value in self._entries("ids_fragments", contract.DATAGRAM)
        }
        for version, bits in (("4", 32), ("6", 128)):
            for key, value in self._entries("ids_flows" + version, contract.FLOW):
                state["flows"][key] = {name: value[name].tolist() for name in FLOW_FIELDS}
            for key, value in self._entries("ids_proven" + version, "<u8"):
                state["proven"][key] = int(value)
            for key, value in self._entries("ids_block" + version, contract.BLOCK):
                state["blocks"][bits, key] = _block(value)
            for key, value in self._entries("ids_prefix" + version, contract.BLOCK):
                state["blocks"][int.from_bytes(key[:4], "little"), key[4:]] = _block(value)
            for key, value in self._entries("ids_allow" + version, contract.ALLOW):
                state["allowed"][int.from_bytes(key[:4], "little"), key[4:]] = (
                    int(value["packets"]),
                    int(value["bytes"]),
                )
        for which in ("src", "dst"):
            for key, value in self._entries(f"ids_{which}_budgets", contract.BUDGET):
                state["budgets"][which, key] = {name: int(value[name]) for name in contract.BUDGET.names or ()}
        places, seen = self.program.maps["ids_repeats"].entries(np.dtype("<u4"), contract.REPEAT)
        seen, places = seen[seen["at_ms"] > 0], places[seen["at_ms"] > 0]
        pairs = zip(seen["mark"].tolist(), seen["at_ms"].tolist(), strict=True)
        state["repeats"] = dict(zip(places.tolist(), pairs, strict=True))
        return state


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with OfflineProgram(FastPathSettings.model_validate(SMALL), WORKERS) as program:
        orders = loader.load(loader.compile_program(bpf_dir() / "xdp_ids.c", DEFINES), "xdp_set_flow", program.maps)
        program.look_into(traffic.TUNNEL_PORTS)
        yield Kernel(program, orders)
        os.close(orders)


@pytest.fixture(scope="module")
def captured() -> list[bytes]:
    """Frames of our own captures, and of the peer's where they are here: its hostile and broken ones above all."""
    random = Random(1)
    paths = sorted((ROOT / "pcaps").glob("*.pcap"))
    peers = sorted(SHARED.glob("suricata-verify/tests/*/*.pcap"))
    frames: list[bytes] = []
    for path in [*paths, *random.sample(peers, min(120, len(peers)))]:
        with open_capture(path) as capture:
            batch = next(iter(capture), None)
        if batch is not None and len(batch) and batch.linktype[0] == 1:
            rows = range(min(60, len(batch)))
            frames += [batch.data[batch.offset[i] : batch.offset[i] + batch.caplen[i]].tobytes() for i in rows]
    return frames


def difference(kernel: Kernel, config: dict[str, Any], steps: list[Step], met: Counter[int] | None = None) -> str:
    """Say how model and program differ after a sequence; nothing when they agree. ``met`` counts reasons."""
    (theirs, their_state), (ours, our_state) = kernel.play(config, steps), by_model(config, steps)
    if met is not None:
        met.update({COUNTERS[name]: packets for name, (packets, _) in their_state["counts"].items()})
    for number, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        if their != tuple(our):
            return f"packet {number}: the program says {_spell(their)}, the model {_spell(our)}"
    for name, values in our_state.items():
        for key in sorted(values.keys() | their_state[name].keys(), key=str):
            their, our = their_state[name].get(key), values.get(key)
            if their != our:
                return f"{name}, {key!r}: the program has {their}, the model {our}"
    return ""


def _spell(verdict: tuple[int, int]) -> str:
    return f"{REASON_NAMES.get(verdict[1], verdict[1])} ({verdict[0]})"  # type: ignore[call-overload]


def fewest(kernel: Kernel, config: dict[str, Any], steps: list[Step]) -> list[Step]:
    """Return a sequence on which the two still differ, and no longer do without any one of its steps."""
    size = len(steps) // 2
    while size:
        at = 0
        while at < len(steps):
            shorter = steps[:at] + steps[at + size :]
            if difference(kernel, config, shorter):
                steps = shorter
            else:
                at += size
        size //= 2
    return steps


def agree(kernel: Kernel, seed: int, config: dict[str, Any], steps: list[Step], met: Counter[int]) -> None:
    """Fail with the fewest steps that show it where the two come to something else."""
    if found := difference(kernel, config, steps, met):
        steps = fewest(kernel, config, steps)
        listing = "\n".join(map(str, steps))
        pytest.fail(f"seed {seed}: {found}\n{config}\n{listing}\n{difference(kernel, config, steps)}")


def test_program_and_model_agree(kernel: Kernel, captured: list[bytes]) -> None:
    """On SEQUENCES * PACKETS = 180,000 packets; and every reason that a test run can meet was met."""
    met: Counter[int] = Counter()
    for seed in range(SEQUENCES):
        random = Random(seed)
        config = random_config(random)
        agree(kernel, seed, config, random_steps(random, config, captured), met)
    assert sum(met[reason] for reason in Reason if reason < contract.REASON_NOTE) == SEQUENCES * PACKETS
    assert [name for number, name in COUNTER_NAMES.items() if not met[number] and number not in UNMET] == []


def test_program_and_model_agree_on_conversations(kernel: Kernel, captured: list[bytes]) -> None:
    met: Counter[int] = Counter()
    for seed in range(SEQUENCES // 6):
        random = Random(seed)
        config = random_config(random)
        agree(kernel, seed, config, woven(random, random_steps(random, config, captured)), met)
    assert met[Reason.NOTE_CUT_DEPTH]
