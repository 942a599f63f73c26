"""Flows in columns: a slot a flow. `Flow` is a thin view of one slot, made for whoever needs one.

A stage that handles many flows works on the columns; a rule that matched, a parser or a plugin gets the view. A view
stays valid for good: when its flow has ended and the slot is given to another, it keeps a copy of what it showed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from ids.memory import empty
from ids.types.addresses import address_text
from ids.types.arrays import I64, U8, U16, U32, U64, Bool
from ids.types.flow_states import EndReason, FlowState, Mark
from ids.types.packets import Direction

State = TypeVar("State")


_LAYOUT: dict[str, tuple[Any, int]] = {
    "id": (np.int64, 1),
    "ip_version": (np.uint8, 1),
    "proto": (np.uint8, 1),
    "src": (np.uint64, 2),
    "dst": (np.uint64, 2),
    "sport": (np.uint16, 1),
    "dport": (np.uint16, 1),
    "vlan": (np.uint64, 1),
    "interface": (np.uint32, 1),
    "echo_id": (np.int32, 1),
    "start_ns": (np.int64, 1),
    "last_ns": (np.int64, 1),
    "packets": (np.int64, 2),
    "bytes": (np.int64, 2),
    "unseen_packets": (np.int64, 2),
    "unseen_bytes": (np.int64, 2),
    "tcp_flags": (np.uint8, 2),
    "state": (np.uint8, 1),
    "tcp_state": (np.uint8, 1),
    "established_from": (np.int64, 1),
    "reason": (np.uint8, 1),
    "app_proto": (np.int16, 1),
    "app_orig": (np.int16, 1),
    "marks": (np.uint16, 1),
    "gaps": (np.int64, 2),
    "conflicts": (np.int64, 2),
    "first_number": (np.int64, 1),
    "source": (np.int32, 1),
    "depth": (np.uint8, 1),
    "outer_src": (np.uint64, 2),
    "outer_dst": (np.uint64, 2),
    "outer_sport": (np.uint16, 1),
    "outer_dport": (np.uint16, 1),
    "outer_proto": (np.uint8, 1),
    "primary": (np.int64, 1),
    "noted": (np.uint64, 2),
    "looked": (np.uint16, 1),
}
"""Every column: element type and elements a flow. About 300 bytes a flow."""

_VARIED = (
    "ip_version", "proto", "src", "dst", "sport", "dport", "vlan", "interface", "echo_id", "start_ns", "last_ns",
    "state", "established_from", "first_number", "source", "depth", "outer_src", "outer_dst", "outer_sport",
    "outer_dport", "outer_proto",
)  # fmt: skip
"""What a variant has of its connection."""

FIRST_CAPACITY = 1024
MOST_DETACHED = 64
"""Flows that ended together whose views share a copy of the columns: whoever keeps one view keeps the rows of the
others, too, which are no more than 20 kB."""


class Tunnel(NamedTuple):
    """The packet around another one, which it carried."""

    src_ip: str
    dst_ip: str
    sport: int
    """UDP source port; 0 for other protocols."""
    dport: int
    proto: int
    depth: int
    """How many tunnels are within each other, this one included."""


class FlowColumns:
    """Every live flow, a slot each; shape (capacity,), or (capacity, 2) by `Direction`.

    A slot that ended stays as it is until the batch in which it ended has been through all stages.
    """

    id: I64
    """Its own, in this run and any other, below 2**53 (EVE's ``flow_id``, see `ids.flow.identity`); 0 in a slot that
    was never used. Of a variant (``primary``) negative, and in no event."""
    ip_version: U8
    proto: U8
    src: U64
    """The client's address, shape (n, 2): high and low half. The client sent the flow's first packet (or, for TCP
    picked up at a SYN/ACK, received it)."""
    dst: U64
    """The server's address, shape (n, 2)."""
    sport: U16
    dport: U16
    vlan: U64
    """As `Packets.vlan`."""
    interface: U32
    echo_id: np.ndarray[Any, np.dtype[np.int32]]
    """Identifier of an ICMP echo and its reply; -1 for every other flow."""
    start_ns: I64
    last_ns: I64
    packets: I64
    """Packets, shape (n, 2)."""
    bytes: I64
    """Wire bytes, link header included (as EVE counts), shape (n, 2)."""
    unseen_packets: I64
    """Of ``packets``, those that the gate did not show; known when the flow has ended."""
    unseen_bytes: I64
    """Of ``bytes``, those of packets that the gate did not show."""
    tcp_flags: U8
    """All TCP flags seen, shape (n, 2)."""
    state: U8
    """`FlowState`."""
    tcp_state: U8
    """`TcpState`; known when the flow has ended."""
    established_from: I64
    """`PacketBatch.number` from which on its packets are those of an established flow: behind the handshake of TCP, at
    the first answer of others; 0: its state says it of all alike. See `established`."""
    reason: U8
    """`EndReason`."""
    app_proto: np.ndarray[Any, np.dtype[np.int16]]
    app_orig: np.ndarray[Any, np.dtype[np.int16]]
    """What the flow was before it became what it is, as HTTP before TLS behind a proxy; 0: nothing else."""
    """Protocol recognised by content: index in ``app_names``."""
    marks: U16
    """`Mark` bits."""
    gaps: I64
    """Stream bytes that were never seen, shape (n, 2)."""
    conflicts: I64
    """Segments whose overlapping bytes differed from those already seen, shape (n, 2)."""
    first_number: I64
    """`PacketBatch.number` of the first packet."""
    source: np.ndarray[Any, np.dtype[np.int32]]
    """`PacketBatch.source` of the first packet: index in ``sources``."""
    primary: I64
    """Of a variant, another version of a connection whose bytes are in doubt: 1 + the slot of that one; else 0."""
    noted: U64
    """Bits of what was noted about it (`ids.flow.notes`), shape (n, 2)."""
    looked: U16
    """Datagrams that showed no protocol, of a flow over UDP of which none is known yet."""
    depth: U8
    """As `Packets.depth`: 0, or how many tunnels the flow is in."""
    outer_src: U64
    """Ends of the outermost packet around the flow's first one, shape (n, 2); zero where ``depth`` is 0."""
    outer_dst: U64
    outer_sport: U16
    outer_dport: U16
    outer_proto: U8

    def __init__(self, capacity: int = FIRST_CAPACITY) -> None:
        self.capacity = capacity
        self.epoch = 0
        """Grows when all traffic so far is forgotten, as between two captures: what was kept of it, beyond what goes
        with its flows, is of no use then."""
        self.app_names: list[str | None] = [None]
        """Names of protocols as EVE has them; 0 is: not known."""
        self.sources: list[str] = [""]
        self.places: list[FlowPlace[Any]] = []
        self.community_seed = 0
        """Seed of the Community IDs in events."""
        self.community_turned = False
        """Whether they order ports as Suricata does where both addresses of a flow are one."""
        self.full_ipv6 = False
        """Whether events spell IPv6 addresses with all their zeros."""
        self._app_codes: dict[str | None, int] = {None: 0}
        self._views: dict[int, Flow] = {}
        for name, (dtype, width) in _LAYOUT.items():
            shape = capacity if width == 1 else (capacity, width)
            setattr(self, name, np.zeros(shape, dtype))

    def grow(self, capacity: int) -> None:
        """Make room for ``capacity`` slots; what the slots hold stays. Arrays taken from here before are outdated."""
        for name in _LAYOUT:
            column = getattr(self, name)
            wider = np.zeros((capacity, *column.shape[1:]), column.dtype)
            wider[: self.capacity] = column
            setattr(self, name, wider)
        self.capacity = capacity

    def clear(self, slots: I64) -> None:
        """Take these slots back: their views keep what they showed, what was kept of their flows is let go."""
        if self._views:
            shown = sorted(self._views.keys() & set(slots.tolist()))
            for first in range(0, len(shown), MOST_DETACHED):
                some = shown[first : first + MOST_DETACHED]
                own = self._copies(some)
                for number, slot in enumerate(some):
                    self._views.pop(slot).detach(own, number)
        if self.places:
            ended = set(self.id[slots].tolist())
            for place in self.places:
                place.forget(ended)
        for name in _LAYOUT:
            getattr(self, name)[slots] = 0

    def empty(self, unused: Bool) -> None:
        """Give back the memory of slots that are not taken, as far as whole pages are.

        What is kept by slot or id never becomes smaller by itself, either.
        """
        empty([getattr(self, name) for name in _LAYOUT], unused)
        self._views = dict(self._views)
        for place in self.places:
            place.by_id = dict(place.by_id)

    def view(self, slot: int) -> Flow:
        """Return the flow of a slot; the same object each time, while the flow lives."""
        flow = self._views.get(slot)
        if flow is None:
            flow = self._views[slot] = Flow(self, slot)
        return flow

    def established(self, slots: I64, numbers: I64) -> Bool:
        """Return of packets, by their flows' slots and their numbers, whether traffic both ways had been seen by then.

        The packet that completes the handshake of TCP is not one of an established flow yet; an answer is.
        """
        known: Bool = (self.state[slots] != FlowState.NEW) & (numbers >= self.established_from[slots])
        return known

    def app_code(self, name: str | None) -> int:
        """Return the number of a protocol's name in ``app_names``, given to it when it is first asked for."""
        code = self._app_codes.get(name)
        if code is None:
            code = self._app_codes[name] = len(self.app_names)
            self.app_names.append(name)
        return code

    def source_code(self, source: str) -> int:
        """Return the number of a capture's name in ``sources``; only the latest one is likely to be asked for again."""
        if self.sources[-1] != source:
            self.sources.append(source)
        return len(self.sources) - 1

    def place(self, make: Callable[[], State]) -> FlowPlace[State]:
        """Return a typed place for what a stage or plugin keeps of flows, made by ``make`` when first asked for."""
        place = FlowPlace(make)
        self.places.append(place)
        return place

    def vary(self, slot: int, of: int, flow_id: int) -> None:
        """Make a slot that of a variant of the flow in the slot ``of``: with its ends, and nothing found out yet."""
        for name in _VARIED:
            getattr(self, name)[slot] = getattr(self, name)[of]
        self.id[slot], self.primary[slot] = flow_id, of + 1

    def _copies(self, slots: list[int]) -> FlowColumns:
        """Return these flows as columns of their own."""
        own = FlowColumns(0)
        for name in _LAYOUT:
            setattr(own, name, getattr(self, name)[slots])
        own.capacity = len(slots)
        own.app_names, own.sources, own._app_codes = self.app_names, self.sources, self._app_codes
        own.community_seed, own.full_ipv6 = self.community_seed, self.full_ipv6
        own.community_turned = self.community_turned
        return own


class FlowPlace(Generic[State]):
    """What one stage or plugin keeps of flows: it goes with the flow. Keys are flow ids."""

    def __init__(self, make: Callable[[], State]) -> None:
        self._make = make
        self.by_id: dict[int, State] = {}

    def of(self, flow: Flow) -> State:
        """Return what is kept of a flow, made now if there is nothing yet."""
        kept = self.by_id.get(flow.id)
        if kept is None:
            kept = self.by_id[flow.id] = self._make()
        return kept

    def get(self, flow: Flow) -> State | None:
        """Return what is kept of a flow, or None."""
        return self.by_id.get(flow.id)

    def forget(self, ids: Iterable[int]) -> None:
        """Let go what is kept of flows that ended."""
        gone = list(map(self.by_id.pop, self.by_id.keys() & ids))
        if type(self).let_go is not FlowPlace.let_go:
            for kept in gone:
                self.let_go(kept)

    def let_go(self, kept: State) -> None:
        """Called with what is let go, for a place that has to account for it."""


class Flow:
    """One conversation, as a view of its slot. What it shows is current; ``src`` and so on never change."""

    __slots__ = ("columns", "slot")

    def __init__(self, columns: FlowColumns, slot: int) -> None:
        self.columns = columns
        self.slot = slot

    def detach(self, copies: FlowColumns, slot: int) -> None:
        """Show a copy from now on: the slot is about to be another flow's."""
        self.columns, self.slot = copies, slot

    @property
    def id(self) -> int:
        """Its own, in this run and any other, below 2**53 (EVE's ``flow_id``); negative for a ``variant``."""
        return int(self.columns.id[self.slot])

    @property
    def ip_version(self) -> int:
        """4 or 6."""
        return int(self.columns.ip_version[self.slot])

    @property
    def proto(self) -> int:
        """IP protocol number."""
        return int(self.columns.proto[self.slot])

    @property
    def src(self) -> tuple[int, int]:
        """The client's address, high and low half."""
        high, low = self.columns.src[self.slot].tolist()
        return high, low

    @property
    def dst(self) -> tuple[int, int]:
        """The server's address, high and low half."""
        high, low = self.columns.dst[self.slot].tolist()
        return high, low

    @property
    def src_ip(self) -> str:
        """The client's address as text."""
        return address_text(self.src)

    @property
    def dst_ip(self) -> str:
        """The server's address as text."""
        return address_text(self.dst)

    @property
    def sport(self) -> int:
        """The client's port; the type of an ICMP message."""
        return int(self.columns.sport[self.slot])

    @property
    def dport(self) -> int:
        """The server's port; the code of an ICMP message."""
        return int(self.columns.dport[self.slot])

    @property
    def vlan(self) -> int:
        """As `Packets.vlan`."""
        return int(self.columns.vlan[self.slot])

    @property
    def depth(self) -> int:
        """How many tunnels it is in; 0: it is on the wire itself."""
        return int(self.columns.depth[self.slot])

    def outer_ends(self, direction: Direction) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return who sends and who receives on the wire: the ends of the outermost tunnel, or its own."""
        columns, slot = self.columns, self.slot
        names = ("outer_src", "outer_dst") if self.depth else ("src", "dst")
        (low, high), (other_low, other_high) = (getattr(columns, name)[slot].tolist() for name in names)
        ends = (low, high), (other_low, other_high)
        return ends if direction is Direction.TO_SERVER else ends[::-1]

    @property
    def tunnel(self) -> Tunnel | None:
        """The outermost tunnel that it is in, as the first packet came, spelt as in events; None: it is in none."""
        columns, slot = self.columns, self.slot
        if not self.depth:
            return None
        src, dst = columns.outer_src[slot].tolist(), columns.outer_dst[slot].tolist()
        ports = int(columns.outer_sport[slot]), int(columns.outer_dport[slot])
        ends = address_text(tuple(src), columns.full_ipv6), address_text(tuple(dst), columns.full_ipv6)
        return Tunnel(*ends, *ports, int(columns.outer_proto[slot]), self.depth)

    @property
    def interface(self) -> int:
        """As `PacketBatch.interface`."""
        return int(self.columns.interface[self.slot])

    @property
    def echo_id(self) -> int | None:
        """Identifier of an ICMP echo and its reply; None for every other flow."""
        echo = int(self.columns.echo_id[self.slot])
        return None if echo < 0 else echo

    @property
    def start_ns(self) -> int:
        """Time of the first packet."""
        return int(self.columns.start_ns[self.slot])

    @property
    def last_ns(self) -> int:
        """Time of the latest packet."""
        return int(self.columns.last_ns[self.slot])

    @property
    def packets(self) -> tuple[int, int]:
        """Packets by `Direction`."""
        return self._pair("packets")

    @property
    def bytes(self) -> tuple[int, int]:
        """Wire bytes by `Direction`, link header included (as EVE counts)."""
        return self._pair("bytes")

    @property
    def unseen_packets(self) -> tuple[int, int]:
        """Of ``packets``, those that the gate did not show; known when the flow has ended."""
        return self._pair("unseen_packets")

    @property
    def unseen_bytes(self) -> tuple[int, int]:
        """Of ``bytes``, those of packets that the gate did not show."""
        return self._pair("unseen_bytes")

    @property
    def tcp_flags(self) -> tuple[int, int]:
        """All TCP flags seen, by `Direction`."""
        return self._pair("tcp_flags")

    @property
    def gaps(self) -> tuple[int, int]:
        """Stream bytes that were never seen, by `Direction`."""
        return self._pair("gaps")

    @property
    def conflicts(self) -> tuple[int, int]:
        """Segments whose overlapping bytes differed from those already seen, by `Direction`."""
        return self._pair("conflicts")

    @property
    def state(self) -> FlowState:
        """Where it stands."""
        return FlowState(int(self.columns.state[self.slot]))

    @state.setter
    def state(self, state: FlowState) -> None:
        self.columns.state[self.slot] = state

    @property
    def reason(self) -> str:
        """Why it ended, in EVE's words; ``unknown`` while it lives."""
        return EndReason(int(self.columns.reason[self.slot])).name.lower()

    @property
    def app_proto(self) -> str | None:
        """Protocol recognised by content, as EVE names it."""
        return self.columns.app_names[int(self.columns.app_proto[self.slot])]

    @app_proto.setter
    def app_proto(self, name: str | None) -> None:
        self.columns.app_proto[self.slot] = self.columns.app_code(name)

    @property
    def app_orig(self) -> str | None:
        """The protocol that the flow had before its present one, or None."""
        return self.columns.app_names[int(self.columns.app_orig[self.slot])]

    @property
    def first_number(self) -> int:
        """`PacketBatch.number` of the first packet."""
        return int(self.columns.first_number[self.slot])

    @property
    def source(self) -> str:
        """`PacketBatch.source` of the first packet."""
        return self.columns.sources[int(self.columns.source[self.slot])]

    @property
    def marks(self) -> Mark:
        """What is true of it."""
        return Mark(int(self.columns.marks[self.slot]))

    @property
    def variant(self) -> bool:
        """It is another version of a connection whose bytes are in doubt, and no conversation of its own."""
        return bool(self.columns.primary[self.slot])

    @property
    def midstream(self) -> bool:
        """No handshake was seen."""
        return self.has(Mark.MIDSTREAM)

    @property
    def proven(self) -> bool:
        """Nobody has forged it: each end acknowledged what only the other one can have sent it.

        Within a tunnel nothing is proof: who sends one datagram to anybody can put both sides of a conversation into
        such datagrams.
        """
        return self.has(Mark.PROVEN) and not self.depth

    @property
    def flagged(self) -> bool:
        """A rule or plugin asked for this flow's packets as Scapy packets; set it to ask."""
        return self.has(Mark.FLAGGED)

    @flagged.setter
    def flagged(self, wanted: bool) -> None:
        self.mark(Mark.FLAGGED, wanted)

    def has(self, mark: Mark) -> bool:
        """Return whether a mark is set."""
        return bool(self.columns.marks[self.slot] & mark)

    def mark(self, mark: Mark, on: bool = True) -> None:
        """Set a mark, or take it away."""
        marks = int(self.columns.marks[self.slot])
        self.columns.marks[self.slot] = marks | mark if on else marks & ~mark

    def _pair(self, name: str) -> tuple[int, int]:
        to_server, to_client = getattr(self.columns, name)[self.slot].tolist()
        return to_server, to_client

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the flow travel to another process, as it is now."""
        row = {name: getattr(self.columns, name)[self.slot].tolist() for name in _LAYOUT}
        return _travelled, (row, self.app_proto, self.app_orig, self.source)

    def __repr__(self) -> str:
        return f"<Flow {self.id} {self.src_ip}:{self.sport} to {self.dst_ip}:{self.dport} proto {self.proto}>"


def _travelled(row: dict[str, Any], app_proto: str | None, app_orig: str | None, source: str) -> Flow:
    columns = FlowColumns(1)
    for name, value in row.items():
        getattr(columns, name)[0] = value
    columns.app_proto[0], columns.app_orig[0] = columns.app_code(app_proto), columns.app_code(app_orig)
    columns.source[0] = columns.source_code(source)
    return Flow(columns, 0)  # no view that its columns know: both would wait for the garbage collector
