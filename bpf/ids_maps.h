/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Every map of the fast path. Included by xdp_ids.c and tc_ids.c alone, because BCC turns each declaration into a map.
 *
 * BCC makes these maps only to learn their types; ids/kernel/program/loader.py then creates (or adopts from their pins)
 * the real ones and puts those into the program. SIZED_BY_SETTING therefore stands for a number from FastPathSettings.
 */
#ifndef IDS_MAPS_H
#define IDS_MAPS_H

#include "ids_events.h"
#include "ids_parse.h"

#define SIZED_BY_SETTING 64

/* Keep the compiler from merging the lookups in two families' maps into one instruction: the kernel inlines a lookup only
 * where the map is always the same, and calls it indirectly, at three times the price, where it is not. */
#define IDS_APART(found, family) asm volatile("# " family : "+r"(found))

/* Reason -> packets and bytes. Per CPU, so plain additions count exactly. Written by the program alone. */
BPF_F_TABLE("percpu_array", u32, struct ids_count, ids_counts, IDS_REASON_COUNT, 0);

/* Index 0 -> limits, depths, heartbeat, and whether prefixes exist. User space writes it field by field through a mapping,
 * so a change costs no system call; what concerns the lists is written under a lock on the pin folder. */
BPF_F_TABLE("array", u32, struct ids_config, ids_config, 1, BPF_F_MMAPABLE);

/* Index 0 -> the present tick's time. Written by the program alone. */
BPF_F_TABLE("percpu_array", u32, struct ids_clock, ids_clock, 1, 0);

/* Index 0 -> which UDP ports are a tunnel's. User space writes it through a mapping. */
BPF_F_TABLE("array", u32, struct ids_tunnel_ports, ids_tunnels, 1, BPF_F_MMAPABLE);

/* Index 0 -> what was parsed of the packet at hand, 1 -> of the one in it. In a map rather than on the stack, because there the verifier forgets
 * by which of many ways a value came about, and so follows each check once, not once for every kind of packet. */
BPF_F_TABLE("percpu_array", u32, struct ids_packet, ids_scratch, 2, 0);

/* Source address -> block entry. User space adds and deletes, the program counts. Not preallocated: a million entries
 * are possible, most gateways have a few thousand. A full map refuses the addition (E2BIG), it evicts nothing. */
BPF_F_TABLE("hash", u32, struct ids_block, ids_block4, SIZED_BY_SETTING, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct ids_addr6, struct ids_block, ids_block6, SIZED_BY_SETTING, BPF_F_NO_PREALLOC);

/* Source prefix -> block entry, longest match. Asked only when ids_config.lists says that there are any. */
BPF_F_TABLE("lpm_trie", struct ids_prefix4, struct ids_block, ids_prefix4, SIZED_BY_SETTING, BPF_F_NO_PREALLOC);
BPF_F_TABLE("lpm_trie", struct ids_prefix6, struct ids_block, ids_prefix6, SIZED_BY_SETTING, BPF_F_NO_PREALLOC);

/* Network and label -> a claim that is weaker than the one in the maps above, and steps in when that one goes. Only for
 * networks that several sources name. User side only. */
BPF_F_TABLE("hash", struct ids_claim_key, struct ids_block, ids_claims, SIZED_BY_SETTING, BPF_F_NO_PREALLOC);

/* Source prefix -> never dropped. Asked only for packets that would be dropped, so nobody else pays for it. */
BPF_F_TABLE("lpm_trie", struct ids_prefix4, struct ids_allow, ids_allow4, SIZED_BY_SETTING, BPF_F_NO_PREALLOC);
BPF_F_TABLE("lpm_trie", struct ids_prefix6, struct ids_allow, ids_allow6, SIZED_BY_SETTING, BPF_F_NO_PREALLOC);

/* Number -> name of who put entries into the lists: a rule set, a feed, an operator. User side only. */
BPF_F_TABLE("hash", u32, struct ids_label, ids_labels, 4096, BPF_F_NO_PREALLOC);

/* Conversation -> counters, handshake, verdict. The program adds, user space writes verdict and depth; the least
 * recently used go when it is full, and a flow that comes back is a new one, shown again. */
BPF_F_TABLE("lru_hash", struct ids_flow4, struct ids_flow, ids_flows4, SIZED_BY_SETTING, 0);
BPF_F_TABLE("lru_hash", struct ids_flow6, struct ids_flow, ids_flows6, SIZED_BY_SETTING, 0);

/* Datagram in fragments -> its fate, if there is anything to remember. Least recently used go. */
BPF_F_TABLE("lru_hash", struct ids_datagram_key, struct ids_datagram, ids_fragments, SIZED_BY_SETTING, 0);

/* Address -> when it last completed a handshake through us: who cannot be a forged source. Least recently used go. */
BPF_F_TABLE("lru_hash", u32, u64, ids_proven4, SIZED_BY_SETTING, 0);
BPF_F_TABLE("lru_hash", struct ids_addr6, u64, ids_proven6, SIZED_BY_SETTING, 0);

/* Address and kind -> token bucket. Least recently used go, which a flood from many forged sources can force: then each
 * source starts with a full bucket again, note.budget_new counts how often, and the destination's budget still holds,
 * because it is in a map of its own. */
BPF_F_TABLE("lru_hash", struct ids_budget_key, struct ids_budget, ids_src_budgets, SIZED_BY_SETTING, 0);
BPF_F_TABLE("lru_hash", struct ids_budget_key, struct ids_budget, ids_dst_budgets, SIZED_BY_SETTING, 0);

/* SYNs that were challenged lately. An array, so that a flood finds its size and no list to keep. Written by the program. */
BPF_F_TABLE("array", u32, struct ids_repeat, ids_repeats, SIZED_BY_SETTING, 0);

/* Who opened flows, and ring -> how much of it that takes up. Asked while a quarter of the ring waits to be read. Least
 * recently used go, and begin again with nothing. */
BPF_F_TABLE("lru_hash", struct ids_share_key, struct ids_share, ids_shares, 16384, 0);

/* Programs that the main one hands a packet to. Filled by the loader. */
#define IDS_PROGRAM_CHALLENGE 0
BPF_PROG_ARRAY(ids_programs, 4);

/* What is no packet: a budget began to refuse. A ring of its own, so that it has one reader however many workers there
 * are, and room in the flood that it reports. */
BPF_RINGBUF_OUTPUT(ids_events, 1);

/* What user space is shown: worker -> a ring of records of one fixed stride, see struct ids_record. Filled by the loader;
 * the ring that is named stands for their type. */
BPF_ARRAY_OF_MAPS(ids_small, "ids_events", IDS_MAX_WORKERS);
BPF_ARRAY_OF_MAPS(ids_large, "ids_events", IDS_MAX_WORKERS);

#endif
