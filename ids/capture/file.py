"""A capture file as packet batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from ids.capture.pcap import FILE_HEADER_LEN, PcapFormat
from ids.capture.pcapng import SECTION_HEADER, PcapngFormat
from ids.capture.records import Format, Records
from ids.capture.stream import DAMAGE, ByteStream
from ids.errors import CaptureError, Location
from ids.types import U8, PacketBatch

DEFAULT_MAX_PACKETS = 16_384
"""Frames of one batch: enough that NumPy's cost per call vanishes, few enough that columns stay in the cache."""

CHUNK_LEN = 4 * 1024 * 1024
"""Bytes read at a time; with the largest block (16 MiB) carried over, memory stays below some 40 MiB."""

_ALIGNMENT = 8

_LOOKALIKES = {
    b"snoop\0\0\0": "a snoop capture",
    b"XCP\0": "a NetXray (Sniffer) capture",
    b"TRSNIFF data": "a Sniffer capture",
    b"GMBU": "a Network Monitor capture",
    b"\xed\xab\xee\xdb": "an RPM package",
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\x7fELF": "a program",
    b"\x1f\x9d": "data of compress(1)",
    b"\x04\x22\x4d\x18": "lz4-compressed data",
}
_REMEDY = "expected pcap or pcapng, plain or compressed with gzip, bzip2, xz or zstd"


class Capture:
    """The frames of a capture file, once, as `PacketBatch` values.

    Files are read in chunks, not mapped: a mapped file that is truncated meanwhile (a rotating capture) kills the
    process with SIGBUS, while reading costs some 50 ns a packet more and serves pipes and compressed files the same
    way. The batches of a chunk share its buffer; nothing is copied but the partial record at a chunk's end.

    After the iteration ``problem`` says whether the file was damaged or cut short; all whole frames before that place
    were delivered.
    """

    def __init__(self, path: str | Path, *, max_packets: int = DEFAULT_MAX_PACKETS) -> None:
        if max_packets < 1:
            raise ValueError("max_packets must be at least 1")
        self.path = str(path)
        self.problem: CaptureError | None = None
        """Why the file could not be read to its end; None while all is well."""
        self.packets = 0
        """Frames delivered so far."""
        self._max_packets = max_packets
        self._stream = ByteStream(self.path)
        try:
            self._format, self._head = self._recognise()
        except CaptureError:
            self._stream.close()
            raise

    @property
    def bytes_read(self) -> int:
        """Bytes of the file consumed so far, as they are on disk."""
        return self._stream.bytes_read

    @property
    def size(self) -> int | None:
        """Bytes of the file on disk when it was opened; None for a pipe."""
        return self._stream.size

    def close(self) -> None:
        """Close the file; the batches delivered stay valid."""
        self._stream.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[PacketBatch]:
        carry: U8 = np.frombuffer(self._head, np.uint8)
        self._head = b""
        while True:
            data, stop = self._read_chunk(carry)
            if stop == len(carry):
                break
            start = 0
            while True:
                records = self._format.scan(data, start, stop, self._max_packets)
                if len(records.offset):
                    yield self._batch(data, start, records)
                start = records.end
                if records.damage:
                    self._note(records.damage)
                    return
                if not records.more:
                    break
            carry = data[start:stop].copy()
        if len(carry):
            self._note(f"the file ends within a record ({len(carry)} bytes of it are there)")

    def _read_chunk(self, carry: U8) -> tuple[U8, int]:
        """Return a new buffer that begins with ``carry``, and the index where its bytes end."""
        buffer: U8 = np.empty(len(carry) + CHUNK_LEN, np.uint8)
        buffer[: len(carry)] = carry
        try:
            count = self._stream.fill(buffer.data[len(carry) :])
        except DAMAGE as error:
            self._note(self._unreadable(error))
            count = 0
        return buffer, len(carry) + count

    def _batch(self, data: U8, start: int, records: Records) -> PacketBatch:
        """Number the frames and narrow the buffer to the part that holds them."""
        begin = start & -_ALIGNMENT
        count = len(records.offset)
        batch = PacketBatch(
            data=data[begin : min(-(-records.end // _ALIGNMENT) * _ALIGNMENT, len(data))],
            offset=records.offset - begin,
            caplen=records.caplen,
            wirelen=records.wirelen,
            ts_ns=records.ts_ns,
            number=np.arange(self.packets + 1, self.packets + 1 + count, dtype=np.int64),
            linktype=records.linktype,
            interface=records.interface,
            source=self.path,
        )
        self.packets += count
        return batch

    def _recognise(self) -> tuple[Format, bytes]:
        """Read the first bytes; return the format and those of them that belong to its records."""
        head = bytearray(FILE_HEADER_LEN)
        have = 0
        try:
            while have < len(head):
                got = self._stream.fill(memoryview(head)[have:])
                if not got:
                    break
                have += got
        except DAMAGE as error:
            raise CaptureError(self._unreadable(error), Location(self.path), _REMEDY) from error
        first = bytes(head[:have])
        if first.startswith(SECTION_HEADER.to_bytes(4, "big")):
            return PcapngFormat(), first
        try:
            if have == len(head):
                return PcapFormat(first), b""
            reason = "no capture"
        except ValueError as error:
            reason = str(error)
        raise CaptureError(f"{reason}; it looks like {_likeness(first)}", Location(self.path), _REMEDY)

    def _unreadable(self, error: Exception) -> str:
        what = (
            f"{self._stream.compression} data is damaged or cut short" if self._stream.compression else "cannot be read"
        )
        return f"{what}: {error}"

    def _note(self, message: str) -> None:
        """Keep the first problem, with the place where the frames end."""
        if self.problem is None:
            self.problem = CaptureError(
                f"{message}, after packet {self.packets}", Location(self.path), "what comes behind it was not inspected"
            )


def open_capture(path: str | Path, *, max_packets: int = DEFAULT_MAX_PACKETS) -> Capture:
    """Open a capture file, or standard input for ``-``; raises CaptureError where it is no capture."""
    return Capture(path, max_packets=max_packets)


def _likeness(first: bytes) -> str:
    """Say what a file that begins so looks like."""
    if not first:
        return "an empty file"
    for magic, name in _LOOKALIKES.items():
        if first.startswith(magic):
            return name
    if len(first) < FILE_HEADER_LEN:
        return f"a file of only {len(first)} bytes"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in first):
        return "text"
    return f"unknown data beginning {first[:8].hex(' ')}"
