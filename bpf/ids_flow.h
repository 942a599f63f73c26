/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Flows: their keys, the handshake, and how much of them is shown. Map-free, for the programs of both directions.
 */
#ifndef IDS_FLOW_H
#define IDS_FLOW_H

#include "ids_events.h"
#include "ids_parse.h"

/* RFC 6056: a port pair that comes back after this long idle is a new conversation. */
#define IDS_FLOW_REUSE_NS (60ULL * 1000 * 1000 * 1000)

/* Whether the engine has been silent for so long that everything is to pass. */
static __always_inline int ids_engine_gone(const struct ids_config *config, u64 now_ns)
{
	return (config->flags & IDS_FLAG_GONE_PASS) && config->gone_after_ns &&
	       now_ns > config->heartbeat_ns + config->gone_after_ns;
}

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

/* A flow as its first packet makes it. A SYN/ACK shows that the client is the other side. */
static __always_inline struct ids_flow ids_flow_first(const struct ids_packet *packet, int side, u64 now_ns)
{
	int answers = (packet->tcp_flags & (IDS_TCP_SYN | IDS_TCP_ACK)) == (IDS_TCP_SYN | IDS_TCP_ACK);
	struct ids_flow fresh = { .first_ns = now_ns, .last_ns = now_ns };

	fresh.client = answers ? !side : side;
	return fresh;
}

/* Start a flow over in place, as if it had just been added. */
static __always_inline void ids_flow_restart(struct ids_flow *flow, int side, u64 now_ns)
{
	struct ids_flow fresh = { .first_ns = now_ns, .last_ns = now_ns, .client = side };

	*flow = fresh;
}

static __always_inline void ids_flow_set_isn(struct ids_flow *flow, int side, u32 isn)
{
	flow->isn[side & 1] = isn;
	flow->opened |= 1 << (side & 1);
}

/* Whether user space wants to see no more of a flow. */
static __always_inline int ids_is_waved_through(const struct ids_flow *flow)
{
	return flow->verdict == IDS_FLOW_BYPASS || flow->verdict == IDS_FLOW_UNNEEDED;
}

/* Note by which way a SYN came. What is behind us may send a SYN back (a route that loops), so that one comes several
 * ways that was sent but once. */
static __always_inline void ids_flow_ask(struct ids_flow *flow, u32 neighbour)
{
	if (!flow->asked) {
		flow->asked = IDS_ASKED_ONE_WAY;
		flow->neighbour = neighbour;
	} else if (flow->neighbour != neighbour) {
		flow->asked = IDS_ASKED_SEVERAL_WAYS;
	}
}

/* An opening SYN: a conversation that is over, or long idle, starts again, and so does what had no beginning; one that
 * was waved through is looked at. By which way the SYNs before it came is forgotten after long silence alone: what the
 * sender of one makes come between it and its way back, a reset that does not go as far, must not hide that it did. */
static __always_inline void ids_flow_syn(const struct ids_packet *packet, struct ids_flow *flow, int side, u64 now_ns)
{
	u32 neighbour = flow->neighbour;
	u8 asked = flow->asked;

	if (now_ns > flow->last_ns + IDS_FLOW_REUSE_NS) {
		ids_flow_restart(flow, side, now_ns);
	} else if (flow->state == IDS_FLOW_NEW || flow->state == IDS_FLOW_CLOSED) {
		ids_flow_restart(flow, side, now_ns);
		flow->asked = asked;
		flow->neighbour = neighbour;
	} else if (ids_is_waved_through(flow)) {
		flow->verdict = IDS_FLOW_INSPECT;
	}
	if (flow->state == IDS_FLOW_NEW)
		flow->state = IDS_FLOW_SYN;
	ids_flow_ask(flow, packet->neighbour); /* of a connection that goes on, too: it may be reset before this comes back */
	if (flow->state != IDS_FLOW_SYN || flow->client != side)
		return;
	ids_flow_set_isn(flow, side, packet->seq);
	flow->charged |= packet->charged;
	flow->admitted = 0;
}

/* The server's answer has both numbers: which of several SYNs it took, and its own. */
static __always_inline void ids_flow_synack(struct ids_flow *flow, int server, u32 seq, u32 ack)
{
	ids_flow_set_isn(flow, server, seq);
	ids_flow_set_isn(flow, !server, ack - 1);
	flow->state = IDS_FLOW_SYNACK;
}

