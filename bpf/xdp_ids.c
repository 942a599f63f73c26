/* SPDX-License-Identifier: GPL-2.0-only
 *
 * The ingress program: drop what is known to be bad, show the rest to user space, as little of it as will do.
 *
 * Order of checks: Ethernet and addresses ► blocklist ► malformed ► SYN budget ► flow state and verdict ► show ► pass.
 * The allow-list is asked only where a packet is about to be dropped, so it always wins and costs the others nothing.
 *
 * BCC rewrites map calls in this file alone, so whatever touches a map is here and the headers are map-free.
 */
#include <linux/bpf.h>

#include "ids_events.h"
#include "ids_maps.h"
#include "ids_parse.h"
#include "ids_flood.h"

/* RFC 6056: a port pair that comes back after this long idle is a new conversation. */
#define IDS_FLOW_REUSE_NS (60ULL * 1000 * 1000 * 1000)

/* The answer of a check that lets the packet go on to the next one. */
#define IDS_GO_ON 0

struct ids_context {
	struct xdp_md *xdp;
	struct ids_config *config;
	u64 now_ns;
	struct ids_packet packet;
};

/* CLOCK_MONOTONIC at the resolution of the tick. Reading the clock is a call, jiffies are a load. */
static __always_inline u64 ids_now(struct ids_config *config)
{
	u64 jiffies = bpf_jiffies64();
	struct ids_clock *clock;
	u32 zero = 0;

	if (config->now_ns)
		return config->now_ns;
	clock = ids_clock.lookup(&zero);
	if (!clock)
		return bpf_ktime_get_coarse_ns();
	if (clock->jiffies != jiffies) {
		clock->now_ns = bpf_ktime_get_coarse_ns();
		clock->jiffies = jiffies;
	}
	return clock->now_ns;
}

static __always_inline void ids_count(u32 reason, u32 len)
{
	struct ids_count *count = ids_counts.lookup(&reason);

	if (count) {
		count->packets++;
		count->bytes += len;
	}
}

/* Whether the source is on the allow-list; counts what it was saved from. */
static __always_inline int ids_allowed(struct ids_context *c)
{
	struct ids_allow *allow = 0;

	if (c->packet.version == 4) {
		struct ids_prefix4 key = { .prefixlen = 32, .addr_be = c->packet.src4_be };

		allow = ids_allow4.lookup(&key);
	} else if (c->packet.version == 6) {
		struct ids_prefix6 key = { .prefixlen = 128 };

		__builtin_memcpy(key.addr_be, &c->packet.src6, sizeof(key.addr_be));
		allow = ids_allow6.lookup(&key);
	}
	if (!allow)
		return 0;
	__sync_fetch_and_add(&allow->packets, 1);
	__sync_fetch_and_add(&allow->bytes, c->packet.len);
	ids_count(IDS_NOTE_ALLOWED, c->packet.len);
	return 1;
}

static __always_inline struct ids_block *ids_find_exact(struct ids_context *c)
{
	if (c->packet.version == 4)
		return ids_block4.lookup(&c->packet.src4_be);
	return ids_block6.lookup(&c->packet.src6);
}

static __always_inline struct ids_block *ids_find_prefix(struct ids_context *c)
{
	if (c->packet.version == 4 && (c->config->lists & IDS_LIST_PREFIX4)) {
		struct ids_prefix4 key = { .prefixlen = 32, .addr_be = c->packet.src4_be };

		return ids_prefix4.lookup(&key);
	}
	if (c->packet.version == 6 && (c->config->lists & IDS_LIST_PREFIX6)) {
		struct ids_prefix6 key = { .prefixlen = 128 };

		__builtin_memcpy(key.addr_be, &c->packet.src6, sizeof(key.addr_be));
		return ids_prefix6.lookup(&key);
	}
	return 0;
}

