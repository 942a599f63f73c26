/* SPDX-License-Identifier: GPL-2.0-only
 *
 * The contract between the XDP program and the user side, in one place: reasons, ring records, map keys and values.
 * ids/kernel/contract.py mirrors it and tests/kernel/test_contract.py compares the two, field by field.
 *
 * Append only within a contract version: a reason keeps its number for good. A change of the layout of a key, a value
 * or a record raises IDS_CONTRACT_VERSION, and then pinned maps of the older version are not adopted as they are.
 *
 * Byte order: a field named *_be is in network order; every other field is in host order.
 * Time: all *_ns are CLOCK_MONOTONIC nanoseconds, as bpf_ktime_get_ns() returns them.
 */
#ifndef IDS_EVENTS_H
#define IDS_EVENTS_H

#include <linux/types.h>

#define IDS_CONTRACT_VERSION 6

/* Why a packet passed or died. Every packet is counted under exactly one PASS or DROP reason; NOTEs are counted
 * beside it. X(symbol, number, kind, name): name is what `ids stats` prints. */
#define IDS_REASONS(X) \
	X(PASS_NOT_IP,              1, PASS, "pass.not_ip") \
	X(PASS_VLAN_TAGS,           2, PASS, "pass.vlan_tags") \
	X(PASS_SHOWN,               3, PASS, "pass.shown") \
	X(PASS_DEPTH,               4, PASS, "pass.depth") \
	X(PASS_BYPASS,              5, PASS, "pass.bypass") \
	X(PASS_RING_FULL,           6, PASS, "pass.ring_full") \
	X(PASS_ALLOWED_MALFORMED,   7, PASS, "pass.allowed_malformed") \
	X(PASS_ENGINE_GONE,         8, PASS, "pass.engine_gone") \
	X(PASS_STRAY_RESET,         9, PASS, "pass.stray_reset") \
	X(PASS_SENT_MALFORMED,     10, PASS, "pass.sent_malformed") \
	X(PASS_THINNED,            11, PASS, "pass.thinned") \
	X(PASS_SHADOW_MALFORMED,   12, PASS, "pass.shadow_malformed") \
	X(PASS_UNFAIR,             13, PASS, "pass.unfair") \
	X(PASS_UNNEEDED,           14, PASS, "pass.unneeded") \
	X(DROP_BLOCKED,            16, DROP, "drop.blocked") \
	X(DROP_BLOCKED_PREFIX,     17, DROP, "drop.blocked_prefix") \
	X(DROP_FLOW,               18, DROP, "drop.flow") \
	X(DROP_SYN_SOURCE,         19, DROP, "drop.syn_source") \
	X(DROP_UDP_SOURCE,         20, DROP, "drop.udp_source") \
	X(DROP_ICMP_SOURCE,        21, DROP, "drop.icmp_source") \
	X(DROP_SYN_DESTINATION,    22, DROP, "drop.syn_destination") \
	X(DROP_UDP_DESTINATION,    23, DROP, "drop.udp_destination") \
	X(DROP_ICMP_DESTINATION,   24, DROP, "drop.icmp_destination") \
	X(DROP_REFLECTION,         25, DROP, "drop.reflection") \
	X(DROP_CHALLENGED,         26, DROP, "drop.syn_challenged") \
	X(DROP_CHALLENGE_ANSWER,   27, DROP, "drop.challenge_answer") \
	X(DROP_SYN_COOKIE,         28, DROP, "drop.syn_cookie") \
	X(DROP_FLOW_FRAGMENT,      29, DROP, "drop.flow_fragment") \
	X(DROP_NOT_IP,             30, DROP, "drop.not_ip") \
	X(DROP_VLAN_TAGS,          31, DROP, "drop.vlan_tags") \
	X(DROP_ETH_SHORT,          32, DROP, "drop.malformed.ethernet_short") \
	X(DROP_IP4_SHORT,          33, DROP, "drop.malformed.ipv4_short") \
	X(DROP_IP4_VERSION,        34, DROP, "drop.malformed.ipv4_version") \
	X(DROP_IP4_HEADER_LEN,     35, DROP, "drop.malformed.ipv4_header_length") \
	X(DROP_IP4_TOTAL_LEN,      36, DROP, "drop.malformed.ipv4_total_length") \
	X(DROP_IP6_SHORT,          37, DROP, "drop.malformed.ipv6_short") \
	X(DROP_IP6_VERSION,        38, DROP, "drop.malformed.ipv6_version") \
	X(DROP_IP6_PAYLOAD_LEN,    39, DROP, "drop.malformed.ipv6_payload_length") \
	X(DROP_IP6_EXT_SHORT,      40, DROP, "drop.malformed.ipv6_extension_short") \
	X(DROP_IP6_EXT_CHAIN,      41, DROP, "drop.malformed.ipv6_extension_chain") \
	X(DROP_IP_SOURCE,          42, DROP, "drop.malformed.source_address") \
	X(DROP_FRAGMENT_OVERSIZE,  43, DROP, "drop.malformed.fragment_oversize") \
	X(DROP_FRAGMENT_TINY,      44, DROP, "drop.malformed.fragment_tiny") \
	X(DROP_TCP_SHORT,          45, DROP, "drop.malformed.tcp_short") \
	X(DROP_TCP_OFFSET,         46, DROP, "drop.malformed.tcp_offset") \
	X(DROP_TCP_FLAGS,          47, DROP, "drop.malformed.tcp_flags") \
	X(DROP_UDP_SHORT,          48, DROP, "drop.malformed.udp_short") \
	X(DROP_UDP_LEN,            49, DROP, "drop.malformed.udp_length") \
	X(DROP_ICMP_SHORT,         50, DROP, "drop.malformed.icmp_short") \
	X(NOTE_SHADOW,             64, NOTE, "note.shadow_blocked") \
	X(NOTE_ALLOWED,            65, NOTE, "note.allowed") \
	X(NOTE_FLOW_NEW,           66, NOTE, "note.flow_new") \
	X(NOTE_FLOW_LOST,          67, NOTE, "note.flow_not_stored") \
	X(NOTE_PROVEN,             68, NOTE, "note.source_proven") \
	X(NOTE_SNAPPED,            69, NOTE, "note.shown_in_part") \
	X(NOTE_BUDGET_LOST,        70, NOTE, "note.budget_not_stored") \
	X(NOTE_BUDGET_NEW,         71, NOTE, "note.budget_new") \
	X(NOTE_EVENT_LOST,         72, NOTE, "note.event_lost") \
	X(NOTE_CUT_DEPTH,          73, NOTE, "note.flow_cut.depth") \
	X(NOTE_CUT_RING_FULL,      74, NOTE, "note.flow_cut.ring_full") \
	X(NOTE_CUT_THINNED,        75, NOTE, "note.flow_cut.thinned") \
	X(NOTE_COPIED,             76, NOTE, "note.shown_to_another_worker") \
	X(NOTE_ANSWERED,           77, NOTE, "note.syn_answered") \
	X(NOTE_ADMITTED,           78, NOTE, "note.syn_admitted") \
	X(NOTE_REPEATED,           79, NOTE, "note.syn_repeated") \
	X(NOTE_CUT_UNFAIR,         80, NOTE, "note.flow_cut.unfair") \
	X(NOTE_IN_TUNNEL,          81, NOTE, "note.blocked_in_tunnel") \
	X(NOTE_TUNNEL_UNREAD,      82, NOTE, "note.tunnel_unread")

