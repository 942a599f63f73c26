"""What the XDP program does with a packet, in plain Python: for replays without privileges, and to hold the program to.

`Model` makes the checks of ``bpf/xdp_ids.c`` in the same order, with the same counters, on state of its own;
``tests/kernel/test_differential.py`` holds the two equal. It costs some five microseconds a packet; a test run of the
program costs two, the program in its place in the driver a twentieth of one. Left out: the rings (a shown packet is
taken to have found room), the egress program, and this host's listeners: it has none, so none makes SYN cookies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ids.kernel.contract import (
    COUNTER_NAMES,
    LARGE_DATA,
    REASON_WOULD,
    BlockFlag,
    Charged,
    Cut,
    Fate,
    Flags,
    FlowVerdict,
    KernelFlowState,
    LimitKind,
    Lists,
    Reason,
    Tunnel,
)
from ids.kernel.model.cookie import COOKIE_MASK, SLOT_SHIFT, cookie, syn_mark
from ids.kernel.model.flows import (
    WAVED_THROUGH,
    FlowEntry,
    first_flow,
    flow_key,
    flow_seen,
    is_condemned,
    is_deep,
    is_solicited,
    shown_bytes,
)
from ids.kernel.model.parse import (
    ACK,
    FIRST_FRAGMENT,
    ICMP,
    ICMPV6,
    LATER_FRAGMENT,
    NO_PORT,
    RST,
    SYN,
    TCP,
    UDP,
    WHOLE,
    Packet,
    judge_headers,
    neighbour,
    parse_addresses,
)
from ids.kernel.model.state import (
    MAX_ENTRIES,
    AllowEntry,
    BlockEntry,
    Bounded,
    BudgetEntry,
    ModelConfig,
    Trie,
)
from ids.kernel.model.tunnels import MAX_TUNNELS, PROTO_TUNNELS, Entry, carried, enter_tunnel
from ids.types import IPNetwork

XDP_DROP, XDP_PASS, XDP_TX = 1, 2, 3

AMPLIFIER_PORTS = frozenset(
    (17, 19, 53, 69, 111, 123, 137, 161, 389, 520, 1194, 1434, 1900, 3283, 3389, 3702, 5093, 5353, 5683, 10001, 11211)
) | {27015, 37810}
"""As ``ids_is_amplifier`` in ``bpf/ids_flood.h``."""

_ARP = b"\x08\x06"
FRAGMENT_NS = 60_000_000_000
MAX_SOLICITED = 64
ADMITTED_NS = 10_000_000_000
REPEAT_MS, REPEAT_MAX_MS = 900, 10_000
MAX_NESTED = 8
"""Entries of one source's prefixes that are passed over, because they have expired or only count."""

_CHARGED: dict[int, int] = {
    LimitKind.SRC_SYN: Charged.SOURCE,
    LimitKind.DST_SYN: Charged.DESTINATION,
    LimitKind.DST_REPEATED: Charged.REPEATED,
}
_GO_ON = 0
_U64 = (1 << 64) - 1
_U32 = (1 << 32) - 1
_MAPPED = bytes(10) + b"\xff\xff"


class Verdict(NamedTuple):
    """What becomes of one packet."""

    action: int
    """XDP_DROP, XDP_PASS or XDP_TX."""
    reason: int
    """The one PASS or DROP `Reason` that it was counted under."""


