"""Packets become conversations: what comes in are decoded columns, what goes out are flows and the bytes they carry.

In: `ids.types.Packets`, one row a packet, from `ids.decode`. Out: `ids.types.FlowBatch`: the flow of every row, the
newly contiguous bytes of every TCP direction (`Streams`), the payloads of all else (`Datagrams`), the flows that
started and ended. Next stage: `ids.protocols`.

    keys           groups the rows of a batch by 5-tuple and VLAN
    inorder        judges, for the whole batch at once, which TCP flows hold nothing but an orderly exchange
    slots          owns the flows, a slot each: finds, times out, evicts, ends them
    orderly        carries orderly connections on, all at once
    connections    turns a connection that is not orderly into an object, and back
    stretches      takes what is orderly in the midst of disorder, many segments at once
    tcp            follows handshake, FIN and RST of such a one, a segment at a time; `handshake` has its opening,
                   `acceptance` which segments a host takes no notice of
    reassembly     puts the bytes of its directions in order, within bounds; `half` does it for one of them,
                   `lost` has the holes that were given up
    policies       which of two copies of a byte a host prefers; `doubts` keeps contested bytes, `choices` has what
                   hosts may have of them
    versions       what else the hosts may have read, as further flows; `notes` has what is worth an event
    streams        gathers what a batch brought
    passage        takes a batch through all of these
    table          the stage itself
"""

from ids.flow.settings import FlowSettings, StreamSettings
from ids.flow.table import FlowTable

__all__ = ["FlowSettings", "FlowTable", "StreamSettings"]
