/* SPDX-License-Identifier: GPL-2.0-only
 *
 * What both programs do with maps: count, find flows, show. Not compiled by itself: BCC rewrites map calls in the file that
 * it is given alone, so ids/kernel/program/compile.py puts this one in the place of the line that includes it.
 */

struct ids_context {
	ids_frame *frame;
	struct ids_config *config;
	u64 now_ns;
	struct ids_packet *packet; /* in per-CPU memory, not on the stack; see ids_scratch */
	int pressed; /* a budget has refused lately, though not this packet */
};

/* The key fills a place on the stack: were it half of one, the verifier would take what was there before for a part of the
 * state, and go through what follows once for each. */
static __always_inline void ids_count(u32 reason, u32 len)
{
	u64 key = reason;
	struct ids_count *count = ids_counts.lookup((u32 *)&key);

	if (count) {
		count->packets++;
		count->bytes += len;
	}
}

/* Whether shadow mode keeps a packet from being dropped for a reason. It is counted once, for the first of them: behind
 * that, nothing else would have seen it. */
static __always_inline int ids_shadows(struct ids_context *c, u32 reason)
{
	if (!(c->config->flags & IDS_FLAG_SHADOW))
		return 0;
	if (!c->packet->shadowed)
		ids_count(IDS_REASON_WOULD + reason, c->packet->len);
	c->packet->shadowed = 1;
	return 1;
}

/* ---- flows ---------------------------------------------------------------------------------------------------- */

static __always_inline struct ids_flow *ids_flow_find(struct ids_context *c, union ids_flow_key *key)
{
	struct ids_flow *flow;

	if (c->packet->version == 4) {
		c->packet->side = ids_flow4_key(c->packet, &key->v4);
		flow = ids_flows4.lookup(&key->v4);
		IDS_APART(flow, "IPv4");
		return flow;
	}
	c->packet->side = ids_flow6_key(c->packet, &key->v6);
	flow = ids_flows6.lookup(&key->v6);
	IDS_APART(flow, "IPv6");
	return flow;
}

/* How long a host waits for the rest of a datagram, at most (RFC 8200 section 4.5; Linux: 30 s). */
#define IDS_FRAGMENT_NS (60ULL * 1000 * 1000 * 1000)
/* Fragments of an answer that was asked for: 64 KiB over Ethernet are 45. */
#define IDS_MAX_SOLICITED 64

static __always_inline void ids_datagram_key(struct ids_context *c, struct ids_datagram_key *key)
{
	key->id_be = c->packet->fragment_id_be;
	if (c->packet->version == 4) {
		key->src_be[10] = key->src_be[11] = key->dst_be[10] = key->dst_be[11] = 0xff;
		__builtin_memcpy(key->src_be + 12, &c->packet->src4_be, 4);
		__builtin_memcpy(key->dst_be + 12, &c->packet->dst4_be, 4);
		key->proto = c->packet->proto;
	} else {
		__builtin_memcpy(key->src_be, &c->packet->src6, 16);
		__builtin_memcpy(key->dst_be, &c->packet->dst6, 16);
	}
}

/* What a first fragment says of its datagram, by the flow of its ports. */
static __always_inline u32 ids_first_fate(struct ids_context *c)
{
	union ids_flow_key key;
	struct ids_flow *flow;
	u32 fate = 0;

	c->packet->sport_be = c->packet->first_sport_be;
	c->packet->dport_be = c->packet->first_dport_be;
	flow = ids_flow_find(c, &key);
	if (flow) {
		if (ids_flow_is_condemned(c->packet, flow, c->now_ns)) {
			flow->last_ns = c->now_ns; /* it is not silent */
			fate |= IDS_FATE_CONDEMNED;
		}
		if (ids_is_solicited(c->packet, flow, c->packet->side)) {
			__sync_fetch_and_add(&flow->fragmented, 1);
			fate |= IDS_FATE_SOLICITED;
		}
	}
	c->packet->sport_be = c->packet->dport_be = 0;
	return fate;
}

/* Find the ids_fate of the datagram that a fragment is of, 0: none. The first fragment has the ports, and is remembered
 * for the others if there is anything to remember. Those that come before it pass: without it they are no datagram. */
static __always_inline u32 ids_fragment_fate(struct ids_context *c)
{
	struct ids_datagram_key key = {};
	struct ids_datagram fresh = { .seen_ns = c->now_ns };
	struct ids_datagram *known;

	ids_datagram_key(c, &key);
	if (c->packet->fragment == IDS_FIRST_FRAGMENT) {
		fresh.fate = ids_first_fate(c);
		if (fresh.fate)
			ids_fragments.update(&key, &fresh);
		else
			ids_fragments.delete(&key);
		return fresh.fate;
	}
	known = ids_fragments.lookup(&key);
	if (!known || c->now_ns >= known->seen_ns + IDS_FRAGMENT_NS)
		return 0;
	__sync_fetch_and_add(&known->later, 1);
	return known->later < IDS_MAX_SOLICITED ? known->fate : known->fate & ~IDS_FATE_SOLICITED;
}

