"""What ``bpf/ids_events.h`` says, for NumPy: keep the two equal (``tests/kernel/test_contract.py`` compares them).

Every dtype has the size and the offsets of the C struct of the same name. Fields that end in ``_be`` hold network
byte order as bytes or as an integer not yet converted.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

VERSION = 6
"""IDS_CONTRACT_VERSION: pinned maps of another version are not adopted."""

RING_HEADER = 8
SMALL_STRIDE = 256
LARGE_STRIDE = 2048
RECORD_HEADER = 64
SMALL_DATA = SMALL_STRIDE - RING_HEADER - RECORD_HEADER
LARGE_DATA = LARGE_STRIDE - RING_HEADER - RECORD_HEADER
"""Bytes of a frame that fit a record; what is longer is shown in part."""
EVENT_STRIDE = 128
MAX_WORKERS = 16
SHARED_PORTS = 4
"""Ports of TCP connections that every worker is shown."""
"""Processes that inspect, each with rings of its own; the C side says why so many."""
REASON_COUNT = 256
REASON_DROP = 16
REASON_MALFORMED = 32
REASON_NOTE = 64
REASON_WOULD = 128
"""In shadow mode, what would have been dropped is counted under this and the reason."""


class Reason(IntEnum):
    """Why a packet passed or died (PASS, DROP: one for every packet) and what else was noted about it (NOTE)."""

    PASS_NOT_IP = 1
    PASS_VLAN_TAGS = 2
    PASS_SHOWN = 3
    PASS_DEPTH = 4
    PASS_BYPASS = 5
    PASS_RING_FULL = 6
    PASS_ALLOWED_MALFORMED = 7
    PASS_ENGINE_GONE = 8
    PASS_STRAY_RESET = 9
    PASS_SENT_MALFORMED = 10
    PASS_THINNED = 11
    PASS_SHADOW_MALFORMED = 12
    PASS_UNFAIR = 13
    PASS_UNNEEDED = 14
    DROP_BLOCKED = 16
    DROP_BLOCKED_PREFIX = 17
    DROP_FLOW = 18
    DROP_SYN_SOURCE = 19
    DROP_UDP_SOURCE = 20
    DROP_ICMP_SOURCE = 21
    DROP_SYN_DESTINATION = 22
    DROP_UDP_DESTINATION = 23
    DROP_ICMP_DESTINATION = 24
    DROP_REFLECTION = 25
    DROP_CHALLENGED = 26
    DROP_CHALLENGE_ANSWER = 27
    DROP_SYN_COOKIE = 28
    DROP_FLOW_FRAGMENT = 29
    DROP_NOT_IP = 30
    DROP_VLAN_TAGS = 31
    DROP_ETH_SHORT = 32
    DROP_IP4_SHORT = 33
    DROP_IP4_VERSION = 34
    DROP_IP4_HEADER_LEN = 35
    DROP_IP4_TOTAL_LEN = 36
    DROP_IP6_SHORT = 37
    DROP_IP6_VERSION = 38
    DROP_IP6_PAYLOAD_LEN = 39
    DROP_IP6_EXT_SHORT = 40
    DROP_IP6_EXT_CHAIN = 41
    DROP_IP_SOURCE = 42
    DROP_FRAGMENT_OVERSIZE = 43
    DROP_FRAGMENT_TINY = 44
    DROP_TCP_SHORT = 45
    DROP_TCP_OFFSET = 46
    DROP_TCP_FLAGS = 47
    DROP_UDP_SHORT = 48
    DROP_UDP_LEN = 49
    DROP_ICMP_SHORT = 50
    NOTE_SHADOW = 64
    NOTE_ALLOWED = 65
    NOTE_FLOW_NEW = 66
    NOTE_FLOW_LOST = 67
    NOTE_PROVEN = 68
    NOTE_SNAPPED = 69
    NOTE_BUDGET_LOST = 70
    NOTE_BUDGET_NEW = 71
    NOTE_EVENT_LOST = 72
    NOTE_CUT_DEPTH = 73
    NOTE_CUT_RING_FULL = 74
    NOTE_CUT_THINNED = 75
    NOTE_COPIED = 76
    NOTE_ANSWERED = 77
    NOTE_ADMITTED = 78
    NOTE_REPEATED = 79
    NOTE_CUT_UNFAIR = 80
    NOTE_IN_TUNNEL = 81
    NOTE_TUNNEL_UNREAD = 82


REASON_NAMES: dict[Reason, str] = {
    Reason.PASS_NOT_IP: "pass.not_ip",
    Reason.PASS_VLAN_TAGS: "pass.vlan_tags",
    Reason.PASS_SHOWN: "pass.shown",
    Reason.PASS_DEPTH: "pass.depth",
    Reason.PASS_BYPASS: "pass.bypass",
    Reason.PASS_RING_FULL: "pass.ring_full",
    Reason.PASS_ALLOWED_MALFORMED: "pass.allowed_malformed",
    Reason.PASS_ENGINE_GONE: "pass.engine_gone",
    Reason.PASS_STRAY_RESET: "pass.stray_reset",
    Reason.PASS_SENT_MALFORMED: "pass.sent_malformed",
    Reason.PASS_THINNED: "pass.thinned",
    Reason.PASS_SHADOW_MALFORMED: "pass.shadow_malformed",
    Reason.PASS_UNFAIR: "pass.unfair",
    Reason.PASS_UNNEEDED: "pass.unneeded",
    Reason.DROP_BLOCKED: "drop.blocked",
    Reason.DROP_BLOCKED_PREFIX: "drop.blocked_prefix",
    Reason.DROP_FLOW: "drop.flow",
    Reason.DROP_SYN_SOURCE: "drop.syn_source",
    Reason.DROP_UDP_SOURCE: "drop.udp_source",
    Reason.DROP_ICMP_SOURCE: "drop.icmp_source",
    Reason.DROP_SYN_DESTINATION: "drop.syn_destination",
    Reason.DROP_UDP_DESTINATION: "drop.udp_destination",
    Reason.DROP_ICMP_DESTINATION: "drop.icmp_destination",
    Reason.DROP_REFLECTION: "drop.reflection",
    Reason.DROP_CHALLENGED: "drop.syn_challenged",
    Reason.DROP_CHALLENGE_ANSWER: "drop.challenge_answer",
    Reason.DROP_SYN_COOKIE: "drop.syn_cookie",
    Reason.DROP_FLOW_FRAGMENT: "drop.flow_fragment",
    Reason.DROP_NOT_IP: "drop.not_ip",
    Reason.DROP_VLAN_TAGS: "drop.vlan_tags",
    Reason.DROP_ETH_SHORT: "drop.malformed.ethernet_short",
    Reason.DROP_IP4_SHORT: "drop.malformed.ipv4_short",
    Reason.DROP_IP4_VERSION: "drop.malformed.ipv4_version",
    Reason.DROP_IP4_HEADER_LEN: "drop.malformed.ipv4_header_length",
    Reason.DROP_IP4_TOTAL_LEN: "drop.malformed.ipv4_total_length",
    Reason.DROP_IP6_SHORT: "drop.malformed.ipv6_short",
    Reason.DROP_IP6_VERSION: "drop.malformed.ipv6_version",
    Reason.DROP_IP6_PAYLOAD_LEN: "drop.malformed.ipv6_payload_length",
    Reason.DROP_IP6_EXT_SHORT: "drop.malformed.ipv6_extension_short",
    Reason.DROP_IP6_EXT_CHAIN: "drop.malformed.ipv6_extension_chain",
    Reason.DROP_IP_SOURCE: "drop.malformed.source_address",
    Reason.DROP_FRAGMENT_OVERSIZE: "drop.malformed.fragment_oversize",
    Reason.DROP_FRAGMENT_TINY: "drop.malformed.fragment_tiny",
    Reason.DROP_TCP_SHORT: "drop.malformed.tcp_short",
    Reason.DROP_TCP_OFFSET: "drop.malformed.tcp_offset",
    Reason.DROP_TCP_FLAGS: "drop.malformed.tcp_flags",
    Reason.DROP_UDP_SHORT: "drop.malformed.udp_short",
    Reason.DROP_UDP_LEN: "drop.malformed.udp_length",
    Reason.DROP_ICMP_SHORT: "drop.malformed.icmp_short",
    Reason.NOTE_SHADOW: "note.shadow_blocked",
    Reason.NOTE_ALLOWED: "note.allowed",
    Reason.NOTE_FLOW_NEW: "note.flow_new",
    Reason.NOTE_FLOW_LOST: "note.flow_not_stored",
    Reason.NOTE_PROVEN: "note.source_proven",
    Reason.NOTE_SNAPPED: "note.shown_in_part",
    Reason.NOTE_BUDGET_LOST: "note.budget_not_stored",
    Reason.NOTE_BUDGET_NEW: "note.budget_new",
    Reason.NOTE_EVENT_LOST: "note.event_lost",
    Reason.NOTE_CUT_DEPTH: "note.flow_cut.depth",
    Reason.NOTE_CUT_RING_FULL: "note.flow_cut.ring_full",
    Reason.NOTE_CUT_THINNED: "note.flow_cut.thinned",
    Reason.NOTE_COPIED: "note.shown_to_another_worker",
    Reason.NOTE_ANSWERED: "note.syn_answered",
    Reason.NOTE_ADMITTED: "note.syn_admitted",
    Reason.NOTE_REPEATED: "note.syn_repeated",
    Reason.NOTE_CUT_UNFAIR: "note.flow_cut.unfair",
    Reason.NOTE_IN_TUNNEL: "note.blocked_in_tunnel",
    Reason.NOTE_TUNNEL_UNREAD: "note.tunnel_unread",
}


COUNTER_NAMES: dict[int, str] = {int(reason): name for reason, name in REASON_NAMES.items()} | {
    REASON_WOULD + reason: f"would_{name}"
    for reason, name in REASON_NAMES.items()
    if REASON_DROP <= reason < REASON_NOTE
}
"""Every counter of the program by its number: the reasons, then what each DROP has counted in shadow mode."""


class RecordKind(IntEnum):
    """What a ring record holds."""

    PACKET = 1
    LIMIT = 2


class Detail(IntEnum):
    """ids_detail: `detail` of a packet's record."""

    UNSUMMED = 1
    """Seen before its checksums were filled in."""