/* Whether a SYN/ACK may have been made up by whoever sent the SYN: it came the same way, or there was no SYN, or the SYNs
 * came several ways. Somebody who is not on the path could otherwise play both parts, of anybody he likes, and prove what
 * he says of himself. */
static __always_inline int ids_is_hearsay(const struct ids_packet *packet, const struct ids_flow *flow)
{
	return packet->apart && (flow->asked != IDS_ASKED_ONE_WAY || packet->neighbour == flow->neighbour);
}

/* A side's first FIN, and the first acknowledgement of each side behind it: user space waits for these. */
static __always_inline void ids_flow_fin(struct ids_flow *flow, int side, u8 flags)
{
	if ((flags & IDS_TCP_FIN) && !(flow->fins & 1 << side)) {
		flow->fins = (flow->fins & 3) | 1 << side;
		flow->state = flow->fins == 3 ? IDS_FLOW_CLOSED : IDS_FLOW_CLOSING;
	} else if (flow->fins && (flags & (IDS_TCP_FIN | IDS_TCP_ACK)) == IDS_TCP_ACK) {
		flow->fins |= 4 << side;
	}
}

/* Follow the handshake (RFC 9293 section 3.5). Only who saw the server's initial sequence number can acknowledge it, so
 * the client's answer to it proves that the client is where its address says: then return 1. */
static __always_inline int ids_flow_track(const struct ids_packet *packet, struct ids_flow *flow, int side, u64 now_ns)
{
	u8 flags = packet->tcp_flags;
	int proven = 0;

	if (flags & IDS_TCP_RST) {
		flow->state = IDS_FLOW_CLOSED;
	} else if (flags & IDS_TCP_SYN) {
		if (!(flags & IDS_TCP_ACK)) {
			ids_flow_syn(packet, flow, side, now_ns);
		} else if (side != flow->client && (flow->state <= IDS_FLOW_SYN ||
						    (flow->state == IDS_FLOW_SYNACK && flow->hearsay))) {
			flow->hearsay = ids_is_hearsay(packet, flow);
			ids_flow_synack(flow, side, packet->seq, packet->ack);
		}
	} else if (flow->state == IDS_FLOW_SYNACK && side == flow->client && (flags & IDS_TCP_ACK) &&
		   packet->ack == flow->isn[!side] + 1) {
		flow->state = IDS_FLOW_ESTABLISHED;
		proven = !flow->hearsay;
	}
	ids_flow_fin(flow, side, flags);
	return proven;
}

/* When a side begins to speak, what the other says next is another turn, and has a depth of its own: from where the
 * speaker acknowledges that it was. That never goes back, and the sender of the stream has no say in it; whoever makes up
 * such an acknowledgement can have more shown, never less. */
static __always_inline void ids_flow_turn(const struct ids_packet *packet, struct ids_flow *flow, int side)
{
	u32 at = packet->ack - flow->isn[!side] - 1;

	if (!packet->payload_len || (packet->tcp_flags & (IDS_TCP_SYN | IDS_TCP_RST | IDS_TCP_ACK)) != IDS_TCP_ACK ||
	    flow->spoke == 1 + side || flow->state == IDS_FLOW_SYN || flow->state == IDS_FLOW_SYNACK)
		return;
	flow->spoke = 1 + side;
	flow->settled[!side] = flow->shown[!side];
	if ((flow->opened & 1 << !side) && at - flow->turn[!side] < 1U << 31)
		flow->turn[!side] = at;
}

/* What a TCP segment without payload counts for: little, but no flow can be shown without end for nothing. */
#define IDS_EMPTY_BYTES 64

/* Bytes of this packet that count against the flow's depth. */
static __always_inline u32 ids_shown_bytes(const struct ids_packet *packet)
{
	if (packet->proto != IPPROTO_TCP || packet->fragment)
		return packet->len;
	return packet->payload_len || packet->news ? packet->payload_len : IDS_EMPTY_BYTES;
}

