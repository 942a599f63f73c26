/* SPDX-License-Identifier: GPL-2.0-only
 *
 * The ingress program: drop what is known to be bad, show the rest to user space, as little of it as will do.
 *
 * Order of checks: Ethernet and addresses ► blocked address ► blocked prefix ► malformed ► budgets ► flow state and
 * verdict ► show ► pass. The allow-list is asked only where a packet is about to be dropped, so it always wins and costs
 * the others nothing. A flow remembers that no prefix matched, until a prefix list changes.
 *
 * BCC rewrites map calls in this file alone, so whatever touches a map is here, or in ids_common.c, and the headers are
 * map-free.
 */
#include <linux/bpf.h>

#include "ids_events.h"
#include "ids_maps.h"
#include "ids_parse.h"
#include "ids_flow.h"
#include "ids_tunnel.h"
#include "ids_flood.h"
#include "ids_show.h"
#include "ids_worker.h"
#include "ids_answer.h"
#include "ids_syncookie.h"
#include "ids_common.c"

/* Entries of one source's prefixes that are passed over, because they have expired or only count. */
#define IDS_MAX_NESTED 8

/* The answer of a check that lets the packet go on to the next one. */
#define IDS_GO_ON 0

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

/* Count the verdict and return it: to a replay, which runs the program on each packet by itself, with its reason. */
static __always_inline int ids_finish(struct ids_context *c, int reason, int action)
{
	ids_count(reason, c->packet->len);
#ifdef IDS_REPLAY
	return reason << 8 | action;
#else
	return action;
#endif
}

/* Whether the source is on the allow-list; counts what it was saved from. */
static __always_inline int ids_allowed(struct ids_context *c)
{
	struct ids_allow *allow = 0;

	if (c->packet->version == 4) {
		struct ids_prefix4 key = { .prefixlen = 32, .addr_be = c->packet->src4_be };

		allow = ids_allow4.lookup(&key);
		IDS_APART(allow, "IPv4");
	} else if (c->packet->version == 6) {
		struct ids_prefix6 key = { .prefixlen = 128 };

		__builtin_memcpy(key.addr_be, &c->packet->src6, sizeof(key.addr_be));
		allow = ids_allow6.lookup(&key);
	}
	if (!allow)
		return 0;
	__sync_fetch_and_add(&allow->packets, 1);
	__sync_fetch_and_add(&allow->bytes, c->packet->len);
	ids_count(IDS_NOTE_ALLOWED, c->packet->len);
	return 1;
}

static __always_inline struct ids_block *ids_find_exact(struct ids_context *c)
{
	struct ids_block *block;

	if (c->packet->version == 4) {
		block = ids_block4.lookup(&c->packet->src4_be);
		IDS_APART(block, "IPv4");
		return block;
	}
	block = ids_block6.lookup(&c->packet->src6);
	IDS_APART(block, "IPv6");
	return block;
}

/* Find the longest prefix of the source that is on the blocklist, among those of at most `len` bits. */
static __always_inline struct ids_block *ids_find_prefix(struct ids_context *c, u32 len)
{
	struct ids_block *block;

	if (c->packet->version == 4 && (c->config->lists & IDS_LIST_PREFIX4)) {
		struct ids_prefix4 key = { .prefixlen = len < 32 ? len : 32, .addr_be = c->packet->src4_be };

		block = ids_prefix4.lookup(&key);
		IDS_APART(block, "IPv4");
		return block;
	}
	if (c->packet->version == 6 && (c->config->lists & IDS_LIST_PREFIX6)) {
		struct ids_prefix6 key = { .prefixlen = len };

		__builtin_memcpy(key.addr_be, &c->packet->src6, sizeof(key.addr_be));
		return ids_prefix6.lookup(&key);
	}
	return 0;
}

/* Whether the allow-list keeps a blocked address from being dropped. The entry remembers that it does not, until somebody
 * changes that list. The generation is read first: a change behind the lookup then has the next packet ask again. */
static __always_inline int ids_address_allowed(struct ids_context *c, struct ids_block *block)
{
	u32 generation = c->config->allow_generation;

	if (generation && block->not_allowed == generation)
		return 0;
	if (ids_allowed(c))
		return 1;
	block->not_allowed = generation;
	return 0;
}

/* An expired entry is no entry, whether swept yet or not. */
static __always_inline int ids_is_expired(struct ids_context *c, struct ids_block *block)
{
	return block->expires_ns && block->expires_ns <= c->now_ns;
}

static __always_inline void ids_count_hit(struct ids_context *c, struct ids_block *block)
{
	__sync_fetch_and_add(&block->packets, 1);
	__sync_fetch_and_add(&block->bytes, c->packet->len);
	block->last_hit_ns = c->now_ns;
}

