/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Floods: budgets, what counts as reflected, and the cookie of a challenge. Map-free.
 */
#ifndef IDS_FLOOD_H
#define IDS_FLOOD_H

#include "ids_events.h"
#include "ids_parse.h"

/* A cookie is good for this slot of time and the next: 2^33 ns, some 8.6 s. */
#define IDS_COOKIE_SLOT_SHIFT 33

/* What of a cookie fits the window of a firewall between. It admits one SYN, once: a guess is worth no more. */
#define IDS_COOKIE_MASK 0xffff

/* How long an admitted SYN may take: senders repeat them after 1, 2, 4 and 8 s. */
#define IDS_ADMITTED_NS (10ULL * 1000 * 1000 * 1000)

/* A SYN that comes again after as long, and not earlier, is a sender's that keeps to RFC 6298 (a second at least), not a
 * generator's that goes round and round. */
#define IDS_REPEAT_MS 900
#define IDS_REPEAT_MAX_MS 10000

/* How long after a SYN cookie was sent an acknowledgement may be of one. The kernel takes them for two minutes. */
#define IDS_COOKIE_NS (60ULL * 1000 * 1000 * 1000)
#define IDS_COOKIE_NOTED_NS (1000 * 1000 * 1000)

/* Take one packet's worth from the bucket; return 0 when it is spent.
 *
 * Two CPUs that race may both take the same token: the limit is overrun by at most one packet a CPU and interval, which
 * is cheaper than a lock. */
static __always_inline int ids_budget_take(struct ids_budget *budget, const struct ids_limit *limit, u64 now_ns)
{
	u64 due_ns = budget->due_ns;

	if (due_ns <= now_ns) {
		due_ns = now_ns;
		budget->episode_ns = 0;
	}
	if (due_ns - now_ns > limit->burst_ns) {
		__sync_fetch_and_add(&budget->refused, 1);
		return 0;
	}
	budget->due_ns = due_ns + limit->interval_ns;
	return 1;
}

/* Give one packet's worth back; what is full stays so. A packet of another CPU at the same time may undo it, as rarely as
 * it may take a token twice. */
static __always_inline void ids_budget_give_back(struct ids_budget *budget, const struct ids_limit *limit, u64 now_ns)
{
	u64 due_ns = budget->due_ns;

	if (due_ns > now_ns && due_ns > limit->interval_ns)
		budget->due_ns = due_ns - limit->interval_ns;
}

/* Source ports that attackers have others answer from, towards a forged address (US-CERT TA14-017A and later reports). */
static __always_inline int ids_is_amplifier(u16 port)
{
	switch (port) {
	case 17:    /* quote of the day */
	case 19:    /* chargen */
	case 53:    /* DNS */
	case 69:    /* TFTP */
	case 111:   /* portmapper */
	case 123:   /* NTP */
	case 137:   /* NetBIOS names */
	case 161:   /* SNMP */
	case 389:   /* CLDAP */
	case 520:   /* RIP */
	case 1194:  /* OpenVPN */
	case 1434:  /* SQL Server resolution */
	case 1900:  /* SSDP */
	case 3283:  /* Apple Remote Desktop */
	case 3389:  /* RDP */
	case 3702:  /* WS-Discovery */
	case 5093:  /* Sentinel licence manager */
	case 5353:  /* multicast DNS */
	case 5683:  /* CoAP */
	case 10001: /* Ubiquiti discovery */
	case 11211: /* memcached */
	case 27015: /* Steam */
	case 37810: /* DVR discovery */
		return 1;
	default:
		return 0;
	}
}

