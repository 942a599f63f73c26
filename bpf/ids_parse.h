/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Bounds-checked parsers of one frame, map-free. Each returns 0, or the reason why the packet goes no further.
 *
 * Ethernet and the fixed IP headers are read in place through a cursor; what lies at a variable offset is copied out
 * by the kernel (bpf_xdp_load_bytes, Linux 5.18; bpf_skb_load_bytes), which also reaches the later buffers of a jumbo
 * frame. Lengths are judged against the whole frame.
 */
#ifndef IDS_PARSE_H
#define IDS_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "ids_events.h"

/* A frame on its way in is an XDP buffer, one on its way out a socket buffer. */
#ifdef IDS_EGRESS
typedef struct __sk_buff ids_frame;
#define ids_load_bytes bpf_skb_load_bytes
#else
typedef struct xdp_md ids_frame;
#define ids_load_bytes bpf_xdp_load_bytes
#endif

/* Keep the compiler from checking one copy of a number and using another, which the verifier cannot follow. */
#define ids_settle(number) asm volatile("" : "+r"(number))

/* Copy the bytes [offset, offset + len) of a frame to where there is room for `room`; refuse to copy none, or more.
 * A bound of `len - 1` proves to any verifier that len is 1 at least; clang makes `len != 0` of `len >= 1`, and from that the
 * one of Linux 6.1 learns nothing. */
static __always_inline int ids_copy_bytes(ids_frame *frame, u32 offset, void *to, u64 len, u64 room)
{
	u64 last = len - 1;

	ids_settle(last);
	return last >= room || ids_load_bytes(frame, offset, to, last + 1);
}

/* Linux takes tags of VLAN 0 off however many there are, other systems likewise; a frame of 1,514 bytes has room for 370. */
#define IDS_MAX_VLAN_TAGS 8
/* As many as 802.1ad has; they are read in place, further ones are copied out. */
#define IDS_USUAL_VLAN_TAGS 2
/* Of what the longest of these leave before the IP header: a mask that bounds an offset for the verifier. */
#define IDS_L3_MASK 63
#define IDS_L4_MASK 127
/* RFC 8200 section 4.1 names seven extension headers, one of them twice; longer chains serve evasion. */
#define IDS_MAX_IP6_EXTENSIONS 8

#define IDS_TCP_FIN 0x01
#define IDS_TCP_SYN 0x02
#define IDS_TCP_RST 0x04
#define IDS_TCP_PSH 0x08
#define IDS_TCP_ACK 0x10

/* Whether a packet gives way to others in a ring that is nearly full, or all but full; see ids_flow_thins. */
enum ids_thins { IDS_THINS_NOT = 0, IDS_THINS = 1, IDS_THINS_LAST = 2 };

enum ids_fragment { IDS_WHOLE = 0, IDS_FIRST_FRAGMENT = 1, IDS_LATER_FRAGMENT = 2 };

struct ids_cursor {
	void *pos;
	void *end;
	int lost; /* the transport header is not at pos: extension headers lie between */
};

/* A segment that the egress program shows in pieces. */
struct ids_pieces {
	u32 header; /* bytes in front of the payload */
	u32 piece;  /* bytes of payload in each but the last */
	u32 shown;  /* bytes of payload shown so far */
};

