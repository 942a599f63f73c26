"""What fuzzing does to seeds: whole batches of frames at once, and single byte strings."""

from __future__ import annotations

import numpy as np

from ids.types import I64, PacketBatch
from tests.fuzz.seeds import Frames

ODD_BYTES = np.array([0, 1, 2, 4, 6, 17, 41, 44, 0x0A, 0x0D, 0x20, 0x3A, 0x45, 0x60, 0x7F, 0x80, 0xFE, 0xFF], np.uint8)
"""Values at which parsers turn: ends of ranges, protocol numbers, separators."""
HEADERS = 96
"""First bytes of a frame, which are hit most: there stand the headers."""
MAX_HITS = 6
MAX_BYTES = 16384
T0 = 1_700_000_000_000_000_000


def batch_of(frames: Frames, rows: I64, rng: np.random.Generator, first_number: int) -> PacketBatch:
    """Return copies of some frames as a batch; time goes on by up to a millisecond a frame."""
    size = frames.caplen[rows]
    ends = np.cumsum(size)
    offset = ends - size
    places = np.repeat(frames.offset[rows] - offset, size) + np.arange(int(ends[-1]) if len(ends) else 0)
    numbers = first_number + np.arange(len(rows), dtype=np.int64)
    return PacketBatch(
        data=frames.data[places],
        offset=offset,
        caplen=size,
        wirelen=size.copy(),
        ts_ns=T0 + numbers * 1_000_000 + rng.integers(0, 1_000_000, len(rows)),
        number=numbers + 1,
        linktype=frames.linktype[rows],
        interface=np.zeros(len(rows), np.uint32),
        source="fuzz",
    )


def hit(batch: PacketBatch, rng: np.random.Generator, share: float) -> None:
    """Change bytes of a share of the frames, and cut some short."""
    rows = np.flatnonzero((rng.random(len(batch)) < share) & (batch.caplen > 0))
    rows = np.repeat(rows, rng.integers(1, MAX_HITS + 1, len(rows)))
    reach = np.where(rng.random(len(rows)) < 0.75, np.minimum(batch.caplen[rows], HEADERS), batch.caplen[rows])
    places = batch.offset[rows] + (rng.random(len(rows)) * reach).astype(np.int64)
    kind = rng.integers(0, 3, len(rows))
    flipped = batch.data[places] ^ (1 << rng.integers(0, 8, len(rows))).astype(np.uint8)
    batch.data[places] = np.choose(
        kind, [flipped, rng.integers(0, 256, len(rows)).astype(np.uint8), rng.choice(ODD_BYTES, len(rows))]
    )
    cut = np.flatnonzero(rng.random(len(batch)) < share / 8)
    batch.caplen[cut] = (rng.random(len(cut)) * (batch.caplen[cut] + 1)).astype(np.int64)


def disordered(rows: I64, rng: np.random.Generator) -> I64:
    """Return rows with some of them repeated, some missing, and neighbours in another order."""
    rows = np.repeat(rows, rng.choice([0, 1, 1, 1, 1, 1, 1, 2], len(rows)))
    return rows[np.argsort(np.arange(len(rows)) + rng.normal(0, 1.5, len(rows)))]


def mutated(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with one to `MAX_HITS` changes; some take bytes from ``other``."""
    made = bytearray(data[:MAX_BYTES])
    for _ in range(int(rng.integers(1, MAX_HITS + 1))):
        kind, at = int(rng.integers(0, 9)), int(rng.integers(0, len(made) + 1))
        length = int(rng.integers(1, 17))
        if kind == 0 and at < len(made):
            made[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and at < len(made):
            made[at] = int(rng.choice(ODD_BYTES))
        elif kind == 2:
            made[at:at] = rng.bytes(length)
        elif kind == 3:
            del made[at : at + length]
        elif kind == 4:
            made[at:at] = made[at : at + 8 * length]
        elif kind == 5 and other:
            start = int(rng.integers(0, len(other)))
            made[at:at] = other[start : start + 8 * length]
        elif kind == 6:
            del made[at:]
        elif kind == 7:
            made[at : at + 4] = int(rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])).to_bytes(4, "big")
        else:
            made[at:at] = bytes([int(rng.choice(ODD_BYTES))]) * (length * length)
    return bytes(made[:MAX_BYTES])


RULE_SIGNS = (b";", b":", b'"', b"\\", b"|", b"!", b",", b"(", b")", b"[", b"]", b"$", b"->", b"\\\n", b"/", b" ")
RULE_WORDS = (
    b"content:", b"pcre:", b"http_uri;", b"http.uri;", b"distance:0;", b"within:9;", b"relative", b"fast_pattern;",
    b"byte_jump:4,0", b"flowbits:set,a;", b"-1", b"99999999999999999999", b"0x", b"<>", b"base64_decode;", b"pkt_data;",
    b"to_md5;", b"sid:1;", b"file_data;", b"startswith;", b"urilen:", b"threshold:", b"tag:", b"isdataat:!1",
)  # fmt: skip


def respelt(rule: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return a rule with some of its options changed, exchanged for another's, or broken."""
    options = rule.split(b";")
    for _ in range(int(rng.integers(1, MAX_HITS + 1))):
        kind, at = int(rng.integers(0, 6)), int(rng.integers(0, len(options)))
        if kind == 0:
            options[at] = mutated(options[at], other, rng)[:4096]
        elif kind == 1:
            del options[at : at + 1]
            options = options or [b""]
        elif kind == 2:
            options.insert(at, options[int(rng.integers(0, len(options)))])
        elif kind == 3:
            options.insert(at, bytes(rng.choice(other.split(b";"))))
        else:
            signs = RULE_SIGNS if kind == 4 else RULE_WORDS
            place = int(rng.integers(0, len(options[at]) + 1))
            options[at] = options[at][:place] + signs[int(rng.integers(0, len(signs)))] + options[at][place:]
    return b";".join(options)


def pieces(data: bytes, rng: np.random.Generator) -> list[bytes]:
    """Return bytes cut into up to five pieces."""
    cuts = sorted(rng.integers(0, len(data) + 1, int(rng.integers(0, 5))).tolist())
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
