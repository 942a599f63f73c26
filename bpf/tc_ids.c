/* SPDX-License-Identifier: GPL-2.0-only
 *
 * The egress program: what this host sends, which XDP never sees. It follows the same flows in the same maps, so that
 * handshakes are proven and replies are shown, by the same verdicts and depths. On a gateway, what is only forwarded was
 * seen on its way in.
 *
 * What this host sends is its own business: no list and no budget is asked, and what does not parse passes. Only the
 * rest of a flow that user space has condemned is dropped, on its way out as on its way in.
 *
 * A VLAN tag that the device is to write is not looked at: such a device also takes it off what comes in, before XDP
 * sees it, so that both directions have the same flow.
 *
 * Programs behind this one are always asked too (TC_ACT_UNSPEC, which is TCX_NEXT).
 */
#define IDS_EGRESS
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "ids_events.h"
#include "ids_maps.h"
#include "ids_parse.h"
#include "ids_flow.h"
#include "ids_tunnel.h"
#include "ids_show.h"
#include "ids_worker.h"
#include "ids_common.c"

#define IDS_GO_ON 0

/* What is read in place: Ethernet, tags and an IPv6 header. A socket buffer may have less of it in one piece. */
#define IDS_IN_PLACE (sizeof(struct ethhdr) + IDS_MAX_VLAN_TAGS * sizeof(struct ids_vlan_header) + sizeof(struct ipv6hdr))

/* A segment that is left to the device to cut (GSO) is shown in pieces, as what the wire will have. 64 KiB by the
 * largest piece are 39; the rest is for ordinary segment sizes. */
#define IDS_MAX_PIECES 64
#define IDS_MAX_HEADERS 255
#define IDS_MAX_PIECE (IDS_LARGE_DATA - IDS_MAX_HEADERS)

static __always_inline int ids_allowed4(u32 addr_be)
{
	struct ids_prefix4 key = { .prefixlen = 32, .addr_be = addr_be };

	return ids_allow4.lookup(&key) != 0;
}

static __always_inline int ids_allowed6(const struct ids_addr6 *addr)
{
	struct ids_prefix6 key = { .prefixlen = 128 };

	__builtin_memcpy(key.addr_be, addr, sizeof(key.addr_be));
	return ids_allow6.lookup(&key) != 0;
}

/* Whether either end is on the allow-list: a peer that is let in has to be answered. */
static __always_inline int ids_allowed(struct ids_context *c)
{
	int allowed = c->packet->version == 4
			      ? ids_allowed4(c->packet->src4_be) || ids_allowed4(c->packet->dst4_be)
			      : ids_allowed6(&c->packet->src6) || ids_allowed6(&c->packet->dst6);

	if (allowed)
		ids_count(IDS_NOTE_ALLOWED, c->packet->len);
	return allowed;
}

/* ---- showing -------------------------------------------------------------------------------------------------- */

/* Make the headers in `frame` those of a piece: `len` bytes of payload that begin `offset` bytes into the segment's. */
static __always_inline void ids_piece_headers(struct ids_context *c, u8 *frame, u32 offset, u32 len, int last)
{
	u8 *ip = frame + (c->packet->l3 & IDS_L3_MASK);
	u8 *tcp = frame + (c->packet->l4 & IDS_MAX_HEADERS);
	u32 ip_len = c->packet->cut.header - c->packet->l3 + len;

	if (c->packet->version == 4)
		*(u16 *)(ip + 2) = __builtin_bswap16(ip_len);
	else
		*(u16 *)(ip + 4) = __builtin_bswap16(ip_len - sizeof(struct ipv6hdr));
	*(u32 *)(tcp + 4) = __builtin_bswap32(c->packet->seq + offset);
	if (!last)
		tcp[13] &= ~(IDS_TCP_FIN | IDS_TCP_PSH);
}

/* Fill a slot with the next piece of a segment. */
static __always_inline void ids_fill_piece(struct ids_context *c, struct ids_record *slot)
{
	struct ids_pieces *cut = &c->packet->cut;
	u8 *frame = (u8 *)(slot + 1);
	u32 header = cut->header;
	u32 offset = cut->shown;
	u32 len = c->packet->payload_len - offset;
	int last = len <= cut->piece;

	if (!last)
		len = cut->piece;
	cut->shown = offset + len;
	ids_fill_record(c->frame, c->config, c->packet, slot);
	slot->wirelen = header + len;
	slot->caplen = header + len;
	if (ids_copy_bytes(c->frame, 0, frame, header, IDS_MAX_HEADERS) ||
	    ids_copy_bytes(c->frame, header + offset, frame + (header & IDS_MAX_HEADERS), len, IDS_MAX_PIECE))
		slot->caplen = 0;
	else
		ids_piece_headers(c, frame, offset, len, last);
}

/* Show a TCP segment that is larger than the wire takes, or a slot holds, as several. How far it has got is in memory of
 * which the verifier knows nothing: so each way into the loop, and each round, looks to it like the one before. */
static __always_inline int ids_show_pieces(struct ids_context *c)
{
	void *ring;

	ids_find_audience(c->config, c->packet);
	ring = ids_large.lookup(&c->packet->worker);
	if (!ring)
		return IDS_PASS_RING_FULL;
	if (ids_is_unfair(c))
		return IDS_PASS_UNFAIR;
	if (ids_gives_way(c->packet, ring, c->config->thin_large_bytes))
		return IDS_PASS_THINNED;
	for (int i = 0; i < IDS_MAX_PIECES; i++) {
		struct ids_record *slot;

		if (c->packet->cut.shown >= c->packet->payload_len)
			return IDS_PASS_SHOWN;
		slot = bpf_ringbuf_reserve(ring, IDS_LARGE_STRIDE - IDS_RING_HEADER, 0);
		if (!slot)
			return IDS_PASS_RING_FULL;
		ids_fill_piece(c, slot);
		bpf_ringbuf_submit(slot, 0);
	}
	if (c->packet->cut.shown < c->packet->payload_len)
		ids_count(IDS_NOTE_SNAPPED, c->packet->len);
	return IDS_PASS_SHOWN;
}

