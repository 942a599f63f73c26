/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Answers to an opening SYN, made of it in place: a SYN/ACK that challenges, or one with a SYN cookie. Map-free.
 *
 * The challenge acknowledges less than was sent. A client that is where its address says answers that with an RST
 * that repeats the number, stays in SYN-SENT and sends its SYN again (RFC 9293 section 3.10.7.3; Linux does so two
 * ticks later, others after their first timeout, a second as a rule). Its application notices nothing but the delay,
 * its server nothing at all; who forged the address never sees the number. It is for connections that pass through: a
 * SYN cookie would need a proxy that rewrites every later packet; accepting and then resetting the first connection
 * breaks clients that do not try again. Where the server is this host's own kernel, see ids_syncookie.h.
 */
#ifndef IDS_ANSWER_H
#define IDS_ANSWER_H

#include "ids_parse.h"

#define IDS_ANSWER_TTL 64
/* The one TCP option of an answer, as a word in network order: kind 2, length 4, and the size (RFC 9293 section 3.2). */
#define IDS_MSS_OPTION(mss) __builtin_bswap32(2 << 24 | 4 << 16 | (mss))

struct ids_answer {
	u32 seq;
	u32 ack;
	u16 window;
	u16 mss; /* 0: without the option */
};

static __always_inline u16 ids_fold(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Internet checksum (RFC 1071) of whole 32-bit words, not yet folded. */
static __always_inline u64 ids_sum_words(const void *from, int words)
{
	const u32 *word = from;
	u64 sum = 0;

#pragma unroll
	for (int i = 0; i < words; i++)
		sum += word[i];
	return sum;
}

static __always_inline u32 ids_answer_len(const struct ids_answer *answer)
{
	return sizeof(struct tcphdr) + (answer->mss ? sizeof(u32) : 0);
}

/* Returns 0 where the packet is too short, which its length has ruled out. */
static __always_inline int ids_turn_tcp(struct tcphdr *tcp, void *end, const struct ids_answer *answer, u64 pseudo_sum)
{
	u32 *option = (u32 *)(tcp + 1);
	u16 client;

	if ((void *)option > end)
		return 0;
	client = tcp->source;
	tcp->source = tcp->dest;
	tcp->dest = client;
	tcp->seq = __builtin_bswap32(answer->seq);
	tcp->ack_seq = __builtin_bswap32(answer->ack);
	((u8 *)tcp)[12] = ids_answer_len(answer) / 4 << 4;
	((u8 *)tcp)[13] = IDS_TCP_SYN | IDS_TCP_ACK;
	tcp->window = __builtin_bswap16(answer->window);
	tcp->check = 0;
	tcp->urg_ptr = 0;
	if (answer->mss) {
		if ((void *)(option + 1) > end)
			return 0;
		*option = IDS_MSS_OPTION(answer->mss);
		pseudo_sum += *option;
	}
	tcp->check = ids_fold(pseudo_sum + ids_sum_words(tcp, sizeof(*tcp) / 4));
	return 1;
}

static __always_inline void ids_turn_ethernet(struct ethhdr *eth)
{
	u8 client[ETH_ALEN];

	__builtin_memcpy(client, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, client, ETH_ALEN);
}

static __always_inline int ids_answer4(struct ids_cursor *at, const struct ids_packet *packet,
				       const struct ids_answer *answer)
{
	u32 tcp_len = ids_answer_len(answer);
	struct iphdr *ip = at->pos;

	if ((void *)(ip + 1) > at->end)
		return XDP_DROP;
	ip->tos = 0;
	ip->tot_len = __builtin_bswap16(sizeof(*ip) + tcp_len);
	ip->id = 0;
	ip->frag_off = __constant_htons(0x4000);
	ip->ttl = IDS_ANSWER_TTL;
	ip->check = 0;
	ip->saddr = packet->dst4_be;
	ip->daddr = packet->src4_be;
	ip->check = ids_fold(ids_sum_words(ip, sizeof(*ip) / 4));
	return ids_turn_tcp((void *)(ip + 1), at->end, answer,
			    (u64)ip->saddr + ip->daddr + __builtin_bswap32(IPPROTO_TCP << 16 | tcp_len))
		       ? XDP_TX
		       : XDP_DROP;
}

static __always_inline int ids_answer6(struct ids_cursor *at, const struct ids_packet *packet,
				       const struct ids_answer *answer)
{
	u32 tcp_len = ids_answer_len(answer);
	struct ipv6hdr *ip = at->pos;

	if ((void *)(ip + 1) > at->end)
		return XDP_DROP;
	ip->payload_len = __builtin_bswap16(tcp_len);
	ip->hop_limit = IDS_ANSWER_TTL;
	__builtin_memcpy(&ip->saddr, &packet->dst6, 16);
	__builtin_memcpy(&ip->daddr, &packet->src6, 16);
	return ids_turn_tcp((void *)(ip + 1), at->end, answer,
			    ids_sum_words(&packet->src6, 4) + ids_sum_words(&packet->dst6, 4) +
				    __builtin_bswap32(tcp_len) + __constant_htonl(IPPROTO_TCP))
		       ? XDP_TX
		       : XDP_DROP;
}

/* Whether there is a SYN that can be answered in its place: whole, without IPv4 options or IPv6 extension headers. */
static __always_inline int ids_is_answerable(const struct ids_packet *packet)
{
	u32 ip_len = packet->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	return !packet->fragment && packet->l4 == packet->l3 + ip_len;
}

/* Answer an answerable SYN; return the XDP action. The answer is never longer than the SYN. */
static __always_inline int ids_answer(struct xdp_md *xdp, const struct ids_packet *packet,
				      const struct ids_answer *answer)
{
	u32 wanted = packet->l4 + ids_answer_len(answer);
	struct ids_cursor at;
	void *data;

	if (packet->len < wanted)
		return XDP_DROP;
	if (packet->len > wanted && bpf_xdp_adjust_tail(xdp, (int)wanted - (int)packet->len))
		return XDP_DROP;
	data = (void *)(long)xdp->data;
	at.end = (void *)(long)xdp->data_end;
	if (data + sizeof(struct ethhdr) > at.end)
		return XDP_DROP;
	ids_turn_ethernet(data);
	at.pos = data + (packet->l3 & IDS_L3_MASK);
	return packet->version == 4 ? ids_answer4(&at, packet, answer) : ids_answer6(&at, packet, answer);
}

#endif
