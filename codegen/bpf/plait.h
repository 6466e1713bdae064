// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What a fragment may use. A fragment is a function of a plugin's header:
 *
 *	static __always_inline int f(plait_ctx *ctx, struct plait_pkt *pkt, struct plait_flow *flow
 *				     [, PART *part]);
 *
 * It runs when a flow is decided (stages admit and apply: for every packet). It reads the packet's
 * tuple in pkt, rewrites saddr, daddr, sport, dport there when the flow is to leave with others,
 * and returns PLAIT_NEXT for the next stage or what one of these returns:
 *
 * - plait_drop(pkt, REASON): drop, count the reason
 * - plait_reject(pkt, REASON): the same, and tell the sender: TCP reset, ICMP port unreachable
 * - plait_unreachable(pkt, REASON): the same, ICMP host unreachable
 * - plait_skip(): not ours: on to the host's stack, no flow is made
 * - plait_pass(pkt, flow): to the host's stack, as a flow
 * - plait_deliver(pkt, flow, endpoint): into a pod of this node
 * - plait_forward(pkt, flow, ...): out of a device to a next hop
 *
 * Besides, it may call
 *
 * - plait_masquerade(pkt): the flow leaves with an address of the node, from a port of its own
 *
 * and set pkt->third when it decides from something else than the packet's addresses.
 *
 * `ctx` is what the kernel handed to the program: helpers want it, the packet itself is in pkt.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "plait_addr.h"
#include "plait_flow.h"
#include "plait_maps.h"

/* An index that the verifier knows to be below size. The compiler knows, too, and would leave the
 * check out: "R0 max value is outside of the allowed memory range".
 */
static __always_inline __u32 plait_below(__u32 index, __u32 size)
{
	asm volatile("" : "+r"(index));
	return index < size ? index : 0;
}

/* A tunable that is set when the program is loaded; the verifier folds it. */
#define PLAIT_CONST(type, name, doc) \
	volatile const type name __attribute__((btf_decl_tag("plait:" doc)))

/* A drop reason of the plugin. The generator numbers it; alone, the header compiles with 0. */
#ifdef PLAIT_GENERATED
#define PLAIT_DROP_REASON(name) enum { name = PLAIT_REASON_##name }
#else
#define PLAIT_DROP_REASON(name) enum { name }
#endif

#define __maybe_unused __attribute__((unused))
/* A function that the verifier walks once, whatever it is called with. Weak, because the compiler
 * would leave arguments out that it sees unused: "arg#0 expects pointer to ctx".
 */
#define PLAIT_STEP __weak
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))
#define plait_likely(x) __builtin_expect(!!(x), 1)
#define plait_unlikely(x) __builtin_expect(!!(x), 0)

enum plait_verdict {
	PLAIT_NEXT,
	PLAIT_DONE,
	PLAIT_SKIP,
	PLAIT_DROP,
	PLAIT_REJECT,
	PLAIT_RACED, /* the engine's own: another CPU has made this flow meanwhile */
};

enum plait_packet_kind {
	PLAIT_PACKET_PLAIN,
	PLAIT_PACKET_FRAGMENT, /* not the first: has no ports of its own */
	PLAIT_PACKET_ICMP_ERROR, /* the tuple is that of the flow it is about */
	PLAIT_PACKET_OTHER, /* no flow can be made of it: only stage admit is asked */
};

/* What the kernel hands to a program. */
typedef struct __sk_buff plait_ctx;

/* Why the framework itself drops. */
PLAIT_DROP_REASON(PLAIT_FLOW_TABLE_FULL);
PLAIT_DROP_REASON(PLAIT_FLOW_CLASH);
PLAIT_DROP_REASON(PLAIT_HOPS_EXCEEDED);
PLAIT_DROP_REASON(PLAIT_TOO_BIG);
PLAIT_DROP_REASON(PLAIT_FORGED_SOURCE);
PLAIT_DROP_REASON(PLAIT_NO_ADDRESS);
PLAIT_DROP_REASON(PLAIT_PORTS_EXHAUSTED);

