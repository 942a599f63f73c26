/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Budgets: how many packets of a kind a source or a destination may send or get. Map-free.
 */
#ifndef IDS_FLOOD_H
#define IDS_FLOOD_H

#include "ids_events.h"

/* Take one packet's worth from the bucket; return 0 when it is spent.
 *
 * Two CPUs that race may both take the same token: the limit is overrun by at most one packet a CPU and interval, which
 * is cheaper than a lock. */
static __always_inline int ids_budget_take(struct ids_budget *budget, const struct ids_limit *limit, u64 now_ns)
{
	u64 due_ns = budget->due_ns;

	if (due_ns < now_ns)
		due_ns = now_ns;
	if (due_ns - now_ns > limit->burst_ns) {
		__sync_fetch_and_add(&budget->refused, 1);
		return 0;
	}
	budget->due_ns = due_ns + limit->interval_ns;
	return 1;
}

#endif
