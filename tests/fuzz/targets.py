"""The stages under fuzzing. A step takes some mutated input, and raises where a promise does not hold."""

from __future__ import annotations

import logging
import struct
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ids.capture import open_capture
from ids.config import load_config
from ids.counters import Counters
from ids.decode import Decoder
from ids.decode.settings import DecodeSettings
from ids.engine import Engine
from ids.errors import CaptureError
from ids.flow import FlowTable
from ids.flow.settings import FlowSettings, StreamSettings
from ids.protocols import Protocols, ProtocolSettings
from ids.replay.gate import ReplayGate
from ids.testing import make_datagrams, make_flow, make_streams
from ids.types import Datagram, Direction, FlowColumns, PacketBatch, Packets, StreamChunk
from tests.fuzz.catalogue import MADE
from tests.fuzz.mutate import T0, batch_of, disordered, hit, mutated, pieces
from tests.fuzz.seeds import Conversation, Frames, Seeds
from tests.fuzz.subjects import PromiseBroken

LINKTYPE_RAW = 101
SLACK = 4096
"""Bytes beyond a cap that the bookkeeping of the last piece may take."""
_TCP = 6
_DIRECTIONS = tuple(Direction)


class _Errors(logging.Handler):
    """Keeps the errors that the engine survives, but for calls that took long: the machine may be busy."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logged: list[str] = []

    def listen(self) -> None:
        """Begin."""
        logging.getLogger("ids").addHandler(self)

    def close(self) -> None:
        """End."""
        logging.getLogger("ids").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        raised = record.exc_info[1] if record.exc_info else None
        if record.levelno >= logging.ERROR or (raised is not None and not isinstance(raised, TimeoutError)):
            self._logged.append(self.format(record))

    def check(self) -> None:
        """Raise `PromiseBroken` where there was one."""
        logged, self._logged = self._logged, []
        if logged:
            raise PromiseBroken("\n".join(logged))


_ERRORS = _Errors()


class Target(ABC):
    """A stage, kept over the steps as an engine keeps it."""

    size = 2048
    """Executions of a step, about."""

    def __init__(self, seeds: Seeds) -> None:
        self.seeds = seeds
        self.number = 0
        """Packets so far."""

    @abstractmethod
    def step(self, rng: np.random.Generator) -> int:
        """Run once; return the number of executions: frames, conversations or files."""

    def close(self) -> None:  # noqa: B027 - most change nothing
        """Take back what the target changed outside of itself."""

    def consecutive(self, rng: np.random.Generator, share: float) -> PacketBatch:
        """Return neighbouring frames, in some disorder, with a share of them changed."""
        frames = self.seeds.frames
        start = int(rng.integers(0, max(len(frames.offset) - self.size, 1)))
        rows = disordered(np.arange(start, min(start + self.size, len(frames.offset))), rng)
        return self.made(frames, rows, rng, share)

    def made(self, frames: Frames, rows: np.ndarray, rng: np.random.Generator, share: float) -> PacketBatch:
        """Return a batch of frames with a share of them changed."""
        batch = batch_of(frames, rows, rng, self.number)
        self.number += len(batch)
        hit(batch, rng, share)
        return batch


class Captures(Target):
    """Files: any content is a capture, or refused with `CaptureError`."""

    size = 64

    def __init__(self, seeds: Seeds) -> None:
        super().__init__(seeds)
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self._path = Path(self._folder.name) / "mutated"

    def close(self) -> None:
        self._folder.cleanup()

    def step(self, rng: np.random.Generator) -> int:
        files = self.seeds.files
        for _ in range(self.size):
            seed, other = (files[int(rng.integers(0, len(files)))] for _ in range(2))
            self._path.write_bytes(mutated(seed, other, rng))
            try:
                with open_capture(self._path) as capture:
                    for batch in capture:
                        _within(batch.offset, batch.caplen, len(batch.data))
            except CaptureError:
                continue
        return self.size


class Decode(Target):
    """Frames: each gets a row, and no row points outside of the bytes."""

    def __init__(self, seeds: Seeds) -> None:
        super().__init__(seeds)
        self._decoders = [Decoder(DecodeSettings(), Counters(), live=live) for live in (False, True)]

    def step(self, rng: np.random.Generator) -> int:
        rows = rng.integers(0, len(self.seeds.frames.offset), self.size)
        batch = self.made(self.seeds.frames, rows, rng, 0.95)
        for decoder in self._decoders:
            _check_packets(decoder.decode(batch), len(batch))
        return len(batch)


class Defragment(Target):
    """Fragments of every shape: their memory is bounded, and what they make is decoded like any frame."""

    def __init__(self, seeds: Seeds) -> None:
        super().__init__(seeds)
        self._counters = Counters()
        self._settings = DecodeSettings(checksums="none")
        self._decoder = Decoder(self._settings, self._counters)

    def step(self, rng: np.random.Generator) -> int:
        made = [frame for _ in range(self.size // 6) for frame in _fragments(rng)]
        rng.shuffle(made)
        size = np.array([len(frame) for frame in made], np.int64)
        frames = Frames(
            np.frombuffer(b"".join(made), np.uint8),
            np.cumsum(size) - size,
            size,
            np.full(len(made), LINKTYPE_RAW, np.uint16),
        )
        batch = self.made(frames, np.arange(len(made)), rng, 0.1)
        _check_packets(self._decoder.decode(batch), len(batch))
        return len(batch)


class Flows(Target):
    """Segments with numbers and flags of all kinds: streams stay in order, and what is held within its cap."""

    def __init__(self, seeds: Seeds) -> None:
        super().__init__(seeds)
        self._settings = StreamSettings(midstream=True, memcap_bytes=1 << 20, depth_bytes=1 << 40)
        self._limit = FlowSettings(max_flows=4096)
        self._counters = Counters()
        self._decoder = Decoder(DecodeSettings(checksums="none"), Counters())
        self._table = FlowTable(self._limit, self._counters, self._settings)
        self._reached: dict[tuple[int, int], int] = {}

    def step(self, rng: np.random.Generator) -> int:
        batch = self.consecutive(rng, 0.02)
        _turn_tcp(self._decoder.decode(batch), batch, rng)
        found = self._table.process(self._decoder.decode(batch))
        self._check(found.streams)
        if len(self._table) > self._limit.max_flows:
            raise PromiseBroken(f"{len(self._table)} flows")
        held = self._counters["flow.tcp.reassembly.memuse_bytes"]
        if held > self._settings.memcap_bytes + SLACK:
            raise PromiseBroken(f"{held} bytes held")
        if rng.random() < 0.05:
            self._check(self._table.drain().streams)
            self._reached.clear()
            held = self._counters["flow.tcp.reassembly.memuse_bytes"]
            if held:
                raise PromiseBroken(f"{held} bytes held of no flow")
        return len(batch)

    def _check(self, streams: object) -> None:
        """Hold each direction to the order of its bytes; a variant begins where its connection was, and may leave some
        out.
        """
        for chunk in streams:  # type: ignore[attr-defined]
            if chunk.flow.variant and not chunk.data and not chunk.closed:
                continue
            key, begins = (chunk.flow.id, int(chunk.direction)), chunk.offset - chunk.gap
            reached = self._reached.get(key, begins if chunk.flow.variant else 0)
            if reached < 0:
                raise PromiseBroken(f"bytes behind the end of {key}")
            if begins != reached and not (chunk.flow.variant and chunk.offset >= reached):
                raise PromiseBroken(f"{key} goes on at {chunk.offset} with a gap of {chunk.gap}, but was at {reached}")
            self._reached[key] = -1 if chunk.closed else chunk.offset + len(chunk.data)


class Recognition(Target):
    """Conversations of all protocols, through the stage that recognises them: whatever is said, nothing fails."""

    size = 64

    def __init__(self, seeds: Seeds) -> None:
        super().__init__(seeds)
        _ERRORS.listen()

    def close(self) -> None:
        _ERRORS.close()

    @cached_property
    def conversations(self) -> Sequence[Conversation]:
        """What is said, before it is changed."""
        return [*self.seeds.conversations, *MADE]

    def step(self, rng: np.random.Generator) -> int:
        columns, counters = FlowColumns(self.size), Counters()
        stage = Protocols(ProtocolSettings(), counters, columns)
        chunks: list[StreamChunk] = []
        datagrams: list[Datagram] = []
        known = self.conversations
        for _ in range(self.size):
            seed, other = (known[int(rng.integers(0, len(known)))] for _ in range(2))
            flow = make_flow(columns=columns, proto=17 if seed.datagrams else _TCP)
            for side, data in seed.turns:
                if rng.random() < 0.6:
                    data = mutated(data, other.turns[0][1], rng)
                self.number += 1
                stamp = T0 + self.number, self.number
                if seed.datagrams:
                    datagrams.append(Datagram(flow, _DIRECTIONS[side], data, *stamp))
                else:
                    parts = pieces(data, rng)
                    gap = int(rng.random() < 0.03) * int(rng.integers(1, 2000))
                    chunks.append(StreamChunk(flow, _DIRECTIONS[side], 0, parts[0], *stamp, gap=gap))
                    chunks += [StreamChunk(flow, _DIRECTIONS[side], 0, part, *stamp) for part in parts[1:]]
            if not seed.datagrams:
                chunks += [StreamChunk(flow, side, 0, b"", T0, self.number, closed=True) for side in _DIRECTIONS]
        for transaction in stage.feed(make_streams(chunks), make_datagrams(datagrams)):
            dict(transaction.buffers), dict(transaction.more), dict(transaction.fields)
        _ERRORS.check()
        return self.size


class Whole(Target):
    """The engine with the shipped rules: no plugin fails, and no event is lost."""

    def __init__(self, seeds: Seeds) -> None:
        super().__init__(seeds)
        _ERRORS.listen()
        self._gate = ReplayGate()
        self._engine = Engine(load_config(None, ["stream.midstream=true", "decode.checksums=none"]), self._gate)

    def close(self) -> None:
        _ERRORS.close()
        self._engine.stop()

    def step(self, rng: np.random.Generator) -> int:
        batch = self.consecutive(rng, 0.3)
        self._engine.process(batch)
        if rng.random() < 0.05:
            self._engine.drain()
        _ERRORS.check()
        failed = {
            name: n for name, n in self._engine.counters.values.items() if name.endswith((".quarantined", ".internal"))
        }
        if any(failed.values()):
            raise PromiseBroken(str(failed))
        return len(batch)


TARGETS: dict[str, Callable[[Seeds], Target]] = {
    "decode": Decode,
    "defragment": Defragment,
    "flows": Flows,
    "engine": Whole,
    "recognition": Recognition,
    "captures": Captures,
}


def _within(offset: np.ndarray, length: np.ndarray, size: int) -> None:
    if len(offset) and (offset.min() < 0 or length.min() < 0 or (offset + length).max() > size):
        raise PromiseBroken("a row points outside of the bytes")


def _check_packets(packets: Packets, frames: int) -> None:
    if len(packets) < frames:
        raise PromiseBroken(f"{len(packets)} rows of {frames} frames")
    usable = packets.usable
    _within(packets.payload[usable], packets.payload_len[usable], len(packets.batch.data))
    if (packets.anomaly[usable] != 0).any():
        raise PromiseBroken("a row is usable and odd")
    if not ((packets.l3[usable] <= packets.l4[usable]) & (packets.l4[usable] <= packets.payload[usable])).all():
        raise PromiseBroken("headers are not in order")


def _turn_tcp(packets: Packets, batch: PacketBatch, rng: np.random.Generator) -> None:
    """Move numbers and flags of a third of the TCP segments of a batch, in its bytes."""
    if packets.batch is not batch:  # datagrams were put together: their bytes lie elsewhere
        return
    rows = np.flatnonzero(packets.usable & (packets.proto == _TCP) & (rng.random(len(packets)) < 0.3))
    for field, old in ((4, packets.seq), (8, packets.ack)):
        steps = rng.choice([0, 0, 0, 1, -1, 100, -100, 1460, -1460, 65535, 1 << 31], len(rows))
        changed = (old[rows].astype(np.int64) + steps) & 0xFFFFFFFF
        for byte in range(4):
            batch.data[packets.l4[rows] + field + byte] = changed >> (24 - 8 * byte) & 0xFF
    flags = rng.choice([0x10, 0x18, 0x02, 0x12, 0x11, 0x14, 0x04, 0x38, 0x00, 0xFF], len(rows))
    turned = rng.random(len(rows)) < 0.15
    batch.data[packets.l4[rows[turned]] + 13] = flags[turned]


def _fragments(rng: np.random.Generator) -> list[bytes]:
    """Return the fragments of a datagram, with overlaps, holes and contradictions."""
    body = rng.bytes(8 * int(rng.integers(1, 40)))
    ident, version = int(rng.integers(0, 4096)), 4 if rng.random() < 0.5 else 6
    made = []
    for _ in range(int(rng.integers(2, 10))):
        at = 8 * int(rng.integers(0, len(body) // 8 + 2))
        piece = body[at : at + int(rng.integers(0, 120))]
        more = int(rng.random() < 0.8)
        made.append(_ipv4(ident, at, more, piece) if version == 4 else _ipv6(ident, at, more, piece))
    return made


def _ipv4(ident: int, at: int, more: int, piece: bytes) -> bytes:
    place = more << 13 | at // 8
    return (
        struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(piece), ident, place, 64, 6, 0, b"\xc0\0\2\1", b"\xcb\0\x71\1")
        + piece
    )


def _ipv6(ident: int, at: int, more: int, piece: bytes) -> bytes:
    ends = bytes.fromhex("20010db8" + "0" * 23 + "1"), bytes.fromhex("20010db8" + "0" * 23 + "2")
    head = struct.pack(">IHBB16s16s", 0x60000000, 8 + len(piece), 44, 64, *ends)
    return head + struct.pack(">BBHI", 6, 0, at & 0xFFF8 | more, ident) + piece