/* What the parsers found in one frame. */
struct ids_packet {
	u32 len;       /* bytes of the frame */
	u32 l3;        /* offset of the IP header */
	u32 l4;        /* offset of what follows the IP headers */
	u32 ip_end;    /* offset of the first byte behind the IP packet: link padding starts there */
	u32 payload_len;
	u32 seq;
	u32 ack;
	u32 vlan;      /* the two outermost ids other than 0, which means none: the outer << 12 | the inner */
	u32 fragment_id_be;
	u32 neighbour; /* of a SYN, as in struct ids_flow */
	u16 eth_proto_be;
	u16 sport_be;
	u16 dport_be;
	u16 first_sport_be; /* of a first fragment, whose flow has no ports */
	u16 first_dport_be;
	u8 version;    /* 4, 6; 0: not IP */
	u8 proto;
	u8 fragment;   /* enum ids_fragment */
	u8 tcp_flags;
	u8 news;       /* its flow's state or a FIN is another since: set by ids_flow_seen */
	u8 met_shadow; /* an entry that only counts */
	u8 shadowed;   /* it would have been dropped, were it not for shadow mode */
	u8 refused;    /* a SYN beyond a budget, not merely one that came while others were */
	u8 apart;      /* of a SYN: the neighbour tells who sent it */
	u8 charged;    /* enum ids_charged */
	u8 fate;       /* enum ids_fate, of a fragment */
	u8 unknown_header; /* an extension header that user space does not step over: it sees no ports and no fragment */
	u8 direction;  /* as in struct ids_record, of a flow that is known */
	u8 flow_state;
	u8 thins;      /* enum ids_thins */
	u8 outcome;    /* of showing it: an ids_reason */
	u8 light;      /* who opened its flow takes up next to nothing of the ring */
	u8 flow_cut;   /* enum ids_cut, of its flow before it */
	u8 known;      /* its flow is, and has `counted` bytes of it */
	u8 overheard;  /* the copy at hand is for a worker that the packet's flow does not belong to */
	u32 counted;   /* added to what was shown of the flow, before it was */
	u32 worker;    /* the first that it is shown to */
	u32 to;        /* who gets the copy at hand */
	u32 copies;    /* and to how many from that one on, which is followed by the first of all */
	u32 src4_be;
	u32 dst4_be;
	struct ids_addr6 src6;
	struct ids_addr6 dst6;
	u32 malformed; /* why it is; on the stack, each reason would have the verifier go through what follows once more */
	u32 side;      /* which end of the flow sent it. A constant on the stack, it would double the verifier's work */
	struct ids_pieces cut;
	u32 tunnel;    /* enum ids_tunnel: how it carries another packet */
	/* Not cleared for every packet. */
	u32 carried;   /* of a packet in a tunnel: what it carries, an EtherType, 0: nothing */
	u32 entry;     /* enum ids_entry */
	u8 head[40] __attribute__((aligned(8))); /* of a packet in a tunnel: what was copied out last */
};

#define IDS_PACKET_CLEARED __builtin_offsetof(struct ids_packet, carried)

struct ids_vlan_header {
	__be16 tci;
	__be16 eth_proto;
};

struct ids_ip6_extension {
	u8 next;
	u8 len; /* in 8-byte units beyond the first; of an AH in 4-byte units beyond the second */
};

struct ids_ip6_fragment {
	u8 next;
	u8 reserved;
	__be16 offset; /* in the upper 13 bits; bit 0: more follow */
	__be32 id;
};

/* RFC 792: 8 bytes are the least that any message has. */
struct ids_icmp_echo {
	u8 type;
	u8 code;
	u16 checksum_be;
	u16 id_be;
	u16 sequence_be;
};

/* The first 16 of the 20 bytes of a TCP header: all that is looked at. */
struct ids_tcp_start {
	u16 sport_be;
	u16 dport_be;
	u32 seq_be;
	u32 ack_be;
	u8 offset; /* header length in 4-byte words, in the upper half */
	u8 flags;
	u16 window_be;
};

/* Who handed us a frame, as a number that differs between any two in practice. */
static __always_inline u32 ids_neighbour(ids_frame *frame)
{
	struct ethhdr eth = {};

	if (ids_load_bytes(frame, 0, &eth, sizeof(eth)))
		return 0;
	return (*(u16 *)(eth.h_source + 4) | (u32)*(u16 *)(eth.h_source + 2) << 16) ^ (u32)*(u16 *)eth.h_source << 8 ^
	       frame->ingress_ifindex * 0x9e3779b1U;
}

static __always_inline int ids_is_vlan(u16 proto_be)
{
	return proto_be == __constant_htons(ETH_P_8021Q) || proto_be == __constant_htons(ETH_P_8021AD);
}

/* Hosts take a tag of VLAN 0 off and go on, so it makes no other flow. */
static __always_inline void ids_note_vlan(struct ids_packet *packet, u16 tci_be)
{
	u32 id = __builtin_bswap16(tci_be) & 0xfff;

	if (packet->vlan < 1 << 12)
		packet->vlan |= id << 12;
	else if (!(packet->vlan & 0xfff))
		packet->vlan |= id;
}

/* Step over tags beyond the usual ones. They are copied out, and where the IP header lies then is no longer known to the
 * verifier: one case more for it, not one for each number of tags. */
