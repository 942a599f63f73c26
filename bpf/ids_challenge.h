/* SPDX-License-Identifier: GPL-2.0-only
 *
 * The challenge: turn an opening SYN around, in place, into a SYN/ACK that acknowledges what was never sent. Map-free.
 *
 * A client that is where its address says answers an unacceptable acknowledgement with an RST that repeats its number,
 * stays in SYN-SENT and sends its SYN again (RFC 9293 section 3.10.7.3; Linux does so two ticks later, others after
 * their first timeout, a second as a rule). Its application notices nothing but the delay, its server nothing at all;
 * who forged the address never sees the number. A real SYN cookie would need the server, or a proxy that rewrites every
 * later packet; accepting and then resetting the first connection breaks clients that do not try again.
 */
#ifndef IDS_CHALLENGE_H
#define IDS_CHALLENGE_H

#include "ids_parse.h"

#define IDS_CHALLENGE_TTL 64

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

static __always_inline void ids_turn_tcp(struct tcphdr *tcp, u32 cookie, u64 pseudo_sum)
{
	u16 client = tcp->source;

	tcp->source = tcp->dest;
	tcp->dest = client;
	tcp->seq = 0;
	tcp->ack_seq = __builtin_bswap32(cookie);
	((u8 *)tcp)[12] = sizeof(*tcp) / 4 << 4;
	((u8 *)tcp)[13] = IDS_TCP_SYN | IDS_TCP_ACK;
	tcp->window = 0;
	tcp->check = 0;
	tcp->urg_ptr = 0;
	tcp->check = ids_fold(pseudo_sum + ids_sum_words(tcp, sizeof(*tcp) / 4));
}

static __always_inline void ids_turn_ethernet(struct ethhdr *eth)
{
	u8 client[ETH_ALEN];

	__builtin_memcpy(client, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, client, ETH_ALEN);
}

static __always_inline int ids_challenge4(struct ids_cursor *at, const struct ids_packet *packet, u32 cookie)
{
	struct iphdr *ip = at->pos;
	struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > at->end)
		return XDP_DROP;
	ip->tos = 0;
	ip->tot_len = __constant_htons(sizeof(*ip) + sizeof(*tcp));
	ip->id = 0;
	ip->frag_off = __constant_htons(0x4000);
	ip->ttl = IDS_CHALLENGE_TTL;
	ip->check = 0;
	ip->saddr = packet->dst4_be;
	ip->daddr = packet->src4_be;
	ip->check = ids_fold(ids_sum_words(ip, sizeof(*ip) / 4));
	ids_turn_tcp(tcp, cookie, (u64)ip->saddr + ip->daddr + __constant_htonl(IPPROTO_TCP << 16 | sizeof(*tcp)));
	return XDP_TX;
}

static __always_inline int ids_challenge6(struct ids_cursor *at, const struct ids_packet *packet, u32 cookie)
{
	struct ipv6hdr *ip = at->pos;
	struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > at->end)
		return XDP_DROP;
	ip->payload_len = __constant_htons(sizeof(*tcp));
	ip->hop_limit = IDS_CHALLENGE_TTL;
	__builtin_memcpy(&ip->saddr, &packet->dst6, 16);
	__builtin_memcpy(&ip->daddr, &packet->src6, 16);
	ids_turn_tcp(tcp, cookie, ids_sum_words(&packet->src6, 4) + ids_sum_words(&packet->dst6, 4) +
				  __constant_htonl(sizeof(*tcp)) + __constant_htonl(IPPROTO_TCP));
	return XDP_TX;
}

/* Answer the SYN; return the XDP action. Packets with IPv4 options or IPv6 extension headers are dropped instead. */
static __always_inline int ids_challenge(struct xdp_md *xdp, const struct ids_packet *packet, u32 cookie)
{
	u32 ip_len = packet->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	u32 wanted = packet->l3 + ip_len + sizeof(struct tcphdr);
	struct ids_cursor at;
	void *data;

	if (packet->fragment || packet->l4 != packet->l3 + ip_len || packet->len < wanted)
		return XDP_DROP;
	if (packet->len > wanted && bpf_xdp_adjust_tail(xdp, (int)wanted - (int)packet->len))
		return XDP_DROP;
	data = (void *)(long)xdp->data;
	at.end = (void *)(long)xdp->data_end;
	if (data + sizeof(struct ethhdr) > at.end)
		return XDP_DROP;
	ids_turn_ethernet(data);
	at.pos = data + (packet->l3 & 31); /* at most 22; the mask tells the verifier so */
	return packet->version == 4 ? ids_challenge4(&at, packet, cookie) : ids_challenge6(&at, packet, cookie);
}

#endif