/* Apply a block entry: `reason` when it drops the packet. An expired entry is no entry, whether swept yet or not. */
static __always_inline int ids_apply_block(struct ids_context *c, struct ids_block *block, int reason)
{
	if (!block || (block->expires_ns && block->expires_ns <= c->now_ns))
		return IDS_GO_ON;
	if (block->mode != IDS_BLOCK_SHADOW && ids_allowed(c))
		return IDS_GO_ON;
	__sync_fetch_and_add(&block->packets, 1);
	__sync_fetch_and_add(&block->bytes, c->packet.len);
	block->last_hit_ns = c->now_ns;
	if (block->mode == IDS_BLOCK_SHADOW) {
		ids_count(IDS_NOTE_SHADOW, c->packet.len);
		return IDS_GO_ON;
	}
	return reason;
}

static __always_inline int ids_check_blocked(struct ids_context *c)
{
	int reason = ids_apply_block(c, ids_find_exact(c), IDS_DROP_BLOCKED);

	if (reason)
		return reason;
	return ids_apply_block(c, ids_find_prefix(c), IDS_DROP_BLOCKED_PREFIX);
}

static __always_inline void ids_budget_holder(struct ids_context *c, struct ids_budget_key *key)
{
	if (c->packet.version == 4) {
		key->addr_be[10] = key->addr_be[11] = 0xff;
		__builtin_memcpy(key->addr_be + 12, &c->packet.src4_be, 4);
	} else {
		__builtin_memcpy(key->addr_be, &c->packet.src6, 8);
	}
}

/* Charge an opening SYN to its source. */
static __always_inline int ids_check_syn(struct ids_context *c)
{
	struct ids_limit *limit = &c->config->limits[IDS_LIMIT_SRC_SYN];
	struct ids_budget_key key = { .kind = IDS_LIMIT_SRC_SYN };
	struct ids_budget fresh = { .due_ns = c->now_ns + limit->interval_ns };
	struct ids_budget *budget;

	if (!limit->interval_ns || (c->packet.tcp_flags & (IDS_TCP_SYN | IDS_TCP_ACK)) != IDS_TCP_SYN)
		return IDS_GO_ON;
	ids_budget_holder(c, &key);
	budget = ids_budgets.lookup(&key);
	if (!budget) {
		if (ids_budgets.update(&key, &fresh))
			ids_count(IDS_NOTE_BUDGET_LOST, c->packet.len);
		return IDS_GO_ON;
	}
	if (ids_budget_take(budget, limit, c->now_ns) || ids_allowed(c))
		return IDS_GO_ON;
	return IDS_DROP_SYN_SOURCE;
}

/* ---- flows ---------------------------------------------------------------------------------------------------- */

static __always_inline u32 ids_vlan_proto(const struct ids_packet *packet)
{
	return packet->vlan << 8 | packet->proto;
}

/* Build the key of an IPv4 flow; return the side that sent this packet. */
static __always_inline int ids_flow4_key(const struct ids_packet *packet, struct ids_flow4 *key)
{
	u64 from = (u64)__builtin_bswap32(packet->src4_be) << 16 | __builtin_bswap16(packet->sport_be);
	u64 to = (u64)__builtin_bswap32(packet->dst4_be) << 16 | __builtin_bswap16(packet->dport_be);
	int side = from > to;

	key->addr_be[0] = side ? packet->dst4_be : packet->src4_be;
	key->addr_be[1] = side ? packet->src4_be : packet->dst4_be;
	key->port_be[0] = side ? packet->dport_be : packet->sport_be;
	key->port_be[1] = side ? packet->sport_be : packet->dport_be;
	key->vlan_proto = ids_vlan_proto(packet);
	return side;
}

static __always_inline int ids_addr6_above(const struct ids_addr6 *a, const struct ids_addr6 *b, int or_equal)
{
	if (a->half_be[0] != b->half_be[0])
		return __builtin_bswap64(a->half_be[0]) > __builtin_bswap64(b->half_be[0]);
	if (a->half_be[1] != b->half_be[1])
		return __builtin_bswap64(a->half_be[1]) > __builtin_bswap64(b->half_be[1]);
	return or_equal;
}