/* Count what an entry in shadow mode would drop. */
static __always_inline void ids_apply_shadow(struct ids_context *c, struct ids_block *block)
{
	ids_count_hit(c, block);
	ids_count(IDS_NOTE_SHADOW, c->packet->len);
	c->packet->met_shadow = 1;
}

/* Apply a block entry: `reason` when it drops the packet. Where everything only counts, an entry that by itself only counts
 * is no different from others: most are so because of the mode that the rules ran in. */
static __always_inline int ids_apply_block(struct ids_context *c, struct ids_block *block, int reason)
{
	int enforces = 0;

	if (block && !ids_is_expired(c, block)) {
		enforces = block->mode != IDS_BLOCK_SHADOW;
		if (!enforces)
			ids_apply_shadow(c, block);
	}
	if (!enforces && !(c->packet->met_shadow && (c->config->flags & IDS_FLAG_SHADOW)))
		return IDS_GO_ON;
	if (enforces && reason == IDS_DROP_BLOCKED ? ids_address_allowed(c, block) : ids_allowed(c))
		return IDS_GO_ON;
	if (enforces)
		ids_count_hit(c, block);
	return ids_shadows(c, reason) ? IDS_GO_ON : reason;
}

/* Whether an entry hides no shorter prefix: it has expired, or only counts. */
static __always_inline int ids_hides_nothing(struct ids_context *c, struct ids_block *block)
{
	return block->prefixlen && (block->mode == IDS_BLOCK_SHADOW || ids_is_expired(c, block));
}

/* Whether a prefix blocks the source. `flow` may be 0; it remembers the answer while that is no and nobody changes a list.
 * An entry that has expired or only counts hides no shorter one, up to IDS_MAX_NESTED of them. The verifier follows each
 * round of the loop by itself, from each state before it: so what may drop, and asks the allow-list, is applied behind. */
static __always_inline int ids_check_prefix(struct ids_context *c, struct ids_flow *flow)
{
	u32 generation = c->config->generation;
	struct ids_block *block;

	if (!c->config->lists || c->packet->shadowed || (flow && flow->generation[c->packet->side & 1] == generation))
		return IDS_GO_ON;
	c->packet->met_shadow = 0;
	block = ids_find_prefix(c, 128);
	if (!block && flow)
		flow->generation[c->packet->side & 1] = generation;
	for (int nested = 1; nested < IDS_MAX_NESTED && block && ids_hides_nothing(c, block); nested++) {
		if (!ids_is_expired(c, block))
			ids_apply_shadow(c, block);
		block = ids_find_prefix(c, block->prefixlen - 1);
	}
	return ids_apply_block(c, block, IDS_DROP_BLOCKED_PREFIX);
}

/* ---- tunnels -------------------------------------------------------------------------------------------------- */

/* Ask the blocklist for who sends within a tunnel, and the allow-list for him alone: it lets somebody in, not whom he
 * carries. */
static __always_inline int ids_check_within(struct ids_context *inner)
{
	int reason;

	inner->packet->met_shadow = 0;
	reason = ids_apply_block(inner, ids_find_exact(inner), IDS_DROP_BLOCKED);
	return reason ? reason : ids_check_prefix(inner, 0);
}

/* What of a tunnel no list can be asked about passes like other such packets, or does not. */
static __always_inline int ids_check_unread(struct ids_context *c)
{
	ids_count(IDS_NOTE_TUNNEL_UNREAD, c->packet->len);
	if (!(c->config->flags & IDS_FLAG_DROP_UNPARSED) || ids_allowed(c))
		return IDS_GO_ON;
	return ids_shadows(c, IDS_DROP_NOT_IP) ? IDS_GO_ON : IDS_DROP_NOT_IP;
}

/* Look for the packets within each other that are looked into, and ask for each of them. What comes of it is left in the
 * innermost one, for the verifier's sake: `outcome` is the reason to drop it, IDS_GO_ON for none. */
static __always_inline void ids_go_within(struct ids_context *inner)
{
	for (int depth = 0; depth < IDS_MAX_TUNNELS && inner->packet->tunnel; depth++) {
		ids_enter_tunnel(inner->frame, inner->packet);
		if (inner->packet->entry != IDS_ENTERED)
			return;
		inner->packet->outcome = ids_check_within(inner);
		if (inner->packet->outcome || inner->packet->shadowed || inner->packet->malformed)
			return;
		ids_find_tunnel(inner);
	}
}

/* Whether there is something in a tunnel that no list could be asked about. A first fragment in which the addresses are
 * not is that too. */
static __always_inline int ids_is_unread(const struct ids_packet *packet, const struct ids_packet *inner)
{
	if (inner->entry == IDS_EMPTY)
		return packet->fragment;
	return inner->entry == IDS_UNREAD || (inner->tunnel && !inner->malformed);
}

