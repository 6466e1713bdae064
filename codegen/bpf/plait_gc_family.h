// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Garbage collection of one family: included once per PLAIT_FAMILY, after struct plait_parts. */
#include "plait_gc.h"
#include "plait_table.h"

static __always_inline bool F(plait_is_orphan)(const struct F(plait_key) *key,
					       const struct F(plait_entry) *entry)
{
	struct plait_addr near = F(plait_widen)(key->saddr);
	struct plait_addr far = F(plait_widen)(entry->to.daddr);

	return plait_is_left(key->zone_proto >> 8, &near) ||
	       plait_is_left(plait_far_zone(&entry->flow), &far);
}

static long F(plait_collect)(struct bpf_map *map, const struct F(plait_key) *key,
			     struct F(plait_entry) *entry, struct plait_gc_run *run)
{
	struct F(plait_key) own, peer_key;
	struct F(plait_entry) *peer;

	(void)map;
	own = *key;
	if (run->sweep && F(plait_is_orphan)(&own, entry))
		goto forget;
	if (!run->hz || !plait_is_idle(&entry->flow, run))
		goto keep;
	peer_key = F(plait_peer_key)(entry, (__u8)own.zone_proto);
	peer = bpf_map_lookup_elem(&F(plait_flow), &peer_key);
	if (peer && !plait_is_idle(&peer->flow, run))
		goto keep;
forget:
	bpf_map_delete_elem(&F(plait_flow), &own);
	run->removed++;
	return 0;
keep:
	run->live[PLAIT_FAMILY == 6]++;
	return 0;
}

#include "plait_family_end.h"