class BlockFlag(IntEnum):
    """ids_block_mode."""

    ENFORCE = 0
    SHADOW = 1


class KernelFlowState(IntEnum):
    """ids_flow_state."""

    NEW = 0
    SYN = 1
    SYNACK = 2
    ESTABLISHED = 3
    CLOSING = 4
    CLOSED = 5


class Cut(IntEnum):
    """ids_cut: bits of ``ids_flow.cut``, why packets of a flow were not shown."""

    DEPTH = 1
    RING_FULL = 2
    THINNED = 4
    UNFAIR = 8


class Charged(IntEnum):
    """ids_charged: bits of ``ids_flow.charged``, whose budgets the SYNs of a connection were charged to."""

    SOURCE = 1
    DESTINATION = 2
    REPEATED = 4


class Asked(IntEnum):
    """ids_asked: by which ways SYNs of a connection came."""

    NOT = 0
    ONE_WAY = 1
    SEVERAL_WAYS = 2


class Fate(IntEnum):
    """ids_fate: bits of ``ids_datagram.fate``, what is remembered of a datagram in fragments."""

    CONDEMNED = 1
    SOLICITED = 2


class FlowVerdict(IntEnum):
    """ids_flow_verdict: show the flow's packets, wave them through unseen for one reason or another, or drop them."""

    INSPECT = 0
    BYPASS = 1
    DROP = 2
    UNNEEDED = 3
    """Nothing that is loaded looks into it."""


