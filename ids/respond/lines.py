"""The events of many flows and exchanges at once, as lines of JSON: spelt straight from columns, for most events are
written and never looked at.

The keys are those that `ids.respond.events` gives single events, and come in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np

from ids.events import Lines, spell
from ids.flow.keys import answer_to
from ids.later import late_pattern
from ids.protocols import EVENT_OF, OF_SENDER
from ids.protocols.files import Body, File
from ids.protocols.recognition import FAILED
from ids.respond.community_id import community_ids
from ids.respond.events import (
    ICMP,
    WIRE,
    WITH_PORTS,
    exchange,
    interface_name,
    packet_source,
    protocol_name,
    second,
    tunnel,
    vlan_tags,
)
from ids.respond.files import body_fields, file_fields
from ids.types import (
    I64,
    LIVE,
    Bool,
    EndReason,
    FlowColumns,
    FlowState,
    Mark,
    TcpState,
    Transaction,
    address_texts,
    among,
    ascending,
)
from ids.types.transactions import Fields

_TCP, _UDP = 6, 17
_AT_THE_END = ',"pkt_src":"stream (flow timeout)"'
"""Suricata's words for what no packet has completed, but the end of its flow,"""
_LAST = ',"pkt_src":"stream (detect/log)"'
"""and for what it lets go of where a protocol ends within a flow."""
_SOURCE = ',"pkt_src":'
_SECOND = 1_000_000_000
_ENDS = late_pattern(r'"src_ip":("[^"]*"),"src_port":(\d+),"dest_ip":("[^"]*"),"dest_port":(\d+),')
_BACK = r'"src_ip":\3,"src_port":\4,"dest_ip":\1,"dest_port":\2,'
NUMBERED = frozenset(("http", "smtp", "ssh", "ftp", "ftp_data"))
"""Types of events that have the number of their exchange beside it, as in Suricata."""
_NAMES = [protocol_name(number) for number in range(256)]
_DIGITS = [f"{number:03d}" for number in range(1000)]
_STATES = [state.eve for state in FlowState]
_REASONS = [reason.name.lower() for reason in EndReason]
_TCP_STATES = [state.name.lower() for state in TcpState]
_TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr")

MAX_KEPT = 32_768
"""Flows of which the common words are kept until they end, some 250 bytes each; of more, they are spelt again."""


