/* SPDX-License-Identifier: GPL-2.0-only
 *
 * SYN cookies in the name of this host's own listeners: the kernel makes and checks them, the program only asks, and
 * spares the kernel all the SYNs that come to nothing. Map-free.
 *
 * The client's acknowledgement goes to the kernel, which takes the connection from there: nothing has to be rewritten.
 * Of TCP's options only the segment size survives, as in any SYN cookie without timestamps (net/ipv4/syncookies.c).
 */
#ifndef IDS_SYNCOOKIE_H
#define IDS_SYNCOOKIE_H

#include "ids_answer.h"
#include "ids_parse.h"

/* AF_INET and AF_INET6 of linux/socket.h, which is the kernel's own. */
#define IDS_AF_INET 2
#define IDS_AF_INET6 10

/* What can be advertised before the kernel's own window takes over: what RFC 6928 lets a client send at first. */
#define IDS_COOKIE_WINDOW_SEGMENTS 10
#define IDS_COOKIE_LEAST_MSS 536

/* A multiple of 4, and no less than the 40 bytes of options that TCP can have. */
#define IDS_TCP_OPTIONS_MASK 0x3c

enum ids_listening {
	IDS_LISTENS_NOT,    /* nothing of this host's waits for it */
	IDS_LISTENS,        /* and wants to see the SYN itself: its queue has room */
	IDS_LISTENS_COOKIE, /* and the kernel made a cookie */
};

/* The headers of a packet that is answerable, for helpers that want them in memory. */
struct ids_headers {
	u8 ip[sizeof(struct ipv6hdr)];
	u8 tcp[sizeof(struct tcphdr) + IDS_TCP_OPTIONS_MASK];
};

/* Whether the destination is this host: routing says that the packet goes no further. Where forwarding is off on the
 * interface all packets end here; a tagged one belongs to another, of which the frame's own knows nothing. */
static __always_inline int ids_is_local(struct xdp_md *xdp, const struct ids_packet *packet)
{
	struct bpf_fib_lookup route = { .ifindex = xdp->ingress_ifindex };
	long result;

	if (packet->version == 4) {
		route.family = IDS_AF_INET;
		route.ipv4_src = packet->src4_be;
		route.ipv4_dst = packet->dst4_be;
	} else {
		route.family = IDS_AF_INET6;
		__builtin_memcpy(route.ipv6_src, &packet->src6, 16);
		__builtin_memcpy(route.ipv6_dst, &packet->dst6, 16);
	}
	result = bpf_fib_lookup(xdp, &route, sizeof(route), 0);
	return result == BPF_FIB_LKUP_RET_NOT_FWDED || (result == BPF_FIB_LKUP_RET_FWD_DISABLED && !packet->vlan);
}

