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

static __always_inline void ids_count(u32 reason, u32 len)
{
	struct ids_count *count = ids_counts.lookup(&reason);

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

/* Settle what became of a packet of a flow, and note where it is the first that is not shown for a reason. */
static __always_inline void ids_settle_flow(struct ids_context *c, struct ids_flow *flow, int reason)
{
	int note = ids_flow_settle(c->packet, flow, c->packet->side, reason);

	if (note)
		ids_count(note, c->packet->len);
}

/* ---- showing -------------------------------------------------------------------------------------------------- */

/* Copy the packet into a ring of one worker. Which is a matter of its size, so that small packets do not fill the large
 * slots. */
static __always_inline int ids_show_to(struct ids_context *c, u32 worker)
{
	void *ring;

	if (c->packet->len <= IDS_SMALL_DATA) {
		/* What begins small, with a SYN, goes on with large packets: it begins only where these have room too. */
		if (c->packet->thins == IDS_THINS_LAST) {
			ring = ids_large.lookup(&worker);
			if (ring && ids_gives_way(c->packet, ring, c->config->thin_large_bytes))
				return IDS_PASS_THINNED;
		}
		ring = ids_small.lookup(&worker);
		IDS_APART(ring, "small");
		return ids_put(c->frame, c->config, c->packet, ring, IDS_SMALL_DATA, c->config->thin_small_bytes);
	}
	ring = ids_large.lookup(&worker);
	IDS_APART(ring, "large");
	return ids_put(c->frame, c->config, c->packet, ring, IDS_LARGE_DATA, c->config->thin_large_bytes);
}

/* Show the packet to whom it concerns; return IDS_PASS_SHOWN, or why somebody was not shown it. */
static __always_inline int ids_show_whole(struct ids_context *c)
{
	struct ids_packet *packet = c->packet;

	ids_find_audience(c->config, packet);
	packet->outcome = IDS_PASS_SHOWN;
	for (u32 copy = 0; copy < IDS_MAX_WORKERS && copy < packet->copies; copy++) {
		int reason = ids_show_to(c, packet->worker + copy);

		ids_note_copy(packet, reason);
		if (copy && reason == IDS_PASS_SHOWN)
			ids_count(IDS_NOTE_COPIED, packet->len);
	}
	if (packet->outcome == IDS_PASS_SHOWN && packet->len > IDS_LARGE_DATA)
		ids_count(IDS_NOTE_SNAPPED, packet->len);
	return packet->outcome;
}
