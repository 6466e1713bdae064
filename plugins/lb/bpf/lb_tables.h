// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Load balancing: where services are reached, and who serves them. Written by the control plane,
 * but for lb_affinity.
 */
#pragma once
#include "plait.h"

/* For an editor: the generator sets these. */
#ifndef LB_FEW
#define LB_FEW 6
#endif
#ifndef LB_GROUP
#define LB_GROUP 40
#endif
#ifndef LB_CHUNK
#define LB_CHUNK 992
#endif

enum lb_algorithm {
	LB_RANDOM,
	LB_MAGLEV,
};

enum lb_side {
	LB_ANYWHERE,
	LB_OUTSIDE, /* for who asks from another machine, where this makes a difference */
};

enum lb_flag {
	LB_MANY = 1 << 0, /* too many backends to be held in the service itself */
	LB_SPLIT = 1 << 1, /* others serve who asks from outside: see the key with LB_OUTSIDE */
	LB_RANGES = 1 << 2, /* serves clients of lb_ranges only */
	LB_CHOSEN = 1 << 3, /* is reached by those of the node's addresses that are chosen */
	LB_ELSEWHERE = 1 << 4, /* without a backend here it has some on other nodes */
};

/* Where a service is reached. A port of the node itself is one of the unspecified address,
 * whichever of the node's addresses is asked.
 */
struct lb_service_key {
	struct plait_addr addr;
	__be16 port;
	__u8 proto;
	__u8 side; /* enum lb_side */
};
_Static_assert(sizeof(struct lb_service_key) == 20, "hashed as bytes: no hidden padding");

struct lb_backend {
	struct plait_addr addr;
	__be16 port;
	__u16 pad;
};
_Static_assert(sizeof(struct lb_backend) == 20, "no hidden padding");

/* A service of few backends holds them itself: a flow that is decided reads a few neighbouring
 * lines here and nothing else. Six are what fills the 256 bytes that the kernel has for an element.
 */
struct lb_service {
	__u64 id;
	__u32 count; /* of the backends that take new flows; 0 refuses them */
	__u32 affinity; /* seconds that a client stays with its backend; 0: it does not */
	__u16 table; /* slots of its Maglev table; 0: it has none */
	__u8 algorithm; /* enum lb_algorithm */
	__u8 flags; /* enum lb_flag, any of them */
	__u32 total; /* of the backends, also those that only keep the flows that they have */
	__u32 version; /* of its groups and its table */
	__u32 pad;
	__u32 seed[LB_FEW]; /* a hash of each of the few: what flows rank them by */
	struct lb_backend few[LB_FEW]; /* those that take new flows come first; zeros follow */
};
_Static_assert(sizeof(struct lb_service) == 32 + 24 * LB_FEW, "no hidden padding");

/* Of a service of many: its backends by number, so many at a time. All groups and the table change
 * their version with any change: whoever has read a service meets those that belong to it. Those
 * that take new flows come first, then those that only keep theirs; each of the two in order of
 * address and port.
 */
struct lb_group_key {
	__u64 service;
	__u32 group;
	__u32 version;
};
_Static_assert(sizeof(struct lb_group_key) == 16, "hashed as bytes: no hidden padding");

struct lb_group {
	__u32 seed[LB_GROUP]; /* as of the few, where a single group takes new flows; else zeros */
	struct lb_backend backend[LB_GROUP]; /* zeros follow the last one */
};

/* Of a service of more than a group, and of one with weights: the backends that hashes of flows
 * lead to, so many at a time.
 */
struct lb_maglev_key {
	__u64 service;
	__u32 chunk;
	__u32 version;
};
_Static_assert(sizeof(struct lb_maglev_key) == 16, "hashed as bytes: no hidden padding");

struct lb_maglev {
	__u16 number[LB_CHUNK];
};

/* Addresses that are a service's own, so that it refuses ports which it does not serve, or the
 * node's.
 */
struct lb_address_key {
	struct plait_addr addr;
};

struct lb_address {
	bool node;
	bool chosen; /* one of the node's by which NodePorts are reached */
	__u8 pad[2];
};

/* Clients that a service with LB_RANGES has. */
struct lb_range_key {
	__u32 prefix; /* bits that count, of what follows */
	__u8 service[8]; /* lb_service.id, in host order */
	struct plait_addr addr;
};
_Static_assert(sizeof(struct lb_range_key) == 28, "compared as bytes: no hidden padding");

/* Which backend a client of a service with affinity has. */
struct lb_affinity_key {
	__u64 service;
	struct plait_addr client;
};

struct lb_affinity {
	__u64 seen; /* nanoseconds since boot, when it last opened a flow */
	struct lb_backend backend;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_group_key);
	__type(value, struct lb_group);
} lb_groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_maglev_key);
	__type(value, struct lb_maglev);
} lb_maglev SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_range_key);
	__type(value, struct plait_listed);
} lb_ranges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_service_key);
	__type(value, struct lb_service);
} lb_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_address_key);
	__type(value, struct lb_address);
} lb_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct lb_affinity_key);
	__type(value, struct lb_affinity);
} lb_affinity SEC(".maps");
