// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Load balancing: which service is asked, and which of its backends answers. Knows no packet: flows
 * and sockets ask alike.
 *
 * Maps: see lb_tables.h   Constants: lb_refuse
 */
#pragma once
#include "plait.h"
#include "lb_tables.h"

PLAIT_CONST(bool, lb_refuse, "a service's address refuses ports that it does not serve");

/* Who asks for a backend. */
struct lb_ask {
	struct plait_addr client;
	__u32 hash; /* of who asks, the same on every node; its bits are yet to be mixed */
	bool balanced; /* it has a backend already, which `backend` names */
	bool steady; /* who asks with the same hash is to have the same, whatever the algorithm */
	__u8 pad[2];
	struct lb_backend backend; /* in: where the flow goes until now; out: where it goes */
};

enum lb_answer {
	LB_CHOSE, /* the backend in `backend` */
	LB_KEPT, /* the same, which the flow had before */
	LB_GONE, /* the backend that the flow had is none any more */
	LB_NOBODY,
};

/* Source: MurmurHash3's finalizer. */
static __always_inline __u32 lb_mix(__u32 hash)
{
	hash = (hash ^ hash >> 16) * 0x85ebca6bu;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
	return hash ^ hash >> 16;
}

/* From a hash to 0 .. size - 1. Source: Lemire, "Fast random integer generation in an interval". */
static __always_inline __u32 lb_scale(__u32 hash, __u32 size)
{
	return plait_below((__u64)hash * size >> 32, size);
}

static __always_inline bool lb_same(const struct lb_backend *a, const struct lb_backend *b)
{
	return plait_addr_same(&a->addr, &b->addr) && a->port == b->port;
}

enum lb_owner {
	LB_SOMEBODY,
	LB_SERVICE,
	LB_NODE,
};

/* 0.0.0.0 or ::, which stands for all addresses of the node. */
static __always_inline struct plait_addr lb_unspecified(const struct plait_addr *like)
{
	if (!like->w[0] && !like->w[1] && like->w[2] == bpf_htonl(0xffff))
		return plait_widen4(0);
	return (struct plait_addr){};
}

/* The service that is asked, NULL for none: then `owner` says whose address it is. */
static __always_inline const struct lb_service *lb_find(const struct plait_addr *addr, __be16 port,
							__u8 proto, bool outside,
							enum lb_owner *owner)
{
	struct lb_service_key key = { .addr = *addr, .port = port, .proto = proto };
	const struct lb_service *service = bpf_map_lookup_elem(&lb_services, &key);
	const struct lb_address *asked;

	if (!service) {
		asked = bpf_map_lookup_elem(&lb_addresses, addr);
		if (!asked)
			return NULL;
		*owner = asked->node ? LB_NODE : LB_SERVICE;
		if (!asked->node)
			return NULL;
		key.addr = lb_unspecified(addr);
		service = bpf_map_lookup_elem(&lb_services, &key);
		if (!service || (service->flags & LB_CHOSEN && !asked->chosen))
			return NULL;
	}
	if (outside && service->flags & LB_SPLIT) {
		key.side = LB_OUTSIDE;
		service = bpf_map_lookup_elem(&lb_services, &key);
	}
	return service;
}

static __always_inline bool lb_serves_client(const struct lb_service *service,
					     const struct plait_addr *client)
{
	struct lb_range_key key = { .prefix = 8 * (sizeof(key) - sizeof(key.prefix)),
				    .addr = *client };

	__builtin_memcpy(key.service, &service->id, sizeof(key.service));
	return !(service->flags & LB_RANGES) || bpf_map_lookup_elem(&lb_ranges, &key);
}