class Model:
    """The program with its maps."""

    def __init__(self, config: ModelConfig | None = None, max_entries: int = MAX_ENTRIES) -> None:
        """``max_entries`` bounds each of the tables that the program fills by itself."""
        self.config = config or ModelConfig()
        self.blocks: dict[bytes, BlockEntry] = {}
        """By packed address, both families."""
        self.prefixes: dict[int, Trie[BlockEntry]] = {4: Trie(), 6: Trie()}
        self.allowed: dict[int, Trie[AllowEntry]] = {4: Trie(), 6: Trie()}
        self.flows: Bounded[FlowEntry] = Bounded(max_entries)
        """By key as in ``ids_flow4`` and ``ids_flow6``."""
        self.proven: Bounded[int] = Bounded(max_entries)
        self.fragments: Bounded[tuple[int, int, int]] = Bounded(max_entries)
        """When a first fragment came, its datagram's `Fate`, how many came behind; by key as in ``ids_fragments``."""
        self.repeats: dict[int, tuple[int, int]] = {}
        """Marks of challenged SYNs and when they came (ms), by place; as many as ``config.repeats``."""
        self.src_budgets: Bounded[BudgetEntry] = Bounded(max_entries)
        self.dst_budgets: Bounded[BudgetEntry] = Bounded(max_entries)
        self.counts: dict[int, list[int]] = {number: [0, 0] for number in COUNTER_NAMES}
        """Packets and bytes by `Reason`, notes included."""
        self.tunnels: Mapping[int, Tunnel] = {}
        """Kind of tunnel by UDP port."""
        self._now_ns = 0
        self._pressed = False

    # ---- what user space does ------------------------------------------------------------------------------------

    def block(self, network: IPNetwork, entry: BlockEntry) -> None:
        """Put a network on the blocklist, or change its entry."""
        address = network.network_address.packed
        if network.prefixlen == network.max_prefixlen:
            self.blocks[address] = entry
            return
        self.prefixes[network.version].add(address, network.prefixlen, entry)
        self.config.lists |= Lists.PREFIX4 if network.version == 4 else Lists.PREFIX6
        self.config.generation += 1

    def allow(self, network: IPNetwork) -> None:
        """Put a network on the allow-list."""
        self.allowed[network.version].add(network.network_address.packed, network.prefixlen, AllowEntry())

    # ---- the program ---------------------------------------------------------------------------------------------

    def run(self, frame: bytes, now_ns: int) -> Verdict:
        """Judge one Ethernet frame at a moment of the clock by which the entries expire."""
        packet = Packet(frame)
        self._now_ns = now_ns
        reason = self._judge(packet)
        action = 0
        if reason in (Reason.DROP_CHALLENGED, Reason.PASS_STRAY_RESET):
            action, reason = self._challenge_or_check(packet)
        self._count(reason, packet.len)
        return Verdict(action or (XDP_DROP if reason >= Reason.DROP_BLOCKED else XDP_PASS), reason)

    def _judge(self, packet: Packet) -> int:
        if self._engine_gone():
            return Reason.PASS_ENGINE_GONE
        reason = parse_addresses(packet)
        if reason and reason < Reason.DROP_BLOCKED:
            return self._pass_unparsed(packet, reason)
        if reason:
            shadowed = reason >= Reason.DROP_BLOCKED and self._shadows(packet, reason)
            return Reason.PASS_SHADOW_MALFORMED if shadowed else reason
        reason = self._apply(self.blocks.get(packet.src), packet, Reason.DROP_BLOCKED)
        if reason:
            return reason
        malformed = judge_headers(packet)
        if malformed:
            return self._check_malformed(packet, malformed)
        packet.tunnel = self._find_tunnel(packet)
        if packet.tunnel and not packet.shadowed:
            reason = self._judge_within(packet)
        return reason or self._judge_flow(packet)

    def _pass_unparsed(self, packet: Packet, reason: int) -> int:
        if not self.config.flags & Flags.DROP_UNPARSED or packet.kind == _ARP:
            return reason
        drop = Reason.DROP_VLAN_TAGS if reason == Reason.PASS_VLAN_TAGS else Reason.DROP_NOT_IP
        return reason if self._shadows(packet, drop) else drop

    def _engine_gone(self) -> bool:
        config = self.config
        return bool(
            config.flags & Flags.GONE_PASS
            and config.gone_after_ns
            and self._now_ns > config.heartbeat_ns + config.gone_after_ns
        )

    def _check_malformed(self, packet: Packet, malformed: int) -> int:
        reason = self._check_prefix(packet, None, 0)
        if reason:
            return reason
        if self._is_allowed(packet):
            return Reason.PASS_ALLOWED_MALFORMED
        return Reason.PASS_SHADOW_MALFORMED if self._shadows(packet, malformed) else malformed

    def _judge_flow(self, packet: Packet) -> int:
        if packet.fragment != WHOLE:
            packet.fate = self._fragment_fate(packet)
        if packet.tcp_flags & SYN:
            packet.apart, packet.neighbour = bool(self.config.flags & Flags.APART), neighbour(packet.frame)
        side, key = flow_key(packet)
        flow = self.flows.get(key)
        reason = self._check_prefix(packet, flow, side)
        if not reason and packet.fate & Fate.CONDEMNED and not self._is_allowed(packet):
            reason = _GO_ON if self._shadows(packet, Reason.DROP_FLOW_FRAGMENT) else Reason.DROP_FLOW_FRAGMENT
        reason = reason or self._check_budgets(packet, flow, side)
        if not reason and self._may_answer(packet, flow, side):
            return Reason.PASS_STRAY_RESET
        return reason or self._track_and_show(packet, flow, side, key)

    def _track_and_show(self, packet: Packet, flow: FlowEntry | None, side: int, key: bytes) -> int:
        if flow is None:
            flow = self._add_flow(packet, key, side)
        reason = self._check_flow(packet, flow, side)
        if reason == Reason.PASS_SHOWN and packet.len > LARGE_DATA:
            self._count(Reason.NOTE_SNAPPED, packet.len)
        if reason == Reason.PASS_SHOWN and not packet.unknown_header and self._is_for_all(packet):
            for _ in range(1, self.config.workers):
                self._count(Reason.NOTE_COPIED, packet.len)
        return reason

    def _is_for_all(self, packet: Packet) -> bool:
        """Return whether every worker is shown a packet."""
        if packet.fragment != WHOLE:
            return True
        shared = self.config.shared_ports
        return packet.proto == TCP and (packet.sport in shared or packet.dport in shared)

    def _count(self, reason: int, length: int) -> None:
        count = self.counts[reason]
        count[0] += 1
        count[1] += length

    def _shadows(self, packet: Packet, reason: int) -> bool:
        """Count what shadow mode keeps from being dropped, once a packet; return whether it does."""
        if not self.config.flags & Flags.SHADOW:
            return False
        if not packet.shadowed:
            self._count(REASON_WOULD + reason, packet.len)
        packet.shadowed = True
        return True

    # ---- lists ---------------------------------------------------------------------------------------------------

    def _is_allowed(self, packet: Packet) -> bool:
        entry = self.allowed[packet.version].lookup(packet.src)
        if entry is None:
            return False
        entry.packets += 1
        entry.bytes += packet.len
        self._count(Reason.NOTE_ALLOWED, packet.len)
        return True

    def _is_expired(self, entry: BlockEntry) -> bool:
        return bool(entry.expires_ns and entry.expires_ns <= self._now_ns)

    def _apply(self, entry: BlockEntry | None, packet: Packet, reason: Reason) -> int:
        holds = entry is not None and not self._is_expired(entry)
        enforces = entry is not None and holds and entry.mode != BlockFlag.SHADOW
        if entry is not None and holds and not enforces:
            self._hit(entry, packet)
            self._count(Reason.NOTE_SHADOW, packet.len)
            packet.met_shadow = True
        if not enforces and not (packet.met_shadow and self.config.flags & Flags.SHADOW):
            return _GO_ON
        if self._is_allowed(packet):
            return _GO_ON
        if entry is not None and enforces:
            self._hit(entry, packet)
        return _GO_ON if self._shadows(packet, reason) else reason

    def _hit(self, entry: BlockEntry, packet: Packet) -> None:
        entry.packets += 1
        entry.bytes += packet.len
        entry.last_hit_ns = self._now_ns

    def _check_prefix(self, packet: Packet, flow: FlowEntry | None, side: int) -> int:
        generation = self.config.generation & _U32
        if not self.config.lists or packet.shadowed or (flow is not None and flow.generation[side] == generation):
            return _GO_ON
        packet.met_shadow = False
        wanted = Lists.PREFIX4 if packet.version == 4 else Lists.PREFIX6
        entries = list(self.prefixes[packet.version].matches(packet.src)) if self.config.lists & wanted else []
        if not entries and flow is not None:
            flow.generation[side] = generation
        last = None
        for nested, last in enumerate(entries, 1):
            hides = last.mode != BlockFlag.SHADOW and not self._is_expired(last)
            if nested == MAX_NESTED or hides:
                break
            if not self._is_expired(last):
                self._hit(last, packet)
                self._count(Reason.NOTE_SHADOW, packet.len)
                packet.met_shadow = True
            last = None
        return self._apply(last, packet, Reason.DROP_BLOCKED_PREFIX)

    # ---- tunnels -------------------------------------------------------------------------------------------------

    def _find_tunnel(self, packet: Packet) -> int:
        """Return how a packet carries another, as a `Tunnel`."""
        if packet.proto == TCP or not self.config.flags & Flags.TUNNELS or packet.fragment == LATER_FRAGMENT:
            return Tunnel.NONE
        if packet.proto != UDP:
            return PROTO_TUNNELS.get(packet.proto, Tunnel.NONE)
        sport, dport = packet.first_ports if packet.fragment != WHOLE else (packet.sport, packet.dport)
        kinds = (self.tunnels.get(int.from_bytes(port, "big"), Tunnel.NONE) for port in (dport, sport))
        return next(filter(None, kinds), Tunnel.NONE)

    def _judge_within(self, packet: Packet) -> int:
        """Ask the lists for who sends within a tunnel, and within that."""
        inner, entry, reason = carried(packet), Entry.ENTERED, _GO_ON
        for _ in range(MAX_TUNNELS):
            if not inner.tunnel:
                break
            entry = enter_tunnel(inner)
            if entry:
                break
            inner.met_shadow = False
            reason = self._apply(self.blocks.get(inner.src), inner, Reason.DROP_BLOCKED)
            reason = reason or self._check_prefix(inner, None, 0)
            if reason or inner.shadowed or inner.malformed:
                break
            inner.tunnel = self._find_tunnel(inner)
        packet.shadowed = inner.shadowed
        if reason or packet.shadowed:
            self._count(Reason.NOTE_IN_TUNNEL, packet.len)
            return reason
        deeper = bool(inner.tunnel and not inner.malformed)
        unread = packet.fragment != WHOLE if entry == Entry.EMPTY else bool(entry) or deeper
        return self._check_unread(packet) if unread else _GO_ON

    def _check_unread(self, packet: Packet) -> int:
        self._count(Reason.NOTE_TUNNEL_UNREAD, packet.len)
        if not self.config.flags & Flags.DROP_UNPARSED or self._is_allowed(packet):
            return _GO_ON
        return _GO_ON if self._shadows(packet, Reason.DROP_NOT_IP) else Reason.DROP_NOT_IP

    # ---- budgets and challenges ----------------------------------------------------------------------------------

    def _check_budgets(self, packet: Packet, flow: FlowEntry | None, side: int) -> int:
        kind = _source_kind(packet)
        if kind < 0 or packet.shadowed:
            return _GO_ON
        solicited = bool(packet.fate & Fate.SOLICITED)
        if flow is not None and packet.fragment == WHOLE:
            solicited = is_solicited(packet, flow, side)
        if kind == LimitKind.SRC_ICMP and solicited and packet.sport != NO_PORT:
            return _GO_ON
        self._pressed = False
        reason = self._charge(packet, kind)
        proven = not reason and kind == LimitKind.SRC_SYN
        proven = proven and (self._is_admitted(flow, side) or self._is_proven(packet))
        if (
            not reason
            and not solicited
            and kind == LimitKind.SRC_UDP
            and packet.len >= self.config.reflection_bytes
            and (packet.fragment != WHOLE or int.from_bytes(packet.sport, "big") in AMPLIFIER_PORTS)
        ):
            reason = self._charge(packet, LimitKind.DST_REFLECTION)
        if not reason and not proven:
            reason = self._charge(packet, kind + LimitKind.DST_SYN)
        pressed = not reason and not proven and kind == LimitKind.SRC_SYN and self._pressed
        if reason == Reason.DROP_SYN_DESTINATION or pressed:
            packet.refused = bool(reason)
            if self.config.flags & (Flags.CHALLENGE | Flags.COOKIES):
                reason = Reason.DROP_CHALLENGED
        if not reason or self._is_allowed(packet):
            return _GO_ON
        return _GO_ON if reason != Reason.DROP_CHALLENGED and self._shadows(packet, reason) else reason

    def _charge(self, packet: Packet, kind: int) -> int:
        interval_ns, burst_ns = self.config.limits[kind]
        if not interval_ns:
            return _GO_ON
        source = kind <= LimitKind.SRC_ICMP
        table = self.src_budgets if source else self.dst_budgets
        key = _budget_holder(packet, source) + kind.to_bytes(4, "little")
        budget = table.get(key)
        if budget is None:
            table[key] = BudgetEntry(self._now_ns + interval_ns)
            self._count(Reason.NOTE_BUDGET_NEW, packet.len)
            packet.charged |= _CHARGED.get(kind, 0)
            return _GO_ON
        due_ns = budget.due_ns
        if due_ns <= self._now_ns:
            due_ns = self._now_ns
            budget.episode_ns = 0
        if due_ns - self._now_ns > burst_ns:
            budget.refused += 1
            budget.episode_ns = budget.episode_ns or self._now_ns
            return Reason.DROP_SYN_SOURCE + kind
        budget.due_ns = due_ns + interval_ns
        packet.charged |= _CHARGED.get(kind, 0)
        self._pressed |= bool(budget.episode_ns)
        return _GO_ON

    def _is_admitted(self, flow: FlowEntry | None, side: int) -> bool:
        if flow is None or not flow.admitted or flow.client != side:
            return False
        return self._now_ns < flow.last_ns + ADMITTED_NS

    def _is_proven(self, packet: Packet) -> bool:
        proven_ns = self.proven.get(packet.src)
        return proven_ns is not None and self._now_ns < proven_ns + self.config.proven_ns

    def _prove(self, packet: Packet) -> None:
        proven = self._is_proven(packet)
        self.proven[packet.src] = self._now_ns
        self._count(Reason.NOTE_PROVEN, packet.len)
        budget = self.src_budgets.get(_budget_holder(packet, True) + LimitKind.SRC_SYN.to_bytes(4, "little"))
        if not proven and budget is not None:  # what was charged before may have been somebody else's doing
            budget.due_ns = self._now_ns

    def _give_back(self, packet: Packet, flow: FlowEntry) -> None:
        """Give back the tokens that the SYN of a completed handshake took."""
        if not flow.charged:
            return
        for kind, bit in _CHARGED.items():
            source = kind == LimitKind.SRC_SYN
            table = self.src_budgets if source else self.dst_budgets
            budget = table.get(_budget_holder(packet, source) + kind.to_bytes(4, "little"))
            interval_ns = self.config.limits[kind][0]
            if flow.charged & bit and budget is not None and budget.due_ns > max(self._now_ns, interval_ns):
                budget.due_ns -= interval_ns
        flow.charged = 0
        self._count(Reason.NOTE_ANSWERED, packet.len)

    def _may_answer(self, packet: Packet, flow: FlowEntry | None, side: int) -> bool:
        """Whether this may be a challenged client's answer: a reset of a connection that got no other answer."""
        known = flow is not None and flow.state != KernelFlowState.CLOSED and not flow.admitted
        if known and flow is not None and (flow.state != KernelFlowState.SYN or flow.client != side):
            return False
        challenging = self.config.flags & (Flags.CHALLENGE | Flags.SHADOW) == Flags.CHALLENGE
        return challenging and packet.proto == TCP and packet.tcp_flags & ~ACK == RST

    def _challenge_or_check(self, packet: Packet) -> tuple[int, int]:
        """Return (action, or 0 for the reason's own; reason): what the program ``xdp_challenge`` does.

        It gets whole and first-fragment TCP only: SYNs, and resets that may answer a challenge.
        """
        slot = self._now_ns >> SLOT_SHIFT
        if packet.tcp_flags & RST:
            slots = (slot, (slot - 1) & _U64)
            if packet.seq & COOKIE_MASK not in [cookie(packet, self.config.secret, number) for number in slots]:
                return 0, Reason.PASS_STRAY_RESET
            self._admit(packet)
            return XDP_DROP, Reason.DROP_CHALLENGE_ANSWER
        challenging = self.config.flags & Flags.CHALLENGE
        why = Reason.DROP_CHALLENGED if challenging else Reason.DROP_SYN_DESTINATION
        passes = not packet.refused and not challenging
        if not self.config.flags & Flags.SHADOW and self._is_repeated(packet):
            passes = True
        if passes or self._shadows(packet, why):
            side, key = flow_key(packet)
            return 0, self._track_and_show(packet, self.flows.get(key), side, key)
        if not challenging:
            return 0, Reason.DROP_SYN_DESTINATION
        header = 20 if packet.version == 4 else 40
        plain = packet.fragment == WHOLE and packet.l4 == packet.l3 + header
        return XDP_TX if plain else XDP_DROP, Reason.DROP_CHALLENGED

    def _admit(self, packet: Packet) -> None:
        """Let the next SYN of a connection pass whose client answered a challenge."""
        side, key = flow_key(packet)
        flow = self.flows.get(key)
        if flow is None:
            flow = self._add_flow(packet, key, side)
        self._count(Reason.NOTE_ADMITTED, packet.len)
        if flow.verdict != FlowVerdict.DROP:
            flow.client, flow.last_ns, flow.admitted = side, self._now_ns, 1

    def _is_repeated(self, packet: Packet) -> bool:
        """Return whether a SYN came before, as long ago as a sender waits who got no answer, and may pass for it."""
        if not self.config.repeats:
            return False
        number, now_ms = syn_mark(packet, self.config.secret), self._now_ns // 1_000_000 & _U32
        place, mark = (number & _U32) % self.config.repeats, number >> 32
        known, at_ms = self.repeats.get(place, (0, 0))
        due = known == mark and REPEAT_MS <= (now_ms - at_ms) & _U32 < REPEAT_MAX_MS
        if due and not self._charge(packet, LimitKind.DST_REPEATED):
            self.repeats[place] = (0, at_ms)
            self._count(Reason.NOTE_REPEATED, packet.len)
            return True
        self.repeats[place] = (mark, now_ms)
        return False

    # ---- flows ---------------------------------------------------------------------------------------------------

    def condemn(self, key: bytes) -> None:
        """Drop the rest of a flow, whether anything of it was seen or not."""
        if key not in self.flows:
            self.flows[key] = FlowEntry(self._now_ns, self._now_ns, 0)
        self.flows[key].verdict = FlowVerdict.DROP

    def _fragment_fate(self, packet: Packet) -> int:
        proto = packet.proto if packet.version == 4 else 0
        ends = packet.src + packet.dst if packet.version == 6 else _MAPPED + packet.src + _MAPPED + packet.dst
        key = ends + packet.fragment_id.ljust(4, b"\0") + proto.to_bytes(4, "little")
        if packet.fragment != FIRST_FRAGMENT:
            seen_ns, fate, behind = self.fragments.get(key, (0, 0, 0))
            if not fate or self._now_ns >= seen_ns + FRAGMENT_NS:
                return 0
            self.fragments[key] = (seen_ns, fate, behind + 1)
            return fate if behind + 1 < MAX_SOLICITED else fate & ~Fate.SOLICITED
        fate = self._first_fate(packet)
        self.fragments.pop(key, None)
        if fate:
            self.fragments[key] = (self._now_ns, fate, 0)
        return fate

    def _first_fate(self, packet: Packet) -> int:
        packet.sport, packet.dport = packet.first_ports
        side, key = flow_key(packet)
        packet.sport = packet.dport = NO_PORT
        flow, fate = self.flows.get(key), 0
        if flow is None:
            return 0
        if is_condemned(packet, flow, self._now_ns):
            flow.last_ns = self._now_ns
            fate = int(Fate.CONDEMNED)
        if is_solicited(packet, flow, side):
            flow.fragmented += 1
            fate |= Fate.SOLICITED
        return fate

    def _add_flow(self, packet: Packet, key: bytes, side: int) -> FlowEntry:
        flow = self.flows[key] = first_flow(packet, side, self._now_ns)
        self._count(Reason.NOTE_FLOW_NEW, packet.len)
        return flow

    def _check_flow(self, packet: Packet, flow: FlowEntry, side: int) -> int:
        if flow_seen(packet, flow, side, self._now_ns):
            self._prove(packet)
            self._give_back(packet, flow)
        condemned = flow.verdict == FlowVerdict.DROP and not self._is_allowed(packet)
        if condemned and not self._shadows(packet, Reason.DROP_FLOW):
            return Reason.DROP_FLOW
        if flow.verdict in WAVED_THROUGH and not packet.tunnel:
            return WAVED_THROUGH[FlowVerdict(flow.verdict)]
        if not packet.news and is_deep(packet, flow, side, self._depth(packet, flow)):
            if not flow.cut & Cut.DEPTH:
                flow.cut |= Cut.DEPTH
                self._count(Reason.NOTE_CUT_DEPTH, packet.len)
            return Reason.PASS_DEPTH
        flow.shown[side] = (flow.shown[side] + shown_bytes(packet)) & _U32
        return Reason.PASS_SHOWN

    def _depth(self, packet: Packet, flow: FlowEntry) -> int:
        if flow.depth:
            return flow.depth
        if packet.proto == TCP:
            return self.config.depth_tcp
        return self.config.depth_udp if packet.proto == UDP else self.config.depth_other


def _source_kind(packet: Packet) -> int:
    if packet.proto == TCP:
        return LimitKind.SRC_SYN if packet.tcp_flags & (SYN | ACK) == SYN else -1
    if packet.proto == UDP:
        return LimitKind.SRC_UDP
    return LimitKind.SRC_ICMP if packet.proto in (ICMP, ICMPV6) else -1


def _budget_holder(packet: Packet, source: bool) -> bytes:
    """Return whose budget it is: IPv4 as ::ffff:a.b.c.d, an IPv6 source by its /64 unless all of a link share that."""
    address = packet.src if source else packet.dst
    if packet.version == 4:
        return _MAPPED + address
    link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
    return address[:8] + bytes(8) if source and not link_local else address