/* Find the listener that a packet is for, to be given back with bpf_sk_release; 0: there is none. */
static __always_inline struct bpf_sock *ids_listener(struct xdp_md *xdp, const struct ids_packet *packet)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *listener;

	if (packet->version == 4) {
		tuple.ipv4.saddr = packet->src4_be;
		tuple.ipv4.daddr = packet->dst4_be;
		tuple.ipv4.sport = packet->sport_be;
		tuple.ipv4.dport = packet->dport_be;
		listener = bpf_skc_lookup_tcp(xdp, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &packet->src6, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &packet->dst6, 16);
		tuple.ipv6.sport = packet->sport_be;
		tuple.ipv6.dport = packet->dport_be;
		listener = bpf_skc_lookup_tcp(xdp, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (listener && listener->state != BPF_TCP_LISTEN) {
		bpf_sk_release(listener);
		return 0;
	}
	return listener;
}

static __always_inline u32 ids_ip_len(const struct ids_packet *packet)
{
	return packet->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* Copy the headers; return the length of the TCP header, 0 where it is not all there. */
static __always_inline u32 ids_load_headers(struct xdp_md *xdp, const struct ids_packet *packet, struct ids_headers *to)
{
	u64 options;

	if (bpf_xdp_load_bytes(xdp, packet->l3, to->ip, sizeof(struct iphdr)) ||
	    bpf_xdp_load_bytes(xdp, packet->l4, to->tcp, sizeof(struct tcphdr)))
		return 0;
	if (packet->version == 6 && bpf_xdp_load_bytes(xdp, packet->l3, to->ip, sizeof(to->ip)))
		return 0;
	/* The parser has seen to it that the header is 20 to 60 bytes long; the mask shows the verifier. */
	options = ((to->tcp[12] >> 4) - 5) << 2 & IDS_TCP_OPTIONS_MASK;
	asm volatile("" : "+r"(options)); /* keeps the compiler from a sum of which the verifier knows less */
	if (bpf_xdp_load_bytes(xdp, packet->l4 + sizeof(struct tcphdr) - 1, to->tcp + sizeof(struct tcphdr) - 1, options + 1))
		return 0;
	return sizeof(struct tcphdr) + options;
}

/* The segment size that this host would advertise: what fits the interface, as ip_dst_mtu and tcp_advmss have it. */
static __always_inline u32 ids_own_mss(struct xdp_md *xdp, const struct ids_packet *packet)
{
	u32 headers = ids_ip_len(packet) + sizeof(struct tcphdr);
	u32 mtu = 0;

	if (bpf_check_mtu(xdp, 0, &mtu, 0, 0) < 0 || mtu < headers + IDS_COOKIE_LEAST_MSS)
		return IDS_COOKIE_LEAST_MSS;
	return mtu - headers > 0xffff ? 0xffff : mtu - headers;
}

/* Ask this host's listener about an answerable SYN; fill the answer where it made a cookie. */
static __always_inline int ids_ask_listener(struct xdp_md *xdp, const struct ids_packet *packet,
					    struct ids_answer *answer)
{
	struct ids_headers headers = {};
	struct bpf_sock *listener;
	u32 tcp_len, mss;
	s64 cookie;

	tcp_len = ids_load_headers(xdp, packet, &headers);
	if (!tcp_len || !ids_is_local(xdp, packet))
		return IDS_LISTENS_NOT;
	listener = ids_listener(xdp, packet);
	if (!listener)
		return IDS_LISTENS_NOT;
	cookie = bpf_tcp_gen_syncookie(listener, headers.ip, ids_ip_len(packet), (struct tcphdr *)headers.tcp, tcp_len);
	bpf_sk_release(listener);
	if (cookie < 0)
		return IDS_LISTENS;
	mss = ids_own_mss(xdp, packet);
	answer->seq = cookie; /* the upper half is the client's segment size, which the cookie holds */
	answer->ack = packet->seq + 1;
	answer->window = mss > 0xffff / IDS_COOKIE_WINDOW_SEGMENTS ? 0xffff : mss * IDS_COOKIE_WINDOW_SEGMENTS;
	answer->mss = tcp_len > sizeof(struct tcphdr) ? mss : 0; /* no longer than the SYN */
	return IDS_LISTENS_COOKIE;
}

/* Whether a segment acknowledges a cookie of this host's kernel: then its sender has seen what was sent to its address. */
static __always_inline int ids_acknowledges_cookie(struct xdp_md *xdp, const struct ids_packet *packet)
{
	struct ids_headers headers = {};
	struct bpf_sock *listener;
	long wrong;

	if (!ids_is_answerable(packet) || !ids_load_headers(xdp, packet, &headers) || !ids_is_local(xdp, packet))
		return 0;
	listener = ids_listener(xdp, packet);
	if (!listener)
		return 0;
	wrong = bpf_tcp_check_syncookie(listener, headers.ip, ids_ip_len(packet), (struct tcphdr *)headers.tcp,
					sizeof(struct tcphdr));
	bpf_sk_release(listener);
	return !wrong;
}

/* Make of the headers of the segment that acknowledged a cookie those of the SYN that asked for it, or of the SYN/ACK
 * that had it. Their options are not known; none but the segment size was agreed upon. Checksums are not touched. */
static __always_inline void ids_opening_headers(u8 *frame, const struct ids_packet *packet, int answer)
{
	void *ip = frame + (packet->l3 & IDS_L3_MASK);
	struct tcphdr *tcp = (void *)(frame + (packet->l4 & IDS_L4_MASK));

	if (packet->version == 4)
		((struct iphdr *)ip)->tot_len = __constant_htons(sizeof(struct iphdr) + sizeof(*tcp));
	else
		((struct ipv6hdr *)ip)->payload_len = __constant_htons(sizeof(*tcp));
	((u8 *)tcp)[12] = sizeof(*tcp) / 4 << 4;
	((u8 *)tcp)[13] = answer ? IDS_TCP_SYN | IDS_TCP_ACK : IDS_TCP_SYN;
	tcp->seq = __builtin_bswap32(answer ? packet->ack - 1 : packet->seq - 1);
	tcp->ack_seq = answer ? __builtin_bswap32(packet->seq) : 0;
	if (!answer)
		return;
	tcp->source = packet->dport_be;
	tcp->dest = packet->sport_be;
	if (packet->version == 4) {
		((struct iphdr *)ip)->saddr = packet->dst4_be;
		((struct iphdr *)ip)->daddr = packet->src4_be;
	} else {
		__builtin_memcpy(&((struct ipv6hdr *)ip)->saddr, &packet->dst6, 16);
		__builtin_memcpy(&((struct ipv6hdr *)ip)->daddr, &packet->src6, 16);
	}
}

#endif