/* Add the flow that ids_flow_find did not find. */
static __always_inline struct ids_flow *ids_flow_add(struct ids_context *c, union ids_flow_key *key)
{
	struct ids_flow fresh = ids_flow_first(c->packet, c->packet->side, c->now_ns);
	struct ids_flow *flow;

	if (c->packet->version == 4) {
		ids_flows4.update(&key->v4, &fresh);
		flow = ids_flows4.lookup(&key->v4);
	} else {
		ids_flows6.update(&key->v6, &fresh);
		flow = ids_flows6.lookup(&key->v6);
	}
	ids_count(flow ? IDS_NOTE_FLOW_NEW : IDS_NOTE_FLOW_LOST, c->packet->len);
	return flow;
}

/* ---- tunnels -------------------------------------------------------------------------------------------------- */

/* Find how a packet carries another, if it does and such are looked into. A later fragment has no header that says so. */
static __always_inline void ids_find_tunnel(struct ids_context *c)
{
	struct ids_packet *packet = c->packet;
	struct ids_tunnel_ports *ports;
	u32 zero = 0;

	packet->tunnel = IDS_TUNNEL_NONE;
	if (packet->proto == IPPROTO_TCP || !(c->config->flags & IDS_FLAG_TUNNELS) ||
	    packet->fragment == IDS_LATER_FRAGMENT)
		return;
	if (packet->proto != IPPROTO_UDP) {
		packet->tunnel = ids_proto_tunnel(packet->proto);
		return;
	}
	ports = ids_tunnels.lookup(&zero);
	if (!ports)
		return;
	/* The ports of a first fragment stand apart, and those of others are 0. The receiver goes by his own. */
	packet->tunnel = ids_port_tunnel(ports, packet->dport_be | packet->first_dport_be);
	if (!packet->tunnel)
		packet->tunnel = ids_port_tunnel(ports, packet->sport_be | packet->first_sport_be);
}

/* ---- shares --------------------------------------------------------------------------------------------------- */

/* The ring that a packet goes to, as a share names it. */
static __always_inline u32 ids_ring_number(const struct ids_packet *packet)
{
	return packet->worker * 2 + (packet->len > IDS_SMALL_DATA);
}

/* Whether whoever opened the packet's flow has more than a share of a ring; if not, `stride` bytes more of it are taken
 * up in that name. Nothing is counted while three quarters of the ring are free. */
static __always_inline int ids_over_share(struct ids_context *c, void *ring, u32 number, u64 thin, u32 stride)
{
	u64 size = thin + thin / 3, waiting = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
	struct ids_share_key key = { .ring = number };
	struct ids_share *share;
	u64 read_pos, write_pos;

	if (!thin || waiting < size / 4 || waiting > size)
		return 0;
	read_pos = bpf_ringbuf_query(ring, BPF_RB_CONS_POS);
	write_pos = bpf_ringbuf_query(ring, BPF_RB_PROD_POS);
	ids_packet_holder(c->packet, key.holder_be);
	share = ids_shares.lookup(&key);
	if (!share) {
		struct ids_share fresh = { .waiting = stride, .read_pos = read_pos, .write_pos = write_pos };

		ids_shares.update(&key, &fresh);
		c->packet->light = 1;
		return 0;
	}
	ids_share_settle(share, read_pos, write_pos);
	if (ids_share_exceeds(share, size, waiting, c->packet->flow_cut & IDS_CUT_UNFAIR))
		return 1;
	c->packet->light = share->waiting < size / IDS_LIGHT;
	share->waiting += stride;
	return 0;
}

/* Whether the packet has to give way to those of others. The end of a connection does not, so that user space frees it;
 * a beginning does in both rings, for it may go on in either. */
static __always_inline int ids_is_unfair(struct ids_context *c)
{
	int ends = c->packet->news && c->packet->thins != IDS_THINS_LAST;
	void *ring;

	if (ends || (c->packet->fragment && c->packet->copies > 1))
		return 0;
	if (c->packet->len > IDS_SMALL_DATA || c->packet->thins == IDS_THINS_LAST) {
		u32 stride = c->packet->len > IDS_SMALL_DATA ? IDS_LARGE_STRIDE : 0;

		ring = ids_large.lookup(&c->packet->worker);
		if (ring && ids_over_share(c, ring, c->packet->worker * 2 + 1, c->config->thin_large_bytes, stride))
			return 1;
	}
	if (c->packet->len > IDS_SMALL_DATA)
		return 0;
	ring = ids_small.lookup(&c->packet->worker);
	IDS_APART(ring, "small");
	return ring && ids_over_share(c, ring, c->packet->worker * 2, c->config->thin_small_bytes, IDS_SMALL_STRIDE);
}