class EventLines:
    """Spells the events of one batch. What two events of a flow have in common is spelt once."""

    def __init__(self, flows: FlowColumns, kept: dict[int, str] | None = None, *, ending: bool = False) -> None:
        """``ending``: no packet caused the events of this batch; they are written because flows end.

        ``kept``: where words of flows that go on are kept from batch to batch, by id. Whoever has it lets them go.
        """
        self._flows = flows
        self._ending = ending
        self._kept = kept
        self._ends: dict[int, str] = {}
        """By slot: the keys that every event of a flow carries in the same words,"""
        self._swapped: dict[int, str] = {}
        """and in those of packets of the server."""
        self._objects: dict[int, str] = {}
        """By identity of a transaction of the batch: its object, where that was spelt."""

    def transactions(self, transactions: Sequence[Transaction]) -> list[Lines]:
        """Return the events of completed protocol exchanges, such as ``http``; those of one protocol together."""
        by_type: dict[str, list[Transaction]] = {}
        for transaction in transactions:
            protocol = transaction.protocol
            by_type.setdefault(EVENT_OF.get(protocol, protocol), []).append(transaction)
        return [self._of_type(event_type, rows) for event_type, rows in by_type.items()]

    def flows(self, slots: I64) -> Lines:
        """Return the ``flow`` events of flows that ended; `ids.respond.responder.Responder.close` completes those that
        matched.
        """
        flows = self._flows
        start_ns, end_ns = flows.start_ns[slots], flows.last_ns[slots]
        ends = timestamps(end_ns)
        columns = zip(
            self._heads("flow", slots, ends, None),
            self._app_protos(slots),
            flows.packets[slots, 0].tolist(),
            flows.packets[slots, 1].tolist(),
            flows.bytes[slots, 0].tolist(),
            flows.bytes[slots, 1].tolist(),
            timestamps(start_ns),
            ends,
            np.maximum(end_ns // _SECOND - start_ns // _SECOND, 0).tolist(),
            self._endings(slots),
            self._answers(slots),
            strict=True,
        )
        lines = [
            f'{head}{answer},{app_proto}"flow":{{"pkts_toserver":{packets},"pkts_toclient":{back},"bytes_toserver":{size},'
            f'"bytes_toclient":{size_back},"start":"{start}","end":"{end}","age":{age},{ending}}}\n'
            for head, app_proto, packets, back, size, size_back, start, end, age, ending, answer in columns
        ]
        return Lines("flow", "".join(lines).encode(), len(lines))

    def _app_protos(self, slots: I64) -> list[str]:
        """Say which protocol flows speak, and what the few that changed it spoke before."""
        flows = self._flows
        now, before = flows.app_proto[slots], flows.app_orig[slots]
        texts = [f'"app_proto":"{name}",' if name else "" for name in flows.app_names]
        if FAILED in flows.app_names:  # of UDP it may have shown in a datagram that never came
            now = np.where((now == 0) & (flows.proto[slots] == _UDP), flows.app_names.index(FAILED), now)
        protos = list(map(texts.__getitem__, now.tolist()))
        for at in np.flatnonzero((before != 0) & (before != now)).tolist():
            protos[at] += f'"app_proto_orig":"{flows.app_names[before[at]]}",'
        return protos

    def _answers(self, slots: I64) -> list[str]:
        """Say of ICMP flows that were answered what the answers are."""
        flows = self._flows
        answers = [""] * len(slots)
        icmp = among(flows.proto[slots], ICMP) & (flows.packets[slots, 1] > 0)
        for at in np.flatnonzero(icmp).tolist():
            slot = slots[at]
            kind = answer_to(int(flows.proto[slot]), int(flows.sport[slot]))
            answers[at] = f',"response_icmp_type":{kind},"response_icmp_code":{int(flows.dport[slot])}'
        return answers

    def _of_type(self, event_type: str, rows: list[Transaction]) -> Lines:
        slots = np.array([row.slot for row in rows])
        times = timestamps(np.array([row.ts_ns for row in rows]))
        swapped = [bool(row.direction) for row in rows] if event_type in OF_SENDER else None
        heads = self._heads(event_type, slots, times, [row.number for row in rows], swapped)
        objects = list(map(_said, rows))
        self._objects.update(zip(map(id, rows), objects, strict=True))
        for at, row in enumerate(rows):
            if row.last and not self._ending:
                heads[at] = heads[at][: heads[at].rindex(_SOURCE)] + _LAST
        if event_type in NUMBERED:
            columns = zip(heads, rows, objects, strict=True)
            lines = [f'{head},"tx_id":{row.tx_id},{said}}}\n' for head, row, said in columns]
        else:
            lines = [f"{head},{said}}}\n" for head, said in zip(heads, objects, strict=True)]
        return Lines(event_type, "".join(lines).encode(), len(lines))

    def files(self, files: Sequence[File], hashes: Sequence[str], *, magic: bool) -> Lines:
        """Return the ``fileinfo`` events of files; addresses are those of a packet of whoever sends the file."""
        slots = np.array([file.slot for file in files])
        times = timestamps(np.array([file.ts_ns for file in files]))
        of_server = [bool(file.direction) for file in files]
        heads = self._heads("fileinfo", slots, times, [file.number for file in files], of_server)
        lines = [
            f'{head},{_objects(file.protocol, file.fields)},"app_proto":"{file.protocol}",'
            f'"fileinfo":{spell(file_fields(file, hashes, magic=magic))}}}\n'
            for head, file in zip(heads, files, strict=True)
        ]
        return Lines("fileinfo", "".join(lines).encode(), len(lines))

    def bodies(self, bodies: Sequence[Body]) -> Lines:
        """Return the ``fileinfo`` events of files that are the whole bodies of what a server sent."""
        rows = [body.row for body in bodies]
        slots = np.array([row.slot for row in rows])
        times = timestamps(np.array([row.ts_ns for row in rows]))
        heads = self._heads("fileinfo", slots, times, [row.number for row in rows], [True] * len(rows))
        objects = [self._objects.get(id(row)) or _said(row) for row in rows]
        lines = [
            f'{head},{said},"app_proto":"{row.protocol}","fileinfo":{body_fields(name, size, row.tx_id)}}}\n'
            for head, said, (row, name, size) in zip(heads, objects, bodies, strict=True)
        ]
        return Lines("fileinfo", "".join(lines).encode(), len(lines))

    def _heads(
        self,
        event_type: str,
        slots: I64,
        times: list[str],
        numbers: Sequence[int] | None,
        swapped: Sequence[bool] | None = None,
    ) -> list[str]:
        """Return how each event begins; ``numbers`` are those of the packets that caused them, 0 where none did; None:
        none of them.

        ``swapped``: whether each is of a packet of the server. None: all are of packets of the client.
        """
        flows = self._flows
        live = flows.sources.index(LIVE) if LIVE in flows.sources else -1
        counts: Iterable[str] = repeat("", len(slots))
        if numbers is not None:
            counts = [
                f'"pcap_cnt":{number},' if number and source != live else ""
                for number, source in zip(numbers, flows.source[slots].tolist(), strict=True)
            ]
        self._spell_ends(slots, keep=event_type != "flow")
        ends: Iterable[str] = map(self._ends.__getitem__, slots.tolist())
        if swapped is not None:
            ends = [
                self._back(slot, end) if back else end
                for slot, end, back in zip(slots.tolist(), ends, swapped, strict=True)
            ]
        columns = zip(times, flows.id[slots].tolist(), counts, ends, self._sources(event_type, slots), strict=True)
        return [
            f'{{"timestamp":"{time}","flow_id":{flow_id},{count}"event_type":"{event_type}",{ends}{source}'
            for time, flow_id, count, ends, source in columns
        ]

    def _sources(self, event_type: str, slots: I64) -> Iterable[str]:
        """Say where the packets of events came from; that of a flow is of no packet."""
        if event_type == "flow":
            return repeat("", len(slots))
        flows = self._flows
        sources = [f',"pkt_src":"{WIRE}"'] * len(slots)
        for at in np.flatnonzero(flows.depth[slots]).tolist():
            sources[at] = f',"pkt_src":"{packet_source(flows.view(int(slots[at])))}"'
        if self._ending:
            for at in np.flatnonzero(flows.proto[slots] == _TCP).tolist():
                sources[at] = _AT_THE_END
        return sources

    def _back(self, slot: int, ends: str) -> str:
        """Return addresses and ports as packets of the server have them."""
        back = self._swapped.get(slot)
        if back is None:
            back = self._swapped[slot] = _ENDS.sub(_BACK, ends, count=1)
        return back

    def _spell_ends(self, slots: I64, *, keep: bool) -> None:
        """Spell addresses, ports, protocol and source of the flows that are not spelt yet."""
        flows, known, kept = self._flows, self._ends, self._kept
        new = [slot for slot in dict.fromkeys(slots.tolist()) if slot not in known]
        if new and kept:
            before = list(map(kept.get, flows.id[new].tolist()))
            known.update((slot, ends) for slot, ends in zip(new, before, strict=True) if ends is not None)
            new = [slot for slot, ends in zip(new, before, strict=True) if ends is None]
        if not new:
            return
        of = np.array(new)
        proto = flows.proto[of]
        columns = zip(
            new,
            address_texts(flows.src[of], flows.full_ipv6),
            address_texts(flows.dst[of], flows.full_ipv6),
            flows.sport[of].tolist(),
            flows.dport[of].tolist(),
            map(_NAMES.__getitem__, proto.tolist()),
            flows.ip_version[of].tolist(),
            community_ids(flows, of),
            map([_source(name) for name in flows.sources].__getitem__, flows.source[of].tolist()),
            strict=True,
        )
        for slot, src, dst, sport, dport, name, version, community, source in columns:
            known[slot] = (
                f'"src_ip":"{src}","src_port":{sport},"dest_ip":"{dst}","dest_port":{dport},"proto":"{name}",'
                f'"ip_v":{version},"community_id":"{community}"{source}'
            )
        rare = (flows.vlan[of] != 0) | (flows.depth[of] != 0) | ~among(proto, WITH_PORTS)
        if LIVE in flows.sources:
            rare |= flows.source[of] == flows.sources.index(LIVE)
        for slot in of[rare].tolist():
            known[slot] = self._rare_ends(slot, known[slot])
        if kept is not None and keep and len(kept) + len(new) <= MAX_KEPT:
            kept.update(zip(flows.id[of].tolist(), map(known.__getitem__, new), strict=True))

    def _rare_ends(self, slot: int, ends: str) -> str:
        """Add what few flows have: an interface, VLAN tags, a tunnel around them, no ports."""
        flow = self._flows.view(slot)
        if flow.proto not in WITH_PORTS:
            ends = ends.replace(f'"src_port":{flow.sport},', "").replace(f'"dest_port":{flow.dport},', "")
            if flow.proto in ICMP:
                ends += f',"icmp_type":{flow.sport},"icmp_code":{flow.dport}'
        if flow.vlan:
            ends += f',"vlan":{spell(vlan_tags(flow.vlan))}'
        if flow.depth:
            ends += f',"tunnel":{spell(tunnel(flow))}'
        if flow.source == LIVE:
            ends += f',"in_iface":{spell(interface_name(flow.interface))}'
        return ends

    def _fates(self, slots: I64) -> list[str]:
        """Say whether flows were bypassed or dropped, and what passed without being shown; of a flow that was dropped,
        that is not what passed."""
        flows = self._flows
        fates = [""] * len(slots)
        marks = flows.marks[slots]
        unseen: Bool = np.any(flows.unseen_packets[slots], axis=1)
        for at in np.flatnonzero(unseen | (marks & (Mark.BYPASSED | Mark.CONDEMNED) != 0)).tolist():
            if marks[at] & Mark.BYPASSED:
                fates[at] += ',"bypass":"capture"'
            if marks[at] & Mark.CONDEMNED:
                fates[at] += ',"action":"drop"'
            elif unseen[at]:
                packets, size = flows.unseen_packets[slots[at]].tolist(), flows.unseen_bytes[slots[at]].tolist()
                fates[at] += (
                    f',"bypassed":{{"pkts_toserver":{packets[0]},"pkts_toclient":{packets[1]},'
                    f'"bytes_toserver":{size[0]},"bytes_toclient":{size[1]}}}'
                )
        return fates

    def _endings(self, slots: I64) -> list[str]:
        """Say how flows ended, what became of them, and what TCP shows of them. Most have ended alike."""
        flows = self._flows
        flags, gaps = flows.tcp_flags[slots].astype(np.int64), flows.gaps[slots] != 0
        parts = (
            flows.proto[slots] == _TCP, flows.state[slots], flows.tcp_state[slots], flows.reason[slots], flags[:, 0],
            flags[:, 1], gaps[:, 0], gaps[:, 1],
        )  # fmt: skip
        key = np.zeros(len(slots), np.int64)
        for part in parts:
            key = key << 8 | part
        _, first, of = np.unique(key, return_index=True, return_inverse=True)
        kinds = [_ending(*kind) for kind in zip(*(part[first].tolist() for part in parts), strict=True)]
        endings = [kinds[kind] for kind in of.tolist()]
        return [f"{said}{fate}}}{tcp}" for (said, tcp), fate in zip(endings, self._fates(slots), strict=True)]


def timestamps(ts_ns: I64) -> list[str]:
    """Spell times in EVE's way, as `ids.respond.events.timestamp` does one."""
    seconds, micros = np.divmod(ts_ns // 1000, 1_000_000)
    texts = {of: second(of) for of in ascending(seconds).tolist()}
    high, low = np.divmod(micros, 1000)
    columns = zip(seconds.tolist(), high.tolist(), low.tolist(), strict=True)
    return [f"{texts[of]}.{_DIGITS[milli]}{_DIGITS[micro]}+0000" for of, milli, micro in columns]


def _said(row: Transaction) -> str:
    """Return what is logged of an exchange, as its parser has spelt it, or as `_objects` does."""
    spelt = row.spelt()
    return _objects(row.protocol, row.fields) if spelt is None else spelt


def _objects(protocol: str, fields: Fields) -> str:
    """Return what is logged of an exchange: the object of its protocol, and those that stand beside it."""
    return ",".join([f'"{key}":{spell(value)}' for key, value in exchange(protocol, fields).items()])


def _source(name: str) -> str:
    return "" if name == LIVE else f',"pcap_filename":{spell(name)}'


def _ending(
    tcp: bool, state: int, tcp_state: int, reason: int, to_server: int, to_client: int, gap: bool, gap_back: bool
) -> tuple[str, str]:
    """Return the last keys of a ``flow`` object, and the ``tcp`` object behind it where there is one; a side's bytes
    are in one place here, so that it always has one region.
    """
    if tcp and TcpState(tcp_state).over:
        state = FlowState.CLOSED
    said = f'"state":"{_STATES[state]}","reason":"{_REASONS[reason]}","alerted":false'
    if not tcp:
        return said, ""
    both = to_server | to_client
    flags = "".join(f'"{name}":true,' for bit, name in enumerate(_TCP_FLAGS) if both >> bit & 1)
    gaps = (',"ts_gap":true' if gap else "") + (',"tc_gap":true' if gap_back else "")
    return said, (
        f',"tcp":{{"tcp_flags":"{both:02x}","tcp_flags_ts":"{to_server:02x}","tcp_flags_tc":"{to_client:02x}",{flags}'
        f'"state":"{_TCP_STATES[tcp_state]}"{gaps},"ts_max_regions":1,"tc_max_regions":1}}'
    )