static __always_inline u32 ids_depth(const struct ids_config *config, const struct ids_packet *packet,
				     const struct ids_flow *flow)
{
	if (flow->depth)
		return flow->depth;
	if (packet->proto == IPPROTO_TCP)
		return config->depth_tcp;
	return packet->proto == IPPROTO_UDP ? config->depth_udp : config->depth_other;
}

/* Whether this packet may begin a conversation. */
static __always_inline int ids_opens(const struct ids_packet *packet)
{
	return packet->proto != IPPROTO_TCP ||
	       (packet->tcp_flags & (IDS_TCP_SYN | IDS_TCP_ACK | IDS_TCP_RST)) == IDS_TCP_SYN;
}

/* Whether a packet of a flow is to die: unless the flow has been silent for long, and this may begin another one. */
static __always_inline int ids_flow_is_condemned(const struct ids_packet *packet, const struct ids_flow *flow, u64 now_ns)
{
	return flow->verdict == IDS_FLOW_DROP && !(now_ns > flow->last_ns + IDS_FLOW_REUSE_NS && ids_opens(packet));
}

/* Packets that a question may be answered by: a large answer of NTP or a transfer over TFTP takes several. */
#define IDS_ANSWERS 16

/* Whether a packet without a connection is an answer to what its receiver asked. */
static __always_inline int ids_is_solicited(const struct ids_packet *packet, const struct ids_flow *flow, int side)
{
	return packet->proto != IPPROTO_TCP && flow->client != side &&
	       flow->packets[side & 1] + flow->fragmented < IDS_ANSWERS * flow->packets[!side];
}

/* Follow and count a packet; return 1 when it proves its source. A flow that is to die is counted, not followed; when
 * its ports come back after long silence it is another conversation, perhaps somebody else's. */
static __always_inline int ids_flow_seen(struct ids_packet *packet, struct ids_flow *flow, int side, u64 now_ns)
{
	u8 state = flow->state, fins = flow->fins;
	int proven = 0;

	if (flow->verdict == IDS_FLOW_DROP && !ids_flow_is_condemned(packet, flow, now_ns))
		ids_flow_restart(flow, side, now_ns);
	if (packet->proto == IPPROTO_TCP && packet->fragment == IDS_WHOLE && flow->verdict != IDS_FLOW_DROP) {
		proven = ids_flow_track(packet, flow, side, now_ns);
		ids_flow_turn(packet, flow, side);
	}
	packet->news = flow->state != state || flow->fins != fins;
	flow->last_ns = now_ns;
	__sync_fetch_and_add(&flow->packets[side & 1], 1);
	__sync_fetch_and_add(&flow->bytes[side & 1], packet->len);
	return proven;
}

/* A segment that begins no further than this before a position may reach it. */
#define IDS_BEHIND 65536

/* A turn may begin on one CPU while others have counted what they then find no room for: a packet each, of 64 KiB at most,
 * of 256 CPUs 16 MiB. By so much the count may fall behind where the turn began. */
#define IDS_DISCOUNTED (1U << 24)

/* Whether as much as the depth has been shown of a side's turn. */
static __always_inline int ids_is_spent(const struct ids_flow *flow, int side, u32 depth)
{
	u32 shown = flow->shown[side & 1] - flow->settled[side & 1];

	return shown >= depth && shown < -IDS_DISCOUNTED;
}

/* Whether a side's turn has been shown as far as the depth, and a position in its stream lies beyond. Bytes shown alone
 * would not do: what the receiver ignores, for its checksum or because it has it already, takes the sender no further, and
 * so could be sent until nothing is shown any more. Beyond 4 GiB the numbers come round, and what is before the turn by
 * them, and a depth, is shown again. */
static __always_inline int ids_is_beyond(const struct ids_flow *flow, int side, u32 depth, u32 at)
{
	if (!ids_is_spent(flow, side, depth))
		return 0;
	if (!(flow->opened & 1 << (side & 1)))
		return 1;
	return (u64)(u32)(at - flow->isn[side & 1] - 1 + IDS_BEHIND) >=
	       (u64)flow->turn[side & 1] + depth + IDS_BEHIND;
}

/* Whether nobody needs this packet, for the depth has been reached: of its own side's stream; where it only acknowledges,
 * of the other's too, for such are half of a long download's packets. Fragments always are needed: all of two hosts are
 * one flow here, and who can forge some must not hide the others. So are packets of a tunnel: what is inside are flows of
 * their own, and none of them may use up what is shown of the others. */
