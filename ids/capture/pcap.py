"""The pcap format: a 24-byte file header, then records of a 16-byte header and the frame.

Source: draft-ietf-opsawg-pcap; libpcap sf-pcap.c for the magic numbers and the sanity limits.
"""

from __future__ import annotations

import struct
from itertools import repeat

import numpy as np

from ids.capture.gather import gather
from ids.capture.records import MAX_CAPLEN, NANOSECONDS, Records
from ids.types import I64, U8

FILE_HEADER_LEN = 24

# magic number as it reads in the file's byte order: (nanoseconds per tick of the fraction, record header bytes)
_VARIANTS = {
    0xA1B2C3D4: (1000, 16),
    0xA1B23C4D: (1, 16),
    0xA1B2CD34: (1000, 24),  # Alexey Kuznetsov's patched libpcap: eight more bytes a record
}


class PcapFormat:
    """Find records of a pcap file whose 24-byte ``header`` is given; raises ValueError where it is no pcap header."""

    def __init__(self, header: bytes) -> None:
        for order in "<>":
            magic, major, minor, _zone, _sigfigs, _snaplen, network = struct.unpack(f"{order}IHHiIII", header)
            if magic in _VARIANTS:
                break
        else:
            raise ValueError("not a pcap header")
        if major != 2:
            raise ValueError(f"pcap version {major}.{minor}, where only 2.x is known")
        self._tick_ns, self._header_len = _VARIANTS[magic]
        self._linktype = network & 0xFFFF  # the upper half has the length of the frame check sequence
        self._caplen_of = struct.Struct(f"{order}8xI{self._header_len - 12}x").unpack_from
        self._dtype = np.dtype([(name, f"{order}u4") for name in ("seconds", "fraction", "caplen", "wirelen")])

    def scan(self, data: U8, start: int, stop: int, limit: int) -> Records:
        """Find up to ``limit`` whole records in ``data[start:stop]``."""
        positions, end = self._walk(data, start, stop, limit)
        header = gather(data, positions, self._dtype)
        caplen = header["caplen"].astype(np.int64)
        count, damage = len(positions), ""
        wild = np.flatnonzero(caplen > MAX_CAPLEN)
        if wild.size:
            count = int(wild[0])
            damage = f"a record header claims {caplen[count]} captured bytes, more than {MAX_CAPLEN}"
        elif end > stop:  # the last record found is incomplete
            count -= 1
        if count < len(positions):
            end = int(positions[count])
        header, caplen, positions = header[:count], caplen[:count], positions[:count]
        return Records(
            offset=positions + self._header_len,
            caplen=caplen,
            wirelen=np.maximum(header["wirelen"].astype(np.int64), caplen),
            ts_ns=header["seconds"].astype(np.int64) * NANOSECONDS
            + header["fraction"].astype(np.int64) * self._tick_ns,
            linktype=np.full(count, self._linktype, np.uint16),
            interface=np.zeros(count, np.uint32),
            end=end,
            more=count == limit,
            damage=damage,
        )

    def _walk(self, data: U8, start: int, stop: int, limit: int) -> tuple[I64, int]:
        """Return where up to ``limit`` records begin and where the last one ends, which may be beyond ``stop``.

        The only Python that runs once a record (50 to 80 ns): each record's length says where the next one begins, so
        there is nothing to vectorise. Lengths are judged afterwards, all at once; a wild one only ends the walk.
        """
        positions: list[int] = []
        append, caplen_of, header_len = positions.append, self._caplen_of, self._header_len
        whole = data.data[:stop]
        position = start
        try:
            for _ in repeat(None, limit):
                (caplen,) = caplen_of(whole, position)
                append(position)
                position += caplen + header_len
        except struct.error:  # no whole header is left; a comparison for each record would cost more
            pass
        return np.array(positions, np.int64), position