class LimitKind(IntEnum):
    """ids_limit_kind: what a budget counts, and whose."""

    SRC_SYN = 0
    SRC_UDP = 1
    SRC_ICMP = 2
    DST_SYN = 3
    DST_UDP = 4
    DST_ICMP = 5
    DST_REFLECTION = 6
    DST_REPEATED = 7


LIMIT_KINDS = 8


class Lists(IntEnum):
    """ids_lists: bits of ``ids_config.lists``."""

    PREFIX4 = 1
    PREFIX6 = 2


class Flags(IntEnum):
    """ids_flags: bits of ``ids_config.flags``."""

    CHALLENGE = 1
    GONE_PASS = 2
    COOKIES = 4
    SHADOW = 8
    DROP_UNPARSED = 16
    APART = 32
    TUNNELS = 64


class Tunnel(IntEnum):
    """ids_tunnel: how a packet carries another. The first three are kinds of UDP ports."""

    NONE = 0
    VXLAN = 1
    GENEVE = 2
    TEREDO = 3
    IP4 = 4
    IP6 = 5
    GRE = 6


TUNNEL_BYTES = 16384
"""Of the table of UDP ports: two bits a port."""


COUNT = np.dtype([("packets", "<u8"), ("bytes", "<u8")])

RECORD = np.dtype(
    [
        ("ts_ns", "<u8"),
        ("ifindex", "<u4"),
        ("rx_queue", "<u4"),
        ("wirelen", "<u4"),
        ("caplen", "<u2"),
        ("kind", "u1"),
        ("reason", "u1"),
        ("direction", "u1"),
        ("flow_state", "u1"),
        ("detail", "<u2"),
        ("detail2", "<u4"),
        ("addr_be", "u1", 16),
        ("spare", "u1", 16),
    ]
)

