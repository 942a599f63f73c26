"""Captures: files and pipes in, batches of packets out.

In: a path or ``-``: pcap (either byte order, micro- or nanoseconds) or pcapng, plain or compressed with gzip, bzip2, xz
or zstd; format and compression are recognised by magic bytes, never by name.

Out: `ids.types.PacketBatch` values, up to ``max_packets`` frames each, that refer to the bytes read without a copy.

    stream.py   bytes of the file, decompressed, with progress
    records.py  what the formats share
    gather.py   many small structures from one buffer
    pcap.py     record headers of pcap
    pcapng.py   blocks of pcapng
    file.py     `Capture`: chunk by chunk, batch by batch
    writer.py   `PcapWriter`, for evidence

Next stage: `ids.decode`.
"""

from ids.capture.file import DEFAULT_MAX_PACKETS, Capture, open_capture
from ids.capture.writer import PcapWriter

__all__ = ["DEFAULT_MAX_PACKETS", "Capture", "PcapWriter", "open_capture"]