static __always_inline int ids_flow6_key(const struct ids_packet *packet, struct ids_flow6 *key)
{
	int ports_above = __builtin_bswap16(packet->sport_be) > __builtin_bswap16(packet->dport_be);
	int side = ids_addr6_above(&packet->src6, &packet->dst6, ports_above);

	key->addr[0] = side ? packet->dst6 : packet->src6;
	key->addr[1] = side ? packet->src6 : packet->dst6;
	key->port_be[0] = side ? packet->dport_be : packet->sport_be;
	key->port_be[1] = side ? packet->sport_be : packet->dport_be;
	key->vlan_proto = ids_vlan_proto(packet);
	return side;
}

/* Start a flow over in place, as if it had just been added. */
static __always_inline void ids_flow_restart(struct ids_flow *flow, int side, u64 now_ns)
{
	struct ids_flow fresh = { .first_ns = now_ns, .last_ns = now_ns, .client = side };

	*flow = fresh;
}

/* What a new flow starts with: a SYN/ACK tells that the client is the other side. */
static __always_inline void ids_flow_begin(struct ids_context *c, struct ids_flow *flow, int side)
{
	int answers = (c->packet.tcp_flags & (IDS_TCP_SYN | IDS_TCP_ACK)) == (IDS_TCP_SYN | IDS_TCP_ACK);

	flow->first_ns = flow->last_ns = c->now_ns;
	flow->client = answers ? !side : side;
	ids_count(IDS_NOTE_FLOW_NEW, c->packet.len);
}

static __always_inline struct ids_flow *ids_flow4_of(struct ids_context *c, int *side)
{
	struct ids_flow4 key;
	struct ids_flow *flow;

	*side = ids_flow4_key(&c->packet, &key);
	flow = ids_flows4.lookup(&key);
	if (!flow) {
		struct ids_flow fresh = {};

		ids_flow_begin(c, &fresh, *side);
		ids_flows4.update(&key, &fresh);
		flow = ids_flows4.lookup(&key);
	}
	return flow;
}

static __always_inline struct ids_flow *ids_flow6_of(struct ids_context *c, int *side)
{
	struct ids_flow6 key;
	struct ids_flow *flow;

	*side = ids_flow6_key(&c->packet, &key);
	flow = ids_flows6.lookup(&key);
	if (!flow) {
		struct ids_flow fresh = {};

		ids_flow_begin(c, &fresh, *side);
		ids_flows6.update(&key, &fresh);
		flow = ids_flows6.lookup(&key);
	}
	return flow;
}

/* Remember that the source of this packet answered what was sent to its address. */
static __always_inline void ids_source_proven(struct ids_context *c)
{
	if (c->packet.version == 4)
		ids_proven4.update(&c->packet.src4_be, &c->now_ns);
	else
		ids_proven6.update(&c->packet.src6, &c->now_ns);
	ids_count(IDS_NOTE_PROVEN, c->packet.len);
}

/* An opening SYN: a conversation that is over, or long idle, starts again; one that was waved through is looked at. */
static __always_inline void ids_flow_syn(struct ids_context *c, struct ids_flow *flow, int side)
{
	if (flow->state == IDS_FLOW_CLOSED || c->now_ns - flow->last_ns > IDS_FLOW_REUSE_NS)
		ids_flow_restart(flow, side, c->now_ns);
	else if (flow->verdict == IDS_FLOW_BYPASS)
		flow->verdict = IDS_FLOW_INSPECT;
	if (flow->state == IDS_FLOW_NEW) {
		flow->state = IDS_FLOW_SYN;
		flow->client = side;
	}
}

/* Follow the handshake (RFC 9293 section 3.5). Only who saw the server's initial sequence number can acknowledge it, so
 * the client's answer to it proves that the client is where its address says. */
