"""The user side of ``bpf/``: load, attach, pin and adopt the XDP program, and read and write its maps.

In: settings, block and allow entries, flow verdicts. Out: `ids.types.PacketBatch` from the rings (`RingReader`),
counters per verdict reason (`FastPath.stats`). The next stage is ``ids.capture``, which hands on batches whatever their
source. The rooms, in the order in which they import each other::

    contract    what both sides agree upon: reasons, records, keys and values of maps
    system      bpf(2), bpffs, netlink, clocks
    maps        maps as such, their pins, counters, and the program's configuration
    program     compile, put on the maps, load
    rings       packets and events out of the rings; which worker inspects what
    model       the program in plain Python
    lists       blocklist and allow-list
    flows       flow entries, and verdicts on them
    attach      dispatcher and egress
    fastpath    all of it, on interfaces
    offline     the program or its model, on captures

Importing this package needs neither root nor BCC: BCC runs in a child process of `program.loader.compile_program`, and
only when a program is loaded.
"""

from typing import TYPE_CHECKING

from ids.later import exported

if TYPE_CHECKING:
    from ids.kernel.contract import FlowVerdict, Reason
    from ids.kernel.fastpath import FastPath
    from ids.kernel.flows.entries import FlowAddress
    from ids.kernel.lists.allowlist import Allow, AllowList
    from ids.kernel.lists.blocklist import Block, Blocklist
    from ids.kernel.lists.networks import NetworkSet
    from ids.kernel.rings.reader import RingReader
    from ids.kernel.rings.workers import worker_of
    from ids.kernel.settings import FastPathSettings
else:
    __getattr__ = exported(
        __name__,
        {
            "Allow": "lists.allowlist",
            "AllowList": "lists.allowlist",
            "Block": "lists.blocklist",
            "Blocklist": "lists.blocklist",
            "FastPath": "fastpath",
            "FastPathSettings": "settings",
            "FlowAddress": "flows.entries",
            "FlowVerdict": "contract",
            "NetworkSet": "lists.networks",
            "Reason": "contract",
            "RingReader": "rings.reader",
            "worker_of": "rings.workers",
        },
    )

__all__ = [
    "Allow",
    "AllowList",
    "Block",
    "Blocklist",
    "FastPath",
    "FastPathSettings",
    "FlowAddress",
    "FlowVerdict",
    "NetworkSet",
    "Reason",
    "RingReader",
    "worker_of",
]