static __always_inline int ids_skip_vlan_tags(ids_frame *frame, struct ids_cursor *at, struct ids_packet *packet)
{
	struct ids_vlan_header vlan = {};

	for (int tag = IDS_USUAL_VLAN_TAGS; tag < IDS_MAX_VLAN_TAGS && ids_is_vlan(packet->eth_proto_be); tag++) {
		if (ids_load_bytes(frame, packet->l3, &vlan, sizeof(vlan)))
			return IDS_DROP_ETH_SHORT;
		ids_note_vlan(packet, vlan.tci);
		packet->eth_proto_be = vlan.eth_proto;
		packet->l3 += sizeof(vlan);
	}
	at->pos = (void *)(long)frame->data + (packet->l3 & IDS_L3_MASK);
	return ids_is_vlan(packet->eth_proto_be) ? IDS_PASS_VLAN_TAGS : 0;
}

static __always_inline int ids_parse_ethernet(ids_frame *frame, struct ids_cursor *at, struct ids_packet *packet)
{
	struct ethhdr *eth = at->pos;

	if ((void *)(eth + 1) > at->end)
		return IDS_DROP_ETH_SHORT;
	at->pos = eth + 1;
	packet->eth_proto_be = eth->h_proto;
	packet->l3 = sizeof(*eth);
#pragma unroll
	for (int tag = 0; tag < IDS_USUAL_VLAN_TAGS; tag++) {
		struct ids_vlan_header *vlan = at->pos;

		if (!ids_is_vlan(packet->eth_proto_be))
			return 0;
		if ((void *)(vlan + 1) > at->end)
			return IDS_DROP_ETH_SHORT;
		ids_note_vlan(packet, vlan->tci);
		packet->eth_proto_be = vlan->eth_proto;
		packet->l3 += sizeof(*vlan);
		at->pos = vlan + 1;
	}
	return ids_is_vlan(packet->eth_proto_be) ? ids_skip_vlan_tags(frame, at, packet) : 0;
}

/* Find the addresses of an IPv4 header; the blocklist is asked before the rest is looked at. */
static __always_inline int ids_parse_ip4(struct ids_cursor *at, struct ids_packet *packet)
{
	struct iphdr *ip = at->pos;

	if ((void *)(ip + 1) > at->end)
		return IDS_DROP_IP4_SHORT;
	packet->version = 4;
	packet->src4_be = ip->saddr;
	packet->dst4_be = ip->daddr;
	return 0;
}

static __always_inline int ids_parse_ip6(struct ids_cursor *at, struct ids_packet *packet)
{
	struct ipv6hdr *ip = at->pos;

	if ((void *)(ip + 1) > at->end)
		return IDS_DROP_IP6_SHORT;
	packet->version = 6;
	__builtin_memcpy(&packet->src6, &ip->saddr, sizeof(packet->src6));
	__builtin_memcpy(&packet->dst6, &ip->daddr, sizeof(packet->dst6));
	return 0;
}

/* Judge a fragment: `offset` in bytes, `len` bytes of data. */
static __always_inline int ids_judge_fragment(struct ids_packet *packet, u32 offset, u32 len, int more)
{
	if (offset + len > 65535)
		return IDS_DROP_FRAGMENT_OVERSIZE;
	if (offset) {
		packet->fragment = IDS_LATER_FRAGMENT;
		/* RFC 1858 section 3: nobody needs a fragment that starts inside the TCP header. */
		if (packet->proto == IPPROTO_TCP && offset < sizeof(struct tcphdr))
			return IDS_DROP_FRAGMENT_TINY;
	} else if (more) {
		packet->fragment = IDS_FIRST_FRAGMENT;
	}
	return 0;
}

static __always_inline int ids_judge_ip4(struct ids_cursor *at, struct ids_packet *packet)
{
	struct iphdr *ip = at->pos;
	u32 header_len, total_len, offset;

	if ((void *)(ip + 1) > at->end)
		return IDS_DROP_IP4_SHORT;
	header_len = ip->ihl * 4;
	total_len = __builtin_bswap16(ip->tot_len);
	if (ip->version != 4)
		return IDS_DROP_IP4_VERSION;
	if (header_len < sizeof(*ip))
		return IDS_DROP_IP4_HEADER_LEN;
	if (total_len < header_len || packet->l3 + total_len > packet->len)
		return IDS_DROP_IP4_TOTAL_LEN;
	if ((packet->src4_be & 0xff) == 127 || (packet->src4_be & 0xf0) == 224)
		return IDS_DROP_IP_SOURCE;
	packet->proto = ip->protocol;
	packet->l4 = packet->l3 + header_len;
	packet->ip_end = packet->l3 + total_len;
	at->pos += header_len;
	packet->fragment_id_be = ip->id;
	offset = __builtin_bswap16(ip->frag_off);
	return ids_judge_fragment(packet, (offset & 0x1fff) * 8, total_len - header_len, offset & 0x2000);
}