#define IDS_REASON_ENUM(symbol, number, kind, name) IDS_##symbol = number,
enum ids_reason { IDS_REASONS(IDS_REASON_ENUM) };

/* First DROP, first malformed DROP and first NOTE number; the room between is for reasons to come. In shadow mode a packet
 * is not dropped, but counted beside its reason to pass under IDS_REASON_WOULD + the reason to drop it, which `ids stats`
 * prints as would_drop. instead of drop. */
#define IDS_REASON_DROP 16
#define IDS_REASON_MALFORMED 32
#define IDS_REASON_NOTE 64
#define IDS_REASON_WOULD 128
#define IDS_REASON_COUNT 256

struct ids_count {
	__u64 packets;
	__u64 bytes;
};

/* ---- records in the rings ---------------------------------------------------------------------------------- */

/* Strides count the kernel's own 8-byte header before each record (kernel/bpf/ringbuf.c), so that a ring is an array. */
#define IDS_RING_HEADER 8
#define IDS_SMALL_STRIDE 256
#define IDS_LARGE_STRIDE 2048
#define IDS_RECORD_HEADER 64
#define IDS_SMALL_DATA (IDS_SMALL_STRIDE - IDS_RING_HEADER - IDS_RECORD_HEADER)
#define IDS_LARGE_DATA (IDS_LARGE_STRIDE - IDS_RING_HEADER - IDS_RECORD_HEADER)
#define IDS_EVENT_STRIDE 128 /* a power of two, as a ring's size is; events have a header alone */

