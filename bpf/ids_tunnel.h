/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Tunnels: what a packet carries, as ids/decode/tunnels.py looks into it. Map-free, for the programs of both directions.
 *
 * Everything is copied out by the kernel, at offsets that the verifier need not follow. What does not parse is no packet
 * in a tunnel, and no reason to drop the one around it: what its receiver makes of it is not known here.
 */
#ifndef IDS_TUNNEL_H
#define IDS_TUNNEL_H

#include "ids_events.h"
#include "ids_parse.h"

/* Tunnels within each other that are looked into here. Real networks have one, or two; the engine follows more. */
#define IDS_MAX_TUNNELS 2

#define IDS_ETHERNET 0x6558 /* transparent bridging: what GRE, Geneve and others announce a frame by */
#define IDS_PPP 0x880b
#define IDS_WCCP 0x883e
#define IDS_ERSPAN 0x88be
#define IDS_ERSPAN3 0x22eb

#define IDS_GRE_CHECKSUM 0x8000
#define IDS_GRE_ROUTING 0x4000
#define IDS_GRE_KEY 0x2000
#define IDS_GRE_SEQUENCE 0x1000
#define IDS_GRE_ACK 0x0080
#define IDS_GRE_VERSION 0x0007

#define IDS_VXLAN_HAS_VNI 0x08
#define IDS_VXLAN_HAS_PROTOCOL 0x04

/* Which tunnel a port of UDP is one of: an ids_tunnel. */
static __always_inline u32 ids_port_tunnel(const struct ids_tunnel_ports *table, u16 port_be)
{
	u32 port = __builtin_bswap16(port_be);

	return table->kinds[(port >> 2) & (IDS_TUNNEL_BYTES - 1)] >> (port & 3) * 2 & 3;
}

/* Which tunnel a packet is of that is not told by ports. */
static __always_inline u32 ids_proto_tunnel(u8 proto)
{
	switch (proto) {
	case IPPROTO_IPIP:
		return IDS_TUNNEL_IP4;
	case IPPROTO_IPV6:
		return IDS_TUNNEL_IP6;
	case IPPROTO_GRE:
		return IDS_TUNNEL_GRE;
	default:
		return IDS_TUNNEL_NONE;
	}
}

/* Copy `len` bytes of the packet at an offset into its `head`; 0 when they are there. */
static __always_inline int ids_peek(ids_frame *frame, struct ids_packet *packet, u32 offset, u32 len)
{
	return offset + len > packet->ip_end || ids_load_bytes(frame, offset, packet->head, len);
}

static __always_inline u32 ids_head16(const struct ids_packet *packet, int at)
{
	return (u32)packet->head[at] << 8 | packet->head[at + 1];
}

/* Step over the header of ERSPAN: type I has none, and no sequence number; type III may have more behind its own. */
static __always_inline u32 ids_open_erspan(ids_frame *frame, struct ids_packet *packet, u32 flags, u32 kind)
{
	if (kind == IDS_ERSPAN)
		packet->l3 += flags & IDS_GRE_SEQUENCE ? 8 : 0;
	else if (ids_peek(frame, packet, packet->l3, 12))
		return 0;
	else
		packet->l3 += packet->head[11] & 1 ? 20 : 12;
	return IDS_ETHERNET;
}

/* Step over PPP's header, whose address and control fields, and half of whose protocol, may be left out (RFC 1661). */
static __always_inline u32 ids_open_ppp(ids_frame *frame, struct ids_packet *packet)
{
	u32 at = 0, protocol;

	if (ids_peek(frame, packet, packet->l3, 4))
		return 0;
	if (packet->head[0] == 0xff && packet->head[1] == 3)
		at = 2;
	protocol = at ? packet->head[2] : packet->head[0];
	if (protocol & 1) {
		at += 1;
	} else {
		protocol = protocol << 8 | (at ? packet->head[3] : packet->head[1]);
		at += 2;
	}
	packet->l3 += at;
	if (protocol == 0x21)
		return ETH_P_IP;
	return protocol == 0x57 ? ETH_P_IPV6 : 0;
}

