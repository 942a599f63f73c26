/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Which worker inspects a flow. Map-free. ids/kernel/rings/workers.py is the same function for NumPy, to the same bits.
 *
 * Both directions of a flow come to the same worker; so does all that user space takes for one flow (ids/flow/keys.py),
 * which is why ports count where both sides know them: in whole TCP and UDP packets, but for a tunnel's: those have another
 * port in each direction, for routers to spread them, and what is inside is to meet again. Everything else between two hosts,
 * ICMP errors and echoes above all, goes by their addresses. Only the whole datagram shows whose a fragment is, so each
 * worker is shown all of them, puts them together, and keeps the datagrams that this function gives it.
 */
#ifndef IDS_WORKER_H
#define IDS_WORKER_H

#include "ids_events.h"
#include "ids_parse.h"

/* 2^64 by the golden ratio, made odd: multiplication carries each bit of a word to those above it. */
#define IDS_MULTIPLIER 0x9e3779b97f4a7c15ULL

static __always_inline u64 ids_mix(u64 value, u64 word)
{
	value = (value ^ word) * IDS_MULTIPLIER;
	return value ^ value >> 32;
}

/* One end of a flow: both halves of its address, IPv4 as ::ffff:a.b.c.d, and its port, all in host order. */
static __always_inline u64 ids_mix_end(u64 seed, u64 high, u64 low, u64 port)
{
	return ids_mix(ids_mix(ids_mix(seed, high), low), port);
}

/* Return a worker below `workers`. The sum is the same from both ends; who knows no seed can aim at no worker. */
static __always_inline u32 ids_worker(const struct ids_packet *packet, u64 seed, u64 workers)
{
	int ports = (packet->proto == IPPROTO_TCP || packet->proto == IPPROTO_UDP) && !packet->unknown_header &&
		    !packet->tunnel;
	u64 sport = ports ? __builtin_bswap16(packet->sport_be) : 0;
	u64 dport = ports ? __builtin_bswap16(packet->dport_be) : 0;
	u64 sum;

	if (packet->version == 4)
		sum = ids_mix_end(seed, 0, 0xffffULL << 32 | __builtin_bswap32(packet->src4_be), sport) +
		      ids_mix_end(seed, 0, 0xffffULL << 32 | __builtin_bswap32(packet->dst4_be), dport);
	else
		sum = ids_mix_end(seed, __builtin_bswap64(packet->src6.half_be[0]),
				  __builtin_bswap64(packet->src6.half_be[1]), sport) +
		      ids_mix_end(seed, __builtin_bswap64(packet->dst6.half_be[0]),
				  __builtin_bswap64(packet->dst6.half_be[1]), dport);
	return (ids_mix(seed, sum) >> 32) * workers >> 32;
}

/* Whether every worker is to see the connection, for what it announces (ids/overheard.py). */
static __always_inline int ids_is_shared(const struct ids_config *config, const struct ids_packet *packet)
{
	if (packet->proto != IPPROTO_TCP || packet->unknown_header)
		return 0;
	for (u32 at = 0; at < IDS_SHARED_PORTS; at++) {
		u16 port_be = config->shared_port_be[at];

		if (port_be && (port_be == packet->sport_be || port_be == packet->dport_be))
			return 1;
	}
	return 0;
}

/* Find the workers that a packet is to be shown to: its own first, and then, of some, the others, which overhear it. */
static __always_inline void ids_find_audience(const struct ids_config *config, struct ids_packet *packet)
{
	packet->worker = 0;
	packet->copies = 1;
	packet->overheard = 0;
	if (config->workers <= 1)
		return;
	if (packet->fragment && !packet->unknown_header) {
		packet->copies = config->workers;
		return;
	}
	packet->worker = ids_worker(packet, config->worker_seed, config->workers);
	if (ids_is_shared(config, packet))
		packet->copies = config->workers;
}

/* Return the worker that gets the n-th copy of a packet; those behind the first of what is no fragment are overheard. */
static __always_inline u32 ids_copy_to(const struct ids_config *config, struct ids_packet *packet, u32 copy)
{
	u32 worker = packet->worker + copy;

	packet->overheard = copy && !(packet->fragment && !packet->unknown_header);
	return worker >= config->workers ? worker - config->workers : worker;
}

#endif
