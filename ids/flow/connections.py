"""Between the two forms of a TCP connection: a row of numbers in `FlowSlots`, and a `Connection` object.

A connection is an object while something about it is not orderly: a hole, a second offer, an acknowledgement of what
nobody saw. Both forms hold the same state, so a connection may change between them at any time.
"""

from __future__ import annotations

from ids.flow.handshake import Handshake, Offer
from ids.flow.reassembly import Half, Reassembly
from ids.flow.slots import FlowSlots
from ids.flow.tcp import Connection, Phase
from ids.types import Direction


class Connections:
    """Takes connections out of the columns, and puts them back."""

    def __init__(self, slots: FlowSlots, shared: Reassembly) -> None:
        self._slots = slots
        self._shared = shared

    def take(self, slot: int) -> Connection:
        """Return the connection of a flow as an object; it is to be put back."""
        slots = self._slots
        if slots.careful[slot]:
            slots.careful[slot] = False
            return slots.connections.pop(slot)
        connection = Connection(self._shared, slots.flows, slot)
        connection.phase = Phase(int(slots.phase[slot]))
        steps = int(slots.steps[slot])
        if steps == 3:
            connection.halves = self._half(slot, Direction.TO_SERVER), self._half(slot, Direction.TO_CLIENT)
        elif steps:
            client_next, server_next = slots.next[slot].tolist()
            connection.handshake = Handshake()
            connection.handshake.syns = (Offer(client_next, b"", way=int(slots.way[slot])),)
            if steps == 2:
                apart = bool(slots.apart[slot])
                connection.handshake.replies = (Offer(server_next, b"", client_next, apart=apart),)
        return connection

    def put(self, slot: int, connection: Connection) -> None:
        """Keep a connection: as numbers, if that is all there is to it."""
        slots, halves = self._slots, connection.halves
        slots.phase[slot] = connection.phase
        if not connection.bare:
            slots.careful[slot], slots.connections[slot] = True, connection
            return
        if halves is None:
            return
        slots.steps[slot] = 3
        for direction, half in zip(Direction, halves, strict=True):
            slots.next[slot, direction], slots.offset[slot, direction] = half.next, half.offset
            slots.acked[slot, direction], slots.closed[slot, direction] = half.acked, half.closed
            slots.fin[slot, direction] = half.fin_at is not None
            if half.sent:
                slots.unacked[2 * slot + direction] = half.sent

    def _half(self, slot: int, direction: Direction) -> Half:
        slots = self._slots
        half = Half(self._shared, slots.flows, slot, direction, int(slots.next[slot, direction]))
        half.offset, half.acked = int(slots.offset[slot, direction]), int(slots.acked[slot, direction])
        half.closed = bool(slots.closed[slot, direction])
        half.fin_at = half.offset if slots.fin[slot, direction] else None
        half.sent = slots.unacked.pop(2 * slot + direction, None)
        half.sent_bytes = sum(len(data) for _, data in half.sent or ())
        return half