static __always_inline int ids_is_rare_extension(u8 proto)
{
	return proto == 135 /* mobility */ || proto == 139 /* HIP */ || proto == 140 /* shim6 */;
}

static __always_inline int ids_is_ip6_extension(u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS || proto == IPPROTO_AH ||
	       ids_is_rare_extension(proto);
}

/* Step over one extension header. Headers that lie at a variable place are copied out by the kernel, not read through
 * the cursor: the verifier then need not follow where exactly that place is, or it would give up on the loop. */
static __always_inline int ids_step_ip6_extension(ids_frame *frame, struct ids_packet *packet)
{
	struct ids_ip6_extension ext = {};
	u32 len;

	if (packet->l4 + sizeof(ext) > packet->ip_end || ids_load_bytes(frame, packet->l4, &ext, sizeof(ext)))
		return IDS_DROP_IP6_EXT_SHORT;
	len = packet->proto == IPPROTO_AH ? (ext.len + 2) * 4 : (ext.len + 1) * 8;
	if (packet->l4 + len > packet->ip_end)
		return IDS_DROP_IP6_EXT_SHORT;
	packet->unknown_header |= ids_is_rare_extension(packet->proto) && !packet->fragment;
	packet->proto = ext.next;
	packet->l4 += len;
	return 0;
}

static __always_inline int ids_step_ip6_fragment(ids_frame *frame, struct ids_packet *packet)
{
	struct ids_ip6_fragment fragment = {};
	u16 offset;

	if (packet->l4 + sizeof(fragment) > packet->ip_end ||
	    ids_load_bytes(frame, packet->l4, &fragment, sizeof(fragment)))
		return IDS_DROP_IP6_EXT_SHORT;
	offset = __builtin_bswap16(fragment.offset);
	packet->proto = fragment.next;
	packet->fragment_id_be = fragment.id;
	packet->l4 += sizeof(fragment);
	return ids_judge_fragment(packet, offset & 0xfff8, packet->ip_end - packet->l4, offset & 1);
}

static __always_inline int ids_is_ip6_header(u8 proto)
{
	return proto == IPPROTO_FRAGMENT || ids_is_ip6_extension(proto);
}

/* Walk the chain of extension headers, up to the transport header or the first later fragment. */
static __always_inline int ids_walk_ip6(ids_frame *frame, struct ids_packet *packet)
{
	int reason;

	for (int i = 0; i < IDS_MAX_IP6_EXTENSIONS; i++) {
		if (packet->fragment == IDS_LATER_FRAGMENT || !ids_is_ip6_header(packet->proto))
			return 0;
		if (packet->proto == IPPROTO_FRAGMENT)
			reason = ids_step_ip6_fragment(frame, packet);
		else
			reason = ids_step_ip6_extension(frame, packet);
		if (reason)
			return reason;
	}
	if (packet->fragment != IDS_LATER_FRAGMENT && ids_is_ip6_header(packet->proto))
		return IDS_DROP_IP6_EXT_CHAIN;
	return 0;
}

static __always_inline int ids_judge_ip6(ids_frame *frame, struct ids_cursor *at, struct ids_packet *packet)
{
	struct ipv6hdr *ip = at->pos;

	if ((void *)(ip + 1) > at->end)
		return IDS_DROP_IP6_SHORT;
	if (ip->version != 6)
		return IDS_DROP_IP6_VERSION;
	packet->proto = ip->nexthdr;
	packet->l4 = packet->l3 + sizeof(*ip);
	packet->ip_end = packet->l4 + __builtin_bswap16(ip->payload_len);
	if (packet->ip_end > packet->len)
		return IDS_DROP_IP6_PAYLOAD_LEN;
	if (((u8 *)&packet->src6)[0] == 0xff)
		return IDS_DROP_IP_SOURCE;
	at->pos = ip + 1;
	at->lost = ids_is_ip6_header(packet->proto);
	return at->lost ? ids_walk_ip6(frame, packet) : 0;
}

