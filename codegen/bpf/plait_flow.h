// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A flow: one direction of one connection, decided once and applied to every packet.
 *
 * Both directions of a connection have an entry of their own, and each holds the whole tuple that
 * its packets leave with, so the key of the other one (the peer) is that tuple turned around.
 */
#pragma once
#include "plait_addr.h"

/* Enums of a byte: fields of these types carry their names to whoever reads the object's BTF. */
#define PLAIT_BYTE __attribute__((packed))

enum plait_action {
	PLAIT_ACTION_NONE, /* not decided yet: the reply's entry before the first reply */
	PLAIT_ACTION_PASS, /* to the host's stack, or on to the pod when it comes from there */
	PLAIT_ACTION_PEER, /* into the pod behind oif */
	PLAIT_ACTION_NEIGH, /* out of oif to the next hop */
	PLAIT_ACTION_DEVICE, /* out of oif, to the workload that is right there */
} PLAIT_BYTE;

enum plait_flow_flag {
	PLAIT_FLOW_REPLY = 1 << 0, /* the direction that answers */
	PLAIT_FLOW_REWRITE = 1 << 1, /* the tuple that leaves differs from the one that comes */
	PLAIT_FLOW_SETTLED = 1 << 2, /* no packet without SYN, FIN, RST changes the state */
	PLAIT_FLOW_FIN_SEEN = 1 << 3, /* this direction has sent its FIN */
	PLAIT_FLOW_TO_HOST = 1 << 4, /* a reply to what came through the host's stack */
	PLAIT_FLOW_RST_SEEN = 1 << 5, /* this direction has sent a RST, or somebody in its name */
} PLAIT_BYTE;

/* Connection states, with Linux conntrack's names; plait_timeouts has their idle times. */
enum plait_state {
	PLAIT_STATE_NONE,
	PLAIT_STATE_SYN_SENT,
	PLAIT_STATE_SYN_RECV,
	PLAIT_STATE_ESTABLISHED,
	PLAIT_STATE_FIN_WAIT,
	PLAIT_STATE_CLOSE_WAIT,
	PLAIT_STATE_LAST_ACK,
	PLAIT_STATE_TIME_WAIT,
	PLAIT_STATE_CLOSE,
	PLAIT_STATE_UDP_UNREPLIED,
	PLAIT_STATE_UDP_STREAM,
	PLAIT_STATE_ICMP,
	PLAIT_STATE_PICKED_UP, /* met in the middle, not answered yet */
	PLAIT_STATE_COUNT,
} PLAIT_BYTE;

/* What core and fragments know of a flow, whatever its family. One cache line for IPv4, together
 * with the tuple and the next hop that follow it in the table.
 */
struct plait_flow {
	__u32 stamp; /* sum of the revisions it was decided from; 0: never decided */
	__u16 deps[3]; /* slots of these revisions */
	enum plait_action action;
	enum plait_flow_flag flags; /* any of them */
	enum plait_state state;
	__u8 pad;
	__u16 mtu; /* of the way out, bytes from the IP header on */
	__u32 oif; /* PEER, NEIGH: way out; else the zone that the other direction comes from */
	__u32 seen; /* jiffies of the last packet */
	__u64 packets;
	__u64 bytes;
};
_Static_assert(sizeof(struct plait_flow) == 40, "leaves room for tuple and next hop in a line");

/* A flow's key names where its packets enter: the host-side interface of a pod, an uplink, or the
 * host's own stack, so that no pod reaches a flow of another one by forging its addresses, and
 * each entry is decided and applied at one hook.
 */
#define PLAIT_ZONE_OUTSIDE 0
#define PLAIT_ZONE_HOST 0xffffff
#define PLAIT_ZONE_PROTO(zone, proto) ((__u32)(zone) << 8 | (proto))

/* Where packets of the other direction enter. A reply that the host's stack has to send (action
 * PASS), as no route was found for it, may be one to outside.
 */
static __always_inline __u32 plait_far_zone(const struct plait_flow *flow)
{
	if (flow->action == PLAIT_ACTION_NEIGH)
		return PLAIT_ZONE_OUTSIDE;
	if (flow->oif == PLAIT_ZONE_HOST && flow->flags & PLAIT_FLOW_REPLY &&
	    !(flow->flags & PLAIT_FLOW_TO_HOST))
		return PLAIT_ZONE_OUTSIDE;
	return flow->oif;
}

struct plait_key4 {
	plait_ip4 saddr;
	plait_ip4 daddr;
	__be16 sport;
	__be16 dport;
	__u32 zone_proto; /* PLAIT_ZONE_PROTO */
};
_Static_assert(sizeof(struct plait_key4) == 16, "hashed as bytes: no hidden padding");

struct plait_key6 {
	plait_ip6 saddr;
	plait_ip6 daddr;
	__be16 sport;
	__be16 dport;
	__u32 zone_proto;
};
_Static_assert(sizeof(struct plait_key6) == 40, "hashed as bytes: no hidden padding");

struct plait_tuple4 {
	plait_ip4 saddr;
	plait_ip4 daddr;
	__be16 sport;
	__be16 dport;
};

struct plait_tuple6 {
	plait_ip6 saddr;
	plait_ip6 daddr;
	__be16 sport;
	__be16 dport;
};

/* Ethernet addresses of PEER, next hop of NEIGH. */
struct plait_macs {
	__u8 dst[6];
	__u8 src[6];
};

union plait_via4 {
	struct plait_macs macs;
	plait_ip4 nexthop;
};

/* As in struct bpf_redir_neigh, so that the helper reads it in place. */
struct plait_nexthop6 {
	__u32 family;
	plait_ip6 addr;
};

union plait_via6 {
	struct plait_macs macs;
	struct plait_nexthop6 nexthop;
};
