// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Quota: a flow to a listed destination ends after so many packets.
 *
 * Stages: policy, apply   Maps: quota_limits   Constants: quota_enforce   Flow part: quota_flow
 */
#pragma once
#include "plait.h"

PLAIT_CONST(bool, quota_enforce, "false: count packets, but let all of them pass");
PLAIT_DROP_REASON(QUOTA_USED_UP);

/* What the flow may send, when it is limited, and what it has sent. */
struct quota_flow {
	__u32 limit;
	__u32 sent;
	bool limited;
	__u8 pad[3];
};
_Static_assert(sizeof(struct quota_flow) == 12, "no hidden padding");

/* Destinations as they are after services were resolved. */
struct quota_key {
	struct plait_addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
};
_Static_assert(sizeof(struct quota_key) == 20, "hashed as bytes: no hidden padding");

struct quota_limit {
	__u32 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct quota_key);
	__type(value, struct quota_limit);
} quota_limits SEC(".maps");

/* Policy: when the flow is decided, note its limit. What it has sent before still counts. */
static __always_inline int quota_look_up(plait_ctx *ctx, struct plait_pkt *pkt,
					 struct plait_flow *flow, struct quota_flow *part)
{
	struct quota_key key = { .addr = pkt->daddr, .port = pkt->dport, .proto = pkt->proto };
	struct quota_limit *found = bpf_map_lookup_elem(&quota_limits, &key);

	part->limited = found;
	part->limit = found ? found->packets : 0;
	return PLAIT_NEXT;
}

/* Apply: every packet costs one. Replies are not the sender's to pay for. */
static __always_inline int quota_spend(plait_ctx *ctx, struct plait_pkt *pkt,
				       struct plait_flow *flow, struct quota_flow *part)
{
	if (!part->limited || plait_is_reply(flow))
		return PLAIT_NEXT;
	if (quota_enforce && part->sent >= part->limit)
		return plait_drop(pkt, QUOTA_USED_UP);
	part->sent++;
	return PLAIT_NEXT;
}