/* Judge what a tunnel carries. */
static __always_inline int ids_judge_within(struct ids_context *c)
{
	struct ids_context inner = *c;
	u32 one = 1;

	inner.packet = ids_scratch.lookup(&one);
	if (!inner.packet)
		return IDS_GO_ON;
	__builtin_memset(inner.packet, 0, IDS_PACKET_CLEARED);
	inner.packet->len = c->packet->len;
	inner.packet->l4 = c->packet->l4;
	inner.packet->ip_end = c->packet->ip_end;
	inner.packet->tunnel = c->packet->tunnel;
	ids_go_within(&inner);
	c->packet->shadowed = inner.packet->shadowed;
	if (inner.packet->outcome || inner.packet->shadowed)
		ids_count(IDS_NOTE_IN_TUNNEL, c->packet->len);
	else if (ids_is_unread(c->packet, inner.packet))
		inner.packet->outcome = ids_check_unread(c);
	return inner.packet->outcome;
}

/* ---- budgets -------------------------------------------------------------------------------------------------- */

/* Report to user space that a budget began to refuse: once, until its bucket has been full again. */
static __always_inline void ids_report_limit(struct ids_context *c, struct ids_budget *budget, struct ids_budget_key *key)
{
	struct ids_record *slot;

	if (budget->episode_ns)
		return;
	budget->episode_ns = c->now_ns;
	slot = ids_events.ringbuf_reserve(IDS_EVENT_STRIDE - IDS_RING_HEADER);
	if (!slot) {
		ids_count(IDS_NOTE_EVENT_LOST, c->packet->len);
		return;
	}
	__builtin_memset(slot, 0, sizeof(*slot));
	slot->ts_ns = ids_record_ns(c->config);
	slot->ifindex = c->frame->ingress_ifindex;
	slot->wirelen = c->packet->len;
	slot->kind = IDS_RECORD_LIMIT;
	slot->reason = IDS_DROP_SYN_SOURCE + key->kind;
	slot->detail = key->kind;
	__builtin_memcpy(slot->addr_be, key->addr_be, sizeof(slot->addr_be));
	ids_events.ringbuf_submit(slot, 0);
}

/* Whose budget it is: IPv4 as ::ffff:a.b.c.d; an IPv6 source by its /64, but for link-local ones: all of a link share that. */
static __always_inline void ids_budget_holder(struct ids_context *c, struct ids_budget_key *key, int source)
{
	if (c->packet->version == 4) {
		key->addr_be[10] = key->addr_be[11] = 0xff;
		__builtin_memcpy(key->addr_be + 12, source ? &c->packet->src4_be : &c->packet->dst4_be, 4);
	} else if (source) {
		__builtin_memcpy(key->addr_be, &c->packet->src6, 8);
		if (key->addr_be[0] == 0xfe && (key->addr_be[1] & 0xc0) == 0x80)
			__builtin_memcpy(key->addr_be, &c->packet->src6, 16);
	} else {
		__builtin_memcpy(key->addr_be, &c->packet->dst6, 16);
	}
}

/* What a flow remembers of a charge, as an ids_charged. */
static __always_inline u8 ids_charged_bit(u32 kind)
{
	switch (kind) {
	case IDS_LIMIT_SRC_SYN:
		return IDS_CHARGED_SOURCE;
	case IDS_LIMIT_DST_SYN:
		return IDS_CHARGED_DESTINATION;
	case IDS_LIMIT_DST_REPEATED:
		return IDS_CHARGED_REPEATED;
	default:
		return 0;
	}
}

/* Charge a packet to a budget; return the reason where it is spent. */
static __always_inline int ids_charge(struct ids_context *c, u32 kind, int source)
{
	struct ids_limit *limit = &c->config->limits[kind & (IDS_LIMIT_KINDS - 1)];
	struct ids_budget_key key = { .kind = kind };
	struct ids_budget *budget;
	int lost;

	if (!limit->interval_ns)
		return IDS_GO_ON;
	ids_budget_holder(c, &key, source);
	budget = source ? ids_src_budgets.lookup(&key) : ids_dst_budgets.lookup(&key);
	if (!budget) {
		struct ids_budget fresh = { .due_ns = c->now_ns + limit->interval_ns };

		c->packet->charged |= ids_charged_bit(kind);
		lost = source ? ids_src_budgets.update(&key, &fresh) : ids_dst_budgets.update(&key, &fresh);
		ids_count(lost ? IDS_NOTE_BUDGET_LOST : IDS_NOTE_BUDGET_NEW, c->packet->len);
		return IDS_GO_ON;
	}
	if (ids_budget_take(budget, limit, c->now_ns)) {
		c->pressed |= !!budget->episode_ns;
		c->packet->charged |= ids_charged_bit(kind);
		return IDS_GO_ON;
	}
	ids_report_limit(c, budget, &key);
	return IDS_DROP_SYN_SOURCE + kind;
}

