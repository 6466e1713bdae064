// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Load balancing: a flow to a service's address goes to one of its backends, and stays there.
 *
 * Stage: service   Maps: lb_services, lb_maglev, lb_slots, lb_members   Flow part: lb_flow
 */
#pragma once
#include "plait.h"
#include "lb_flow.h"

/* For an editor: the generator sets these. */
#ifndef LB_TABLE_SIZE
#define LB_TABLE_SIZE 1021
#endif
#ifndef LB_FEW
#define LB_FEW 6
#endif

PLAIT_DROP_REASON(LB_NO_BACKEND);

enum lb_algorithm {
	LB_RANDOM,
	LB_MAGLEV,
};

/* Where services are reached. A count of 0 refuses new flows: no backend is ready. */
struct lb_service_key {
	struct plait_addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
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
	__u32 count; /* of the backends that are ready */
	__u8 algorithm; /* enum lb_algorithm */
	bool many; /* too many to be held here */
	__u8 pad[2];
	__u32 seed[LB_FEW]; /* a hash of each of the few: what flows rank them by */
	struct lb_backend few[LB_FEW]; /* those that are ready come first; zeros follow */
};
_Static_assert(sizeof(struct lb_service) == 16 + 24 * LB_FEW, "no hidden padding");

/* Of a service of many: the backend in each slot, slots counted from 0. */
struct lb_slot_key {
	__u64 service;
	__u32 slot;
	__u32 pad;
};
_Static_assert(sizeof(struct lb_slot_key) == 16, "hashed as bytes: no hidden padding");

/* Of a service of many: the backends that keep the flows they have, ready for new ones or not. */
struct lb_member_key {
	__u64 service;
	struct plait_addr addr;
	__be16 port;
	__u8 pad[6];
};
_Static_assert(sizeof(struct lb_member_key) == 32, "hashed as bytes: no hidden padding");

struct lb_member {
	__u32 number; /* those that are ready come first */
};

/* Of a service of many: the slots that hashes of flows lead to. */
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

/* Source: MurmurHash3's finalizer. */
static __always_inline __u32 lb_mix(__u32 hash)
{
	hash = (hash ^ hash >> 16) * 0x85ebca6bu;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
	return hash ^ hash >> 16;
}

/* A flow's tuple as a number, the same on every node; its bits are yet to be mixed. */
static __always_inline __u32 lb_fold(const struct plait_pkt *pkt)
{
	__u32 from = pkt->saddr.w[0] ^ pkt->saddr.w[1] * 3 ^ pkt->saddr.w[2] * 5 ^ pkt->saddr.w[3];

	return (from ^ pkt->daddr.w[3] * 0x9e3779b1u) + ((__u32)pkt->sport << 16 | pkt->dport);
}

/* From a hash to 0 .. size - 1. Source: Lemire, "Fast random integer generation in an interval". */
static __always_inline __u32 lb_scale(__u32 hash, __u32 size)
{
	return plait_below((__u64)hash * size >> 32, size);
}

/* A flow that asks for a backend. */
struct lb_ask {
	__u32 tuple; /* lb_fold */
	bool balanced; /* it has one already, which `backend` names */
	__u8 pad[3];
	struct lb_backend backend; /* in: where the flow goes until now; out: where it goes */
};

static __always_inline bool lb_same(const struct lb_backend *a, const struct lb_backend *b)
{
	return plait_addr_same(&a->addr, &b->addr) && a->port == b->port;
}

static __always_inline bool lb_few_have(const struct lb_service *service,
					const struct lb_backend *backend)
{
	__u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < LB_FEW; i++)
		if (lb_same(&service->few[i], backend))
			return true;
	return false;
}

static __always_inline bool lb_many_have(const struct lb_service *service,
					 const struct lb_backend *backend)
{
	struct lb_member_key key = {
		.service = service->id,
		.addr = backend->addr,
		.port = backend->port,
	};

	return bpf_map_lookup_elem(&lb_members, &key);
}

