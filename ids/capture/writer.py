"""Write pcap files with nanosecond times."""

from __future__ import annotations

import struct
from typing import BinaryIO

from ids.capture.records import MAX_CAPLEN, NANOSECONDS

MAX_NS = (1 << 32) * NANOSECONDS - 1
"""Seconds have 32 bits."""


class PcapWriter:
    """Write frames to ``stream`` as a nanosecond pcap in little-endian order; the caller closes the stream."""

    def __init__(self, stream: BinaryIO, linktype: int = 1) -> None:
        self._stream = stream
        stream.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, MAX_CAPLEN, linktype))

    def write(self, frame: bytes, ts_ns: int, wirelen: int = 0) -> None:
        """Append a frame that arrived at ``ts_ns`` and had ``wirelen`` bytes on the wire (default: all given).

        The format knows times from 1970 to 2106; an earlier one becomes the first of them, a later one the last.
        """
        seconds, fraction = divmod(max(0, min(ts_ns, MAX_NS)), NANOSECONDS)
        self._stream.write(struct.pack("<IIII", seconds, fraction, len(frame), max(wirelen, len(frame))))
        self._stream.write(frame)