/* Whether the source has lately shown that it gets what is sent to its address. */
static __always_inline int ids_is_proven(struct ids_context *c)
{
	u64 *proven_ns = c->packet->version == 4 ? ids_proven4.lookup(&c->packet->src4_be)
						: ids_proven6.lookup(&c->packet->src6);

	return proven_ns && c->now_ns < *proven_ns + c->config->proven_ns;
}

/* Whether a SYN is of a client that has just answered the challenge of this connection. */
static __always_inline int ids_is_admitted(struct ids_context *c, struct ids_flow *flow)
{
	return flow && flow->admitted && flow->client == c->packet->side && c->now_ns < flow->last_ns + IDS_ADMITTED_NS;
}

/* Budgets of the source, then of the destination. Of SYNs they bound those that are not answered: a completed handshake
 * gives its tokens back. A destination's is for sources that are not proven: those are challenged beyond it, where that is
 * switched on, and come back, admitted, with their next SYN. From the first refusal until the bucket has been full again that
 * holds for every SYN, also those within the budget: at the permitted rate alone, forged SYNs would fill the queue of a
 * server without SYN cookies. */
static __always_inline int ids_check_budgets(struct ids_context *c, struct ids_flow *flow)
{
	int kind = ids_source_kind(c->packet);
	int reason, proven, solicited;

	if (kind < 0 || c->packet->shadowed)
		return IDS_GO_ON;
	solicited = flow && !c->packet->fragment ? ids_is_solicited(c->packet, flow, c->packet->side)
						   : c->packet->fate & IDS_FATE_SOLICITED;
	if (kind == IDS_LIMIT_SRC_ICMP && solicited && c->packet->sport_be)
		return IDS_GO_ON; /* an echo that was asked for; other ICMP of two hosts is all in one flow */
	reason = ids_charge(c, kind, 1);
	proven = !reason && kind == IDS_LIMIT_SRC_SYN && (ids_is_admitted(c, flow) || ids_is_proven(c));
	if (!reason && !solicited && ids_is_reflected(c->packet, c->config->reflection_bytes))
		reason = ids_charge(c, IDS_LIMIT_DST_REFLECTION, 0);
	if (!reason && !proven)
		reason = ids_charge(c, kind + IDS_LIMIT_DST_SYN, 0);
	if (reason == IDS_DROP_SYN_DESTINATION || (!reason && !proven && kind == IDS_LIMIT_SRC_SYN && c->pressed)) {
		c->packet->refused = !!reason;
		if (c->config->flags & (IDS_FLAG_CHALLENGE | IDS_FLAG_COOKIES))
			reason = IDS_DROP_CHALLENGED;
	}
	if (!reason || ids_allowed(c))
		return IDS_GO_ON;
	/* Which answer a SYN would have had, the other program finds out. */
	return reason != IDS_DROP_CHALLENGED && ids_shadows(c, reason) ? IDS_GO_ON : reason;
}

/* ---- flows ---------------------------------------------------------------------------------------------------- */

/* What was charged to an address before it was proven may have been somebody else's doing: it begins with a full bucket,
 * once for as long as the proof lasts. */
static __always_inline void ids_forgive(struct ids_context *c)
{
	struct ids_budget_key key = { .kind = IDS_LIMIT_SRC_SYN };
	struct ids_budget *budget;

	ids_budget_holder(c, &key, 1);
	budget = ids_src_budgets.lookup(&key);
	if (budget)
		budget->due_ns = c->now_ns;
}

/* Remember that the source of this packet answered what was sent to its address. */
static __always_inline void ids_source_proven(struct ids_context *c)
{
	int proven = ids_is_proven(c);

	if (c->packet->version == 4)
		ids_proven4.update(&c->packet->src4_be, &c->now_ns);
	else
		ids_proven6.update(&c->packet->src6, &c->now_ns);
	ids_count(IDS_NOTE_PROVEN, c->packet->len);
	if (!proven)
		ids_forgive(c);
}

static __always_inline void ids_give_back_to(struct ids_context *c, u32 kind, int source)
{
	struct ids_budget_key key = { .kind = kind };
	struct ids_budget *budget;

	ids_budget_holder(c, &key, source);
	budget = source ? ids_src_budgets.lookup(&key) : ids_dst_budgets.lookup(&key);
	if (budget)
		ids_budget_give_back(budget, &c->config->limits[kind & (IDS_LIMIT_KINDS - 1)], c->now_ns);
}

/* A handshake is complete: give back the token that its SYN took, from those that it was taken from, and one alone
 * however many SYNs there were. So nobody gets back more than was charged for the same connection. */