/* Which of a source's budgets a packet is charged to: an ids_limit_kind, or -1. */
static __always_inline int ids_source_kind(const struct ids_packet *packet)
{
	if (packet->proto == IPPROTO_TCP)
		return (packet->tcp_flags & (IDS_TCP_SYN | IDS_TCP_ACK)) == IDS_TCP_SYN ? IDS_LIMIT_SRC_SYN : -1;
	if (packet->proto == IPPROTO_UDP)
		return IDS_LIMIT_SRC_UDP;
	if (packet->proto == IPPROTO_ICMP || packet->proto == IPPROTO_ICMPV6)
		return IDS_LIMIT_SRC_ICMP;
	return -1;
}

/* A fragment has no port; amplified answers are often fragmented, and little else over UDP is. */
static __always_inline int ids_is_reflected(const struct ids_packet *packet, u32 from_bytes)
{
	return packet->proto == IPPROTO_UDP && packet->len >= from_bytes &&
	       (packet->fragment != IDS_WHOLE || ids_is_amplifier(__builtin_bswap16(packet->sport_be)));
}

static __always_inline u64 ids_rotate(u64 word, int bits)
{
	return word << bits | word >> (64 - bits);
}

struct ids_sip {
	u64 v0, v1, v2, v3;
};

static __always_inline void ids_sip_round(struct ids_sip *s)
{
	s->v0 += s->v1;
	s->v1 = ids_rotate(s->v1, 13) ^ s->v0;
	s->v0 = ids_rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = ids_rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = ids_rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = ids_rotate(s->v1, 17) ^ s->v2;
	s->v2 = ids_rotate(s->v2, 32);
}

static __always_inline void ids_sip_word(struct ids_sip *s, u64 word)
{
	s->v3 ^= word;
	ids_sip_round(s);
	ids_sip_round(s);
	s->v0 ^= word;
}

/* SipHash-2-4 (Aumasson and Bernstein 2012) of who talks to whom, and of a word, for nobody else to foretell. */
static __always_inline u64 ids_hash(const struct ids_packet *packet, const u64 *secret, u64 word)
{
	struct ids_sip s = {
		.v0 = secret[0] ^ 0x736f6d6570736575ULL,
		.v1 = secret[1] ^ 0x646f72616e646f6dULL,
		.v2 = secret[0] ^ 0x6c7967656e657261ULL,
		.v3 = secret[1] ^ 0x7465646279746573ULL,
	};

	if (packet->version == 4) {
		ids_sip_word(&s, (u64)packet->src4_be << 32 | packet->dst4_be);
	} else {
		ids_sip_word(&s, packet->src6.half_be[0]);
		ids_sip_word(&s, packet->src6.half_be[1]);
		ids_sip_word(&s, packet->dst6.half_be[0]);
		ids_sip_word(&s, packet->dst6.half_be[1]);
	}
	ids_sip_word(&s, word);
	s.v2 ^= 0xff;
	ids_sip_round(&s);
	ids_sip_round(&s);
	ids_sip_round(&s);
	ids_sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static __always_inline u32 ids_ports(const struct ids_packet *packet)
{
	return (u32)packet->sport_be << 16 | packet->dport_be;
}

/* The cookie of a challenge in a slot of time. */
static __always_inline u32 ids_cookie(const struct ids_packet *packet, const u64 *secret, u64 slot)
{
	return ids_hash(packet, secret, slot << 32 | ids_ports(packet)) & IDS_COOKIE_MASK;
}

/* The number that a challenge acknowledges: the last one before the SYN's that ends in the cookie. So it lies in the
 * window that a stateful firewall (Linux's conntrack) takes for possible: it lets the challenge in and its answer out. */
static __always_inline u32 ids_challenge_ack(u32 isn, u32 cookie)
{
	return isn - ((isn - cookie) & IDS_COOKIE_MASK);
}

/* Who a SYN is of, with its number; the slots of the cookies are all below this one. */
static __always_inline u64 ids_syn_mark(const struct ids_packet *packet, const u64 *secret)
{
	u64 other[2] = { ~secret[0], secret[1] };

	return ids_hash(packet, other, (u64)packet->seq << 32 | ids_ports(packet));
}

#endif
