"""The packets that follow on a match and have events of their own: of flows that are being dropped, and those that
rules ask for with ``tag``.

Done where matches are decided, on decoded packets. What is armed is found in a batch by a hash of its ends, and then by
the ends themselves; where nothing is armed, nothing is done.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ids.counters import Counters
from ids.events import Event
from ids.flow.keys import echo_ids
from ids.respond import headers
from ids.respond.events import packet_keys
from ids.settings.respond import EveSettings
from ids.types import I64, LIVE, U64, Direction, Flow, Match, Packets
from ids.types.state import Tagged

MAX_WATCHED = 16_384
"""Flows and hosts that are watched at a time; the one that was armed longest ago goes first. Counted as
``events.packets_unwatched``."""

MAX_TAGS = 10
"""Tags on one flow or host, and how often the same one may begin anew, as in Suricata."""

MAX_PACKETS = 4096
"""Packets that one tag logs at most, whatever its rule asks for."""

MAX_EVENTS = 16_384
MAX_EVENTS_LIVE = 256
"""Events of one batch; what is more is counted as ``events.packets_not_written``. See `ids.respond.anomalies`."""

_SEEDS = tuple(np.uint64(secrets.randbits(64) | 1) for _ in range(4))
_FOLD = np.uint64(32)
_ICMP = (1, 58)
_SCTP = 132

Key: TypeAlias = tuple[Hashable, ...]


@dataclass(slots=True)
class Tag:
    """What a rule wants logged."""

    wanted: Tagged
    first_ns: int
    flow_id: int
    number: int
    """Of the packet that matched: the alert has it already."""
    packets: int = 0
    size: int = 0
    logged: int = 0
    begun: int = 1

    def takes(self, number: int, ts_ns: int, size: int) -> bool | None:
        """Return whether a packet is to be logged; None when the tag is used up."""
        self.packets += 1
        self.size += size
        if number == self.number and self.begun == 1:
            return False
        spent = {
            "packets": self.packets, "bytes": self.size, "seconds": (ts_ns - self.first_ns) / 1e9,
        }[self.wanted.metric]  # fmt: skip
        if spent > self.wanted.count or self.logged >= MAX_PACKETS:
            return None
        self.logged += 1
        return True


@dataclass(slots=True)
class Watched:
    """A flow or a host of which packets are logged."""

    hashed: int
    tags: dict[tuple[int, int], Tag] = field(default_factory=dict)
    """By group and number of their rules."""
    dropped: tuple[Flow, int] | None = None
    """The flow, where it is being dropped, and from behind which packet on."""
    sides: int = 0
    """Bits of the directions of which a dropped packet was reported."""


class Trailing:
    """Knows which packets to look out for."""

    def __init__(self, settings: EveSettings, counters: Counters) -> None:
        self._counters = counters
        self._flows: OrderedDict[Key, Watched] = OrderedDict()
        self._hosts: OrderedDict[Key, Watched] = OrderedDict()
        self._waiting: list[tuple[int, Match, Tagged | None]] = []
        """What the matches of this batch ask for: number of the packet, and the tag, or None for a drop."""
        self._keys: dict[int, Key] = {}
        """Of the flows that are watched, by their ids."""
        self.configure(settings)

    def configure(self, settings: EveSettings) -> None:
        """Go on by these settings."""
        self._settings = settings

    @property
    def watching(self) -> bool:
        """Whether there is anything to look out for."""
        return bool(self._waiting or self._flows or self._hosts)

    def drop(self, match: Match) -> None:
        """Look out for what follows in a flow that is being dropped."""
        if self._settings.drop_flows != "match" and match.flow.id:
            self._waiting.append((match.number, match, None))

    def tag(self, match: Match) -> None:
        """Look out for what a rule wants logged behind its alert."""
        if self._settings.tagged_packets:
            changes = match.signature.state.changes
            self._waiting += [(match.number, match, change) for change in changes if isinstance(change, Tagged)]

    def events(self, packets: Packets | None) -> list[Event]:
        """Return the events of a batch; None: the batch is not at hand, and what it showed is not logged."""
        if packets is None or not len(packets):
            self._waiting.clear()
            return []
        waiting = sorted(self._waiting, key=lambda entry: entry[0])[::-1]
        self._waiting = []
        made: list[Event] = []
        rows = self._candidates(packets, [match.flow for _, match, _ in waiting])
        keys = _keys(packets, rows)
        numbers = packets.batch.number[rows].tolist()
        for row, number, (key, client, hosts) in zip(rows.tolist(), numbers, keys, strict=True):
            while waiting and waiting[-1][0] <= number:
                self._arm(*waiting.pop())
            made += self._of_packet(packets, row, number, key, client, hosts)
        while waiting:
            self._arm(*waiting.pop())
        return self._bounded(made, live=packets.batch.source == LIVE)

    def forget(self, ended: Iterable[int]) -> None:
        """Forget flows that ended, by their ids: what comes on the same ports is another one."""
        for flow_id in self._keys.keys() & ended:
            self._flows.pop(self._keys.pop(flow_id), None)

    def _bounded(self, made: list[Event], *, live: bool) -> list[Event]:
        most = MAX_EVENTS_LIVE if live else MAX_EVENTS
        if len(made) > most:
            self._counters.add("events.packets_not_written", len(made) - most)
        return made[:most]

    def _candidates(self, packets: Packets, flows: list[Flow]) -> I64:
        """Return the rows that may be of what is watched, or is about to be."""
        src, dst = _ends_hash(packets.src), _ends_hash(packets.dst)
        watched = {entry.hashed for entry in self._flows.values()} | {_flow_hash(flow) for flow in flows}
        mine = packets.usable & np.isin(src + dst, np.array(list(watched), np.uint64))
        hosts = [entry.hashed for entry in self._hosts.values()]
        hosts += [hashed for flow in flows for hashed in _host_hashes(flow)]
        known = np.array(hosts, np.uint64)
        mine |= (np.isin(src, known) | np.isin(dst, known)) & (packets.ip_version != 0) & (packets.carrier < 0)
        rows: I64 = np.flatnonzero(mine)
        return rows

    def _arm(self, _number: int, match: Match, tagged: Tagged | None) -> None:
        flow = match.flow
        if tagged is None:
            watched = self._watch_flow(flow)
            if watched.dropped is None or watched.dropped[0].id != flow.id:
                watched.dropped, watched.sides = (flow, match.number), 0
            return
        if tagged.kind == "host":
            sender = tagged.side == "src"
            at_client = sender == (match.direction is Direction.TO_SERVER)
            address = flow.src if at_client else flow.dst
            watched = self._watch(self._hosts, address, _host_hashes(flow)[0 if at_client else 1])
        else:
            watched = self._watch_flow(flow)
        identity = match.signature.gid, match.signature.sid
        tag = watched.tags.get(identity)
        if tag is not None and tag.begun < MAX_TAGS:
            tag.packets, tag.size, tag.first_ns, tag.begun = 0, 0, match.ts_ns, tag.begun + 1
        elif tag is None and len(watched.tags) < MAX_TAGS:
            watched.tags[identity] = Tag(tagged, match.ts_ns, flow.id, match.number)

    def _watch_flow(self, flow: Flow) -> Watched:
        key = _key(flow)
        self._keys[flow.id] = key
        if len(self._keys) > 2 * MAX_WATCHED:
            self._keys = {flow_id: key for flow_id, key in self._keys.items() if key in self._flows}
        return self._watch(self._flows, key, _flow_hash(flow))

    def _watch(self, among: OrderedDict[Key, Watched], key: Key, hashed: int) -> Watched:
        watched = among.get(key)
        if watched is None:
            watched = among[key] = Watched(hashed)
            if len(among) > MAX_WATCHED:
                among.popitem(last=False)
                self._counters.add("events.packets_unwatched")
        return watched

    def _of_packet(
        self, packets: Packets, row: int, number: int, key: Key, client: Key, hosts: tuple[Key, Key]
    ) -> list[Event]:
        """Return the events of one packet of something that is watched."""
        made: list[Event] = []
        flow = self._flows.get(key) if packets.usable[row] else None
        if flow is not None and flow.dropped is not None and number > flow.dropped[1]:
            side = Direction.TO_SERVER if client == _client(flow.dropped[0]) else Direction.TO_CLIENT
            if self._settings.drop_flows == "all" or not flow.sides >> side & 1:
                made.append(self._drop(packets, row, flow.dropped[0], side))
            flow.sides |= 1 << side
        flow_id = 0
        logged = False
        for among, of in ((self._flows, key), *((self._hosts, host) for host in dict.fromkeys(hosts))):
            watched = among.get(of)
            if watched is None or (among is self._flows and flow is None):
                continue
            for identity, tag in list(watched.tags.items()):
                taken = tag.takes(number, int(packets.batch.ts_ns[row]), int(packets.batch.wirelen[row]))
                if taken is None:
                    del watched.tags[identity]
                elif taken:
                    logged = True
                    flow_id = flow_id or (tag.flow_id if among is self._flows else 0)
            if not watched.tags and watched.dropped is None:
                del among[of]
        if logged:
            made.append(self._packet(packets, row, flow_id))
        return made

    def _packet(self, packets: Packets, row: int, flow_id: int) -> Event:
        """Return the ``packet`` event of a tagged packet."""
        event = headers.packet_base("packet", packets, row, flow_id, self._settings)
        wire = int(np.searchsorted(packets.batch.number, packets.batch.number[row]))
        return event | packet_keys(*headers.frame(packets, row, min(wire, row)))

    def _drop(self, packets: Packets, row: int, flow: Flow, side: Direction) -> Event:
        """Return the ``drop`` event of a packet of a flow that is being dropped."""
        event = headers.packet_base("drop", packets, row, flow.id, self._settings)
        event["direction"] = "to_server" if side is Direction.TO_SERVER else "to_client"
        event["drop"] = {**headers.header_fields(packets, row), "reason": "flow drop"}
        if self._settings.verdict:
            event["verdict"] = {"action": "drop"}
        return event


def _ends_hash(ends: U64) -> U64:
    with np.errstate(over="ignore"):
        value = ends[:, 0] * _SEEDS[0] ^ ends[:, 1] * _SEEDS[1]
        value ^= value >> _FOLD
        value = value * _SEEDS[2]
        hashed: U64 = value ^ value >> _FOLD
    return hashed


def _host_hashes(flow: Flow) -> list[int]:
    hashed: list[int] = _ends_hash(np.array([flow.src, flow.dst], np.uint64)).tolist()
    return hashed


def _flow_hash(flow: Flow) -> int:
    return sum(_host_hashes(flow)) & 0xFFFFFFFFFFFFFFFF


def _client(flow: Flow) -> Key:
    return (*flow.src, *_ports(flow)[:1])


def _ports(flow: Flow) -> tuple[int, int]:
    """Return what tells flows between two hosts apart: ports, or the identifier of an echo. Of SCTP nothing does."""
    if flow.proto in _ICMP:
        echo = -1 if flow.echo_id is None else flow.echo_id
        return echo, echo
    return (0, 0) if flow.proto == _SCTP else (flow.sport, flow.dport)


def _key(flow: Flow) -> Key:
    sport, dport = _ports(flow)
    ends = sorted(((*flow.src, sport), (*flow.dst, dport)))
    return *ends[0], *ends[1], flow.proto, flow.vlan, flow.depth


def _keys(packets: Packets, rows: I64) -> list[tuple[Key, Key, tuple[Key, Key]]]:
    """Return of packets the key of their flow, that of their sender in it, and those of both hosts."""
    proto = packets.proto[rows]
    icmp = np.isin(proto, _ICMP)
    echo = echo_ids(packets, rows)
    made: list[tuple[Key, Key, tuple[Key, Key]]] = []
    for src, dst, sport, dport, number, vlan, depth in zip(
        packets.src[rows].tolist(),
        packets.dst[rows].tolist(),
        np.where(icmp, echo, packets.sport[rows]).tolist(),
        np.where(icmp, echo, packets.dport[rows]).tolist(),
        proto.tolist(),
        packets.vlan[rows].tolist(),
        packets.depth[rows].tolist(),
        strict=True,
    ):
        sender, receiver = (*src, sport), (*dst, dport)
        ends = sorted((sender, receiver))
        made.append(((*ends[0], *ends[1], number, vlan, depth), sender, (tuple(src), tuple(dst))))
    return made