/* A packet on its way through the stages. */
struct plait_pkt {
	struct plait_addr saddr;
	struct plait_addr daddr;
	__be16 sport;
	__be16 dport;
	__u8 family; /* 4 or 6 */
	__u8 proto;
	__u8 tcp_flags; /* 0 when not TCP */
	__u8 kind; /* enum plait_packet_kind */
	bool from_far_end; /* of ICMP_ERROR: no router on the way, but whom the flow is with */
	__u16 l4; /* offset of the transport header in the frame */
	__u16 quoted_l4; /* of ICMP_ERROR: the same of the packet that it quotes */
	__u16 header; /* bytes from the IP header to the end of the transport header */
	__u32 ifindex; /* of the device that it is on */
	__u32 zone;
	__u32 reason; /* of PLAIT_DROP and PLAIT_REJECT */
	bool no_route; /* of PLAIT_REJECT: no way there, rather than nobody listening */

	/* When a flow decides again (known): where it went until now. */
	struct plait_addr last_daddr;
	__be16 last_dport;
	bool known;

	struct plait_addr third; /* a third address that the decision depends on: the new daddr */
	bool translated; /* from stage policy on: the flow leaves with another tuple than it comes */
	bool masquerade;

	/* The way out, set by deliver and forward. */
	union {
		struct plait_macs macs;
		struct plait_addr nexthop;
	};
	bool provisional; /* to be decided again by the next packet */
};

static __always_inline int plait_drop(struct plait_pkt *pkt, __u32 reason)
{
	pkt->reason = reason;
	return PLAIT_DROP;
}

static __always_inline int plait_reject(struct plait_pkt *pkt, __u32 reason)
{
	pkt->reason = reason;
	return PLAIT_REJECT;
}

static __always_inline int plait_unreachable(struct plait_pkt *pkt, __u32 reason)
{
	pkt->no_route = true;
	return plait_reject(pkt, reason);
}

/* Whoever answers, answers to this node: for what must come back the same way. Stages still see the
 * sender's own address.
 */
static __always_inline void plait_masquerade(struct plait_pkt *pkt)
{
	pkt->masquerade = true;
}

static __always_inline int plait_skip(void)
{
	return PLAIT_SKIP;
}

static __always_inline int plait_pass(struct plait_pkt *pkt, struct plait_flow *flow)
{
	flow->action = PLAIT_ACTION_PASS;
	flow->oif = PLAIT_ZONE_HOST;
	flow->mtu = 0xffff;
	return PLAIT_DONE;
}

static __always_inline int plait_deliver(struct plait_pkt *pkt, struct plait_flow *flow,
					 const struct plait_endpoint *endpoint)
{
	flow->action = endpoint->direct ? PLAIT_ACTION_DEVICE : PLAIT_ACTION_PEER;
	flow->oif = endpoint->ifindex;
	flow->mtu = endpoint->mtu;
	__builtin_memcpy(pkt->macs.dst, endpoint->mac, 6);
	__builtin_memcpy(pkt->macs.src, endpoint->host_mac, 6);
	return PLAIT_DONE;
}

/* `mtu` 0: the way is not known well enough yet, the next packet asks again. */
static __always_inline int plait_forward(struct plait_pkt *pkt, struct plait_flow *flow, __u32 oif,
					 const struct plait_addr *nexthop, __u16 mtu)
{
	if (plait_is_silent(nexthop, oif)) {
		pkt->provisional = true;
		return plait_pass(pkt, flow);
	}
	flow->action = PLAIT_ACTION_NEIGH;
	flow->oif = oif;
	flow->mtu = mtu ? mtu : 0xffff;
	pkt->provisional = !mtu;
	pkt->nexthop = *nexthop;
	return PLAIT_DONE;
}

static __always_inline bool plait_is_reply(const struct plait_flow *flow)
{
	return flow->flags & PLAIT_FLOW_REPLY;
}
