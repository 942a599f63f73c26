"""A pluggable intrusion detection and prevention engine.

The way of a packet is also the order in which the packages import each other. A batch of packets goes through the
stages at once; each hands columns to the next::

    kernel      the XDP program's maps and rings; drops what is known to be bad, shows the rest
    capture     rings and capture files become batches of frames          -> types.PacketBatch
    decode      frames become columns of header fields                    -> types.Packets
    flow        packets become flows in columns, and contiguous bytes     -> types.FlowBatch: Streams, Datagrams
    protocols   bytes become named buffers                                -> types.Transactions
    rules       bytes and buffers meet rules                              -> types.Match
    plugin      the host of detectors and outputs; its hooks are the public API
    respond     matches become alerts, drops and blocks                   -> EVE events, kernel maps

Above the stages::

    inspection  all that is found out about flows, by these stages and the hooks of detectors
    engine      what is decided once: alerts, blocks, events
    workers     inspection spread over processes; one process decides
    live        the engine behind the kernel's gate
    replay      the engine on capture files
    store       what is worth asking for later, in a database
    state       lists and penalties that outlive a reboot
    fetch       blocklists of others
    console     pages and metrics, in a process of their own
    service     the engine as a unit of systemd
    testing     the test kit for plugins
    authoring   tools for those who write rules
    lab, doctor a network in a box; what a machine lacks
    cli         what people type

Beside them: `types` is what the stages hand on, `events` what outputs get, `config` all settings in one tree, and
`settings` those of what stands above the stages. Stages have no sockets, threads or clocks: time arrives with the
packets.
"""

from ids.plugin.hookspec import hookimpl
from ids.version import __version__

__all__ = ["__version__", "hookimpl"]