ADDR6 = np.dtype([("half_be", "<u8", 2)])
PREFIX4 = np.dtype([("prefixlen", "<u4"), ("addr_be", "<u4")])
PREFIX6 = np.dtype([("prefixlen", "<u4"), ("addr_be", "u1", 16)])

BLOCK = np.dtype(
    [
        ("expires_ns", "<u8"),
        ("added_ns", "<u8"),
        ("packets", "<u8"),
        ("bytes", "<u8"),
        ("last_hit_ns", "<u8"),
        ("sid", "<u4"),
        ("label", "<u2"),
        ("mode", "u1"),
        ("prefixlen", "u1"),
        ("not_allowed", "<u4"),
        ("spare2", "<u4"),
    ]
)

CLAIM_KEY = np.dtype([("addr", "u1", 16), ("label", "<u2"), ("version", "u1"), ("prefixlen", "u1")])

ALLOW = np.dtype([("packets", "<u8"), ("bytes", "<u8"), ("added_ns", "<u8"), ("label", "<u2"), ("spare", "u1", 6)])

LABEL = np.dtype([("name", "u1", 64)])

FLOW4 = np.dtype([("addr_be", "<u4", 2), ("port_be", "<u2", 2), ("vlan_proto", "<u4")])
FLOW6 = np.dtype([("addr", ADDR6, 2), ("port_be", "<u2", 2), ("vlan_proto", "<u4")])

FLOW = np.dtype(
    [
        ("first_ns", "<u8"),
        ("last_ns", "<u8"),
        ("packets", "<u8", 2),
        ("bytes", "<u8", 2),
        ("shown", "<u4", 2),
        ("depth", "<u4"),
        ("isn", "<u4", 2),
        ("generation", "<u4", 2),
        ("state", "u1"),
        ("verdict", "u1"),
        ("client", "u1"),
        ("fins", "u1"),
        ("opened", "u1"),
        ("cut", "u1"),
        ("charged", "u1"),
        ("admitted", "u1"),
        ("fragmented", "<u4"),
        ("neighbour", "<u4"),
        ("hearsay", "u1"),
        ("asked", "u1"),
        ("spoke", "u1"),
        ("spare", "u1"),
        ("turn", "<u4", 2),
        ("settled", "<u4", 2),
    ]
)