/* Count in whose name a packet was not shown, for user space to name the foremost. */
static __always_inline void ids_note_missed(struct ids_context *c)
{
	struct ids_share_key key = { .ring = ids_ring_number(c->packet) };
	struct ids_share *share;

	ids_packet_holder(c->packet, key.holder_be);
	share = ids_shares.lookup(&key);
	if (!share) {
		struct ids_share fresh = { .missed = 1, .missed_bytes = c->packet->len };

		ids_shares.update(&key, &fresh);
		return;
	}
	__sync_fetch_and_add(&share->missed, 1);
	__sync_fetch_and_add(&share->missed_bytes, c->packet->len);
}

/* Note where a packet of a flow is the first that is not shown for a reason. */
static __always_inline void ids_settle_flow(struct ids_context *c, struct ids_flow *flow, int reason)
{
	int note = ids_flow_settle(flow, reason);

	if (note)
		ids_count(note, c->packet->len);
}

/* Whether the packet of a known flow is to be shown: IDS_PASS_SHOWN, and then it is counted, or why not. */
static __always_inline int ids_whether_shown(struct ids_context *c, struct ids_flow *flow)
{
	int reason = ids_flow_show(c->config, c->packet, flow, c->packet->side);

	if (reason == IDS_PASS_SHOWN) {
		c->packet->flow_cut = flow->cut;
		c->packet->thins = ids_flow_thins(c->config, c->packet, flow, c->packet->side);
		ids_flow_count(c->packet, flow, c->packet->side);
	} else {
		ids_settle_flow(c, flow, reason);
	}
	return reason;
}

/* Settle that there was no room for a packet. Its flow is looked up again, in one of two maps: were it at hand from before
 * the packet was shown, the verifier would go through that once for each of them. */
static __always_inline void ids_settle_missed(struct ids_context *c, int reason)
{
	union ids_flow_key key;
	struct ids_flow *flow;

	if (!c->packet->known)
		return;
	flow = ids_flow_find(c, &key);
	if (flow) {
		ids_flow_discount(c->packet, flow, c->packet->side);
		ids_settle_flow(c, flow, reason);
	}
	ids_note_missed(c);
}

/* ---- showing -------------------------------------------------------------------------------------------------- */

/* Copy the packet into a ring of one worker. Which is a matter of its size, so that small packets do not fill the large
 * slots. */
static __always_inline int ids_show_to(struct ids_context *c)
{
	void *ring;

	if (c->packet->len <= IDS_SMALL_DATA) {
		/* What begins small, with a SYN, goes on with large packets: it begins only where these have room too. */
		if (c->packet->thins == IDS_THINS_LAST) {
			ring = ids_large.lookup(&c->packet->to);
			if (ring && ids_gives_way(c->packet, ring, c->config->thin_large_bytes))
				return IDS_PASS_THINNED;
		}
		ring = ids_small.lookup(&c->packet->to);
		IDS_APART(ring, "small");
		return ids_put(c->frame, c->config, c->packet, ring, IDS_SMALL_DATA, c->config->thin_small_bytes);
	}
	ring = ids_large.lookup(&c->packet->to);
	IDS_APART(ring, "large");
	return ids_put(c->frame, c->config, c->packet, ring, IDS_LARGE_DATA, c->config->thin_large_bytes);
}

/* Show the packet to whom it concerns; return IDS_PASS_SHOWN, or why somebody was not shown it. */
static __always_inline int ids_show_whole(struct ids_context *c)
{
	struct ids_packet *packet = c->packet;

	ids_find_audience(c->config, packet);
	if (ids_is_unfair(c))
		return IDS_PASS_UNFAIR;
	packet->outcome = IDS_PASS_SHOWN;
	for (u32 copy = 0; copy < IDS_MAX_WORKERS && copy < packet->copies; copy++) {
		int reason;

		packet->to = ids_copy_to(c->config, packet, copy);
		reason = ids_show_to(c);
		if (!packet->overheard)
			ids_note_copy(packet, reason);
		if (copy && reason == IDS_PASS_SHOWN)
			ids_count(IDS_NOTE_COPIED, packet->len);
	}
	if (packet->outcome == IDS_PASS_SHOWN && packet->len > IDS_LARGE_DATA)
		ids_count(IDS_NOTE_SNAPPED, packet->len);
	return packet->outcome;
}
