"""A capture yields every whole frame, whatever wraps it and wherever it breaks."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ids.capture import Capture, PcapWriter, open_capture
from ids.capture.file import CHUNK_LEN
from ids.errors import CaptureError
from tests.capture.build import FRAMES, pcap, pcapng
from tests.shared import shared

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


def frames_of(capture: Capture) -> list[bytes]:
    return [
        batch.data[start : start + length].tobytes()
        for batch in capture
        for start, length in zip(batch.offset.tolist(), batch.caplen.tolist(), strict=True)
    ]


@pytest.mark.parametrize("build", [pcap, pcapng])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compression_is_recognised_by_content_not_by_name(
    tmp_path: Path, build: Callable[[], bytes], compression: str
) -> None:
    path = tmp_path / "capture.txt"
    path.write_bytes(COMPRESSIONS[compression](build()))
    with open_capture(path) as capture:
        assert frames_of(capture) == FRAMES
        assert capture.problem is None
        assert capture.bytes_read == capture.size == path.stat().st_size


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_concatenated_compressed_members_are_read_as_one(tmp_path: Path, compression: str) -> None:
    compress = COMPRESSIONS[compression]
    path = tmp_path / "two"
    path.write_bytes(compress(pcap()[:100]) + compress(pcap()[100:]))
    with open_capture(path) as capture:
        assert frames_of(capture) == FRAMES
        assert capture.problem is None


@pytest.mark.parametrize("compression", sorted(set(COMPRESSIONS) - {"plain"}))
def test_a_cut_compressed_file_is_a_problem(tmp_path: Path, compression: str) -> None:
    whole = COMPRESSIONS[compression](pcap([os.urandom(100_000) for _ in range(20)]))  # two blocks of bzip2
    path = tmp_path / "cut"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with open_capture(path) as capture:
        assert 0 < len(frames_of(capture)) < 20
        assert capture.problem is not None


@pytest.mark.parametrize("build", [pcap, pcapng])
def test_cut_at_any_byte_the_whole_frames_before_the_cut_are_delivered(
    tmp_path: Path, build: Callable[..., bytes]
) -> None:
    whole = build()
    boundaries = {len(build(FRAMES[:count])): count for count in range(len(FRAMES) + 1)}
    first = min(boundaries)
    path = tmp_path / "cut.pcap"
    for cut in range(first, len(whole) + 1):
        path.write_bytes(whole[:cut])
        with open_capture(path) as capture:
            expected = max(count for boundary, count in boundaries.items() if boundary <= cut)
            assert frames_of(capture) == FRAMES[:expected]
            assert (capture.problem is None) == (cut in boundaries), cut


def test_a_problem_says_where_the_frames_end(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap()[:-1])
    with open_capture(path) as capture:
        assert capture.problem is None
        frames_of(capture)
        assert "the file ends within a record (229 bytes of it are there), after packet 4" in str(capture.problem)
        assert str(capture.problem).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "likeness"),
    [
        (b"", "an empty file"),
        (b"snoop\0\0\0" + bytes(40), "a snoop capture"),
        (b"# Notes of the meeting\n\n- nothing", "text"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "a file of only 6 bytes"),
        (bytes(100), "unknown data beginning 00 00"),
        (gzip.compress(b"notes of the meeting, zipped", mtime=0), "text"),
        (pcap()[:4] + b"\x09" + pcap()[5:], "pcap version 9.4"),
    ],
)
def test_what_is_no_capture_is_refused_at_once_by_name(tmp_path: Path, content: bytes, likeness: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=likeness) as refused:
        open_capture(path)
    assert "expected pcap or pcapng" in str(refused.value)


def test_a_missing_file_or_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file"):
        open_capture(tmp_path / "missing.pcap")
    with pytest.raises(CaptureError, match="directory"):
        open_capture(tmp_path)


def test_batches_are_bounded_and_numbered_through(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(pcap(FRAMES * 7))
    with open_capture(path, max_packets=4) as capture:
        batches = list(capture)
    assert [len(batch) for batch in batches] == [4] * 8 + [3]
    assert [number for batch in batches for number in batch.number.tolist()] == list(range(1, 36))
    assert {batch.source for batch in batches} == {str(path)}


def test_frames_across_chunk_borders_arrive_whole(tmp_path: Path) -> None:
    frames = [os.urandom(length) for length in (200_001, 262_144, 17)] * 30
    assert sum(map(len, frames)) > 3 * CHUNK_LEN
    path = tmp_path / "large.pcap"
    path.write_bytes(pcap(frames))
    with open_capture(path) as capture:
        assert frames_of(capture) == frames
        assert capture.problem is None


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    """A frame is delivered before the next one is written: a pipe from a live capture must not be held back."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    delivered = threading.Event()
    content = pcap()
    head = len(pcap(FRAMES[:1]))

    def write() -> None:
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(content[:3])
            pipe.write(content[3:head])
            assert delivered.wait(20)
            pipe.write(content[head:])

    writer = threading.Thread(target=write)
    writer.start()
    got = []
    with open_capture(fifo) as capture:
        assert capture.size is None
        for batch in capture:
            got.append(len(batch))
            delivered.set()
        assert capture.problem is None
    writer.join()
    assert got[0] == 1
    assert sum(got) == len(FRAMES)


def test_standard_input_is_named_by_a_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(pcap())
    with path.open("rb") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with open_capture("-") as capture:
            assert frames_of(capture) == FRAMES
        assert not stdin.closed


def test_what_the_writer_wrote_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "evidence.pcap"
    with path.open("wb") as stream:
        writer = PcapWriter(stream, linktype=101)
        writer.write(b"one", 1_700_000_000_123_456_789)
        writer.write(b"two", 1, wirelen=1500)
    with open_capture(path) as capture:
        (batch,) = capture
    assert batch.ts_ns.tolist() == [1_700_000_000_123_456_789, 1]
    assert batch.wirelen.tolist() == [3, 1500]
    assert batch.linktype.tolist() == [101, 101]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(data=st.data(), content=st.sampled_from([pcap(), pcapng(), gzip.compress(pcap()), lzma.compress(pcapng())]))
def test_mutated_captures_never_raise_anything_else(tmp_path: Path, data: st.DataObject, content: bytes) -> None:
    mutated = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutated"
    path.write_bytes(mutated)
    try:
        with open_capture(path) as capture:
            for batch in capture:
                assert ((batch.offset >= 0) & (batch.offset + batch.caplen <= len(batch.data))).all()
                assert (batch.wirelen >= batch.caplen).all()
                assert (batch.ts_ns >= 0).all()
    except CaptureError:
        pass


def test_foreign_captures_are_read() -> None:
    paths = sorted(shared("suricata-verify").rglob("*.pcap*"))
    assert paths
    for path in paths:
        with open_capture(path) as capture:
            assert frames_of(capture) or capture.problem or capture.size == 24, path
