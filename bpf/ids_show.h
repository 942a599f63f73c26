/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Copies of packets for user space. Map-free, for the programs of both directions: they look the ring up.
 */
#ifndef IDS_SHOW_H
#define IDS_SHOW_H

#include "ids_events.h"
#include "ids_parse.h"
#include "ids_worker.h"

static __always_inline u64 ids_record_ns(const struct ids_config *config)
{
	return config->now_ns ? config->now_ns : bpf_ktime_get_ns();
}

/* In whose name a packet takes up room and time: who opened its flow, an IPv6 address by its /64. `addr_be` is zero. */
static __always_inline void ids_packet_holder(const struct ids_packet *packet, u8 *addr_be)
{
	if (packet->version == 4) {
		addr_be[10] = addr_be[11] = 0xff;
		*(u32 *)(addr_be + 12) = packet->direction ? packet->dst4_be : packet->src4_be;
	} else {
		*(u64 *)addr_be = packet->direction ? packet->dst6.half_be[0] : packet->src6.half_be[0];
	}
}

/* A number for a flow, the same from both ends. */
static __always_inline u32 ids_flow_tag(const struct ids_packet *packet)
{
	u32 ends = packet->sport_be ^ packet->dport_be;

	if (packet->version == 4)
		ends ^= packet->src4_be ^ packet->dst4_be;
	else
		ends ^= packet->src6.half_be[1] ^ packet->dst6.half_be[1];
	return ends * 0x9e3779b1U >> 8;
}

/* Fill the header of a record. The time is read when the record has its place in the ring: a reader that finds it has
 * then found all earlier ones, if not complete yet. */
static __always_inline void ids_fill_record(ids_frame *frame, const struct ids_config *config,
					    const struct ids_packet *packet, struct ids_record *to)
{
	__builtin_memset(to, 0, sizeof(*to));
	to->ts_ns = ids_record_ns(config);
	to->wirelen = packet->len;
	to->kind = IDS_RECORD_PACKET;
	to->reason = IDS_PASS_SHOWN;
	to->direction = packet->direction;
	to->flow_state = packet->flow_state;
	to->detail2 = ids_flow_tag(packet);
	ids_packet_holder(packet, to->addr_be);
#ifdef IDS_EGRESS
	to->ifindex = frame->ifindex;
	to->detail = IDS_DETAIL_UNSUMMED;
#else
	to->ifindex = frame->ingress_ifindex;
	to->rx_queue = frame->rx_queue_index;
#endif
}

/* Whether the packet gives way in a ring that is nearly full: more than `crowded` bytes wait to be read (three quarters
 * of it; for what gives way last, seven eighths, or fifteen sixteenths if it is a quiet source's); 0: it never is. Few
 * packets ask. What a worker overhears gives way to all that is its own. */
static __always_inline int ids_gives_way(const struct ids_packet *packet, void *ring, u64 crowded)
{
	if (packet->thins == IDS_THINS_LAST && !packet->overheard)
		crowded += packet->light ? crowded / 4 : crowded / 6;
	return (packet->thins || packet->overheard) && crowded && bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) > crowded;
}

/* Copy a frame into a ring whose records have `room` bytes for it; return IDS_PASS_SHOWN, or why not. */
static __always_inline int ids_put(ids_frame *frame, const struct ids_config *config, const struct ids_packet *packet,
				   void *ring, u32 room, u64 crowded)
{
	struct ids_record *slot;
	u32 len = packet->len;

	if (!ring)
		return IDS_PASS_RING_FULL;
	if (ids_gives_way(packet, ring, crowded))
		return IDS_PASS_THINNED;
	slot = bpf_ringbuf_reserve(ring, IDS_RECORD_HEADER + room, 0);
	if (!slot)
		return IDS_PASS_RING_FULL;
	ids_fill_record(frame, config, packet, slot);
	if (len > room)
		len = room;
	if (ids_copy_bytes(frame, 0, slot + 1, len, room))
		len = 0;
	slot->caplen = len;
	bpf_ringbuf_submit(slot, 0);
	return IDS_PASS_SHOWN;
}

/* Bring a share up to the reader's position. What is left of it is taken to lie evenly in what was there before. */
static __always_inline void ids_share_settle(struct ids_share *share, u64 read_pos, u64 write_pos)
{
	u64 before = share->write_pos - share->read_pos;

	if (read_pos >= share->write_pos || read_pos < share->read_pos || !before)
		share->waiting = 0; /* all of it has been read; or the ring is another */
	else
		share->waiting = share->waiting * (share->write_pos - read_pos) / before;
	share->read_pos = read_pos;
	share->write_pos = write_pos;
}

/* Part of a ring that everybody may have. */
#define IDS_LITTLE 32
/* What somebody has who is quiet, for whose new flows there is room when there is none for others'. */
#define IDS_LIGHT 256

/* Whether a share leaves too little of a ring to others: it is more than twice of what is free before no flow may begin
 * any more (seven eighths). One source may so fill seven twelfths, two sources a third each; there always is room for
 * somebody new (a dynamic threshold: Choudhury and Hahne, 1998). What is little is nobody's fault. A flow that was cut
 * stays so while its opener has much. */
static __always_inline int ids_share_exceeds(const struct ids_share *share, u64 size, u64 waiting, int was_cut)
{
	u64 limit = size - size / 8, room = waiting < limit ? limit - waiting : 0;

	return share->waiting > size / IDS_LITTLE && share->waiting > (was_cut ? room / 4 : room * 2);
}

/* Note what became of a copy: where one of several was not shown, that stands for all, and foremost that a ring was full.
 * In memory of which the verifier knows nothing, so that each round of copies looks to it like the one before. */
static __always_inline void ids_note_copy(struct ids_packet *packet, int reason)
{
	if (reason == IDS_PASS_RING_FULL || packet->outcome == IDS_PASS_SHOWN)
		packet->outcome = reason;
}

#endif