/* GRE of version 0, and of version 1 (PPTP). Hosts refuse routing; so nothing is in those. */
static __always_inline u32 ids_open_gre(ids_frame *frame, struct ids_packet *packet)
{
	u32 flags, kind, version;

	if (ids_peek(frame, packet, packet->l4, 4))
		return 0;
	flags = ids_head16(packet, 0);
	kind = ids_head16(packet, 2);
	version = flags & IDS_GRE_VERSION;
	if (version > 1 || flags & IDS_GRE_ROUTING || (version == 1 && kind != IDS_PPP))
		return 0;
	packet->l3 = packet->l4 + 4;
	packet->l3 += flags & IDS_GRE_CHECKSUM ? 4 : 0;
	packet->l3 += flags & IDS_GRE_KEY ? 4 : 0;
	packet->l3 += flags & IDS_GRE_SEQUENCE ? 4 : 0;
	packet->l3 += version && flags & IDS_GRE_ACK ? 4 : 0;
	switch (kind) {
	case IDS_PPP:
		return ids_open_ppp(frame, packet);
	case IDS_ERSPAN:
	case IDS_ERSPAN3:
		return ids_open_erspan(frame, packet, flags, kind);
	case IDS_WCCP:
		if (ids_peek(frame, packet, packet->l3, 1))
			return 0;
		packet->l3 += packet->head[0] >> 4 == 4 ? 0 : 4;
		return ETH_P_IP;
	default:
		return kind;
	}
}

static __always_inline u32 ids_open_vxlan(ids_frame *frame, struct ids_packet *packet)
{
	if (ids_peek(frame, packet, packet->l4 + sizeof(struct udphdr), 8) || !(packet->head[0] & IDS_VXLAN_HAS_VNI))
		return 0;
	packet->l3 = packet->l4 + sizeof(struct udphdr) + 8;
	if (!(packet->head[0] & IDS_VXLAN_HAS_PROTOCOL))
		return IDS_ETHERNET;
	switch (packet->head[3]) {
	case 1:
		return ETH_P_IP;
	case 2:
		return ETH_P_IPV6;
	case 3:
		return IDS_ETHERNET;
	default:
		return 0;
	}
}

static __always_inline u32 ids_open_geneve(ids_frame *frame, struct ids_packet *packet)
{
	if (ids_peek(frame, packet, packet->l4 + sizeof(struct udphdr), 8) || packet->head[0] >> 6)
		return 0;
	packet->l3 = packet->l4 + sizeof(struct udphdr) + 8 + 4 * (packet->head[0] & 63);
	return ids_head16(packet, 2);
}

/* What may be in front of the IPv6 packet: an authentication header, then an origin indication. */
static __always_inline u32 ids_open_teredo(ids_frame *frame, struct ids_packet *packet)
{
	packet->l3 = packet->l4 + sizeof(struct udphdr);
	if (ids_peek(frame, packet, packet->l3, 4))
		return 0;
	if (ids_head16(packet, 0) == 1)
		packet->l3 += 13 + packet->head[2] + packet->head[3];
	if (ids_peek(frame, packet, packet->l3, 2))
		return 0;
	if (ids_head16(packet, 0) == 0)
		packet->l3 += 8;
	return ETH_P_IPV6;
}

/* Find where the packet in a tunnel begins, and what it is: an EtherType, 0 for none. */
static __always_inline u32 ids_open_tunnel(ids_frame *frame, struct ids_packet *packet)
{
	packet->l3 = packet->l4;
	switch (packet->tunnel) {
	case IDS_TUNNEL_IP4:
		return ETH_P_IP;
	case IDS_TUNNEL_IP6:
		return ETH_P_IPV6;
	case IDS_TUNNEL_GRE:
		return ids_open_gre(frame, packet);
	case IDS_TUNNEL_VXLAN:
		return ids_open_vxlan(frame, packet);
	case IDS_TUNNEL_GENEVE:
		return ids_open_geneve(frame, packet);
	case IDS_TUNNEL_TEREDO:
		return ids_open_teredo(frame, packet);
	default:
		return 0;
	}
}