static __always_inline void ids_flow_track(struct ids_context *c, struct ids_flow *flow, int side)
{
	u8 flags = c->packet.tcp_flags;

	if (flags & IDS_TCP_RST) {
		flow->state = IDS_FLOW_CLOSED;
	} else if (flags & IDS_TCP_SYN) {
		if (!(flags & IDS_TCP_ACK)) {
			ids_flow_syn(c, flow, side);
		} else if (side != flow->client && flow->state <= IDS_FLOW_SYN) {
			flow->server_isn = c->packet.seq;
			flow->state = IDS_FLOW_SYNACK;
		}
	} else if (flow->state == IDS_FLOW_SYNACK && side == flow->client && (flags & IDS_TCP_ACK) &&
		   c->packet.ack == flow->server_isn + 1) {
		flow->state = IDS_FLOW_ESTABLISHED;
		ids_source_proven(c);
	}
	if (flags & IDS_TCP_FIN) {
		flow->fins |= 1 << side;
		flow->state = flow->fins == 3 ? IDS_FLOW_CLOSED : IDS_FLOW_CLOSING;
	}
}

/* Bytes of this packet that count against the flow's depth. */
static __always_inline u32 ids_shown_bytes(const struct ids_packet *packet)
{
	return packet->proto == IPPROTO_TCP && !packet->fragment ? packet->payload_len : packet->len;
}

static __always_inline u32 ids_depth(struct ids_context *c, const struct ids_flow *flow)
{
	if (flow->depth)
		return flow->depth;
	if (c->packet.proto == IPPROTO_TCP)
		return c->config->depth_tcp;
	return c->packet.proto == IPPROTO_UDP ? c->config->depth_udp : c->config->depth_other;
}

/* What the flow's verdict and depth say: a final reason, or PASS_SHOWN for a packet to be shown. */
static __always_inline int ids_flow_judge(struct ids_context *c, struct ids_flow *flow, int side)
{
	u32 *shown = &flow->shown[side & 1];

	if (flow->verdict == IDS_FLOW_DROP && !ids_allowed(c))
		return IDS_DROP_FLOW;
	if (flow->verdict == IDS_FLOW_BYPASS)
		return IDS_PASS_BYPASS;
	/* The ends of a connection are always shown: user space frees what it holds for the flow. */
	if (*shown >= ids_depth(c, flow) && !(c->packet.tcp_flags & (IDS_TCP_SYN | IDS_TCP_FIN | IDS_TCP_RST)))
		return IDS_PASS_DEPTH;
	__sync_fetch_and_add(shown, ids_shown_bytes(&c->packet));
	return IDS_PASS_SHOWN;
}

static __always_inline int ids_check_flow(struct ids_context *c, struct ids_record *record)
{
	int side = 0;
	struct ids_flow *flow = c->packet.version == 4 ? ids_flow4_of(c, &side) : ids_flow6_of(c, &side);

	if (!flow) {
		ids_count(IDS_NOTE_FLOW_LOST, c->packet.len);
		return IDS_PASS_SHOWN;
	}
	if (c->packet.proto == IPPROTO_TCP && c->packet.fragment == IDS_WHOLE && flow->verdict != IDS_FLOW_DROP)
		ids_flow_track(c, flow, side);
	flow->last_ns = c->now_ns;
	__sync_fetch_and_add(&flow->packets[side & 1], 1);
	__sync_fetch_and_add(&flow->bytes[side & 1], c->packet.len);
	record->direction = side != flow->client;
	record->flow_state = flow->state;
	return ids_flow_judge(c, flow, side);
}

/* ---- showing -------------------------------------------------------------------------------------------------- */

static __always_inline void ids_fill_record(struct ids_context *c, struct ids_record *to, struct ids_record *from)
{
	*to = *from;
	to->ts_ns = c->config->now_ns ? c->config->now_ns : bpf_ktime_get_ns();
	to->ifindex = c->xdp->ingress_ifindex;
	to->rx_queue = c->xdp->rx_queue_index;
	to->wirelen = c->packet.len;
	to->kind = IDS_RECORD_PACKET;
}

