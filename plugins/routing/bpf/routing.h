// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Routing: into a pod of this node, or where the kernel's own routing tables say.
 *
 * Stage: route   Maps: none   Constants: none
 */
#pragma once
#include <linux/errno.h>
#include "plait.h"

PLAIT_DROP_REASON(ROUTING_NO_ROUTE);

#define ROUTING_AF_INET 2
#define ROUTING_AF_INET6 10
#define ROUTING_SKIP_NEIGH 4 /* BPF_FIB_LOOKUP_SKIP_NEIGH, Linux 6.3 */

/* The kernel's routing table, without its neighbours: those are resolved when a packet leaves. An
 * older kernel insists on them, and then does not tell the MTU until they are known.
 */
static __always_inline long routing_lookup(plait_ctx *ctx, struct bpf_fib_lookup *fib)
{
	long found;

	fib->tot_len = 1; /* ask for the route's MTU, not only the device's */
	found = bpf_fib_lookup(ctx, fib, sizeof(*fib), ROUTING_SKIP_NEIGH);
	if (found != -EINVAL)
		return found;
	fib->tot_len = 0;
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

/* Out of the device and to the next hop that the kernel routes to. What only its stack can send, or
 * is for the node itself, is passed to it. Not inline: what it has on the stack is not there while
 * other stages run.
 */
static __noinline int routing_by_table(plait_ctx *ctx, struct plait_pkt *pkt,
				       struct plait_flow *flow)
{
	struct bpf_fib_lookup fib = { .ifindex = pkt->ifindex };
	struct plait_addr nexthop;
	__u8 asked;

	if (pkt->family == 4) {
		fib.family = ROUTING_AF_INET;
		fib.ipv4_src = pkt->saddr.w[3];
		fib.ipv4_dst = pkt->daddr.w[3];
	} else {
		fib.family = ROUTING_AF_INET6;
		__builtin_memcpy(fib.ipv6_src, &pkt->saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, &pkt->daddr, 16);
	}
	fib.l4_protocol = pkt->proto;
	asked = fib.family;

	switch (routing_lookup(ctx, &fib)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		break;
	case BPF_FIB_LKUP_RET_BLACKHOLE:
		return plait_drop(pkt, ROUTING_NO_ROUTE);
	case BPF_FIB_LKUP_RET_UNREACHABLE:
	case BPF_FIB_LKUP_RET_PROHIBIT:
		return plait_unreachable(pkt, ROUTING_NO_ROUTE);
	default:
		return plait_pass(pkt, flow);
	}
	if (fib.family != asked)
		return plait_pass(pkt, flow);

	if (pkt->family == 4)
		nexthop = plait_widen4(fib.ipv4_dst);
	else
		__builtin_memcpy(&nexthop, fib.ipv6_dst, 16);
	return plait_forward(pkt, flow, fib.ifindex, &nexthop, fib.mtu_result);
}

/* From a pod: to a pod here, or wherever the kernel routes to. */
static __always_inline int routing_from_pod(plait_ctx *ctx, struct plait_pkt *pkt,
					    struct plait_flow *flow)
{
	const struct plait_endpoint *endpoint = plait_endpoint(&pkt->daddr);

	return endpoint ? plait_deliver(pkt, flow, endpoint) : routing_by_table(ctx, pkt, flow);
}

/* From the wire: into a pod of this node, or where a translated flow goes from here. Anything else
 * is the host's own business.
 */
static __always_inline int routing_from_wire(plait_ctx *ctx, struct plait_pkt *pkt,
					     struct plait_flow *flow)
{
	const struct plait_endpoint *endpoint = plait_endpoint(&pkt->daddr);

	if (endpoint)
		return plait_deliver(pkt, flow, endpoint);
	return pkt->translated ? routing_by_table(ctx, pkt, flow) : plait_skip();
}

/* From the host's stack to the pod that it has routed to. */
static __always_inline int routing_from_host(plait_ctx *ctx, struct plait_pkt *pkt,
					     struct plait_flow *flow)
{
	return plait_pass(pkt, flow);
}