/* The number of a backend of this service, those that take new flows first; below 0: none of it. */
static __always_inline int lb_number(const struct lb_service *service,
				     const struct lb_backend *backend)
{
	struct lb_member_key key = {
		.service = service->id,
		.addr = backend->addr,
		.port = backend->port,
	};
	const struct lb_member *member;
	int i;

	if (service->flags & LB_MANY) {
		member = bpf_map_lookup_elem(&lb_members, &key);
		return member ? (int)member->number : -1;
	}
#pragma clang loop unroll(disable)
	for (i = 0; i < LB_FEW; i++)
		if (lb_same(&service->few[i], backend))
			return i;
	return -1;
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
							      __u32 hash, bool random)
{
	__u32 chosen = random ? lb_scale(bpf_get_prandom_u32(), service->count) :
				lb_highest(service, hash);

	return &service->few[plait_below(chosen, LB_FEW)];
}

/* A table gives each backend its weight: who chooses at random does so among its slots. */
static __always_inline __u32 lb_slot(const struct lb_service *service, __u32 hash, bool random)
{
	struct lb_maglev_key key = { .service = service->id };
	const struct lb_maglev *table;
	__u32 place;

	if (random)
		hash = bpf_get_prandom_u32();
	if (!service->table)
		return lb_scale(hash, service->count);
	place = lb_scale(hash, service->table);
	key.chunk = place / LB_CHUNK;
	table = bpf_map_lookup_elem(&lb_maglev, &key);
	return table ? table->slot[plait_below(place % LB_CHUNK, LB_CHUNK)] : 0;
}

static __always_inline const struct lb_backend *lb_one_of_many(const struct lb_service *service,
							       __u32 hash, bool random)
{
	struct lb_slot_key key = {
		.service = service->id,
		.slot = lb_slot(service, hash, random),
	};
	const struct lb_backend *backend = bpf_map_lookup_elem(&lb_slots, &key);

	if (!backend) {
		/* It went between the two look-ups; the first slot goes last. */
		key.slot = 0;
		backend = bpf_map_lookup_elem(&lb_slots, &key);
	}
	return backend;
}

static __always_inline const struct lb_backend *lb_any(const struct lb_service *service,
						       const struct lb_ask *ask)
{
	bool random = service->algorithm == LB_RANDOM && !ask->steady;
	__u32 hash = lb_mix(ask->hash);

	return service->flags & LB_MANY ? lb_one_of_many(service, hash, random) :
					  lb_one_of_few(service, hash, random);
}

/* Stay with the backend that the client was last given, if that is not too long ago. */
static __always_inline bool lb_stay(const struct lb_service *service, struct lb_ask *ask)
{
	struct lb_affinity_key key = { .service = service->id, .client = ask->client };
	struct lb_affinity *last = bpf_map_lookup_elem(&lb_affinity, &key);
	__u64 now;
	int number;

	if (!last)
		return false;
	now = bpf_ktime_get_coarse_ns();
	if (now - last->seen >= service->affinity * 1000000000ull)
		return false;
	ask->backend = last->backend;
	number = lb_number(service, &ask->backend);
	if (number < 0 || (__u32)number >= service->count)
		return false;
	WRITE_ONCE(last->seen, now);
	return true;
}

static __always_inline void lb_remember(const struct lb_service *service, const struct lb_ask *ask)
{
	struct lb_affinity_key key = { .service = service->id, .client = ask->client };
	struct lb_affinity value = { .seen = bpf_ktime_get_coarse_ns(), .backend = ask->backend };

	bpf_map_update_elem(&lb_affinity, &key, &value, BPF_ANY);
}

/* Choose a backend. */
PLAIT_STEP int lb_choose(const struct lb_service *service, struct lb_ask *ask)
{
	const struct lb_backend *chosen;

	if (!service || !ask)
		return LB_NOBODY;
	if (ask->balanced)
		return lb_number(service, &ask->backend) < 0 ? LB_GONE : LB_KEPT;
	if (!service->count)
		return LB_NOBODY;
	if (service->affinity && lb_stay(service, ask))
		return LB_CHOSE;
	chosen = lb_any(service, ask);
	if (!chosen)
		return LB_NOBODY;
	ask->backend = *chosen;
	if (service->affinity)
		lb_remember(service, ask);
	return LB_CHOSE;
}