/* Copy the packet into a ring. Which one is a matter of its size, so that small packets do not fill the large slots. */
static __always_inline int ids_show(struct ids_context *c, struct ids_record *record)
{
	u32 len = c->packet.len;
	struct ids_record *slot;

	if (len <= IDS_SMALL_DATA) {
		slot = ids_small.ringbuf_reserve(IDS_SMALL_STRIDE - IDS_RING_HEADER);
		if (!slot)
			return IDS_PASS_RING_FULL;
		ids_fill_record(c, slot, record);
		if (len < 1 || bpf_xdp_load_bytes(c->xdp, 0, slot + 1, len))
			len = 0;
		slot->caplen = len;
		ids_small.ringbuf_submit(slot, 0);
		return IDS_PASS_SHOWN;
	}
	slot = ids_large.ringbuf_reserve(IDS_LARGE_STRIDE - IDS_RING_HEADER);
	if (!slot)
		return IDS_PASS_RING_FULL;
	ids_fill_record(c, slot, record);
	if (len > IDS_LARGE_DATA) {
		len = IDS_LARGE_DATA;
		ids_count(IDS_NOTE_SNAPPED, c->packet.len);
	}
	if (bpf_xdp_load_bytes(c->xdp, 0, slot + 1, len))
		len = 0;
	slot->caplen = len;
	ids_large.ringbuf_submit(slot, 0);
	return IDS_PASS_SHOWN;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* Set the cursor over the first buffer, and the packet's length to the frame's. */
static __always_inline void ids_begin(struct ids_context *c, struct ids_cursor *at)
{
	at->pos = (void *)(long)c->xdp->data;
	at->end = (void *)(long)c->xdp->data_end;
	c->packet.len = at->end - at->pos;
#ifdef IDS_FRAGS
	c->packet.len = bpf_xdp_get_buff_len(c->xdp);
#endif
	c->now_ns = ids_now(c->config);
}

/* Find the addresses: a final reason, or IDS_GO_ON. */
static __always_inline int ids_parse_addresses(struct ids_context *c, struct ids_cursor *at)
{
	int reason = ids_parse_ethernet(at, &c->packet);

	if (reason)
		return reason;
	if (c->packet.eth_proto_be == __constant_htons(ETH_P_IP))
		return ids_parse_ip4(at, &c->packet);
	if (c->packet.eth_proto_be == __constant_htons(ETH_P_IPV6))
		return ids_parse_ip6(at, &c->packet);
	return IDS_PASS_NOT_IP;
}

static __always_inline int ids_check_headers(struct ids_context *c, struct ids_cursor *at)
{
	int reason = c->packet.version == 4 ? ids_judge_ip4(at, &c->packet)
					  : ids_judge_ip6(c->xdp, at, &c->packet);

	if (!reason)
		reason = ids_judge_l4(c->xdp, at, &c->packet);
	if (reason >= IDS_REASON_MALFORMED && ids_allowed(c))
		return IDS_PASS_ALLOWED_MALFORMED;
	return reason;
}

static __always_inline int ids_judge(struct ids_context *c)
{
	struct ids_record record = {};
	struct ids_cursor at = {};
	int reason;

	ids_begin(c, &at);
	reason = ids_parse_addresses(c, &at);
	if (reason)
		return reason;
	reason = ids_check_blocked(c);
	if (reason)
		return reason;
	reason = ids_check_headers(c, &at);
	if (reason)
		return reason;
	reason = ids_check_syn(c);
	if (reason)
		return reason;
	reason = ids_check_flow(c, &record);
	if (reason != IDS_PASS_SHOWN)
		return reason;
	record.reason = reason;
	return ids_show(c, &record);
}

int xdp_ids(struct xdp_md *xdp)
{
	struct ids_context c = { .xdp = xdp };
	u32 zero = 0;
	int reason;

	c.config = ids_config.lookup(&zero);
	if (!c.config)
		return XDP_PASS;
	reason = ids_judge(&c);
	ids_count(reason, c.packet.len);
	return reason >= IDS_REASON_DROP ? XDP_DROP : XDP_PASS;
}