/* Processes that inspect, each with rings of its own. A fragment is copied for every one of them, which bounds what that
 * may cost; and beyond as many, what one process has to do for all of them is the limit, not the inspection. */
#define IDS_MAX_WORKERS 16

enum ids_record_kind {
	IDS_RECORD_PACKET = 1, /* `caplen` bytes of the frame follow the header */
	IDS_RECORD_LIMIT = 2,  /* a budget began to refuse; `detail` is the ids_limit, the addresses say whose */
};

enum ids_detail {
	IDS_DETAIL_UNSUMMED = 1, /* `detail` of a packet: seen before its checksums were filled in */
};

struct ids_record {
	__u64 ts_ns;
	__u32 ifindex;
	__u32 rx_queue;
	__u32 wirelen; /* bytes of the frame on the wire */
	__u16 caplen;  /* bytes of it in this record */
	__u8 kind;     /* enum ids_record_kind */
	__u8 reason;   /* enum ids_reason: the verdict on this packet */
	__u8 direction; /* 0: sent by the flow's first sender */
	__u8 flow_state; /* enum ids_flow_state, after this packet */
	__u16 detail;
	__u32 detail2; /* of a packet: the same number for all of its flow, though not for it alone */
	__u8 addr_be[16]; /* of a limit's holder, or of who opened the packet's flow: IPv4 as ::ffff:a.b.c.d, IPv6 by its /64 */
	__u8 spare[16];
};

/* ---- blocklist and allow-list ------------------------------------------------------------------------------- */

struct ids_addr6 {
	__u64 half_be[2]; /* the 16 bytes of the address; halves, because BPF compares those at once */
};

struct ids_prefix4 {
	__u32 prefixlen; /* 0 to 32, as the kernel's LPM trie wants it */
	__u32 addr_be;
};

struct ids_prefix6 {
	__u32 prefixlen; /* 0 to 128 */
	__u8 addr_be[16];
};

enum ids_block_mode {
	IDS_BLOCK_ENFORCE = 0,
	IDS_BLOCK_SHADOW = 1, /* count what would have been dropped, and let it pass */
};

struct ids_block {
	__u64 expires_ns; /* 0: never; from this moment on the entry does not match */
	__u64 added_ns;
	__u64 packets; /* hits, atomic */
	__u64 bytes;
	__u64 last_hit_ns;
	__u32 sid;   /* the rule that asked, 0: an operator or a feed */
	__u16 label; /* who put it here: a key of ids_labels; 0: nobody in particular */
	__u8 mode;   /* enum ids_block_mode */
	__u8 prefixlen; /* of a prefix: the key's own, so that one that does not hold can be passed over */
	__u32 not_allowed; /* of an address: low half of ids_config.allow_generation when the allow-list did not have it */
	__u32 spare2;
};

/* Whose claim on which network; the value is the struct ids_block that it would be. User side only. */
struct ids_claim_key {
	__u8 addr[16]; /* an IPv4 address fills the first four, the others are 0 */
	__u16 label;
	__u8 version; /* of IP */
	__u8 prefixlen;
};

