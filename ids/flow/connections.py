"""Between the two forms of a TCP connection: a row of numbers in `FlowSlots`, and a `Connection` object.

A connection is an object while something about it is not orderly: a hole, a second offer, an acknowledgement of what
nobody saw, more than one version. Both forms hold the same state, so a connection may change between them at any time.
"""

from __future__ import annotations

from ids.flow.acceptance import MAX_SCALE
from ids.flow.half import Half
from ids.flow.handshake import Handshake, Offer
from ids.flow.reassembly import Reassembly
from ids.flow.slots import FlowSlots
from ids.flow.tcp import Connection, Phase
from ids.flow.versions import Versions
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
        connection.signed = bool(slots.signed[slot])
        of_client, of_server = slots.scale[slot].tolist()
        connection.scales = of_client - 1 if of_client else None, of_server - 1 if of_server else None
        steps = int(slots.steps[slot])
        to_server, to_client = slots.edge[slot].tolist()
        connection.windows = to_client - 1 if to_client else None, to_server - 1 if to_server else None
        if steps == 3:
            versions = connection.versions
            connection.halves = (
                self._half(slot, Direction.TO_SERVER, versions), self._half(slot, Direction.TO_CLIENT, versions),
            )  # fmt: skip
            connection.halves[0].peer, connection.halves[1].peer = connection.halves[1], connection.halves[0]
        elif steps:
            client_next, server_next = slots.next[slot].tolist()
            connection.handshake = Handshake()
            connection.handshake.way = int(slots.way[slot])
            connection.handshake.syns = (Offer(client_next, b"", way=connection.handshake.way),)
            connection.handshake.stamped(int(slots.stamp[slot, 0]) or None)
            if steps == 2:
                apart = bool(slots.apart[slot])
                connection.handshake.replies = (Offer(server_next, b"", client_next, apart=apart),)
                connection.handshake.answered = 1
        return connection

    def put(self, slot: int, connection: Connection) -> None:
        """Keep a connection: as numbers, if that is all there is to it."""
        slots, halves = self._slots, connection.halves
        slots.scale[slot] = [0 if scale is None else min(scale, MAX_SCALE) + 1 for scale in connection.scales]
        slots.phase[slot], slots.signed[slot] = connection.phase, connection.signed
        if halves is not None:
            slots.steps[slot] = 3
        if not connection.bare:
            slots.careful[slot], slots.connections[slot] = True, connection
            return
        if halves is None:
            return
        for direction, half in zip(Direction, halves, strict=True):
            slots.next[slot, direction], slots.offset[slot, direction] = half.next, half.offset
            slots.acked[slot, direction], slots.closed[slot, direction] = half.acked, half.closed
            slots.fin[slot, direction] = half.fin_at is not None
            slots.skipped[slot, direction], slots.base[slot, direction] = half.skipped, half.base
            slots.edge[slot, direction] = 0 if half.edge is None else half.edge + 1
            slots.stamped[slot, direction] = half.stamp is not None
            slots.stamp[slot, direction], slots.heard[slot, direction] = half.stamp or 0, half.heard
            half.peer = None  # no cycle is to wait for the collector
            if half.lost:
                slots.lost[2 * slot + direction] = half.lost
            if half.sent:
                slots.unacked[2 * slot + direction] = half.sent

    def _half(self, slot: int, direction: Direction, versions: Versions) -> Half:
        slots, flows = self._slots, self._slots.flows
        half = Half(self._shared, flows, slot, direction, int(slots.next[slot, direction]), versions)
        half.offset, half.acked = int(slots.offset[slot, direction]), int(slots.acked[slot, direction])
        half.closed = bool(slots.closed[slot, direction])
        half.fin_at = half.offset if slots.fin[slot, direction] else None
        half.skipped, half.base = int(slots.skipped[slot, direction]), int(slots.base[slot, direction])
        half.stamp = int(slots.stamp[slot, direction]) if slots.stamped[slot, direction] else None
        half.edge = int(slots.edge[slot, direction]) - 1 if slots.edge[slot, direction] > 0 else None
        half.heard = bool(slots.heard[slot, direction])
        half.sent = slots.unacked.pop(2 * slot + direction, None)
        half.lost = slots.lost.pop(2 * slot + direction, None)
        half.sent_bytes = sum(len(data) for _, data in half.sent or ())
        half.turn = half.context = half.sent[0][0] if half.sent else half.offset
        return half
