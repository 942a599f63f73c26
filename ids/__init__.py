"""A pluggable intrusion detection and prevention engine.

The way of a packet, which is also the order in which the packages import each other::

    kernel      the XDP program's maps and rings; drops what is known to be bad, shows the rest
    capture     rings and capture files become batches of frames          -> types.PacketBatch
    decode      frames become columns of header fields                    -> types.Packets
    flow        packets become conversations and contiguous bytes         -> types.FlowBatch, StreamChunk
    protocols   bytes become named buffers                                -> types.Transaction
    rules       buffers meet rules                                        -> types.Match
    plugin      the host of detectors and outputs; its hooks are the public API
    respond     matches become alerts, drops and blocks                   -> EVE events, kernel maps

`engine` runs the loop, `replay` feeds it from files, `cli` is what people type. Stages have no sockets, threads or
clocks: time arrives with the packets.
"""

from ids.plugin.hookspec import hookimpl

__version__ = "0.1.0"
__all__ = ["__version__", "hookimpl"]