struct ids_allow {
	__u64 packets; /* packets that it kept from being dropped, atomic */
	__u64 bytes;
	__u64 added_ns;
	__u16 label;
	__u8 spare[6];
};

/* Name of a source of entries, UTF-8, filled with zeroes. */
struct ids_label {
	__u8 name[64];
};

/* ---- flows --------------------------------------------------------------------------------------------------- */

/* Both directions share an entry: side 0 is the numerically lower (address, port) in network byte order. Ports are 0
 * for fragments and for protocols without; an ICMP echo has its identifier in both. */
struct ids_flow4 {
	__u32 addr_be[2];
	__u16 port_be[2];
	__u32 vlan_proto; /* outer VLAN id << 20 | inner VLAN id << 8 | IP protocol */
};

struct ids_flow6 {
	struct ids_addr6 addr[2];
	__u16 port_be[2];
	__u32 vlan_proto;
};

/* The family says which one is filled. */
union ids_flow_key {
	struct ids_flow4 v4;
	struct ids_flow6 v6;
};

enum ids_flow_state {
	IDS_FLOW_NEW = 0,     /* not TCP, or picked up in its middle */
	IDS_FLOW_SYN = 1,
	IDS_FLOW_SYNACK = 2,
	IDS_FLOW_ESTABLISHED = 3,
	IDS_FLOW_CLOSING = 4, /* one FIN */
	IDS_FLOW_CLOSED = 5,  /* two FINs, or an RST */
};

enum ids_flow_verdict {
	IDS_FLOW_INSPECT = 0,
	IDS_FLOW_BYPASS = 1,
	IDS_FLOW_DROP = 2,
	IDS_FLOW_UNNEEDED = 3, /* as BYPASS, for another reason: nothing that is loaded looks into it */
};

enum ids_cut {
	IDS_CUT_DEPTH = 1 << 0,
	IDS_CUT_RING_FULL = 1 << 1,
	IDS_CUT_THINNED = 1 << 2,
	IDS_CUT_UNFAIR = 1 << 3,
};

/* Whose budgets the SYNs of a connection were charged to. */
enum ids_charged {
	IDS_CHARGED_SOURCE = 1 << 0,
	IDS_CHARGED_DESTINATION = 1 << 1,
	IDS_CHARGED_REPEATED = 1 << 2,
};

/* By which ways SYNs of a connection came. */
enum ids_asked {
	IDS_ASKED_NOT = 0, /* none was seen, only what claims to answer one */
	IDS_ASKED_ONE_WAY = 1,
	IDS_ASKED_SEVERAL_WAYS = 2,
};

struct ids_flow {
	__u64 first_ns;
	__u64 last_ns;
	__u64 packets[2]; /* by side, atomic */
	__u64 bytes[2];   /* wire bytes */
	__u32 shown[2];   /* bytes shown to user space, by side: payload of TCP, else of the frame */
	__u32 depth;      /* bytes to show a side; 0: the protocol's, from the configuration */
	__u32 isn[2];     /* by side: sequence number of its SYN, where `opened` says that it was seen */
	__u32 generation[2]; /* by side: low half of ids_config.generation when no prefix matched its address; 0: never */
	__u8 state;       /* enum ids_flow_state */
	__u8 verdict;     /* enum ids_flow_verdict */
	__u8 client;      /* the side that opened the flow */
	__u8 fins;        /* bits 0 and 1: sides that sent a FIN; 2 and 3: that acknowledged something since the last */
	__u8 opened;      /* bit per side of which `isn` is known */
	__u8 cut;         /* enum ids_cut: why packets of it were not shown, each counted as a NOTE when it first was so */
	__u8 charged;     /* enum ids_charged: whom a completed handshake gives a token back */
	__u8 admitted;    /* its client answered a challenge, and its next SYN passes */
	__u32 fragmented; /* datagrams in fragments that answered a question; those count as packets of a flow without ports */
	__u32 neighbour;  /* who handed us the first SYN: of its interface and sender's Ethernet address; 0: this host */
	__u8 hearsay;     /* the answer to it may be the client's own work: nothing is proven by acknowledging that */
	__u8 asked;       /* enum ids_asked */
	__u8 spoke;       /* 1 + the side that sent payload last; 0: neither */
	__u8 spare;
	__u32 turn[2];    /* by side: where its stream was, counted from behind its SYN, when the other side began to speak */
	__u32 settled[2]; /* by side: what `shown` was then; the depth counts from there */
};

