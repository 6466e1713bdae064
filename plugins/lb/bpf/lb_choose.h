// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Load balancing: which service is asked, and which of its backends answers. Knows no packet: flows
 * and sockets ask alike.
 *
 * Maps: see lb_tables.h   Constants: lb_refuse, lb_reset
 */
#pragma once
#include "plait.h"
#include "lb_tables.h"

#define LB_SECOND 1000000000ull /* in nanoseconds */

PLAIT_CONST(bool, lb_reset, "TCP connections to a backend that is gone are reset");
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

/* Of many: the backend with this number. */
static __always_inline const struct lb_backend *lb_numbered(__u64 service, __u32 version,
							    __u32 number)
{
	struct lb_group_key key = {
		.service = service,
		.group = number / LB_GROUP,
		.version = version,
	};
	const struct lb_group *group = bpf_map_lookup_elem(&lb_groups, &key);

	return group ? &group->backend[plait_below(number % LB_GROUP, LB_GROUP)] : NULL;
}

/* Half of an address, to be compared: `word` is 0 or 2. */
static __always_inline __u64 lb_half(const struct plait_addr *addr, int word)
{
	return (__u64)bpf_ntohl(addr->w[word]) << 32 | bpf_ntohl(addr->w[word + 1]);
}

static __always_inline bool lb_before(const struct lb_backend *a, const struct lb_backend *b)
{
	__u64 a_high = lb_half(&a->addr, 0), b_high = lb_half(&b->addr, 0);
	__u64 a_low = lb_half(&a->addr, 2), b_low = lb_half(&b->addr, 2);

	if (a_high != b_high)
		return a_high < b_high;
	if (a_low != b_low)
		return a_low < b_low;
	return bpf_ntohs(a->port) < bpf_ntohs(b->port);
}

#define LB_HALVES 36 /* of 2^17 backends in each of the two orders */

/* Of many: a backend, and the numbers from `first` on and below `end` that it may have; those of
 * the second order, below `total`, are yet to be looked through unless that is 0.
 */
struct lb_hunt {
	__u64 service;
	struct lb_backend backend;
	__u32 version;
	__u32 first;
	__u32 end;
	__u32 count;
	__u32 total;
	int found; /* below 0: not yet */
};

static long lb_halve(__u32 turn, struct lb_hunt *hunt)
{
	__u32 number = hunt->first + (hunt->end - hunt->first) / 2;
	const struct lb_backend *middle;

	if (hunt->first >= hunt->end) {
		hunt->first = hunt->count;
		hunt->end = hunt->total;
		hunt->total = 0;
		return hunt->end ? 0 : 1;
	}
	middle = lb_numbered(hunt->service, hunt->version, number);
	/* Without one, this version is being removed: whoever meets the next one will see. */
	if (!middle || lb_same(middle, &hunt->backend)) {
		hunt->found = number;
		return 1;
	}
	if (lb_before(middle, &hunt->backend))
		hunt->first = number + 1;
	else
		hunt->end = number;
	return 0;
}

/* A loop of the kernel's own: the verifier would walk one of ours 65,000 instructions long. */
static __always_inline int lb_search(const struct lb_service *service,
				     const struct lb_backend *backend)
{
	struct lb_hunt hunt = {
		.service = service->id,
		.backend = *backend,
		.version = service->version,
		.end = service->count,
		.count = service->count,
		.total = service->total,
		.found = -1,
	};

	bpf_loop(LB_HALVES, lb_halve, &hunt, 0);
	return hunt.found;
}