/* Copy out the first `len` bytes of the transport header, or say why not: `reason` where the IP packet ends before. */
static __always_inline int ids_read_l4(ids_frame *frame, struct ids_cursor *at, const struct ids_packet *packet,
				       void *to, u32 len, u32 header_len, int reason)
{
	if (packet->l4 + header_len <= packet->ip_end) {
		if (!at->lost && at->pos + len <= at->end) {
			__builtin_memcpy(to, at->pos, len);
			return 0;
		}
		if (!ids_load_bytes(frame, packet->l4, to, len))
			return 0;
	}
	/* RFC 8200 section 4.5, RFC 7112: a first fragment has to hold all headers. */
	return packet->fragment == IDS_FIRST_FRAGMENT ? IDS_DROP_FRAGMENT_TINY : reason;
}

static __always_inline int ids_judge_tcp(ids_frame *frame, struct ids_cursor *at, struct ids_packet *packet)
{
	struct ids_tcp_start tcp = {};
	u32 header_len;
	int reason = ids_read_l4(frame, at, packet, &tcp, sizeof(tcp), sizeof(struct tcphdr), IDS_DROP_TCP_SHORT);

	if (reason)
		return reason;
	header_len = (tcp.offset >> 4) * 4;
	if (header_len < sizeof(struct tcphdr) || packet->l4 + header_len > packet->ip_end)
		return IDS_DROP_TCP_OFFSET;
	packet->tcp_flags = tcp.flags;
	/* No TCP sends these; they distinguish operating systems and slip past filters. */
	if ((tcp.flags & IDS_TCP_SYN) && (tcp.flags & (IDS_TCP_FIN | IDS_TCP_RST)))
		return IDS_DROP_TCP_FLAGS;
	packet->sport_be = tcp.sport_be;
	packet->dport_be = tcp.dport_be;
	packet->seq = __builtin_bswap32(tcp.seq_be);
	packet->ack = __builtin_bswap32(tcp.ack_be);
	packet->payload_len = packet->ip_end - packet->l4 - header_len;
	return 0;
}

static __always_inline int ids_judge_udp(ids_frame *frame, struct ids_cursor *at, struct ids_packet *packet)
{
	struct udphdr udp = {};
	u32 len;
	int reason = ids_read_l4(frame, at, packet, &udp, sizeof(udp), sizeof(udp), IDS_DROP_UDP_SHORT);

	if (reason)
		return reason;
	len = __builtin_bswap16(udp.len);
	/* A first fragment has the length of the whole datagram; an IPv6 jumbogram has 0 (RFC 2675), which nobody sends. */
	if (len < sizeof(udp) || (packet->fragment == IDS_WHOLE && packet->l4 + len > packet->ip_end))
		return IDS_DROP_UDP_LEN;
	packet->sport_be = udp.source;
	packet->dport_be = udp.dest;
	packet->payload_len = packet->ip_end - packet->l4 - sizeof(udp);
	return 0;
}

static __always_inline int ids_judge_icmp(ids_frame *frame, struct ids_cursor *at, struct ids_packet *packet)
{
	struct ids_icmp_echo icmp = {};
	int echo;
	int reason = ids_read_l4(frame, at, packet, &icmp, sizeof(icmp), sizeof(icmp), IDS_DROP_ICMP_SHORT);

	if (reason)
		return reason;
	echo = packet->version == 4 ? icmp.type == 8 || icmp.type == 0 : icmp.type == 128 || icmp.type == 129;
	if (echo)
		packet->sport_be = packet->dport_be = icmp.id_be;
	packet->payload_len = packet->ip_end - packet->l4 - sizeof(icmp);
	return 0;
}

/* Judge what follows the IP headers. Ports stay 0 in fragments, so that all fragments of a pair of hosts share a flow. */
static __always_inline int ids_judge_l4(ids_frame *frame, struct ids_cursor *at, struct ids_packet *packet)
{
	int reason = 0;

	packet->payload_len = packet->ip_end - packet->l4;
	if (packet->fragment == IDS_LATER_FRAGMENT)
		return 0;
	if (packet->proto == IPPROTO_TCP)
		reason = ids_judge_tcp(frame, at, packet);
	else if (packet->proto == IPPROTO_UDP)
		reason = ids_judge_udp(frame, at, packet);
	else if ((packet->proto == IPPROTO_ICMP && packet->version == 4) ||
		 (packet->proto == IPPROTO_ICMPV6 && packet->version == 6))
		reason = ids_judge_icmp(frame, at, packet);
	if (packet->fragment) {
		packet->first_sport_be = packet->sport_be;
		packet->first_dport_be = packet->dport_be;
		packet->sport_be = packet->dport_be = 0;
	}
	return reason;
}

#endif