/* Step over the Ethernet header of a frame in a tunnel, and its tags; return its EtherType, 0 where it is cut off. */
static __always_inline u32 ids_open_frame(ids_frame *frame, struct ids_packet *packet)
{
	u32 kind;

	if (ids_peek(frame, packet, packet->l3, sizeof(struct ethhdr)))
		return 0;
	packet->l3 += sizeof(struct ethhdr);
	packet->eth_proto_be = __builtin_bswap16(ids_head16(packet, 12));
	for (int tag = 0; tag < IDS_MAX_VLAN_TAGS && ids_is_vlan(packet->eth_proto_be); tag++) {
		if (ids_peek(frame, packet, packet->l3, sizeof(struct ids_vlan_header)))
			return 0;
		ids_note_vlan(packet, __builtin_bswap16(ids_head16(packet, 0)));
		packet->eth_proto_be = __builtin_bswap16(ids_head16(packet, 2));
		packet->l3 += sizeof(struct ids_vlan_header);
	}
	return __builtin_bswap16(packet->eth_proto_be);
}

/* What became of looking into a tunnel. */
enum ids_entry {
	IDS_ENTERED = 0, /* the packet in it has addresses */
	IDS_EMPTY = 1,   /* there is none, or nothing that a host would take */
	IDS_UNREAD = 2,  /* there is something else than IP and ARP */
};

/* Read the addresses of an IPv4 packet in a tunnel: an ids_entry. */
static __always_inline int ids_enter_ip4(ids_frame *frame, struct ids_packet *packet)
{
	u32 header_len, total_len, offset;

	if (ids_peek(frame, packet, packet->l3, sizeof(struct iphdr)) || packet->head[0] >> 4 != 4)
		return IDS_EMPTY;
	header_len = (packet->head[0] & 15) * 4;
	total_len = ids_head16(packet, 2);
	if (header_len < sizeof(struct iphdr) || total_len < header_len)
		return IDS_EMPTY;
	packet->version = 4;
	packet->proto = packet->head[9];
	__builtin_memcpy(&packet->src4_be, packet->head + 12, 4);
	__builtin_memcpy(&packet->dst4_be, packet->head + 16, 4);
	packet->fragment_id_be = *(u16 *)(packet->head + 4);
	packet->l4 = packet->l3 + header_len;
	if (packet->l3 + total_len < packet->ip_end)
		packet->ip_end = packet->l3 + total_len;
	offset = ids_head16(packet, 6);
	packet->malformed = ids_judge_fragment(packet, (offset & 0x1fff) * 8, total_len - header_len, offset & 0x2000);
	return IDS_ENTERED;
}

static __always_inline int ids_enter_ip6(ids_frame *frame, struct ids_packet *packet)
{
	u32 payload_len;

	if (ids_peek(frame, packet, packet->l3, sizeof(struct ipv6hdr)) || packet->head[0] >> 4 != 6)
		return IDS_EMPTY;
	payload_len = ids_head16(packet, 4);
	packet->version = 6;
	packet->proto = packet->head[6];
	__builtin_memcpy(&packet->src6, packet->head + 8, 16);
	__builtin_memcpy(&packet->dst6, packet->head + 24, 16);
	packet->l4 = packet->l3 + sizeof(struct ipv6hdr);
	if (packet->l4 + payload_len < packet->ip_end)
		packet->ip_end = packet->l4 + payload_len;
	packet->malformed = ids_walk_ip6(frame, packet);
	return IDS_ENTERED;
}

/* Make what is known of a packet in a tunnel that of the packet which it carries. Whether the rest of that is well-formed,
 * `malformed` says: where it is not, it carries nothing in its turn, and has no ports. What each step finds is left in
 * memory of which the verifier knows nothing: so the next one looks to it the same whatever kind of tunnel it was. */
static __always_inline void ids_enter_tunnel(ids_frame *frame, struct ids_packet *packet)
{
	struct ids_cursor at = { .lost = 1 };

	packet->carried = ids_open_tunnel(frame, packet);
	packet->vlan = packet->fragment = packet->tcp_flags = packet->unknown_header = 0;
	packet->sport_be = packet->dport_be = packet->first_sport_be = packet->first_dport_be = 0;
	if (packet->carried == IDS_ETHERNET)
		packet->carried = ids_open_frame(frame, packet);
	if (packet->carried == ETH_P_IP)
		packet->entry = ids_enter_ip4(frame, packet);
	else if (packet->carried == ETH_P_IPV6)
		packet->entry = ids_enter_ip6(frame, packet);
	else
		packet->entry = !packet->carried || packet->carried == ETH_P_ARP ? IDS_EMPTY : IDS_UNREAD;
	if (packet->entry == IDS_ENTERED && !packet->malformed)
		packet->malformed = ids_judge_l4(frame, &at, packet);
}

#endif
