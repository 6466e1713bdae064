// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Forgetting idle flows, inside the kernel: a program that the agent runs now and then.
 *
 * A connection goes when a pod of it is gone. It is idle when both of its directions are. Under
 * pressure (percent of the usual idle times, below 100) those that nobody has answered go first.
 */
#pragma once
#include "plait_track.h"

struct bpf_map;

/* What the agent hands over and gets back (the program's context). */
struct plait_gc_run {
	__u64 jiffies; /* out: now */
	__u32 hz; /* in: jiffies a second; 0 only counts */
	__u32 percent; /* in: of the idle times of flows that are not established */
	__u32 live[2]; /* out: entries looked at and kept, of IPv4 and of IPv6 */
	__u32 removed; /* out */
	__u32 sweep; /* in: 1 also forgets flows of pods that are gone, however fresh */
};

static __always_inline bool plait_is_idle(const struct plait_flow *flow,
					  const struct plait_gc_run *run)
{
	/* Below 0 when a packet has come since the run began, on another CPU. */
	__s64 idle = (__s32)((__u32)run->jiffies - flow->seen);
	__s64 timeout;

	if (flow->state >= PLAIT_STATE_COUNT)
		return true;
	timeout = (__s64)plait_timeouts[flow->state] * run->hz;
	if (flow->state != PLAIT_STATE_ESTABLISHED && flow->state != PLAIT_STATE_UDP_STREAM)
		timeout = (__u64)timeout * run->percent / 100;
	return idle > timeout;
}

/* True when `zone` is a pod's, but no longer that of the pod with this address. */
static __always_inline bool plait_is_left(__u32 zone, const struct plait_addr *addr)
{
	const struct plait_endpoint *endpoint;

	if (zone == PLAIT_ZONE_OUTSIDE || zone == PLAIT_ZONE_HOST)
		return false;
	endpoint = plait_endpoint(addr);
	return !endpoint || endpoint->ifindex != zone;
}