/* What user space hands to xdp_set_flow in a packet's place: the verdict and depth of one flow. */
struct ids_flow_order {
	__u32 depth;   /* as in struct ids_flow */
	__u8 verdict;  /* enum ids_flow_verdict */
	__u8 version;  /* of IP: 4 or 6 */
	__u8 spare[2];
	union ids_flow_key key;
};

/* What is remembered of a datagram whose first fragment was seen; later ones have no ports. */
struct ids_datagram_key {
	__u8 src_be[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u8 dst_be[16];
	__u32 id_be;
	__u32 proto;     /* of IPv4, where it counts for reassembly (RFC 791 section 3.2); of IPv6 0 */
};

enum ids_fate {
	IDS_FATE_CONDEMNED = 1 << 0, /* of a flow that is to die */
	IDS_FATE_SOLICITED = 1 << 1, /* an answer to what the receiver asked */
};

struct ids_datagram {
	__u64 seen_ns;
	__u32 fate;  /* enum ids_fate */
	__u32 later; /* fragments behind the first */
};

/* ---- budgets -------------------------------------------------------------------------------------------------- */

enum ids_limit_kind {
	/* The reason of a refusal is IDS_DROP_SYN_SOURCE + kind. */
	IDS_LIMIT_SRC_SYN = 0,
	IDS_LIMIT_SRC_UDP = 1,
	IDS_LIMIT_SRC_ICMP = 2,
	IDS_LIMIT_DST_SYN = 3,
	IDS_LIMIT_DST_UDP = 4,
	IDS_LIMIT_DST_ICMP = 5,
	IDS_LIMIT_DST_REFLECTION = 6,
	IDS_LIMIT_DST_REPEATED = 7, /* SYNs to be challenged that came again, as from those who never get a challenge */
	IDS_LIMIT_KINDS = 8,
};

/* A token bucket in its virtual-scheduling form (GCRA, ITU-T I.371): one word of state. */
struct ids_limit {
	__u64 interval_ns; /* between packets at the permitted rate; 0: no limit */
	__u64 burst_ns;    /* how far ahead of that rate a sender may be: (burst - 1) * interval_ns */
};

struct ids_budget_key {
	__u8 addr_be[16]; /* IPv4 as ::ffff:a.b.c.d; an IPv6 source by its /64, for it has all of that to itself */
	__u32 kind;       /* enum ids_limit_kind */
};

struct ids_budget {
	__u64 due_ns;  /* when the bucket will be full again */
	__u64 refused; /* packets refused */
	__u64 episode_ns; /* when the present run of refusals began; 0: none. It ends when the bucket is full again. */
};

/* A SYN that was challenged lately, in a table of which each has one place: who comes later takes it. */
struct ids_repeat {
	__u32 mark; /* SipHash of who talks to whom, and of the sequence number; its other half is the place */
	__u32 at_ms; /* when it last came, of the low 32 bits of milliseconds */
};

/* ---- shares of the rings ---------------------------------------------------------------------------------------- */

struct ids_share_key {
	__u8 holder_be[16]; /* who opened the flow, as in a packet's record */
	__u32 ring;         /* twice the worker, and 1 for its large one */
};

/* How much of a ring is taken up in one name. Exact while nothing is read; what is read is taken to be everybody's alike. */
struct ids_share {
	__u64 waiting;      /* bytes in the ring, when it was last looked at */
	__u64 read_pos;     /* positions of reader and writer then */
	__u64 write_pos;
	__u64 missed;       /* packets that were not shown, for whatever the ring had no room, since the beginning */
	__u64 missed_bytes; /* of frames */
};

/* ---- configuration and state ----------------------------------------------------------------------------------- */

enum ids_lists {
	IDS_LIST_PREFIX4 = 1 << 0, /* the trie may have entries */
	IDS_LIST_PREFIX6 = 1 << 1,
};

enum ids_flags {
	IDS_FLAG_CHALLENGE = 1 << 0, /* SYNs beyond a destination's budget are challenged rather than dropped */
	IDS_FLAG_GONE_PASS = 1 << 1, /* when the engine has gone, pass everything rather than go on blocking */
	IDS_FLAG_COOKIES = 1 << 2,   /* such SYNs to this host's own listeners get cookies of its kernel instead */
	IDS_FLAG_SHADOW = 1 << 3,    /* drop and answer nothing; count what would have been dropped */
	IDS_FLAG_DROP_UNPARSED = 1 << 4, /* drop what has no address that the lists could be asked about, but ARP */
	IDS_FLAG_APART = 1 << 5,     /* client and server are reached by different ways, as on a wire; not in every capture */
	IDS_FLAG_TUNNELS = 1 << 6,   /* tunnels are looked into */
};

#define IDS_SHARED_PORTS 4

struct ids_config {
	__u32 version;     /* IDS_CONTRACT_VERSION, so that pins show what they are; stays first for good */
	__u32 lists;       /* enum ids_lists */
	__u64 generation;  /* changes with every change of a prefix list */
	__u64 heartbeat_ns; /* when the engine last said that it lives */
	__u64 now_ns;      /* the clock of a replay; 0: the kernel's */
	__u32 depth_tcp;   /* bytes shown of each side of a flow, unless the flow says otherwise */
	__u32 depth_udp;
	__u32 depth_other;
	__u32 flags;       /* enum ids_flags */
	struct ids_limit limits[IDS_LIMIT_KINDS];
	__u64 gone_after_ns; /* silence after which the engine counts as gone; 0: it never does */
	__u64 proven_ns;   /* how long a proof of source is good for */
	__u64 secret[2];   /* key of the challenges' cookies */
	__u32 reflection_bytes; /* UDP from an amplifier's port counts as reflected from this frame length on */
	__u32 thin_after_bytes; /* shown of a side, it gives way to beginnings of flows while a ring is nearly full */
	__u64 changes;     /* changes of a blocklist by its own tools; what differs without one is drift */
	__u32 thin_small_bytes; /* unread data beyond which a ring counts as nearly full; 0: it never does */
	__u32 thin_large_bytes;
	__u64 allow_generation; /* changes with every change of the allow-list; 0: ask it for every packet */
	__u64 cookie_ns;   /* when a SYN cookie was last sent, to within a second; the program's own */
	__u64 worker_seed; /* so that nobody can foretell who inspects which flow */
	__u32 workers;     /* pairs of rings among which flows are spread; at most IDS_MAX_WORKERS */
	__u32 repeats;     /* entries of ids_repeats */
	__u16 shared_port_be[IDS_SHARED_PORTS]; /* of TCP connections that every worker is shown; 0: none */
};

/* How a packet carries another. The first three are kinds of UDP ports. */
enum ids_tunnel {
	IDS_TUNNEL_NONE = 0,
	IDS_TUNNEL_VXLAN = 1,
	IDS_TUNNEL_GENEVE = 2,
	IDS_TUNNEL_TEREDO = 3,
	IDS_TUNNEL_IP4 = 4,
	IDS_TUNNEL_IP6 = 5,
	IDS_TUNNEL_GRE = 6,
};

#define IDS_TUNNEL_BYTES 16384 /* a power of two */

/* UDP port -> ids_tunnel, two bits each, the lowest port in the lowest bits. */
struct ids_tunnel_ports {
	__u8 kinds[IDS_TUNNEL_BYTES];
};

/* The coarse clock only moves with the tick, so one reading serves a CPU until jiffies move on. */
struct ids_clock {
	__u64 jiffies;
	__u64 now_ns;
};

#endif