static __always_inline void ids_give_back(struct ids_context *c, struct ids_flow *flow)
{
	if (!flow->charged)
		return;
	if (flow->charged & IDS_CHARGED_SOURCE)
		ids_give_back_to(c, IDS_LIMIT_SRC_SYN, 1);
	if (flow->charged & IDS_CHARGED_DESTINATION)
		ids_give_back_to(c, IDS_LIMIT_DST_SYN, 0);
	if (flow->charged & IDS_CHARGED_REPEATED)
		ids_give_back_to(c, IDS_LIMIT_DST_REPEATED, 0);
	flow->charged = 0;
	ids_count(IDS_NOTE_ANSWERED, c->packet->len);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* Find the configuration and a place for what is parsed; 0 where there is none, which cannot happen. */
static __always_inline int ids_prepare(struct ids_context *c)
{
	u32 zero = 0;

	c->config = ids_config.lookup(&zero);
	c->packet = ids_scratch.lookup(&zero);
	if (!c->config || !c->packet)
		return 0;
	c->now_ns = ids_now(c->config);
	return 1;
}

/* Set the cursor over the first buffer, and the packet's length to the frame's. */
static __always_inline void ids_begin(struct ids_context *c, struct ids_cursor *at)
{
	at->pos = (void *)(long)c->frame->data;
	at->end = (void *)(long)c->frame->data_end;
	__builtin_memset(c->packet, 0, IDS_PACKET_CLEARED);
	c->packet->len = at->end - at->pos;
#ifdef IDS_FRAGS
	c->packet->len = bpf_xdp_get_buff_len(c->frame);
#endif
}

/* Find the addresses: a final reason, or IDS_GO_ON. */
static __always_inline int ids_parse_addresses(struct ids_context *c, struct ids_cursor *at)
{
	int reason = ids_parse_ethernet(c->frame, at, c->packet);

	if (reason)
		return reason;
	if (c->packet->eth_proto_be == __constant_htons(ETH_P_IP))
		return ids_parse_ip4(at, c->packet);
	if (c->packet->eth_proto_be == __constant_htons(ETH_P_IPV6))
		return ids_parse_ip6(at, c->packet);
	return IDS_PASS_NOT_IP;
}

static __always_inline int ids_judge_headers(struct ids_context *c, struct ids_cursor *at)
{
	int reason = c->packet->version == 4 ? ids_judge_ip4(at, c->packet)
					    : ids_judge_ip6(c->frame, at, c->packet);

	return reason ? reason : ids_judge_l4(c->frame, at, c->packet);
}

/* A malformed packet has no flow to remember anything. */
static __always_inline int ids_check_malformed(struct ids_context *c)
{
	int reason = ids_check_prefix(c, 0);

	if (reason)
		return reason;
	if (ids_allowed(c))
		return IDS_PASS_ALLOWED_MALFORMED;
	return ids_shadows(c, c->packet->malformed) ? IDS_PASS_SHADOW_MALFORMED : c->packet->malformed;
}

/* Whether this may be a challenged client's answer: a reset before any answer of the server was seen, or long after. */
static __always_inline int ids_may_answer(struct ids_context *c, struct ids_flow *flow)
{
	if (flow && flow->state != IDS_FLOW_CLOSED && !flow->admitted &&
	    (flow->state != IDS_FLOW_SYN || flow->client != c->packet->side))
		return 0;
	return (c->config->flags & (IDS_FLAG_CHALLENGE | IDS_FLAG_SHADOW)) == IDS_FLAG_CHALLENGE &&
	       c->packet->proto == IPPROTO_TCP && (c->packet->tcp_flags & ~IDS_TCP_ACK) == IDS_TCP_RST;
}

/* Whether this may complete a handshake that began with a SYN cookie. Whatever was there before, but for a connection:
 * the kernel knows a cookie only where it has none on these ports. */
static __always_inline int ids_may_acknowledge(struct ids_context *c, struct ids_flow *flow)
{
	if (flow && flow->state == IDS_FLOW_ESTABLISHED && c->now_ns <= flow->last_ns + IDS_FLOW_REUSE_NS)
		return 0;
	return (c->config->flags & IDS_FLAG_COOKIES) && c->packet->proto == IPPROTO_TCP &&
	       (c->packet->tcp_flags & (IDS_TCP_SYN | IDS_TCP_RST | IDS_TCP_ACK)) == IDS_TCP_ACK &&
	       c->config->cookie_ns && c->now_ns < c->config->cookie_ns + IDS_COOKIE_NS;
}

/* Follow a known flow; whether the packet is to be shown: IDS_PASS_SHOWN, or why not. */
static __always_inline int ids_track(struct ids_context *c, struct ids_flow *flow)
{
	if (ids_flow_seen(c->packet, flow, c->packet->side, c->now_ns)) {
		ids_source_proven(c);
		ids_give_back(c, flow);
	}
	c->packet->direction = c->packet->side != flow->client;
	c->packet->flow_state = flow->state;
	if (flow->verdict == IDS_FLOW_DROP && !ids_allowed(c) && !ids_shadows(c, IDS_DROP_FLOW))
		return IDS_DROP_FLOW;
	return ids_whether_shown(c, flow);
}

static __always_inline int ids_track_and_show(struct ids_context *c, struct ids_flow *flow)
{
	int reason = flow ? ids_track(c, flow) : IDS_PASS_SHOWN;

	if (reason != IDS_PASS_SHOWN)
		return reason;
	reason = ids_show_whole(c);
	if (reason != IDS_PASS_SHOWN)
		ids_settle_missed(c, reason);
	return reason;
}

/* The checks from the transport header on. */
static __always_inline int ids_judge_flow(struct ids_context *c)
{
	union ids_flow_key key; /* not in the context, which is cleared for every packet */
	struct ids_flow *flow;
	int reason;

	if (c->packet->fragment)
		c->packet->fate = ids_fragment_fate(c);
	if (c->packet->tcp_flags & IDS_TCP_SYN) {
		c->packet->apart = !!(c->config->flags & IDS_FLAG_APART);
		c->packet->neighbour = ids_neighbour(c->frame);
	}
	flow = ids_flow_find(c, &key);
	reason = ids_check_prefix(c, flow);
	if (!reason && (c->packet->fate & IDS_FATE_CONDEMNED) && !ids_allowed(c) && !ids_shadows(c, IDS_DROP_FLOW_FRAGMENT))
		reason = IDS_DROP_FLOW_FRAGMENT;
	if (!reason)
		reason = ids_check_budgets(c, flow);
	if (!reason && ids_may_answer(c, flow))
		return IDS_PASS_STRAY_RESET;
	if (reason)
		return reason;
	if (ids_may_acknowledge(c, flow))
		ids_programs.call(c->frame, IDS_PROGRAM_CHALLENGE);
	return ids_track_and_show(c, flow ? flow : ids_flow_add(c, &key));
}

/* What no list can be asked about. ARP passes: without it there is no IPv4. */
static __always_inline int ids_pass_unparsed(struct ids_context *c, int reason)
{
	int drop = reason == IDS_PASS_VLAN_TAGS ? IDS_DROP_VLAN_TAGS : IDS_DROP_NOT_IP;

	if (!(c->config->flags & IDS_FLAG_DROP_UNPARSED) || c->packet->eth_proto_be == __constant_htons(ETH_P_ARP))
		return reason;
	return ids_shadows(c, drop) ? reason : drop;
}

static __always_inline int ids_judge(struct ids_context *c)
{
	struct ids_cursor at = {};
	int reason;

	ids_begin(c, &at);
	if (ids_engine_gone(c->config, c->now_ns))
		return IDS_PASS_ENGINE_GONE;
	reason = ids_parse_addresses(c, &at);
	if (reason && reason < IDS_REASON_DROP)
		return ids_pass_unparsed(c, reason);
	if (reason)
		return reason >= IDS_REASON_DROP && ids_shadows(c, reason) ? IDS_PASS_SHADOW_MALFORMED : reason;
	reason = ids_apply_block(c, ids_find_exact(c), IDS_DROP_BLOCKED);
	if (reason)
		return reason;
	c->packet->malformed = ids_judge_headers(c, &at);
	if (c->packet->malformed)
		return ids_check_malformed(c);
	ids_find_tunnel(c);
	if (c->packet->tunnel && !c->packet->shadowed) { /* before there is a flow, for the verifier's sake */
		reason = ids_judge_within(c);
		if (reason)
			return reason;
	}
	return ids_judge_flow(c);
}

int xdp_ids(struct xdp_md *xdp)
{
	struct ids_context c = { .frame = xdp };
	int reason;

	if (!ids_prepare(&c))
		return XDP_PASS;
	reason = ids_judge(&c);
	if (reason == IDS_DROP_CHALLENGED || reason == IDS_PASS_STRAY_RESET)
		ids_programs.call(xdp, IDS_PROGRAM_CHALLENGE);
	return ids_finish(&c, reason, reason >= IDS_REASON_DROP ? XDP_DROP : XDP_PASS);
}

/* ---- challenges ------------------------------------------------------------------------------------------------- */

/* A program of its own, called for SYNs to be challenged and for what may be an answer, so that the verifier need not
 * follow it from every path of the other. What the other parsed is still in ids_scratch. */

/* Show a worker the client's SYN, or the answer to it, as it must have been, judging by the acknowledgement at hand. */
static __always_inline int ids_show_opening_to(struct ids_context *c, int answer)
{
	u64 len = (c->packet->l4 & IDS_L4_MASK) + sizeof(struct tcphdr); /* at most 86: no options, no extension headers */
	struct ids_record *slot;
	void *ring;

	ring = ids_small.lookup(&c->packet->to);
	if (!ring)
		return 0;
	slot = bpf_ringbuf_reserve(ring, IDS_SMALL_STRIDE - IDS_RING_HEADER, 0);
	if (!slot)
		return 0;
	ids_fill_record(c->frame, c->config, c->packet, slot);
	slot->direction = answer;
	slot->flow_state = answer ? IDS_FLOW_SYNACK : IDS_FLOW_SYN;
	slot->wirelen = len;
	slot->detail = IDS_DETAIL_UNSUMMED;
	if (bpf_xdp_load_bytes(c->frame, 0, slot + 1, len))
		len = 0;
	else
		ids_opening_headers((u8 *)(slot + 1), c->packet, answer);
	slot->caplen = len;
	bpf_ringbuf_submit(slot, 0);
	return 1;
}

/* Show both to all whom the connection concerns, and note where its own worker was not. */
static __always_inline void ids_show_opening(struct ids_context *c)
{
	ids_find_audience(c->config, c->packet);
	for (u32 copy = 0; copy < IDS_MAX_WORKERS && copy < c->packet->copies; copy++) {
		int shown;

		c->packet->to = ids_copy_to(c->config, c->packet, copy);
		shown = ids_show_opening_to(c, 0) && ids_show_opening_to(c, 1);
		if (!shown && !copy)
			ids_count(IDS_NOTE_EVENT_LOST, c->packet->len);
	}
}

/* A handshake by cookie, which ends with this packet: nobody was shown it, lest a flood of SYNs were shown. User space
 * follows no connection whose beginning it has not seen, so it is shown now. */
static __always_inline void ids_handshake_by_cookie(struct ids_context *c)
{
	union ids_flow_key key;
	struct ids_flow *flow = ids_flow_find(c, &key);

	if (!flow)
		flow = ids_flow_add(c, &key);
	if (flow && flow->verdict != IDS_FLOW_DROP) {
		ids_flow_restart(flow, c->packet->side, c->now_ns);
		ids_flow_synack(flow, !c->packet->side, c->packet->ack - 1, c->packet->seq);
	}
	ids_show_opening(c);
}

/* Let the packet go the way of all others. */
static __always_inline int ids_pass_on(struct ids_context *c, int by_cookie)
{
	union ids_flow_key key;
	struct ids_flow *flow;

	if (by_cookie)
		ids_handshake_by_cookie(c);
	flow = ids_flow_find(c, &key);
	return ids_track_and_show(c, flow ? flow : ids_flow_add(c, &key));
}

/* Remember that acknowledgements of cookies may come; written rarely, for every CPU reads what lies beside it. */
static __always_inline void ids_note_cookie(struct ids_context *c)
{
	if (c->now_ns > c->config->cookie_ns + IDS_COOKIE_NOTED_NS)
		c->config->cookie_ns = c->now_ns;
}

/* Whether a SYN came before, as long ago as a sender waits who got no answer, or none that he could use: behind a firewall
 * that lets no reset out, or an interface that loses what XDP sends back. Such pass, by a budget of their own: small, for
 * somebody who knows of it can do the same; and given back where a handshake follows. */
static __always_inline int ids_is_repeated(struct ids_context *c)
{
	u64 hash = ids_syn_mark(c->packet, c->config->secret);
	u32 now_ms = c->now_ns / 1000000, place, age_ms;
	struct ids_repeat *repeat;

	if (!c->config->repeats)
		return 0;
	place = (u32)hash % c->config->repeats;
	repeat = ids_repeats.lookup(&place);
	if (!repeat)
		return 0;
	age_ms = now_ms - repeat->at_ms;
	if (repeat->mark == (u32)(hash >> 32) && age_ms >= IDS_REPEAT_MS && age_ms < IDS_REPEAT_MAX_MS &&
	    !ids_charge(c, IDS_LIMIT_DST_REPEATED, 0)) {
		repeat->mark = 0;
		ids_count(IDS_NOTE_REPEATED, c->packet->len);
		return 1;
	}
	repeat->mark = hash >> 32;
	repeat->at_ms = now_ms;
	return 0;
}

/* A listener of this host whose queue has room sees SYNs at the permitted rate: so it fills, and cookies begin. */
static __always_inline int ids_answer_syn(struct ids_context *c, int *action)
{
	int answerable = ids_is_answerable(c->packet);
	struct ids_answer answer = {};
	int listening = IDS_LISTENS_NOT;

	if (!(c->config->flags & IDS_FLAG_SHADOW) && ids_is_repeated(c))
		return IDS_GO_ON;
	if (answerable && (c->config->flags & IDS_FLAG_COOKIES))
		listening = ids_ask_listener(c->frame, c->packet, &answer);
	if (listening == IDS_LISTENS_COOKIE) {
		if (ids_shadows(c, IDS_DROP_SYN_COOKIE))
			return IDS_GO_ON;
		ids_note_cookie(c);
		*action = ids_answer(c->frame, c->packet, &answer);
		return IDS_DROP_SYN_COOKIE;
	}
	if (!c->packet->refused && (listening == IDS_LISTENS || !(c->config->flags & IDS_FLAG_CHALLENGE)))
		return IDS_GO_ON;
	if (!(c->config->flags & IDS_FLAG_CHALLENGE))
		return ids_shadows(c, IDS_DROP_SYN_DESTINATION) ? IDS_GO_ON : IDS_DROP_SYN_DESTINATION;
	if (ids_shadows(c, IDS_DROP_CHALLENGED))
		return IDS_GO_ON;
	if (!answerable)
		return IDS_DROP_CHALLENGED;
	answer.ack = ids_challenge_ack(c->packet->seq, ids_cookie(c->packet, c->config->secret,
								  c->now_ns >> IDS_COOKIE_SLOT_SHIFT));
	answer.window = 0xffff;
	*action = ids_answer(c->frame, c->packet, &answer);
	return IDS_DROP_CHALLENGED;
}

/* Let the next SYN of a connection pass whose client answered a challenge. That is no proof of source, of which a rule may
 * make a block: a cookie can be guessed, at one in 32,768, and then one SYN passes that should not have. */
static __always_inline void ids_admit(struct ids_context *c)
{
	union ids_flow_key key;
	struct ids_flow *flow = ids_flow_find(c, &key);

	if (!flow)
		flow = ids_flow_add(c, &key);
	ids_count(IDS_NOTE_ADMITTED, c->packet->len);
	if (!flow || flow->verdict == IDS_FLOW_DROP)
		return;
	flow->client = c->packet->side;
	flow->last_ns = c->now_ns;
	flow->admitted = 1;
}

/* A challenged client repeats the acknowledgement, of this slot of time or of the last, as its sequence number. */
static __always_inline int ids_check_answer(struct ids_context *c, int *action)
{
	u64 slot = c->now_ns >> IDS_COOKIE_SLOT_SHIFT;
	u32 answer = c->packet->seq & IDS_COOKIE_MASK;

	if (answer != ids_cookie(c->packet, c->config->secret, slot) &&
	    answer != ids_cookie(c->packet, c->config->secret, slot - 1))
		return IDS_PASS_STRAY_RESET;
	ids_admit(c);
	*action = XDP_DROP;
	return IDS_DROP_CHALLENGE_ANSWER;
}

int xdp_challenge(struct xdp_md *xdp)
{
	struct ids_context c = { .frame = xdp };
	int reason = IDS_GO_ON, action = 0, acknowledges = 0;

	if (!ids_prepare(&c))
		return XDP_PASS;
	if (c.packet->tcp_flags & IDS_TCP_RST)
		reason = ids_check_answer(&c, &action);
	else if (c.packet->tcp_flags & IDS_TCP_SYN)
		reason = ids_answer_syn(&c, &action);
	else
		acknowledges = ids_acknowledges_cookie(xdp, c.packet);
	if (reason == IDS_GO_ON)
		reason = ids_pass_on(&c, acknowledges);
	if (!action)
		action = reason >= IDS_REASON_DROP ? XDP_DROP : XDP_PASS;
	return ids_finish(&c, reason, action);
}

/* ---- verdicts of user space ------------------------------------------------------------------------------------- */

/* Add a flow that is to die. It may have had no entry, for whole packets of it were never seen: only fragments. */
static __always_inline struct ids_flow *ids_flow_order_new(struct ids_flow_order *order)
{
	u64 now_ns = bpf_ktime_get_coarse_ns();
	struct ids_flow fresh = {};
	struct ids_config *config;
	u32 zero = 0;

	config = ids_config.lookup(&zero);
	if (config && config->now_ns)
		now_ns = config->now_ns;
	fresh.first_ns = fresh.last_ns = now_ns;
	if (order->version == 4) {
		ids_flows4.update(&order->key.v4, &fresh);
		return ids_flows4.lookup(&order->key.v4);
	}
	ids_flows6.update(&order->key.v6, &fresh);
	return ids_flows6.lookup(&order->key.v6);
}

/* A program of its own, attached nowhere: user space runs it (BPF_PROG_RUN) on a struct ids_flow_order in a packet's
 * place. Packets go on changing the flow's counters and handshake meanwhile, so verdict and depth alone are written; a
 * system call could only put back the whole entry, as old as its last look at it. Returns whether there is such a flow. */
int xdp_set_flow(struct xdp_md *xdp)
{
	struct ids_flow_order *order = (void *)(long)xdp->data;
	struct ids_flow *flow;

	if ((void *)(order + 1) > (void *)(long)xdp->data_end)
		return 0;
	flow = order->version == 4 ? ids_flows4.lookup(&order->key.v4) : ids_flows6.lookup(&order->key.v6);
	if (!flow && order->verdict == IDS_FLOW_DROP)
		flow = ids_flow_order_new(order);
	if (!flow)
		return 0;
	flow->depth = order->depth;
	flow->verdict = order->verdict;
	return 1;
}
