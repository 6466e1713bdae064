// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Guard: connections to listed addresses are refused, and packets that are no flow's.
 *
 * Stages: admit, policy   Maps: guard_refused
 */
#pragma once
#include "plait.h"

PLAIT_DROP_REASON(GUARD_REFUSED);
PLAIT_DROP_REASON(GUARD_NO_FLOW);

struct guard_key {
	struct plait_addr addr;
};

struct guard_value {
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct guard_key);
	__type(value, struct guard_value);
} guard_refused SEC(".maps");

static __always_inline int guard_admit(plait_ctx *ctx, struct plait_pkt *pkt,
				       struct plait_flow *flow)
{
	return pkt->kind == PLAIT_PACKET_OTHER ? plait_drop(pkt, GUARD_NO_FLOW) : PLAIT_NEXT;
}

static __always_inline bool guard_refuses(const struct plait_pkt *pkt)
{
	struct guard_key key = { .addr = pkt->daddr };

	return bpf_map_lookup_elem(&guard_refused, &key);
}

static __always_inline int guard_drop(plait_ctx *ctx, struct plait_pkt *pkt,
				      struct plait_flow *flow)
{
	return guard_refuses(pkt) ? plait_drop(pkt, GUARD_REFUSED) : PLAIT_NEXT;
}

static __always_inline int guard_reject(plait_ctx *ctx, struct plait_pkt *pkt,
					struct plait_flow *flow)
{
	return guard_refuses(pkt) ? plait_reject(pkt, GUARD_REFUSED) : PLAIT_NEXT;
}
