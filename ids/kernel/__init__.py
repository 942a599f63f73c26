"""The user side of ``bpf/``: load, attach, pin and adopt the XDP program, and read and write its maps.

In: settings, block and allow entries, flow verdicts. Out: `ids.types.PacketBatch` from the rings (`rings.RingReader`),
counters per verdict reason (`fastpath.FastPath.stats`). The next stage is ``ids.capture``, which hands on batches
whatever their source.

Importing this package needs neither root nor BCC: BCC runs in a child process of `loader.compile_program`, and only
when a program is loaded. `model` says what the program would do with a packet where no kernel is to be had.
"""

from ids.kernel.allowlist import Allow, AllowList
from ids.kernel.blocklist import Block, Blocklist
from ids.kernel.contract import FlowVerdict, Reason
from ids.kernel.fastpath import FastPath
from ids.kernel.flows import FlowAddress
from ids.kernel.networks import NetworkSet
from ids.kernel.rings import RingReader
from ids.kernel.settings import FastPathSettings
from ids.kernel.workers import worker_of

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