/* The number of a backend of this service, those that take new flows first; below 0: none of it. */
PLAIT_STEP int lb_number(const struct lb_service *service, const struct lb_backend *backend)
{
	int i;

	if (!service || !backend)
		return -1;
	if (service->flags & LB_MANY)
		return lb_search(service, backend);
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
struct lb_ranking {
	const __u32 *seed;
	__u32 hash;
	__u32 highest;
	__u32 index;
};

static __always_inline void lb_rank(struct lb_ranking *ranking, __u32 index)
{
	__u32 rank = lb_mix(ranking->hash ^ ranking->seed[index]);

	if (rank >= ranking->highest) {
		ranking->highest = rank;
		ranking->index = index;
	}
}

static __always_inline const struct lb_backend *lb_one_of_few(const struct lb_service *service,
							      __u32 hash, bool random)
{
	struct lb_ranking ranking = { .seed = service->seed, .hash = hash };
	__u32 i;

	if (random)
		ranking.index = lb_scale(bpf_get_prandom_u32(), service->count);
	else
		for (i = 0; i < LB_FEW && i < service->count; i++)
			lb_rank(&ranking, i);
	return &service->few[plait_below(ranking.index, LB_FEW)];
}

static long lb_rank_of_group(__u32 index, struct lb_ranking *ranking)
{
	lb_rank(ranking, plait_below(index, LB_GROUP));
	return 0;
}

static __always_inline const struct lb_backend *lb_one_of_group(const struct lb_service *service,
								__u32 hash)
{
	struct lb_group_key key = { .service = service->id, .version = service->version };
	const struct lb_group *group = bpf_map_lookup_elem(&lb_groups, &key);
	struct lb_ranking ranking = { .hash = hash };

	if (!group)
		return NULL;
	ranking.seed = group->seed;
	bpf_loop(service->count, lb_rank_of_group, &ranking, 0);
	return &group->backend[plait_below(ranking.index, LB_GROUP)];
}

/* A table gives each backend its weight: who chooses at random does so among its slots. */
static __always_inline __u32 lb_place(const struct lb_service *service, __u32 hash, bool random)
{
	struct lb_maglev_key key = { .service = service->id, .version = service->version };
	const struct lb_maglev *table;
	__u32 place;

	if (random)
		hash = bpf_get_prandom_u32();
	if (!service->table)
		return lb_scale(hash, service->count);
	place = lb_scale(hash, service->table);
	key.chunk = place / LB_CHUNK;
	table = bpf_map_lookup_elem(&lb_maglev, &key);
	return table ? table->number[plait_below(place % LB_CHUNK, LB_CHUNK)] : 0;
}

static __always_inline const struct lb_backend *lb_one_of_many(const struct lb_service *service,
							       __u32 hash, bool random)
{
	if (!random && !service->table && service->count <= LB_GROUP)
		return lb_one_of_group(service, hash);
	return lb_numbered(service->id, service->version, lb_place(service, hash, random));
}

/* Any backend, by the hash of who asks. */
PLAIT_STEP int lb_pick(const struct lb_service *service, struct lb_ask *ask)
{
	const struct lb_backend *chosen;
	bool random;
	__u32 hash;

	if (!service || !ask)
		return LB_NOBODY;
	random = service->algorithm == LB_RANDOM && !ask->steady;
	hash = lb_mix(ask->hash);
	chosen = service->flags & LB_MANY ? lb_one_of_many(service, hash, random) :
					    lb_one_of_few(service, hash, random);
	if (!chosen)
		return LB_NOBODY;
	ask->backend = *chosen;
	return LB_CHOSE;
}

/* The backend that the client was last given, if that is not too long ago. */
PLAIT_STEP int lb_recall(const struct lb_service *service, struct lb_ask *ask)
{
	struct lb_affinity_key key = {};
	const struct lb_affinity *last;

	if (!service || !ask)
		return LB_NOBODY;
	key.service = service->id;
	key.client = ask->client;
	last = bpf_map_lookup_elem(&lb_affinity, &key);
	if (!last || bpf_ktime_get_coarse_ns() - last->seen >= service->affinity * LB_SECOND)
		return LB_NOBODY;
	ask->backend = last->backend;
	return LB_CHOSE;
}

PLAIT_STEP int lb_remember(const struct lb_service *service, const struct lb_ask *ask)
{
	struct lb_affinity value = { .seen = bpf_ktime_get_coarse_ns() };
	struct lb_affinity_key key = {};

	if (!service || !ask)
		return LB_NOBODY;
	key.service = service->id;
	key.client = ask->client;
	value.backend = ask->backend;
	bpf_map_update_elem(&lb_affinity, &key, &value, BPF_ANY);
	return LB_CHOSE;
}

/* The same, if it still takes new flows. */
static __always_inline int lb_stay(const struct lb_service *service, struct lb_ask *ask)
{
	int number;

	if (lb_recall(service, ask) != LB_CHOSE)
		return LB_NOBODY;
	number = lb_number(service, &ask->backend);
	return number >= 0 && (__u32)number < service->count ? LB_CHOSE : LB_NOBODY;
}

/* Choose a backend. */
static __always_inline int lb_choose(const struct lb_service *service, struct lb_ask *ask)
{
	if (ask->balanced)
		return lb_number(service, &ask->backend) < 0 ? LB_GONE : LB_KEPT;
	if (!service->count)
		return LB_NOBODY;
	if (!service->affinity)
		return lb_pick(service, ask);
	if (lb_stay(service, ask) == LB_CHOSE || lb_pick(service, ask) == LB_CHOSE)
		return lb_remember(service, ask);
	return LB_NOBODY;
}