static __always_inline int ids_is_deep(const struct ids_packet *packet, const struct ids_flow *flow, int side, u32 depth)
{
	if (packet->fragment || packet->tunnel)
		return 0;
	if (packet->proto != IPPROTO_TCP)
		return ids_is_spent(flow, side, depth);
	if (packet->payload_len)
		return ids_is_beyond(flow, side, depth, packet->seq);
	return ids_is_spent(flow, side, depth) || ids_is_beyond(flow, !side, depth, packet->ack);
}

/* What a flow's verdict, other than to drop, and its depth say: a final reason, or PASS_SHOWN for a packet to be shown.
 * The beginning and the end of a connection are shown, so that user space frees what it holds for it; their repetitions
 * are packets like others, or a flood of them in one flow would be shown without end. */
static __always_inline int ids_flow_show(const struct ids_config *config, const struct ids_packet *packet,
					 const struct ids_flow *flow, int side)
{
	if (ids_is_waved_through(flow) && !packet->tunnel)
		return flow->verdict == IDS_FLOW_BYPASS ? IDS_PASS_BYPASS : IDS_PASS_UNNEEDED;
	if (packet->news || !ids_is_deep(packet, flow, side, ids_depth(config, packet, flow)))
		return IDS_PASS_SHOWN;
	return IDS_PASS_DEPTH;
}

/* What gives way when user space cannot take everything, so that what it does take is whole: what has a hole already,
 * or was refused at its beginning; flows of which much has been shown, but for their ends; and new flows, last. */
static __always_inline int ids_flow_thins(const struct ids_config *config, const struct ids_packet *packet,
					  const struct ids_flow *flow, int side)
{
	if (flow->packets[0] + flow->packets[1] == 1)
		return IDS_THINS_LAST;
	if (flow->cut & (IDS_CUT_THINNED | IDS_CUT_UNFAIR) && !flow->shown[0] && !flow->shown[1])
		return IDS_THINS;
	if (packet->news)
		return IDS_THINS_NOT;
	return flow->shown[side & 1] > config->thin_after_bytes || flow->cut & IDS_CUT_RING_FULL ? IDS_THINS :
												IDS_THINS_NOT;
}

/* Remember that a packet was not shown for a reason; return the NOTE to count when that is the first time, else 0. Two
 * CPUs that race may both count it: cheaper than an atomic operation for every packet behind the depth. */
static __always_inline int ids_flow_cut(struct ids_flow *flow, u8 cut, int note)
{
	if (flow->cut & cut)
		return 0;
	flow->cut |= cut;
	return note;
}

/* Count a packet that is about to be shown. */
static __always_inline void ids_flow_count(struct ids_packet *packet, struct ids_flow *flow, int side)
{
	packet->known = 1;
	packet->counted = ids_shown_bytes(packet);
	__sync_fetch_and_add(&flow->shown[side & 1], packet->counted);
}

/* Take back that a packet was counted, which was not shown after all; not from a flow that has made way to another. */
static __always_inline void ids_flow_discount(const struct ids_packet *packet, struct ids_flow *flow, int side)
{
	if (flow->shown[side & 1] >= packet->counted)
		__sync_fetch_and_add(&flow->shown[side & 1], -packet->counted);
}

/* Remember why a packet was not shown; return the NOTE to count, 0: none. */
static __always_inline int ids_flow_settle(struct ids_flow *flow, int reason)
{
	switch (reason) {
	case IDS_PASS_DEPTH:
		return ids_flow_cut(flow, IDS_CUT_DEPTH, IDS_NOTE_CUT_DEPTH);
	case IDS_PASS_RING_FULL:
		return ids_flow_cut(flow, IDS_CUT_RING_FULL, IDS_NOTE_CUT_RING_FULL);
	case IDS_PASS_THINNED:
		return ids_flow_cut(flow, IDS_CUT_THINNED, IDS_NOTE_CUT_THINNED);
	case IDS_PASS_UNFAIR:
		return ids_flow_cut(flow, IDS_CUT_UNFAIR, IDS_NOTE_CUT_UNFAIR);
	}
	return 0;
}

#endif
