// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Load balancing: a flow to a service's address goes to one of its backends, and stays there.
 *
 * Stage: service   Maps: lb_services, lb_maglev, lb_slots, lb_members   Flow part: lb_flow
 */
#pragma once
#include "plait.h"

#ifndef LB_TABLE_SIZE
#define LB_TABLE_SIZE 1021 /* for an editor: the generator sets it from the config */
#endif

PLAIT_DROP_REASON(LB_NO_BACKEND);

enum lb_algorithm {
	LB_RANDOM,
	LB_MAGLEV,
};

/* The service that a flow was balanced for, 0 for none. */
struct lb_flow {
	__u64 service;
};

/* Where services are reached. A count of 0 refuses: no backend is ready. */
struct lb_service_key {
	struct plait_addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
};
_Static_assert(sizeof(struct lb_service_key) == 20, "hashed as bytes: no hidden padding");

struct lb_service {
	__u64 id;
	__u32 count;
	__u8 algorithm; /* enum lb_algorithm */
	__u8 pad[3];
};
_Static_assert(sizeof(struct lb_service) == 16, "no hidden padding");

/* The backend in each slot of a service, slots counted from 0. */
struct lb_slot_key {
	__u64 service;
	__u32 slot;
	__u32 pad;
};
_Static_assert(sizeof(struct lb_slot_key) == 16, "hashed as bytes: no hidden padding");

struct lb_backend {
	struct plait_addr addr;
	__be16 port;
	__u16 pad;
};
_Static_assert(sizeof(struct lb_backend) == 20, "no hidden padding");

/* Which backends still serve: a flow that decides again keeps one that does. */
struct lb_member_key {
	__u64 service;
	struct plait_addr addr;
	__be16 port;
	__u8 pad[6];
};
_Static_assert(sizeof(struct lb_member_key) == 32, "hashed as bytes: no hidden padding");

struct lb_member {
	__u32 slot;
};

/* The slots that hashes of flows lead to. */
struct lb_maglev_key {
	__u64 service;
};

struct lb_maglev {
	__u16 slot[LB_TABLE_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_slot_key);
	__type(value, struct lb_backend);
} lb_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_member_key);
	__type(value, struct lb_member);
} lb_members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_maglev_key);
	__type(value, struct lb_maglev);
} lb_maglev SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_service_key);
	__type(value, struct lb_service);
} lb_services SEC(".maps");

/* The same for the same tuple on every node. Source of the mixer: MurmurHash3's finalizer. */
static __always_inline __u32 lb_hash(const struct plait_pkt *pkt)
{
	__u32 hash = pkt->saddr.w[0] ^ pkt->saddr.w[1] * 3 ^ pkt->saddr.w[2] * 5 ^ pkt->saddr.w[3];

	hash = (hash ^ pkt->daddr.w[3] * 0x9e3779b1u) + ((__u32)pkt->sport << 16 | pkt->dport);
	hash = (hash ^ hash >> 16) * 0x85ebca6bu;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
	return hash ^ hash >> 16;
}

/* From a hash to 0 .. size - 1. Source: Lemire, "Fast random integer generation in an interval". */
static __always_inline __u32 lb_scale(__u32 hash, __u32 size)
{
	return plait_below((__u64)hash * size >> 32, size);
}

static __always_inline __u32 lb_choose(const struct plait_pkt *pkt,
				       const struct lb_service *service)
{
	struct lb_maglev_key key = { .service = service->id };
	struct lb_maglev *table;

	if (service->algorithm == LB_MAGLEV) {
		table = bpf_map_lookup_elem(&lb_maglev, &key);
		if (table)
			return table->slot[lb_scale(lb_hash(pkt), LB_TABLE_SIZE)];
	}
	return lb_scale(bpf_get_prandom_u32(), service->count);
}

/* True when the flow was balanced before, to a backend that still serves. */
static __always_inline bool lb_keeps(const struct plait_pkt *pkt, const struct lb_flow *part,
				     const struct lb_service *service)
{
	struct lb_member_key key = {
		.service = service->id,
		.addr = pkt->last_daddr,
		.port = pkt->last_dport,
	};

	return pkt->known && part->service == service->id && bpf_map_lookup_elem(&lb_members, &key);
}

static __always_inline int lb_service(plait_ctx *ctx, struct plait_pkt *pkt,
				      struct plait_flow *flow, struct lb_flow *part)
{
	struct lb_service_key key = { .addr = pkt->daddr, .port = pkt->dport, .proto = pkt->proto };
	struct lb_slot_key slot = {};
	struct lb_service *service;
	struct lb_backend *backend;

	service = bpf_map_lookup_elem(&lb_services, &key);
	if (!service) {
		/* The service is gone: its flows go on to the backends that they have. */
		if (pkt->known && part->service) {
			pkt->daddr = pkt->last_daddr;
			pkt->dport = pkt->last_dport;
		}
		return PLAIT_NEXT;
	}

	if (lb_keeps(pkt, part, service)) {
		pkt->daddr = pkt->last_daddr;
		pkt->dport = pkt->last_dport;
		return PLAIT_NEXT;
	}
	if (!service->count)
		return plait_reject(pkt, LB_NO_BACKEND);

	slot.service = service->id;
	slot.slot = lb_choose(pkt, service);
	backend = bpf_map_lookup_elem(&lb_slots, &slot);
	if (!backend) {
		/* It went between the two look-ups; the first slot goes last. */
		slot.slot = 0;
		backend = bpf_map_lookup_elem(&lb_slots, &slot);
	}
	if (!backend)
		return plait_reject(pkt, LB_NO_BACKEND);
	part->service = service->id;
	pkt->daddr = backend->addr;
	pkt->dport = backend->port;
	return PLAIT_NEXT;
}
