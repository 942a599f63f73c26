"""The values that one stage hands to the next, a batch at a time.

Shapes and units are part of the contract. ``n`` is the number of packets in a batch, or of rows; every column has shape
``(n,)`` unless it says otherwise. Times are integer nanoseconds since the UNIX epoch (``ts_ns``): no stage reads a
clock. Numbers are in host byte order. Addresses are two 64-bit halves of the 128-bit address, IPv4 as
``::ffff:a.b.c.d`` (RFC 4291 section 2.5.5.2), so that one comparison serves both families.

    packets        frames as captured, and as columns of header fields
    flows          live flows in columns; `Flow`, the view of one
    flow_states    what is said of a flow as a whole
    streams        the bytes of a batch: streams of TCP, datagrams of all else
    transactions   protocol exchanges as named buffers
    findings       rules' identities, matches and what they ask for
    state          what rules remember of flows and hosts
    counting       what rules count before they are heard
    asked          which buffers somebody asks for
    changes        what was done: blocks, their ends, the engine's own life
"""

from ids.types.addresses import (
    IPV4_MAPPED_PREFIX,
    IPAddress,
    IPNetwork,
    address_halves,
    address_object,
    address_text,
    address_texts,
    typed_network,
    unmapped,
)
from ids.types.arrays import I64, U8, U16, U32, U64, Bool, among, ascending
from ids.types.asked import Asked
from ids.types.changes import Change
from ids.types.counting import After, Distinct, Remembered
from ids.types.findings import (
    Action,
    BlockMode,
    BlockRequest,
    Captured,
    Evidence,
    Exhibit,
    FlowCount,
    ForwardedFor,
    Match,
    Rate,
    Signature,
    Stores,
    Suppression,
    Threshold,
)
from ids.types.flow_states import FLOW_COUNT, NEVER, EndReason, FlowCounts, FlowState, Mark, TcpState
from ids.types.flows import Flow, FlowColumns, FlowPlace, Tunnel
from ids.types.packets import LIVE, Anomaly, Direction, Notes, PacketBatch, Packets
from ids.types.state import STATELESS, BitChange, BitTest, CounterChange, CounterTest, State, Tagged
from ids.types.streams import Arrivals, Completed, Datagram, Datagrams, FlowBatch, Noted, StreamChunk, Streams
from ids.types.transactions import Transaction, Transactions

__all__ = [
    "FLOW_COUNT",
    "I64",
    "IPV4_MAPPED_PREFIX",
    "LIVE",
    "NEVER",
    "STATELESS",
    "U8",
    "U16",
    "U32",
    "U64",
    "Action",
    "After",
    "Anomaly",
    "Arrivals",
    "Asked",
    "BitChange",
    "BitTest",
    "BlockMode",
    "BlockRequest",
    "Bool",
    "Captured",
    "Change",
    "Completed",
    "CounterChange",
    "CounterTest",
    "Datagram",
    "Datagrams",
    "Direction",
    "Distinct",
    "EndReason",
    "Evidence",
    "Exhibit",
    "Flow",
    "FlowBatch",
    "FlowColumns",
    "FlowCount",
    "FlowCounts",
    "FlowPlace",
    "FlowState",
    "ForwardedFor",
    "IPAddress",
    "IPNetwork",
    "Mark",
    "Match",
    "Noted",
    "Notes",
    "PacketBatch",
    "Packets",
    "Rate",
    "Remembered",
    "Signature",
    "State",
    "Stores",
    "StreamChunk",
    "Streams",
    "Suppression",
    "Tagged",
    "TcpState",
    "Threshold",
    "Transaction",
    "Transactions",
    "Tunnel",
    "address_halves",
    "address_object",
    "address_text",
    "address_texts",
    "among",
    "ascending",
    "typed_network",
    "unmapped",
]