FLOW_ORDER = np.dtype(
    [("depth", "<u4"), ("verdict", "u1"), ("version", "u1"), ("spare", "u1", 2), ("key", "u1", FLOW6.itemsize)]
)

DATAGRAM_KEY = np.dtype([("src_be", "u1", 16), ("dst_be", "u1", 16), ("id_be", "<u4"), ("proto", "<u4")])
DATAGRAM = np.dtype([("seen_ns", "<u8"), ("fate", "<u4"), ("later", "<u4")])

LIMIT = np.dtype([("interval_ns", "<u8"), ("burst_ns", "<u8")])
BUDGET_KEY = np.dtype([("addr_be", "u1", 16), ("kind", "<u4")])
BUDGET = np.dtype([("due_ns", "<u8"), ("refused", "<u8"), ("episode_ns", "<u8")])

SHARE_KEY = np.dtype([("holder_be", "u1", 16), ("ring", "<u4")])
SHARE = np.dtype(
    [
        ("waiting", "<u8"),
        ("read_pos", "<u8"),
        ("write_pos", "<u8"),
        ("missed", "<u8"),
        ("missed_bytes", "<u8"),
    ]
)

CONFIG = np.dtype(
    [
        ("version", "<u4"),
        ("lists", "<u4"),
        ("generation", "<u8"),
        ("heartbeat_ns", "<u8"),
        ("now_ns", "<u8"),
        ("depth_tcp", "<u4"),
        ("depth_udp", "<u4"),
        ("depth_other", "<u4"),
        ("flags", "<u4"),
        ("limits", LIMIT, LIMIT_KINDS),
        ("gone_after_ns", "<u8"),
        ("proven_ns", "<u8"),
        ("secret", "<u8", 2),
        ("reflection_bytes", "<u4"),
        ("thin_after_bytes", "<u4"),
        ("changes", "<u8"),
        ("thin_small_bytes", "<u4"),
        ("thin_large_bytes", "<u4"),
        ("allow_generation", "<u8"),
        ("cookie_ns", "<u8"),
        ("worker_seed", "<u8"),
        ("workers", "<u4"),
        ("repeats", "<u4"),
        ("shared_port_be", "<u2", SHARED_PORTS),
    ]
)

TUNNEL_PORTS = np.dtype([("kinds", "u1", TUNNEL_BYTES)])

REPEAT = np.dtype([("mark", "<u4"), ("at_ms", "<u4")])

CLOCK = np.dtype([("jiffies", "<u8"), ("now_ns", "<u8")])

STRUCTS: dict[str, np.dtype[np.void]] = {
    "ids_count": COUNT,
    "ids_record": RECORD,
    "ids_addr6": ADDR6,
    "ids_prefix4": PREFIX4,
    "ids_prefix6": PREFIX6,
    "ids_block": BLOCK,
    "ids_claim_key": CLAIM_KEY,
    "ids_allow": ALLOW,
    "ids_label": LABEL,
    "ids_flow4": FLOW4,
    "ids_flow6": FLOW6,
    "ids_flow": FLOW,
    "ids_flow_order": FLOW_ORDER,
    "ids_datagram_key": DATAGRAM_KEY,
    "ids_datagram": DATAGRAM,
    "ids_limit": LIMIT,
    "ids_budget_key": BUDGET_KEY,
    "ids_budget": BUDGET,
    "ids_repeat": REPEAT,
    "ids_share_key": SHARE_KEY,
    "ids_share": SHARE,
    "ids_config": CONFIG,
    "ids_tunnel_ports": TUNNEL_PORTS,
    "ids_clock": CLOCK,
}
"""Every struct of the contract by its name in C."""