/* The index of the backend that the flow ranks highest: it stays so when another one goes, and when
 * one comes that the flow does not rank higher. Source: Thaler and Ravishankar, "Using Name-Based
 * Mappings to Increase Hit Rates", IEEE/ACM ToN 1998 (highest random weight).
 */
static __always_inline __u32 lb_highest(const struct lb_service *service, __u32 hash)
{
	__u32 highest = 0, index = 0, rank, i;

	for (i = 0; i < LB_FEW && i < service->count; i++) {
		rank = lb_mix(hash ^ service->seed[i]);
		if (rank >= highest) {
			highest = rank;
			index = i;
		}
	}
	return index;
}

static __always_inline const struct lb_backend *lb_one_of_few(const struct lb_service *service,
							      __u32 hash)
{
	__u32 chosen = service->algorithm == LB_MAGLEV ?
			       lb_highest(service, hash) :
			       lb_scale(bpf_get_prandom_u32(), service->count);

	return &service->few[plait_below(chosen, LB_FEW)];
}

static __always_inline __u32 lb_slot(const struct lb_service *service, __u32 hash)
{
	struct lb_maglev_key key = { .service = service->id };
	struct lb_maglev *table;

	if (service->algorithm == LB_MAGLEV) {
		table = bpf_map_lookup_elem(&lb_maglev, &key);
		if (table)
			return table->slot[lb_scale(hash, LB_TABLE_SIZE)];
	}
	return lb_scale(bpf_get_prandom_u32(), service->count);
}

static __always_inline const struct lb_backend *lb_one_of_many(const struct lb_service *service,
							       __u32 hash)
{
	struct lb_slot_key key = { .service = service->id, .slot = lb_slot(service, hash) };
	struct lb_backend *backend = bpf_map_lookup_elem(&lb_slots, &key);

	if (!backend) {
		/* It went between the two look-ups; the first slot goes last. */
		key.slot = 0;
		backend = bpf_map_lookup_elem(&lb_slots, &key);
	}
	return backend;
}

/* Choose a backend; false when there is none. */
PLAIT_STEP bool lb_choose(const struct lb_service *service, struct lb_ask *ask)
{
	const struct lb_backend *chosen;
	__u32 hash;
	bool many;

	if (!service || !ask)
		return false;
	many = service->many;
	if (ask->balanced &&
	    (many ? lb_many_have(service, &ask->backend) : lb_few_have(service, &ask->backend)))
		return true;
	if (!service->count)
		return false;

	hash = lb_mix(ask->tuple);
	chosen = many ? lb_one_of_many(service, hash) : lb_one_of_few(service, hash);
	if (!chosen)
		return false;
	ask->backend = *chosen;
	return true;
}

static __always_inline int lb_service(plait_ctx *ctx, struct plait_pkt *pkt,
				      struct plait_flow *flow, struct lb_flow *part)
{
	struct lb_service_key key = { .addr = pkt->daddr, .port = pkt->dport, .proto = pkt->proto };
	struct lb_service *service = bpf_map_lookup_elem(&lb_services, &key);
	struct lb_ask ask = { .backend = { .addr = pkt->last_daddr, .port = pkt->last_dport } };

	/* A service that is gone leaves its flows the backends that they have. */
	if (!service && !(pkt->known && part->service))
		return PLAIT_NEXT;
	if (service) {
		ask.tuple = lb_fold(pkt);
		ask.balanced = pkt->known && part->service; /* whatever it was called then */
		if (!lb_choose(service, &ask))
			return plait_reject(pkt, LB_NO_BACKEND);
		part->service = service->id;
	}
	pkt->daddr = ask.backend.addr;
	pkt->dport = ask.backend.port;
	/* Who is balanced to itself must not see its own address: it hears from the service. */
	if (plait_addr_same(&pkt->daddr, &pkt->saddr))
		pkt->saddr = key.addr;
	return PLAIT_NEXT;
}
