// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The framework's own maps, shared by all hooks. */
#pragma once
#include "plait_flow.h"

/* Counters that make flows decide again: of everything, and of an address (by hash: two that
 * share a slot only cost each other a decision). Written by the control plane, after the maps.
 */
struct plait_revisions {
	__u32 all;
	__u32 handing_over; /* 1 while a generation with flow tables of its own takes over */
	__u32 slot[65536];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plait_revisions);
} plait_revs SEC(".maps");

static __always_inline struct plait_revisions *plait_revisions(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&plait_revs, &zero);
}

static __always_inline bool plait_handing_over(void)
{
	const struct plait_revisions *revs = plait_revisions();

	return revs && revs->handing_over;
}

/* The slot of an address. Source of the multiplier: Knuth, TAOCP 6.4 (golden ratio). */
static __always_inline __u16 plait_slot(const struct plait_addr *addr)
{
	__u32 folded = addr->w[0] * 31 + addr->w[1] * 17 + addr->w[2] * 7 + addr->w[3];

	return folded * 0x9e3779b1u >> 16;
}

/* The value in a map that only says what is in it. */
struct plait_listed {
	__u32 unused;
};

/* Workloads with an interface on this node, by address. */
struct plait_endpoint_key {
	struct plait_addr addr;
};

struct plait_endpoint {
	__u32 ifindex;
	__u16 mtu;
	__u8 mac[6]; /* the pod's */
	__u8 host_mac[6];
	bool direct; /* the interface has no other end in a pod: it is a virtual machine's, say */
	__u8 pad;
};
_Static_assert(sizeof(struct plait_endpoint) == 20, "no hidden padding");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct plait_endpoint_key);
	__type(value, struct plait_endpoint);
} plait_endpoints SEC(".maps");

static __always_inline struct plait_endpoint *plait_endpoint(const struct plait_addr *addr)
{
	return bpf_map_lookup_elem(&plait_endpoints, addr);
}

/* The node's own addresses. Packets from outside do not come from them. */
struct plait_local_key {
	struct plait_addr addr;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct plait_local_key);
	__type(value, struct plait_listed);
} plait_locals SEC(".maps");

static __always_inline bool plait_is_local(const struct plait_addr *addr)
{
	return bpf_map_lookup_elem(&plait_locals, addr);
}

/* The node: the cookie of its network namespace and, of its addresses, those by which it speaks:
 * the source of ICMP errors that it owes as a router, and of masqueraded flows. Unspecified when it
 * has none.
 */
struct plait_node {
	struct plait_addr addr4;
	struct plait_addr addr6;
	__u64 netns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plait_node);
} plait_nodes SEC(".maps");

static __always_inline const struct plait_node *plait_node(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&plait_nodes, &zero);
}

/* Next hops that do not answer. The host's stack has what goes there: it asks for them again, and
 * tells the sender when that is in vain, as a router owes it.
 */
struct plait_hop_key {
	struct plait_addr addr;
	__u32 ifindex; /* of the device that it would be behind */
};
_Static_assert(sizeof(struct plait_hop_key) == 20, "hashed as bytes: no hidden padding");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct plait_hop_key);
	__type(value, struct plait_listed);
} plait_silent SEC(".maps");

static __always_inline bool plait_is_silent(const struct plait_addr *nexthop, __u32 ifindex)
{
	struct plait_hop_key key = { .addr = *nexthop, .ifindex = ifindex };

	return bpf_map_lookup_elem(&plait_silent, &key);
}

/* Dropped packets by reason. */
struct plait_drop_key {
	__u32 reason;
};

struct plait_drop_count {
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct plait_drop_key);
	__type(value, struct plait_drop_count);
} plait_drops SEC(".maps");

static __always_inline void plait_count_drop(__u32 reason)
{
	struct plait_drop_key key = { .reason = reason };
	struct plait_drop_count first = { .packets = 1 };
	struct plait_drop_count *count = bpf_map_lookup_elem(&plait_drops, &key);

	if (count)
		count->packets++;
	else
		bpf_map_update_elem(&plait_drops, &key, &first, BPF_NOEXIST);
}

/* Ports of a fragmented packet, from its first fragment, for those that follow. */
struct plait_frag_key {
	struct plait_addr saddr;
	struct plait_addr daddr;
	__u32 id;
	__u32 zone_proto;
};
_Static_assert(sizeof(struct plait_frag_key) == 40, "hashed as bytes: no hidden padding");

struct plait_frag_ports {
	__be16 sport;
	__be16 dport;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct plait_frag_key);
	__type(value, struct plait_frag_ports);
} plait_frags SEC(".maps");
