"""Packets become conversations: what comes in are decoded columns, what goes out are flows and stream chunks.

In: `ids.types.Packets`, one row a packet, from `ids.decode`. Out: `ids.types.FlowBatch`: the flow of every row, the
newly contiguous bytes of every TCP direction, the flows that started and ended. Next stage: `ids.protocols`.

- `keys` groups the rows of a batch by 5-tuple and VLAN, in NumPy;
- `inorder` judges, for the whole batch at once, which TCP flows hold nothing but an orderly exchange;
- `tcp` follows handshake, FIN and RST of one connection, a segment at a time, for all the others;
- `reassembly` puts the bytes of one direction in order, within bounds;
- `table` owns the flows: finds, times out, evicts, ends them.
"""

from ids.flow.settings import FlowSettings, StreamSettings
from ids.flow.table import FlowTable

__all__ = ["FlowSettings", "FlowTable", "StreamSettings"]