static __always_inline int ids_show(struct ids_context *c)
{
	u32 header = c->packet->ip_end - c->packet->payload_len;
	u32 piece = c->frame->gso_size;
	int cut = c->packet->len > IDS_LARGE_DATA || (piece && c->packet->payload_len > piece);

	if (!cut || c->packet->proto != IPPROTO_TCP || c->packet->fragment || header > IDS_MAX_HEADERS)
		return ids_show_whole(c);
	if (!piece || piece > IDS_MAX_PIECE || c->packet->payload_len > piece * IDS_MAX_PIECES)
		piece = IDS_MAX_PIECE;
	c->packet->cut.header = header;
	c->packet->cut.piece = piece;
	return ids_show_pieces(c);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* Set the cursor over what is read in place, all of it in one piece. */
static __always_inline void ids_begin(struct ids_context *c, struct ids_cursor *at)
{
	struct __sk_buff *skb = c->frame;

	if (skb->data_end - skb->data < IDS_IN_PLACE && skb->len > skb->data_end - skb->data)
		bpf_skb_pull_data(skb, skb->len < IDS_IN_PLACE ? skb->len : IDS_IN_PLACE);
	at->pos = (void *)(long)skb->data;
	at->end = (void *)(long)skb->data_end;
	__builtin_memset(c->packet, 0, IDS_PACKET_CLEARED);
	c->packet->len = skb->len;
	c->now_ns = c->config->now_ns ? c->config->now_ns : bpf_ktime_get_coarse_ns();
}

/* Parse: 0, or the reason why the packet is none of ours. */
static __always_inline int ids_parse(struct ids_context *c, struct ids_cursor *at)
{
	int reason = ids_parse_ethernet(c->frame, at, c->packet);

	if (reason)
		return reason;
	if (c->packet->eth_proto_be == __constant_htons(ETH_P_IP)) {
		reason = ids_parse_ip4(at, c->packet);
		if (!reason)
			reason = ids_judge_ip4(at, c->packet);
	} else if (c->packet->eth_proto_be == __constant_htons(ETH_P_IPV6)) {
		reason = ids_parse_ip6(at, c->packet);
		if (!reason)
			reason = ids_judge_ip6(c->frame, at, c->packet);
	} else {
		return IDS_PASS_NOT_IP;
	}
	return reason ? reason : ids_judge_l4(c->frame, at, c->packet);
}

static __always_inline int ids_judge(struct ids_context *c)
{
	union ids_flow_key key;
	struct ids_cursor at = {};
	struct ids_flow *flow;
	int reason;

	ids_begin(c, &at);
	if (ids_engine_gone(c->config, c->now_ns))
		return IDS_PASS_ENGINE_GONE;
	reason = ids_parse(c, &at);
	if (reason)
		return reason >= IDS_REASON_DROP ? IDS_PASS_SENT_MALFORMED : reason;
	ids_find_tunnel(c);
	if (c->packet->fragment && (ids_fragment_fate(c) & IDS_FATE_CONDEMNED) && !ids_allowed(c) &&
	    !ids_shadows(c, IDS_DROP_FLOW_FRAGMENT))
		return IDS_DROP_FLOW_FRAGMENT;
	flow = ids_flow_find(c, &key);
	if (!flow) /* a new one has not asked whether a prefix blocks the peer: its first answer will */
		flow = ids_flow_add(c, &key);
	if (flow) {
		/* That this host completes its own handshakes proves nothing about anybody. */
		ids_flow_seen(c->packet, flow, c->packet->side, c->now_ns);
		c->packet->direction = c->packet->side != flow->client;
		c->packet->flow_state = flow->state;
		if (flow->verdict == IDS_FLOW_DROP && !ids_allowed(c) && !ids_shadows(c, IDS_DROP_FLOW))
			return IDS_DROP_FLOW;
	}
	reason = flow ? ids_whether_shown(c, flow) : IDS_PASS_SHOWN; /* a flow that has found no room is shown */
	if (reason != IDS_PASS_SHOWN)
		return reason;
	reason = ids_show(c); /* in one place for all, for the verifier's sake */
	if (reason != IDS_PASS_SHOWN)
		ids_settle_missed(c, reason);
	return reason;
}

/* Whether the packet was seen on its way in: then it is not seen again. */
static __always_inline int ids_was_seen(struct __sk_buff *skb)
{
#ifdef IDS_OWN_ONLY
	return skb->ingress_ifindex != 0;
#else
	return skb->ingress_ifindex == skb->ifindex;
#endif
}

int tc_ids(struct __sk_buff *skb)
{
	struct ids_context c = { .frame = skb };
	u32 zero = 0;
	int reason;

	if (ids_was_seen(skb))
		return TC_ACT_UNSPEC;
	c.config = ids_config.lookup(&zero);
	c.packet = ids_scratch.lookup(&zero);
	if (!c.config || !c.packet)
		return TC_ACT_UNSPEC;
	reason = ids_judge(&c);
	ids_count(reason, c.packet->len);
	return reason >= IDS_REASON_DROP ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
